"""Lists of parts to label: those whose defect nobody has marked yet, those that people differ on, and what was said last."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa

from inspector.part import Verdict
from inspector.records import schema
from inspector.records.database import Database
from inspector.records.label_rows import of_many
from inspector.records.labels import GOOD, UNSURE, WORDS, Labelled, Outcome
from inspector.records.queries import InspectionFilter, list_page
from inspector.records.text import clean

_SEARCHED = 2_000
"""How many labelled parts are looked through at most, the last labelled first, so that a long past costs nothing."""
_AT_ONCE = 200


class Which(enum.Enum):
    """Which parts to list."""

    UNMARKED = "unmarked"
    DISAGREED = "disagreed"
    UNSURE = "unsure"
    LAST = "last"
    REJECTS = "rejects"


def listed(database: Database, line: str, which: Which, limit: int) -> list[Labelled]:
    """At most `limit` parts of a line, those that something was said of last first; of REJECTS the newest rejects."""
    if which is Which.REJECTS:
        where = InspectionFilter(line=line, verdicts=frozenset({Verdict.REJECT}))
        page = list_page(database, where, limit, "")
        return of_many(database, line, [stored.inspection.sequence for stored in page.inspections])
    found: list[Labelled] = []
    numbers = _last_labelled(database, line, which)
    for start in range(0, len(numbers), _AT_ONCE):
        some = of_many(database, line, numbers[start : start + _AT_ONCE])
        found += [labelled for labelled in some if _MEANT[which](labelled)]
        if len(found) >= limit:
            break
    return found[:limit]


def _last_labelled(database: Database, line: str, which: Which) -> Sequence[int]:
    """Parts that may be meant, by what the database can tell."""
    labels = schema.labels
    query = (
        sa.select(labels.c.sequence)
        .join(schema.lines, schema.lines.c.id == labels.c.line_id)
        .where(schema.lines.c.name == clean(line))
        .group_by(labels.c.sequence)
        .having(_MAY_BE[which])
        .order_by(sa.func.max(labels.c.id).desc())
        .limit(_SEARCHED)
    )
    with database.reading() as connection:
        return list(connection.execute(query).scalars())


def _some(term: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.func.max(sa.case((term, 1), else_=0)) == 1


_MAY_BE: Mapping[Which, sa.ColumnElement[bool]] = {
    Which.UNMARKED: _some(schema.labels.c.label.not_in(sorted(WORDS))),
    Which.DISAGREED: sa.func.count(schema.labels.c.label.distinct()) > 1,
    Which.UNSURE: _some(schema.labels.c.label == UNSURE),
    Which.LAST: sa.true(),
}


def _is_unmarked(labelled: Labelled) -> bool:
    agreed = labelled.agreed
    return agreed is not None and agreed.what != GOOD and not any(area.defect_class for area in agreed.areas)


_MEANT: Mapping[Which, Callable[[Labelled], bool]] = {
    Which.UNMARKED: _is_unmarked,
    Which.DISAGREED: lambda labelled: labelled.outcome is Outcome.DISAGREED,
    Which.UNSURE: lambda labelled: labelled.outcome is Outcome.UNSURE,
    Which.LAST: lambda labelled: bool(labelled.history),
}
