"""Clients that follow a line over every outage: its verdicts, after the first none missed and none twice; its stations."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import grpc

from inspector.errors import SessionError
from inspector.part import Inspection
from inspector.rpc.convert import WATCHING, inspection_of
from inspector.rpc.station_convert import reports_of
from inspector.signalling.signal import StationReport
from inspector.v1 import inspection_service_pb2 as api
from inspector.v1 import station_service_pb2 as station_api
from inspector.v1.inspection_service_pb2_grpc import InspectionServiceStub
from inspector.v1.station_service_pb2_grpc import StationServiceStub

log = logging.getLogger(__name__)

RETRY_S = 1.0
OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # gRPC's own pause between attempts grows to two minutes, in which a service that is back would seem to be away.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
]
_FINAL = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """A channel of its own; TLS with `credentials`."""
    if credentials is None:
        return grpc.insecure_channel(target, options=OPTIONS)
    return grpc.secure_channel(target, credentials, options=OPTIONS)


class _Following:
    """Calls again whenever a watch ends, from a thread of its own, until `close`.

    With `gives_up` it ends at what a person must cure first, such as a right that it has not.
    """

    def __init__(
        self, target: str, on_state: Callable[[str], None], credentials: grpc.ChannelCredentials | None, gives_up: bool
    ) -> None:
        self._on_state = on_state
        self._gives_up = gives_up
        self._channel = open_channel(target, credentials)
        self._stopping = threading.Event()
        self._call: grpc.Call | None = None
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

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
                if call.code() in _FINAL and self._gives_up:
                    return
            except ValueError:  # the channel was closed meanwhile
                return
            except SessionError as error:
                self._on_state(str(error))
                if self._gives_up:
                    return
            # The thread's outermost edge: whoever watches must not take silence for a quiet line.
            except Exception as error:
                log.exception("following failed")
                self._on_state(f"following failed: {error!r}")
                if self._gives_up:
                    return
            self._stopping.wait(RETRY_S)

    def _follow(self) -> None:
        """One watch until it ends. Raises grpc.RpcError."""
        raise NotImplementedError


class Follower(_Following):
    """Calls `on_verdict` with every verdict from now on, in sequence, from a thread of its own.

    `on_state` is called with an empty text when the line is followed and with the reason when it is not. With
    `credentials` the connection is TLS.
    """

    def __init__(
        self,
        target: str,
        line: str,
        on_verdict: Callable[[Inspection], None],
        on_state: Callable[[str], None],
        credentials: grpc.ChannelCredentials | None = None,
        gives_up: bool = True,
    ) -> None:
        super().__init__(target, on_state, credentials, gives_up)
        self._line = line
        self._on_verdict = on_verdict
        self._stub = InspectionServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._after: int | None = None
        self._thread.start()

    def _follow(self) -> None:
        request = api.WatchInspectionsRequest(line=self._line)
        if self._after is not None:
            request.after_sequence = self._after
        responses = self._stub.WatchInspections(request)
        self._call = cast(grpc.Call, responses)
        # Headers come at once, the first verdict perhaps not for hours. A call that is refused has none.
        if WATCHING[0] in dict(self._call.initial_metadata()):
            self._on_state("")
        for response in responses:
            inspection = inspection_of(response.inspection)
            self._after = inspection.sequence
            self._on_verdict(inspection)


class StationFollower(_Following):
    """Calls `on_stations` with all stations of a line whenever one changed, and whether deadlines are kept; from its thread.

    `on_state` as that of `Follower`. Stations are told once a second: who needs to know that the service fell silent looks
    at the time of the last call.
    """

    def __init__(
        self,
        target: str,
        on_stations: Callable[[Sequence[StationReport], bool], None],
        on_state: Callable[[str], None],
        credentials: grpc.ChannelCredentials | None = None,
        gives_up: bool = True,
    ) -> None:
        super().__init__(target, on_state, credentials, gives_up)
        self._on_stations = on_stations
        self._stub = StationServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._thread.start()

    def _follow(self) -> None:
        responses: Any = self._stub.WatchStations(station_api.WatchStationsRequest())
        self._call = cast(grpc.Call, responses)
        for response in responses:
            self._on_state("")
            self._on_stations(reports_of(response.stations), response.alive)
