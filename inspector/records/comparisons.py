"""Two bundles judged on the same parts, on record: every image with both scores, and the flips as pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from inspector.errors import NotFound
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.model_tables import comparisons
from inspector.records.requests import line_id_of, make_line
from inspector.records.text import DETAIL_LENGTH, clean


@dataclass(frozen=True, slots=True)
class ComparedImage:
    """One image with its truth and both scores; a score is None where that bundle could not judge it.

    Images of one physical `part` share its number. `known` says that a bundle was made with it, or with one like it: such an
    image flatters that bundle.
    """

    path: str
    label: str
    part: int
    lot: str
    first: float | None
    second: float | None
    known: bool


@dataclass(frozen=True, slots=True)
class BundleComparison:
    """Two bundles, A the first and B the second, with their limits then. `pictures` are data URIs of flips, by path."""

    first: str
    second: str
    limits: tuple[float, float]
    data: str
    statement: str
    images: tuple[ComparedImage, ...]
    pictures: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComparisonEntry:
    """A comparison on record, without its images."""

    id: int
    first: str
    second: str
    data: str
    made_by: str
    time: datetime
    statement: str


class Comparisons:
    """The comparisons of one line. Thread-safe. Every method raises what `Database` raises."""

    def __init__(self, database: Database, line: str) -> None:
        self._database = database
        self._line = line

    def add(self, comparison: BundleComparison, by: str, time: datetime) -> int:
        """Put one on record; returns its number."""
        with self._database.writing() as connection:
            row = {
                "line_id": make_line(connection, self._line),
                "first_label": clean(comparison.first),
                "second_label": clean(comparison.second),
                "data": clean(comparison.data, DETAIL_LENGTH),
                "made_by": clean(by),
                "made_us": to_microseconds(time),
                "statement": clean(comparison.statement, DETAIL_LENGTH),
                "result": json.dumps(_to_json(comparison)),
            }
            insert = sa.insert(comparisons).values(row).returning(comparisons.c.id)
            return int(connection.execute(insert).scalar_one())

    def list(self, limit: int = 100) -> Sequence[ComparisonEntry]:
        """The newest, newest first."""
        table = comparisons
        columns = [column for column in table.c if column.name != "result"]
        with self._database.reading() as connection:
            mine = table.c.line_id == line_id_of(connection, self._line)
            rows = connection.execute(sa.select(*columns).where(mine).order_by(table.c.id.desc()).limit(limit)).all()
        return [
            ComparisonEntry(
                row.id,
                row.first_label,
                row.second_label,
                row.data,
                row.made_by,
                from_microseconds(row.made_us),
                row.statement,
            )
            for row in rows
        ]

    def get(self, number: int) -> BundleComparison:
        """One of the line. NotFound."""
        table = comparisons
        with self._database.reading() as connection:
            mine = (table.c.id == number, table.c.line_id == line_id_of(connection, self._line))
            row = connection.execute(sa.select(table).where(*mine)).one_or_none()
        if row is None:
            raise NotFound(f"there is no comparison {number} on line {self._line}")
        return _from_json(row.first_label, row.second_label, row.data, row.statement, json.loads(row.result))


def _to_json(comparison: BundleComparison) -> dict[str, Any]:
    """JSON has no NaN and needs none here."""
    return {
        "limits": list(comparison.limits),
        "images": [list(asdict(image).values()) for image in comparison.images],
        "pictures": dict(comparison.pictures),
        "notes": list(comparison.notes),
    }


def _from_json(first: str, second: str, data: str, statement: str, found: Mapping[str, Any]) -> BundleComparison:
    one, other = found["limits"]
    images = tuple(ComparedImage(*values) for values in found["images"])
    notes = tuple(found["notes"])
    return BundleComparison(first, second, (one, other), data, statement, images, found["pictures"], notes)
