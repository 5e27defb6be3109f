"""A client that follows the verdicts of a line: after the first one none missed and none twice, over every outage."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import grpc

from inspector.errors import SessionError
from inspector.part import Reason, Verdict
from inspector.rpc.convert import WATCHING
from inspector.v1 import inspection_pb2 as values
from inspector.v1 import inspection_service_pb2 as api
from inspector.v1.inspection_service_pb2_grpc import InspectionServiceStub

log = logging.getLogger(__name__)

RETRY_S = 1.0
_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
]
_FINAL = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A verdict as a watcher sees it."""

    sequence: int
    station: str
    camera: str
    trigger: int
    part_id: str
    verdict: Verdict
    reason: Reason
    defect_class: str
    score: float | None
    limit: float | None
    latency_ms: float


class Follower:
    """Calls `on_verdict` with every verdict from now on, in sequence, from a thread of its own.

    `on_state` is called with an empty text when the line is followed and with the reason when it is not. With
    `credentials` the connection is TLS.
    """

    def __init__(
        self,
        target: str,
        line: str,
        on_verdict: Callable[[Seen], None],
        on_state: Callable[[str], None],
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._line = line
        self._on_verdict = on_verdict
        self._on_state = on_state
        self._channel = (
            grpc.insecure_channel(target, options=_OPTIONS)
            if credentials is None
            else grpc.secure_channel(target, credentials, options=_OPTIONS)
        )
        self._stub = InspectionServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._after: int | None = None
        self._stopping = threading.Event()
        self._call: grpc.Call | None = None
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Follow no more."""
        self._stopping.set()
        if self._call is not None:
            self._call.cancel()
        self._channel.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
                self._on_state("the service ended the watch")
            except grpc.RpcError as error:
                if self._stopping.is_set():
                    return
                call = cast(grpc.Call, error)
                self._on_state(f"{call.code().name}: {call.details()}")
                if call.code() in _FINAL:
                    return
            except ValueError:  # the channel was closed meanwhile
                return
            except SessionError as error:
                self._on_state(str(error))
                return
            except (
                Exception
            ) as error:  # the thread's outermost edge: whoever watches must not take silence for a quiet line
                log.exception("following line %s failed", self._line)
                self._on_state(f"following failed: {error!r}")
                return
            self._stopping.wait(RETRY_S)

    def _follow(self) -> None:
        """One watch until it ends. Raises grpc.RpcError."""
        request = api.WatchInspectionsRequest(line=self._line)
        if self._after is not None:
            request.after_sequence = self._after
        responses = self._stub.WatchInspections(request)
        self._call = cast(grpc.Call, responses)
        # Headers come at once, the first verdict perhaps not for hours. A call that is refused has none.
        if WATCHING[0] in dict(self._call.initial_metadata()):
            self._on_state("")
        for response in responses:
            seen = _seen(response.inspection)
            self._after = seen.sequence
            self._on_verdict(seen)


def _seen(told: values.Inspection) -> Seen:
    """Raises SessionError if the service is of a later version and tells what this one does not know."""
    try:
        verdict, reason = Verdict(told.verdict), Reason(told.reason)
    except ValueError as error:
        raise SessionError(
            f"the service tells what this version does not know ({error}): update this program"
        ) from error
    return Seen(
        told.sequence,
        told.station,
        told.camera,
        told.trigger,
        told.part_id,
        verdict,
        reason,
        told.defect_class,
        told.score if told.HasField("score") else None,
        told.limit if told.HasField("limit") else None,
        told.latency_ms,
    )
