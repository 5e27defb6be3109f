"""A line over OPC UA by node-opcua, a client that nobody here wrote: browse, call, subscribe, read results and history."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from foreign_client import ForeignClient, ForeignError
from opcua_line import PASSWORD, judged, line_in, opcua_of

from inspector.inference.bundle import open_bundle
from inspector.service import run_service
from inspector.settings import LineSettings

AUTOMATIC = "s1.VisionStateMachine.AutomaticModeStateMachine"
RECIPE, INTERNAL_RECIPE, PRODUCT, PART, MEAS, RESULT, JOB, CONFIGURATION = (
    3002,
    3013,
    3003,
    3004,
    3015,
    3021,
    3016,
    3008,
)
TRANSFER_OPTIONS = 3012
RESULT_READY, STATE_CHANGED = 1024, 1018
NOTHING: dict[str, Any] = {"id": ""}
START = [[MEAS, NOTHING], [PART, NOTHING], [RECIPE, NOTHING], [PRODUCT, NOTHING], ["Variant", None]]
CAUSE = [["Int32", 0], ["String", "test"]]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LineSettings]:
    settings = line_in(tmp_path_factory.mktemp("line"))
    with run_service(settings), opcua_of(settings):
        yield settings


def client_of(settings: LineSettings) -> ForeignClient:
    assert settings.file.opcua is not None
    return ForeignClient(f"opc.tcp://{settings.file.opcua.listen}", settings.path.parent)


@pytest.fixture
def foreign(settings: LineSettings) -> Iterator[ForeignClient]:
    client = client_of(settings)
    client("login", user="erna", password=PASSWORD)
    yield client
    client.close()


def wait_for_state(foreign: ForeignClient, state: str) -> None:
    node = f"{AUTOMATIC}.CurrentState"
    for _ in range(400):
        if foreign("read", node=node)["value"]["text"] == state:
            return
    raise AssertionError(f"{state} never came")


def test_node_opcua_follows_commands_and_reads_a_line(settings: LineSettings, foreign: ForeignClient) -> None:
    assert foreign("type", node="s1") == {"name": "VisionSystemType", "id": "ns=2;i=1003"}
    assert foreign("browse", node="own:s1") == [
        "RecipeManagement",
        "ResultManagement",
        "SystemState",
        "VisionStateMachine",
    ]
    wait_for_state(foreign, "ContinuousExecution")
    fields = [
        "0:EventType",
        "0:Severity",
        "ResultId",
        "ResultState",
        "PartId",
        "InternalRecipeId",
        "JobId",
        "ResultContent",
    ]
    assert foreign("subscribe", node="s1", fields=fields, type=RESULT_READY) == "Good"

    judged(settings, (1, 20), (2, 240))
    passed, rejected = foreign("events", count=2)
    assert passed[0] == rejected[0] == f"ns=2;i={RESULT_READY}"
    assert passed[1] < rejected[1]
    assert (passed[2]["id"], passed[3], passed[4]["id"]) == ("lines/l1/inspections/1", 1, "P1")
    assert rejected[5]["id"] == "bright"
    assert rejected[5]["version"].startswith("bright@")
    told = rejected[7][0]["value"]
    assert (told["verdict"], told["reasonName"], told["defectClass"]) == (2, "SCORE_ABOVE_LIMIT", "anomaly")
    assert told["findings"][0]["widthPx"] == 32

    answer = foreign(
        "call", object="s1.ResultManagement", method="GetResultById", args=[[RESULT, rejected[2]], ["Int32", 0]]
    )
    handle, result, error = answer["outputs"]
    assert (answer["status"], error) == ("Good", 0)
    assert result["jobId"] == rejected[6]
    assert result["resultContent"][0]["value"] == told
    released = foreign("call", object="s1.ResultManagement", method="ReleaseResultHandle", args=[["UInt32", handle]])
    assert released == {"status": "Good", "outputs": [0]}


def test_node_opcua_changes_the_recipe_and_starts_and_stops(settings: LineSettings, foreign: ForeignClient) -> None:
    wait_for_state(foreign, "ContinuousExecution")
    fields = ["0:SourceName", "0:FromState", "0:ToState", "0:Transition"]
    assert foreign("subscribe", node="Server", fields=fields, type=STATE_CHANGED) == "Good"
    assert foreign("call", object=AUTOMATIC, method="Stop", args=CAUSE) == {"status": "Good", "outputs": [0]}
    wait_for_state(foreign, "Ready")
    told: list[list[str]] = []
    while ["s1", "ContinuousExecution", "Ready", "ContinuousExecutionToReadyStop"] not in told:
        told += [[event[0], *(text["text"] for text in event[1:])] for event in foreign("events", count=1)]
    assert foreign("read", node=f"{AUTOMATIC}.LastTransition")["value"]["text"] == "ContinuousExecutionToReadyStop"
    recipes = "s1.RecipeManagement"
    asked = [[RECIPE, NOTHING], [PRODUCT, NOTHING], ["Int32", 1], ["UInt32", 0], ["UInt32", 0], ["Int32", 0]]
    complete, count, _, usable, _ = foreign("call", object=recipes, method="GetRecipeListFiltered", args=asked)[
        "outputs"
    ]
    assert (complete, count, [one["id"] for one in usable]) == (True, 2, ["bright", "dark"])
    prepared = foreign(
        "call", object=recipes, method="PrepareRecipe", args=[[RECIPE, {"id": "dark"}], [INTERNAL_RECIPE, NOTHING]]
    )
    assert prepared["outputs"][0]["version"].startswith("dark@")
    assert prepared["outputs"][1:] == [True, 0]
    started = foreign("call", object=AUTOMATIC, method="StartContinuous", args=START)
    assert started["outputs"][1] == 0
    wait_for_state(foreign, "ContinuousExecution")
    *_, part = judged(settings, (3, 40))
    assert part.recipe == "dark"
    results = "s1.ResultManagement"
    wanted = [["Int32", 0], [MEAS, NOTHING], [PART, {"id": "P3"}], [RECIPE, {"id": "dark"}], [INTERNAL_RECIPE, NOTHING]]
    wanted += [[CONFIGURATION, NOTHING], [CONFIGURATION, NOTHING], [PRODUCT, NOTHING], [JOB, started["outputs"][0]]]
    wanted += [["UInt32", 10], ["UInt32", 0], ["Int32", 0]]
    found: list[Any] = []
    while not found:
        answer = foreign("call", object=results, method="GetResultListFiltered", args=wanted)
        found = answer["outputs"][3] or []
    assert [one["partId"]["id"] for one in found] == ["P3"]
    assert found[0]["jobId"] == started["outputs"][0]


def test_node_opcua_reads_a_recipe_as_a_file(settings: LineSettings, foreign: ForeignClient) -> None:
    wait_for_state(foreign, "ContinuousExecution")
    added = foreign(
        "call", object="s1.RecipeManagement", method="AddRecipe", args=[[RECIPE, {"id": "dark"}], [PRODUCT, NOTHING]]
    )
    internal = added["outputs"][0]
    assert (internal["id"], added["outputs"][3:]) == ("dark", [False, 0])
    transfer = "s1.RecipeManagement.RecipeTransfer"
    wanted = [[TRANSFER_OPTIONS, {"internalId": {"id": "dark", "version": internal["version"]}}]]
    made = foreign("call", object=transfer, method="GenerateFileForRead", args=wanted)
    assert made["status"] == "Good"
    file, handle = made["outputs"][0].partition(";s=")[2], ["UInt32", made["outputs"][1]]
    assert foreign("type", node=file) == {"name": "FileType", "id": "ns=0;i=11575"}
    size = foreign("read", node=f"{file}.Size")["value"]
    data = b""
    while part := foreign("call", object=file, method="Read", args=[handle, ["Int32", 1000]])["outputs"][0]["data"]:
        data += bytes(part)
    assert [0, len(data)] == size
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
        archive.extractall(settings.path.parent / "received", filter="data")
    assert names[:2] == ["about.json", "recipe.toml"]
    (received,) = (settings.path.parent / "received" / "bundles").iterdir()
    assert open_bundle(received).label == internal["version"]
    assert foreign("call", object=file, method="Close", args=[handle])["status"] == "Good"
    assert foreign("call", object=file, method="Read", args=[handle, ["Int32", 1]])["status"] != "Good"


def test_node_opcua_reads_the_history_of_results(settings: LineSettings, foreign: ForeignClient) -> None:
    last = judged(settings, *((trigger, 20) for trigger in range(4, 10)))[-1].sequence
    about = {"node": "s1", "fields": ["0:Time", "ResultId", "ResultState"]}
    span = {"start": "2020-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}
    names: list[str] = []
    while len(names) < last:  # the last ones are on their way to the database
        answer = foreign("history", **about, **span)
        assert answer["status"] == "Good"
        names = [event[1]["id"] for event in answer["found"]]
    assert names == [f"lines/l1/inspections/{number}" for number in range(1, last + 1)]
    pages = foreign("history", **about, **span, count=4)
    assert [event[1]["id"] for event in pages["found"]] == names
    newest = foreign("history", **about, start=span["end"], end=span["start"], count=2)
    assert [event[1]["id"] for event in newest["found"][:2]] == names[::-1][:2]


REFUSED = [
    pytest.param({"user": "erna", "password": "wrong horse"}, id="a wrong password"),
    pytest.param({"user": "nobody", "password": PASSWORD}, id="an unknown name"),
    pytest.param({"user": ""}, id="no name"),
    pytest.param({"user": "erna", "password": PASSWORD, "mode": "Sign"}, id="signed but not encrypted"),
    pytest.param({"user": "erna", "password": PASSWORD, "mode": "None", "policy": "None"}, id="in clear"),
    pytest.param(
        {"user": "erna", "password": PASSWORD, "policy": "Basic128Rsa15"}, id="an encryption that is broken by now"
    ),
]


@pytest.mark.parametrize("login", REFUSED)
def test_who_is_not_known_or_not_encrypted_does_not_come_in(settings: LineSettings, login: dict[str, str]) -> None:
    client = client_of(settings)
    try:
        with pytest.raises(ForeignError):
            client("login", **login)
    finally:
        client.close()


def test_one_way_in_is_offered(settings: LineSettings) -> None:
    client = client_of(settings)
    offered = client("endpoints")
    client.close()
    assert offered == [{"mode": "SignAndEncrypt", "policy": "Basic256Sha256", "tokens": ["UserName"]}]


def test_nothing_can_be_written(foreign: ForeignClient) -> None:
    with pytest.raises(ForeignError, match="BadServiceUnsupported"):
        foreign("write", node="s1.VisionStateMachine.CurrentState")
