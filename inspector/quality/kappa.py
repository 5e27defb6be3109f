"""Kappa: how far people agree beyond what chance would have them agree. 1 is always, 0 is as chance has it.

Intervals take parts, not judgements, as what was drawn: several looks of one person at one part are not several samples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from scipy import stats

from inspector.quality.rates import CONFIDENCE, rate

# AIAG, Measurement Systems Analysis, 4th ed. 2010, chapter III section C.
GOOD_ABOVE, POOR_BELOW = 0.75, 0.40


@dataclass(frozen=True, slots=True)
class Kappa:
    """`value` from `parts` parts with a 95 % interval; NaN, with the reason in `why`, where it cannot be told."""

    value: float
    low: float
    high: float
    parts: int
    why: str = ""

    @property
    def words(self) -> str:
        """Such as "0.86 (0.71 to 1.00), good to excellent", in the words of AIAG."""
        if math.isnan(self.value):
            return self.why
        grade = "good to excellent" if self.value > GOOD_ABOVE else "poor" if self.value < POOR_BELOW else "fair"
        return f"{_two(self.value)} ({_two(self.low)} to {_two(self.high)}), {grade}"


def _two(value: float) -> str:
    """With two decimals and a minus sign, which is never before 0.00."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _unknown(why: str, parts: int) -> Kappa:
    return Kappa(math.nan, math.nan, math.nan, parts, why)


def cohen(pairs: Sequence[tuple[Hashable, Hashable]], parts: Sequence[Hashable] | None = None) -> Kappa:
    """Kappa of two judges (Cohen, Educational and Psychological Measurement 20, 1960); `parts` says of which part each pair is.

    The interval is that of Fleiss, Cohen and Everitt (Psychological Bulletin 72, 1969), with pairs of one part taken together.
    """
    owners = list(range(len(pairs))) if parts is None else list(parts)
    count = len(pairs)
    if not count:
        return _unknown("no part was judged by both", 0)
    first = Counter(one for one, _ in pairs)
    second = Counter(other for _, other in pairs)
    observed = sum(one == other for one, other in pairs) / count
    expected = sum(first[value] * second[value] for value in first) / count**2
    units = len(set(owners))
    if expected == 1:
        return _unknown("both said the same of every part: there was nothing to tell apart", units)
    value = (observed - expected) / (1 - expected)
    influence: dict[Hashable, float] = {}
    for (one, other), part in zip(pairs, owners, strict=True):
        by_chance = (second[one] + first[other]) / count - 2 * expected
        share = ((one == other) - observed - (1 - value) * by_chance) / (1 - expected)
        influence[part] = influence.get(part, 0.0) + share
    error = math.sqrt(sum(share**2 for share in influence.values())) / count
    return _with_interval(value, error, units, expected)


def fleiss(judgements: Sequence[Sequence[Hashable]]) -> Kappa:
    """Kappa of any number of judges, one sequence of what was said a part (Fleiss, Psychological Bulletin 76, 1971).

    Parts may have been judged by different numbers of people; those judged once say only how often each thing is said. The
    interval is that of Gwet (Handbook of Inter-Rater Reliability, 4th ed. 2014, chapter 5), for parts drawn from many.
    """
    counts = [Counter(said) for said in judgements if said]
    several = [counter for counter in counts if counter.total() > 1]
    parts = len(counts)
    if not several:
        return _unknown("no part was judged twice", parts)
    shares: Counter[Hashable] = Counter()
    for counter in counts:
        for value, times in counter.items():
            shares[value] += times / counter.total() / parts  # type: ignore[assignment]
    observed = sum(_agreement(counter) for counter in several) / len(several)
    expected = sum(share**2 for share in shares.values())
    if math.isclose(expected, 1):
        return _unknown("everyone said the same of every part: there was nothing to tell apart", parts)
    value = (observed - expected) / (1 - expected)
    square = 0.0
    for counter in counts:
        agreed = _agreement(counter) - expected if counter.total() > 1 else 0.0
        of_part = parts / len(several) * agreed / (1 - expected)
        by_chance = sum(shares[said] * times for said, times in counter.items()) / counter.total()
        square += (of_part - 2 * (1 - value) * (by_chance - expected) / (1 - expected) - value) ** 2
    error = math.sqrt(square / (parts * (parts - 1))) if parts > 1 else math.inf
    return _with_interval(value, error, parts, expected)


def _agreement(counter: Counter[Hashable]) -> float:
    """Share of the pairs of judgements of a part that agree."""
    total = counter.total()
    return sum(times * (times - 1) for times in counter.values()) / (total * (total - 1))


def _with_interval(value: float, error: float, parts: int, expected: float) -> Kappa:
    if math.isclose(value, 1):
        # No disagreement seen has no spread; what the exact bound on disagreement leaves of kappa is the honest lower end.
        low = (rate(parts, parts).low - expected) / (1 - expected)
        return Kappa(1.0, max(-1.0, low), 1.0, parts)
    half = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, max(parts - 1, 1)))
    return Kappa(value, max(-1.0, value - half), min(1.0, value + half), parts)
