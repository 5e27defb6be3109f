"""What clients of OPC UA may ask of a station, and what becomes of it; nothing is shown that the service does not say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from asyncua import ua
from opcua_line import USERS, Desk, Loop, judged, line_in, logged_in, opcua_of
from plc_desk import wait_until
from test_control import Plc

from inspector.access.identity import Role
from inspector.inference.engine import Engine
from inspector.part import Reason, Verdict
from inspector.records.audit import AuditLog
from inspector.service import run_service
from inspector.settings import LineSettings
from inspector.signalling.commands import Answer, Command, Why
from inspector.signalling.signal import StationState

STATES = "VisionStateMachine"
MODE = f"{STATES}/AutomaticModeStateMachine"
CAUSE = (ua.Variant(0, ua.VariantType.Int32), "test")


@dataclass
class Line:
    """A line whose OPC UA program runs as long as the module, and whose service comes and goes."""

    settings: LineSettings
    do: Loop

    def client(self, user: str = "erna") -> Any:
        return logged_in(self.do, self.settings, user)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    settings = line_in(tmp_path_factory.mktemp("line"))
    do = Loop()
    with opcua_of(settings):
        yield Line(settings, do)
    do.close()


@pytest.fixture
def desk(line: Line) -> Iterator[Desk]:
    with line.client() as desk:
        yield desk


def structure(name: str, text: str = "") -> Any:
    return getattr(ua, name)(Id=text)


def start(desk: Desk, method: str = "StartContinuous", recipe: str = "") -> Any:
    about = [structure(name) for name in ("MeasIdDataType", "PartIdDataType")]
    about += [
        structure("RecipeIdExternalDataType", recipe),
        structure("ProductIdDataType"),
        ua.Variant([], ua.VariantType.Variant),
    ]
    return desk.call(f"{MODE}/{method}", *about)


def prepare(desk: Desk, recipe: str, method: str = "PrepareRecipe") -> Any:
    about = (structure("RecipeIdExternalDataType", recipe), structure("RecipeIdInternalDataType"))
    return desk.call(f"RecipeManagement/{method}", *about)


def status_of(call: Any, *arguments: Any) -> str:
    """Name of the status that a call is refused with."""
    with pytest.raises(ua.UaStatusCodeError) as caught:
        call(*arguments)
    return str(ua.StatusCode(caught.value.code).name)


def test_a_service_that_is_away_is_never_shown_as_judging(line: Line, desk: Desk) -> None:
    assert desk.state in ("Preoperational", "Error")
    assert status_of(start, desk) in ("BadInvalidState", "BadCommunicationError")
    with run_service(line.settings):
        desk.wait_for("ContinuousExecution")
        assert "PRD" in desk.value("SystemState").State.name
    desk.wait_for("Error")
    assert desk.value("SystemState").StateDescription
    assert status_of(desk.call, f"{STATES}/Reset", *CAUSE) == "BadCommunicationError"
    with run_service(line.settings):
        desk.wait_for("ContinuousExecution")


def test_what_clients_and_plcs_do_is_one(line: Line, desk: Desk) -> None:
    with run_service(line.settings):
        desk.wait_for("ContinuousExecution")
        plc = Plc(line.settings.modbus_listen.port)
        assert desk.call(f"{MODE}/Stop", *CAUSE) == 0
        assert plc.state is StationState.STOPPED
        assert desk.state == "Ready"
        assert prepare(desk, "dark")[2] == 0
        assert plc.recipe == "dark"
        assert plc.give(Command.START) == (Answer.DONE, Why.NONE)
        desk.wait_for("ContinuousExecution")
        assert plc.give(Command.CHANGE_RECIPE, "bright") == (Answer.DONE, Why.NONE)
        assert plc.give(Command.STOP) == (Answer.DONE, Why.NONE)
        desk.wait_for("Ready")
        job, error = start(desk, recipe="bright")
        assert (error, desk.state) == (0, "ContinuousExecution")
        assert job.Id.startswith("s1/")
        assert plc.state is StationState.READY
    told = [
        (entry.actor, entry.action)
        for entry in AuditLog(line.settings.data_dir / "audit.jsonl").entries()
        if entry.action.startswith("command")
    ]
    assert ("ipv4:127.0.0.1 for erna at 127.0.0.1", "command stop") in told
    assert ("ipv4:127.0.0.1 for erna at 127.0.0.1", "command change recipe") in told
    assert ("PLC 127.0.0.1", "command start") in told


def test_the_states_of_the_standard_are_gone_through(line: Line, desk: Desk) -> None:
    with run_service(line.settings):
        desk.wait_for("ContinuousExecution")
        assert status_of(start, desk) == "BadInvalidState"
        assert status_of(prepare, desk, "bright", "UnprepareRecipe") == "BadInvalidState"
        assert desk.call(f"{STATES}/SelectModeAutomatic") == 0
        assert desk.call(f"{MODE}/Abort", *CAUSE) == 0
        assert (
            desk.value(STATES, "AutomaticModeStateMachine", "0:LastTransition").Text
            == "ContinuousExecutionToReadyAbort"
        )
        assert status_of(desk.call, f"{MODE}/Stop", *CAUSE) == "BadInvalidState"
        assert start(desk, recipe="dark")[1] == Why.UNKNOWN_RECIPE
        assert prepare(desk, "dark", "UnprepareRecipe")[1] == Why.UNKNOWN_RECIPE
        assert prepare(desk, "bright", "UnprepareRecipe")[1] == 0
        assert desk.state == "Initialized"
        assert status_of(start, desk) == "BadInvalidState"
        assert prepare(desk, "bright")[2] == 0
        assert desk.state == "Ready"
        assert prepare(desk, "broken")[2] == Why.NO_BUNDLE
        assert prepare(desk, "nonsense")[2] == Why.UNKNOWN_RECIPE
        assert desk.call(f"{STATES}/Halt", *CAUSE) == 0
        assert desk.state == "Halted"
        assert status_of(start, desk) == "BadInvalidState"
        assert desk.call(f"{STATES}/Reset", *CAUSE) == 0
        assert desk.state == "Ready"
        assert start(desk)[1] == 0


def test_a_single_job_stops_after_its_part(line: Line, desk: Desk) -> None:
    with run_service(line.settings):
        desk.wait_for("ContinuousExecution")
        assert desk.call(f"{MODE}/Stop", *CAUSE) == 0
        trigger = next_trigger(line)
        job, error = start(desk, "StartSingleJob")
        assert (error, desk.state) == (0, "SingleExecution")
        (part,) = judged(line.settings, (trigger, 20))
        assert part.verdict == Verdict.PASS
        desk.wait_for("Ready")
        (after,) = judged(line.settings, (trigger + 1, 20))
        assert after.reason == Reason.STATION_STOPPED
        result = desk.call(
            "ResultManagement/GetResultById",
            structure("ResultIdDataType", part.name),
            ua.Variant(0, ua.VariantType.Int32),
        )
        assert result[1].JobId == job
        assert start(desk)[1] == 0


def next_trigger(line: Line) -> int:
    """What the camera numbers its next part with."""
    from inspector.cameras.connection import Connection

    connection = Connection(str(line.settings.grpc_listen), "l1", "c1", "test", 10.0)
    session = next(iter(connection)).session
    connection.finish()
    connection.cancel()
    connection.close()
    return int(session.next_trigger)


def test_a_model_that_fails_its_golden_check_is_an_error_until_reset(
    line: Line, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_service(line.settings):
        desk.wait_for("ContinuousExecution")
        infer = Engine.infer
        monkeypatch.setattr(Engine, "infer", lambda engine, batch: infer(engine, 255 - batch))
        assert desk.call(f"{STATES}/Reset", *CAUSE) == Why.CHECK_FAILED
        desk.wait_for("Error")
        assert desk.value("SystemState").StateDescription == "check failed"
        assert status_of(desk.call, f"{STATES}/ConfirmAll", ua.LocalizedText("seen")) == "BadInvalidState"
        monkeypatch.setattr(Engine, "infer", infer)
        assert desk.call(f"{STATES}/Reset", *CAUSE) == 0
        assert desk.state == "ContinuousExecution"


RIGHTS = {
    f"{STATES}/Halt": Role.OPERATOR,
    f"{STATES}/Reset": Role.OPERATOR,
    f"{STATES}/SelectModeAutomatic": Role.OPERATOR,
    f"{STATES}/ConfirmAll": Role.OPERATOR,
    f"{MODE}/StartContinuous": Role.OPERATOR,
    f"{MODE}/StartSingleJob": Role.OPERATOR,
    f"{MODE}/Stop": Role.OPERATOR,
    f"{MODE}/Abort": Role.OPERATOR,
    "RecipeManagement/AddRecipe": Role.ENGINEER,
    "RecipeManagement/RecipeTransfer/0:GenerateFileForRead": Role.ENGINEER,
    "RecipeManagement/RecipeTransfer/0:GenerateFileForWrite": Role.ENGINEER,
    "RecipeManagement/RecipeTransfer/0:CloseAndCommit": Role.ENGINEER,
    "RecipeManagement/PrepareRecipe": Role.ENGINEER,
    "RecipeManagement/UnprepareRecipe": Role.ENGINEER,
    "RecipeManagement/GetRecipeListFiltered": Role.VIEWER,
    "RecipeManagement/ReleaseRecipeHandle": Role.VIEWER,
    "ResultManagement/GetResultById": Role.VIEWER,
    "ResultManagement/GetResultComponentsById": Role.VIEWER,
    "ResultManagement/GetResultListFiltered": Role.VIEWER,
    "ResultManagement/ReleaseResultHandle": Role.VIEWER,
}


def test_every_method_asks_for_its_role(line: Line) -> None:
    for user, role in USERS.items():
        with line.client(user) as desk:
            for path, right in RIGHTS.items():
                # One argument too many, so that nothing is done: rights are looked at first.
                status = status_of(desk.call, path, *[ua.Variant(0, ua.VariantType.Int32)] * 20)
                assert status == ("BadTooManyArguments" if role >= right else "BadUserAccessDenied"), (user, path)
            there = [
                f"{parent}/{'' if child.NamespaceIndex else '0:'}{child.Name}"
                for parent in (STATES, MODE, "RecipeManagement", "RecipeManagement/RecipeTransfer", "ResultManagement")
                for child in methods_of(desk, *parent.split("/"))
            ]
            # A method that is added must be given a right above.
            assert sorted(there) == sorted(RIGHTS)
    wait_until(lambda: "refused OPC UA method Halt" in actions(line.settings), "the refusal on record")


def actions(settings: LineSettings) -> list[str]:
    return [entry.action for entry in AuditLog(settings.data_dir / "audit.jsonl").entries()]


def methods_of(desk: Desk, *path: str) -> list[ua.QualifiedName]:
    node = desk.node(*path)
    children = desk.do(node.get_children(nodeclassmask=ua.NodeClass.Method))
    return [desk.do(child.read_browse_name()) for child in children]


INT, UINT, TEXT = (
    (lambda v: ua.Variant(v, ua.VariantType.Int32)),
    (lambda v: ua.Variant(v, ua.VariantType.UInt32)),
    ua.Variant,
)
NONSENSE = [
    pytest.param("ResultManagement/GetResultById", (), "BadArgumentsMissing", id="no arguments"),
    pytest.param(
        "ResultManagement/GetResultById", (INT(3), INT(0)), "BadInvalidArgument", id="a number for a structure"
    ),
    pytest.param(
        "ResultManagement/GetResultById", (TEXT("x" * 100_000), INT(0)), "BadInvalidArgument", id="a huge text"
    ),
    pytest.param(
        "ResultManagement/GetResultById",
        (TEXT(["lines/l1/inspections/1"] * 1000), INT(0)),
        "BadInvalidArgument",
        id="an array",
    ),
    pytest.param(
        "ResultManagement/ReleaseResultHandle", (UINT(4_000_000_000),), "BadInvalidArgument", id="no such handle"
    ),
    pytest.param("ResultManagement/ReleaseResultHandle", (TEXT([1, 2]),), "BadInvalidArgument", id="many handles"),
    pytest.param(
        "ResultManagement/GetResultListFiltered", tuple([INT(-1)] * 12), "BadInvalidArgument", id="negative counts"
    ),
    pytest.param(
        "RecipeManagement/GetRecipeListFiltered", tuple([TEXT("?")] * 6), "BadInvalidArgument", id="texts for all"
    ),
]


@pytest.mark.parametrize(("path", "arguments", "status"), NONSENSE)
def test_nonsense_is_refused_and_the_next_call_answered(
    line: Line, desk: Desk, path: str, arguments: tuple[Any, ...], status: str
) -> None:
    assert status_of(desk.call, path, *arguments) == status
    assert desk.state


IDS = [
    pytest.param("lines/l1/inspections/999999", "BadNotFound", id="a number that was not given yet"),
    pytest.param("lines/other/inspections/1", "BadNotFound", id="another line"),
    pytest.param("lines/l1/inspections/99999999999999999999", "BadInvalidArgument", id="a number beyond all"),
    pytest.param("../../etc/passwd", "BadInvalidArgument", id="a path"),
    pytest.param("", "BadInvalidArgument", id="nothing"),
]


@pytest.mark.parametrize(("result_id", "status"), IDS)
def test_results_that_are_none_are_refused(line: Line, desk: Desk, result_id: str, status: str) -> None:
    with run_service(line.settings):
        asked = structure("ResultIdDataType", result_id)
        assert status_of(desk.call, "ResultManagement/GetResultById", asked, INT(0)) == status


def test_a_result_is_the_same_whole_and_in_parts(line: Line, desk: Desk) -> None:
    with run_service(line.settings):
        desk.wait_for("ContinuousExecution")
        (part,) = judged(line.settings, (next_trigger(line), 240))
        asked = structure("ResultIdDataType", part.name), INT(0)
        _, whole, _ = desk.call("ResultManagement/GetResultById", *asked)
        parts = desk.call("ResultManagement/GetResultComponentsById", *asked)
    assert parts[4] == whole.ResultState == 1
    named = {type(one).__name__: one for one in parts}
    assert named["MeasIdDataType"].Id == str(part.trigger)
    assert named["RecipeIdInternalDataType"].Version == part.bundle
    assert named["JobIdDataType"] == whole.JobId
    content = next(one for one in parts if isinstance(one, list))[0]
    assert content.Value == whole.ResultContent[0].Value
    assert (content.Value.Verdict.name, content.Value.Trigger) == ("REJECT", part.trigger)
    assert parts[-1] == 0
