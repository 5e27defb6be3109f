"""Proposals that a bundle shall judge by a recipe: proposed by one person, decided by one, once.

    open ──claim──▶ deciding ──▶ promoted
      │ ▲              │
      │ └─ not done ───┘   the service refused it: `note` says why
      └──▶ refused, withdrawn

Two who decide at once: the claim is one statement of the database, and the second is told who was first.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from inspector.errors import NotFound, PromotionOvertaken, PromotionRefused
from inspector.records import schema
from inspector.records.applying import insert_new
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.model_tables import promotion_requests
from inspector.records.text import DETAIL_LENGTH, clean

CLAIM_ENDS = timedelta(minutes=15)
"""Who claimed a proposal and has not decided for so long has died over it."""


class RequestState(enum.StrEnum):
    """Where a proposal stands; the last three are ends."""

    OPEN = "open"
    DECIDING = "deciding"
    PROMOTED = "promoted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Proposal:
    """That a bundle shall judge by a recipe in place of the one with the digest `digest_before`.

    `evidence` is plain JSON: what it was compared by, and what came of it.
    """

    recipe: str
    view: str
    label: str
    digest: str
    folder: str
    digest_before: str
    proposed_by: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PromotionRequest:
    """A proposal on record, and what became of it."""

    id: int
    proposal: Proposal
    proposed_time: datetime
    state: RequestState
    decided_by: str
    decided_time: datetime | None
    note: str


class PromotionRequests:
    """The proposals of one line. Thread-safe. Every method raises what `Database` raises."""

    def __init__(self, database: Database, line: str) -> None:
        self._database = database
        self._line = line

    def propose(self, proposal: Proposal, time: datetime) -> int:
        """Put a proposal on record; returns its number. PromotionOvertaken if the same bundle is proposed already."""
        one, table = proposal, promotion_requests
        with self._database.writing() as connection:
            line_id = make_line(connection, self._line)
            same = (
                table.c.recipe == clean(one.recipe),
                table.c.view == clean(one.view),
                table.c.digest == clean(one.digest),
            )
            open_ = table.c.state.in_((RequestState.OPEN, RequestState.DECIDING))
            query = sa.select(table.c.id, table.c.proposed_by).where(table.c.line_id == line_id, *same, open_)
            if (there := connection.execute(query).first()) is not None:
                raise PromotionOvertaken(
                    f"{there.proposed_by} proposed {one.label} for recipe {one.recipe} already: decide proposal {there.id}"
                )
            row = {
                "line_id": line_id,
                "recipe": clean(one.recipe),
                "view": clean(one.view),
                "label": clean(one.label),
                "digest": clean(one.digest),
                "folder": clean(one.folder, DETAIL_LENGTH),
                "digest_before": clean(one.digest_before),
                "proposed_by": clean(one.proposed_by),
                "reason": clean(one.reason, DETAIL_LENGTH),
                "evidence": json.dumps(one.evidence, sort_keys=True),
                "proposed_us": to_microseconds(time),
                "state": RequestState.OPEN,
                "decided_by": "",
                "note": "",
            }
            return int(connection.execute(sa.insert(table).values(row).returning(table.c.id)).scalar_one())

    def get(self, number: int) -> PromotionRequest:
        """One of the line. NotFound."""
        with self._database.reading() as connection:
            return self._get(connection, number)

    def list(self, *, only_open: bool = False, limit: int = 200) -> Sequence[PromotionRequest]:
        """The newest, newest first."""
        table = promotion_requests
        with self._database.reading() as connection:
            query = sa.select(table).where(table.c.line_id == line_id_of(connection, self._line))
            if only_open:
                query = query.where(table.c.state.in_((RequestState.OPEN, RequestState.DECIDING)))
            rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit)).all()
        return [_request(row) for row in rows]

    def claim(self, number: int, by: str, time: datetime, *, second_person: bool) -> PromotionRequest:
        """Begin to decide a proposal, so that nobody else does.

        Raises PromotionOvertaken if somebody did, PromotionRefused if it takes a second person and `by` is not one, NotFound.
        """
        table = promotion_requests
        with self._database.writing() as connection:
            before = self._get(connection, number)
            if second_person and same_person(before.proposal.proposed_by, by):
                raise PromotionRefused(
                    f"{by} proposed this bundle, and the recipe wants two persons: let somebody else decide"
                )
            dead_us = to_microseconds(time - CLAIM_ENDS)
            dead = sa.and_(table.c.state == RequestState.DECIDING, table.c.decided_us < dead_us)
            free = sa.or_(table.c.state == RequestState.OPEN, dead)
            values = {"state": RequestState.DECIDING, "decided_by": clean(by), "decided_us": to_microseconds(time)}
            if connection.execute(sa.update(table).where(table.c.id == number, free).values(values)).rowcount != 1:
                now = self._get(connection, number)
                raise PromotionOvertaken(
                    f"proposal {number} is {now.state.value} by {now.decided_by}: look at what judges now"
                )
            return self._get(connection, number)

    def end(self, number: int, state: RequestState, by: str, time: datetime, note: str = "") -> None:
        """Say what became of a proposal that `by` claimed; OPEN lets others. PromotionOvertaken if it is another's."""
        table = promotion_requests
        values = {"state": state, "decided_us": to_microseconds(time), "note": clean(note, DETAIL_LENGTH)}
        mine = (table.c.id == number, table.c.state == RequestState.DECIDING, table.c.decided_by == clean(by))
        with self._database.writing() as connection:
            if connection.execute(sa.update(table).where(*mine).values(values)).rowcount != 1:
                raise PromotionOvertaken(f"proposal {number} was taken up by somebody else meanwhile: look at it again")

    def _get(self, connection: Connection, number: int) -> PromotionRequest:
        table = promotion_requests
        mine = (table.c.id == number, table.c.line_id == line_id_of(connection, self._line))
        row = connection.execute(sa.select(table).where(*mine)).one_or_none()
        if row is None:
            raise NotFound(f"there is no proposal {number} on line {self._line}")
        return _request(row)


def same_person(one: str, other: str) -> bool:
    """Whether two names are of one person, whatever their case and blanks."""
    first, second = (" ".join(name.split()).casefold() for name in (one, other))
    return first == second


def make_line(connection: Connection, line: str) -> int:
    """The id of a line, which is put on record if it is not."""
    insert_new(connection, schema.lines, [{"name": clean(line)}])
    return line_id_of(connection, line)


def line_id_of(connection: Connection, line: str) -> int:
    """The id of a line, or 0, which no line has."""
    return connection.execute(sa.select(schema.lines.c.id).where(schema.lines.c.name == clean(line))).scalar() or 0


def _request(row: Row[Any]) -> PromotionRequest:
    proposal = Proposal(
        row.recipe,
        row.view,
        row.label,
        row.digest,
        row.folder,
        row.digest_before,
        row.proposed_by,
        row.reason,
        json.loads(row.evidence),
    )
    decided = None if row.decided_us is None else from_microseconds(row.decided_us)
    state, time = RequestState(row.state), from_microseconds(row.proposed_us)
    return PromotionRequest(row.id, proposal, time, state, row.decided_by, decided, row.note)
