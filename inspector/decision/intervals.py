"""How much a counted rate can be trusted: exact binomial intervals with nothing but the standard library.

The runtime does not depend on scipy; `tests/decision/test_intervals.py` holds these figures against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_TINY = 1e-300
_PRECISION = 1e-15
_MAX_TERMS = 20_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A rate with its confidence bounds, all from 0 to 1."""

    rate: float
    low: float
    high: float


def clopper_pearson(events: int, trials: int, confidence: float = 0.95) -> Interval:
    """Exact two-sided binomial interval (Clopper and Pearson, Biometrika 26, 1934): it covers at least `confidence`.

    With no trials nothing is known: rate NaN, bounds 0 and 1. Raises ValueError for counts or a confidence that cannot be.
    """
    if not 0 <= events <= trials:
        raise ValueError(f"got {events} events in {trials} trials, expected 0 ≤ events ≤ trials")
    if not 0 < confidence < 1:
        raise ValueError(f"got confidence {confidence}, expected more than 0 and less than 1")
    if trials == 0:
        return Interval(math.nan, 0.0, 1.0)
    tail = (1 - confidence) / 2
    low = beta_quantile(tail, events, trials - events + 1) if events else 0.0
    high = beta_quantile(1 - tail, events + 1, trials - events) if events < trials else 1.0
    return Interval(events / trials, low, high)


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Where the distribution function of Beta(a, b) reaches `probability`, by bisection to the last bit."""
    low, high = 0.0, 1.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        if beta_probability(middle, a, b) < probability:
            low = middle
        else:
            high = middle


def beta_probability(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), a and b positive.

    Continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions, evaluated by Lentz's method.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1.0 - beta_probability(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1 / (1 + d2 / (1 + …)) with the coefficients of DLMF 8.17.23."""
    value, c, d = 1.0, 1.0, 0.0
    for term in range(1, _MAX_TERMS):
        m = term // 2
        if term % 2:
            coefficient = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            coefficient = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 + coefficient * d
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = 1 + coefficient / c
        c = c if abs(c) > _TINY else _TINY
        value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value
