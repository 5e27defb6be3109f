"""How cameras see, over time, and their alarms: a row per measure and window, and one per alarm.

Rows older than `THIN_AFTER` are thinned to one every ten minutes, so that a year of a camera with ten measures takes some 40 MB
and not ten times as much. What the numbers of measures and kinds mean is known above the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from inspector.records import schema
from inspector.records.applying import Names, insert_for
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.text import clean

THIN_AFTER = timedelta(days=14)
_MINUTE_US = 60_000_000
_EVERY_MINUTES = 10
_health, _alarms = schema.camera_health, schema.camera_alarms


@dataclass(frozen=True, slots=True)
class HealthRow:
    """One measure of a camera over the frames from `start` to `end`. `low` and `high` are tenth percentiles, if it has them."""

    camera: str
    measure: int
    start: datetime
    end: datetime
    frames: int
    median: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """An alarm of a camera, over if it has `cleared`. `reference` names what it is held against."""

    camera: str
    kind: int
    raised: datetime
    value: float
    limit: float
    words: str
    reference: str
    cleared: datetime | None = None


def add(database: Database, line: str, rows: Sequence[HealthRow], alarms: Sequence[AlarmRow]) -> None:
    """Keep rows and alarms, all or none. What is on record stays; an alarm that is has its end and newest value noted.

    Raises what `Database.writing` raises.
    """
    with database.writing() as connection:
        names = Names(connection, {})
        line_id = names.id(schema.lines, clean(line))
        if rows:
            values = [
                {
                    "line_id": line_id,
                    "camera_id": names.id(schema.cameras, clean(row.camera), line_id=line_id),
                    "measure": row.measure,
                    "start_us": to_microseconds(row.start),
                    "end_us": to_microseconds(row.end),
                    "frames": row.frames,
                    "median": row.median,
                    "low": row.low,
                    "high": row.high,
                }
                for row in rows
            ]
            connection.execute(insert_for(connection, _health).on_conflict_do_nothing(), values)
        for alarm in alarms:
            insert = insert_for(connection, _alarms).values(
                line_id=line_id,
                camera_id=names.id(schema.cameras, clean(alarm.camera), line_id=line_id),
                kind=alarm.kind,
                raised_us=to_microseconds(alarm.raised),
                cleared_us=None if alarm.cleared is None else to_microseconds(alarm.cleared),
                value=alarm.value,
                value_limit=alarm.limit,
                words=clean(alarm.words),
                reference=clean(alarm.reference),
            )
            newer = {key: insert.excluded[key] for key in ("cleared_us", "value", "words")}
            key = [_alarms.c.line_id, _alarms.c.camera_id, _alarms.c.kind, _alarms.c.raised_us]
            connection.execute(insert.on_conflict_do_update(index_elements=key, set_=newer))


def rows_of(
    database: Database, line: str, camera: str, since: datetime, until: datetime | None = None
) -> Sequence[HealthRow]:
    """Rows of a camera whose window began at or after `since` and before `until`, oldest first."""
    query = _of(_health, line, camera).where(_health.c.start_us >= to_microseconds(since))
    if until is not None:
        query = query.where(_health.c.start_us < to_microseconds(until))
    with database.reading() as connection:
        found = connection.execute(query.order_by(_health.c.start_us, _health.c.measure)).all()
    return [
        HealthRow(
            camera=camera,
            measure=row.measure,
            start=from_microseconds(row.start_us),
            end=from_microseconds(row.end_us),
            frames=row.frames,
            median=row.median,
            low=row.low,
            high=row.high,
        )
        for row in found
    ]


def latest_of(database: Database, line: str, camera: str) -> Sequence[HealthRow]:
    """The rows of a camera's newest window."""
    newest = sa.select(sa.func.max(_health.c.start_us)).select_from(_joined(_health)).where(*_whose(line, camera))
    with database.reading() as connection:
        start_us = connection.execute(newest).scalar()
    return [] if start_us is None else rows_of(database, line, camera, from_microseconds(start_us))


def alarms_of(database: Database, line: str, camera: str, limit: int = 100) -> Sequence[AlarmRow]:
    """Alarms of a camera: those that last first, then the newest."""
    query = _of(_alarms, line, camera).order_by(_alarms.c.cleared_us.is_not(None), _alarms.c.raised_us.desc())
    with database.reading() as connection:
        found = connection.execute(query.limit(limit)).all()
    return [
        AlarmRow(
            camera=camera,
            kind=row.kind,
            raised=from_microseconds(row.raised_us),
            value=row.value,
            limit=row.value_limit,
            words=row.words,
            reference=row.reference,
            cleared=None if row.cleared_us is None else from_microseconds(row.cleared_us),
        )
        for row in found
    ]


def thin(database: Database, line: str, now: datetime) -> int:
    """Of rows older than `THIN_AFTER` keep those whose window began in every tenth minute; returns how many went."""
    old = _health.c.start_us < to_microseconds(now - THIN_AFTER)
    minute = (_health.c.start_us - _health.c.start_us % _MINUTE_US) / _MINUTE_US
    mine = _health.c.line_id.in_(sa.select(schema.lines.c.id).where(schema.lines.c.name == clean(line)))
    with database.writing() as connection:
        gone = connection.execute(sa.delete(_health).where(mine, old, minute % _EVERY_MINUTES != 0))
        return int(gone.rowcount)


def _joined(table: sa.Table) -> sa.FromClause:
    lines, cameras = schema.lines, schema.cameras
    return table.join(cameras, cameras.c.id == table.c.camera_id).join(lines, lines.c.id == table.c.line_id)


def _whose(line: str, camera: str) -> tuple[sa.ColumnElement[bool], ...]:
    return schema.lines.c.name == clean(line), schema.cameras.c.name == clean(camera)


def _of(table: sa.Table, line: str, camera: str) -> sa.Select[tuple[object, ...]]:
    return sa.select(table).select_from(_joined(table)).where(*_whose(line, camera))
