"""A client that commands the stations of a line. Every call waits for what becomes of the command."""

from __future__ import annotations

from typing import Any, cast

import grpc

from inspector.errors import (
    AccessDenied,
    InvalidRequest,
    NotFound,
    Overloaded,
    PromotionOvertaken,
    PromotionRefused,
    ServiceUnreachable,
    SessionError,
)
from inspector.promotions import ViewReading, Wish
from inspector.rpc.follower import open_channel
from inspector.rpc.station_convert import outcome_of, recipe_name, station_name, view_reading_of
from inspector.signalling.commands import Command, Outcome
from inspector.v1 import station_service_pb2 as api
from inspector.v1.station_service_pb2_grpc import StationServiceStub

TIMEOUT_S = 5.0
CHECK_TIMEOUT_S = 120.0
"""Golden images are looked at one by one, behind the parts that wait."""
PROMOTE_TIMEOUT_S = 600.0
"""A large model is loaded and proved beside the parts that wait."""

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
    grpc.StatusCode.FAILED_PRECONDITION: PromotionRefused,
    grpc.StatusCode.ABORTED: PromotionOvertaken,
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
        return outcome_of(self._call(method, message, station, patience_s).outcome)

    def recipes(self) -> list[ViewReading]:
        """What judges each view of each recipe now. Raises as `give` does."""
        response = self._call("ListRecipes", api.ListRecipesRequest(), f"line {self._line}", TIMEOUT_S)
        return [view_reading_of(message) for message in response.views]

    def promote(self, wish: Wish) -> ViewReading:
        """Let a bundle judge by a recipe, or without a folder the one before; returns what judges then.

        The service fills in who the client is. Raises PromotionRefused, PromotionOvertaken, and else as `give` does.
        """
        name = recipe_name(self._line, wish.recipe)
        about = {"name": name, "view": wish.view, "on_behalf_of": wish.by, "reason": wish.reason}
        about["replaced_digest"] = wish.replaces
        message: Any
        if wish.folder:
            of_bundle = {"bundle_folder": wish.folder, "proposed_by": wish.proposed_by, "digest": wish.digest}
            method, message = "PromoteBundle", api.PromoteBundleRequest(**about, **of_bundle)
        else:
            method, message = "RollbackBundle", api.RollbackBundleRequest(**about)
        return view_reading_of(self._call(method, message, f"recipe {wish.recipe}", PROMOTE_TIMEOUT_S).view)

    def _call(self, method: str, message: Any, subject: str, patience_s: float) -> Any:
        try:
            return getattr(self._stub, method)(message, timeout=patience_s, wait_for_ready=True)
        except grpc.RpcError as error:
            call = cast(grpc.Call, error)
            kind = _ERRORS.get(call.code(), SessionError)
            told = (
                f"{call.details()}" if issubclass(kind, PromotionRefused) else f"{call.code().name}: {call.details()}"
            )
            raise kind(f"{method} of {subject}: {told}") from error
        except ValueError as error:  # the channel was closed
            raise ServiceUnreachable(f"{method} of {subject}: the connection was closed meanwhile") from error

    def close(self) -> None:
        """End what still waits."""
        self._channel.close()
