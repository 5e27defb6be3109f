"""The whole loop in a real browser: rejects are reviewed and labelled, a model is trained, proved and promoted, and the line
that runs meanwhile judges by it from the next part on, loses no trigger, and goes back. The desk is killed while it trains.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from postgres import PostgresServer
from requires import DATA
from story_line import BLOT, FIRST, GOOD, LINE, StoryLine, tiles, wait_until

from inspector.records.label_rows import LabelledFilter

REVIEWED, LABELLED = 60, 20
NEW, SNAPSHOT = "blots", "november"
PATIENCE_MS, FIT_MS = 180_000, 400_000


@pytest.fixture(params=["SQLite, simulated parts", pytest.param("PostgreSQL, magnetic tiles", marks=pytest.mark.story)])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoryLine]:
    """Without the tiles beside the checkout simulated parts take their place."""
    database, pictures = "", []
    if request.param.startswith("PostgreSQL"):
        server: PostgresServer = request.getfixturevalue("postgres")
        database = server.create()
        data = DATA / "magnetic-tile"
        pictures = tiles(data, 200) if data.is_dir() else []
    with StoryLine(tmp_path, database, pictures) as running:
        yield running


@contextmanager
def at_the_desk(browser: Any, line: StoryLine, name: str) -> Iterator[Any]:
    """Somebody logs in with name and password."""
    context = browser.new_context(viewport={"width": 1366, "height": 768}, base_url=line.url)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(line.password)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{line.url}/")
    yield page
    assert page.faults == []
    context.close()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_rejects_to_a_better_bundle_and_back(line: StoryLine, browser: Any) -> None:
    with at_the_desk(browser, line, "erna") as page:
        rejects_arrive(page, line)
        review(page, line)
        label(page, line)
        take_snapshot(page)
        train(page, line)
        compare(line)
        propose(page)
    with at_the_desk(browser, line, "anton") as page:
        promote(page)
        judges(line, NEW)
        go_back(page)
        judges(line, FIRST, since=line.store.last_sequence(LINE))
    line.end_and_account()
    seen = line.bundles_seen()
    assert set(seen) == {FIRST, NEW}
    assert line.wrong(NEW) < line.wrong(FIRST), "what was promoted is better"


def rejects_arrive(page: Any, line: StoryLine) -> None:
    """The line page tells of rejects as they come."""
    page.locator(".reject").first.wait_for()
    wait_until(lambda: line.store.last_sequence(LINE) >= REVIEWED * 2, "parts")


def review(page: Any, line: StoryLine) -> None:
    """Sixty parts by keyboard, the newest rejects and passes near the limit first."""
    page.goto("/account")
    book = {"definition": "A dark blot of more than 1 mm.", "colour": "#d55e00", "hot_key": 1, "examples": []}
    page.evaluate(
        """([name, book]) => fetch(`/api/v1/classes/${name}`, {
            method: "PUT", headers: {"Content-Type": "application/json"}, body: JSON.stringify(book),
        }).then((answer) => { if (!answer.ok) throw new Error(answer.status); })""",
        [BLOT, book],
    )
    page.goto("/review")
    for _ in range(REVIEWED):
        page.wait_for_function("window.review?.state && review.state().loaded && review.state().shown")
        state = page.evaluate("review.state()")
        page.keyboard.press("0" if line.what(state["shown"]) == GOOD else "1")
        page.wait_for_function(f"review.state().at > {state['at']} || review.state().shown !== {state['shown']}")
    page.wait_for_function("review.state().unsent === 0")
    assert sum(1 for _ in line.store.labelled(LabelledFilter(line=LINE))) == REVIEWED


def label(page: Any, line: StoryLine) -> None:
    """Twenty defects that nobody has looked at are marked with a box."""
    unseen = (one.sequence for one in line.inspections() if line.truth[one.part_id] == BLOT)
    blots = [number for number in unseen if not line.store.labels(LINE, number).history]
    for sequence in blots[:LABELLED]:
        page.goto(f"/label?part={sequence}")
        page.wait_for_function(f"window.labelling?.state && labelling.state().part === {sequence}")
        page.keyboard.press("1")
        page.keyboard.press("b")
        box = page.locator(".label-stage").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6, steps=3)
        page.mouse.up()
        page.keyboard.press("s")
        page.wait_for_function("!labelling.state().dirty")
    drawn = [one for one in line.store.labelled(LabelledFilter(line=LINE)) if any(said.areas for said in one.current)]
    assert len(drawn) == LABELLED


def take_snapshot(page: Any) -> None:
    page.goto("/data?tab=snapshots")
    page.get_by_label("Name", exact=True).fill(SNAPSHOT)
    page.get_by_role("button", name="Take it").click()
    page.get_by_role("link", name="Train on it").wait_for()


def train(page: Any, line: StoryLine) -> None:
    page.get_by_role("link", name="Train on it").click()
    page.get_by_label("Name of the bundle").fill(NEW)
    page.get_by_label("Good parts it may reject, %").fill("10")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/train?job=*")
    page.locator(".job-detail .pill", has_text="runs").wait_for()
    line.kill_the_desk()  # the fit goes on, and the page finds its way back
    page.locator(".job-detail .pill", has_text="done").wait_for(timeout=FIT_MS)
    assert (line.folder / "bundles" / NEW / "model.onnx").exists()


def compare(line: StoryLine) -> None:
    """Both bundles on the snapshot, where training is installed; on record for the desk."""
    bundles, data = line.folder / "bundles", line.snapshot(SNAPSHOT)
    command = [sys.executable, "-m", "training.cli", "compare", bundles / FIRST, bundles / NEW, data]
    done = subprocess.run(
        [*map(str, command), "--record", str(line.line_file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def propose(page: Any) -> None:
    page.goto("/models/compare")
    page.locator(".plot").first.wait_for()
    page.goto("/models")
    card = page.locator(".bundle", has=page.get_by_text(re.compile(f"^{NEW}@")))
    card.get_by_role("button", name="Propose…").click()
    page.get_by_label("Why, for the record").fill("no more good parts thrown away")
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("? WAITS").wait_for()


def promote(page: Any) -> None:
    page.goto("/models")
    page.locator(".is-proposed").get_by_role("button", name="Promote").click()
    page.locator(".ask-card").get_by_role("button", name="Promote").click()
    page.locator(".model-card", has_text="Promoted by anton").first.wait_for()


def judges(line: StoryLine, name: str, since: int = 0) -> None:
    """Parts are judged by a bundle, while the camera goes on."""
    wait_until(lambda: line.bundles_seen(since)[name] >= 15, f"parts judged by {name}")


def go_back(page: Any) -> None:
    page.get_by_role("button", name=re.compile(f"Go back to {FIRST}@")).click()
    page.get_by_label("Why, for the record").fill("a trial, ended")
    page.get_by_role("button", name="Roll back").click()
    page.locator(".model-card", has_text="Rolled back by anton").first.wait_for()
