"""Data sets and training as an engineer meets them: a real browser, a real desk, a real worker."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from web_desk import LINE, WebDesk, prepare, scratched, serving

from inspector.records.job import JobState, News, Point
from inspector.records.jobs import Jobs


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A desk that these tests may change."""
    with serving(prepare(tmp_path_factory.mktemp("data"), 24)) as running:
        yield running


def send(client: httpx.Client, data: bytes, name: str, **options: str) -> dict[str, Any]:
    """Send a file in two pieces."""
    about = {
        "image_set": "tiles",
        "file_name": name,
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    begun = client.post("/api/v1/uploads", json=about | options).json()
    half = len(data) // 2
    assert client.put(f"/api/v1/uploads/{begun['id']}?offset=0", content=data[:half]).json() == {"offset": half}
    again = client.post("/api/v1/uploads", json=about | options).json()
    assert (again["id"], again["offset"]) == (begun["id"], half), "it goes on"
    client.put(f"/api/v1/uploads/{begun['id']}?offset={half}", content=data[half:])
    ended: dict[str, Any] = client.post(f"/api/v1/uploads/{begun['id']}/finish").json()
    return ended


def test_pictures_are_sent_labelled_by_keyboard_and_taken_into_a_snapshot(
    own: WebDesk, log_in: Any, tmp_path: Path
) -> None:
    page = log_in(own, "erna", "/data?tab=sets")
    page.get_by_label("Name of a new set").fill("tiles")
    page.get_by_role("button", name="Make it").click()
    page.locator("#upload-drop[data-ready]").wait_for()
    files = []
    for number in (301, 302):
        (path := tmp_path / f"<b>{number}.png").write_bytes(scratched(number, number == 302)[0])
        files.append(path)
    (tmp_path / "no.png").write_bytes(b"<script>alert(1)</script>")
    page.locator("#upload-files").set_input_files([*files, tmp_path / "no.png"])
    page.locator("#upload-list .is-error").get_by_text("neither a JPEG nor a PNG").wait_for()
    assert page.locator("#upload-list .is-done").count() == 2

    page.goto("/data?source=tiles")
    page.locator(".tile").first.wait_for()
    assert page.locator(".tile-title").all_text_contents() == ["<b>301.png", "<b>302.png"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("0")
    page.locator(".tile.is-pass").wait_for()
    page.keyboard.press("1")  # the next one: the first class that is known
    page.locator(".tile.is-reject").wait_for()
    page.keyboard.press("Enter")
    page.locator("dialog#tile-view img").wait_for()
    page.keyboard.press("l")
    page.wait_for_url("**/data?like=*")
    page.get_by_text("100.0% alike").first.wait_for()
    assert page.faults == []

    client = own.client("erna")
    said = [one["said"] for one in client.get("/api/v1/image-sets/tiles/pictures").json()]
    assert said == [[{"author": "erna", "label": "good"}], [{"author": "erna", "label": "crack"}]]
    asked = client.post("/api/v1/snapshots", json={"name": "march", "image_sets": ["tiles"]})
    assert asked.status_code == 202, asked.text
    subprocess.run(
        [sys.executable, "-m", "training.cli", "worker", str(own.line_file), "--once", "--nice", "0"], check=True
    )
    page.goto("/data?tab=snapshots")
    page.get_by_text("4 good").or_(page.get_by_text("good")).first.wait_for()
    (taken,) = client.get("/api/v1/snapshots").json()
    assert (taken["name"], taken["images"], taken["labels"]) == ("march", 4, {"crack": 2, "good": 2})
    assert client.get("/api/v1/snapshots/march/changes/march").json()["unchanged"] == 4
    (entry,) = [e for e in own_audit(own) if e["action"] == "asked for snapshot"]
    assert (entry["actor"], entry["subject"]) == ("erna", "march")


def own_audit(desk: WebDesk) -> list[dict[str, Any]]:

    return [json.loads(line) for line in (desk.data_dir / "audit.jsonl").read_text().splitlines()]


def test_a_fit_is_chosen_in_words_followed_live_and_cancelled(own: WebDesk, log_in: Any) -> None:
    client = own.client("erna")
    page = log_in(own, "erna", "/train?snapshot=march")
    page.get_by_text("No worker is alive").wait_for()
    page.get_by_text(f"inspector-train worker {own.line_file}").wait_for()
    page.get_by_text("known defect classes", exact=True).click()
    page.get_by_text("Takes about").wait_for()
    page.get_by_label("Name of the bundle").fill("tiles-8")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/train?job=*")
    page.get_by_text("Waits for a worker.").wait_for()
    jobs = Jobs(own.store.database, LINE)
    job = jobs.take("w1")
    assert job is not None
    assert (job.model_kind, job.asked_by, job.spec["snapshot"]) == ("classifier", "erna", "march")
    points = tuple(Point("loss", step, 1 / step) for step in range(1, 9))
    jobs.tell(job, News("Learning", 3, 8, points, ("<img src=x onerror=alert(1)>",)))
    page.get_by_text("Learning: 3 of 8.").wait_for()
    page.get_by_text("<img src=x onerror=alert(1)>").wait_for()
    page.locator(".curves canvas").wait_for()
    assert client.get(f"/api/v1/jobs/{job.id}/curves").json()["loss"][0] == [1, 1.0]
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Is being cancelled by erna").wait_for()
    jobs.stop(job)
    page.get_by_text("Cancelled by erna.").wait_for()
    assert jobs.get(job.id).state is JobState.CANCELLED
    assert page.faults == []


@pytest.mark.parametrize(
    ("method", "path", "body", "least"),
    [
        pytest.param("POST", "/image-sets", {"name": "x"}, "engineer", id="make a set"),
        pytest.param("POST", "/image-sets/pictures/1/labels", {"label": "good"}, "operator", id="label"),
        pytest.param("POST", "/snapshots", {"name": "x!"}, "engineer", id="take a snapshot"),
        pytest.param("POST", "/jobs/fits", {"snapshot": "gone", "bundle": "x"}, "engineer", id="fit"),
        pytest.param("POST", "/jobs/999/cancel", None, "engineer", id="cancel"),
        pytest.param("GET", "/uploads", None, "engineer", id="uploads of others"),
        pytest.param("GET", "/frames?verdict=REJECT", None, "viewer", id="look"),
    ],
)
def test_each_route_asks_for_its_role(own: WebDesk, method: str, path: str, body: Any, least: str) -> None:
    people = {"viewer": "vera", "operator": "otto", "engineer": "erna"}
    ranks = list(people)
    for rank, name in people.items():
        status = own.client(name).request(method, f"/api/v1{path}", json=body).status_code
        assert (status != 403) == (ranks.index(rank) >= ranks.index(least)), (name, status)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        pytest.param("GET", "/frames?verdict=MAYBE", None, 422, "no verdict", id="a verdict that is none"),
        pytest.param("GET", "/frames?since=2026-03-02T06:00:00", None, 422, "without time zone", id="no time zone"),
        pytest.param("GET", "/frames?after=x-y", None, 200, "frames", id="a place that is none: the first page"),
        pytest.param("POST", "/snapshots", {"name": "../x"}, 422, "cannot be named", id="a folder outside"),
        pytest.param("POST", "/snapshots", {"name": "y", "sets_only": True}, 422, "needs a set", id="of nothing"),
        pytest.param("POST", "/jobs/fits", {"snapshot": "gone", "bundle": "x"}, 404, "no snapshot gone", id="no data"),
        pytest.param("POST", "/jobs/fits", {"snapshot": "..", "bundle": "x"}, 422, "cannot be named", id="a path"),
        pytest.param("GET", "/jobs/999", None, 404, "no job 999", id="no job"),
        pytest.param("GET", "/image-sets/gone/pictures", None, 404, "no set", id="no set"),
        pytest.param("PUT", "/uploads/..%2f..%2fetc?offset=0", None, 404, "", id="an upload that is a path"),
        pytest.param("GET", "/image-sets/pictures/999/view", None, 404, "no picture", id="no picture"),
    ],
)
def test_what_cannot_be_done_says_why(own: WebDesk, method: str, path: str, body: Any, status: int, told: str) -> None:
    answer = own.client("erna").request(method, f"/api/v1{path}", json=body)
    assert answer.status_code == status, answer.text
    assert told in answer.text


def test_uploads_go_on_and_a_piece_is_bounded(own: WebDesk) -> None:
    client = own.client("erna")
    client.post("/api/v1/image-sets", json={"name": "tiles"})
    ended = send(client, scratched(401, True)[0], "a.png", label="crack")
    assert (ended["state"], ended["outcome"]["added"]) == ("done", 1)
    begun = client.post(
        "/api/v1/uploads",
        json={"image_set": "tiles", "file_name": "b", "size_bytes": 20 << 20, "sha256": "ab" * 32},
    ).json()
    answer = client.put(f"/api/v1/uploads/{begun['id']}?offset=0", content=b"x" * ((8 << 20) + 1))
    assert (answer.status_code, "at most 8 MiB" in answer.text) == (413, True)
    wrong = client.put(f"/api/v1/uploads/{begun['id']}?offset=5", content=b"x")
    assert "go on from 0" in wrong.text
    assert client.delete(f"/api/v1/uploads/{begun['id']}").json()["state"] == "refused"


def test_a_desk_that_is_told_to_keeps_a_worker_and_ends_it(tmp_path: Path) -> None:
    with serving(prepare(tmp_path, 0, web="worker = true")) as desk:
        client = desk.client("vera")
        end = time.monotonic() + 120
        while not (workers := client.get("/api/v1/jobs/workers").json()):
            assert time.monotonic() < end, desk.log.read_text()
            threading.Event().wait(0.1)
        (worker,) = workers
        process = psutil.Process(worker["pid"])
        assert (worker["is_alive"], process.nice()) == (True, 19)
        process.kill()  # as one that ran out of memory
        while "is started again" not in desk.log.read_text():
            assert time.monotonic() < end, desk.log.read_text()
            threading.Event().wait(0.1)
    assert not psutil.pid_exists(worker["pid"]) or process.status() == psutil.STATUS_ZOMBIE
    assert "the worker ended with status -9" in desk.log.read_text()
