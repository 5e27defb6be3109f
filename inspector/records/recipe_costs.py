"""What a false reject and an escape cost, by recipe: rows are only ever added, and the newest of a recipe counts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from inspector.errors import InvalidRequest, NotFound
from inspector.records import schema
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.text import clean

_c, _r = schema.recipe_costs, schema.recipes
MAX_COST = 1e9
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class RecipeCosts:
    """What one wrong verdict on a part of the recipe costs the plant, as `author` set it."""

    recipe: str
    false_reject: float
    escape: float
    currency: str
    author: str
    set: datetime


def recipe_costs(database: Database) -> Mapping[str, RecipeCosts]:
    """The newest of each recipe that has any. StoreUnavailable, SchemaOutdated."""
    newest = sa.select(sa.func.max(_c.c.id)).group_by(_c.c.recipe_id)
    query = sa.select(_c, _r.c.name).join(_r, _r.c.id == _c.c.recipe_id).where(_c.c.id.in_(newest)).order_by(_r.c.name)
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return {
        row.name: RecipeCosts(
            row.name, row.false_reject, row.escape, row.currency, row.author, from_microseconds(row.set_us)
        )
        for row in rows
    }


def set_recipe_costs(database: Database, costs: RecipeCosts) -> None:
    """Keep what wrong verdicts cost from now on, the currency as in ISO 4217, such as EUR.

    InvalidRequest for costs that are none, NotFound for a recipe that is not on record, RecordsError.
    """
    for name, value in (("false reject", costs.false_reject), ("escape", costs.escape)):
        if not (math.isfinite(value) and 0 <= value <= MAX_COST):
            raise InvalidRequest(f"a cost of {value} for a {name} is none: give 0 to {MAX_COST:,.0f}")
    if not _CURRENCY.fullmatch(costs.currency):
        raise InvalidRequest(f"{costs.currency[:20]!r} is no currency: give its three capital letters, such as EUR")
    with database.writing() as connection:
        recipe_id = connection.execute(sa.select(_r.c.id).where(_r.c.name == clean(costs.recipe))).scalar()
        if recipe_id is None:
            raise NotFound(f"recipe {costs.recipe} is not on record: start the service with it once")
        values = {
            "recipe_id": recipe_id,
            "false_reject": costs.false_reject,
            "escape": costs.escape,
            "currency": clean(costs.currency),
            "author": clean(costs.author),
            "set_us": to_microseconds(costs.set),
        }
        connection.execute(sa.insert(_c).values(values))
