"""The PLC in control of a real line: changeover, start and stop, faults, golden check; over Modbus, while parts pass."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from plc_desk import RawClient, wait_until
from test_service import free_port, stream
from toys import toy_bundle

from inspector.control import REMEMBERED_FILE, read_memory, recipe_code
from inspector.inference.engine import Engine
from inspector.part import Reason, Verdict
from inspector.records.audit import AuditLog
from inspector.rpc.commander import Commander
from inspector.service import Service, run_service
from inspector.settings import LineSettings, load_line_file
from inspector.signalling.commands import Answer, Command, Fault, Outcome, Why
from inspector.signalling.registers import unpack_block
from inspector.signalling.signal import StationState
from inspector.v1 import inspection_pb2 as values

LINE = """
[line]
name = "l1"
[grpc]
listen = "127.0.0.1:{}"
[modbus]
listen = "127.0.0.1:{}"
write_allow = ["127.0.0.1"]
[[station]]
name = "s1"
camera = "c1"
unit = 1
recipe = "bright"
recipes = ["dark", "broken"]
[recipe.bright]
bundle = "bright"
deadline_ms = 5000
[recipe.dark]
bundle = "dark"
deadline_ms = 5000
[recipe.broken]
bundle = "none"
"""


@dataclass
class Plc:
    """The little of a PLC that gives commands."""

    port: int
    number: int = 0
    numbers: list[int] = field(default_factory=list)

    def read(self, address: int, count: int) -> list[int]:
        with RawClient(self.port) as client:
            return client.read(address, count)

    def give(self, command: int, recipe: str = "") -> tuple[Answer, Why]:
        """Give a command and wait for its answer."""
        self.number += 1
        code = recipe_code(recipe) if recipe else 0
        pdu = struct.pack(">BHHB4H", 16, 2000, 4, 8, self.number, command, code >> 16, code & 0xFFFF)
        with RawClient(self.port) as client:
            client.socket.sendall(struct.pack(">HHHB", 7, 0, 1 + len(pdu), 1) + pdu)
            assert client.receive()[7] == 16
        wait_until(self.answered, "the answer")
        _, answer, why = self.read(2008, 3)
        return Answer(answer), Why(why)

    def answered(self) -> bool:
        number, answer = self.read(2008, 2)
        return number == self.number and answer != Answer.ACCEPTED

    @property
    def state(self) -> StationState:
        return StationState(self.read(4, 1)[0])

    @property
    def fault(self) -> Fault:
        return Fault(self.read(2011, 1)[0])

    @property
    def recipe(self) -> str:
        return unpack_block(self.read(0, 82)).recipe


@pytest.fixture
def settings(tmp_path: Path) -> LineSettings:
    toy_bundle(tmp_path / "bright", name="bright")
    toy_bundle(tmp_path / "dark", name="dark", limit=0.05)
    (tmp_path / "line.toml").write_text(LINE.format(free_port(), free_port()))
    return load_line_file(tmp_path / "line.toml")


@pytest.fixture
def service(settings: LineSettings) -> Iterator[Service]:
    with run_service(settings) as running:
        yield running


@pytest.fixture
def plc(settings: LineSettings, service: Service) -> Plc:
    return Plc(settings.modbus_listen.port)


def judged(settings: LineSettings, *parts: tuple[int, int]) -> list[values.Inspection]:
    return stream(settings, [(trigger, value, f"P{trigger}") for trigger, value in parts])


def test_a_changeover_counts_from_the_next_part_on(settings: LineSettings, plc: Plc) -> None:
    (before,) = judged(settings, (1, 40))
    assert plc.give(Command.CHANGE_RECIPE, "dark") == (Answer.DONE, Why.NONE)
    (after,) = judged(settings, (2, 40))
    assert (before.recipe, before.verdict) == ("bright", Verdict.PASS)
    assert (after.recipe, after.verdict) == ("dark", Verdict.REJECT)
    assert after.bundle.startswith("dark@")
    assert plc.recipe == "dark"


def test_parts_that_are_in_flight_are_judged_by_the_recipe_they_came_under(
    settings: LineSettings, plc: Plc, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, open_ = threading.Event(), threading.Event()
    infer = Engine.infer

    def held(engine: Engine, batch: object) -> object:
        entered.set()
        assert open_.wait(20)
        return infer(engine, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "infer", held)
    came: list[values.Inspection] = []
    camera = threading.Thread(target=lambda: came.extend(judged(settings, (1, 40))))
    camera.start()
    assert entered.wait(20)
    assert plc.give(Command.CHANGE_RECIPE, "dark") == (Answer.DONE, Why.NONE)
    open_.set()
    camera.join(20)
    assert [(one.recipe, one.verdict) for one in came] == [("bright", Verdict.PASS)]
    assert judged(settings, (2, 40))[0].recipe == "dark"


def test_a_stopped_station_gives_every_trigger_its_unknown_and_says_so(settings: LineSettings, plc: Plc) -> None:
    assert plc.give(Command.STOP) == (Answer.DONE, Why.NONE)
    assert plc.state is StationState.STOPPED
    stopped = judged(settings, (1, 20), (3, 20))
    assert [(one.trigger, one.reason) for one in stopped] == [
        (1, Reason.STATION_STOPPED),
        (2, Reason.TRIGGER_GAP),
        (3, Reason.STATION_STOPPED),
    ]
    assert plc.give(Command.START) == (Answer.DONE, Why.NONE)
    assert plc.state is StationState.READY
    assert judged(settings, (4, 20))[0].verdict == Verdict.PASS


REFUSED = [
    pytest.param(Command.CHANGE_RECIPE, "nonsense", (Answer.REFUSED, Why.UNKNOWN_RECIPE), id="a recipe that is none"),
    pytest.param(Command.CHANGE_RECIPE, "", (Answer.REFUSED, Why.UNKNOWN_RECIPE), id="no recipe"),
    pytest.param(Command.CHANGE_RECIPE, "broken", (Answer.REFUSED, Why.NO_BUNDLE), id="a recipe without a bundle"),
    pytest.param(0, "", (Answer.REFUSED, Why.UNKNOWN_COMMAND), id="no command"),
    pytest.param(77, "", (Answer.REFUSED, Why.UNKNOWN_COMMAND), id="a command of another version"),
]


@pytest.mark.parametrize(("command", "recipe", "answer"), REFUSED)
def test_what_cannot_be_done_is_refused_with_the_reason_and_changes_nothing(
    settings: LineSettings, plc: Plc, command: int, recipe: str, answer: tuple[Answer, Why]
) -> None:
    assert plc.give(command, recipe) == answer
    assert (plc.recipe, plc.state) == ("bright", StationState.READY)
    assert judged(settings, (1, 20))[0].verdict == Verdict.PASS


def test_a_golden_check_on_demand_counts_its_images(plc: Plc) -> None:
    assert plc.give(Command.CHECK) == (Answer.DONE, Why.NONE)
    checked, failed = plc.read(2013, 2)
    assert checked > 1
    assert failed == 0
    assert plc.fault is Fault.NONE


def test_a_model_that_no_longer_gives_its_golden_scores_judges_no_more_until_it_is_reset(
    settings: LineSettings, plc: Plc, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Engine.infer
    drifted = lambda engine, batch: infer(engine, 255 - batch)  # noqa: E731
    monkeypatch.setattr(Engine, "infer", drifted)
    assert plc.give(Command.CHECK) == (Answer.FAILED, Why.CHECK_FAILED)
    assert (plc.fault, plc.state) == (Fault.CHECK_FAILED, StationState.FAULT)
    (part,) = judged(settings, (1, 20))
    assert (part.verdict, part.reason) == (Verdict.UNKNOWN, Reason.NOT_READY)
    assert plc.give(Command.ACKNOWLEDGE) == (Answer.REFUSED, Why.FAULT_PERSISTS)
    assert plc.give(Command.RESET) == (Answer.FAILED, Why.CHECK_FAILED)
    assert plc.read(2014, 1)[0] > 0
    assert plc.give(Command.START) == (Answer.REFUSED, Why.NO_BUNDLE)
    assert plc.give(Command.CHANGE_RECIPE, "bright") == (Answer.REFUSED, Why.NO_BUNDLE)
    assert plc.give(Command.CHANGE_RECIPE, "dark") == (Answer.DONE, Why.NONE)
    assert plc.give(Command.CHANGE_RECIPE, "bright") == (Answer.REFUSED, Why.NO_BUNDLE)
    assert plc.fault is Fault.CHECK_FAILED
    monkeypatch.setattr(Engine, "infer", infer)
    assert plc.give(Command.RESET) == (Answer.DONE, Why.NONE)
    assert (plc.fault, plc.state) == (Fault.NONE, StationState.READY)
    assert plc.give(Command.CHANGE_RECIPE, "bright") == (Answer.DONE, Why.NONE)
    assert judged(settings, (2, 20))[0].verdict == Verdict.PASS


def test_what_a_station_was_told_outlives_a_restart(settings: LineSettings) -> None:
    with run_service(settings):
        plc = Plc(settings.modbus_listen.port)
        assert plc.give(Command.CHANGE_RECIPE, "dark") == (Answer.DONE, Why.NONE)
        assert plc.give(Command.STOP) == (Answer.DONE, Why.NONE)
    with run_service(settings):
        plc = Plc(settings.modbus_listen.port)
        assert (plc.recipe, plc.state) == ("dark", StationState.STOPPED)
        assert plc.read(2008, 2) == [0, Answer.NONE]


def test_commands_are_on_record(settings: LineSettings) -> None:
    with run_service(settings):
        plc = Plc(settings.modbus_listen.port)
        plc.give(Command.CHANGE_RECIPE, "dark")
        plc.give(Command.CHANGE_RECIPE, "nonsense")
    told = [
        (entry.actor, entry.action, entry.details)
        for entry in AuditLog(settings.data_dir / "audit.jsonl").entries()
        if entry.action.startswith("command")
    ]
    assert told == [
        ("PLC 127.0.0.1", "command change recipe", {"answer": "DONE", "recipe": "dark"}),
        ("PLC 127.0.0.1", "command change recipe", {"answer": "REFUSED", "why": "UNKNOWN_RECIPE", "recipe": "dark"}),
    ]


def test_a_flood_of_commands_leaves_the_line_judging(settings: LineSettings, plc: Plc) -> None:
    with RawClient(settings.modbus_listen.port) as client:
        for number in range(1, 400):
            pdu = struct.pack(">BHHB2H", 16, 2000, 2, 4, number, Command.START)
            client.socket.sendall(struct.pack(">HHHB", number, 0, 1 + len(pdu), 1) + pdu)
        assert judged(settings, (1, 20))[0].verdict == Verdict.PASS
        for _ in range(1, 400):
            assert client.receive()[7] == 16
    plc.number = 399
    wait_until(lambda: plc.give(Command.STOP) == (Answer.DONE, Why.NONE), "the commands before it")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="a list"),
        pytest.param('{"version": 2, "stations": {}}', id="another version"),
        pytest.param('{"version": 1, "stations": {"s1": {"recipe": 3, "stopped": false}}}', id="a number for a name"),
        pytest.param('{"version": 1, "stations": {"s1": {}}}', id="half of it"),
        pytest.param("[" * 50_000, id="nested too deep"),
        pytest.param(
            '{"version": 1, "stations": {"s1": {"recipe": "gone", "stopped": false}}}', id="a recipe that is gone"
        ),
    ],
)
def test_a_memory_that_cannot_be_believed_lets_the_stations_begin_as_the_line_file_says(
    settings: LineSettings, text: str
) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / REMEMBERED_FILE).write_text(text)
    assert read_memory(settings.data_dir / "none.json") == {}
    with run_service(settings):
        assert Plc(settings.modbus_listen.port).recipe == "bright"


def test_commands_of_a_plc_and_of_the_api_wait_for_each_other(
    settings: LineSettings, plc: Plc, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, open_ = threading.Event(), threading.Event()
    infer = Engine.infer

    def held(engine: Engine, batch: object) -> object:
        entered.set()
        assert open_.wait(20)
        return infer(engine, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "infer", held)
    commander = Commander(str(settings.grpc_listen), "l1")
    checks: list[Outcome] = []
    check = threading.Thread(target=lambda: checks.append(commander.give("s1", Command.CHECK, "erna")))
    check.start()
    assert entered.wait(20)
    assert plc.give(Command.CHANGE_RECIPE, "dark") == (Answer.REFUSED, Why.BUSY)
    assert commander.give("s1", Command.CHANGE_RECIPE, "erna", "dark") == Outcome(Answer.REFUSED, Why.BUSY)
    assert plc.give(Command.STOP) == (Answer.DONE, Why.NONE)
    open_.set()
    check.join(20)
    assert [one.answer for one in checks] == [Answer.DONE]
    assert checks[0].checked > 1
    assert commander.give("s1", Command.CHANGE_RECIPE, "erna", "") == Outcome(Answer.REFUSED, Why.UNKNOWN_RECIPE)
    assert commander.give("s1", Command.CHANGE_RECIPE, "erna", "dark") == Outcome(Answer.DONE)
    assert plc.recipe == "dark"
    commander.close()
