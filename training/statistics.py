"""The few statistics that fitting, calibration and evaluation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` of `total` with the bounds of a two-sided confidence interval on the rate, all 0 to 1."""

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The rate seen; NaN if nothing was counted."""
        return self.count / self.total if self.total else float("nan")


def clopper_pearson(count: int, total: int, confidence: float = 0.95) -> Rate:
    """The exact interval of Clopper and Pearson (Biometrika 1934): holds its confidence for every rate and total."""
    if not 0 <= count <= total:
        raise ValueError(f"got {count} of {total}, expected a count from 0 to the total")
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, count, total - count + 1)) if count > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, count + 1, total - count)) if count < total else 1.0
    return Rate(count, total, low, high)


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
