"""Run rules: patterns in a control chart that chance alone rarely makes. They see distances from the centre, in sigmas.

Sources: Western Electric, Statistical Quality Control Handbook, 1956, part I section B-3; L. S. Nelson, The Shewhart Control
Chart: Tests for Special Causes, Journal of Quality Technology 16(4), 1984. Both assume distances near to normal; more rules
find more and cry wolf more often (Western Electric's four together about once in 92 groups, Champ and Woodall 1987).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Test = Callable[[Sequence[float]], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named pattern of the last `length` points; `name` such as "Nelson 3"."""

    name: str
    words: str
    length: int
    test: Test


@dataclass(frozen=True, slots=True)
class Signal:
    """A rule that the points from `first` to `last` fulfil; the last one completes the pattern."""

    rule: Rule
    first: int
    last: int


def _beyond(count: int, sigmas: float) -> Test:
    """At least `count` of the points lie beyond `sigmas` on the side of the last, which is one of them."""

    def test(z: Sequence[float]) -> bool:
        side = math.copysign(1.0, z[-1])
        return z[-1] * side > sigmas and sum(value * side > sigmas for value in z) >= count

    return test


def _one_side(z: Sequence[float]) -> bool:
    return all(value > 0 for value in z) or all(value < 0 for value in z)


def _steps(z: Sequence[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(z)]


def _trend(z: Sequence[float]) -> bool:
    return _one_side(_steps(z))


def _alternating(z: Sequence[float]) -> bool:
    steps = _steps(z)
    return all(one * other < 0 for one, other in itertools.pairwise(steps))


def _all_within(z: Sequence[float]) -> bool:
    return all(abs(value) < 1 for value in z)


def _none_within(z: Sequence[float]) -> bool:
    return all(abs(value) > 1 for value in z)


_OUTSIDE = "one point beyond the control limits"
_TWO_OF_THREE = "two of three points beyond 2 sigma, on one side"
_FOUR_OF_FIVE = "four of five points beyond 1 sigma, on one side"

WESTERN_ELECTRIC = (
    Rule("Western Electric 1", _OUTSIDE, 1, _beyond(1, 3)),
    Rule("Western Electric 2", _TWO_OF_THREE, 3, _beyond(2, 2)),
    Rule("Western Electric 3", _FOUR_OF_FIVE, 5, _beyond(4, 1)),
    Rule("Western Electric 4", "eight points in a row on one side of the centre", 8, _one_side),
)
NELSON = (
    Rule("Nelson 1", _OUTSIDE, 1, _beyond(1, 3)),
    Rule("Nelson 2", "nine points in a row on one side of the centre", 9, _one_side),
    Rule("Nelson 3", "six points in a row, each higher than the one before, or each lower", 6, _trend),
    Rule("Nelson 4", "fourteen points in a row that go up and down in turns", 14, _alternating),
    Rule("Nelson 5", _TWO_OF_THREE, 3, _beyond(2, 2)),
    Rule("Nelson 6", _FOUR_OF_FIVE, 5, _beyond(4, 1)),
    Rule(
        "Nelson 7",
        "fifteen points in a row within 1 sigma: groups may be mixed, or the limits too wide",
        15,
        _all_within,
    ),
    Rule("Nelson 8", "eight points in a row beyond 1 sigma, on either side", 8, _none_within),
)
RULE_SETS = {"western-electric": WESTERN_ELECTRIC, "nelson": NELSON}


def signals(z: Sequence[float], rules: Sequence[Rule]) -> tuple[Signal, ...]:
    """Every place at which a rule is fulfilled, by its last point and then in the order of the rules."""
    return tuple(
        Signal(rule, last - rule.length + 1, last)
        for last in range(len(z))
        for rule in rules
        if last + 1 >= rule.length and rule.test(z[last - rule.length + 1 : last + 1])
    )
