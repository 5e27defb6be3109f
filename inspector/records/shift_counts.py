"""What a line judged since a time: counts per station and verdict, in one look."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from inspector.part import Verdict
from inspector.records import schema
from inspector.records.codec import to_microseconds
from inspector.records.database import Database
from inspector.records.text import clean


@dataclass(frozen=True, slots=True)
class ShiftCounts:
    """Counts by station. `upto` is the highest number on record, so that later verdicts can be told from counted ones."""

    upto: int = 0
    by_station: dict[str, dict[Verdict, int]] = field(default_factory=dict)


def count_since(database: Database, line: str, since: datetime) -> ShiftCounts:
    """Counts of what was received at or after `since`. StoreUnavailable, SchemaOutdated."""
    table, stations = schema.inspections, schema.stations
    with database.reading() as connection:
        line_id = connection.execute(sa.select(schema.lines.c.id).where(schema.lines.c.name == clean(line))).scalar()
        if line_id is None:
            return ShiftCounts()
        mine = table.c.line_id == line_id
        upto = connection.execute(sa.select(sa.func.max(table.c.sequence)).where(mine)).scalar() or 0
        counts = (
            sa.select(table.c.station_id, table.c.verdict, sa.func.count().label("parts"))
            .where(mine, table.c.receive_us >= to_microseconds(since), table.c.sequence <= upto)
            .group_by(table.c.station_id, table.c.verdict)
        ).subquery()
        query = sa.select(stations.c.name, counts.c.verdict, counts.c.parts).join(
            counts, counts.c.station_id == stations.c.id
        )
        found: dict[str, dict[Verdict, int]] = defaultdict(dict)
        for name, verdict, parts in connection.execute(query):
            found[name][Verdict(verdict)] = parts
    return ShiftCounts(upto, dict(found))
