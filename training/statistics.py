"""The few statistics that fitting, calibration and evaluation share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn import metrics

from inspector.decision.intervals import clopper_pearson


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` of `total` with the bounds, 0 to 1, of a two-sided 95 % confidence interval on the rate."""

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The rate seen; NaN if nothing was counted."""
        return self.count / self.total if self.total else float("nan")

    def to_json(self) -> dict[str, float | int]:
        return {"count": self.count, "total": self.total, "low": self.low, "high": self.high}


def counted(count: int, total: int) -> Rate:
    """A rate with its 95 % Clopper-Pearson interval, as the inspector's own reports have it."""
    interval = clopper_pearson(count, total)
    return Rate(count, total, interval.low, interval.high)


def auroc(good: ArrayLike, defective: ArrayLike) -> float | None:
    """Probability that a defective part scores above a good one, ties counting half; None without both.

    Source: Mann and Whitney 1947; Hanley and McNeil, Radiology 1982.
    """
    low, high = np.asarray(good, np.float64), np.asarray(defective, np.float64)
    if not low.size or not high.size:
        return None
    ranks = stats.rankdata(np.concatenate([low, high]))
    return float((ranks[low.size :].sum() - high.size * (high.size + 1) / 2) / (low.size * high.size))


def worst_by_group(scores: Sequence[float], groups: Sequence[int]) -> dict[int, float]:
    """The highest score of each group: a part counts once, by its worst image."""
    worst: dict[int, float] = {}
    for score, group in zip(scores, groups, strict=True):
        worst[group] = max(score, worst.get(group, -np.inf))
    return worst


def average_precision(good: ArrayLike, defective: ArrayLike) -> float | None:
    """Area under the precision-recall curve as the sum of steps; None without both.

    Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, chapter 8; scikit-learn's
    `average_precision_score`.
    """
    low, high = np.asarray(good, np.float64), np.asarray(defective, np.float64)
    if not low.size or not high.size:
        return None
    truth = np.repeat([0, 1], [low.size, high.size])
    return float(metrics.average_precision_score(truth, np.concatenate([low, high])))


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p-value that two ways to judge the same parts err equally often, from the parts on which just one errs.

    Source: McNemar, Psychometrika 12, 1947, in the exact binomial form (Fagerland, Lydersen and Laake, BMC Medical
    Research Methodology 13:91, 2013). 1 if they never differ. Raises ValueError for negative counts.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"got {only_first} and {only_second} parts, expected counts from 0")
    differing = only_first + only_second
    return float(stats.binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0


def group_draws(groups: ArrayLike, strata: ArrayLike, draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each of n observations is in each bootstrap sample: `draws` times int64 (n,).

    Whole groups are drawn with replacement, as many from each stratum as it has: observations of one group are not
    independent. `groups` and `strata` are (n,); a group counts to the highest of its observations' strata.
    Source: Davison and Hinkley, Bootstrap Methods and their Application, 1997, sections 3.2 and 3.8.
    """
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    count = int(group_of.max()) + 1 if group_of.size else 0
    stratum = np.full(count, np.iinfo(np.int64).min)
    np.maximum.at(stratum, group_of, np.asarray(strata, np.int64))
    members = [np.flatnonzero(stratum == value) for value in np.unique(stratum)]
    random = np.random.default_rng(seed)
    for _ in range(draws):
        times = np.zeros(count, np.int64)
        for among in members:
            times += np.bincount(random.choice(among, len(among)), minlength=count)
        yield times[group_of]


def percentile_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float] | None:
    """Bounds between which `confidence` of bootstrap `values` lie; NaN values are left out, None if none is left.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if not known.size:
        return None
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def weighted_auroc(scores: ArrayLike, defective: ArrayLike, weights: ArrayLike) -> float:
    """AUROC of `scores` (n,) with truth bool (n,), each counted `weights` times; NaN unless both truths have weight."""
    values, truth = np.asarray(scores, np.float64), np.asarray(defective, np.bool_)
    counts = np.asarray(weights, np.float64)
    if not counts[truth].sum() or not counts[~truth].sum():
        return float("nan")
    return float(metrics.roc_auc_score(truth, values, sample_weight=counts))
