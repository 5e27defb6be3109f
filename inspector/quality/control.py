"""The p-chart: is the share of rejects steady, or did something happen?

Groups differ in size, so each has its own limits: centre ± 3 √(p̄ (1 − p̄) / n) (Montgomery, Introduction to Statistical Quality
Control, 7th ed. 2013, section 7.2), and run rules look at each group's distance from the centre in its own sigmas. Where a
group is too small for that (n p̄ or n (1 − p̄) below 5) its limits are the exact binomial ones with the same tails.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from inspector.quality.run_rules import WESTERN_ELECTRIC, Rule, Signal, signals

_TAIL = float(stats.norm.sf(3))
_FEW = 5
# Mean of the range of two normal values, in sigmas.
_D2 = 1.128


@dataclass(frozen=True, slots=True)
class Group:
    """`events` of `parts` that belong together, such as those of a shift."""

    name: str
    events: int
    parts: int


@dataclass(frozen=True, slots=True)
class Point:
    """A group on the chart. `low` and `high` are its limits, `z` is its distance from the centre in sigmas.

    `is_exact` says that the limits are binomial ones, for the group is small.
    """

    group: Group
    rate: float
    low: float
    high: float
    z: float
    is_exact: bool
    signals: tuple[Signal, ...] = ()


@dataclass(frozen=True, slots=True)
class PChart:
    """Points in the order of time. `spread` is how many times more groups vary than chance alone would have them."""

    points: tuple[Point, ...]
    centre: float
    spread: float
    is_widened: bool
    rules: tuple[Rule, ...]

    @property
    def flagged(self) -> tuple[Point, ...]:
        """Points that fulfil a rule."""
        return tuple(point for point in self.points if point.signals)


def p_chart(
    groups: Sequence[Group],
    rules: Sequence[Rule] = WESTERN_ELECTRIC,
    *,
    centre: float | None = None,
    widen: bool = False,
) -> PChart:
    """The chart of groups in the order of time; those without parts have no point.

    `centre` is the share to hold them against, such as that of a month known to be good; without, it is their own. `widen`
    makes limits as wide as the groups vary from one to the next (the p′ chart of Laney, Quality Engineering 14(4), 2002): with
    thousands of parts a group even a healthy line varies more than the binomial law. Raises ValueError for impossible counts.
    """
    if wrong := next((group for group in groups if not 0 <= group.events <= group.parts), None):
        raise ValueError(f"got {wrong.events} of {wrong.parts} in group {wrong.name}, expected 0 ≤ events ≤ parts")
    counted = [group for group in groups if group.parts]
    parts = sum(group.parts for group in counted)
    if centre is None:
        centre = sum(group.events for group in counted) / parts if parts else math.nan
    plain = [_z(group, centre) for group in counted]
    spread = _spread(plain)
    factor = max(spread, 1.0) if widen and not math.isnan(spread) else 1.0
    points = [_point(group, centre, factor) for group in counted]
    found = signals([point.z for point in points], rules)
    flagged = tuple(
        Point(p.group, p.rate, p.low, p.high, p.z, p.is_exact, tuple(s for s in found if s.last == number))
        for number, p in enumerate(points)
    )
    return PChart(flagged, centre, spread, widen, tuple(rules))


def _sigma(group: Group, centre: float) -> float:
    return math.sqrt(centre * (1 - centre) / group.parts)


def _z(group: Group, centre: float) -> float:
    sigma = _sigma(group, centre)
    return (group.events / group.parts - centre) / sigma if sigma else 0.0


def _spread(z: Sequence[float]) -> float:
    """Sigma of the distances, from the mean of their moving ranges; NaN for fewer than two."""
    ranges = [abs(after - before) for before, after in itertools.pairwise(z)]
    return sum(ranges) / len(ranges) / _D2 if ranges else math.nan


def _point(group: Group, centre: float, factor: float) -> Point:
    rate = group.events / group.parts
    if factor == 1.0 and 0 < centre < 1 and group.parts * min(centre, 1 - centre) < _FEW:
        return _exact(group, centre, rate)
    half = 3 * factor * _sigma(group, centre)
    z = _z(group, centre) / factor
    return Point(group, rate, max(0.0, centre - half), min(1.0, centre + half), z, False)


def _exact(group: Group, centre: float, rate: float) -> Point:
    """Limits that a count passes with no more than the probability of 3 sigma; z is where a normal value had the same tail."""
    law = stats.binom(group.parts, centre)
    high, low = float(law.isf(_TAIL)), float(law.ppf(_TAIL))
    # The middle of the count's own probability, so that a count in the middle of the law has z near 0.
    middle = float(law.cdf(group.events - 1) + law.pmf(group.events) / 2)
    z = float(stats.norm.ppf(min(max(middle, 1e-12), 1 - 1e-12)))
    if low <= group.events <= high:
        z = max(-3.0, min(3.0, z))
    return Point(group, rate, low / group.parts, high / group.parts, z, True)
