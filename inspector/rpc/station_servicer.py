"""Commands to stations and their states, over the API: convert, call, convert."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from inspector.access.identity import Role
from inspector.errors import InvalidRequest, NotFound, ServiceStopping
from inspector.promotions import Wish
from inspector.rpc import station_convert as convert
from inspector.rpc.door import Door
from inspector.rpc.ports import Control, Promotions
from inspector.rpc.slots import Slots
from inspector.rpc.status import as_status
from inspector.signalling.commands import Answer, Command, Outcome, Request
from inspector.v1 import station_pb2, station_service_pb2_grpc
from inspector.v1 import station_service_pb2 as api

R = TypeVar("R")
LOOK_S = 0.1
TOLD_EVERY_S = 1.0
RIGHTS = {
    Command.START: Role.OPERATOR,
    Command.STOP: Role.OPERATOR,
    Command.ACKNOWLEDGE: Role.OPERATOR,
    Command.CHECK: Role.OPERATOR,
    Command.RESET: Role.OPERATOR,
    Command.CHANGE_RECIPE: Role.ENGINEER,
}
"""The lowest role that may give a command."""
PROMOTES = Role.APPROVER
"""The lowest role that may let another bundle judge."""


class StationServicer(station_service_pb2_grpc.StationServiceServicer):
    """Serves the stations of one line; whoever watches is told of a change within `LOOK_S`."""

    def __init__(
        self,
        control: Control,
        door: Door,
        promotions: Promotions | None = None,
        *,
        max_watchers: int,
        max_commands: int,
    ) -> None:
        self._control = control
        self._promotions = promotions
        self._door = door
        self._watcher_slots = Slots("station watches", max_watchers, "close one")
        self._command_slots = Slots("commands", max_commands, "try again in a moment")
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End every watch; commands still get their answer."""
        self._stopping.set()

    def ListStations(self, request: api.ListStationsRequest, context: grpc.ServicerContext) -> api.ListStationsResponse:
        with as_status(context), self._command_slots.one():
            self._door.reader(context, "ListStations")
            return api.ListStationsResponse(stations=self._stations(), alive=self._control.alive())
        return api.ListStationsResponse()

    def WatchStations(
        self, request: api.WatchStationsRequest, context: grpc.ServicerContext
    ) -> Iterator[api.WatchStationsResponse]:
        with as_status(context), self._watcher_slots.one():
            who = self._door.reader(context, "WatchStations")
            over = threading.Event()
            if not context.add_callback(over.set):
                return
            told: api.WatchStationsResponse | None = None
            unsaid_s = 0.0
            while not over.is_set():
                if self._stopping.wait(LOOK_S if told else 0.0):
                    raise ServiceStopping("the service is being stopped: watch again later")
                unsaid_s += LOOK_S
                now = api.WatchStationsResponse(stations=self._stations(), alive=self._control.alive())
                if now != told or unsaid_s >= TOLD_EVERY_S:
                    self._door.check(who)
                    told, unsaid_s = now, 0.0
                    yield now

    def StartStation(self, request: api.StartStationRequest, context: grpc.ServicerContext) -> api.StartStationResponse:
        return self._give(Command.START, request, context, api.StartStationResponse)

    def StopStation(self, request: api.StopStationRequest, context: grpc.ServicerContext) -> api.StopStationResponse:
        return self._give(Command.STOP, request, context, api.StopStationResponse)

    def ChangeRecipe(self, request: api.ChangeRecipeRequest, context: grpc.ServicerContext) -> api.ChangeRecipeResponse:
        return self._give(Command.CHANGE_RECIPE, request, context, api.ChangeRecipeResponse, request.recipe)

    def AcknowledgeFault(
        self, request: api.AcknowledgeFaultRequest, context: grpc.ServicerContext
    ) -> api.AcknowledgeFaultResponse:
        return self._give(Command.ACKNOWLEDGE, request, context, api.AcknowledgeFaultResponse)

    def ResetStation(self, request: api.ResetStationRequest, context: grpc.ServicerContext) -> api.ResetStationResponse:
        return self._give(Command.RESET, request, context, api.ResetStationResponse)

    def CheckStation(self, request: api.CheckStationRequest, context: grpc.ServicerContext) -> api.CheckStationResponse:
        return self._give(Command.CHECK, request, context, api.CheckStationResponse)

    def ListRecipes(self, request: api.ListRecipesRequest, context: grpc.ServicerContext) -> api.ListRecipesResponse:
        with as_status(context), self._command_slots.one():
            self._door.reader(context, "ListRecipes")
            promotions = self._promoting()
            views = [convert.recipe_view_message(promotions.line, reading) for reading in promotions.readings()]
            return api.ListRecipesResponse(views=views)
        return api.ListRecipesResponse()

    def PromoteBundle(
        self, request: api.PromoteBundleRequest, context: grpc.ServicerContext
    ) -> api.PromoteBundleResponse:
        with as_status(context), self._command_slots.one():
            who = self._door.commander(context, "promote a bundle", request.name, PROMOTES)
            promotions = self._promoting()
            wish = convert.wish_of(request, promotions.line, who)
            return api.PromoteBundleResponse(view=self._promote(promotions, wish))
        return api.PromoteBundleResponse()

    def RollbackBundle(
        self, request: api.RollbackBundleRequest, context: grpc.ServicerContext
    ) -> api.RollbackBundleResponse:
        with as_status(context), self._command_slots.one():
            who = self._door.commander(context, "roll back a bundle", request.name, PROMOTES)
            promotions = self._promoting()
            wish = convert.way_back_of(request, promotions.line, who)
            return api.RollbackBundleResponse(view=self._promote(promotions, wish))
        return api.RollbackBundleResponse()

    def _promoting(self) -> Promotions:
        if self._promotions is None:
            raise InvalidRequest("this service promotes no bundles: ask the service of a line")
        return self._promotions

    @staticmethod
    def _promote(promotions: Promotions, wish: Wish) -> station_pb2.RecipeView:
        return convert.recipe_view_message(promotions.line, promotions.promote(wish))

    def _give(
        self,
        command: Command,
        request: Any,
        context: grpc.ServicerContext,
        response: Callable[..., R],
        recipe: str = "",
    ) -> R:
        """Hand a command over and wait for what becomes of it, as long as the client does."""
        with as_status(context), self._command_slots.one():
            who = self._door.commander(context, command.name.lower().replace("_", " "), request.name, RIGHTS[command])
            station = convert.station_of(request.name, self._control.line)
            if station not in {report.reading.name for report in self._control.report()}:
                raise NotFound(f"there is no {request.name[:200]!a} here: correct the name")
            client = convert.client_of(request.on_behalf_of, who)
            # A recipe without a name is asked for by the code of the empty name, which no recipe has.
            outcome = self._answer_of(Request(station, 0, command, 0, client, recipe), context)
            if outcome is not None:
                return response(outcome=convert.outcome_message(outcome))
        return response()

    def _answer_of(self, request: Request, context: grpc.ServicerContext) -> Outcome | None:
        """None if the client went away before; the command is carried out all the same."""
        answered = threading.Event()
        outcomes: list[Outcome] = []

        def tell(_: Request, outcome: Outcome) -> None:
            if outcome.answer is not Answer.ACCEPTED:
                outcomes.append(outcome)
                answered.set()

        self._control.submit(request, tell)
        if context.add_callback(answered.set):
            answered.wait()
        return outcomes[0] if outcomes else None

    def _stations(self) -> list[station_pb2.Station]:
        return [convert.station_message(self._control.line, report) for report in self._control.report()]
