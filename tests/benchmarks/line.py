"""A real `inspector serve` process, and camera streams to it by the plain generated API."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inspector.cameras.sharing import FrameSharer
from inspector.part import Frame, PixelFormat
from inspector.sim.demo.processes import free_ports
from inspector.tuning import tune_process
from inspector.v1 import inspection_pb2, inspection_service_pb2
from inspector.wire import encode_frame, encode_hello

LINE = "bench"
_START_S, _ANSWER_S, _STOP_S = 60.0, 60.0, 30.0
_MAX_FRAME_BYTES = 64 << 20
# A busy machine must show as latency, not as UNKNOWN parts.
PATIENT_MS = 60_000
_METHOD = "/inspector.v1.InspectionService/Inspect"


@dataclass(frozen=True)
class Service:
    """A running service. `ready_s` is the time from the start of its process to the health status SERVING."""

    target: str
    modbus_port: int
    process: psutil.Process
    ready_s: float
    folder: Path

    @property
    def resident_mib(self) -> float:
        """Resident memory now."""
        return float(self.process.memory_info().rss) / (1 << 20)

    @property
    def cpu_s(self) -> float:
        """Processor time used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def service(
    folder: Path, bundle: Path, *, cameras: int = 4, database: str = "", extra: str = "", deadline_ms: int = PATIENT_MS
) -> Iterator[Service]:
    """Run `inspector serve` on a line of `cameras` stations with default settings but, unless told, a patient deadline.

    This machine may command the stations, which know two recipes with the same bundle: "tiles", by which they begin, and
    "others".
    """
    tune_process()
    grpc_port, modbus_port = free_ports(2)
    folder.mkdir(parents=True, exist_ok=True)
    line_file = folder / "line.toml"
    line_file.write_text(_line_file(bundle, cameras, grpc_port, modbus_port, database, extra, deadline_ms))
    command = [str(Path(sys.executable).parent / "inspector"), "serve", str(line_file)]
    with (folder / "serve.log").open("ab") as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        target = f"127.0.0.1:{grpc_port}"
        _wait_serving(target, process, folder / "serve.log")
        ready_s = time.perf_counter() - started
        yield Service(target, modbus_port, psutil.Process(process.pid), ready_s, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _line_file(
    bundle: Path, cameras: int, grpc_port: int, modbus_port: int, database: str, extra: str, deadline_ms: int
) -> str:
    stations = "".join(
        f'[[station]]\nname = "station{n}"\ncamera = "cam{n}"\nunit = {n}\nrecipe = "tiles"\nrecipes = ["others"]\n'
        for n in range(1, cameras + 1)
    )
    recipes = "".join(
        f'[recipe.{name}]\nbundle = "{bundle.resolve()}"\ndeadline_ms = {deadline_ms}\n' for name in ("tiles", "others")
    )
    return (
        f'[line]\nname = "{LINE}"\n[grpc]\nlisten = "127.0.0.1:{grpc_port}"\n'
        f'[modbus]\nlisten = "127.0.0.1:{modbus_port}"\nwrite_allow = ["127.0.0.1"]\n'
        f'[records]\ndatabase = "{database}"\n{extra}\n{stations}{recipes}'
    )


def _wait_serving(target: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        # A channel of its own for each look: a channel that failed once waits before it tries again.
        with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                stub = health_pb2_grpc.HealthStub(channel)
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError:
                time.sleep(0.01)
    raise RuntimeError(f"inspector serve did not become ready:\n{log.read_text()[-3000:]}")


class Camera:
    """One camera's stream. `send` and `receive` may run in two threads."""

    def __init__(self, target: str, name: str = "cam1", *, shares: bool = False) -> None:
        self._channel = grpc.insecure_channel(
            target, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 1 << 20)]
        )
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        call: Any = self._channel.stream_stream(
            _METHOD,
            request_serializer=None,
            response_deserializer=inspection_service_pb2.InspectResponse.FromString,
        )
        self._requests.put(encode_hello(LINE, name, "bench"))
        self._answers = call(iter(self._requests.get, None), timeout=None)
        session = next(self._answers).session
        self._next_trigger = session.next_trigger
        self._sharer = FrameSharer()
        if shares:
            self._sharer.accept(session.frame_memory)
            if not self._sharer.shares:
                raise RuntimeError("the service shares no memory with this program")

    def reserve(self, length: int) -> memoryview:
        """Shared memory for the pixels of the next frame."""
        place = self._sharer.reserve(length)
        if place is None:
            raise RuntimeError("no place in the shared memory is free")
        return place.pixels

    def send(self, data: bytes | memoryview, pixel_format: PixelFormat, width_px: int = 0, height_px: int = 0) -> None:
        """Send the next part's frame."""
        frame = Frame(self._next_trigger, pixel_format, width_px, height_px, 0, cast(bytes, data))
        self._next_trigger += 1
        self._requests.put(encode_frame(frame, _MAX_FRAME_BYTES, self._sharer.put(frame, _MAX_FRAME_BYTES)))

    @property
    def next_trigger(self) -> int:
        """Number of the next part."""
        return self._next_trigger

    def told(self) -> Iterator[inspection_pb2.Inspection]:
        """All answers until the stream ends, also of parts that were not judged."""
        for answer in self._answers:
            yield answer.inspection

    def receive(self) -> inspection_pb2.Inspection:
        """The next answer; RuntimeError unless the part was judged."""
        inspection = next(self._answers).inspection
        self._sharer.answered(inspection.trigger)
        return _judged(inspection)

    def answers(self) -> Iterator[inspection_pb2.Inspection]:
        """All answers until the stream ends; RuntimeError at a part that was not judged."""
        for answer in self._answers:
            yield _judged(answer.inspection)

    def finish(self) -> None:
        """Send no more; the stream ends when everything is answered."""
        self._requests.put(None)

    def close(self) -> None:
        """End the stream and read what is left of it."""
        self.finish()
        for _ in self._answers:
            pass
        self._channel.close()


def _judged(inspection: inspection_pb2.Inspection) -> inspection_pb2.Inspection:
    if inspection.verdict == inspection_pb2.VERDICT_UNKNOWN:
        raise RuntimeError(f"part {inspection.trigger} was not judged: {inspection.detail}")
    return inspection
