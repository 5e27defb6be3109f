"""What people said of parts beside what the line said: counted for costs of wrong verdicts, each look for agreement studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from inspector.part import Reason, Verdict
from inspector.records import schema
from inspector.records.codec import from_microseconds
from inspector.records.database import Database
from inspector.records.labels import WITHDRAWN, Label, Outcome, accepted_of, accepted_word, newest, outcome_of
from inspector.records.lots import LotOf
from inspector.records.queries import aside
from inspector.records.tallies import SLOT_US, Names, TallyFilter, inspection_terms

_i, _l = schema.inspections, schema.labels


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A part that people said something of; `history` is in the order of time, without notes and areas."""

    line: str
    sequence: int
    station: str
    recipe: str
    bundle: str
    part_id: str
    lot: str
    time: datetime
    verdict: Verdict
    reason: Reason
    defect_class: str
    history: tuple[Label, ...]

    @property
    def outcome(self) -> Outcome:
        """What the labels come to."""
        return outcome_of(newest(self.history))

    @property
    def agreed(self) -> str:
        """Good or the class that those who are sure agree on, else empty."""
        return accepted_of(newest(self.history))

    @property
    def looks(self) -> dict[str, tuple[str, ...]]:
        """What each author said, a word for every look: corrections count for the look that they correct."""
        said: dict[str, list[str]] = {}
        for label in self.history:
            own = said.setdefault(label.author, [])
            if label.is_repeat or not own:
                own.append(label.what)
            else:
                own[-1] = label.what
        words = {author: tuple(word for word in own if word != WITHDRAWN) for author, own in said.items()}
        return {author: own for author, own in words.items() if own}


@dataclass(frozen=True, slots=True)
class Agreed:
    """Of how many parts of a quarter of an hour, which begins at `time`, people agree that they are `what`: good or a class."""

    time: datetime
    recipe: str
    verdict: Verdict
    what: str
    count: int


def agreed(database: Database, where: TallyFilter, lot_of: LotOf | None = None) -> Sequence[Agreed]:
    """As `looked_at`, counted, without the parts on which nobody is sure or people differ. StoreUnavailable, SchemaOutdated."""
    with database.reading() as connection:
        names = Names(connection)
        rows = connection.execute(_query(connection, where, ("recipe_id", "verdict", "receive_us", "part_id"))).all()
    counts: Counter[tuple[int, int, int, str]] = Counter()
    for _, group in groupby(rows, key=itemgetter(0, 1)):
        looks = list(group)
        *_, recipe_id, verdict, receive_us, part_id = looks[0]
        if where.lot and lot_of is not None and (lot_of(part_id) if part_id else "") != where.lot:
            continue
        newest_of = {author: what for _, _, what, author, *_ in looks}
        if what := accepted_word(newest_of.values()):
            counts[receive_us // SLOT_US, recipe_id, verdict, what] += 1
    return [
        Agreed(from_microseconds(slot * SLOT_US), names.recipes[recipe_id], Verdict(verdict), what, count)
        for (slot, recipe_id, verdict, what), count in sorted(counts.items())
    ]


def looked_at(database: Database, where: TallyFilter, lot_of: LotOf | None = None) -> Sequence[LookedAt]:
    """Parts with labels that `where` leaves in, by line and number. StoreUnavailable, SchemaOutdated."""
    with database.reading() as connection:
        names = Names(connection)
        rows = connection.execute(_query(connection, where, _SEEN)).all()
    found = []
    for _, group in groupby(rows, key=itemgetter(0, 1)):
        one = _looked_at(list(group), names, lot_of)
        if not where.lot or lot_of is None or one.lot == where.lot:
            found.append(one)
    return found


_SEEN = ("station_id", "recipe_id", "bundle_id", "class_id", "part_id", "receive_us", "verdict", "reason")


def _query(connection: Connection, where: TallyFilter, seen: Sequence[str]) -> sa.Select[Any]:
    """From the labels to their parts: there are few of those, and many parts without. `seen` are columns of the parts."""
    terms = inspection_terms(connection, where, all_aside=True)
    ours = (_i.c.line_id == aside(connection, _l.c.line_id)) & (_i.c.sequence == aside(connection, _l.c.sequence))
    said = (_l.c.label, _l.c.author, _l.c.labelled_us, _l.c.is_repeat)
    return (
        sa.select(_l.c.line_id, _l.c.sequence, *said, *(_i.c[name] for name in seen))
        .select_from(_l)
        .join(_i, ours)
        .where(*terms)
        .order_by(_l.c.line_id, _l.c.sequence, _l.c.labelled_us, _l.c.id)
    )


def _looked_at(rows: Sequence[Sequence[Any]], names: Names, lot_of: LotOf | None) -> LookedAt:
    line_id, sequence, *_, station_id, recipe_id, bundle_id, class_id, part_id, receive_us, verdict, reason = rows[0]
    line = names.lines[line_id]
    return LookedAt(
        line=line,
        sequence=sequence,
        station=names.stations[station_id],
        recipe=names.recipes[recipe_id],
        bundle=names.bundles[bundle_id],
        part_id=part_id or "",
        lot=lot_of(part_id) if lot_of is not None and part_id else "",
        time=from_microseconds(receive_us),
        verdict=Verdict(verdict),
        reason=Reason(reason),
        defect_class="" if class_id is None else names.classes[class_id],
        history=tuple(
            Label(line, sequence, label, author, from_microseconds(labelled_us), is_repeat=bool(is_repeat))
            for _, _, label, author, labelled_us, is_repeat, *_ in rows
        ),
    )
