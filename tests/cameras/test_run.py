"""The camera program: several cameras at once, none of which can hold up another, and an account of each."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from rpc_line import Line, Lines, wait_for
from rpc_twin import TwinPipeline
from scripted import BAD, GOOD, ScriptedSource, taken
from typer.testing import CliRunner

from inspector.cameras.account import Account, ResultsFile, open_results
from inspector.cameras.metrics import CameraCollector
from inspector.cameras.run import CameraPlan, in_flight, run_cameras
from inspector.cameras.sources.registry import SOURCES, make_source
from inspector.cameras.sources.source import Lost, Source
from inspector.cameras.stages import without_part_id
from inspector.cli import app
from inspector.errors import ConfigError, SourceError, UnknownCamera
from inspector.settings import CAMERA_TABLES
from inspector.station import SessionInfo


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.cameras.run.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("inspector.cameras.run.LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr("inspector.cameras.run.ENDING_TIMEOUT_S", 0.2)


def plan(line: Line, source: Source, camera: str = "cam1", **more: object) -> CameraPlan:
    return CameraPlan(camera, source, line.server.address, "a", **more)  # type: ignore[arg-type]


def run(*plans: CameraPlan, ending: threading.Event | None = None) -> list[Account]:
    accounts = [Account(one.camera) for one in plans]
    run_cameras(plans, accounts, ending or threading.Event())
    return accounts


def test_frames_and_losses_keep_their_order_and_are_all_told(line: Line) -> None:
    source = ScriptedSource([taken(GOOD), Lost("2 of 9 packets came", 2), taken(BAD), Lost("no exposure")])
    (account,) = run(plan(line, source))
    assert [(i.trigger, i.reason.name) for i in line.pipeline.inspections] == [
        (1, "WITHIN_LIMITS"),
        (2, "TRIGGER_GAP"),
        (3, "TRIGGER_GAP"),
        (4, "SCORE_ABOVE_LIMIT"),
        (5, "TRIGGER_GAP"),
    ]
    assert [detail for *_, detail in line.pipeline.faults] == ["2 of 9 packets came"] * 2 + ["no exposure"]
    assert (account.taken, account.lost, account.state, account.trouble) == (2, 3, "ended", "")
    assert str(account).startswith(
        "cam1: 2 frames and 3 lost: 1 PASS, 1 REJECT, 3 UNKNOWN (3 TRIGGER_GAP); latency p50 "
    )


def test_a_loss_is_told_before_anything_else_comes(line: Line) -> None:
    silent = threading.Event()
    source = ScriptedSource([taken(), Lost("no exposure"), silent])
    waiting = threading.Thread(target=run, args=(plan(line, source),))
    waiting.start()
    wait_for(lambda: len(line.pipeline.inspections) == 2, "the verdict of a part that nothing followed")
    silent.set()
    waiting.join()


FAULTS = [
    pytest.param(SourceError("open: nobody is at 192.168.10.7"), id="cannot be opened"),
    pytest.param(SourceError("the cable is out"), id="breaks off"),
    pytest.param(RuntimeError("a bug"), id="has a bug"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_camera_is_tried_again_and_the_others_stream(
    lines: Lines, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    line = lines.make(("cam1", "cam2"))
    broken = ScriptedSource([fault], [fault], [fault], [taken(GOOD)])
    sound = ScriptedSource([taken(BAD)] * 5)
    with caplog.at_level(logging.ERROR):
        accounts = run(plan(line, broken), plan(line, sound, "cam2"))
    assert [(one.taken, one.trouble, one.state) for one in accounts] == [(1, "", "ended"), (5, "", "ended")]
    assert broken.opened == 4
    told = [r for r in caplog.records if r.name == "inspector.cameras.run" and "cam1" in r.getMessage()]
    assert len([r for r in told if str(fault) in r.getMessage()]) == 1, "the same reason is told once, not at every try"


def test_a_service_that_comes_later_is_waited_for(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    line = lines.make()
    line.server.stop(0)
    source, account = ScriptedSource([taken()]), Account("cam1")
    waiting = threading.Thread(target=run_cameras, args=([plan(line, source)], [account], threading.Event()))
    waiting.start()
    assert source.opened == 0, "before the service says where the numbers stand nothing can be numbered"
    lines.start(line.pipeline, line.server.port)
    waiting.join()
    assert (account.taken, dict(account.verdicts)) == (1, {"PASS": 1})


class Refusing(TwinPipeline):
    """Turns the camera away for good while `refuses`, as with a certificate that has expired."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses, self.refused = False, 0

    def open_session(self, line: str, camera: str, client: str) -> AbstractContextManager[SessionInfo]:
        if self.refuses:
            self.refused += 1
            raise UnknownCamera(f'line "a" has no camera "{camera}": correct the name')
        return super().open_session(line, camera, client)


def _client_has_ended() -> bool:
    return not any(thread.name == "camera-client-cam1" for thread in threading.enumerate())


def test_parts_that_pass_while_the_service_refuses_keep_their_numbers(lines: Lines) -> None:
    """Two passed before the refusal and one into it: all three are told when the camera is taken again, and none is moved."""
    pipeline = Refusing()
    line = lines.start(pipeline)
    away, refused = threading.Event(), threading.Event()
    source = ScriptedSource([taken(), away, taken(BAD), taken(), refused, taken(BAD)], [taken(BAD)])
    account = Account("cam1")
    running = threading.Thread(target=run_cameras, args=([plan(line, source)], [account], threading.Event()))
    running.start()
    wait_for(lambda: account.verdicts["PASS"] == 1, "the verdict of the first part")
    line.server.stop(0)
    away.set()
    wait_for(lambda: account.taken == 3, "two parts that passed while the service was away")
    pipeline.refuses = True
    lines.start(pipeline, line.server.port)
    wait_for(lambda: pipeline.refused > 0 and _client_has_ended(), "the refusal")
    refused.set()
    wait_for(lambda: pipeline.refused > 2, "more tries")
    pipeline.refuses = False
    running.join(20)
    reasons = ["WITHIN_LIMITS", "SCORE_ABOVE_LIMIT", "WITHIN_LIMITS", "TRIGGER_GAP", "SCORE_ABOVE_LIMIT"]
    assert [(i.trigger, i.reason.name) for i in pipeline.inspections] == list(enumerate(reasons, 1))
    ((trigger, _, _, why),) = pipeline.faults
    assert (trigger, why.split(":")[0]) == (4, "it passed while the service turned this camera away")
    assert (account.taken, account.lost, account.unanswered, account.verdicts.total()) == (4, 1, 0, 5)


def test_parts_that_no_client_can_tell_any_more_are_lost_when_the_program_ends(lines: Lines) -> None:
    pipeline = Refusing()
    line = lines.start(pipeline)
    away, ending = threading.Event(), threading.Event()
    source, account = ScriptedSource([taken(), away, taken(BAD), threading.Event()]), Account("cam1")
    running = threading.Thread(target=run_cameras, args=([plan(line, source)], [account], ending))
    running.start()
    wait_for(lambda: account.verdicts["PASS"] == 1, "the verdict of the first part")
    line.server.stop(0)
    away.set()
    wait_for(lambda: account.taken == 2, "a part that passed while the service was away")
    pipeline.refuses = True
    lines.start(pipeline, line.server.port)
    wait_for(lambda: pipeline.refused > 0 and _client_has_ended(), "the refusal")
    assert account.unanswered == 0, "it may be taken again"
    ending.set()
    running.join(20)
    assert (account.unanswered, account.state) == (1, "ended")


def test_a_source_that_falls_silent_is_opened_anew(line: Line) -> None:
    source = ScriptedSource([taken(), threading.Event()], [taken()])
    (account,) = run(plan(line, source, max_silence_s=0.05))
    assert (account.taken, account.faults, source.closed) == (2, 1, 2)


def test_it_ends_when_told_and_gives_the_account(line: Line) -> None:
    ending, never = threading.Event(), threading.Event()
    line.pipeline.hold()

    def end() -> None:
        wait_for(lambda: line.pipeline.held == 1, "the frame")
        ending.set()

    threading.Thread(target=end).start()
    (account,) = run(plan(line, ScriptedSource([taken(), never])), ending=ending)
    assert (account.taken, account.unanswered, account.state) == (1, 1, "ended")
    assert "1 without an answer" in str(account)


def test_frames_without_room_are_told_and_counted(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    line.pipeline.hold()
    ready = threading.Event()

    def release() -> None:
        wait_for(lambda: line.pipeline.held == 10, "ten parts, eight of them without a frame")
        line.pipeline.release()
        ready.set()

    threading.Thread(target=release).start()
    with caplog.at_level(logging.WARNING):
        (account,) = run(plan(line, ScriptedSource([*[taken()] * 10, ready]), max_in_flight=2))
    assert (account.taken, account.crowded_out, dict(account.verdicts)) == (10, 8, {"PASS": 2, "UNKNOWN": 8})
    told = [r.getMessage() for r in caplog.records if "slower than the camera" in r.getMessage()]
    assert len(told) == 4, "at the first, second, fourth and eighth"


def test_a_flood_of_losses_is_a_line_a_second_in_the_log(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(plan(line, ScriptedSource([Lost(f"{number} packets are missing") for number in range(200)])))
    told = [r.getMessage() for r in caplog.records if "without a frame" in r.getMessage()]
    assert 1 <= len(told) < 20
    assert told[0] == "camera cam1: 1 parts without a frame, the last: 0 packets are missing"
    assert len(line.pipeline.faults) == 200, "the service hears of each"


def test_a_source_of_files_waits_for_room(line: Line) -> None:
    class Files(ScriptedSource):
        waits = True

    (account,) = run(plan(line, Files([taken()] * 50), max_in_flight=2))
    assert (account.crowded_out, dict(account.verdicts)) == (0, {"PASS": 50})


class _Full(io.StringIO):
    """A file on a disk without room, until there is some."""

    is_full = True

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_full_disk_under_the_results_stops_no_camera(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    class Files(ScriptedSource):
        waits = True

    disk = _Full()
    results = ResultsFile(disk)
    account = Account("cam1", results)
    run_cameras([plan(line, Files([taken()] * 20), max_in_flight=2)], [account], threading.Event())
    assert (account.taken, account.reconnects, dict(account.verdicts)) == (20, 0, {"PASS": 20})
    assert results.left_out == 20
    told = [record.getMessage() for record in caplog.records if record.name == "inspector.cameras.account"]
    assert len(told) == 1, "once, not for each answer"
    assert "(No space left on device), and are left out until they can: make room there" in told[0]
    disk.is_full = False
    results.write({"trigger": 21})
    assert disk.getvalue() == '{"trigger": 21}\n'
    assert "20 were left out so far" in caplog.text


def test_a_results_file_without_room_is_closed_without_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    with open_results(Path("/dev/full")) as results:
        assert results is not None
        results.write({"trigger": 1})
    assert "1 results were left out of the file in all" in caplog.text


def test_metrics_show_what_a_camera_does(line: Line) -> None:
    source = ScriptedSource([taken(GOOD), Lost("no exposure", 2), taken(BAD)])
    (account,) = run(plan(line, source))
    account.uncertainty_ms = 1.5
    registry = CollectorRegistry()
    registry.register(CameraCollector("a", [account]))
    told = generate_latest(registry).decode()
    for sample in (
        'inspector_camera_frames_total{camera="cam1",line="a"} 2.0',
        'inspector_camera_frame_bytes_total{camera="cam1",line="a"} 2.0',
        'inspector_camera_lost_parts_total{camera="cam1",line="a"} 2.0',
        'inspector_camera_crowded_out_frames_total{camera="cam1",line="a"} 0.0',
        'inspector_camera_verdicts_total{camera="cam1",line="a",reason="TRIGGER_GAP"} 2.0',
        'inspector_camera_streaming{camera="cam1",line="a"} 0.0',
        'inspector_camera_clock_uncertainty_seconds{camera="cam1",line="a"} 0.0015',
        'inspector_camera_latency_seconds{camera="cam1",line="a",quantile="0.99"} 0.',
    ):
        assert sample in told


@pytest.mark.parametrize(
    ("rate_hz", "deadline_ms", "frames"),
    [
        pytest.param(None, 500, 16, id="unknown rate"),
        pytest.param(30.0, 500, 16, id="what comes within the deadline, and one"),
        pytest.param(1.0, 100, 4, id="few, but enough for a hiccup"),
        pytest.param(1000.0, 60_000, 64, id="memory is bounded"),
    ],
)
def test_frames_are_held_no_longer_than_they_are_worth(rate_hz: float | None, deadline_ms: int, frames: int) -> None:
    assert in_flight(rate_hz, deadline_ms) == frames


def test_every_kind_of_the_line_file_has_a_source() -> None:
    assert set(SOURCES) == set(CAMERA_TABLES)
    with pytest.raises(ConfigError, match='no source "webcam": choose from folder'):
        make_source("webcam", {})


def test_part_ids_can_be_left_out() -> None:
    assert without_part_id(Lost("why", part_id="p")).part_id == ""  # type: ignore[union-attr]


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[Path]:
    import cv2
    import numpy as np

    folder = tmp_path / "parts"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"part-{number}.png"), np.full((4, 4), number, np.uint8))
    return folder


def test_the_command_streams_a_folder_of_the_line_file(line: Line, pictures: Path) -> None:
    line_file = pictures.parent / "line.toml"
    line_file.write_text(
        f'[line]\nname = "a"\n[grpc]\nlisten = "{line.server.address}"\n'
        '[[station]]\nname = "s1"\ncamera = "cam1"\nunit = 1\nrecipe = "r"\n[recipe.r]\nbundle = "b"\n'
        '[camera.cam1]\nsource = "folder"\nfolder = "parts"\nraw = "Mono8"\nrate_hz = 1000\n'
    )
    results = pictures.parent / "results.jsonl"
    done = CliRunner().invoke(app, ["camera", "run", str(line_file), "--results", str(results)])
    assert done.exit_code == 0, done.output
    assert "cam1: 3 frames and 0 lost: 2 PASS, 1 REJECT, 0 UNKNOWN" in done.output
    entries = sorted((json.loads(text) for text in results.read_text().splitlines()), key=lambda one: one["trigger"])
    assert [(e["camera"], e["trigger"], Path(e["origin"]).name, e["verdict"]) for e in entries] == [
        ("cam1", 1, "part-0.png", "PASS"),
        ("cam1", 2, "part-1.png", "REJECT"),
        ("cam1", 3, "part-2.png", "PASS"),
    ]
    assert [frame.part_id for frame in line.pipeline.frames] == ["part-0", "part-1", "part-2"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["--camera", "cam7"], r"has no table \[camera.cam7\]; it has cam1", id="no such table"),
        pytest.param(["--results", "/no/such/folder/x"], "results cannot be written", id="results"),
        pytest.param(["--metrics", "9464"], "--metrics: got", id="no address"),
        pytest.param(["--metrics", "192.168.10.5:9464"], "may not be served", id="metrics for everybody"),
    ],
)
def test_wrong_words_get_a_message(pictures: Path, arguments: list[str], says: str) -> None:
    line_file = pictures.parent / "line.toml"
    line_file.write_text(
        '[line]\nname = "a"\n[[station]]\nname = "s1"\ncamera = "cam1"\nunit = 1\nrecipe = "r"\n'
        '[recipe.r]\nbundle = "b"\n[camera.cam1]\nsource = "folder"\nfolder = "parts"\n'
    )
    done = CliRunner().invoke(app, ["camera", "run", str(line_file), *arguments])
    with pytest.raises(ConfigError, match=says):
        raise done.exception or AssertionError(done.output)
