"""Commands over the API: who may give which, what becomes of them, and that all go the one way that PLCs' commands go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from plant import Plant, plant_in
from rpc_line import wait_for
from rpc_twin import TwinPictures, TwinPipeline, TwinRecords

from inspector.access.identity import Role
from inspector.access.tls import TlsFiles
from inspector.errors import (
    AccessDenied,
    InvalidRequest,
    NotFound,
    PromotionOvertaken,
    PromotionRefused,
    ServiceStopping,
    ServiceUnreachable,
)
from inspector.promotions import BundleAt, Promotion, ViewReading, Wish
from inspector.rpc.commander import Commander
from inspector.rpc.door import Door
from inspector.rpc.follower import StationFollower
from inspector.rpc.server import RpcServer
from inspector.rpc.station_servicer import RIGHTS
from inspector.signalling.commands import Answer, Command, Fault, Outcome, Request, Why
from inspector.signalling.signal import RecipeReading, StationReading, StationReport, StationState
from inspector.v1 import station_service_pb2 as api
from inspector.v1.station_service_pb2_grpc import StationServiceStub

READING = StationReading("s1", {"cam1": True, "cam2": False}, StationState.READY, "r", "b@0123456789ab", 0)
REPORT = StationReport(READING, Fault.NONE, (RecipeReading("r", "b@0123456789ab", ""), RecipeReading("q", "", "gone")))


class TwinDesk:
    """A desk that answers every command with `outcome`, or not at all while `held`."""

    line = "a"

    def __init__(self) -> None:
        self.reports = [REPORT]
        self.taken: list[Request] = []
        self.outcome = Outcome(Answer.DONE)
        self.held = False

    def report(self) -> list[StationReport]:
        return list(self.reports)

    def alive(self) -> bool:
        return True

    def submit(self, request: Request, answered: Callable[[Request, Outcome], None]) -> None:
        self.taken.append(request)
        if not self.held:
            answered(request, Outcome(Answer.ACCEPTED))
            answered(request, self.outcome)


BEFORE, NOW = (BundleAt(f"/b/{n}", f"{n}@{n * 12}", n * 64) for n in "ab")
SINCE = Promotion("r", "top", NOW, BEFORE, "", "anna", "ben", "better", datetime(2026, 5, 4, tzinfo=UTC), True)
READINGS = [
    ViewReading("r", "top", NOW, "CPU", 7, 0.25, "", 2, SINCE, True),
    ViewReading("q", "", None, "", 0, 0.0, "gone", 1, None, False),
]


class TwinPromotions:
    """Promotes whatever is asked for, or raises `error`."""

    line = "a"

    def __init__(self) -> None:
        self.wishes: list[Wish] = []
        self.error: Exception | None = None

    def readings(self) -> list[ViewReading]:
        return READINGS

    def promote(self, wish: Wish) -> ViewReading:
        self.wishes.append(wish)
        if self.error is not None:
            raise self.error
        return READINGS[0]


class Desk:
    """A server with a desk behind it, and its client."""

    def __init__(self, tls: TlsFiles | None = None, plant: Plant | None = None) -> None:
        self.control = TwinDesk()
        self.refused: list[tuple[str, ...]] = []
        self.plant = plant
        door = Door(tls, 0.0, lambda *about: self.refused.append(about))
        parts = TwinPipeline(), TwinRecords(), TwinPictures()
        self.promotions = TwinPromotions()
        self.server = RpcServer(
            *parts,
            "127.0.0.1",
            0,
            max_frame_bytes=1000,
            tls=tls,
            door=door,
            control=self.control,
            promotions=self.promotions,
        )
        self.server.start()

    def commander(self, role: Role | None = None) -> Commander:
        if self.plant is None or role is None:
            return Commander(self.server.address, "a")
        return Commander(self.server.address, "a", self.plant.client(self.plant.user(f"u{role}", role)).credentials())


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.server.stop(0)


@pytest.mark.parametrize("command", list(Command))
def test_every_command_reaches_the_desk_as_it_was_given_and_its_answer_comes_back(desk: Desk, command: Command) -> None:
    desk.control.outcome = Outcome(Answer.FAILED, Why.CHECK_FAILED, 5, 2)
    assert desk.commander().give("s1", command, "anna", "r") == desk.control.outcome
    recipe = "r" if command is Command.CHANGE_RECIPE else ""
    assert desk.control.taken == [Request("s1", 0, command, 0, "ipv4:127.0.0.1 for anna", recipe)]


def test_every_call_that_commands_asks_for_its_role(tmp_path: Path) -> None:
    plant = plant_in(tmp_path / "plant")
    desk = Desk(TlsFiles(plant.paths), plant)
    for role in Role:
        if role is Role.NONE:
            commander = Commander(desk.server.address, "a", plant.client(plant.camera("c", "cam1")).credentials())
        else:
            commander = desk.commander(role)
        for command, right in RIGHTS.items():
            desk.control.taken.clear()
            desk.refused.clear()
            if role >= right:
                assert commander.give("s1", command, "").answer is Answer.DONE
                assert desk.control.taken[0].client.startswith(f"u{role} at ipv4:127.0.0.1")
            else:
                with pytest.raises(AccessDenied, match=right.name.lower()):
                    commander.give("s1", command, "")
                assert desk.control.taken == []
                assert desk.refused[0][2] == "lines/a/stations/s1"
        commander.close()
    desk.server.stop(0)
    # A new method must be given a right above, or be one that only reads, or one that needs an approver (below).
    methods = {method.name for method in api.DESCRIPTOR.services_by_name["StationService"].methods}
    others = {"ListStations", "WatchStations", "ListRecipes", "PromoteBundle", "RollbackBundle"}
    assert len(methods) == len(RIGHTS) + len(others)
    assert set(RIGHTS) == set(Command)


WISH = Wish("r", "top", "/b/b", "better", "", "anna", "ben", "b" * 64, "a" * 12)


def test_a_promotion_reaches_the_line_as_it_was_asked_for_and_what_judges_comes_back(desk: Desk) -> None:
    assert desk.commander().promote(WISH) == READINGS[0]
    back = replace(WISH, folder="", proposed_by="", digest="")
    assert desk.commander().promote(back) == READINGS[0]
    client = "ipv4:127.0.0.1 for anna"
    assert desk.promotions.wishes == [replace(WISH, client=client), replace(back, client=client)]
    assert desk.commander().recipes() == READINGS


def test_only_approvers_promote_and_all_may_look(tmp_path: Path) -> None:
    plant = plant_in(tmp_path / "plant")
    desk = Desk(TlsFiles(plant.paths), plant)
    for role in (Role.VIEWER, Role.OPERATOR, Role.ENGINEER, Role.APPROVER, Role.ADMIN):
        commander = desk.commander(role)
        assert commander.recipes() == READINGS
        for wish in (WISH, replace(WISH, folder="", proposed_by="", digest="")):
            desk.promotions.wishes.clear()
            desk.refused.clear()
            if role >= Role.APPROVER:
                assert commander.promote(wish) == READINGS[0]
                assert desk.promotions.wishes[0].client.startswith(f"u{role} at ipv4:127.0.0.1")
            else:
                with pytest.raises(AccessDenied, match="approver"):
                    commander.promote(wish)
                assert desk.promotions.wishes == []
                assert desk.refused[0][2] == "lines/a/recipes/r"
        commander.close()
    desk.server.stop(0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(PromotionRefused("too slow"), PromotionRefused, id="a bundle that may not"),
        pytest.param(PromotionOvertaken("ben was first"), PromotionOvertaken, id="one that came second"),
        pytest.param(NotFound("no recipe"), NotFound, id="no such recipe"),
        pytest.param(InvalidRequest("no reason"), InvalidRequest, id="no reason"),
        pytest.param(ServiceStopping("later"), ServiceUnreachable, id="a service that stops"),
    ],
)
def test_why_a_promotion_is_refused_is_told_in_words(desk: Desk, error: Exception, kind: type[Exception]) -> None:
    desk.promotions.error = error
    with pytest.raises(kind, match=str(error)) as caught:
        desk.commander().promote(WISH)
    assert type(caught.value) is kind


NONSENSE = [
    pytest.param(replace(WISH, recipe="a/b"), id="a recipe with a slash"),
    pytest.param(replace(WISH, folder="x" * 5000), id="a huge folder"),
    pytest.param(replace(WISH, folder="a\nb"), id="a folder that breaks logs"),
    pytest.param(replace(WISH, by="a\nb"), id="a person who breaks logs"),
    pytest.param(replace(WISH, proposed_by="x" * 200), id="a long name"),
    pytest.param(replace(WISH, digest="no digest"), id="no digest"),
    pytest.param(replace(WISH, replaces="abc"), id="a digest too short to mean one bundle"),
]


@pytest.mark.parametrize("wish", NONSENSE)
def test_a_promotion_that_makes_no_sense_never_reaches_the_line(desk: Desk, wish: Wish) -> None:
    with pytest.raises(InvalidRequest):
        desk.commander().promote(wish)
    assert desk.promotions.wishes == []


REFUSED = [
    pytest.param({"name": "lines/a/stations/s9"}, grpc.StatusCode.NOT_FOUND, id="a station that is none"),
    pytest.param({"name": "lines/b/stations/s1"}, grpc.StatusCode.INVALID_ARGUMENT, id="another line"),
    pytest.param({"name": ""}, grpc.StatusCode.INVALID_ARGUMENT, id="no name"),
    pytest.param({"name": "lines/a/stations/" + "s" * 300}, grpc.StatusCode.INVALID_ARGUMENT, id="a huge name"),
    pytest.param(
        {"name": "lines/a/stations/s1", "on_behalf_of": "a\nb"},
        grpc.StatusCode.INVALID_ARGUMENT,
        id="a name that breaks logs",
    ),
    pytest.param(
        {"name": "lines/a/stations/s1", "on_behalf_of": "x" * 129}, grpc.StatusCode.INVALID_ARGUMENT, id="a long name"
    ),
]


@pytest.mark.parametrize(("request_", "code"), REFUSED)
def test_what_makes_no_sense_never_reaches_the_desk(
    desk: Desk, request_: dict[str, str], code: grpc.StatusCode
) -> None:
    stub = StationServiceStub(grpc.insecure_channel(desk.server.address))
    with pytest.raises(grpc.RpcError) as caught:
        stub.StopStation(api.StopStationRequest(**request_))
    assert caught.value.code() is code  # type: ignore[attr-defined]
    assert desk.control.taken == []


def test_a_client_that_goes_away_frees_its_place(desk: Desk) -> None:
    desk.control.held = True
    stub = StationServiceStub(grpc.insecure_channel(desk.server.address))
    for number in range(40):
        call = stub.StopStation.future(api.StopStationRequest(name="lines/a/stations/s1"))
        wait_for(lambda number=number: len(desk.control.taken) == number + 1, "the command")
        call.cancel()
    desk.control.held = False
    wait_for(lambda: desk.commander().give("s1", Command.START, "").answer is Answer.DONE, "a free place")


@pytest.mark.parametrize(
    ("station", "on_behalf_of", "kind"),
    [("s9", "", NotFound), ("s1", "\0", InvalidRequest)],
    ids=["unknown station", "a name that is none"],
)
def test_a_commander_tells_failures_in_the_words_of_the_house(
    desk: Desk, station: str, on_behalf_of: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        desk.commander().give(station, Command.STOP, on_behalf_of)


def test_a_service_that_is_away_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.rpc.commander.TIMEOUT_S", 0.2)
    with pytest.raises(ServiceUnreachable):
        Commander("127.0.0.1:1", "a").give("s1", Command.STOP, "")


def test_a_watcher_is_told_of_every_change_and_that_the_service_went(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.rpc.follower.RETRY_S", 0.05)
    told: list[StationReport] = []
    states: list[str] = []
    follower = StationFollower(desk.server.address, lambda reports, _: told.extend(reports), states.append)
    wait_for(lambda: told[-1:] == [REPORT], "the stations")
    stopped = replace(REPORT, reading=replace(READING, state=StationState.STOPPED), fault=Fault.JOURNAL)
    desk.control.reports = [stopped]
    wait_for(lambda: told[-1] == stopped, "the change")
    wait_for(lambda: len(told) > 3, "a word although nothing changed")
    desk.server.stop(0)
    wait_for(lambda: states[-1] != "", "the outage")
    follower.close()


@pytest.mark.parametrize("state", list(StationState))
@pytest.mark.parametrize("fault", list(Fault))
def test_a_station_is_told_as_it_is(desk: Desk, state: StationState, fault: Fault) -> None:
    desk.control.reports = [replace(REPORT, reading=replace(READING, state=state), fault=fault)]
    came = threading.Event()
    told: list[StationReport] = []

    def tell(reports: object, _: bool) -> None:
        told.extend(reports)  # type: ignore[call-overload]
        came.set()

    follower = StationFollower(desk.server.address, tell, lambda _: None)
    assert came.wait(10)
    follower.close()
    assert told[0] == desk.control.reports[0]
