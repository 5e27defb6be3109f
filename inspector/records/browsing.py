"""Looking through the frames of a line: newest first, through filters, a page at a time; and labels that look wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from inspector.part import ImageKind, Verdict
from inspector.records import schema
from inspector.records.applying import chunks
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.labels import UNSURE, WITHDRAWN
from inspector.records.schema import LATE_VIEW
from inspector.records.text import clean

MAX_PAGE = 500
_i, _labels, _images = schema.inspections, schema.labels, schema.inspection_images


@dataclass(frozen=True, slots=True)
class BrowseFilter:
    """Which frames to show; empty fields leave everything in.

    `label` is what somebody's newest label says, `reviewer` who said it, `found_class` what the model found. `part` is how the
    part's id begins. `labelled` True or False: parts with a label that counts, or without. Receive time from `start_time`
    (inclusive) to `end_time` (exclusive).
    """

    label: str = ""
    reviewer: str = ""
    found_class: str = ""
    part: str = ""
    verdicts: frozenset[Verdict] = frozenset()
    labelled: bool | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that is there to be shown. `place` counts the pictures of its inspection; `said` is (author, label) of now."""

    sequence: int
    place: int
    picture_id: int
    sha256: str
    part_id: str
    verdict: Verdict
    score: float | None
    limit: float | None
    found_class: str
    bundle: str
    view: str
    received: datetime
    said: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended."""

    receive_us: int
    sequence: int
    number: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label that the model contradicts, as far as nearly nothing else of its bundle does.

    `share` is how much of what people labelled the other way looks less like it than this part does: 0.9 for a part labelled
    good that scores above nine tenths of the defective ones.
    """

    sequence: int
    label: str
    score: float
    limit: float
    share: float


class Browsing:
    """The frames of one line. Thread-safe. Every method raises what `Database` raises."""

    def __init__(self, database: Database, line: str) -> None:
        self._database = database
        self._line = clean(line)

    def page(
        self, where: BrowseFilter, after: Position | None = None, limit: int = 60
    ) -> tuple[Sequence[Frame], Position | None]:
        """Frames behind `after`, newest first, and where the next page begins; None if there is none."""
        limit = min(limit, MAX_PAGE)
        found: list[Frame] = []
        with self._database.reading() as connection:
            line_id = self._line_id(connection)
            while len(found) < limit:
                rows = connection.execute(_query(line_id, where, after).limit(limit)).all()
                kept = [frame for frame in _frames(connection, line_id, rows) if _is_wanted(frame, where)]
                room = limit - len(found)
                found += kept[:room]
                if len(kept) > room:
                    last = found[-1]
                    (row,) = [r for r in rows if (r.sequence, r.picture_id) == (last.sequence, last.picture_id)][:1]
                    return found, Position(row.receive_us, row.sequence, row.number)
                if len(rows) < limit:
                    return found, None
                after = Position(rows[-1].receive_us, rows[-1].sequence, rows[-1].number)
        return found, after

    def of_pictures(self, picture_ids: Sequence[int]) -> Sequence[Frame]:
        """Every frame that shows one of these pictures."""
        found: list[Frame] = []
        with self._database.reading() as connection:
            line_id = self._line_id(connection)
            for chunk in chunks(list(picture_ids)):
                query = _query(line_id, BrowseFilter(), None).where(_images.c.picture_id.in_(chunk))
                found += _frames(connection, line_id, connection.execute(query).all())
        return found

    def of_sequences(self, sequences: Sequence[int]) -> Sequence[Frame]:
        """The frames of these inspections, in their order."""
        found: list[Frame] = []
        with self._database.reading() as connection:
            line_id = self._line_id(connection)
            for chunk in chunks(list(sequences)):
                query = _query(line_id, BrowseFilter(), None).where(_i.c.sequence.in_(chunk))
                found += _frames(connection, line_id, connection.execute(query).all())
        order = {sequence: place for place, sequence in enumerate(sequences)}
        return sorted(found, key=lambda frame: (order[frame.sequence], frame.place))

    def doubts(self, limit: int = 200) -> Sequence[Doubt]:
        """Labels that the model contradicts strongly, the strongest contradiction first."""
        judged = (_i.c.score.is_not(None), _i.c.score_limit.is_not(None))
        with self._database.reading() as connection:
            line_id = self._line_id(connection)
            query = (
                sa.select(
                    _labels.c.sequence, _labels.c.label, _labels.c.author, _i.c.score, _i.c.score_limit, _i.c.bundle_id
                )
                .join(_i, (_i.c.line_id == _labels.c.line_id) & (_i.c.sequence == _labels.c.sequence))
                .where(_labels.c.line_id == line_id, *judged)
                .order_by(_labels.c.labelled_us, _labels.c.id)
            )
            rows = connection.execute(query).all()
        return doubts_of(_agreed(rows))[:limit]

    def reviewers(self) -> Sequence[str]:
        """Everybody who has labelled parts of this line."""
        with self._database.reading() as connection:
            mine = _labels.c.line_id == self._line_id(connection)
            return sorted(connection.execute(sa.select(_labels.c.author).where(mine).distinct()).scalars())

    def _line_id(self, connection: Connection) -> int:
        """Id of the line, or 0, which no line has."""
        query = sa.select(schema.lines.c.id).where(schema.lines.c.name == self._line)
        return connection.execute(query).scalar() or 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A part with what people agree on and what its bundle gave it."""

    sequence: int
    label: str
    score: float
    limit: float
    bundle_id: int

    @property
    def is_good(self) -> bool:
        return self.label == "good"


def doubts_of(judged: Iterable[Judged]) -> list[Doubt]:
    """The parts on the wrong side of their limit, strongest contradiction first; scores are compared within a bundle."""
    by_bundle: dict[int, list[Judged]] = defaultdict(list)
    for part in judged:
        by_bundle[part.bundle_id].append(part)
    found = []
    for parts in by_bundle.values():
        good = sorted(part.score for part in parts if part.is_good)
        defective = sorted(part.score for part in parts if not part.is_good)
        for part in parts:
            if part.is_good == (part.score <= part.limit):
                continue
            others = defective if part.is_good else good
            share = _share_passed(part, others)
            found.append(Doubt(part.sequence, part.label, part.score, part.limit, share))
    return sorted(found, key=lambda doubt: (-doubt.share, -abs(doubt.score - doubt.limit), doubt.sequence))


def _share_passed(part: Judged, others: Sequence[float]) -> float:
    """Of those labelled the other way, how many look less like what they are called than this one does; 0.5 without any."""
    if not others:
        return 0.5
    passed = sum(score <= part.score for score in others) if part.is_good else sum(s >= part.score for s in others)
    return passed / len(others)


def _agreed(rows: Iterable[Any]) -> Iterable[Judged]:
    """Of the labels, oldest first, those parts on which the newest of all authors agree."""
    newest: dict[int, dict[str, str]] = defaultdict(dict)
    about: dict[int, Any] = {}
    for row in rows:
        newest[row.sequence][row.author] = row.label
        about[row.sequence] = row
    for sequence, said in newest.items():
        sure = {label for label in said.values() if label not in (UNSURE, WITHDRAWN)}
        if len(sure) == 1:
            row = about[sequence]
            yield Judged(sequence, next(iter(sure)), row.score, row.score_limit, row.bundle_id)


def _query(line_id: int, where: BrowseFilter, after: Position | None) -> sa.Select[Any]:
    pictures = schema.pictures
    terms: list[sa.ColumnElement[bool]] = [
        _i.c.line_id == line_id,
        _images.c.kind == int(ImageKind.FRAME),
        _images.c.number < LATE_VIEW,
        pictures.c.removed_us.is_(None),
        *_terms(line_id, where),
    ]
    if after is not None:
        key = sa.tuple_(_i.c.receive_us, _i.c.sequence, -_images.c.number)
        terms.append(key < sa.tuple_(after.receive_us, after.sequence, -after.number))
        terms.append(_i.c.receive_us <= after.receive_us)  # the index understands this one
    return (
        sa.select(
            _i.c.sequence,
            _i.c.receive_us,
            _i.c.part_id,
            _i.c.verdict,
            _i.c.score,
            _i.c.score_limit,
            schema.classes.c.name.label("found_class"),
            schema.bundles.c.label.label("bundle"),
            _images.c.number,
            _images.c.view,
            pictures.c.id.label("picture_id"),
            pictures.c.sha256,
        )
        .join(_images, (_images.c.line_id == _i.c.line_id) & (_images.c.sequence == _i.c.sequence))
        .join(pictures, pictures.c.id == _images.c.picture_id)
        .join(schema.bundles, schema.bundles.c.id == _i.c.bundle_id)
        .outerjoin(schema.classes, schema.classes.c.id == _i.c.class_id)
        .where(*terms)
        .order_by(_i.c.receive_us.desc(), _i.c.sequence.desc(), _images.c.number)
    )


def _terms(line_id: int, where: BrowseFilter) -> list[sa.ColumnElement[bool]]:
    terms: list[sa.ColumnElement[bool]] = []
    if where.verdicts:
        terms.append(_i.c.verdict.in_(sorted(int(verdict) for verdict in where.verdicts)))
    if where.found_class:
        terms.append(schema.classes.c.name == clean(where.found_class))
    if where.part:
        terms.append(_i.c.part_id.startswith(clean(where.part), autoescape=True))
    if where.start_time is not None:
        terms.append(_i.c.receive_us >= to_microseconds(where.start_time))
    if where.end_time is not None:
        terms.append(_i.c.receive_us < to_microseconds(where.end_time))
    said = sa.select(_labels.c.sequence).where(_labels.c.line_id == line_id)
    if where.label:
        said = said.where(_labels.c.label == where.label)
    if where.reviewer:
        said = said.where(_labels.c.author == clean(where.reviewer))
    if where.label or where.reviewer or where.labelled:
        terms.append(_i.c.sequence.in_(said))
    elif where.labelled is False:
        mine = (_labels.c.line_id == line_id, _labels.c.sequence == _i.c.sequence)
        terms.append(~sa.exists().where(*mine))
    return terms


def _is_wanted(frame: Frame, where: BrowseFilter) -> bool:
    """Whether what is said of it now, and not only once was, is what was asked for."""
    if where.label or where.reviewer:
        return any(
            (not where.label or label == where.label) and (not where.reviewer or author == where.reviewer)
            for author, label in frame.said
        )
    return not where.labelled or bool(frame.said)


def _frames(connection: Connection, line_id: int, rows: Sequence[Row[Any]]) -> list[Frame]:
    sequences = sorted({row.sequence for row in rows})
    said, places = _said(connection, line_id, sequences), _places(connection, line_id, sequences)
    return [
        Frame(
            sequence=row.sequence,
            place=places[row.sequence].index(row.number),
            picture_id=row.picture_id,
            sha256=bytes(row.sha256).hex(),
            part_id=row.part_id or "",
            verdict=Verdict(row.verdict),
            score=row.score,
            limit=row.score_limit,
            found_class=row.found_class or "",
            bundle=row.bundle,
            view=row.view or "",
            received=from_microseconds(row.receive_us),
            said=tuple((author, label) for author, label in said[row.sequence].items() if label != WITHDRAWN),
        )
        for row in rows
    ]


def _said(connection: Connection, line_id: int, sequences: Sequence[int]) -> Mapping[int, Mapping[str, str]]:
    """What each author says now of each inspection."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for chunk in chunks(sequences):
        query = sa.select(_labels.c.sequence, _labels.c.author, _labels.c.label)
        mine = query.where(_labels.c.line_id == line_id, _labels.c.sequence.in_(chunk))
        for row in connection.execute(mine.order_by(_labels.c.labelled_us, _labels.c.id)):
            found[row.sequence][row.author] = row.label
    return found


def _places(connection: Connection, line_id: int, sequences: Sequence[int]) -> Mapping[int, list[int]]:
    """The numbers of all pictures of each inspection, in order."""
    found: dict[int, list[int]] = defaultdict(list)
    for chunk in chunks(sequences):
        query = sa.select(_images.c.sequence, _images.c.number)
        mine = query.where(_images.c.line_id == line_id, _images.c.sequence.in_(chunk))
        for row in connection.execute(mine.order_by(_images.c.sequence, _images.c.number)):
            found[row.sequence].append(row.number)
    return found
