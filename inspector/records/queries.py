"""Asks the quality database for inspections: by number, newest first through filters, or onward from a number."""

from __future__ import annotations

import base64
import heapq
import itertools
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from inspector.errors import NotFound, PageTokenInvalid
from inspector.part import Box, Finding, ImageKind, Inspection, Millimetres, Reason, Verdict, ViewResult
from inspector.records import schema
from inspector.records.applying import chunks
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.entries import StoredImage
from inspector.records.text import clean

MAX_PAGE = 1000
Terms = list[sa.ColumnElement[bool]]

_i = schema.inspections
INSPECTIONS = (
    sa.select(
        _i,
        schema.lines.c.name.label("line"),
        schema.stations.c.name.label("station"),
        schema.cameras.c.name.label("camera"),
        schema.recipes.c.name.label("recipe"),
        schema.bundles.c.label.label("bundle"),
    )
    .join(schema.lines, schema.lines.c.id == _i.c.line_id)
    .join(schema.stations, schema.stations.c.id == _i.c.station_id)
    .join(schema.cameras, schema.cameras.c.id == _i.c.camera_id)
    .join(schema.recipes, schema.recipes.c.id == _i.c.recipe_id)
    .join(schema.bundles, schema.bundles.c.id == _i.c.bundle_id)
)


@dataclass(frozen=True, slots=True)
class StoredInspection:
    """An inspection as it is on record, with what came after the verdict."""

    inspection: Inspection
    images: tuple[StoredImage, ...] = ()
    late_score: float | None = None


@dataclass(frozen=True, slots=True)
class InspectionFilter:
    """Which inspections to list; empty fields leave everything in.

    `bundle` is a label "name@digest12", or a name for all bundles of that name. `defect_class` is that of the strongest
    finding. Receive time from `start_time` (inclusive) to `end_time` (exclusive).
    """

    line: str = ""
    part_id: str = ""
    verdicts: frozenset[Verdict] = frozenset()
    defect_class: str = ""
    bundle: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Inspections, newest first. `next_page_token` is empty on the last page."""

    inspections: tuple[StoredInspection, ...]
    next_page_token: str = ""


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """Place in the order of a list, which is by descending receive time, line and number."""

    receive_us: int
    line_id: int
    sequence: int


def get(database: Database, line: str, sequence: int) -> StoredInspection:
    """One inspection. NotFound, StoreUnavailable, SchemaOutdated."""
    with database.reading() as connection:
        query = INSPECTIONS.where(schema.lines.c.name == clean(line), _i.c.sequence == sequence)
        found = complete(connection, connection.execute(query).all())
    if not found:
        raise NotFound(
            f"lines/{line}/inspections/{sequence} is not on record: it may not be stored yet, or the number is wrong"
        )
    return found[0]


def after(
    database: Database, line: str, sequence: int, limit: int, verdicts: frozenset[Verdict] = frozenset()
) -> list[StoredInspection]:
    """Up to `limit` inspections of a line with higher numbers, in their order. StoreUnavailable, SchemaOutdated."""
    with database.reading() as connection:
        query = INSPECTIONS.where(schema.lines.c.name == clean(line), _i.c.sequence > sequence)
        query = query.order_by(_i.c.sequence).limit(limit)
        if verdicts:
            query = query.where(aside(connection, _i.c.verdict).in_(sorted(int(v) for v in verdicts)))
        return complete(connection, connection.execute(query).all())


def first_since(database: Database, line: str, time: datetime) -> int:
    """Number of the earliest inspection received at or after `time`, 0 if there is none. StoreUnavailable, SchemaOutdated."""
    with database.reading() as connection:
        lines = _ids(connection, schema.lines, schema.lines.c.name == clean(line))
        query = sa.select(_i.c.sequence).where(_i.c.receive_us >= to_microseconds(time))
        query = query.order_by(_i.c.receive_us, _i.c.sequence).limit(1)
        return next((number for id_ in lines for number in connection.scalars(query.where(_i.c.line_id == id_))), 0)


def list_page(database: Database, where: InspectionFilter, page_size: int, page_token: str) -> Page:
    """Newest first. PageTokenInvalid, StoreUnavailable, SchemaOutdated."""
    size = min(max(page_size, 1), MAX_PAGE)
    before = _read_token(page_token, where) if page_token else None
    with database.reading() as connection:
        # Several queries, merged: so an index gives each in its order, and none reads past its page.
        parts = [connection.execute(query).all() for query in statements(connection, where, before, size + 1)]
        rows = list(itertools.islice(heapq.merge(*parts, key=_place, reverse=True), size + 1))
        found = complete(connection, rows[:size])
    token = _write_token(_place(rows[size - 1]), where) if len(rows) > size else ""
    return Page(tuple(found), token)


def statements(
    connection: Connection, where: InspectionFilter, before: _Place | None, limit: int
) -> list[sa.Select[Any]]:
    """The queries that together answer a list: each reads one stretch of one index, in its order.

    The narrowest of the filters picks the index: part, class, bundle, verdict, time, in this order.
    """
    lines = _ids(connection, schema.lines, schema.lines.c.name == clean(where.line) if where.line else sa.true())
    queries = []
    for line_id, terms in itertools.product(lines, _stretches(connection, where)):
        query = INSPECTIONS.where(_i.c.line_id == line_id, *terms, *_time_terms(where))
        if before is not None:
            query = query.where(_before(before, line_id))
        queries.append(query.order_by(_i.c.receive_us.desc(), _i.c.sequence.desc()).limit(limit))
    return queries


def _stretches(connection: Connection, where: InspectionFilter) -> list[Terms]:
    """Terms that each pick one stretch of an index; together they are the filter without line and time."""
    bundles, classes = bundle_ids(connection, where.bundle), _class_ids(connection, where.defect_class)
    verdicts = sorted(int(v) for v in where.verdicts or Verdict)
    if where.part_id or classes is not None:
        rest = _besides(connection, bundles, verdicts)
        if not where.part_id:
            return [[_i.c.class_id == id_, *rest] for id_ in classes or []]
        if classes is not None:
            rest.append(aside(connection, _i.c.class_id).in_(classes))
        return [[_i.c.part_id == clean(where.part_id), *rest]]
    if bundles is not None:
        return [[_i.c.bundle_id == id_, _i.c.verdict == v] for id_ in bundles for v in verdicts]
    if Verdict.PASS not in verdicts:
        # The second term is in the words of the partial index, so that the databases see that it applies.
        not_passed = sa.literal_column("inspections.verdict") != sa.literal_column("1")
        return [[_i.c.verdict == v, not_passed] for v in verdicts]
    return [_besides(connection, None, verdicts)]


def _besides(connection: Connection, bundles: Sequence[int] | None, verdicts: Sequence[int]) -> Terms:
    """Filters that hold rows against what another index has found."""
    terms: Terms = []
    if bundles is not None:
        terms.append(aside(connection, _i.c.bundle_id).in_(bundles))
    if len(verdicts) < len(Verdict):
        terms.append(aside(connection, _i.c.verdict).in_(verdicts))
    return terms


def aside(connection: Connection, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """The column as a term that picks no index. SQLite, which knows no statistics, would take the index with most columns:
    https://www.sqlite.org/optoverview.html#disqualifying_where_clause_terms_using_unary_
    """
    return sa.literal_column(f"+{column}", column.type) if connection.dialect.name == "sqlite" else column


def bundle_ids(connection: Connection, bundle: str) -> list[int] | None:
    """Ids of the bundles meant, also of those that judge together with one of them; None if there is no such filter."""
    if not bundle:
        return None
    label, manifest, text = schema.bundles.c.label, schema.bundles.c.manifest, clean(bundle)
    if "@" in text:
        return _ids(connection, schema.bundles, (label == text) | manifest.contains(f'"{text}"', autoescape=True))
    named = label.startswith(f"{text}@", autoescape=True) | manifest.contains(f'"{text}@', autoescape=True)
    return _ids(connection, schema.bundles, (label == text) | named)


def _class_ids(connection: Connection, defect_class: str) -> list[int] | None:
    if not defect_class:
        return None
    return _ids(connection, schema.classes, schema.classes.c.name == clean(defect_class))


def _ids(connection: Connection, table: sa.Table, where: sa.ColumnElement[bool]) -> list[int]:
    return list(connection.execute(sa.select(table.c.id).where(where)).scalars())


def _time_terms(where: InspectionFilter) -> Terms:
    terms: Terms = []
    if where.start_time is not None:
        terms.append(_i.c.receive_us >= to_microseconds(where.start_time))
    if where.end_time is not None:
        terms.append(_i.c.receive_us < to_microseconds(where.end_time))
    return terms


def _before(place: _Place, line_id: int) -> sa.ColumnElement[bool]:
    if line_id > place.line_id:
        return _i.c.receive_us < place.receive_us
    if line_id < place.line_id:
        return _i.c.receive_us <= place.receive_us
    return sa.tuple_(_i.c.receive_us, _i.c.sequence) < sa.tuple_(place.receive_us, place.sequence)


def _place(row: Row[Any]) -> _Place:
    return _Place(row.receive_us, row.line_id, row.sequence)


# Page tokens


def _write_token(place: _Place, where: InspectionFilter) -> str:
    text = f"{place.receive_us}.{place.line_id}.{place.sequence}.{_fingerprint(where)}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str, where: InspectionFilter) -> _Place:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        receive_us, line_id, sequence, fingerprint = (int(number) for number in text.split("."))
        largest = max(abs(receive_us), abs(line_id), abs(sequence))
    except ValueError as error:
        raise PageTokenInvalid("the page token is not one: send back what the previous page gave") from error
    if fingerprint != _fingerprint(where) or largest >= 1 << 63:
        raise PageTokenInvalid("the page token is of another query: keep all filters while paging, or start without it")
    return _Place(receive_us, line_id, sequence)


def _fingerprint(where: InspectionFilter) -> int:
    values = asdict(where) | {"verdicts": sorted(int(v) for v in where.verdicts)}
    return zlib.crc32(json.dumps(values, sort_keys=True, default=str).encode())


# Rows to values


def complete(connection: Connection, rows: Sequence[Row[Any]]) -> list[StoredInspection]:
    """Inspections of `rows`, with their findings, pictures and late scores."""
    numbers = numbered((row.line_id, row.sequence) for row in rows)
    findings = _grouped(connection, _FINDINGS, schema.findings, numbers)
    images = _grouped(connection, _IMAGES, schema.inspection_images, numbers)
    views = _grouped(connection, _VIEWS, schema.inspection_views, numbers)
    late = _grouped(connection, sa.select(schema.late_scores), schema.late_scores, numbers)
    found = []
    for row in rows:
        key = row.line_id, row.sequence
        pictures = tuple(_image(image) for image in images[key])
        late_score = late[key][0].score if late[key] else None
        found.append(StoredInspection(_inspection(row, findings[key], views[key]), pictures, late_score))
    return found


def numbered(keys: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """The numbers of each line, each once."""
    numbers: dict[int, dict[int, None]] = defaultdict(dict)
    for line_id, sequence in keys:
        numbers[line_id][sequence] = None
    return {line_id: list(sequences) for line_id, sequences in numbers.items()}


_FINDINGS = sa.select(schema.findings, schema.classes.c.name).join(
    schema.classes, schema.classes.c.id == schema.findings.c.class_id
)
_VIEWS = (
    sa.select(schema.inspection_views, schema.cameras.c.name.label("camera"), schema.bundles.c.label.label("bundle"))
    .join(schema.cameras, schema.cameras.c.id == schema.inspection_views.c.camera_id)
    .join(schema.bundles, schema.bundles.c.id == schema.inspection_views.c.bundle_id)
)
_IMAGES = sa.select(
    schema.inspection_images,
    schema.pictures.c.sha256,
    schema.pictures.c.media_type,
    schema.pictures.c.size_bytes,
    schema.pictures.c.removed_us,
    schema.pictures.c.removed_reason,
).outerjoin(schema.pictures, schema.pictures.c.id == schema.inspection_images.c.picture_id)


def _grouped(
    connection: Connection, query: sa.Select[Any], table: sa.Table, numbers: Mapping[int, Sequence[int]]
) -> dict[tuple[int, int], list[Row[Any]]]:
    """Rows of `query` by (line id, sequence), each group in the table's order."""
    groups: dict[tuple[int, int], list[Row[Any]]] = defaultdict(list)
    order: Iterable[sa.Column[Any]] = list(table.primary_key.columns)
    for line_id, sequences in numbers.items():
        for chunk in chunks(sequences):
            part = query.where(table.c.line_id == line_id, table.c.sequence.in_(chunk)).order_by(*order)
            for row in connection.execute(part):
                groups[row.line_id, row.sequence].append(row)
    return groups


def _inspection(row: Row[Any], findings: Sequence[Row[Any]], views: Sequence[Row[Any]]) -> Inspection:
    return Inspection(
        line=row.line,
        station=row.station,
        camera=row.camera,
        sequence=row.sequence,
        station_sequence=row.station_sequence,
        trigger=row.trigger,
        part_id=row.part_id or "",
        verdict=Verdict(row.verdict),
        reason=Reason(row.reason),
        detail=row.detail or "",
        score=row.score,
        limit=row.score_limit,
        findings=tuple(_finding(f) for f in findings),
        recipe=row.recipe,
        bundle=row.bundle,
        capture_time=None if row.capture_us is None else from_microseconds(row.capture_us),
        receive_time=from_microseconds(row.receive_us),
        decide_time=from_microseconds(row.decide_us),
        latency_ms=row.latency_us / 1000,
        view=next((v.view for v in views if v.is_decisive), ""),
        views=tuple(
            ViewResult(v.view, v.camera, v.bundle, Reason(v.reason), v.detail or "", v.score, v.score_limit)
            for v in views
        ),
    )


def _finding(row: Row[Any]) -> Finding:
    score = float("nan") if row.score is None else row.score
    box = Box(row.x_px, row.y_px, row.width_px, row.height_px)
    centre = None if row.centre_x_px is None else (row.centre_x_px, row.centre_y_px)
    size = None if row.length_mm is None else Millimetres(row.length_mm, row.area_mm2, row.x_mm, row.y_mm)
    return Finding(row.name, box, row.area_px, score, row.length_px, centre, size, row.view or "")


def _image(row: Row[Any]) -> StoredImage:
    kind, view = ImageKind(row.kind), row.view or ""
    if row.sha256 is None:
        return StoredImage(kind, "", "", 0, row.lost_reason or "", view)
    if row.removed_us is not None:
        removed = f"removed by retention ({row.removed_reason}) on {from_microseconds(row.removed_us):%Y-%m-%d}"
        return StoredImage(kind, "", row.media_type, row.size_bytes, removed, view)
    return StoredImage(kind, bytes(row.sha256).hex(), row.media_type, row.size_bytes, view=view)
