"""What the highest of a few dozen scores say of those to come: a bound for the tail, and which scores do not belong to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_DRAWS = 20_000
_SHARES = (1.0, 2.0)
"""Tails of √n and of 2√n scores: a tail heavier than exponential shows in that the shorter one reaches farther."""
_ODD_AT = 0.01
_MOST_ODD = 0.1


@dataclass(frozen=True, slots=True)
class TailBound:
    """`limit` is an upper confidence bound of the quantile, `estimate` the quantile's best estimate, from `scores` scores."""

    limit: float
    estimate: float
    scores: int


def tail_bound(values: NDArray[np.float64], rate: float, confidence: float, effective: float = 0.0) -> TailBound:
    """An upper confidence bound of the score's (1 - rate) quantile under a tail that falls off exponentially.

    `values` are sorted, float64 (n,), n ≥ 2. Peaks over a threshold, generalised Pareto with shape 0 (Pickands 1975): of a
    few dozen parts the shape cannot be estimated, and 0 lies on the safe side of normal and of bounded tails. For the k
    highest scores over the next, u, the mean excess is Gamma(k) distributed about its true value and the share above u is
    Beta(k + 1, n - k); the bound is the `confidence` quantile of both together, from seeded draws. It is taken for two k,
    and the higher one counts, so that a somewhat heavier tail (lognormal) is covered too.

    `effective` is what the n scores are worth as independent ones, 0 for n.
    """
    worth = (effective or len(values)) / len(values)
    limit, estimate, longest = -math.inf, -math.inf, 0
    for share in _SHARES:
        tail = min(max(3, int(share * math.sqrt(len(values)))), len(values) - 1)
        threshold = float(values[-tail - 1])
        mean_excess = float((values[-tail:] - threshold).mean())
        factor = _factor(len(values) * worth, tail * worth, rate, confidence)
        limit = max(limit, threshold + factor * mean_excess)
        estimate = max(estimate, threshold + math.log(tail / len(values) / rate) * mean_excess)
        longest = tail
    return TailBound(limit, estimate, longest)


@lru_cache(maxsize=4096)
def _factor(count: float, tail: float, rate: float, confidence: float) -> float:
    """How many mean excesses above the threshold the bound lies."""
    random = np.random.default_rng(0)
    share_above = random.beta(tail + 1, max(count - tail, 0.5), _DRAWS)
    mean_excess = random.standard_gamma(tail, _DRAWS) / tail
    return float(np.quantile(np.log(share_above / rate) / mean_excess, confidence))


def share_above(values: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimated share of scores above each limit: counted where there are enough, an exponential tail beyond; float64.

    `values` are sorted, float64 (n,), n ≥ 2; `limits` float64 of any shape.
    """
    tail = min(max(3, int(2 * math.sqrt(len(values)))), len(values) - 1)
    threshold = values[-tail - 1]
    mean_excess = max(float((values[-tail:] - threshold).mean()), 1e-12)
    counted = 1 - np.searchsorted(values, limits, side="right") / len(values)
    beyond = tail / len(values) * np.exp(-np.maximum(limits - threshold, 0.0) / mean_excess)
    return np.asarray(np.where(limits > threshold, beyond, counted))


def odd_scores(values: NDArray[np.float64]) -> int:
    """How many of the highest scores are too high for the tail of the others; 0 if none is.

    `values` are sorted, float64 (n,). In an exponential tail the gap below the m-th highest score, times m, is distributed
    as the mean excess (Rényi 1953), so that its ratio to the other gaps' sum T over k scores has P = (1 + m gap / T)^-k.
    The largest m counts whose P is below 1 %, shared among all m that are looked at (Kimber 1982: outward, as several odd
    scores hide each other otherwise).
    """
    most = min(int(_MOST_ODD * len(values)), len(values) - 5)
    found = 0
    for odd in range(1, most + 1):
        rest = values[: len(values) - odd]
        tail = min(max(3, int(2 * math.sqrt(len(values)))), len(rest) - 1)
        top, threshold = rest[-1], rest[-tail - 1]
        others = float((rest[-tail:] - threshold).sum() + odd * (top - threshold))
        gap = float(odd * (values[-odd] - top))
        if others > 0 and (1 + gap / others) ** -tail < _ODD_AT / most:
            found = odd
    return found
