"""A whole line with a GigE Vision camera: fake camera, `inspector camera run` and `inspector serve` as processes of their own.

Packets are lost, the service freezes and is restarted, the camera's cable is pulled, and every part has one verdict at the end.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from camera_line import PATIENCE_S, entries, is_said, line_file, process, recorded
from gige import DEVICE, fake_camera
from rpc_line import wait_for

from inspector.sim.demo.processes import free_ports

RATE_HZ, DEADLINE_MS = 30, 400
CAMERA = f"""
source = "genicam"
device = "{DEVICE}"
rate_hz = {RATE_HZ}
packet_size = 1400
region = {{ width_px = 320, height_px = 240 }}
"""


def judged(results: Path, beyond: int = 0) -> int:
    return sum(entry["verdict"] == "PASS" for entry in entries(results)[beyond:])


def test_every_part_has_one_verdict_whatever_breaks(tmp_path: Path) -> None:
    path, results = line_file(tmp_path, CAMERA, deadline_ms=DEADLINE_MS), tmp_path / "results.jsonl"
    served, streamed = tmp_path / "serve.log", tmp_path / "camera.log"
    (metrics,) = free_ports(1)
    camera_run = ("camera", "run", str(path), "--results", str(results), "--metrics", f"127.0.0.1:{metrics}")
    with (
        fake_camera("--lost", "0.002") as camera,
        process(served, "serve", str(path)) as service,
        process(streamed, *camera_run) as program,
    ):
        wait_for(lambda: judged(results) > 40, "parts to be judged", PATIENCE_S)
        service.send_signal(signal.SIGSTOP)
        wait_for(is_said(streamed, "the service is slower than the camera"), "frames without room", PATIENCE_S)
        service.send_signal(signal.SIGCONT)
        before = len(entries(results))
        wait_for(lambda: judged(results, before) > 20, "parts to be judged after the service froze", PATIENCE_S)
        service.terminate()
        service.wait(30)
        before = len(entries(results))
        with process(served, "serve", str(path)):
            wait_for(lambda: judged(results, before) > 20, "parts to be judged by the restarted service", PATIENCE_S)
            camera.stop()
            wait_for(is_said(streamed, "has no frames"), "the pulled cable to be noticed", PATIENCE_S)
            camera.start()
            before = len(entries(results))
            wait_for(
                lambda: judged(results, before) > 20, "parts to be judged after the cable was put back", PATIENCE_S
            )
            shown = urlopen(f"http://127.0.0.1:{metrics}/metrics").read().decode()
            program.send_signal(signal.SIGTERM)
            assert program.wait(30) == 0, streamed.read_text()
            final = entries(results)
            wait_for(lambda: len(recorded(path)) >= len(final), "all parts on record", PATIENCE_S)
    check(final, recorded(path), shown)


def check(told: list[dict[str, Any]], rows: Sequence[Any], shown: str) -> None:
    """One verdict for each number from 1, the same for the camera and on record; every loss with its reason."""
    assert sorted(entry["trigger"] for entry in told) == list(range(1, len(told) + 1))
    assert [row.trigger for row in sorted(rows, key=lambda row: row.trigger)] == list(range(1, len(told) + 1))
    on_record = {row.trigger: row for row in rows}
    for entry in told:
        row = on_record[entry["trigger"]]
        assert entry["verdict"] in (None, row.verdict.name)
        assert row.verdict.name in ("PASS", "UNKNOWN"), "the part is grey in every frame"
    details = {row.detail for row in rows if row.reason.name == "TRIGGER_GAP"}
    for why in ("the frame is incomplete", "wait for the service", "the camera was away for"):
        assert any(why in detail for detail in details), (why, details)
    for sample in ("frames_total", "lost_parts_total", "crowded_out_frames_total", "source_faults_total"):
        (value,) = (text.split()[-1] for text in shown.splitlines() if text.startswith(f"inspector_camera_{sample}{{"))
        assert float(value) > 0, sample
    assert 'inspector_camera_streaming{camera="c1",line="l1"} 1.0' in shown
