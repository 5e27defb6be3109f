"""/jobs: fits and snapshots that workers do, how far they are, and asking for a fit or an end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.records.fit_wish import FitWish
from inspector.records.job import Job
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.desk import Desk, in_thread


class JobOut(BaseModel):
    """A job: what was asked for, how far it is, and what came of it."""

    id: int
    kind: str
    title: str
    state: str
    spec: dict[str, Any]
    model_kind: str
    snapshot_digest: str
    asked_by: str
    asked: datetime
    attempt: int
    worker: str
    started: datetime | None
    ended: datetime | None
    cancel_by: str
    stage: str
    done: int
    total: int
    result: dict[str, Any]
    error: str


class NewFit(BaseModel):
    """A fit to be done on a snapshot of the desk."""

    snapshot: str = Field(max_length=64)
    bundle: str = Field(max_length=64)
    kind: str = Field(default="memory-bank", max_length=64)
    false_reject_rate: float = 0.01
    confidence: float = 0.95
    size: str = Field(default="", max_length=20)


class EstimateOut(BaseModel):
    """How long a fit will take, and from what that is known."""

    seconds: float
    basis: str


class LogOut(BaseModel):
    """A line of a log."""

    number: int
    time: datetime
    text: str


class WorkerOut(BaseModel):
    """A process that does jobs."""

    name: str
    host: str
    pid: int
    started: datetime
    seen: datetime
    is_alive: bool


def router(desk: Desk) -> APIRouter:
    """Routes about jobs."""
    routes = APIRouter(prefix="/jobs", tags=["training"])
    jobs = desk.work.jobs

    @routes.get("")
    async def list_jobs(limit: int = Query(100, ge=1, le=500), user: User = needs(Role.VIEWER)) -> list[JobOut]:
        """Jobs, the newest first."""
        return [job_out(job) for job in await in_thread(lambda: jobs.list(limit=limit))]

    @routes.post("/fits", status_code=202)
    async def ask(wanted: NewFit, user: User = needs(Role.ENGINEER)) -> JobOut:
        """Ask a worker to fit a model on a snapshot."""
        return job_out(await in_thread(ask_fit, desk, user, wanted))

    @routes.get("/estimate")
    async def estimate(
        kind: str = Query(max_length=64), snapshot: str = Query(max_length=64), user: User = needs(Role.VIEWER)
    ) -> EstimateOut:
        """How long a fit would take."""

        def work() -> EstimateOut:
            wish = FitWish(snapshot, "x", kind)
            known = desk.work.estimate(wish.kind, len(desk.work.snapshot(snapshot).pictures))
            return EstimateOut(seconds=known.seconds, basis=known.basis)

        return await in_thread(work)

    @routes.get("/workers")
    async def workers(user: User = needs(Role.VIEWER)) -> list[WorkerOut]:
        """Who does jobs, and who did not long ago."""
        found = await in_thread(jobs.workers)
        return [
            WorkerOut(
                name=one.name, host=one.host, pid=one.pid, started=one.started, seen=one.seen, is_alive=one.is_alive
            )
            for one in found
        ]

    @routes.get("/{number}")
    async def get(number: int, user: User = needs(Role.VIEWER)) -> JobOut:
        """One job."""
        return job_out(await in_thread(jobs.get, number))

    @routes.get("/{number}/curves")
    async def curves(number: int, user: User = needs(Role.VIEWER)) -> dict[str, list[tuple[int, float]]]:
        """The curves of a job: (step, value) by name."""
        await in_thread(jobs.get, number)
        return {name: list(points) for name, points in (await in_thread(jobs.points, number)).items()}

    @routes.get("/{number}/log")
    async def log(number: int, after: int = 0, user: User = needs(Role.VIEWER)) -> list[LogOut]:
        """What a job said behind line `after`."""
        await in_thread(jobs.get, number)
        found = await in_thread(jobs.log, number, after)
        return [LogOut(number=line.number, time=line.time, text=line.text) for line in found]

    @routes.post("/{number}/cancel")
    async def cancel(number: int, user: User = needs(Role.ENGINEER)) -> JobOut:
        """End a job: one that waits at once, one at work as soon as its worker hears of it."""
        return job_out(await in_thread(cancel_job, desk, user, number))

    return routes


def ask_fit(desk: Desk, user: User, wanted: NewFit) -> Job:
    """The job that a person asked for. ConfigError, NotFound, DataError."""
    wish = FitWish(
        wanted.snapshot, wanted.bundle, wanted.kind, wanted.false_reject_rate, wanted.confidence, wanted.size
    )
    number = desk.work.ask_fit(wish, desk.bundles, user.name)
    desk.audit(user, "asked for fit", wish.bundle, {"job": number, "snapshot": wish.snapshot, "kind": wish.kind})
    return desk.work.jobs.get(number)


def cancel_job(desk: Desk, user: User, number: int) -> Job:
    """The job, which somebody wants to end. NotFound."""
    job = desk.work.jobs.cancel(number, user.name)
    desk.audit(user, "cancelled job", str(number), {"kind": job.kind, "title": job.title})
    return job


def job_out(job: Job) -> JobOut:
    """A job as the API shows it."""
    return JobOut(
        id=job.id,
        kind=job.kind,
        title=job.title,
        state=job.state.value,
        spec=dict(job.spec),
        model_kind=job.model_kind,
        snapshot_digest=job.snapshot_digest,
        asked_by=job.asked_by,
        asked=job.asked,
        attempt=job.attempt,
        worker=job.worker,
        started=job.started,
        ended=job.ended,
        cancel_by=job.cancel_by,
        stage=job.stage,
        done=job.done,
        total=job.total,
        result=dict(job.result),
        error=job.error,
    )
