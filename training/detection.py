"""Probability of detection against defect size, from which defects were found and which were missed.

The model is the hit/miss model of MIL-HDBK-1823A (2009): the logit of the probability of detection (PoD) is linear in the
logarithm of the size, fitted by maximum likelihood. Confidence bounds are from the profile likelihood ratio (Venzon and
Moolgavkar, Applied Statistics 37, 1988), which holds better than the normal approximation in small sets and near 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

_MOST_DIGITS = 12
HANDBOOK_TARGETS = 60
"""Defects that MIL-HDBK-1823A asks for, at least, in a hit/miss test."""
MIN_TARGETS = 10
"""Fewer observations than this do not carry a curve with two parameters."""
_GRID = 61
_RATIO = float(stats.chi2.ppf(0.90, 1))
"""Twice the log-likelihood lost at a bound: 90 % two-sided, so that each bound alone holds with 95 %."""
_LOGIT_90 = math.log(9)
_MAX_STEPS = 50

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DetectionCurve:
    """PoD at `sizes` with pointwise bounds; each bound alone holds with 95 % confidence."""

    sizes: tuple[float, ...]
    pod: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    intercept: float
    slope: float


@dataclass(frozen=True, slots=True)
class Detection:
    """What a set of defects of known size says of the PoD.

    `targets` counts independent defects, `found` those of the `sizes` (n,) that were found (n,). `curve`, `a90` (the size
    found with 90 %) and `a90_95` (its upper bound with 95 % confidence) are None where the data does not support them, and
    `remark` says why.
    """

    sizes: tuple[float, ...]
    found: tuple[bool, ...]
    targets: float
    curve: DetectionCurve | None
    a90: float | None
    a90_95: float | None
    remark: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def probability_of_detection(
    sizes: Sequence[float], found: Sequence[bool], weights: Sequence[float] | None = None
) -> Detection:
    """Fit PoD against size. `sizes` (n,) are positive, in any unit; `found` (n,).

    `weights` (n,) let several looks at one defect count as one: their weights then add up to 1, which is exact if the looks
    always agree and cautious otherwise. Raises ValueError for sizes or weights that are not positive finite numbers.
    """
    size, hit = np.asarray(sizes, np.float64), np.asarray(found, np.bool_)
    weight = np.ones(len(size)) if weights is None else np.asarray(weights, np.float64)
    if not (np.isfinite(size).all() and (size > 0).all() and np.isfinite(weight).all() and (weight > 0).all()):
        raise ValueError("sizes and weights must be positive finite numbers")
    targets = float(weight.sum())

    def told(
        remark: str, curve: DetectionCurve | None = None, a90: float | None = None, bound: float | None = None
    ) -> Detection:
        return Detection(tuple(size.tolist()), tuple(hit.tolist()), targets, curve, a90, bound, remark)

    if reason := _no_curve(size, hit, targets):
        return told(reason)
    fit = _Likelihood(np.log(size), hit, weight)
    if fit.dependence < float(stats.chi2.ppf(0.95, 1)) or fit.slope <= 0:
        return told(
            "No curve: larger defects were not found more often than small ones, as far as this data shows "
            f"(slope {fit.slope:.2g} per unit of ln size, likelihood ratio {fit.dependence:.1f})."
        )
    curve = fit.curve(float(size.min()), float(size.max()))
    a90 = math.exp((_LOGIT_90 - fit.intercept) / fit.slope)
    if a90 > size.max():
        return told(
            f"90 % is reached beyond the largest defect of this data ({_size(size.max())}), so no a90 is given.", curve
        )
    if a90 < size.min():
        return told(
            f"90 % is reached below the smallest defect of this data ({_size(size.min())}), so no a90 is given.", curve
        )
    if targets < HANDBOOK_TARGETS:
        return told(
            f"No a90/95: {targets:.0f} independent defects; MIL-HDBK-1823A asks for at least {HANDBOOK_TARGETS}.",
            curve,
            a90,
        )
    bound = fit.largest_size_with(_LOGIT_90, math.log(a90), float(np.log(size.max())))
    if bound is None:
        return told("No a90/95: its bound lies beyond the largest defect of this data.", curve, a90)
    return told("", curve, a90, math.exp(bound))


def _no_curve(size: Floats, hit: NDArray[np.bool_], targets: float) -> str:
    """Why no curve can be fitted at all, or an empty string."""
    if not len(size):
        return "No curve: no defect of known size was judged. Masks give the sizes."
    smallest, largest = _size(size.min()), _size(size.max())
    if hit.all() or not hit.any():
        least = 0.05 ** (1 / targets)
        if hit.all():
            return (
                f"No curve: all {targets:.0f} were found, from size {smallest} to {largest}. With 95 % confidence "
                f"at least {least:.1%} of defects like these are found."
            )
        return (
            f"No curve: none of {targets:.0f} was found, from size {smallest} to {largest}. With 95 % confidence "
            f"at most {1 - least:.1%} of defects like these are found."
        )
    if targets < MIN_TARGETS:
        return f"No curve: {targets:.0f} independent defects are too few; at least {MIN_TARGETS} are needed."
    if size.max() < 1.05 * size.min():
        return "No curve: all defects are of one size."
    if size[hit].min() >= size[~hit].max():
        edge, above = float(size[~hit].max()), float(size[hit].min())
        if edge == above:
            found, of = int(hit[size == edge].sum()), int((size == edge).sum())
            return (
                f"No curve: every smaller defect than {_size(edge)} was missed and every larger one found, of that very size "
                f"{found} of {of}; defects of other sizes near it would tell how fast the PoD rises."
            )
        missed, found_from = _apart(edge, above)
        return (
            f"No curve: hits and misses are perfectly separated. Every defect up to size {missed} was missed and every one "
            f"from {found_from} on found; defects of sizes between would tell where the PoD rises."
        )
    if size[hit].max() <= size[~hit].min():
        than = "at least as large as" if size[hit].max() == size[~hit].min() else "larger than"
        return f"No curve: every defect that was missed is {than} every one that was found."
    return ""


def _size(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _apart(one: float, other: float) -> tuple[str, str]:
    """Two sizes that differ, with as many digits as it takes to see it."""
    shown, digits = (_size(one), _size(other)), 0
    while shown[0] == shown[1] and digits < _MOST_DIGITS:
        digits += 1
        shown = f"{one:,.{digits}f}", f"{other:,.{digits}f}"
    return shown


class _Likelihood:
    """The logistic likelihood of hits against x = ln size: its maximum and its profiles."""

    def __init__(self, x: Floats, hit: NDArray[np.bool_], weight: Floats) -> None:
        self._x, self._sign, self._weight = x, np.where(hit, 1.0, -1.0), weight
        middle = float(np.average(x, weights=weight))
        spread = max(float(x.std()), 1e-9)
        # Centred and scaled, the two parameters are nearly independent and Newton's method takes a handful of steps.
        scaled = (x - middle) / spread

        def objective(parameters: Any) -> Any:
            return self._with_gradient(parameters, scaled)

        best = optimize.minimize(objective, np.zeros(2), jac=True, method="BFGS", tol=1e-9)
        self.slope = float(best.x[1]) / spread
        self.intercept = float(best.x[0]) - self.slope * middle
        self.deviance = float(best.fun)
        share = float(np.average(hit, weights=weight))
        self.dependence = self._deviance(np.full(len(x), special.logit(share))) - self.deviance
        """Twice the log-likelihood gained by letting the PoD depend on size."""

    def curve(self, smallest: float, largest: float) -> DetectionCurve:
        grid = np.geomspace(smallest, largest, _GRID)
        bounds = [self._bounds(math.log(size)) for size in grid]
        return DetectionCurve(
            tuple(grid.tolist()),
            tuple(special.expit(self.intercept + self.slope * np.log(grid)).tolist()),
            tuple(float(special.expit(low)) for low, _ in bounds),
            tuple(float(special.expit(high)) for _, high in bounds),
            self.intercept,
            self.slope,
        )

    def largest_size_with(self, logit: float, estimate: float, largest: float) -> float | None:
        """The largest x, up to `largest`, at which a PoD of no more than `logit` is still credible; None if beyond it."""

        def excess(x: float) -> float:
            return self._profile(x, logit) - self.deviance - _RATIO

        if excess(largest) < 0:
            return None
        return float(optimize.brentq(excess, estimate, largest, xtol=1e-9))

    def _bounds(self, x: float) -> tuple[float, float]:
        """Bounds of the logit of the PoD at x."""
        estimate = self.intercept + self.slope * x

        def excess(logit: float) -> float:
            return self._profile(x, logit) - self.deviance - _RATIO

        return _crossing(excess, estimate, -1.0), _crossing(excess, estimate, 1.0)

    def _profile(self, x: float, logit: float) -> float:
        """The least deviance of all curves through (x, logit): Newton's method on the slope, halving steps that overshoot."""
        away = self._x - x
        slope, deviance = self.slope, self._deviance(logit + self.slope * away)
        for _ in range(_MAX_STEPS):
            missed = special.expit(-self._sign * (logit + slope * away))
            gradient = -2 * float((self._weight * self._sign * missed * away).sum())
            curvature = 2 * float((self._weight * missed * (1 - missed) * away**2).sum())
            step = -gradient / max(curvature, 1e-12)
            better = self._deviance(logit + (slope + step) * away)
            while better > deviance and abs(step) > 1e-12:
                step /= 2
                better = self._deviance(logit + (slope + step) * away)
            if deviance - better < 1e-9:
                break
            slope, deviance = slope + step, better
        return deviance

    def _deviance(self, logits: Floats) -> float:
        return float(2 * (self._weight * np.logaddexp(0.0, -self._sign * logits)).sum())

    def _with_gradient(self, parameters: Floats, x: Floats) -> tuple[float, Floats]:
        logits = parameters[0] + parameters[1] * x
        slope = -2 * self._weight * self._sign * special.expit(-self._sign * logits)
        return self._deviance(logits), np.array([slope.sum(), (slope * x).sum()])


def _crossing(excess: Callable[[float], float], start: float, direction: float) -> float:
    """Where `excess`, negative at `start`, becomes positive in `direction`; at most 40 away."""
    step = 0.5
    while excess(start + direction * step) < 0:
        step *= 2
        if step > 40:
            return start + direction * step
    return float(optimize.brentq(excess, start, start + direction * step, xtol=1e-6))


def defect_weights(parts: ArrayLike) -> Floats:
    """1 / (observations of the same part) for each of n observations: every part then counts once."""
    _, inverse, counts = np.unique(np.asarray(parts), return_inverse=True, return_counts=True)
    return 1.0 / counts[inverse]
