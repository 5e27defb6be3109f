"""Which parts people should look at, in what order, and how many of them: pure, from what is on record.

A part asks for a look if the line rejected it, could not judge it, or passed it close to its limit. One opinion is enough, but
for a share of parts that asks for a second; whoever could not tell asks for another person; who disagree ask for a third, and
the majority then counts (`records/labels.py`). Another share is given to the same person once more after some hours, who is not
told: how far people agree with themselves is known from nothing else.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inspector.part import Verdict
from inspector.records.labels import UNSURE, WITHDRAWN

NEAR_SHARE = 0.1
"""A passed part is near its limit if its score lies within this share of the limit below it."""
ENOUGH_UNSURE = 2
"""So many people who cannot tell are enough: a third look at the same picture would not tell either."""


REPEAT_AFTER = timedelta(hours=8)
"""Nobody remembers a part of another shift; until then the same person is not asked again."""


class Kind(enum.Enum):
    """Why a part asks for a look."""

    REJECT = "reject"
    UNKNOWN = "unknown"
    NEAR = "near"


class Order(enum.Enum):
    """What comes first."""

    CLOSEST = "closest"
    NEWEST = "newest"
    UNCERTAIN = "uncertain"


class Need(enum.Enum):
    """What a part asks of the next person; ordered by how urgent it is."""

    NONE = "nothing more"
    FIRST = "a first opinion"
    SECOND = "a second opinion"
    THIRD = "a decision between two"
    REPEAT = "another look of one's own"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What counts of one person's labels of a part, said at `time` after so many looks at it."""

    author: str
    what: str
    time: datetime | None = None
    looks: int = 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A part that may ask for a look. `rival` is the score of its second class of findings as a share of the first's."""

    sequence: int
    verdict: Verdict
    score: float | None
    limit: float | None
    receive_time: datetime
    opinions: tuple[Opinion, ...] = ()
    rival: float = 0.0

    @property
    def kind(self) -> Kind:
        return {Verdict.REJECT: Kind.REJECT, Verdict.UNKNOWN: Kind.UNKNOWN, Verdict.PASS: Kind.NEAR}[self.verdict]

    @property
    def margin(self) -> float:
        """How far the score lies from its limit, as a share of the limit; infinite for a part that was not judged."""
        if self.score is None or self.limit is None or not math.isfinite(self.score):
            return math.inf
        return abs(self.score - self.limit) / max(abs(self.limit), 1e-12)

    @property
    def uncertainty(self) -> float:
        """0 to 1: how little is known of the part. 1 if it was not judged or a person could not tell; else the larger of how
        near its score is to the limit and how near its second class is to the first.
        """
        if not math.isfinite(self.margin) or any(opinion.what == UNSURE for opinion in self.opinions):
            return 1.0
        return max(math.exp(-self.margin / NEAR_SHARE), min(max(self.rival, 0.0), 1.0))


def opinions_of(labels: Iterable[tuple[str, str, datetime | None, bool]]) -> tuple[Opinion, ...]:
    """From (author, what, time, whether it is a repeat) of every label of a part, oldest first: what counts of each author."""
    newest: dict[str, Opinion] = {}
    for author, what, time, is_repeat in labels:
        before = newest.pop(author, None)
        looks = 1 if before is None else before.looks + is_repeat
        newest[author] = Opinion(author, what, time, looks)
    return tuple(opinion for opinion in newest.values() if opinion.what != WITHDRAWN)


def is_double(sequence: int, percent: int) -> bool:
    """Whether a part is one of `percent` % that ask for a second opinion: the same answer for the same number."""
    # 61 has no divisor in common with 100, so that any hundred numbers in a row hold exactly so many.
    return sequence * 61 % 100 < percent


def is_repeated(sequence: int, percent: int) -> bool:
    """Whether a part is one of `percent` % that the same person sees again: the same answer for the same number."""
    return sequence * 37 % 100 < percent


def need_of(candidate: Candidate, double_percent: int) -> Need:
    """What a part asks of the next person."""
    sure = [opinion.what for opinion in candidate.opinions if opinion.what != UNSURE]
    unsure = len(candidate.opinions) - len(sure)
    if not candidate.opinions:
        return Need.FIRST
    if not sure:
        return Need.SECOND if unsure < ENOUGH_UNSURE else Need.NONE
    if len(set(sure)) == 1:
        asks = len(sure) == 1 and not unsure and is_double(candidate.sequence, double_percent)
        return Need.SECOND if asks else Need.NONE
    most = max(sure.count(what) for what in set(sure))
    return Need.NONE if 2 * most > len(sure) else Need.THIRD


def asks(
    candidate: Candidate, reviewer: str, double_percent: int, repeat_percent: int = 0, now: datetime | None = None
) -> Need:
    """What a part asks of this reviewer: of one who has said something already nothing, or the same again after a while."""
    own = next((opinion for opinion in candidate.opinions if opinion.author == reviewer), None)
    if own is None:
        return need_of(candidate, double_percent)
    if own.time is None or now is None or own.looks > 1 or now - own.time < REPEAT_AFTER:
        return Need.NONE
    return Need.REPEAT if is_repeated(candidate.sequence, repeat_percent) else Need.NONE


def queue(
    candidates: Iterable[Candidate],
    order: Order,
    reviewer: str,
    double_percent: int,
    repeat_percent: int = 0,
    now: datetime | None = None,
) -> list[tuple[Candidate, Need]]:
    """The parts that ask for a look of this reviewer: disagreements first, then in this order, newest first among equals."""
    wanted = [(candidate, asks(candidate, reviewer, double_percent, repeat_percent, now)) for candidate in candidates]
    waiting = [(candidate, need) for candidate, need in wanted if need is not Need.NONE]
    rank = _RANKS[order]
    return sorted(waiting, key=lambda one: (one[1] is not Need.THIRD, rank(one[0]), -one[0].sequence))


_RANKS: dict[Order, Callable[[Candidate], float]] = {
    Order.CLOSEST: lambda candidate: candidate.margin,
    Order.NEWEST: lambda candidate: -candidate.receive_time.timestamp(),
    Order.UNCERTAIN: lambda candidate: -candidate.uncertainty,
}


def rival_of(scores: Sequence[tuple[int, float]]) -> float:
    """From (class, score) of a part's findings: the best of the second class as a share of the best of the first."""
    best: dict[int, float] = {}
    for class_id, score in scores:
        if math.isfinite(score):
            best[class_id] = max(best.get(class_id, 0.0), score)
    ranked = sorted(best.values(), reverse=True)
    return ranked[1] / ranked[0] if len(ranked) > 1 and ranked[0] > 0 else 0.0
