"""Jobs: one worker at a time, whatever workers and databases do, and one end."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from record_samples import LINE

from inspector.errors import ConfigError, NotFound
from inspector.records.job import Heard, Job, JobState, News, Point, Wanted
from inspector.records.jobs import MAX_DEATHS, Jobs
from inspector.records.store import Store

FIT = Wanted("fit", "tiles", {"kind": "memory-bank"}, "memory-bank", "sha256:00")
LEASE = 10.0


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(store: Store, clock: Clock) -> Jobs:
    return Jobs(store.database, LINE, clock)


def taken(jobs: Jobs, worker: str = "w1") -> Job:
    job = jobs.take(worker, LEASE)
    assert job is not None
    return job


def test_a_job_goes_from_the_queue_to_its_result(jobs: Jobs, clock: Clock) -> None:
    number = jobs.ask(FIT, "anna")
    asked = jobs.get(number)
    assert (asked.state, asked.asked_by, asked.spec, asked.model_kind) == (
        JobState.QUEUED, "anna", {"kind": "memory-bank"}, "memory-bank",
    )  # fmt: skip
    job = taken(jobs)
    assert (job.id, job.state, job.worker, job.attempt) == (number, JobState.RUNNING, "w1", 1)
    points = (Point("loss", 1, 0.5), Point("loss", 2, float("nan")), Point("loss", 3, 0.25), Point("loss", 1, 0.75))
    assert jobs.tell(job, News("Learning", 3, 9, points, ("begun", "with \0 in it"))) is Heard.GO_ON
    assert jobs.tell(job, News(points=(Point("loss", 3, 0.125),), lines=("more",))) is Heard.GO_ON
    clock.pass_s(7)
    assert jobs.finish(job, {"bundle": "tiles@1"})
    done = jobs.get(number)
    assert (done.state, done.result, done.stage, done.done, done.total, done.seconds) == (
        JobState.DONE, {"bundle": "tiles@1"}, "Learning", 3, 9, 7.0,
    )  # fmt: skip
    assert jobs.points(number) == {"loss": [(1, 0.75), (3, 0.125)]}
    assert [(line.number, line.text) for line in jobs.log(number)] == [(1, "begun"), (2, "with � in it"), (3, "more")]
    assert [line.number for line in jobs.log(number, after=1, limit=1)] == [3]
    assert jobs.take("w2") is None


def test_the_oldest_is_done_first_and_those_of_other_lines_are_left_to_them(jobs: Jobs, store: Store) -> None:
    other = Jobs(store.database, "another line").ask(FIT, "ben")
    first, second = jobs.ask(FIT, "anna"), jobs.ask(Wanted("snapshot", "march"), "anna")
    assert [taken(jobs).id, taken(jobs).id, jobs.take("w1")] == [first, second, None]
    assert [job.id for job in jobs.list()] == [second, first]
    assert [job.id for job in jobs.list((JobState.RUNNING,), "fit")] == [first]
    with pytest.raises(NotFound, match=f"no job {other} of line"):
        jobs.get(other)


def test_a_job_of_a_dead_worker_is_taken_up_after_its_lease_and_the_dead_changes_nothing(
    jobs: Jobs, clock: Clock
) -> None:
    number = jobs.ask(FIT, "anna")
    dead = taken(jobs, "dead")
    clock.pass_s(LEASE - 1)
    assert jobs.take("w2", LEASE) is None
    assert jobs.tell(dead, News(), LEASE) is Heard.GO_ON
    clock.pass_s(LEASE - 1)
    assert jobs.take("w2", LEASE) is None
    clock.pass_s(2)
    heir = taken(jobs, "w2")
    assert (heir.id, heir.attempt, heir.started) == (number, 2, dead.started)
    assert jobs.tell(dead, News("Learning", 9, 9, (Point("loss", 1, 1.0),), ("I live",))) is Heard.LOST
    assert not any(
        [jobs.finish(dead, {"bundle": "wrong"}), jobs.fail(dead, "no"), jobs.stop(dead), jobs.give_back(dead)]
    )
    assert (jobs.points(number), jobs.log(number)) == ({}, [])
    assert jobs.finish(heir, {"bundle": "right"})
    assert not jobs.finish(heir, {"bundle": "again"})
    assert jobs.get(number).result == {"bundle": "right"}


def test_a_job_that_ends_its_workers_is_given_up(jobs: Jobs, clock: Clock) -> None:
    number = jobs.ask(FIT, "anna")
    for _ in range(MAX_DEATHS):
        taken(jobs)
        clock.pass_s(LEASE + 1)
    assert jobs.take("w9", LEASE) is None
    job = jobs.get(number)
    assert job.state is JobState.FAILED
    assert f"{MAX_DEATHS} workers ended" in job.error


def test_workers_that_end_in_peace_cost_a_job_nothing(jobs: Jobs) -> None:
    number = jobs.ask(FIT, "anna")
    for _ in range(MAX_DEATHS + 2):
        assert jobs.give_back(taken(jobs))
    assert jobs.get(number).state is JobState.QUEUED


@pytest.mark.parametrize(
    ("stage", "then", "state"),
    [
        pytest.param("queued", "", JobState.CANCELLED, id="one that waits ends at once"),
        pytest.param("running", "", JobState.RUNNING, id="one at work goes on until its worker has heard"),
        pytest.param("running", "stop", JobState.CANCELLED, id="its worker stops it"),
        pytest.param("running", "finish", JobState.DONE, id="it was done before the worker heard"),
        pytest.param("running", "die", JobState.CANCELLED, id="its worker dies instead: nobody takes it up"),
        pytest.param("done", "", JobState.DONE, id="one that has ended stays as it is"),
    ],
)
def test_cancelling(jobs: Jobs, clock: Clock, stage: str, then: str, state: JobState) -> None:
    number = jobs.ask(FIT, "anna")
    job = None if stage == "queued" else taken(jobs)
    if stage == "done":
        assert job is not None
        jobs.finish(job, {})
    jobs.cancel(number, "ben")
    if job is not None and stage == "running":
        assert jobs.tell(job, News(), LEASE) is Heard.CANCEL
        assert jobs.get(number).cancel_by == "ben"
    if then == "die":
        clock.pass_s(LEASE + 1)
        assert jobs.take("w2") is None
    elif then:
        assert job is not None
        assert jobs.stop(job) if then == "stop" else jobs.finish(job, {})
    assert jobs.get(number).state is state


def test_workers_that_reach_for_jobs_at_once_get_one_each(store: Store) -> None:
    """By the clock of the database itself."""
    jobs = Jobs(store.database, LINE)
    asked = [jobs.ask(FIT, "anna") for _ in range(12)]
    got: list[int] = []
    together = threading.Barrier(4)

    def work(name: str) -> None:
        together.wait()
        while (job := jobs.take(name)) is not None:
            got.append(job.id)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(got) == Counter(asked)


def test_workers_are_alive_as_long_as_they_are_heard_of(jobs: Jobs, clock: Clock) -> None:
    jobs.seen("w1", "here", 17)
    jobs.seen("w2", "there", 18)
    clock.pass_s(50)
    jobs.seen("w2", "there", 18)
    clock.pass_s(50)
    assert [(w.name, w.host, w.pid, w.is_alive) for w in jobs.workers()] == [
        ("w1", "here", 17, False), ("w2", "there", 18, True),
    ]  # fmt: skip
    jobs.gone("w1")
    clock.pass_s(2 * 86_400)
    jobs.seen("w3", "here", 19)
    assert [w.name for w in jobs.workers()] == ["w3"]


def test_a_job_that_no_json_could_hold_is_refused(jobs: Jobs) -> None:
    with pytest.raises(ConfigError, match="plain values"):
        jobs.ask(Wanted("fit", "t", {"x": object()}), "anna")
