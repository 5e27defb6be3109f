"""Work that people ask for and workers do elsewhere: asked, taken by one worker at a time, told of, ended once.

    queued ──take──▶ running ──finish, fail──▶ done, failed
       │                │ ▲
       │                ▼ │ taken again, when the lease of a dead worker ends
       └───cancel───▶ cancelled

A worker holds a job by a lease that it renews while it tells how far it is. Whoever takes a job raises its `attempt`, and
everything that a worker writes counts only at its own attempt: one that was thought dead and comes back changes nothing.
Leases are counted by the clock of the database, so that machines whose clocks differ agree on them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from inspector.errors import ConfigError, NotFound
from inspector.records import schema
from inspector.records.applying import insert_for, insert_new
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.job import Heard, Job, JobState, LogLine, News, Point, Wanted, Worker
from inspector.records.job_tables import job_log, job_points, jobs, workers
from inspector.records.text import DETAIL_LENGTH, clean

LEASE_S = 30.0
MAX_DEATHS = 5
"""A job that has ended so many workers is not tried again: it would end the next one too."""
WORKER_LOST_S = 60.0
_LOG_LINES = 2000
"""Of the log of a job the newest are kept."""


class Jobs:
    """The jobs of one line. Thread-safe. Every method raises what `Database` raises."""

    def __init__(self, database: Database, line: str, clock: Callable[[], datetime] | None = None) -> None:
        """`clock` replaces that of the database, for tests."""
        self._database = database
        self._line = line
        self._clock = clock

    # People

    def ask(self, wanted: Wanted, by: str) -> int:
        """Put a job in the queue; returns its number. ConfigError if the specification is no plain JSON."""
        try:
            spec = json.dumps(wanted.spec, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"a job cannot be asked for with this: {error}; give plain values") from error
        with self._database.writing() as connection:
            values = {
                "line_id": _make_line(connection, self._line),
                "kind": wanted.kind,
                "title": clean(wanted.title),
                "spec": spec,
                "model_kind": wanted.model_kind or None,
                "snapshot_digest": wanted.snapshot_digest or None,
                "asked_by": clean(by),
                "asked_us": self._now_us(connection),
                "state": JobState.QUEUED,
                "attempt": 0,
                "deaths": 0,
            }
            return int(connection.execute(sa.insert(jobs).values(values).returning(jobs.c.id)).scalar_one())

    def cancel(self, number: int, by: str) -> Job:
        """A job that waits ends here; one at work is told to. Nothing changes for one that has ended. NotFound."""
        with self._database.writing() as connection:
            mine = (jobs.c.id == number, self._of_line())
            wish = {"cancel_by": clean(by)}
            waiting = {**wish, "state": JobState.CANCELLED, "ended_us": self._now_us(connection)}
            connection.execute(sa.update(jobs).where(*mine, jobs.c.state == JobState.QUEUED).values(waiting))
            running = (jobs.c.state == JobState.RUNNING, jobs.c.cancel_by.is_(None))
            connection.execute(sa.update(jobs).where(*mine, *running).values(wish))
        return self.get(number)

    def get(self, number: int) -> Job:
        """One job. NotFound."""
        with self._database.reading() as connection:
            row = connection.execute(_JOBS.where(jobs.c.id == number, self._of_line())).one_or_none()
        if row is None:
            raise NotFound(f"there is no job {number} of line {self._line}: look at the list of jobs")
        return _job(row)

    def list(self, states: Sequence[JobState] = (), kind: str = "", limit: int = 100) -> Sequence[Job]:
        """Jobs, the newest first; of these states and this kind alone, if given."""
        query = _JOBS.where(self._of_line()).order_by(jobs.c.id.desc()).limit(limit)
        if states:
            query = query.where(jobs.c.state.in_(states))
        if kind:
            query = query.where(jobs.c.kind == kind)
        with self._database.reading() as connection:
            return [_job(row) for row in connection.execute(query)]

    def points(self, number: int) -> Mapping[str, Sequence[tuple[int, float]]]:
        """The curves of a job: (step, value) by step."""
        query = sa.select(job_points).where(job_points.c.job_id == number).order_by(*job_points.primary_key)
        found: dict[str, list[tuple[int, float]]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(query):
                found.setdefault(row.curve, []).append((row.step, row.value))
        return found

    def log(self, number: int, after: int = 0, limit: int = 500) -> Sequence[LogLine]:
        """The newest lines of a job's log behind line `after`, oldest first."""
        mine = (job_log.c.job_id == number, job_log.c.number > after)
        query = sa.select(job_log).where(*mine).order_by(job_log.c.number.desc()).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [LogLine(row.number, from_microseconds(row.told_us), row.text) for row in reversed(rows)]

    def workers(self) -> Sequence[Worker]:
        """Who waits for jobs of this line, or does one."""
        with self._database.reading() as connection:
            now_us = self._now_us(connection)
            rows = connection.execute(
                sa.select(workers).where(workers.c.line_id == self._line_id()).order_by("name")
            ).all()
        return [
            Worker(
                row.name,
                row.host,
                row.pid,
                from_microseconds(row.started_us),
                from_microseconds(row.seen_us),
                row.seen_us > now_us - WORKER_LOST_S * 1e6,
            )
            for row in rows
        ]

    # Workers

    def take(self, worker: str, lease_s: float = LEASE_S) -> Job | None:
        """The oldest job that nobody is at, now taken by `worker`; None if there is none."""
        while True:
            with self._database.writing() as connection:
                now_us = self._now_us(connection)
                free = (jobs.c.state == JobState.QUEUED) | (
                    (jobs.c.state == JobState.RUNNING) & (jobs.c.lease_us < now_us)
                )
                query = sa.select(jobs).where(self._of_line(), free).order_by(jobs.c.id).limit(1)
                row = connection.execute(query).one_or_none()
                if row is None:
                    return None
                values = _taking(row, worker, now_us, lease_s)
                # Another may have taken it since it was read: then its attempt is another one.
                same = (jobs.c.id == row.id, jobs.c.attempt == row.attempt, jobs.c.state == row.state)
                taken = connection.execute(sa.update(jobs).where(*same).values(values)).rowcount == 1
            if taken and values["state"] == JobState.RUNNING:
                return self.get(row.id)

    def tell(self, job: Job, news: News, lease_s: float = LEASE_S) -> Heard:
        """Keep what a worker says of its job and renew the lease; says whether to go on."""
        with self._database.writing() as connection:
            now_us = self._now_us(connection)
            values: dict[str, Any] = {"lease_us": now_us + round(lease_s * 1e6)}
            if news.stage:
                values |= {"stage": clean(news.stage), "done": news.done, "total": news.total}
            told = sa.update(jobs).where(*_mine(job)).values(values).returning(jobs.c.cancel_by)
            row = connection.execute(told).one_or_none()
            if row is None:
                return Heard.LOST
            _add_points(connection, job.id, news.points)
            _add_lines(connection, job.id, now_us, news.lines)
        return Heard.GO_ON if row.cancel_by is None else Heard.CANCEL

    def finish(self, job: Job, result: Mapping[str, Any]) -> bool:
        """It is done; False if the job was not the worker's own any more, and nothing changed."""
        return self._end(job, JobState.DONE, result=json.dumps(result, sort_keys=True))

    def fail(self, job: Job, error: str) -> bool:
        """It cannot be done; False as for `finish`."""
        return self._end(job, JobState.FAILED, error=clean(error, DETAIL_LENGTH))

    def stop(self, job: Job) -> bool:
        """It ended because somebody wanted it to; False as for `finish`."""
        return self._end(job, JobState.CANCELLED)

    def give_back(self, job: Job) -> bool:
        """The worker ends in peace before its job: another may take it at once."""
        with self._database.writing() as connection:
            values = {"state": JobState.QUEUED, "lease_us": None, "worker": None}
            return connection.execute(sa.update(jobs).where(*_mine(job)).values(values)).rowcount == 1

    def seen(self, name: str, host: str, pid: int) -> None:
        """A worker is there; those that were not heard of for a day are forgotten."""
        with self._database.writing() as connection:
            now_us = self._now_us(connection)
            line_id = _make_line(connection, self._line)
            values = {"name": name, "line_id": line_id, "host": host, "pid": pid, "started_us": now_us}
            insert = insert_for(connection, workers).values(**values, seen_us=now_us)
            connection.execute(insert.on_conflict_do_update(index_elements=[workers.c.name], set_={"seen_us": now_us}))
            connection.execute(sa.delete(workers).where(workers.c.seen_us < now_us - 86_400_000_000))

    def gone(self, name: str) -> None:
        """A worker ends in peace."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(workers).where(workers.c.name == name))

    # Rows

    def _end(self, job: Job, state: JobState, **values: object) -> bool:
        with self._database.writing() as connection:
            ended = {"state": state, "ended_us": self._now_us(connection), "lease_us": None, **values}
            return connection.execute(sa.update(jobs).where(*_mine(job)).values(ended)).rowcount == 1

    def _now_us(self, connection: Connection) -> int:
        if self._clock is not None:
            return to_microseconds(self._clock())
        return int(connection.execute(_NOW[connection.dialect.name]).scalar_one())

    def _line_id(self) -> sa.ScalarSelect[int]:
        return sa.select(schema.lines.c.id).where(schema.lines.c.name == clean(self._line)).scalar_subquery()

    def _of_line(self) -> sa.ColumnElement[bool]:
        return jobs.c.line_id == self._line_id()


_JOBS = sa.select(jobs, schema.lines.c.name.label("line")).join(schema.lines, schema.lines.c.id == jobs.c.line_id)
_NOW = {
    "sqlite": sa.text("SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"),
    "postgresql": sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"),
}


def _make_line(connection: Connection, line: str) -> int:
    insert_new(connection, schema.lines, [{"name": clean(line)}])
    query = sa.select(schema.lines.c.id).where(schema.lines.c.name == clean(line))
    return int(connection.execute(query).scalar_one())


def _mine(job: Job) -> tuple[sa.ColumnElement[bool], ...]:
    return jobs.c.id == job.id, jobs.c.attempt == job.attempt, jobs.c.state == JobState.RUNNING


def _taking(row: Row[Any], worker: str, now_us: int, lease_s: float) -> dict[str, Any]:
    """What a free job becomes: one at work, or ended if it was to end, or has ended too many workers."""
    ended = {"ended_us": now_us, "lease_us": None}
    deaths = row.deaths + (row.state == JobState.RUNNING)
    if row.cancel_by is not None:
        return {**ended, "state": JobState.CANCELLED}
    if deaths >= MAX_DEATHS:
        error = (
            f"{deaths} workers ended while they did this job, the last was {row.worker}: see their logs and the "
            "machine's memory, then ask for it again"
        )
        return {**ended, "state": JobState.FAILED, "error": error}
    return {
        "state": JobState.RUNNING,
        "attempt": row.attempt + 1,
        "deaths": deaths,
        "worker": worker,
        "lease_us": now_us + round(lease_s * 1e6),
        "started_us": row.started_us or now_us,
    }


def _add_points(connection: Connection, number: int, points: Sequence[Point]) -> None:
    latest = {(point.curve, point.step): point.value for point in points if math.isfinite(point.value)}
    for (curve, step), value in latest.items():
        insert = insert_for(connection, job_points).values(job_id=number, curve=clean(curve), step=step, value=value)
        again = {"value": insert.excluded.value}
        connection.execute(insert.on_conflict_do_update(index_elements=list(job_points.primary_key), set_=again))


def _add_lines(connection: Connection, number: int, now_us: int, lines: Sequence[str]) -> None:
    if not lines:
        return
    last = connection.execute(sa.select(sa.func.max(job_log.c.number)).where(job_log.c.job_id == number)).scalar() or 0
    rows = [
        {"job_id": number, "number": place, "told_us": now_us, "text": clean(text, DETAIL_LENGTH)}
        for place, text in enumerate(lines, start=last + 1)
    ]
    connection.execute(sa.insert(job_log), rows)
    old = last + len(lines) - _LOG_LINES
    if old > 0:
        connection.execute(sa.delete(job_log).where(job_log.c.job_id == number, job_log.c.number <= old))


def _job(row: Row[Any]) -> Job:
    started, ended = (None if us is None else from_microseconds(us) for us in (row.started_us, row.ended_us))
    return Job(
        id=row.id,
        line=row.line,
        kind=row.kind,
        title=row.title,
        spec=json.loads(row.spec),
        model_kind=row.model_kind or "",
        snapshot_digest=row.snapshot_digest or "",
        asked_by=row.asked_by,
        asked=from_microseconds(row.asked_us),
        state=JobState(row.state),
        attempt=row.attempt,
        worker=row.worker or "",
        started=started,
        ended=ended,
        cancel_by=row.cancel_by or "",
        stage=row.stage or "",
        done=row.done or 0,
        total=row.total or 0,
        result=json.loads(row.result or "{}"),
        error=row.error or "",
    )
