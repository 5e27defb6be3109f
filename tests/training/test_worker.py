"""Workers: jobs from the database to snapshots and bundles, whoever dies on the way."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from labelled_line import LINE, LabelledLine, fill
from postgres import PostgresServer

from inspector.errors import ConfigError, DataError, InspectorError
from inspector.inference.bundle import open_bundle
from inspector.inference.by_hand import HandLimit, with_limit_by_hand
from inspector.part import Verdict
from inspector.records.compare_wish import COMPARE, CompareWish
from inspector.records.comparisons import Comparisons
from inspector.records.fit_wish import FIT, KINDS, SNAPSHOT, FitWish
from inspector.records.images import ImageStore
from inspector.records.job import Job, JobState, News, Point, Wanted
from inspector.records.jobs import Jobs
from inspector.records.place import RecordsPlace, read_place
from inspector.records.snapshots.format import read_snapshot
from inspector.records.store import Store
from training.models.registry import KINDS as REGISTRY
from training.models.registry import learns_by_steps
from training.worker.child import order, read_order
from training.worker.loop import WorkerLoop, WorkerOptions, _joined
from training.worker.messages import Gathered, Teller
from training.worker.tasks import Task, _plan, run_task

TAKE = Wanted(SNAPSHOT, "march", {"name": "march", "wish": {"line": LINE}})
SMALL = ("bank_size=100", "candidates=1000")
FITTED = Wanted(
    FIT,
    "blots",
    FitWish("march", "blots", false_reject_rate=0.2, size="64x64", settings=SMALL).to_json(),
    "memory-bank",
)
WAIT_S = 60.0


class Desk:
    """A line with labelled parts, its jobs and its line file."""

    def __init__(self, folder: Path, database: str = "") -> None:
        (folder / "var").mkdir()
        self.file = folder / "line.toml"
        records = f'[records]\ndatabase = "{database}"\n' if database else ""
        self.file.write_text(f'[line]\nname = "{LINE}"\n{records}')
        self.place: RecordsPlace = read_place(self.file)
        self.store = Store(self.place.database_url)
        self.store.upgrade()
        self.line = LabelledLine(self.store, ImageStore(self.place.image_folder), folder)
        self.jobs = Jobs(self.store.database, LINE)
        self.said: list[str] = []

    def work(self, **options: Any) -> WorkerLoop:
        return WorkerLoop(self.jobs, self.place, self.said.append, WorkerOptions(poll_s=0.05, tell_s=0.05, **options))

    def wait(self, number: int, until: Callable[[Job], bool]) -> Job:
        """The job once it is as wanted."""
        end = time.monotonic() + WAIT_S
        while not until(job := self.jobs.get(number)):
            assert time.monotonic() < end, (job, [line.text for line in self.jobs.log(number)], self.said)
            threading.Event().wait(0.02)
        return job


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


@dataclass
class Held:
    """A job in the middle of its work, which cannot go on before the labels are let go."""

    desk: Desk
    number: int
    let_go: Callable[[], None]

    def wait_until_held(self) -> None:
        """Until the job's process waits for the labels."""
        waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        end = time.monotonic() + WAIT_S
        while True:
            with self.desk.store.database.reading() as connection:
                if connection.execute(waits).scalar_one():
                    return
            assert time.monotonic() < end, self.desk.said
            threading.Event().wait(0.02)


@pytest.fixture
def held(tmp_path: Path, postgres: PostgresServer) -> Iterator[Held]:
    """A snapshot is asked for, and the table of labels is locked."""
    desk = Desk(tmp_path, postgres.create())
    fill(desk.line, 3, 1)
    number = desk.jobs.ask(TAKE, "anna")
    lock = desk.store.database.engine.connect()
    lock.execute(sa.text("LOCK TABLE labels IN ACCESS EXCLUSIVE MODE"))
    yield Held(desk, number, lock.rollback)
    lock.close()
    desk.store.close()


@contextmanager
def worker(desk: Desk, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command, as a user starts it."""
    # As quiet as it is by default it would wait for all that tests do beside it.
    command = [sys.executable, "-m", "training.cli", "worker", str(desk.file), "--nice", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def at_work(loop: WorkerLoop) -> Iterator[None]:
    """The worker runs beside what follows."""
    running = threading.Thread(target=loop.run)
    running.start()
    try:
        yield
    finally:
        loop.stop()
        running.join()


@pytest.mark.slow
def test_a_snapshot_and_a_fit_by_way_of_the_database(desk: Desk, tmp_path: Path) -> None:
    fill(desk.line)
    first, second = desk.jobs.ask(TAKE, "anna"), desk.jobs.ask(FITTED, "anna")
    desk.work().run(once=True)
    taken = desk.jobs.get(first)
    assert taken.state is JobState.DONE, taken.error
    snapshot = read_snapshot(desk.place.snapshots / "march")
    assert taken.result["digest"] == snapshot.digest
    assert (taken.result["images"], taken.result["labels"]) == (26, {"blot": 6, "good": 20})
    fitted = desk.jobs.get(second)
    assert fitted.state is JobState.DONE, fitted.error
    bundle = open_bundle(desk.place.bundles / "blots")
    assert fitted.result["bundle"] == bundle.label
    assert bundle.manifest.provenance["snapshot"] == snapshot.digest
    assert (bundle.manifest.provenance["job"], bundle.manifest.provenance["asked_by"]) == (second, "anna")
    assert fitted.result["promise"] == bundle.manifest.basis.statement
    assert {"Learning good parts", "Exporting"} <= {line.text for line in desk.jobs.log(second)}
    points = desk.jobs.points(second)["farthest from what is remembered"]
    assert points[-1][0] == 100
    assert not (desk.place.desk / "work" / f"job-{second}").exists()
    _compare(desk, tmp_path)
    assert desk.jobs.workers() == []
    # A worker that dies between its last step and its last word leaves a bundle, and is not heard of again.
    told = io.StringIO()
    task = Task(second, FITTED.spec, "anna", fitted.asked, desk.place, tmp_path / "work")
    assert run_task(FIT, task, Teller(told))["bundle"] == bundle.label
    assert "written by an earlier try" in told.getvalue()
    task = Task(first, TAKE.spec, "anna", taken.asked, desk.place, tmp_path / "work")
    assert run_task(SNAPSHOT, task, Teller(told))["digest"] == snapshot.digest
    with pytest.raises(DataError, match="exists already"):
        run_task(FIT, replace(task, number=9, spec=FITTED.spec), Teller(told))


def _compare(desk: Desk, tmp_path: Path) -> None:
    """Two bundles are compared on the snapshot; a worker that died before it could say so does not do it twice."""
    bundle = open_bundle(desk.place.bundles / "blots")
    limit = max(one.score for one in bundle.manifest.golden if one.verdict is Verdict.PASS) + 1e-6
    with_limit_by_hand(
        bundle, desk.place.bundles / "strict", "strict", HandLimit(limit, "anna", "why"), datetime.now(UTC)
    )
    wish = CompareWish("blots", "strict", "march")
    number = desk.jobs.ask(Wanted(COMPARE, "blots and strict", wish.to_json()), "anna")
    desk.work().run(once=True)
    done = desk.jobs.get(number)
    assert done.state is JobState.DONE, done.error
    comparisons = Comparisons(desk.store.database, LINE)
    (entry,) = comparisons.list()
    assert (done.result["comparison"], entry.made_by) == (entry.id, "anna")
    images = comparisons.get(entry.id).images
    assert len(images) == 26
    assert any(one.known for one in images if one.label == "good"), "some fitted it or set its limit"
    task = Task(number, wish.to_json(), "anna", done.asked, desk.place, tmp_path / "again")
    assert run_task(COMPARE, task, Teller(io.StringIO())) == done.result
    with pytest.raises(ConfigError, match="with itself"):
        run_task(COMPARE, replace(task, spec={**wish.to_json(), "second": "blots"}), Teller(io.StringIO()))


def test_after_kill_9_another_worker_ends_the_job_and_it_ends_once(held: Held) -> None:
    desk = held.desk
    with worker(desk, "--lease", "2") as killed:
        held.wait_until_held()
        (child,) = psutil.Process(killed.pid).children()
        killed.kill()
        killed.wait()
    first = desk.jobs.get(held.number)
    assert (first.state, first.attempt) == (JobState.RUNNING, 1)
    child.wait(WAIT_S)  # its standard input has ended
    held.let_go()
    heir = desk.work(lease_s=2.0)
    with at_work(heir):
        done = desk.wait(held.number, lambda job: job.state.is_end)
    assert (done.state, done.attempt, done.worker) == (JobState.DONE, 2, heir.name), done.error
    assert done.result["digest"] == read_snapshot(desk.place.snapshots / "march").digest
    assert [path.name for path in desk.place.snapshots.iterdir()] == ["march"]
    assert len([said for said in desk.said if said.endswith("is done")]) == 1


def test_cancelling_ends_the_child_and_leaves_no_snapshot(held: Held) -> None:
    desk = held.desk
    with at_work(desk.work()):
        held.wait_until_held()
        desk.jobs.cancel(held.number, "ben")
        job = desk.wait(held.number, lambda job: job.state.is_end)
    assert (job.state, job.cancel_by) == (JobState.CANCELLED, "ben")
    assert not (desk.place.snapshots / "march").exists()
    assert psutil.Process().children() == []
    assert desk.said[-1] == f"job {held.number} was cancelled by ben"


def test_a_worker_that_is_told_to_end_gives_its_job_back(held: Held) -> None:
    desk = held.desk
    with worker(desk) as process:
        held.wait_until_held()
        assert [one.is_alive for one in desk.jobs.workers()] == [True]
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
        assert process.stdout is not None
        assert f"job {held.number} goes back to the queue" in process.stdout.read()
    assert desk.jobs.get(held.number).state is JobState.QUEUED
    assert desk.jobs.workers() == []


def test_a_child_that_is_killed_is_told_of(held: Held) -> None:
    with at_work(held.desk.work()):
        held.wait_until_held()
        for child in psutil.Process(os.getpid()).children():
            child.kill()
        job = held.desk.wait(held.number, lambda job: job.state.is_end)
    assert job.state is JobState.FAILED
    assert "ended with signal 9" in job.error


def test_what_a_child_leaves_running_holds_up_no_worker_and_is_ended(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child, left = tmp_path / "child", tmp_path / "left"
    child.write_text(
        f'#!/bin/sh\nsleep 300 &\necho $! > {left}\nseq -f \'line %g\' 300\necho \'{{"result": {{"digest": "d"}}}}\'\n'
    )
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))
    monkeypatch.setattr("training.worker.loop._LINGER_S", 0.3)
    monkeypatch.setattr("training.worker.loop._MOST_UNHEARD", 10)
    number = desk.jobs.ask(TAKE, "anna")
    loop = desk.work()
    with at_work(loop):
        try:
            job = desk.wait(number, lambda job: job.state.is_end)
            sleeper = int(left.read_text())
            assert not psutil.pid_exists(sleeper) or psutil.Process(sleeper).status() == psutil.STATUS_ZOMBIE
        finally:
            with suppress(ProcessLookupError):
                os.kill(int(left.read_text()), signal.SIGKILL)
    assert (job.state, job.result) == (JobState.DONE, {"digest": "d"}), job.error
    assert [line.text for line in desk.jobs.log(number)][-1] == "line 300"


def test_what_waits_for_a_database_that_is_away_is_bounded() -> None:
    untold = News()
    for round_ in range(60):
        points = tuple(Point(curve, round_ * 1000 + step, 0.5) for step in range(1000) for curve in ("a", "b"))
        untold = _joined(untold, News("Learning", round_, 60, points, tuple(f"{round_} {n}" for n in range(100))))
        assert len(untold.points) <= 20_000
    assert (untold.done, len(untold.lines), untold.lines[-1]) == (59, 2000, "59 99")
    assert "left out" in untold.lines[0]
    for curve in ("a", "b"):
        steps = [point.step for point in untold.points if point.curve == curve]
        assert steps == sorted(steps)
        assert steps[-1] == 59_999
        assert steps[0] < 1000, "what is left out is spread over the curve"


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        pytest.param(Wanted("paint", "x"), "knows no jobs of kind 'paint'", id="a kind of a newer desk"),
        pytest.param(Wanted(SNAPSHOT, "x", {"name": "../x"}), "cannot be named", id="a folder outside"),
        pytest.param(
            Wanted(SNAPSHOT, "x", {"name": "x", "wish": {"line": "nobody"}}), "no labelled picture", id="none"
        ),
        pytest.param(
            Wanted(SNAPSHOT, "x", {"name": "x", "wish": {"since": "noon"}}), "no wish for a snapshot", id="no time"
        ),
        pytest.param(Wanted(FIT, "x", {"snapshot": "gone", "bundle": "x"}), "no data set at", id="no snapshot"),
    ],
)
def test_a_job_that_cannot_be_done_says_why(desk: Desk, wanted: Wanted, error: str) -> None:
    task = Task(1, wanted.spec, "anna", datetime.now(UTC), desk.place, desk.place.desk / "work" / "job-1")
    with pytest.raises(InspectorError, match=error):
        run_task(wanted.kind, task, Teller(io.StringIO()))


def test_why_a_job_cannot_be_done_is_on_record(desk: Desk) -> None:
    number = desk.jobs.ask(Wanted("paint", "x"), "anna")
    desk.work().run(once=True)
    job = desk.jobs.get(number)
    assert (job.state, job.error.partition(":")[0]) == (
        JobState.FAILED, "this worker knows no jobs of kind 'paint', only snapshot, fit, compare",
    )  # fmt: skip


def test_folders_of_jobs_that_have_ended_are_removed_and_those_that_go_on_are_kept(desk: Desk) -> None:
    failed, waiting = desk.jobs.ask(Wanted("paint", "x"), "anna"), desk.jobs.ask(TAKE, "anna")
    desk.jobs.fail(desk.jobs.take("w") or pytest.fail("no job"), "why")
    work = desk.place.desk / "work"
    for name in (f"job-{failed}", f"job-{waiting}", "job-999", "job-x"):
        (work / name / "fitted").mkdir(parents=True)
    loop = desk.work()
    loop._clear()
    assert {path.name for path in work.iterdir()} == {f"job-{waiting}", "job-999", "job-x"}
    desk.jobs.cancel(waiting, "anna")
    loop.run(once=True)
    assert {path.name for path in work.iterdir()} == {"job-999", "job-x"}


def test_a_worker_gives_way_to_all_others() -> None:
    told = "import os; from inspector.quiet import be_quiet; be_quiet(); print(os.nice(0))"
    told += "; import psutil; print(psutil.Process().ionice()); print(os.sched_getscheduler(0) == os.SCHED_IDLE)"
    process = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    nice, disk, processor = process.stdout.splitlines()
    assert (nice, processor) == ("19", "True")
    assert "IDLE" in disk


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel does not share cores out by sessions"
)
def test_a_session_of_its_own_gives_way_too() -> None:
    """Where cores are shared out between sessions, a job that is merely nice would take as much as the line."""
    told = "import os; os.nice(7); from inspector.quiet import quiet_session; quiet_session(); "
    command = [sys.executable, "-c", told + "print(open('/proc/self/autogroup').read())"]
    mine = Path("/proc/self/autogroup").read_text()  # nothing where a container's own group of processes counts instead
    own, shared = (
        subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=new).stdout.strip()
        for new in (True, False)
    )
    assert not mine or own.endswith(f"nice {min(19, 7 + os.nice(0))}")
    assert shared == mine.strip()
    assert Path("/proc/self/autogroup").read_text() == mine


@pytest.mark.parametrize(("before", "wish", "after"), [(0, 15, 15), (19, 15, 19)])
def test_who_gives_way_more_already_stays_so(before: int, wish: int, after: int) -> None:
    told = f"import os; os.nice(max(0, {before} - os.nice(0))); "
    told += f"from inspector.quiet import give_way; give_way({wish}); print(os.nice(0))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(max(after, os.nice(0)))


def test_the_desk_names_every_kind_that_there_is() -> None:
    assert set(KINDS) == set(REGISTRY)
    assert next(kind.words for kind in KINDS.values()) == "only good parts"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fit_that_learns_by_steps_goes_on_from_its_own_folder(kind: str, tmp_path: Path) -> None:
    plan = _plan(FitWish("s", "b", kind), tmp_path)
    by_steps = learns_by_steps(REGISTRY[kind], REGISTRY[kind].settings())
    assert getattr(plan.settings, "checkpoint", "") == (str(tmp_path) if by_steps else "")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"snapshot": "a/b"}, "a snapshot cannot be named", id="a path"),
        pytest.param({"bundle": ""}, "a bundle cannot be named", id="no name"),
        pytest.param({"false_reject_rate": 1.5}, "cannot promise", id="more than all"),
        pytest.param({"size": "big"}, "no size", id="a word"),
    ],
)
def test_a_fit_that_cannot_be_wished_for(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        FitWish.from_json({"snapshot": "s", "bundle": "b"} | changes)


def test_what_a_child_tells_arrives() -> None:
    stream, now = io.StringIO(), 0.0
    tell = Teller(stream, lambda: now)
    tell("Reading", 0, 10)
    tell("Reading", 1, 10)  # too soon to be told
    tell("Reading", 10, 10)
    for step in (10, 20, 10):  # begins anew: another fit
        tell.point("loss", step, 0.5)
    tell.say("done <b>")
    tell.result({"bundle": "b"})
    heard = Gathered()
    for line in [*stream.getvalue().splitlines(), "Warning: a library prints", '{"stage": 1}', "[1]"]:
        heard.hear(line)
    news = heard.news()
    assert (news.stage, news.done, news.total) == ("Reading", 10, 10)
    assert news.points == (Point("loss", 10, 0.5), Point("loss", 20, 0.5), Point("loss, fit 2", 10, 0.5))
    assert news.lines == ("Reading", "done <b>", "Warning: a library prints", '{"stage": 1}', "[1]")
    assert heard.result == {"bundle": "b"}
    assert heard.news().lines == ()


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    place = RecordsPlace("sqlite:///a.db", tmp_path / "images", "l", tmp_path / "b", tmp_path / "w")
    task = Task(7, {"a": [1]}, "anna", datetime(2026, 3, 2, tzinfo=UTC), place, tmp_path / "w" / "job-7")
    assert read_order(order("fit", task)) == ("fit", task)
