"""The line page over a real service: parts appear, pictures follow, and a dead service is unmistakable."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from toys import toy_bundle, toy_png
from web_desk import LINE, WebDesk, free_port, prepare, serving

from inspector.cameras.client import Answer, CameraClient
from inspector.part import Frame, PixelFormat
from inspector.records.audit import AuditLog
from inspector.settings import load_line_file


@contextmanager
def service(desk: WebDesk) -> Iterator[subprocess.Popen[bytes]]:
    """`inspector serve` as a process of its own, on the desk's line file."""
    with (desk.folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "inspector", "serve", str(desk.line_file)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def show_parts(desk: WebDesk, values: list[int]) -> list[Answer]:
    """Parts of these brightnesses, one after the other; more than 127 is a reject."""
    answers: list[Answer] = []
    target = str(load_line_file(desk.line_file).grpc_listen)
    with CameraClient(target, LINE, "cam-1", answers.append) as camera:
        for number, value in enumerate(values):
            camera.send(Frame(0, PixelFormat.PNG, 0, 0, 0, toy_png(value), part_id=f"live-{number}"))
        assert camera.wait_answered(30)
    return answers


@pytest.fixture
def line(tmp_path: Path) -> Iterator[WebDesk]:
    """A desk whose line has a toy bundle, so that a service can run on it; 12 parts were judged this shift, which goes on."""
    toy_bundle(tmp_path / "bundles" / "tiles")
    next_shift = datetime.now(UTC).astimezone() + timedelta(hours=12)  # in the time of this machine
    desk = prepare(tmp_path, 12, web=f'shifts = ["{next_shift:%H:%M}"]')
    text = desk.line_file.read_text().replace("deadline_ms = 500 ", "deadline_ms = 20000 ")
    desk.line_file.write_text(text + f'[modbus]\nlisten = "127.0.0.1:{free_port()}"\n')
    with serving(desk):
        yield desk


def test_parts_appear_with_pictures_and_a_dead_service_is_unmistakable(line: WebDesk, log_in: Any) -> None:
    page = log_in(line, "otto")
    page.locator(".board.is-lost").wait_for()
    page.locator(".mark").nth(11).wait_for()  # what was judged before the desk began
    with service(line) as process:
        page.locator(".board.is-run").wait_for(timeout=60_000)
        assert page.locator(".board-word").text_content() == "READY"
        answers = show_parts(line, [20, 240, 30])
        assert [answer.inspection is not None for answer in answers] == [True] * 3
        card = page.locator(".reject", has_text="live-1")
        card.wait_for()
        assert "Looks defective: anomaly" in card.text_content()
        frame = card.locator("img").first
        frame.wait_for()
        heat = card.locator("img.shot-heat")
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=heat.element_handle())
        assert page.locator(".mark.is-pass").last.get_attribute("title").startswith("no. 15")
        page.get_by_text("15 parts this shift").wait_for()
        station = line.client("vera").get("/api/v1/line").json()["stations"][0]
        assert (station["passed"], station["rejected"], station["unknown"]) == (8 + 2, 3 + 1, 1)
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("dialog").get_by_role("button", name="Stop").click()
        page.locator(".board.is-stop").wait_for()
        page.get_by_role("button", name="Start").click()
        page.locator(".board.is-run").wait_for()
        done = [
            (entry.actor, entry.action, entry.subject) for entry in AuditLog(line.data_dir / "audit.jsonl").entries()
        ]
        assert ("otto", "gave command stop", "top") in done
        refused = line.client("vera").post("/api/v1/line/stations/top/stop")
        assert refused.status_code == 403
        process.kill()
        page.locator(".board.is-lost").wait_for()
        assert page.locator(".board-word").text_content() == "NO CONTACT"
        for place in (".station.is-stale .pill", ".desk-header .pill"):
            page.locator(place, has_text="! NO CONTACT").wait_for()
    assert page.faults == []
