"""The p-chart against a textbook, small groups, and every run rule with what just fulfils it and what just does not."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from scipy import stats

from inspector.quality.control import Group, p_chart
from inspector.quality.run_rules import NELSON, RULE_SETS, WESTERN_ELECTRIC, signals

# Montgomery, Introduction to Statistical Quality Control, table 7.4: purchase orders with errors, in groups of unequal size.
ORDERS = [
    (12, 100), (8, 80), (6, 80), (9, 100), (10, 110), (12, 110), (11, 100), (16, 100), (10, 90), (6, 90), (20, 110), (15, 120),
    (9, 120), (8, 120), (6, 110), (8, 80), (10, 80), (7, 80), (5, 90), (8, 100), (5, 100), (8, 100), (10, 100), (6, 90),
    (9, 90),
]  # fmt: skip


def groups(counts: list[tuple[int, int]]) -> list[Group]:
    return [Group(f"day {number}", events, parts) for number, (events, parts) in enumerate(counts, start=1)]


def test_limits_are_those_of_montgomery() -> None:
    chart = p_chart(groups(ORDERS))
    assert chart.centre == pytest.approx(234 / 2450)
    first, second = chart.points[:2]
    assert (first.low, first.high) == pytest.approx((0.007, 0.184), abs=1e-3)
    assert (second.low, second.high) == pytest.approx((0.0, 0.194), abs=1e-3), "a smaller group has wider limits"
    assert not first.is_exact
    beyond = [p.group.name for p in chart.points if "Western Electric 1" in {s.rule.name for s in p.signals}]
    assert beyond == ["day 11"], "as in the book"
    known = p_chart(groups(ORDERS), centre=0.05)
    assert known.centre == 0.05
    assert {"day 8", "day 11"} <= {p.group.name for p in known.flagged}


def test_small_groups_have_binomial_limits() -> None:
    chart = p_chart(groups([(0, 20), (1, 20), (4, 20), (0, 20)]), centre=0.02)
    assert all(point.is_exact for point in chart.points)
    tail = float(stats.norm.sf(3))
    for point in chart.points:
        count = round(point.high * 20)
        assert stats.binom.sf(count, 20, 0.02) <= tail < stats.binom.sf(count - 1, 20, 0.02)
        assert point.low == 0
    assert [bool(p.signals) for p in chart.points] == [False, False, True, False]
    normal = 0.02 + 3 * math.sqrt(0.02 * 0.98 / 20)
    assert round(chart.points[0].high * 20) == 3 > normal * 20, "the normal limit would cry wolf at 3 of 20"


def test_a_count_within_exact_limits_is_never_outside() -> None:
    for parts in (5, 17, 50, 120):
        for events in range(parts + 1):
            (point,) = p_chart([Group("g", events, parts)], centre=0.03).points
            outside = any(s.rule.name == "Western Electric 1" for s in point.signals)
            assert outside == (not point.low <= point.rate <= point.high), (events, parts)


NOTHING = [
    pytest.param([], id="no groups"),
    pytest.param([(0, 0), (0, 0)], id="groups without parts"),
    pytest.param([(0, 50), (0, 70)], id="never an event"),
    pytest.param([(50, 50), (70, 70)], id="always an event"),
]


@pytest.mark.parametrize("counts", NOTHING)
def test_what_never_varies_flags_nothing(counts: list[tuple[int, int]]) -> None:
    chart = p_chart(groups(counts))
    assert chart.flagged == ()
    assert len(chart.points) == sum(parts > 0 for _, parts in counts)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        p_chart([Group("x", 3, 2)])


def test_limits_widened_to_how_groups_vary() -> None:
    """Huge groups whose true share wanders: the plain chart cries wolf at nearly all, Laney's at next to none."""
    draw = random.Random(5)
    counts = [(round(20_000 * (0.05 + draw.gauss(0, 0.01))), 20_000) for _ in range(40)]
    plain, widened = p_chart(groups(counts)), p_chart(groups(counts), widen=True)
    assert plain.spread == widened.spread > 4
    outside = [[s for p in chart.points for s in p.signals if s.rule.name.endswith(" 1")] for chart in (plain, widened)]
    assert len(outside[0]) > 15
    assert len(outside[1]) <= 1
    assert statistics.stdev(p.z for p in widened.points) == pytest.approx(1, abs=0.4)


def test_widening_never_narrows() -> None:
    steady = [(5, 100), (5, 100), (5, 100), (5, 100)]
    assert p_chart(groups(steady), widen=True).points == p_chart(groups(steady)).points


UP = [0.2, 0.4, 0.3, 0.6, 0.1, 0.7, 0.5, 0.3, 0.4]
ZIGZAG = [0.5, -0.5] * 7
RULES = [
    pytest.param("Western Electric 1", [3.01], [3.0], id="beyond 3 sigma"),
    pytest.param("Western Electric 1", [-3.01], [-2.99], id="below 3 sigma"),
    pytest.param("Western Electric 2", [2.1, 0.0, 2.1], [2.1, 0.0, 1.9], id="two of three"),
    pytest.param("Western Electric 2", [-2.1, -2.1], [], id="two in a row need three points before they count"),
    pytest.param("Western Electric 2", [0, 2.1, 2.2], [0, 2.1, -2.2], id="on one side"),
    pytest.param("Western Electric 3", [1.1, 1.2, -2, 1.3, 1.1], [1.1, 1.2, -2, 0.9, 1.1], id="four of five"),
    pytest.param("Western Electric 4", UP[:8], UP[:7], id="eight on one side"),
    pytest.param("Western Electric 4", [-z for z in UP[:8]], [*UP[:7], 0.0], id="on the centre is on no side"),
    pytest.param("Nelson 2", UP, UP[:8], id="nine on one side"),
    pytest.param("Nelson 3", [0, 0.1, 0.2, 0.3, 0.4, 0.5], [0, 0.1, 0.2, 0.2, 0.4, 0.5], id="six rising"),
    pytest.param("Nelson 3", [0.5, 0.4, 0.3, 0.2, 0.1, 0], [0.5, 0.4, 0.3, 0.2, 0.1], id="six falling"),
    pytest.param("Nelson 4", ZIGZAG, [*ZIGZAG[:12], 0.6, 0.7], id="fourteen up and down"),
    pytest.param("Nelson 5", [2.1, 0.0, 2.1], [2.1, 0.0, 1.9], id="Nelson's two of three"),
    pytest.param("Nelson 6", [-1.1, -1.2, 2, -1.3, -1.1], [-1.1, -1.2, 2, -1.3, 1.1], id="Nelson's four of five"),
    pytest.param("Nelson 7", [0.9, -0.9, 0.1] * 5, [0.9, -0.9, 0.1] * 4 + [0.9, 0.9, 1.0], id="fifteen within 1 sigma"),
    pytest.param("Nelson 8", [1.1, -1.2] * 4, [1.1, -1.2] * 3 + [1.1, 0.9], id="eight beyond 1 sigma"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fulfils", "does_not"), RULES)
def test_each_rule(name: str, fulfils: list[float], does_not: list[float]) -> None:
    (rule,) = (rule for rule in (*WESTERN_ELECTRIC, *NELSON) if rule.name == name)
    if len(fulfils) < rule.length:
        assert signals(fulfils, [rule]) == ()
        return
    found = signals([0.0, *fulfils], [rule])
    assert [(s.first, s.last) for s in found][-1] == (len(fulfils) + 1 - rule.length, len(fulfils))
    assert signals(does_not, [rule]) == ()


def test_every_rule_has_a_test_and_a_name_of_its_own() -> None:
    names = [rule.name for rules in RULE_SETS.values() for rule in rules]
    tested = {str(parameters.values[0]) for parameters in RULES}
    assert len(set(names)) == len(names)
    assert set(names) - tested == {"Nelson 1"}, "the same test as Western Electric 1"


def test_a_steady_line_is_rarely_flagged() -> None:
    """Western Electric's four rules together: once in about 92 groups (Champ and Woodall, Technometrics 29, 1987)."""
    draw = random.Random(11)
    z = [draw.gauss(0, 1) for _ in range(20_000)]
    flagged = {signal.last for signal in signals(z, WESTERN_ELECTRIC)}
    runs = sum(1 for place in flagged if place - 1 not in flagged)
    assert 60 < len(z) / runs < 130
