"""A live server over an in-memory pipeline, for tests of the transport and of camera clients."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import grpc
import pytest
from rpc_twin import TwinPictures, TwinPipeline, TwinRecords

from inspector.rpc.server import RpcServer
from inspector.v1 import inspection_pb2 as pb
from inspector.v1 import inspection_service_pb2 as api
from inspector.v1.inspection_service_pb2_grpc import InspectionServiceStub

METHOD = "/inspector.v1.InspectionService/Inspect"


def wait_for(done: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Wait for a condition that another thread brings about."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not done():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        pause.wait(0.002)


@dataclass
class Line:
    """A server with all that is behind it."""

    pipeline: TwinPipeline
    records: TwinRecords
    pictures: TwinPictures
    server: RpcServer
    stub: InspectionServiceStub
    channel: grpc.Channel

    def camera(self, camera: str = "cam1", line: str = "a") -> Camera:
        """A stream that has said hello and has its session."""
        stream = Camera(self.channel)
        stream.hello(line, camera)
        stream.session = stream.read().session
        return stream


class Camera:
    """A camera's stream, message by message. `raw` items of the queue are sent as they are."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        stream = channel.stream_stream(METHOD, response_deserializer=api.InspectResponse.FromString)
        self.call = stream(iter(self._requests.get, None), timeout=30)
        self.session = api.Session()

    def hello(self, line: str = "a", camera: str = "cam1", client: str = "test 1") -> None:
        self.raw(api.InspectRequest(hello=api.Hello(line=line, camera=camera, client=client)).SerializeToString())

    def frame(self, trigger: int, data: bytes = b"\0", pixel_format: int = 1, **more: object) -> None:
        message = pb.Frame(trigger=trigger, data=data, pixel_format=pixel_format, **more)  # type: ignore[arg-type]
        self.raw(api.InspectRequest(frame=message).SerializeToString())

    def raw(self, message: bytes) -> None:
        self._requests.put(message)

    def half_close(self) -> None:
        self._requests.put(None)

    def read(self) -> api.InspectResponse:
        return next(self.call)

    def inspection(self) -> pb.Inspection:
        response = self.read()
        assert response.WhichOneof("message") == "inspection"
        return response.inspection

    def rest(self) -> list[pb.Inspection]:
        """Everything until the stream ends well."""
        return [response.inspection for response in self.call]

    def failure(self) -> tuple[grpc.StatusCode, str]:
        """Read until the stream breaks."""
        with pytest.raises(grpc.RpcError) as caught:
            for _ in self.call:
                pass
        return caught.value.code(), caught.value.details()


@dataclass
class Lines:
    """Makes lines and ends them."""

    made: list[Line] = field(default_factory=list)

    def make(self, cameras: tuple[str, ...] = ("cam1",), port: int = 0, **options: int) -> Line:
        return self.start(TwinPipeline(cameras), port, **options)

    def start(self, pipeline: TwinPipeline, port: int = 0, **options: int) -> Line:
        """A server in front of a pipeline that was there before, as after a restart that kept the journal."""
        records, pictures = TwinRecords(), TwinPictures()
        server = RpcServer(
            pipeline,
            records,
            pictures,
            "127.0.0.1",
            port,
            **{"max_frame_bytes": 2_000_000, **options},  # type: ignore[arg-type]
        )
        server.start()
        # Without the probe a client that does not read takes the same few answers on a busy machine as on an idle one.
        options_ = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
        target = "insecure" if options.get("tls") else server.address
        channel = grpc.insecure_channel(target, options=options_)
        self.made.append(Line(pipeline, records, pictures, server, InspectionServiceStub(channel), channel))
        return self.made[-1]


@pytest.fixture
def lines() -> Iterator[Lines]:
    factory = Lines()
    yield factory
    for line in factory.made:
        line.channel.close()
        line.server.stop(0)


@pytest.fixture
def line(lines: Lines) -> Line:
    return lines.make()
