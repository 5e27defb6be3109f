"""Tables of work that people ask for and workers do, in a process of its own: fits and snapshots."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, Table, Text

from inspector.records.metadata import metadata

# `attempt` counts who took the job: what a worker writes holds only while the job is at the worker's own attempt, so that one
# who was thought dead changes nothing any more; `deaths` counts those. `lease_us` is until when the one at work is believed to
# be alive.
jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("model_kind", Text),
    Column("snapshot_digest", Text),
    Column("asked_by", Text, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("worker", Text),
    Column("lease_us", BigInteger),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("cancel_by", Text),
    Column("stage", Text),
    Column("done", BigInteger),
    Column("total", BigInteger),
    Column("result", Text),
    Column("error", Text),
    Index(None, "line_id", "state"),
)

job_points = Table(
    "job_points",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True, autoincrement=False),
    Column("curve", Text, primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Double, nullable=False),
    sqlite_with_rowid=False,
)

job_log = Table(
    "job_log",
    metadata,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("told_us", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    sqlite_with_rowid=False,
)

# Who waits for jobs, or does one; whoever ends in peace takes its row away.
workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
