"""What else is on record of a part: the bundle that judged it, and what its recipe said then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from inspector.records import schema
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.text import clean


@dataclass(frozen=True, slots=True)
class BundleRecord:
    """A bundle as it was recorded when it went live; without `digest` only its label is known."""

    label: str
    digest: str
    manifest: Mapping[str, Any]
    recorded: datetime | None


@dataclass(frozen=True, slots=True)
class RecipeVersion:
    """What a recipe said from `recorded` on; `version` counts its versions from 1, of `versions` so far."""

    name: str
    version: int
    versions: int
    digest: str
    content: Mapping[str, Any]
    recorded: datetime


def bundle_record(database: Database, label: str) -> BundleRecord | None:
    """The bundle of this label, None if no inspection named it. StoreUnavailable, SchemaOutdated."""
    table = schema.bundles
    with database.reading() as connection:
        row = connection.execute(sa.select(table).where(table.c.label == clean(label))).one_or_none()
    if row is None:
        return None
    recorded = None if row.recorded_us is None else from_microseconds(row.recorded_us)
    return BundleRecord(row.label, row.digest or "", json.loads(row.manifest or "{}"), recorded)


def recipe_at(database: Database, name: str, time: datetime) -> RecipeVersion | None:
    """What a recipe said at a time: the newest version recorded until then, else its first. StoreUnavailable."""
    table = schema.recipe_versions
    query = (
        sa.select(table)
        .join(schema.recipes, schema.recipes.c.id == table.c.recipe_id)
        .where(schema.recipes.c.name == clean(name))
        .order_by(table.c.recorded_us, table.c.id)
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
    if not rows:
        return None
    until = [number for number, row in enumerate(rows) if row.recorded_us <= to_microseconds(time)]
    place = until[-1] if until else 0
    row = rows[place]
    recorded = from_microseconds(row.recorded_us)
    return RecipeVersion(name, place + 1, len(rows), row.digest, json.loads(row.content), recorded)


def recipe_names(database: Database) -> list[str]:
    """Every recipe that ever judged. StoreUnavailable, SchemaOutdated."""
    with database.reading() as connection:
        return list(connection.execute(sa.select(schema.recipes.c.name).order_by(schema.recipes.c.name)).scalars())
