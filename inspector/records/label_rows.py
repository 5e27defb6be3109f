"""Labels in the quality database: adding them, and reading inspections with all that was said of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from inspector.errors import EditConflict, LabelInvalid, NotFound
from inspector.part import Box, Verdict
from inspector.records import schema
from inspector.records.applying import chunks, insert_for
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.labels import WORDS, Area, Label, Labelled, Mask, Polygon, check_label
from inspector.records.queries import INSPECTIONS, Terms, bundle_ids, complete, numbered
from inspector.records.text import clean

_PAGE = 500
Versions = Mapping[tuple[str, int], int]
"""How many labels a part (line, number) had when somebody opened it."""
_labels, _areas, _i = schema.labels, schema.label_areas, schema.inspections


@dataclass(frozen=True, slots=True)
class LabelledFilter:
    """Of which inspections to read labels; empty fields leave everything in.

    `bundle` is a label "name@digest12", or a name for all bundles of that name. Receive time from `start_time` (inclusive)
    to `end_time` (exclusive).
    """

    line: str = ""
    recipe: str = ""
    bundle: str = ""
    verdicts: frozenset[Verdict] = frozenset()
    start_time: datetime | None = None
    end_time: datetime | None = None


# Adding


def add(database: Database, labels: Sequence[Label], versions: Versions | None = None) -> int:
    """Add labels, all or none; returns how many said something new of their author.

    Raises LabelInvalid, NotFound, EditConflict, and what `Database.writing` raises.
    """
    with database.writing() as connection:
        return add_in(connection, labels, versions)


def add_in(
    connection: Connection, labels: Sequence[Label], versions: Mapping[tuple[str, int], int] | None = None
) -> int:
    """As `add`, within a transaction. `versions` say of a part (line, number) how many labels it had when it was opened: raises
    EditConflict if somebody has labelled it since.
    """
    for label in labels:
        check_label(label)
    line_ids = _line_ids(connection)
    keys = [(line_ids.get(clean(label.line), 0), label.sequence) for label in labels]
    pictures = _pictures(connection, keys)
    if versions:
        _lock_parts(connection, keys)
    for key, label in zip(keys, labels, strict=True):
        if key not in pictures:
            raise NotFound(
                f"lines/{label.line}/inspections/{label.sequence} is not on record, so it cannot be labelled"
            )
        if label.image and label.image not in pictures[key]:
            raise LabelInvalid(
                f"picture {label.image[:12]} is none of lines/{label.line}/inspections/{label.sequence}: "
                "label one of its own"
            )
    masks = _masks(labels)
    # Holds off a sweep that is about to remove these pictures; see `Store.mark_removed`.
    _lock(connection, {sha256 for shown in pictures.values() for sha256 in shown} | set(masks))
    mask_ids = _record_masks(connection, masks)
    before = histories(connection, keys)
    _check_versions(labels, keys, before, versions or {})
    said = {key: _newest(history) for key, history in before.items()}
    added = 0
    for key, label in zip(keys, labels, strict=True):
        known = said[key].get(label.author)
        if known is None or not known.says_the_same(label):
            _insert(connection, key, label, mask_ids)
            said[key][label.author] = label
            added += 1
    return added


def _check_versions(
    labels: Sequence[Label],
    keys: Sequence[tuple[int, int]],
    histories: Mapping[tuple[int, int], Sequence[Label]],
    versions: Mapping[tuple[str, int], int],
) -> None:
    """Raise EditConflict if a part has been labelled since its version was told."""
    for key, label in zip(keys, labels, strict=True):
        known, history = versions.get((label.line, label.sequence)), histories[key]
        if known is not None and known != len(history):
            if known > len(history):
                raise EditConflict(
                    f"#{label.sequence} has {len(history)} labels, not {known}: open it again, and save then"
                )
            last = history[-1]
            raise EditConflict(
                f"{last.author} has labelled #{label.sequence} as {last.what} at {last.time:%H:%M:%S} UTC, after you opened "
                "it: nothing of yours was saved yet; look at theirs, then save again"
            )


def _lock_parts(connection: Connection, keys: Sequence[tuple[int, int]]) -> None:
    """So that what is said of them between reading and writing waits."""
    for line_id, sequences in numbered(keys).items():
        for chunk in chunks(sorted(sequences)):
            query = sa.select(_i.c.sequence).where(_i.c.line_id == line_id, _i.c.sequence.in_(chunk))
            connection.execute(query.order_by(_i.c.sequence).with_for_update())


def _newest(history: Sequence[Label]) -> dict[str, Label]:
    return {label.author: label for label in history}


def _line_ids(connection: Connection) -> dict[str, int]:
    return {row.name: row.id for row in connection.execute(sa.select(schema.lines.c.name, schema.lines.c.id))}


def _pictures(connection: Connection, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], set[str]]:
    """SHA-256 of the pictures of each of these inspections that is on record."""
    images = schema.inspection_images
    shown = (
        sa.select(_i.c.line_id, _i.c.sequence, schema.pictures.c.sha256)
        .outerjoin(images, (images.c.line_id == _i.c.line_id) & (images.c.sequence == _i.c.sequence))
        .outerjoin(schema.pictures, schema.pictures.c.id == images.c.picture_id)
    )
    found: dict[tuple[int, int], set[str]] = {}
    for line_id, sequences in numbered(keys).items():
        for chunk in chunks(sequences):
            for row in connection.execute(shown.where(_i.c.line_id == line_id, _i.c.sequence.in_(chunk))):
                pictures = found.setdefault((row.line_id, row.sequence), set())
                if row.sha256 is not None:
                    pictures.add(bytes(row.sha256).hex())
    return found


def _masks(labels: Sequence[Label]) -> dict[str, dict[str, Any]]:
    """Rows of the masks among the pictures, by SHA-256."""
    return {
        area.shape.sha256: {
            "sha256": bytes.fromhex(area.shape.sha256),
            "media_type": "image/png",
            "size_bytes": area.shape.size_bytes,
            "stored_us": to_microseconds(label.time),
        }
        for label in labels
        for area in label.areas
        if isinstance(area.shape, Mask)
    }


def _record_masks(connection: Connection, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Ids of the masks among the pictures, made where missing."""
    table, ids = schema.pictures, {}
    for sha256, row in sorted(rows.items()):
        # It was put into the store just now, also if retention had removed it before.
        again = {"removed_us": None, "removed_reason": None}
        insert = insert_for(connection, table).values(dict(row))
        connection.execute(insert.on_conflict_do_update(index_elements=[table.c.sha256], set_=again))
        ids[sha256] = connection.execute(sa.select(table.c.id).where(table.c.sha256 == row["sha256"])).scalar_one()
    return ids


def _lock(connection: Connection, sha256s: set[str]) -> None:
    """In one order, so that two who label do not wait for each other."""
    table = schema.pictures
    for chunk in chunks([bytes.fromhex(sha256) for sha256 in sorted(sha256s)]):
        query = sa.select(table.c.id).where(table.c.sha256.in_(chunk)).order_by(table.c.sha256)
        connection.execute(query.with_for_update())


def _insert(connection: Connection, key: tuple[int, int], label: Label, masks: Mapping[str, int]) -> None:
    values = {
        "line_id": key[0],
        "sequence": key[1],
        "label": label.what,
        "author": label.author,
        "labelled_us": to_microseconds(label.time),
        "picture_sha256": bytes.fromhex(label.image) or None,
        "note": clean(label.note, len(label.note)) or None,
        "is_repeat": label.is_repeat or None,
    }
    label_id = connection.execute(sa.insert(_labels).values(values).returning(_labels.c.id)).scalar_one()
    rows = [
        {
            "label_id": label_id,
            "number": number,
            "defect_class": area.defect_class or None,
            "points": _points(area.shape),
            "picture_id": masks[area.shape.sha256] if isinstance(area.shape, Mask) else None,
        }
        for number, area in enumerate(label.areas)
    ]
    if rows:
        connection.execute(sa.insert(_areas), rows)


def _points(shape: Box | Polygon | Mask) -> str | None:
    """A box as [x, y, width, height], a polygon as [[x, y], …]."""
    if isinstance(shape, Mask):
        return None
    if isinstance(shape, Box):
        return json.dumps([shape.x_px, shape.y_px, shape.width_px, shape.height_px])
    return json.dumps([list(point) for point in shape.points])


# Reading


def of(database: Database, line: str, sequence: int) -> Labelled:
    """One inspection with its labels, of which there may be none. NotFound."""
    with database.reading() as connection:
        query = INSPECTIONS.where(schema.lines.c.name == clean(line), _i.c.sequence == sequence)
        found = _labelled(connection, connection.execute(query).all())
    if not found:
        raise NotFound(f"lines/{line}/inspections/{sequence} is not on record: look it up with `inspector rejects`")
    return found[0]


def of_many(database: Database, line: str, sequences: Sequence[int]) -> list[Labelled]:
    """Inspections with their labels, in this order; those that are not on record are left out."""
    found: dict[int, Labelled] = {}
    with database.reading() as connection:
        for chunk in chunks(sequences):
            query = INSPECTIONS.where(schema.lines.c.name == clean(line), _i.c.sequence.in_(chunk))
            for one in _labelled(connection, connection.execute(query).all()):
                found[one.stored.inspection.sequence] = one
    return [found[sequence] for sequence in sequences if sequence in found]


def labelled(database: Database, where: LabelledFilter) -> Iterator[Labelled]:
    """Every inspection that has a label, by line and number, with the labels that there were when the reading began."""
    with database.reading() as connection:
        last = connection.execute(sa.select(sa.func.max(_labels.c.id))).scalar() or 0
    after = (0, 0)
    while True:
        with database.reading() as connection:
            rows = connection.execute(_page_after(connection, where, after, last)).all()
            page = _labelled(connection, rows, last)
        if not rows:
            return
        after = rows[-1].line_id, rows[-1].sequence
        yield from page


def classes(database: Database) -> frozenset[str]:
    """Every defect class that a label has ever named, of the part or of an area."""
    with database.reading() as connection:
        of_parts = connection.execute(sa.select(_labels.c.label).distinct()).scalars()
        of_areas = connection.execute(sa.select(_areas.c.defect_class).distinct()).scalars()
        return frozenset(name for name in (*of_parts, *of_areas) if name) - WORDS


def _page_after(connection: Connection, where: LabelledFilter, after: tuple[int, int], last: int) -> sa.Select[Any]:
    terms: Terms = [sa.tuple_(_i.c.line_id, _i.c.sequence) > sa.tuple_(*after)]
    if where.line:
        terms.append(schema.lines.c.name == clean(where.line))
    if where.recipe:
        terms.append(schema.recipes.c.name == clean(where.recipe))
    if (bundles := bundle_ids(connection, where.bundle)) is not None:
        terms.append(_i.c.bundle_id.in_(bundles))
    if where.verdicts:
        terms.append(_i.c.verdict.in_(sorted(int(verdict) for verdict in where.verdicts)))
    if where.start_time is not None:
        terms.append(_i.c.receive_us >= to_microseconds(where.start_time))
    if where.end_time is not None:
        terms.append(_i.c.receive_us < to_microseconds(where.end_time))
    said = sa.select(_labels.c.line_id, _labels.c.sequence).where(_labels.c.id <= last).distinct().subquery()
    query = INSPECTIONS.join(said, (said.c.line_id == _i.c.line_id) & (said.c.sequence == _i.c.sequence))
    return query.where(*terms).order_by(_i.c.line_id, _i.c.sequence).limit(_PAGE)


def _labelled(connection: Connection, rows: Sequence[Row[Any]], last: int | None = None) -> list[Labelled]:
    keys = [(row.line_id, row.sequence) for row in rows]
    found = histories(connection, keys, last)
    return [Labelled(stored, tuple(found[key])) for key, stored in zip(keys, complete(connection, rows), strict=True)]


def histories(
    connection: Connection, keys: Sequence[tuple[int, int]], last: int | None = None
) -> dict[tuple[int, int], list[Label]]:
    """The labels of each inspection by time, up to row `last`."""
    rows: list[Row[Any]] = []
    for line_id, sequences in numbered(keys).items():
        for chunk in chunks(sequences):
            query = sa.select(_labels, schema.lines.c.name).join(schema.lines)
            query = query.where(_labels.c.line_id == line_id, _labels.c.sequence.in_(chunk))
            rows += connection.execute(query if last is None else query.where(_labels.c.id <= last))
    areas = _areas_of(connection, [row.id for row in rows])
    found: dict[tuple[int, int], list[Label]] = {key: [] for key in keys}
    for row in sorted(rows, key=lambda row: (row.labelled_us, row.id)):
        found[row.line_id, row.sequence].append(_label(row, areas[row.id]))
    return found


def _areas_of(connection: Connection, label_ids: Sequence[int]) -> dict[int, list[Area]]:
    pictures = schema.pictures
    query = sa.select(_areas, pictures.c.sha256, pictures.c.size_bytes).outerjoin(pictures)
    found: dict[int, list[Area]] = defaultdict(list)
    for chunk in chunks(label_ids):
        for row in connection.execute(query.where(_areas.c.label_id.in_(chunk)).order_by(*_areas.primary_key)):
            found[row.label_id].append(Area(_shape(row), row.defect_class or ""))
    return found


def _shape(row: Row[Any]) -> Box | Polygon | Mask:
    if row.points is None:
        return Mask(bytes(row.sha256).hex(), row.size_bytes)
    points = json.loads(row.points)
    if isinstance(points[0], list):
        return Polygon(tuple((x, y) for x, y in points))
    return Box(*points)


def _label(row: Row[Any], areas: Sequence[Area]) -> Label:
    return Label(
        line=row.name,
        sequence=row.sequence,
        what=row.label,
        author=row.author,
        time=from_microseconds(row.labelled_us),
        areas=tuple(areas),
        note=row.note or "",
        image=bytes(row.picture_sha256 or b"").hex(),
        is_repeat=bool(row.is_repeat),
    )
