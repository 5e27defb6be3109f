"""Rates, Pareto bars and what wrong verdicts cost."""

from __future__ import annotations

import math

import pytest

from inspector.decision.intervals import clopper_pearson
from inspector.quality.costs import wrong_verdicts
from inspector.quality.rates import percent, rate
from inspector.quality.yields import pareto, vital_few


@pytest.mark.parametrize(("count", "total"), [(0, 0), (0, 9), (9, 9), (3, 48), (1, 2000), (500, 1000)])
def test_intervals_are_those_of_the_line(count: int, total: int) -> None:
    ours, theirs = rate(count, total), clopper_pearson(count, total)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert math.isnan(ours.value) if not total else ours.value == count / total


@pytest.mark.parametrize(("count", "total"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="expected 0"):
        rate(count, total)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50 %"),
        (0.94, "94.0 %"),
        (0.9996, "99.96 %"),
        (0.0004, "0.04 %"),
        (math.nan, "–"),
    ],
)
def test_percentages_are_told_as_finely_as_they_need(value: float, text: str) -> None:
    assert percent(value) == text


def test_bars_fall_and_add_up() -> None:
    bars = pareto({"dent": 20, "scratch": 60, "stain": 20, "never": 0})
    assert [(bar.name, bar.count) for bar in bars] == [("scratch", 60), ("dent", 20), ("stain", 20)]
    assert [bar.cumulative for bar in bars] == pytest.approx([0.6, 0.8, 1.0])
    assert [bar.name for bar in vital_few(bars)] == ["scratch", "dent"]
    assert pareto({}) == vital_few(()) == ()


def test_what_was_not_reviewed_is_estimated_from_what_was() -> None:
    wrong = wrong_verdicts(200, 50, 10, 4.0)
    assert wrong.seen_cost == 40
    assert wrong.expected == 10 + 150 * 0.2
    assert 10 + 150 * 0.1 < wrong.low < wrong.expected < wrong.high < 10 + 150 * 0.34
    assert wrong.cost(wrong.expected) == 160
    everything = wrong_verdicts(50, 50, 10, 4.0)
    assert everything.low == everything.expected == everything.high == 10, "nothing is left to guess"


def test_without_reviews_nothing_is_claimed() -> None:
    wrong = wrong_verdicts(200, 0, 0, 4.0)
    assert (wrong.low, wrong.expected, wrong.high) == (0, 0, 200)


@pytest.mark.parametrize(
    ("counts", "match"),
    [((5, 6, 0, 1.0), "no more than there are"), ((5, 5, 0, -1.0), "0 or more"), ((5, 3, 4, 1.0), "4 of 3")],
)
def test_what_cannot_be_is_refused(counts: tuple[int, int, int, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        wrong_verdicts(*counts)
