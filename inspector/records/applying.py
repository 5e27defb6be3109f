"""Turns journal entries into rows: one transaction for a batch and the position that stands for it."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from inspector.part import Finding, Inspection
from inspector.records import schema
from inspector.records.codec import to_microseconds
from inspector.records.database import Database
from inspector.records.entries import Entry, Evidence, LateScore, Position, Settled
from inspector.records.text import DETAIL_LENGTH, clean, finite_or_none

T = TypeVar("T")
Row = dict[str, Any]
Key = tuple[str, Hashable, str]

# Parameters per statement that every supported SQLite takes.
_CHUNK = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a batch. `conflicting` verdicts have the number of another one that is already on record."""

    stored: int = 0
    repeated: int = 0
    conflicting: int = 0


@dataclass
class Names:
    """Ids of names, from the cache or the database, made where missing; joins the cache once it is committed."""

    connection: Connection
    cache: Mapping[Key, int]
    found: dict[Key, int] = field(default_factory=dict)

    def id(self, table: sa.Table, name: str, *, line_id: int | None = None, column: str = "name") -> int:
        name = clean(name)
        key = (table.name, line_id, name)
        known = self.cache.get(key) or self.found.get(key)
        if known is not None:
            return known
        values: Row = {column: name} if line_id is None else {column: name, "line_id": line_id}
        insert_new(self.connection, table, [values])
        where = [table.c[k] == v for k, v in values.items()]
        self.found[key] = self.connection.execute(sa.select(table.c.id).where(*where)).scalar_one()
        return self.found[key]


def insert_for(connection: Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ON CONFLICT, for the database at hand."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def insert_new(connection: Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert rows, leaving alone those that are there."""
    connection.execute(insert_for(connection, table).on_conflict_do_nothing(), rows)


class Applier:
    """Applies batches of one database. Not thread-safe: one forwarder, one applier."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: dict[Key, int] = {}

    def apply(self, line: str, entries: Sequence[Entry], position: Position | None) -> Applied:
        """Store `entries` of a line's journal and `position` together, or nothing at all.

        What is on record already is left as it is, so that a batch may come twice. StoreUnavailable, SchemaOutdated;
        RecordRejected if the database refuses a value.
        """
        with self._database.writing() as connection:
            names = Names(connection, self._cache)
            line_id = names.id(schema.lines, line)
            # Waits for any other writer of this line, so that the checks below hold until the end.
            insert_new(connection, schema.journal_positions, [{"line_id": line_id}])
            mine = schema.journal_positions.c.line_id == line_id
            connection.execute(sa.select(schema.journal_positions.c.line_id).where(mine).with_for_update())
            applied = _store_inspections(connection, names, line_id, [e for e in entries if isinstance(e, Settled)])
            _store_evidence(connection, line_id, [e for e in entries if isinstance(e, Evidence)])
            _store_late_scores(connection, line_id, [e for e in entries if isinstance(e, LateScore)])
            if position is not None:
                values = {
                    "journal": position.journal,
                    "segment": position.segment,
                    "byte_offset": position.offset,
                }
                connection.execute(sa.update(schema.journal_positions).where(mine).values(values))
        self._cache.update(names.found)
        return applied


def _store_inspections(connection: Connection, names: Names, line_id: int, settled: Sequence[Settled]) -> Applied:
    if not settled:
        return Applied()
    table = schema.inspections
    numbers = [s.inspection.sequence for s in settled]
    query = sa.select(table.c.sequence, table.c.trigger, table.c.decide_us).where(
        table.c.line_id == line_id, table.c.sequence.between(min(numbers), max(numbers))
    )
    known = {sequence: (trigger, decided) for sequence, trigger, decided in connection.execute(query)}
    rows: list[Row] = []
    findings: list[Row] = []
    views: list[Row] = []
    repeated = conflicting = 0
    for inspection in (s.inspection for s in settled):
        this = (inspection.trigger, to_microseconds(inspection.decide_time))
        if inspection.sequence in known:
            if known[inspection.sequence] == this:
                repeated += 1
            else:
                conflicting += 1
                _log.error("verdict %s is on record with another content; this one is dropped", inspection.name)
            continue
        known[inspection.sequence] = this
        rows.append(_inspection_row(names, line_id, inspection))
        findings += _finding_rows(names, line_id, inspection)
        views += _view_rows(names, line_id, inspection)
    if rows:
        connection.execute(sa.insert(table), rows)
        _raise_marks(connection, rows)
    if findings:
        connection.execute(sa.insert(schema.findings), findings)
    if views:
        connection.execute(sa.insert(schema.inspection_views), views)
    return Applied(len(rows), repeated, conflicting)


def _inspection_row(names: Names, line_id: int, inspection: Inspection) -> Row:
    found = inspection.defect_class
    capture = inspection.capture_time
    return {
        "line_id": line_id,
        "sequence": inspection.sequence,
        "station_id": names.id(schema.stations, inspection.station, line_id=line_id),
        "camera_id": names.id(schema.cameras, inspection.camera, line_id=line_id),
        "station_sequence": inspection.station_sequence,
        "trigger": inspection.trigger,
        "part_id": clean(inspection.part_id) or None,
        "verdict": int(inspection.verdict),
        "reason": int(inspection.reason),
        "detail": clean(inspection.detail, DETAIL_LENGTH) or None,
        "score": finite_or_none(inspection.score),
        "score_limit": finite_or_none(inspection.limit),
        "class_id": names.id(schema.classes, found) if found else None,
        "recipe_id": names.id(schema.recipes, inspection.recipe),
        "bundle_id": names.id(schema.bundles, inspection.bundle, column="label"),
        "capture_us": None if capture is None else to_microseconds(capture),
        "receive_us": to_microseconds(inspection.receive_time),
        "decide_us": to_microseconds(inspection.decide_time),
        "latency_us": round(inspection.latency_ms * 1000),
    }


def _finding_rows(names: Names, line_id: int, inspection: Inspection) -> list[Row]:
    return [
        {
            "line_id": line_id,
            "sequence": inspection.sequence,
            "number": number,
            "class_id": names.id(schema.classes, finding.defect_class),
            "x_px": finding.box.x_px,
            "y_px": finding.box.y_px,
            "width_px": finding.box.width_px,
            "height_px": finding.box.height_px,
            "area_px": finding.area_px,
            "score": finite_or_none(finding.score),
            "view": finding.view or None,
            **_dimensions(finding),
        }
        for number, finding in enumerate(inspection.findings)
    ]


def _view_rows(names: Names, line_id: int, inspection: Inspection) -> list[Row]:
    return [
        {
            "line_id": line_id,
            "sequence": inspection.sequence,
            "number": number,
            "view": one.view,
            "camera_id": names.id(schema.cameras, one.camera, line_id=line_id),
            "bundle_id": names.id(schema.bundles, one.bundle, column="label"),
            "reason": int(one.reason),
            "detail": clean(one.detail, DETAIL_LENGTH) or None,
            "score": finite_or_none(one.score),
            "score_limit": finite_or_none(one.limit),
            "is_decisive": one.view == inspection.view,
        }
        for number, one in enumerate(inspection.views)
    ]


def _dimensions(finding: Finding) -> Row:
    x_px, y_px = finding.centre_px or (None, None)
    size = finding.size
    return {
        "length_px": finding.length_px,
        "centre_x_px": x_px,
        "centre_y_px": y_px,
        "length_mm": None if size is None else size.length_mm,
        "area_mm2": None if size is None else size.area_mm2,
        "x_mm": None if size is None else size.x_mm,
        "y_mm": None if size is None else size.y_mm,
    }


def _raise_marks(connection: Connection, rows: Iterable[Row]) -> None:
    """Remember the highest numbers of each station."""
    marks: dict[int, tuple[int, int]] = {}
    for row in rows:
        trigger, count = marks.get(row["station_id"], (0, 0))
        marks[row["station_id"]] = (max(trigger, row["trigger"]), max(count, row["station_sequence"]))
    table = schema.stations
    for station_id, (trigger, count) in marks.items():
        values = {
            "last_trigger": sa.case((table.c.last_trigger < trigger, trigger), else_=table.c.last_trigger),
            "last_station_sequence": sa.case(
                (table.c.last_station_sequence < count, count), else_=table.c.last_station_sequence
            ),
        }
        connection.execute(sa.update(table).where(table.c.id == station_id).values(values))


def _store_evidence(connection: Connection, line_id: int, entries: Sequence[Evidence]) -> None:
    newest = {(entry.sequence, entry.late_view): entry for entry in entries}
    if not newest:
        return
    ids = _store_pictures(connection, newest.values())
    for late_view in sorted({place for _, place in newest}):
        first = schema.LATE_VIEW * late_view
        block = {sequence: entry for (sequence, place), entry in newest.items() if place == late_view}
        rows = [
            {
                "line_id": line_id,
                "sequence": sequence,
                "number": first + number,
                "kind": int(image.kind),
                "picture_id": ids.get(image.sha256),
                "lost_reason": clean(image.lost_reason) or None,
                "view": image.view or None,
            }
            for sequence, entry in block.items()
            for number, image in enumerate(entry.images)
        ]
        within = schema.inspection_images.c.number.between(first, first + schema.LATE_VIEW - 1)
        _replace(connection, schema.inspection_images, line_id, list(block), rows, within)


def _store_pictures(connection: Connection, entries: Iterable[Evidence]) -> dict[str, int]:
    """Ids of the pictures by SHA-256. One that retention removed is back if it was stored anew after that."""
    table = schema.pictures
    rows = {
        image.sha256: {
            "sha256": bytes.fromhex(image.sha256),
            "media_type": image.media_type,
            "size_bytes": image.size_bytes,
            "stored_us": to_microseconds(entry.time),
        }
        for entry in entries
        for image in entry.images
        if image.sha256
    }
    if not rows:
        return {}
    insert = insert_for(connection, table)
    new = insert.excluded.stored_us
    still_gone = sa.and_(table.c.removed_us.is_not(None), table.c.removed_us >= new)
    insert = insert.on_conflict_do_update(
        index_elements=[table.c.sha256],
        set_={
            "stored_us": sa.case((table.c.stored_us < new, new), else_=table.c.stored_us),
            "removed_us": sa.case((still_gone, table.c.removed_us), else_=None),
            "removed_reason": sa.case((still_gone, table.c.removed_reason), else_=None),
        },
    )
    # In a fixed order, so that two lines with the same pictures cannot wait for each other.
    connection.execute(insert, [rows[sha256] for sha256 in sorted(rows)])
    ids: dict[str, int] = {}
    for chunk in chunks([row["sha256"] for row in rows.values()]):
        query = sa.select(table.c.sha256, table.c.id).where(table.c.sha256.in_(chunk))
        ids.update({bytes(sha256).hex(): id_ for sha256, id_ in connection.execute(query)})
    return ids


def _store_late_scores(connection: Connection, line_id: int, entries: Sequence[LateScore]) -> None:
    scores = {entry.sequence: finite_or_none(entry.score) for entry in entries}
    rows = [{"line_id": line_id, "sequence": s, "score": score} for s, score in scores.items()]
    _replace(connection, schema.late_scores, line_id, list(scores), rows)


def _replace(
    connection: Connection,
    table: sa.Table,
    line_id: int,
    sequences: Sequence[int],
    rows: Sequence[Row],
    *within: sa.ColumnElement[bool],
) -> None:
    for chunk in chunks(sequences):
        connection.execute(sa.delete(table).where(table.c.line_id == line_id, table.c.sequence.in_(chunk), *within))
    if rows:
        connection.execute(sa.insert(table), rows)


def chunks(values: Sequence[T]) -> Iterable[Sequence[T]]:
    """`values` in pieces that fit into one statement."""
    return (values[i : i + _CHUNK] for i in range(0, len(values), _CHUNK))
