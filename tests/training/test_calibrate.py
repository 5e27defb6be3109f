"""The limit keeps its promise at its confidence, for many distributions, and says so when it cannot promise."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from inspector.errors import DataError
from training.calibration.limits import (
    DISTRIBUTION_FREE,
    TAIL,
    good_limit,
    lots_differ,
    of_pictures_with_areas_to_ignore,
    part_count,
    parts_needed,
    region_limit,
    with_counts,
)
from training.statistics import auroc, counted, worst_by_group

DISTRIBUTIONS = {
    "normal": stats.norm(20, 3),
    "uniform (bounded)": stats.uniform(),
    "exponential": stats.expon(),
    "gamma (skewed)": stats.gamma(3),
    "Gumbel (maxima)": stats.gumbel_r(),
    "lognormal": stats.lognorm(0.6),
    "Student t, 3 (heavy tails)": stats.t(3),
    "Cauchy (no mean)": stats.cauchy(),
    "two lots": None,
}


def _draw(name: str, count: int, random: np.random.Generator) -> np.ndarray:
    if name == "two lots":
        return random.normal(10, 1, count) + 4 * (random.random(count) < 0.2)
    return DISTRIBUTIONS[name].rvs(count, random_state=random)


def _share_above(name: str, limit: float) -> float:
    if name == "two lots":
        return 0.8 * stats.norm.sf(limit, 10, 1) + 0.2 * stats.norm.sf(limit, 14, 1)
    return float(DISTRIBUTIONS[name].sf(limit))


def _kept(name: str, parts: int, rate: float, trials: int) -> float:
    """Share of simulated data sets whose limit keeps the false-reject rate."""
    random = np.random.default_rng(7)
    limits = [good_limit(_draw(name, parts, random).tolist(), rate, 0.95)[0] for _ in range(trials)]
    return float(np.mean([_share_above(name, limit) <= rate for limit in limits]))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize(("parts", "rate"), [(299, 0.01), (650, 0.01), (100, 0.05)])
def test_the_promise_holds_for_any_distribution(name: str, parts: int, rate: float) -> None:
    trials = 400
    # 0.95 less three standard errors of this many trials
    assert _kept(name, parts, rate, trials) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)


@pytest.mark.parametrize(
    "name", ["normal", "uniform (bounded)", "exponential", "gamma (skewed)", "Gumbel (maxima)", "lognormal"]
)
@pytest.mark.parametrize("parts", [5, 20, 100, 250])
def test_the_tail_keeps_about_its_confidence_where_its_assumption_holds(name: str, parts: int) -> None:
    assert _kept(name, parts, 0.01, 120) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 120)


def test_grouped_exposures_count_once_or_the_promise_is_void() -> None:
    random = np.random.default_rng(5)
    kept = {"by part": 0, "by image": 0}
    for _ in range(200):
        parts = random.normal(0, 1, 60)
        images = np.repeat(parts, 6) + random.normal(0, 0.05, 360)
        worst = worst_by_group(images.tolist(), np.repeat(np.arange(60), 6).tolist())
        kept["by image"] += stats.norm.sf(good_limit(images.tolist(), 0.01, 0.95)[0]) <= 0.01
        kept["by part"] += stats.norm.sf(good_limit(list(worst.values()), 0.01, 0.95)[0]) <= 0.01
    assert kept["by part"] >= 180
    assert kept["by image"] <= 150  # what this test protects from


@pytest.mark.parametrize(
    ("rate", "confidence", "needed"),
    [(0.01, 0.95, 299), (0.05, 0.95, 59), (0.005, 0.95, 598), (0.01, 0.99, 459), (0.1, 0.5, 7)],
)
def test_parts_needed_is_wilks_number(rate: float, confidence: float, needed: int) -> None:
    assert parts_needed(rate, confidence) == needed
    assert 1 - (1 - rate) ** needed >= confidence > 1 - (1 - rate) ** (needed - 1)


@pytest.mark.parametrize(
    ("parts", "above"),
    [
        pytest.param(299, 0, id="just enough: the largest score is the limit"),
        pytest.param(472, 0, id="one short of the next"),
        pytest.param(473, 1, id="the second largest"),
        pytest.param(628, 2, id="the third largest"),
    ],
)
def test_the_limit_is_the_lowest_order_statistic_that_holds(parts: int, above: int) -> None:
    limit, basis = good_limit([float(i) for i in range(parts)], 0.01, 0.95)
    assert limit == parts - 1 - above
    assert basis.guaranteed
    assert (basis.method, basis.good_parts, basis.good_parts_needed) == (DISTRIBUTION_FREE, parts, 299)
    assert f"{above} of {parts} good parts" in basis.statement


def test_too_few_parts_for_a_promise_say_how_many_more_would_do() -> None:
    limit, basis = good_limit(list(np.random.default_rng(0).normal(10, 1, 100)), 0.01, 0.95)
    assert not basis.guaranteed
    assert (basis.method, basis.good_parts_needed) == (TAIL, 299)
    assert "not a promise" in basis.statement
    assert "199 more good parts" in basis.statement
    assert 12 < limit < 16


def test_cross_fitted_scores_are_never_called_a_guarantee() -> None:
    _, basis = good_limit([float(i) for i in range(400)], cross_fitted=True)
    assert not basis.guaranteed
    assert basis.method == f"{DISTRIBUTION_FREE}, cross-fitted"
    assert "fitted without it" in basis.statement
    assert "An estimate, not a promise" in basis.statement
    assert "any distribution" not in basis.statement
    assert "no higher than the models of the folds" in basis.assumes


@pytest.mark.parametrize("parts", [100, 400])
def test_parts_that_also_fitted_the_model_prove_nothing_however_many_there_are(parts: int) -> None:
    """So no number of more parts is told that would only be cross-fitted as well."""
    _, basis = good_limit([float(i) for i in range(parts)], cross_fitted=True)
    assert basis.good_parts_needed == 299
    assert "more good parts" not in basis.statement
    assert "299 good parts that the model was not fitted on would prove it" in basis.statement


@pytest.mark.parametrize("name", ["normal", "lognormal", "Student t, 3 (heavy tails)"])
def test_an_estimate_says_what_is_proven_at_its_limit(name: str) -> None:
    """Whatever the tail: the share that the statement calls proven is kept, also where the estimate is not."""
    random = np.random.default_rng(3)
    kept = 0
    for _ in range(300):
        limit, basis = good_limit(_draw(name, 200, random).tolist(), 0.01, 0.95)
        told = re.search(r"at most ([\d.]+) with 0.95 confidence", basis.statement)
        assert told is not None
        kept += _share_above(name, limit) <= float(told[1])
    assert kept >= 300 * (0.95 - 3 * math.sqrt(0.95 * 0.05 / 300))


def test_bounds_on_parts_of_lots_that_differ_are_no_claim() -> None:
    _, basis = good_limit(_of_lots(0.5), lots=LOTS)
    tested = part_count(2, 300, 0.95)
    assert lots_differ(_of_lots(0.5), LOTS)
    assert not lots_differ(_of_lots(0.0), LOTS)
    assert "for any distribution" in with_counts(basis, tested, None).statement
    said = with_counts(basis, tested, None, of_differing_lots=True).statement
    assert "if lots did not differ, which they do" in said
    assert "for any distribution" not in said


def test_pictures_scored_without_their_areas_to_ignore_guarantee_nothing() -> None:
    _, basis = good_limit([float(i) for i in range(400)])
    assert of_pictures_with_areas_to_ignore(basis, 0, 400) == basis
    weaker = of_pictures_with_areas_to_ignore(basis, 40, 400)
    assert not weaker.guaranteed
    assert "An estimate, not a promise: at most" in weaker.statement
    assert "any distribution" not in weaker.statement
    assert "40 of 400 pictures" in weaker.assumes


def test_tied_scores_count_only_those_above_the_limit() -> None:
    limit, basis = good_limit([1.0] * 470 + [2.0] * 30, 0.01, 0.95)
    assert limit == 2.0
    assert "exceeded by 0 of 500" in basis.statement


LOTS = [f"lot {i // 20}" for i in range(400)]


def _of_lots(between: float, seed: int = 0) -> list[float]:
    random = np.random.default_rng(seed)
    means = np.repeat(random.normal(size=20), 20)
    return list(math.sqrt(between) * means + math.sqrt(1 - between) * random.normal(size=400))


@pytest.mark.parametrize(
    ("between", "lots", "guaranteed", "says"),
    [
        pytest.param(0.0, (), True, "lots are not known", id="nobody told"),
        pytest.param(0.0, LOTS, True, "20 lots show no difference", id="lots that do not matter"),
        pytest.param(0.5, LOTS, False, "20 lots differ", id="lots that differ: parts count for less"),
        pytest.param(0.0, ["a"] * 400, True, "nothing is known of other lots", id="all of one lot"),
    ],
)
def test_the_basis_says_what_was_taken_for_granted_of_lots(
    between: float, lots: list[str], guaranteed: bool, says: str
) -> None:
    limit, basis = good_limit(_of_lots(between), 0.01, 0.95, lots=lots)
    assert basis.guaranteed is guaranteed
    assert says in basis.assumes
    assert limit >= good_limit(_of_lots(between), 0.01, 0.95)[0]


def test_equal_scores_of_several_lots_are_no_difference() -> None:
    assert good_limit([1.0] * 400, lots=LOTS)[0] == 1.0


def test_parts_that_did_not_set_the_limit_are_counted_in_the_statement() -> None:
    _, basis = good_limit([float(i) for i in range(30)])
    counted_on = with_counts(basis, part_count(1, 85, 0.95), part_count(40, 50, 0.95), -0.25)
    assert "85 good parts that neither fitted the model nor set the limit it rejects 1" in counted_on.statement
    assert "Of 50 defective parts, each scored by a model that was not fitted on it, 40 pass" in counted_on.statement
    assert "-0.25" in counted_on.assumes
    assert counted_on.tested is not None
    assert counted_on.tested.bound == pytest.approx(stats.beta.ppf(0.95, 2, 84))
    assert "not known" in with_counts(basis, None, None).statement
    assert part_count(5, 5, 0.95).bound == 1.0
    assert part_count(0, 59, 0.95).bound == pytest.approx(0.05, abs=0.001)


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=400), st.sampled_from([0.001, 0.01, 0.1]))
def test_a_limit_is_finite_and_rejects_no_more_than_it_may(scores: list[float], rate: float) -> None:
    limit, basis = good_limit(scores, rate, 0.95)
    assert math.isfinite(limit)
    above = sum(score > limit for score in scores)
    assert above <= rate * len(scores)
    assert f"{above} of " in basis.statement


@pytest.mark.parametrize(
    ("scores", "rate", "confidence", "says"),
    [
        pytest.param([], 0.01, 0.95, "0 good parts are too few", id="none"),
        pytest.param([1.0, 2.0], 0.01, 0.95, "2 good parts are too few", id="two"),
        pytest.param([1.0, 2.0, math.nan], 0.01, 0.95, "no finite numbers", id="NaN"),
        pytest.param([1.0, 2.0, math.inf], 0.01, 0.95, "no finite numbers", id="infinite"),
        pytest.param([1.0, 2.0, 3.0], 0.0, 0.95, "cannot be promised", id="no false rejects at all"),
        pytest.param([1.0, 2.0, 3.0], 0.01, 1.0, "cannot be promised", id="certainty"),
        pytest.param([1.0, 2.0, 3.0], math.nan, 0.95, "cannot be promised", id="rate that is no number"),
        pytest.param([1.0, 2.0, 3.0], 0.9, 0.95, "cannot be promised", id="nearly everything"),
    ],
)
def test_what_gives_no_limit_says_so(scores: list[float], rate: float, confidence: float, says: str) -> None:
    with pytest.raises(DataError, match=says):
        good_limit(scores, rate, confidence)


def test_equal_scores_are_their_own_limit() -> None:
    assert good_limit([4.0] * 10)[0] == 4.0


def test_the_region_limit_is_above_good_maps_and_never_above_the_score_limit() -> None:
    maps = np.random.default_rng(0).uniform(0, 1, (20, 14, 14)).astype(np.float32)
    assert 0.99 < region_limit(maps, 5.0) <= 1.0
    assert region_limit(maps, 0.7) == 0.7


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    random = np.random.default_rng(0)
    good, defective = random.integers(0, 9, 40), random.integers(3, 12, 30)
    pairs = np.mean([(d > g) + 0.5 * (d == g) for g in good for d in defective])
    assert auroc(good, defective) == pytest.approx(pairs)
    assert auroc([], defective) is None
    assert auroc(good, []) is None


def test_a_counted_rate_has_its_interval() -> None:
    rate = counted(0, 60)
    assert (rate.value, rate.low) == (0.0, 0.0)
    assert rate.high == pytest.approx(1 - 0.025 ** (1 / 60))
    assert math.isnan(counted(0, 0).value)
