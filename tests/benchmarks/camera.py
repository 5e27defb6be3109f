"""A GigE Vision camera at full speed: Aravis' fake camera, the camera program and the service, each a process of its own.

Unannounced losses are counted from the camera's own frame ids, apart from how the program counts: every id between the first
and the last must be a frame, or a part that was announced as lost, and each of those must have its verdict.
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.line import service
from tests.benchmarks.model import BenchModel
from tests.benchmarks.rows import Row, below

RATE_HZ, WIDTH_PX, HEIGHT_PX = 60, 1280, 1024
# The fake camera leaves out a period when it was late for it, even on an idle machine: it is asked for more.
_ASKED_HZ = 64
QUICK_S, DEADLINE_MS = 20.0, 500
# How long the camera streams unless it is a quick look.
minutes = 10.0
_IDS = 65535
_TABLE = f"""
[camera.cam1]
source = "genicam"
device = "127.0.0.1"
rate_hz = {_ASKED_HZ}
packet_size = 9000
region = {{ width_px = {WIDTH_PX}, height_px = {HEIGHT_PX} }}
"""


@dataclass(frozen=True)
class Run:
    """What came of it. `ids` are the camera's numbers of what the program showed, in order, counted on over 65535."""

    ids: list[int]
    lost: int
    told: int
    judged: int
    seconds: float
    cpu_s: float
    resident_mib: float

    @property
    def sent(self) -> int:
        """Frames that the camera sent between the first and the last that were seen."""
        return self.ids[-1] - self.ids[0] + 1


def measure(model: BenchModel, folder: Path, quick: bool) -> Iterator[Row]:
    """One camera at 60 frames/s of 1.3 megapixels."""
    seconds = QUICK_S if quick else minutes * 60
    camera = subprocess.Popen(
        [sys.executable, "-m", "inspector.sim.gige", "--serial", "BENCH"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert camera.stdout is not None
        if not camera.stdout.readline():
            raise RuntimeError("the fake GigE camera does not start: is Aravis installed, is port 3956 taken?")
        # Four stations as elsewhere; only the first has a camera.
        with service(folder / "camera", model.bundle.path, extra=_TABLE, deadline_ms=DEADLINE_MS) as line:
            run = _stream(line.folder, seconds)
    finally:
        camera.terminate()
        camera.wait()
    fps = run.sent / run.seconds
    what = f"fake GigE camera, {WIDTH_PX} × {HEIGHT_PX} Mono8"
    note = f"{run.seconds:.0f} s, asked {_ASKED_HZ}; the camera, the model and the service share this machine"
    yield below(f"{what}: frames/s that it sent", fps, "frames/s", RATE_HZ, run.sent, at_least=True, note=note)
    yield below(f"{what}: parts lost and not announced", run.sent - run.told, "parts", 0, run.sent)
    yield Row(f"{what}: parts announced as lost", run.lost, "parts", samples=run.sent)
    yield Row(f"{what}: parts judged", run.judged / run.seconds, "parts/s", samples=run.judged)
    share = run.cpu_s / run.seconds * 30 / fps
    yield below("camera program: processor per 30 frames/s of 1.3 megapixels", 100 * share, "% of a core", 10, run.sent)
    yield Row("camera program: resident memory at the end", run.resident_mib, "MiB")


def _stream(folder: Path, seconds: float) -> Run:
    """Run the camera program; its processor time is that between its first and its last verdict looked at."""
    results = folder / "results.jsonl"
    command = [str(Path(sys.executable).parent / "inspector"), "camera", "run", str(folder / "line.toml")]
    with (folder / "camera.log").open("ab") as log:
        process = subprocess.Popen([*command, "--results", str(results)], stdout=log, stderr=log)
    try:
        watched = psutil.Process(process.pid)
        _wait_for_results(process, results, folder / "camera.log")
        begin_s, begin = time.monotonic(), watched.cpu_times()
        while time.monotonic() - begin_s < seconds:
            if process.poll() is not None:
                raise RuntimeError(f"the camera program ended:\n{(folder / 'camera.log').read_text()[-3000:]}")
            time.sleep(min(0.5, seconds))
        took_s, end, memory = time.monotonic() - begin_s, watched.cpu_times(), watched.memory_info().rss
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    entries: list[dict[str, Any]] = sorted(
        (json.loads(text) for text in results.read_text().splitlines()), key=lambda one: one["trigger"]
    )
    ids = _unwrapped([int(one["origin"].removeprefix("frame ")) for one in entries if one["origin"]])
    whole_s = (entries[-1]["sent_ns"] - entries[0]["sent_ns"]) / 1e9
    cpu_s = (end.user + end.system - begin.user - begin.system) * whole_s / took_s
    # A part counts as told if the camera program has its verdict, under a number of its own.
    told = len({one["trigger"] for one in entries if one["verdict"] is not None})
    lost = sum(one["reason"] == "TRIGGER_GAP" for one in entries)
    judged = sum(one["verdict"] in ("PASS", "REJECT") for one in entries)
    return Run(ids, lost, told, judged, whole_s, cpu_s, memory / (1 << 20))


def _unwrapped(ids: list[int]) -> list[int]:
    """Numbers that go on where the camera's 16 bits begin again."""
    found, turns = ids[:1], 0
    for before, number in itertools.pairwise(ids):
        turns += number < before
        found.append(number + turns * _IDS)
    return found


def _wait_for_results(process: subprocess.Popen[bytes], results: Path, log: Path) -> None:
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s and process.poll() is None:
        if results.exists() and results.stat().st_size > 0:
            return
        time.sleep(0.05)
    raise RuntimeError(f"no verdict came to the camera program:\n{log.read_text()[-3000:]}")
