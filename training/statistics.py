"""The few statistics that fitting, calibration and evaluation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

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
