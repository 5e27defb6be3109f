"""A counted rate with what it may be in truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` of `total`, with the bounds, 0 to 1, of a two-sided 95 % confidence interval."""

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The rate seen; NaN if nothing was counted."""
        return self.count / self.total if self.total else math.nan

    @property
    def words(self) -> str:
        """Such as "84 % (71–92.8 %), 42 of 50"."""
        if not self.total:
            return "nothing to count"
        return (
            f"{percent(self.value)} ({percent(self.low)[:-2]}–{percent(self.high)}), {self.count:,} of {self.total:,}"
        )


def rate(count: int, total: int) -> Rate:
    """With the exact binomial interval (Clopper and Pearson, Biometrika 26, 1934). ValueError for impossible counts."""
    if not 0 <= count <= total:
        raise ValueError(f"got {count} of {total}, expected 0 ≤ count ≤ total")
    tail = (1 - CONFIDENCE) / 2
    low = float(stats.beta.ppf(tail, count, total - count + 1)) if count else 0.0
    high = float(stats.beta.ppf(1 - tail, count + 1, total - count)) if count < total else 1.0
    return Rate(count, total, low, high)


def percent(value: float) -> str:
    """ "12 %", "3.4 %", "0.25 %": as many decimals as a rate near 0 or 1 needs to be told from it."""
    if math.isnan(value):
        return "–"
    away = min(value, 1 - value) * 100
    decimals = 0 if away >= 10 or away == 0 else 1 if away >= 0.95 else 2
    return f"{value * 100:.{decimals}f} %"
