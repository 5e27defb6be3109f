"""The gRPC server of a line: bounded in everything, graceful at the stop, beyond this machine only with TLS both ways."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from inspector.access.tls import TlsFiles
from inspector.errors import ConfigError, InvalidRequest
from inspector.rpc.door import Door
from inspector.rpc.lookout import Lookout
from inspector.rpc.ports import Control, Inspector, Pictures, Promotions, Records
from inspector.rpc.servicer import InspectionServicer
from inspector.rpc.slots import Slots
from inspector.rpc.station_servicer import StationServicer
from inspector.rpc.status import as_status
from inspector.tuning import tune_process
from inspector.v1 import inspection_service_pb2 as api
from inspector.v1 import station_service_pb2 as station_api

log = logging.getLogger(__name__)

SERVICE = api.DESCRIPTOR.services_by_name["InspectionService"].full_name
STATION_SERVICE = station_api.DESCRIPTOR.services_by_name["StationService"].full_name
MAX_WATCHERS, MAX_READS, MAX_HEALTH_AND_REFLECTION = 32, 16, 16
MAX_STATION_WATCHERS, MAX_COMMANDS = 16, 16
STOP_S = 5.0
# Tools of 2023 and later ask for this name first; its messages are those of v1alpha.
_REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"


class RpcServer:
    """Serves one line's API, health (grpc.health.v1) and reflection. `port` 0 takes a free one; see `.port`.

    Threads rather than asyncio: a bare stream measured 0.30 ms per round trip of 10 kB with threads and 0.27 with asyncio, and
    decoding and inference, which release the interpreter lock, run in threads anyway.
    """

    def __init__(
        self,
        inspector: Inspector,
        records: Records,
        pictures: Pictures,
        host: str,
        port: int,
        *,
        max_frame_bytes: int,
        max_streams: int = 32,
        tls: TlsFiles | None = None,
        door: Door | None = None,
        frames_hz: float = 0.0,
        shared_bytes: int = 0,
        control: Control | None = None,
        promotions: Promotions | None = None,
    ) -> None:
        """Take the address; ConfigError if it is not free, or beyond loopback without `tls`. Answers nothing before `start`.

        `door` says who may call what; it must know the same `tls`. `frames_hz` bounds the frames taken from one stream.
        `shared_bytes` is the memory that each stream is offered for frames of this host; 0: none. Stations take commands if
        there is a `control`, and bundles are promoted if there are `promotions`.
        """
        tune_process()
        check_listen(host, secured=tls is not None)
        self._door = door or Door(tls)
        self._servicer = InspectionServicer(
            inspector,
            records,
            pictures,
            max_streams=max_streams,
            max_watchers=MAX_WATCHERS,
            max_reads=MAX_READS,
            door=self._door,
            frames_hz=frames_hz,
            shared_bytes=shared_bytes,
        )
        self._stations = (
            None
            if control is None
            else StationServicer(
                control, self._door, promotions, max_watchers=MAX_STATION_WATCHERS, max_commands=MAX_COMMANDS
            )
        )
        # One call beyond every kind's bound still finds a thread, which refuses it with a message.
        calls = max_streams + MAX_WATCHERS + MAX_READS + MAX_HEALTH_AND_REFLECTION
        calls += 0 if control is None else MAX_STATION_WATCHERS + MAX_COMMANDS
        self._pool = ThreadPoolExecutor(calls, thread_name_prefix="rpc")
        self._server = grpc.server(
            self._pool, options=server_options(max_frame_bytes), maximum_concurrent_rpcs=calls, compression=None
        )
        other = _Others(self._door)
        self._health = _Health(other)
        self._services = (SERVICE,) if self._stations is None else (SERVICE, STATION_SERVICE)
        for name in (health.OVERALL_HEALTH, *self._services):
            self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server.add_generic_rpc_handlers((_handlers(self._servicer, api, SERVICE),))
        if self._stations is not None:
            self._server.add_generic_rpc_handlers((_handlers(self._stations, station_api, STATION_SERVICE),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        _add_reflection(self._server, other, self._services)
        self.port = _bind(self._server, host, port, tls)
        self.address = _address(host, self.port)
        self._lookout = Lookout(self.port, self._door.callers, self._door.stranger)

    def start(self) -> None:
        """Answer calls and say SERVING."""
        self._servicer.start()
        self._server.start()
        for name in (health.OVERALL_HEALTH, *self._services):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._lookout.start()
        log.info("gRPC listens on %s", self.address)

    def stop(self, drain_s: float = STOP_S) -> None:
        """Say NOT_SERVING, refuse new calls, let parts in flight be answered for up to `drain_s`, end the rest."""
        self._lookout.stop()
        self._health.enter_graceful_shutdown()
        self._servicer.stop()
        if self._stations is not None:
            self._stations.stop()
        self._server.stop(drain_s).wait()
        self._pool.shutdown(wait=False, cancel_futures=True)


def check_listen(host: str, *, secured: bool) -> None:
    """Raise ConfigError if `host` is more than this machine and the port is not secured by TLS both ways."""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback and not secured:
        raise ConfigError(
            f'gRPC may not listen on "{host}" without TLS: anyone on that network could stream as a camera; add the table '
            "[grpc.tls] (`inspector certs init` makes a plant's certificates), or listen on 127.0.0.1"
        )


def server_options(max_frame_bytes: int) -> list[tuple[str, int]]:
    """Options of the server, by their names in grpc_types.h.

    None of the others that were tried (optimization target, BDP probe; at 1.3 MB also HTTP/2 frame size, lookahead, write
    buffer and chunk sizes) changed a round trip by more than the noise.
    """
    return [
        # A frame somewhat too large must reach the pipeline, which makes its part UNKNOWN/FRAME_TOO_LARGE: beyond this size
        # gRPC ends the whole stream.
        ("grpc.max_receive_message_length", max_frame_bytes + max_frame_bytes // 4 + (1 << 20)),
        # A second service on the same port must fail, not take half of the cameras.
        ("grpc.so_reuseport", 0),
        # A camera host that died without a word gives its place free after 15 s. The second timeout is for the ping itself,
        # which gRPC else waits a minute for when something on the way, such as a proxy, still acknowledges the bytes.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.ping_timeout_ms", 5_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]


def _handlers(servicer: object, messages: Any, name: str) -> grpc.GenericRpcHandler:
    """The generated handlers, except that requests arrive as bytes: those of cameras are read in their own thread, and of
    all others it must be known who sends what is none."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in messages.DESCRIPTOR.services_by_name[name.rpartition(".")[2]].methods:
        make: Any = getattr(
            grpc,
            f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
            "_rpc_method_handler",
        )
        serve = getattr(servicer, method.name)
        if not method.client_streaming:
            serve = _reading(serve, getattr(messages, method.input_type.name), streams=method.server_streaming)
        handlers[method.name] = make(
            serve,
            response_serializer=getattr(messages, method.output_type.name).SerializeToString,
        )
    return grpc.method_handlers_generic_handler(name, handlers)


def _reading(serve: Any, request: Any, *, streams: bool) -> Any:
    """`serve` for a request that arrives as bytes; what is no message of the API is refused as any wrong request is."""

    def read(data: bytes, context: grpc.ServicerContext) -> Any:
        message = None
        with as_status(context):
            try:
                message = request.FromString(data)
            except DecodeError as error:
                raise InvalidRequest(
                    f"{len(data)} bytes are no {request.__name__} ({error}): build it from proto/inspector/v1"
                ) from error
        return message

    def answer(data: bytes, context: grpc.ServicerContext) -> Any:
        return serve(read(data, context), context)

    def stream(data: bytes, context: grpc.ServicerContext) -> Iterator[Any]:
        yield from serve(read(data, context), context)

    return stream if streams else answer


class _Others:
    """Places for health and reflection, which any client whose certificate counts may ask: they must keep no camera out."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._slots = Slots("health and reflection calls", MAX_HEALTH_AND_REFLECTION, "end one")

    @contextmanager
    def one(self, context: grpc.ServicerContext, call: str) -> Iterator[None]:
        with as_status(context):
            self._door.known(context, call)
            with self._slots.one():
                yield


class _Health(health.HealthServicer):  # type: ignore[misc]
    def __init__(self, others: _Others) -> None:
        super().__init__()
        self._others = others

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._others.one(context, "Check"):
            return super().Check(request, context)

    def Watch(self, request: Any, context: grpc.ServicerContext, send_response_callback: Any = None) -> Any:
        place = ExitStack()
        place.enter_context(self._others.one(context, "Watch"))
        if not context.add_callback(place.close):
            place.close()
        return super().Watch(request, context, send_response_callback)


class _Reflection(reflection.ReflectionServicer):  # type: ignore[misc]
    def __init__(self, names: Sequence[str], others: _Others) -> None:
        super().__init__(names)
        self._others = others

    def ServerReflectionInfo(self, requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with self._others.one(context, "ServerReflectionInfo"):
            yield from super().ServerReflectionInfo(requests, context)


def _add_reflection(server: grpc.Server, others: _Others, services: Sequence[str]) -> None:
    servicer = _Reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), others)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    v1 = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(_REFLECTION_V1, {"ServerReflectionInfo": v1}),)
    )


def _bind(server: grpc.Server, host: str, port: int, tls: TlsFiles | None) -> int:
    address = _address(host, port)
    try:
        bound = server.add_insecure_port(address) if tls is None else server.add_secure_port(address, _credentials(tls))
    except RuntimeError as error:
        bound, reason = 0, str(error)
    else:
        reason = "gRPC gave no reason"
    if not bound:
        raise ConfigError(
            f"gRPC cannot listen on {address} ({reason}): stop the program that has the port, or choose another"
        )
    return bound


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    """Both sides show certificates. Every handshake uses the newest files, so that a renewal needs no restart."""
    shown = tls.material

    def configuration() -> grpc.ServerCertificateConfiguration:
        pair = (shown.key, shown.certificate)
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=shown.authority)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        newest = tls.material
        if newest is shown:
            return None
        shown = newest
        return configuration()

    # None says that nothing changed, which grpcio documents and its types leave out.
    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], renewed)
    return grpc.dynamic_ssl_server_credentials(configuration(), fetch, require_client_authentication=True)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
