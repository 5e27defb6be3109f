"""The camera program: pictures in, results file and account out, and clean ends."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rpc_line import Line, Lines, wait_for

from inspector.cameras.program import run_camera
from inspector.cameras.sources.folder import Picture
from inspector.errors import ConfigError, UnknownCamera
from inspector.part import Frame, PixelFormat

GOOD, BAD = b"\0", b"\1"


def pictures(*data: bytes) -> list[Picture]:
    return [Picture(Path(f"{n}.png"), Frame(0, PixelFormat.MONO8, 1, 1, 0, one)) for n, one in enumerate(data, 1)]


def endless() -> Iterator[Picture]:
    while True:
        yield from pictures(GOOD, BAD)


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("rate_hz", [None, 200.0])
def test_every_picture_has_its_line(line: Line, tmp_path: Path, rate_hz: float | None) -> None:
    results = tmp_path / "out.jsonl"
    shown = pictures(GOOD, BAD, GOOD, b"")
    run = run_camera(line.server.address, "a", "cam1", shown, rate_hz=rate_hz, results=results)
    found = sorted(entries(results), key=lambda entry: entry["trigger"])
    keys = ["trigger", "file", "sent_ns", "received_ns", "verdict", "reason", "score", "sequence"]
    assert [list(entry) for entry in found] == [keys] * 4
    assert [(e["trigger"], e["file"], e["verdict"], e["sequence"]) for e in found] == [
        (1, "1.png", "PASS", 1),
        (2, "2.png", "REJECT", 2),
        (3, "3.png", "PASS", 3),
        (4, "4.png", "UNKNOWN", 4),
    ]
    assert [e["reason"] for e in found][2:] == ["WITHIN_LIMITS", "FRAME_INVALID"]
    assert found[0]["score"] == 0.25
    assert all(0 < e["sent_ns"] < e["received_ns"] for e in found)
    assert (run.shown, run.unanswered, run.interrupted) == (4, 0, False)
    assert dict(run.verdicts) == {"PASS": 2, "REJECT": 1, "UNKNOWN": 1}
    assert 0 < run.p50_ms <= run.p99_ms <= run.worst_ms
    assert str(run).startswith("4 parts shown: 2 PASS, 1 REJECT, 1 UNKNOWN (1 FRAME_INVALID)\nlatency p50 ")


def test_a_count_ends_an_endless_source(line: Line) -> None:
    assert run_camera(line.server.address, "a", "cam1", endless(), count=25).shown == 25
    assert run_camera(line.server.address, "a", "cam1", endless(), count=3, rate_hz=1000).shown == 3
    nothing = run_camera(line.server.address, "a", "cam1", endless(), count=0)
    assert nothing.shown == 0
    assert math.isnan(nothing.p50_ms)
    assert len(line.pipeline.frames) == 28


def test_the_source_is_read_no_further_than_needed(line: Line) -> None:
    source = iter(pictures(GOOD, GOOD, GOOD))
    run_camera(line.server.address, "a", "cam1", source, count=2)
    assert [one.file.name for one in source] == ["3.png"]


def test_a_stop_ends_the_showing_and_waits_for_the_answers(line: Line, tmp_path: Path) -> None:
    stop, results = threading.Event(), tmp_path / "out.jsonl"
    threading.Thread(target=lambda: (wait_for(lambda: len(line.pipeline.frames) > 10, "frames"), stop.set())).start()
    run = run_camera(line.server.address, "a", "cam1", endless(), rate_hz=500, results=results, stop=stop)
    assert run.interrupted
    assert run.shown == len(entries(results)) == sum(run.verdicts.values())


def test_a_stop_is_heard_while_the_service_holds_everything_up(
    line: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("inspector.cameras.program.ENDING_TIMEOUT_S", 0.05)
    line.pipeline.hold()
    stop, results = threading.Event(), tmp_path / "out.jsonl"
    threading.Thread(target=lambda: (wait_for(lambda: line.pipeline.held == 4, "frames"), stop.set())).start()
    run = run_camera(line.server.address, "a", "cam1", endless(), results=results, stop=stop)
    assert (run.shown, run.unanswered, run.interrupted) == (4, 4, True)
    assert {entry["lost"] for entry in entries(results)} == {"the camera program stopped before the answer came"}
    assert {entry["verdict"] for entry in entries(results)} == {None}
    assert "4 without an answer" in str(run)


def test_signals_end_it_cleanly_and_are_given_back(line: Line) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    for number in (signal.SIGTERM, signal.SIGINT):
        fired = threading.Timer(0.2, os.kill, (os.getpid(), number))
        fired.start()
        assert run_camera(line.server.address, "a", "cam1", endless(), rate_hz=100).interrupted
        fired.join()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_wrong_values_and_services(line: Line, tmp_path: Path) -> None:
    target = line.server.address
    for rate in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="rate"):
            run_camera(target, "a", "cam1", endless(), rate_hz=rate)
    with pytest.raises(ConfigError, match="count of -1"):
        run_camera(target, "a", "cam1", endless(), count=-1)
    with pytest.raises(ConfigError, match="results cannot be written"):
        run_camera(target, "a", "cam1", endless(), results=tmp_path / "no" / "folder")
    with pytest.raises(UnknownCamera):
        run_camera(target, "a", "nobody", endless())


def test_a_service_that_refuses_midway_ends_the_program(lines: Lines, tmp_path: Path) -> None:
    line, results = lines.make(), tmp_path / "out.jsonl"

    def source() -> Iterator[Picture]:
        yield from pictures(GOOD, GOOD)
        wait_for(lambda: len(line.pipeline.inspections) == 2, "two verdicts")
        line.server.stop(0)
        line.pipeline._cameras = ()  # a new line file without this camera
        lines.start(line.pipeline, line.server.port)
        yield from endless()

    with pytest.raises(UnknownCamera):
        run_camera(line.server.address, "a", "cam1", source(), rate_hz=100, results=results)
    assert [entry["verdict"] for entry in entries(results)][:2] == ["PASS", "PASS"]
    assert all('no camera "cam1"' in entry["lost"] for entry in entries(results)[2:])


def test_results_survive_a_restart_of_the_service(lines: Lines, tmp_path: Path) -> None:
    line = lines.make()
    results = tmp_path / "out.jsonl"

    def restart() -> None:
        wait_for(lambda: len(line.pipeline.frames) > 20, "frames")
        line.server.stop(0)
        lines.start(line.pipeline, line.server.port)

    restarting = threading.Thread(target=restart)
    restarting.start()
    run = run_camera(line.server.address, "a", "cam1", endless(), rate_hz=100, count=100, results=results)
    restarting.join()
    assert run.shown == 100
    assert run.reconnects >= 1
    assert sorted(entry["trigger"] for entry in entries(results)) == list(range(1, 101))
    told = {entry["trigger"]: entry["verdict"] for entry in entries(results)}
    assert told == {one.trigger: one.verdict.name for one in line.pipeline.inspections}


def test_the_camera_room_needs_no_pipeline() -> None:
    """A camera program on a small computer must not load the model's runtime."""
    code = (
        "import sys, inspector.cameras.program; print([m for m in ('onnxruntime', 'sqlalchemy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
