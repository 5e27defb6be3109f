"""A client that commands the stations of a line. Every call waits for what becomes of the command."""

from __future__ import annotations

from typing import Any, cast

import grpc

from inspector.errors import AccessDenied, InvalidRequest, NotFound, Overloaded, ServiceUnreachable, SessionError
from inspector.rpc.follower import open_channel
from inspector.rpc.station_convert import outcome_of, station_name
from inspector.signalling.commands import Command, Outcome
from inspector.v1 import station_service_pb2 as api
from inspector.v1.station_service_pb2_grpc import StationServiceStub

TIMEOUT_S = 5.0
CHECK_TIMEOUT_S = 120.0
"""Golden images are looked at one by one, behind the parts that wait."""

_REQUESTS: dict[Command, tuple[str, type[Any]]] = {
    Command.START: ("StartStation", api.StartStationRequest),
    Command.STOP: ("StopStation", api.StopStationRequest),
    Command.CHANGE_RECIPE: ("ChangeRecipe", api.ChangeRecipeRequest),
    Command.ACKNOWLEDGE: ("AcknowledgeFault", api.AcknowledgeFaultRequest),
    Command.RESET: ("ResetStation", api.ResetStationRequest),
    Command.CHECK: ("CheckStation", api.CheckStationRequest),
}
_ERRORS = {
    grpc.StatusCode.PERMISSION_DENIED: AccessDenied,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAVAILABLE: ServiceUnreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: ServiceUnreachable,
}


class Commander:
    """May be used from any thread; `close` ends what still waits."""

    def __init__(self, target: str, line: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self._line = line
        self._channel = open_channel(target, credentials)
        self._stub = StationServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def give(self, station: str, command: Command, on_behalf_of: str, recipe: str = "") -> Outcome:
        """Give a command for somebody, whom the audit log names. It waits for a service that is just coming back.

        Raises AccessDenied, NotFound, InvalidRequest, Overloaded, SessionError, or ServiceUnreachable, after which it is not
        known whether the command was carried out.
        """
        method, request = _REQUESTS[command]
        about = {"recipe": recipe} if command is Command.CHANGE_RECIPE else {}
        message = request(name=station_name(self._line, station), on_behalf_of=on_behalf_of, **about)
        patience_s = CHECK_TIMEOUT_S if command in (Command.CHECK, Command.RESET) else TIMEOUT_S
        try:
            response = getattr(self._stub, method)(message, timeout=patience_s, wait_for_ready=True)
        except grpc.RpcError as error:
            call = cast(grpc.Call, error)
            kind = _ERRORS.get(call.code(), SessionError)
            raise kind(f"{method} of {station}: {call.code().name}: {call.details()}") from error
        except ValueError as error:  # the channel was closed
            raise ServiceUnreachable(f"{method} of {station}: the connection was closed meanwhile") from error
        return outcome_of(response.outcome)

    def close(self) -> None:
        """End what still waits."""
        self._channel.close()
