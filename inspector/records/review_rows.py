"""The review queue in the quality database: who looks at which part now, and what comes of it.

A claim is a row for a part, so that no two people get the same one; it runs out, so that a part whose reviewer went home is
offered again. What people say is a label like any other: the queue follows from the labels, and nothing is kept twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from inspector.errors import ClaimLost, NotFound
from inspector.part import ImageKind, Verdict
from inspector.records import label_rows, schema
from inspector.records.applying import chunks, insert_for
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.labels import WITHDRAWN, Label
from inspector.records.queries import StoredInspection, get
from inspector.records.review import (
    REPEAT_AFTER,
    Candidate,
    Kind,
    Need,
    Opinion,
    Order,
    asks,
    opinions_of,
    queue,
    rival_of,
)
from inspector.records.text import clean

WINDOW = 10_000
"""Of how many waiting parts of a kind, the newest, the order is made. Nobody works through more in a week."""
CLAIM_FOR = timedelta(minutes=5)
_i, _labels, _claims = schema.inspections, schema.labels, schema.review_claims
ALL_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who looks, and where: one person may have two windows open, which must not get the same part either."""

    reviewer: str
    window: str


@dataclass(frozen=True, slots=True)
class Wish:
    """Which parts of a line to look at, and in what order. `double_percent` of them ask for a second opinion, and
    `repeat_percent` for another look of the same person, some hours later.
    """

    line: str
    order: Order = Order.CLOSEST
    kinds: frozenset[Kind] = ALL_KINDS
    station: str = ""
    since: datetime | None = None
    double_percent: int = 10
    repeat_percent: int = 5


@dataclass(frozen=True, slots=True)
class Claimed:
    """A part that is the holder's to look at, and what it asks."""

    stored: StoredInspection
    need: Need


@dataclass(frozen=True, slots=True)
class Offer:
    """Parts that are the holder's, and how many, these among them, ask what of the holder: at most `WINDOW` of a kind."""

    parts: list[Claimed]
    waiting: Mapping[Need, int]


class ReviewQueue:
    """The queue of one quality database. Thread-safe. Methods raise what `Database` raises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self, wish: Wish, holder: Holder, count: int, now: datetime, besides: frozenset[int] = frozenset()
    ) -> list[Claimed]:
        """The parts of an `offer`."""
        return self.offer(wish, holder, count, now, besides).parts

    def offer(
        self, wish: Wish, holder: Holder, count: int, now: datetime, besides: frozenset[int] = frozenset()
    ) -> Offer:
        """Up to `count` parts for this holder alone, until `CLAIM_FOR` from now; all that they hold is held as long.

        That is so with a `count` of 0 too.

        `besides` are parts that the holder has at hand already.
        """
        with self._database.reading() as connection:
            line_id = _line_id(connection, wish.line)
            candidates = _candidates(connection, line_id, wish, holder, now)
        ordered = queue(candidates, wish.order, holder.reviewer, wish.double_percent, wish.repeat_percent, now)
        waiting = [candidate.sequence for candidate, _ in ordered if candidate.sequence not in besides]
        taken: list[tuple[int, Need]] = []
        # Some of what was waiting may be another's by now: those behind them are next.
        for start in range(0, max(len(waiting), 1), max(count, 1)):
            taken += self._take(line_id, waiting[start : start + count], wish, holder, now)
            if len(taken) >= count:
                break
        counts = Counter(need for _, need in ordered)
        return Offer([Claimed(get(self._database, wish.line, number), need) for number, need in taken], counts)

    def _take(
        self, line_id: int, sequences: Sequence[int], wish: Wish, holder: Holder, now: datetime
    ) -> list[tuple[int, Need]]:
        """Claim these parts, without those that are another's or need nothing any more."""
        with self._database.writing() as connection:
            longer = {"expires_us": to_microseconds(now + CLAIM_FOR)}
            connection.execute(sa.update(_claims).where(_claims.c.line_id == line_id, *_held_by(holder)).values(longer))
            # In one order, so that two who claim do not wait for each other.
            mine = [number for number in sorted(sequences) if _claim(connection, line_id, number, holder, now)]
            # What was said since they were read is seen here, and no sooner: each statement sees what is committed by then.
            said = _opinions(connection, line_id, mine)
            plain = Candidate(0, Verdict.REJECT, None, None, now)
            needs = {
                number: asks(
                    replace(plain, sequence=number, opinions=said.get(number, ())),
                    holder.reviewer,
                    wish.double_percent,
                    wish.repeat_percent,
                    now,
                )
                for number in mine
            }
            _release(connection, line_id, [number for number, need in needs.items() if need is Need.NONE], holder)
        return [(number, needs[number]) for number in sequences if needs.get(number, Need.NONE) is not Need.NONE]

    def decide(self, label: Label, holder: Holder, now: datetime) -> int:
        """What the holder says of a part that is theirs; returns how many parts of theirs are left.

        Raises ClaimLost if another has it meanwhile, and what `label_rows.add` raises.
        """
        with self._database.writing() as connection:
            line_id = _line_id(connection, label.line)
            if not _claim(connection, line_id, label.sequence, holder, now):
                raise ClaimLost(
                    f"#{label.sequence} is with {_holder(connection, line_id, label.sequence)} by now, since your claim ran "
                    "out: nothing was noted; go on with the next part"
                )
            said = _opinions(connection, line_id, [label.sequence]).get(label.sequence, ())
            # Whoever is given a part again is not shown what they said; the same decision sent twice is not another look.
            again = any(one.author == label.author and one.time and now - one.time >= REPEAT_AFTER for one in said)
            label_rows.add_in(connection, [replace(label, is_repeat=again)])
            _release(connection, line_id, [label.sequence], holder)
            mine = sa.select(sa.func.count()).where(_claims.c.line_id == line_id, *_held_by(holder))
            return int(connection.execute(mine).scalar_one())

    def undo(self, line: str, sequence: int, holder: Holder, now: datetime) -> Label:
        """Take back what the holder said last of a part, and claim it again; returns the label that counts then.

        Raises NotFound if they said nothing of it, ClaimLost if another has it.
        """
        with self._database.writing() as connection:
            line_id = _line_id(connection, line)
            history = [
                one
                for one in label_rows.histories(connection, [(line_id, sequence)])[line_id, sequence]
                if one.author == holder.reviewer
            ]
            if not history or history[-1].what == WITHDRAWN:
                raise NotFound(f"{holder.reviewer} has said nothing of #{sequence} that could be taken back")
            if not _claim(connection, line_id, sequence, holder, now):
                raise ClaimLost(
                    f"#{sequence} is with {_holder(connection, line_id, sequence)} by now: it cannot be taken back here; "
                    "open it on the label page"
                )
            before = history[-2] if len(history) > 1 else replace(history[-1], what=WITHDRAWN, areas=(), note="")
            label = replace(before, time=max(now, history[-1].time + timedelta(microseconds=1)), is_repeat=False)
            label_rows.add_in(connection, [label])
            return label

    def release(self, line: str, holder: Holder) -> int:
        """Give back everything that the holder has; returns how much that was."""
        with self._database.writing() as connection:
            gone = sa.delete(_claims).where(_claims.c.line_id == _line_id(connection, line), *_held_by(holder))
            return connection.execute(gone).rowcount


# Claims


def _claim(connection: Connection, line_id: int, sequence: int, holder: Holder, now: datetime) -> bool:
    """Take a part, or hold it longer; False if another holds it."""
    insert = insert_for(connection, _claims).values(
        line_id=line_id,
        sequence=sequence,
        reviewer=clean(holder.reviewer),
        window=clean(holder.window),
        expires_us=to_microseconds(now + CLAIM_FOR),
    )
    rest = {key: insert.excluded[key] for key in ("reviewer", "window", "expires_us")}
    free = (_claims.c.expires_us <= to_microseconds(now)) | sa.and_(*_held_by(holder))
    taken = insert.on_conflict_do_update(index_elements=["line_id", "sequence"], set_=rest, where=free)
    return connection.execute(taken.returning(_claims.c.sequence)).first() is not None


def _release(connection: Connection, line_id: int, sequences: Sequence[int], holder: Holder) -> None:
    if sequences:
        mine = (_claims.c.line_id == line_id, _claims.c.sequence.in_(sequences))
        connection.execute(sa.delete(_claims).where(*mine, *_held_by(holder)))


def _held_by(holder: Holder) -> tuple[sa.ColumnElement[bool], ...]:
    return _claims.c.reviewer == clean(holder.reviewer), _claims.c.window == clean(holder.window)


def _holder(connection: Connection, line_id: int, sequence: int) -> str:
    query = sa.select(_claims.c.reviewer).where(_claims.c.line_id == line_id, _claims.c.sequence == sequence)
    return connection.execute(query).scalar() or "nobody"


def _line_id(connection: Connection, line: str) -> int:
    """Id of a line, or 0, which no line has."""
    return connection.execute(sa.select(schema.lines.c.id).where(schema.lines.c.name == clean(line))).scalar() or 0


# Who waits


def _candidates(connection: Connection, line_id: int, wish: Wish, holder: Holder, now: datetime) -> list[Candidate]:
    """The parts that may ask for a look, without those that others look at."""
    terms = _terms(connection, line_id, wish, holder, now)
    unlabelled = ~sa.exists().where(_labels.c.line_id == _i.c.line_id, _labels.c.sequence == _i.c.sequence)
    rows: list[Any] = []
    for stretch in _stretches(wish.kinds):
        query = _SLIM.where(*stretch, *terms, unlabelled)
        rows += connection.execute(query.order_by(_i.c.receive_us.desc(), _i.c.sequence.desc()).limit(WINDOW)).all()
    open_ = _reopened(connection, line_id, wish, now)
    for chunk in chunks(open_):
        for stretch in _stretches(wish.kinds):
            rows += connection.execute(_SLIM.where(*stretch, *terms, _i.c.sequence.in_(chunk))).all()
    said = _opinions(connection, line_id, open_)
    rivals = _rivals(connection, line_id, rows) if wish.order is Order.UNCERTAIN else {}
    return [
        Candidate(
            row.sequence,
            Verdict(row.verdict),
            row.score,
            row.score_limit,
            from_microseconds(row.receive_us),
            said.get(row.sequence, ()),
            rivals.get(row.sequence, 0.0),
        )
        for row in rows
    ]


_SLIM = sa.select(_i.c.sequence, _i.c.verdict, _i.c.score, _i.c.score_limit, _i.c.receive_us)


def _stretches(kinds: Iterable[Kind]) -> list[tuple[sa.ColumnElement[bool], ...]]:
    """Terms that each pick one stretch of an index, in the words of the partial indexes."""
    not_passed = sa.literal_column("inspections.verdict") != sa.literal_column("1")
    terms = {
        Kind.REJECT: (_i.c.verdict == int(Verdict.REJECT), not_passed),
        Kind.UNKNOWN: (_i.c.verdict == int(Verdict.UNKNOWN), not_passed),
        Kind.NEAR: (sa.text(schema.NEAR_LIMIT),),
    }
    return [terms[kind] for kind in sorted(kinds, key=lambda kind: kind.value)]  # type: ignore[misc]


def _terms(
    connection: Connection, line_id: int, wish: Wish, holder: Holder, now: datetime
) -> list[sa.ColumnElement[bool]]:
    images = schema.inspection_images
    pictured = sa.exists().where(
        images.c.line_id == _i.c.line_id,
        images.c.sequence == _i.c.sequence,
        images.c.kind == int(ImageKind.FRAME),
        images.c.picture_id.is_not(None),
    )
    others = sa.exists().where(
        _claims.c.line_id == _i.c.line_id,
        _claims.c.sequence == _i.c.sequence,
        _claims.c.expires_us > to_microseconds(now),
        ~sa.and_(*_held_by(holder)),
    )
    terms = [_i.c.line_id == line_id, pictured, ~others]
    if wish.since is not None:
        terms.append(_i.c.receive_us >= to_microseconds(wish.since))
    if wish.station:
        named = sa.select(schema.stations.c.id).where(
            schema.stations.c.line_id == line_id, schema.stations.c.name == clean(wish.station)
        )
        terms.append(_i.c.station_id.in_(named))
    return terms


def _reopened(connection: Connection, line_id: int, wish: Wish, now: datetime) -> list[int]:
    """Labelled parts that may ask for another look: people differ, someone could not tell or took it back, or it is one of
    those that ask for two, or long enough ago one that the same person sees again.
    """
    of_part = sa.select(_labels.c.sequence).where(_labels.c.line_id == line_id).group_by(_labels.c.sequence)
    authors, words = sa.func.count(_labels.c.author.distinct()), sa.func.count(_labels.c.label.distinct())
    double = (authors == 1) & (_labels.c.sequence * 61 % 100 < wish.double_percent)
    ago = sa.func.min(_labels.c.labelled_us) <= to_microseconds(now - REPEAT_AFTER)
    repeat = ago & (_labels.c.sequence * 37 % 100 < wish.repeat_percent)
    unclear = sa.func.min(sa.case((_labels.c.label.in_(["unsure", "withdrawn"]), 0), else_=1)) == 0
    query = of_part.having(double | repeat | (words > 1) | unclear).order_by(_labels.c.sequence.desc()).limit(WINDOW)
    return list(connection.execute(query).scalars())


def _opinions(connection: Connection, line_id: int, sequences: Sequence[int]) -> dict[int, tuple[Opinion, ...]]:
    """What people say of each of these parts."""
    said: dict[int, list[tuple[str, str, datetime | None, bool]]] = defaultdict(list)
    for chunk in chunks(sequences):
        query = sa.select(*(_labels.c[name] for name in ("sequence", "author", "label", "labelled_us", "is_repeat")))
        query = query.where(_labels.c.line_id == line_id, _labels.c.sequence.in_(chunk))
        for row in connection.execute(query.order_by(_labels.c.labelled_us, _labels.c.id)):
            at = from_microseconds(row.labelled_us)
            said[row.sequence].append((row.author, row.label, at, bool(row.is_repeat)))
    return {sequence: opinions_of(labels) for sequence, labels in said.items()}


def _rivals(connection: Connection, line_id: int, rows: Sequence[Any]) -> dict[int, float]:
    """How near the second class of findings of each part comes to its first."""
    findings = schema.findings
    scores: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for chunk in chunks([row.sequence for row in rows if row.verdict != int(Verdict.UNKNOWN)]):
        query = sa.select(findings.c.sequence, findings.c.class_id, findings.c.score)
        for row in connection.execute(query.where(findings.c.line_id == line_id, findings.c.sequence.in_(chunk))):
            scores[row.sequence].append((row.class_id, row.score or 0.0))
    return {sequence: rival_of(some) for sequence, some in scores.items()}
