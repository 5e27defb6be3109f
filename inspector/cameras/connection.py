"""One connection of a camera client: a channel of its own, a queue of outgoing messages, and what its failures mean."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc

from inspector.cameras.sharing import FrameSharer
from inspector.errors import CameraBusy, ConfigError, SessionError, TriggerOutOfRange, UnknownCamera
from inspector.part import Frame
from inspector.tuning import tune_process
from inspector.v1.inspection_service_pb2 import InspectResponse
from inspector.wire import encode_frame, encode_hello

_METHOD = "/inspector.v1.InspectionService/Inspect"
_OPTIONS = [
    # A new connection must not inherit the waiting time of the last one.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    # The service is on this machine or in the plant: a proxy for the internet is never the way to it.
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
]
# Failures that a repetition does not cure.
_FINAL = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
}
_ERRORS: dict[grpc.StatusCode, type[SessionError]] = {
    grpc.StatusCode.NOT_FOUND: UnknownCamera,
    grpc.StatusCode.ALREADY_EXISTS: CameraBusy,
    grpc.StatusCode.OUT_OF_RANGE: TriggerOutOfRange,
}


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How a client shows who it is: its certificate and key, and the authority that the service's certificate is from (PEM)."""

    authority: Path
    certificate: Path
    key: Path

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises ConfigError."""
        try:
            authority, key, certificate = (path.read_bytes() for path in (self.authority, self.key, self.certificate))
        except OSError as error:
            raise ConfigError(
                f"{error.filename} cannot be read: {error.strerror}; give the files of `inspector certs`"
            ) from error
        return grpc.ssl_channel_credentials(authority, key, certificate)


class Connection:
    """One stream to the service, opened at once; not used again after it ended."""

    def __init__(
        self, target: str, line: str, camera: str, client: str, hello_timeout_s: float, tls: ClientTls | None = None
    ) -> None:
        """Raises ConfigError if a file of `tls` cannot be read; they are read for every connection, so renewals count."""
        tune_process()
        self.sharer = FrameSharer()
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._requests.put(encode_hello(line, camera, client))
        if tls is None:
            self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, tls.credentials(), options=_OPTIONS)
        stream: grpc.StreamStreamMultiCallable[bytes, InspectResponse] = self._channel.stream_stream(
            _METHOD, response_deserializer=InspectResponse.FromString
        )
        self._responses = cast(Iterator[InspectResponse], stream(iter(self._requests.get, None)))
        self._call = cast(grpc.Call, self._responses)
        self._patience = threading.Timer(hello_timeout_s, self._call.cancel)
        self._patience.daemon = True
        self._patience.start()

    def __iter__(self) -> Iterator[InspectResponse]:
        """What the service says. Raises grpc.RpcError when the stream breaks or no session comes in time."""
        for response in self._responses:
            self._patience.cancel()
            yield response

    def encode(self, frame: Frame, max_data_bytes: int) -> bytes:
        """The message that carries the frame: its pixels too, or where they lie in memory shared with the service."""
        return encode_frame(frame, max_data_bytes, self.sharer.put(frame, max_data_bytes))

    def put(self, message: bytes) -> None:
        """Send a serialised InspectRequest, after those before it. Never waits."""
        self._requests.put(message)

    def finish(self) -> None:
        """Send nothing more; the service ends the stream when it has answered everything."""
        self._requests.put(None)

    def cancel(self) -> None:
        """End the stream now; may be called from any thread."""
        self._call.cancel()

    def close(self) -> None:
        """Free what the connection holds."""
        self._patience.cancel()
        self._requests.put(None)
        self._channel.close()


def translate(failure: grpc.RpcError, target: str) -> tuple[SessionError, bool]:
    """The house's error for a broken stream, and whether trying again is useless."""
    call = cast(grpc.Call, failure)
    code, details = call.code(), call.details() or ""
    kind = _ERRORS.get(code, SessionError)
    if kind is not SessionError or code in _FINAL:
        return kind(details or f"the service at {target} refuses with {code.name}: is it an inspector?"), code in _FINAL
    step = "is the service running there? and does it want certificates?"
    return SessionError(f"no stream to {target} ({code.name}: {details}): {step}"), False
