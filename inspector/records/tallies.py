"""Counts inspections that came out alike, for reports: by quarter of an hour, so that any shift, day or week can be added up.

Offsets of time zones are whole quarters of an hour. A part that a station has seen before counts as seen again: first pass
yield is about first passes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from inspector.part import Reason, Verdict
from inspector.records import schema
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.lots import LotOf
from inspector.records.queries import Terms, aside, bundle_ids
from inspector.records.text import clean

SLOT_US = 15 * 60 * 1_000_000
_i = schema.inspections


@dataclass(frozen=True, slots=True)
class TallyFilter:
    """Which inspections to count; empty fields leave everything in.

    `bundle` is a label "name@digest12", or a name for all bundles of that name. Receive time from `start_time` (inclusive)
    to `end_time` (exclusive). A filter on `lot` needs to be told how part ids name lots.
    """

    line: str = ""
    station: str = ""
    recipe: str = ""
    bundle: str = ""
    lot: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many inspections of a quarter of an hour, which begins at `time`, came out alike.

    Of `count`, `again` were of parts that the station had seen before. `lot` is empty unless lots were asked for.
    """

    time: datetime
    line: str
    station: str
    recipe: str
    bundle: str
    verdict: Verdict
    reason: Reason
    defect_class: str
    lot: str
    count: int
    again: int


@dataclass(frozen=True, slots=True)
class Known:
    """Names that a filter can have."""

    lines: tuple[str, ...]
    stations: tuple[str, ...]
    recipes: tuple[str, ...]
    bundles: tuple[str, ...]


def known(database: Database, line: str) -> Known:
    """All lines, recipes and bundles on record, and the stations of a line. StoreUnavailable, SchemaOutdated."""
    of_line = schema.stations.c.line_id.in_(sa.select(schema.lines.c.id).where(schema.lines.c.name == clean(line)))
    stations = sa.select(schema.stations.c.name).where(of_line)
    queries = (
        sa.select(schema.lines.c.name),
        stations,
        sa.select(schema.recipes.c.name),
        sa.select(schema.bundles.c.label),
    )
    with database.reading() as connection:
        return Known(*(tuple(sorted(connection.execute(query).scalars())) for query in queries))


def tallies(database: Database, where: TallyFilter, lot_of: LotOf | None = None) -> Sequence[Tally]:
    """Everything that `where` leaves in, by time. With `lot_of`, by lots too, which takes reading every part id.

    StoreUnavailable, SchemaOutdated.
    """
    with database.reading() as connection:
        terms = inspection_terms(connection, where)
        wanted = where.lot if lot_of is not None else ""
        counted = _counted(_rows(connection, terms, lot_of is not None), lot_of, wanted)
        again = _counted(_again(connection, terms, lot_of is not None), lot_of, wanted)
        names = Names(connection)
    found = [names.tally(key, count, again[key]) for key, count in counted.items()]
    return sorted(found, key=lambda tally: (tally.time, tally.line, tally.station))


Key = tuple[int, int, int, int, int, int, int, int | None, str]


def inspection_terms(connection: Connection, where: TallyFilter, *, all_aside: bool = False) -> Terms:
    """The filter as terms on inspections, that on the line first. With `all_aside` none of them picks an index.

    A report looks at a good part of all rows, which reading them in the order of time or of the table gives soonest.
    """
    line_id = aside(connection, _i.c.line_id) if all_aside else _i.c.line_id
    received = aside(connection, _i.c.receive_us) if all_aside else _i.c.receive_us
    terms: Terms = [line_id.in_(_ids(connection, schema.lines, where.line))]
    for column, table, name in (
        (_i.c.station_id, schema.stations, where.station),
        (_i.c.recipe_id, schema.recipes, where.recipe),
    ):
        if name:
            terms.append(aside(connection, column).in_(_ids(connection, table, name)))
    if (bundles := bundle_ids(connection, where.bundle)) is not None:
        terms.append(aside(connection, _i.c.bundle_id).in_(bundles))
    if where.start_time is not None:
        terms.append(received >= to_microseconds(where.start_time))
    if where.end_time is not None:
        terms.append(received < to_microseconds(where.end_time))
    return terms


def _ids(connection: Connection, table: sa.Table, name: str) -> list[int]:
    """Of the rows with a name; of all without one."""
    query = sa.select(table.c.id)
    return list(connection.execute(query.where(table.c.name == clean(name)) if name else query).scalars())


_SLOT = sa.literal_column(f"inspections.receive_us / {SLOT_US}", sa.BigInteger).label("slot")
_COLUMNS = (
    _SLOT,
    _i.c.line_id,
    _i.c.station_id,
    _i.c.recipe_id,
    _i.c.bundle_id,
    _i.c.verdict,
    _i.c.reason,
    _i.c.class_id,
)
_PART = len(_COLUMNS)
_SLOTS = 1 << 23
"""More than there are until the year 2200."""


def _rows(connection: Connection, terms: Terms, by_part: bool) -> Iterable[Row[Any] | tuple[Any, ...]]:
    """Keys with a part id or empty text, and their count."""
    if by_part:
        parts = sa.func.coalesce(_i.c.part_id, "").label("part")
        return connection.execute(sa.select(*_COLUMNS, parts, sa.literal(1).label("number")).where(*terms))
    if (sizes := _sizes(connection)) is not None:
        return _packed_rows(connection, terms, sizes)
    query = sa.select(*_COLUMNS, sa.literal("").label("part"), sa.func.count().label("number"))
    return connection.execute(query.where(*terms).group_by(*_COLUMNS))


def _sizes(connection: Connection) -> tuple[int, ...] | None:
    """How many values each of `_COLUMNS` behind the first may have, if all together fit into one integer of SQLite.

    Only there one transaction sees one state of the tables throughout, so that no id can come that is larger than these.
    """
    if connection.dialect.name != "sqlite":
        return None
    tables = (schema.lines, schema.stations, schema.recipes, schema.bundles)
    of_tables = [(connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0) + 1 for table in tables]
    classes = (connection.execute(sa.select(sa.func.max(schema.classes.c.id))).scalar() or 0) + 2
    sizes = (*of_tables, max(Verdict) + 1, max(Reason) + 1, classes)
    return sizes if _SLOTS * math.prod(sizes) < 2**63 else None


def _packed_rows(connection: Connection, terms: Terms, sizes: Sequence[int]) -> Iterable[tuple[Any, ...]]:
    """As grouped by all columns, by one number made of them: SQLite sorts numbers in half the time."""
    packed: sa.ColumnElement[int] = _SLOT.element
    for column, size in zip(_COLUMNS[1:-1], sizes, strict=False):
        packed = packed * size + column
    packed = (packed * sizes[-1] + sa.func.coalesce(_i.c.class_id, -1) + 1).label("packed")
    for number, count in connection.execute(sa.select(packed, sa.func.count()).where(*terms).group_by(packed)):
        key: list[int | None] = []
        for size in reversed(sizes):
            number, digit = divmod(number, size)
            key.append(digit)
        key[0] = None if key[0] == 0 else (key[0] or 0) - 1
        yield (number, *reversed(key), "", count)


def _again(connection: Connection, terms: Terms, by_part: bool) -> Iterable[Row[Any]]:
    """As `_rows`, of the inspections before which the station had seen the part.

    Parts that were seen more than once are looked up first, in the index alone: mostly there are few or none.
    """
    twice = (
        sa.select(_i.c.line_id, _i.c.part_id)
        .where(terms[0], _i.c.part_id.is_not(None))
        .group_by(_i.c.line_id, _i.c.part_id)
        .having(sa.func.count() > 1)
        .cte("twice")
    )
    if connection.execute(sa.select(sa.func.count()).select_from(sa.select(twice).limit(1).subquery())).scalar() == 0:
        return ()
    before = schema.inspections.alias("before")
    seen = (
        sa.select(sa.literal(1))
        .where(
            before.c.line_id == _i.c.line_id,
            before.c.part_id == _i.c.part_id,
            sa.tuple_(before.c.receive_us, before.c.sequence) < sa.tuple_(_i.c.receive_us, _i.c.sequence),
            before.c.station_id == _i.c.station_id,
        )
        .exists()
    )
    ours = (twice.c.line_id == _i.c.line_id) & (twice.c.part_id == _i.c.part_id)
    part = sa.func.coalesce(_i.c.part_id, "") if by_part else sa.literal("")
    query = sa.select(*_COLUMNS, part.label("part"), sa.literal(1).label("number")).join_from(twice, _i, ours)
    return connection.execute(query.where(seen, *terms[1:]))


def _counted(rows: Iterable[Row[Any] | tuple[Any, ...]], lot_of: LotOf | None, wanted: str) -> Counter[Key]:
    counts: Counter[Key] = Counter()
    lots = _Lots(lot_of)
    for row in rows:
        lot = lots[row[_PART]]
        if not wanted or lot == wanted:
            counts[(*row[:_PART], lot)] += row[_PART + 1]
    return counts


class _Lots(dict[str, str]):
    """The lot of every part id seen so far."""

    def __init__(self, lot_of: LotOf | None) -> None:
        super().__init__({"": ""})
        self._lot_of = lot_of

    def __missing__(self, part: str) -> str:
        self[part] = lot = self._lot_of(part) if self._lot_of is not None else ""
        return lot


class Names:
    """The words behind the numbers of rows."""

    def __init__(self, connection: Connection) -> None:
        self.lines = _read(connection, schema.lines, schema.lines.c.name)
        self.stations = _read(connection, schema.stations, schema.stations.c.name)
        self.recipes = _read(connection, schema.recipes, schema.recipes.c.name)
        self.bundles = _read(connection, schema.bundles, schema.bundles.c.label)
        self.classes = _read(connection, schema.classes, schema.classes.c.name)

    def tally(self, key: Key, count: int, again: int) -> Tally:
        slot, line, station, recipe, bundle, verdict, reason, defect_class, lot = key
        return Tally(
            time=from_microseconds(slot * SLOT_US),
            line=self.lines[line],
            station=self.stations[station],
            recipe=self.recipes[recipe],
            bundle=self.bundles[bundle],
            verdict=Verdict(verdict),
            reason=Reason(reason),
            defect_class="" if defect_class is None else self.classes[defect_class],
            lot=lot,
            count=count,
            again=again,
        )


def _read(connection: Connection, table: sa.Table, name: sa.Column[str]) -> dict[int, str]:
    return {row[0]: row[1] for row in connection.execute(sa.select(table.c.id, name))}
