"""Exact intervals: against published figures, against scipy where it is installed, and their properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.decision.intervals import beta_probability, beta_quantile, clopper_pearson


@pytest.mark.parametrize(
    ("events", "trials", "low", "high"),
    [
        pytest.param(0, 10, 0.0, 0.308497, id="none in ten: 1 - 0.025^(1/10)"),
        pytest.param(0, 300, 0.0, 0.012221, id="none in three hundred: near the rule of three, two-sided"),
        pytest.param(10, 10, 0.691503, 1.0, id="all of ten"),
        pytest.param(5, 10, 0.187086, 0.812914, id="half of ten"),
        pytest.param(10, 100, 0.049005, 0.176223, id="ten of a hundred: Clopper and Pearson's own kind of example"),
    ],
)
def test_known_intervals(events: int, trials: int, low: float, high: float) -> None:
    found = clopper_pearson(events, trials)
    assert found.rate == events / trials
    assert found.low == pytest.approx(low, abs=1e-6)
    assert found.high == pytest.approx(high, abs=1e-6)


def test_nothing_is_known_without_trials() -> None:
    found = clopper_pearson(0, 0)
    assert math.isnan(found.rate)
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("events", "trials", "confidence"),
    [
        pytest.param(-1, 10, 0.95, id="negative count"),
        pytest.param(11, 10, 0.95, id="more events than trials"),
        pytest.param(1, 10, 1.0, id="certainty is not to be had"),
        pytest.param(1, 10, 0.0, id="no confidence at all"),
        pytest.param(1, 10, math.nan, id="not a number"),
    ],
)
def test_impossible_counts_are_refused(events: int, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        clopper_pearson(events, trials, confidence)


@settings(deadline=None)  # the first example imports scipy
@given(st.integers(0, 3000), st.integers(1, 3000), st.sampled_from([0.8, 0.95, 0.999]))
def test_interval_matches_scipy(events: int, trials: int, confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    events = min(events, trials)
    found = clopper_pearson(events, trials, confidence)
    exact = stats.binomtest(events, trials).proportion_ci(confidence, "exact")
    assert found.low == pytest.approx(exact.low, abs=1e-9)
    assert found.high == pytest.approx(exact.high, abs=1e-9)


@given(st.integers(0, 500), st.integers(1, 500))
def test_interval_holds_the_rate_and_mirrors(events: int, trials: int) -> None:
    events = min(events, trials)
    found, mirrored = clopper_pearson(events, trials), clopper_pearson(trials - events, trials)
    assert 0 <= found.low <= found.rate <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-9)


@given(st.floats(0.001, 0.999), st.floats(0.5, 2000), st.floats(0.5, 2000))
def test_quantile_is_the_inverse_of_the_probability(probability: float, a: float, b: float) -> None:
    at = beta_quantile(probability, a, b)
    if 1e-9 < at < 1 - 1e-9:  # at the very ends one step of a float moves the probability visibly
        assert beta_probability(at, a, b) == pytest.approx(probability, abs=1e-6)
