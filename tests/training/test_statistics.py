"""Statistics of evaluation against published worked examples and against scipy, scikit-learn and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from training.detection import HANDBOOK_TARGETS, Detection, defect_weights, probability_of_detection
from training.statistics import (
    auroc,
    average_precision,
    group_draws,
    mcnemar_exact,
    percentile_interval,
    weighted_auroc,
)

MCNEMAR = [
    pytest.param(1, 9, 0.021484375, id="statsmodels 0.15 mcnemar(exact=True)"),
    pytest.param(9, 1, 0.021484375, id="the order does not matter"),
    pytest.param(4, 14, 0.0308837890625, id="statsmodels again"),
    pytest.param(0, 5, 0.0625, id="five against none is not yet significant: 2 / 2^5"),
    pytest.param(7, 7, 1.0, id="a tie"),
    pytest.param(0, 0, 1.0, id="they never differ"),
]


@pytest.mark.parametrize(("only_first", "only_second", "expected"), MCNEMAR)
def test_mcnemar(only_first: int, only_second: int, expected: float) -> None:
    assert mcnemar_exact(only_first, only_second) == pytest.approx(expected, rel=1e-12)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="expected counts from 0"):
        mcnemar_exact(-1, 3)


def test_average_precision_by_hand_and_without_one_side() -> None:
    """Ranked D G D G: precision 1 at recall 1/2, 2/3 at recall 1: their mean is 5/6."""
    assert average_precision([3.0, 1.0], [4.0, 2.0]) == pytest.approx(5 / 6)
    assert average_precision([1.0], []) is None
    assert average_precision([], [1.0]) is None


def test_weighted_auroc_is_auroc_of_repeated_observations() -> None:
    random = np.random.default_rng(1)
    scores, truth, times = random.integers(0, 6, 40), random.random(40) < 0.4, random.integers(0, 4, 40)
    repeated, repeated_truth = np.repeat(scores, times), np.repeat(truth, times)
    expected = auroc(repeated[~repeated_truth], repeated[repeated_truth])
    assert weighted_auroc(scores, truth, times) == pytest.approx(expected)
    assert math.isnan(weighted_auroc(scores, truth, np.where(truth, 1, 0)))


def test_a_bootstrap_draws_whole_groups_and_keeps_the_strata() -> None:
    groups = np.array([5, 5, 5, 7, 8, 8, 9])
    strata = np.array([0, 0, 1, 0, 0, 0, 1])  # group 5 has one defective image, so all of it is of stratum 1
    draws = list(group_draws(groups, strata, 200, seed=4))
    assert len(draws) == 200
    for times in draws:
        assert times[0] == times[1] == times[2]
        assert times[4] == times[5]
        assert times[0] + times[6] == 2
        assert times[3] + times[4] == 2
    assert len({tuple(times) for times in draws}) == 9
    again = list(group_draws(groups, strata, 200, seed=4))
    assert all((a == b).all() for a, b in zip(draws, again, strict=True))


def test_bootstrap_by_group_is_wider_than_by_image_when_images_of_a_part_agree() -> None:
    """Ten parts of twelve equal images each: the error of the mean is that of ten values, not of 120."""
    values = np.repeat(np.random.default_rng(0).normal(size=10), 12)
    by_part = [np.average(values, weights=w) for w in group_draws(np.repeat(range(10), 12), np.zeros(120), 2000, 0)]
    by_image = [np.average(values, weights=w) for w in group_draws(np.arange(120), np.zeros(120), 2000, 0)]
    expected = values.std() / math.sqrt(10)
    assert np.std(by_part) == pytest.approx(expected, rel=0.06)
    assert np.std(by_image) == pytest.approx(expected / math.sqrt(12), rel=0.06)


def test_percentile_interval() -> None:
    assert percentile_interval([*range(101), math.nan], 0.9) == pytest.approx((5, 95))
    assert percentile_interval([math.nan]) is None
    assert percentile_interval([]) is None


# Temperature (°F) and thermal distress of the 23 shuttle flights before Challenger: Dalal, Fowlkes and Hoadley, Journal of
# the American Statistical Association 84, 1989. Distress grows as the temperature falls.
TEMPERATURE_F = [66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58]
DISTRESS = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]


def test_the_logistic_fit_is_the_published_one() -> None:
    """R's glm gives intercept 15.0429 and slope -0.2322 per °F: as 100 - T = ln of a size, slope +0.2322."""
    sizes = np.exp(100 - np.array(TEMPERATURE_F, float))
    fit = probability_of_detection(sizes.tolist(), [bool(d) for d in DISTRESS])
    assert fit.curve is not None
    assert fit.curve.slope == pytest.approx(0.2322, abs=5e-5)
    assert fit.curve.intercept == pytest.approx(15.0429 - 23.2163, abs=1e-3)


def _simulated(count: int, seed: int, slope: float = 2.5, a50: float = 2.2) -> tuple[list[float], list[bool]]:
    random = np.random.default_rng(seed)
    sizes = random.lognormal(1.0, 0.7, count)
    return sizes.tolist(), (random.random(count) < 1 / (1 + (sizes / a50) ** -slope)).tolist()


def test_a90_95_lies_above_the_true_a90_at_its_confidence() -> None:
    """PoD 0.9 is at a50 · 9^(1 / slope) = 5.30. Of 60 data sets about 95 % must have their bound above it."""
    truth, held, given = 2.2 * 9 ** (1 / 2.5), 0, 0
    for seed in range(60):
        fit = probability_of_detection(*_simulated(120, seed))
        given += fit.a90 is not None
        held += fit.a90 is not None and (fit.a90_95 is None or fit.a90_95 >= truth)
    assert given == 60
    assert stats.binomtest(held, given, 0.95).pvalue > 0.01


def test_the_lower_band_holds_where_the_curve_is_steep() -> None:
    """At the size that is found half of the time the lower bound must lie below 0.5 in about 95 % of data sets."""
    below = 0
    for seed in range(40):
        curve = probability_of_detection(*_simulated(80, seed)).curve
        assert curve is not None
        below += float(np.interp(2.2, curve.sizes, curve.low)) <= 0.5
    assert stats.binomtest(below, 40, 0.95).pvalue > 0.01


def test_looks_at_one_part_count_as_one() -> None:
    """Every part photographed three times with the same outcome gives the very result of one picture each."""
    sizes, found = _simulated(80, 3)
    once = probability_of_detection(sizes, found)
    weights = defect_weights(np.repeat(np.arange(80), 3)).tolist()
    thrice = probability_of_detection(np.repeat(sizes, 3).tolist(), np.repeat(found, 3).tolist(), weights)
    assert thrice.targets == pytest.approx(once.targets)
    assert once.a90_95 is not None
    assert thrice.a90_95 == pytest.approx(once.a90_95, rel=1e-4)


UNSUPPORTED = [
    pytest.param([], [], "no defect of known size", id="nothing"),
    pytest.param([1.0] * 30, [True] * 30, "all 30 were found", id="all found"),
    pytest.param([1.0, 2.0], [False] * 2, "none of 2 was found", id="none found"),
    pytest.param([1.0, 2.0, 3.0], [False, True, False], "too few", id="three defects"),
    pytest.param([5.0] * 20, [True, False] * 10, "one size", id="no spread"),
    pytest.param([*range(1, 21)], [False] * 10 + [True] * 10, "perfectly separated", id="separated"),
    pytest.param(
        [*range(1, 10), *[10] * 4, *range(11, 20)],
        [False] * 10 + [True] * 12,
        "every smaller defect than 10 was missed and every larger one found, of that very size 3 of 4",
        id="separated but for one size that was found and missed",
    ),
    pytest.param(
        [1.2341 - 1e-4 * n for n in range(10)] + [1.2342 + 0.1 * n for n in range(10)],
        [False] * 10 + [True] * 10,
        "up to size 1.2341 was missed and every one from 1.2342 on",
        id="sizes that three digits do not tell apart",
    ),
    pytest.param(
        [*range(900, 1900, 50)],
        [False] * 10 + [True] * 10,
        "up to size 1,350 was missed and every one from 1,400 on",
        id="sizes beyond a thousand",
    ),
    pytest.param(
        [*range(1, 11), *range(10, 20)], [True] * 10 + [False] * 10, "at least as large as", id="reversed, tied"
    ),
    pytest.param([*range(1, 21)], [True] * 10 + [False] * 10, "larger than", id="separated the wrong way"),
    pytest.param([*range(1, 41)], [True, False] * 20, "not found more often", id="size does not matter"),
]


@pytest.mark.parametrize(("sizes", "found", "says"), UNSUPPORTED)
def test_what_the_data_does_not_support_is_said(sizes: list[float], found: list[bool], says: str) -> None:
    fit = probability_of_detection(sizes, found)
    assert (fit.curve, fit.a90, fit.a90_95) == (None, None, None)
    assert says in fit.remark


def test_all_found_still_bounds_the_pod() -> None:
    """29 of 29 is the handbook's classic demonstration of 90 % with 95 % confidence: 0.05^(1/29) = 0.902."""
    assert "90.2%" in probability_of_detection([2.0] * 29, [True] * 29).remark


def _withheld(fit: Detection) -> bool:
    return fit.curve is not None and fit.a90_95 is None


def test_a90_95_is_withheld_below_the_handbooks_count_and_beyond_the_data() -> None:
    few = probability_of_detection(*_simulated(HANDBOOK_TARGETS - 1, 0))
    assert _withheld(few)
    assert "at least 60" in few.remark
    hard = probability_of_detection(*_simulated(200, 0, a50=20.0))
    assert _withheld(hard)
    assert hard.a90 is None
    assert "beyond the largest" in hard.remark


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_sizes_must_be_sizes(bad: float) -> None:
    with pytest.raises(ValueError, match="positive finite"):
        probability_of_detection([1.0, bad], [True, False])


def test_auroc_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(2)
    good, defective = random.integers(0, 9, 50), random.integers(3, 12, 30)
    truth = np.repeat([0, 1], [50, 30])
    assert auroc(good, defective) == pytest.approx(metrics.roc_auc_score(truth, np.concatenate([good, defective])))
