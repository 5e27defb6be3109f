"""/snapshots: labelled pictures that do not change any more, with a digest, and what changed between two of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.errors import ConfigError
from inspector.records.label_rows import LabelledFilter
from inspector.records.labels import label_name
from inspector.records.snapshots.wish import Wish
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.api.jobs import JobOut, job_out
from inspector.web.desk import Desk, in_thread
from inspector.web.workroom import SnapshotRow


class SnapshotOut(BaseModel):
    """A snapshot; `problem` if it cannot be read."""

    name: str
    digest: str
    taken: str
    images: int
    labels: dict[str, int]
    left_out: dict[str, int]
    asked_for: dict[str, str]
    problem: str


class NewSnapshot(BaseModel):
    """A snapshot to be taken: of parts of the line, of sets, or of both."""

    name: str = Field(max_length=64)
    since: datetime | None = None
    until: datetime | None = None
    classes: list[str] = Field(default=[], max_length=256)
    authors: list[str] = Field(default=[], max_length=256)
    lot_pattern: str = Field(default="", max_length=200)
    image_sets: list[str] = Field(default=[], max_length=256)
    sets_only: bool = False


def router(desk: Desk) -> APIRouter:
    """Routes about snapshots."""
    routes = APIRouter(prefix="/snapshots", tags=["data sets"])

    @routes.get("")
    async def list_snapshots(user: User = needs(Role.VIEWER)) -> list[SnapshotOut]:
        """All snapshots, the newest first."""
        return [_out(row) for row in await in_thread(desk.work.snapshots)]

    @routes.post("", status_code=202)
    async def take(wanted: NewSnapshot, user: User = needs(Role.ENGINEER)) -> JobOut:
        """Ask a worker to take one."""
        return job_out(await in_thread(ask_snapshot, desk, user, wanted))

    @routes.get("/{first}/changes/{second}")
    async def changes(first: str, second: str, user: User = needs(Role.VIEWER)) -> dict[str, Any]:
        """What came, went, or is labelled otherwise, from the first to the second."""
        return (await in_thread(desk.work.difference, first, second)).to_json()

    return routes


def ask_snapshot(desk: Desk, user: User, wanted: NewSnapshot) -> Any:
    """The job that a person asked for. ConfigError, LabelInvalid."""
    for time in (wanted.since, wanted.until):
        if time is not None and time.tzinfo is None:
            raise ConfigError("a time without time zone says nothing: give it with one, such as 2026-03-02T06:00:00Z")
    wish = Wish(
        LabelledFilter(desk.line, start_time=wanted.since, end_time=wanted.until),
        frozenset(label_name(name) for name in wanted.classes),
        frozenset(wanted.authors),
        wanted.lot_pattern,
        frozenset(wanted.image_sets),
        wanted.sets_only,
    )
    if wish.sets_only and not wish.sets:
        raise ConfigError("a snapshot of sets alone needs a set: name one")
    number = desk.work.ask_snapshot(wanted.name, wish, user.name)
    desk.audit(user, "asked for snapshot", wanted.name, {"job": number, "wish": wish.to_json()})
    return desk.work.jobs.get(number)


def _out(row: SnapshotRow) -> SnapshotOut:
    return SnapshotOut(
        name=row.name,
        digest=row.digest,
        taken=row.taken,
        images=row.images,
        labels=dict(row.labels),
        left_out=dict(row.left_out),
        asked_for=dict(row.asked_for),
        problem=row.problem,
    )
