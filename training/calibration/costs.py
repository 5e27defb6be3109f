"""A limit by cost instead of promise: where rejecting good parts and passing defective ones together cost least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DataError
from inspector.inference.manifest import CostBasis, LimitBasis
from training.calibration.limits import CROSS_FITTED, MIN_PARTS, part_count
from training.calibration.tail import share_above

METHOD = "least expected cost"
MIN_DEFECTS = 5
_SAMPLES = 500
_INTERVAL = (0.05, 0.95)
_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Costs:
    """What one false reject and one escape cost, in any one currency, and the share of parts that are defective."""

    false_reject: float
    escape: float
    defect_rate: float

    def __post_init__(self) -> None:
        amounts = (self.false_reject, self.escape)
        if not all(math.isfinite(amount) and amount > 0 for amount in amounts) or not 0 < self.defect_rate < 1:
            raise DataError(
                f"a false reject at {self.false_reject:g}, an escape at {self.escape:g} and a defect rate of "
                f"{self.defect_rate:g} give no least cost: give costs above 0 and a rate between 0 and 1, such as 0.01"
            )


def cost_limit(
    good: Sequence[float],
    defects: Sequence[float],
    costs: Costs,
    confidence: float,
    *,
    cross_fitted: bool = False,
    seed: int = 0,
) -> tuple[float, LimitBasis]:
    """The limit of least expected cost per part, and its basis. One score per part, of parts the model was not fitted on.

    The share of good parts above a limit is counted, beyond the highest few by an exponential tail; that of defective
    parts below it is counted, with half a part more so that none is ever free. How uncertain limit and cost are is told by
    drawing parts anew (bootstrap, Efron 1979).
    Raises DataError for too few parts.
    """
    if len(good) < MIN_PARTS or len(defects) < MIN_DEFECTS:
        raise DataError(
            f"{len(good)} good and {len(defects)} defective parts are too few to weigh costs: at least {MIN_PARTS} and "
            f"{MIN_DEFECTS} that the model is not fitted on are needed; add some, or promise a false-reject rate instead"
        )
    low, high = np.sort(np.asarray(good, np.float64)), np.sort(np.asarray(defects, np.float64))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise DataError("the model gives parts scores that are no finite numbers; fit it again")
    limits = _candidates(low, high)
    per_part = _cost(limits, low, high, costs)
    best = int(per_part.argmin())
    random = np.random.default_rng((seed, 3))
    samples = []
    for _ in range(_SAMPLES):
        drawn = [np.sort(random.choice(values, len(values))) for values in (low, high)]
        cost = _cost(limits, drawn[0], drawn[1], costs)
        samples.append((limits[cost.argmin()], cost[best]))
    (limit_low, cost_low), (limit_high, cost_high) = np.quantile(np.array(samples), _INTERVAL, axis=0)
    cost_basis = CostBasis(
        costs.false_reject,
        costs.escape,
        costs.defect_rate,
        float(per_part[best]),
        float(cost_low),
        float(cost_high),
        float(limit_low),
        float(limit_high),
        len(high),
    )
    limit = float(limits[best])
    return limit, _basis(limit, low, high, confidence, cost_basis, cross_fitted)


def _candidates(good: NDArray[np.float64], defects: NDArray[np.float64]) -> NDArray[np.float64]:
    """Limits to choose from: between all neighbouring scores, or evenly over them if those are too many."""
    scores = np.unique(np.concatenate([good, defects]))
    span = float(np.ptp(scores)) or max(abs(float(scores[0])), 1.0)
    ends = [scores[0] - 0.01 * span, scores[-1] + 0.01 * span]
    if len(scores) > _STEPS:
        return np.linspace(ends[0], ends[1], _STEPS)
    return np.concatenate([[ends[0]], (scores[:-1] + scores[1:]) / 2, [ends[1]]])


def _cost(
    limits: NDArray[np.float64], good: NDArray[np.float64], defects: NDArray[np.float64], costs: Costs
) -> NDArray[np.float64]:
    """Expected cost per part at each limit; `good` and `defects` are sorted."""
    passed = (np.searchsorted(defects, limits, side="right") + 0.5) / (len(defects) + 1)
    rejected = share_above(good, limits)
    return np.asarray(
        costs.false_reject * (1 - costs.defect_rate) * rejected + costs.escape * costs.defect_rate * passed
    )


def _basis(
    limit: float,
    good: NDArray[np.float64],
    defects: NDArray[np.float64],
    confidence: float,
    cost: CostBasis,
    cross_fitted: bool,
) -> LimitBasis:
    rejected = part_count(int((good > limit).sum()), len(good), confidence)
    passed = part_count(int((defects <= limit).sum()), len(defects), confidence)
    statement = (
        f"The limit costs least, an estimate: {cost.cost_per_part:.3g} per part ({cost.cost_low:.3g} to {cost.cost_high:.3g} "
        f"in 90 % of bootstrap samples), if a false reject costs {cost.false_reject:g}, an escape {cost.escape:g} and "
        f"{cost.defect_rate:.3g} of parts are defective. Samples place it from {cost.limit_low:.4g} to {cost.limit_high:.4g}. "
        f"It rejects {rejected.count} of {rejected.parts} good parts (at most {rejected.bound:.2g} of them with "
        f"{confidence:.3g} confidence) and passes {passed.count} of {passed.parts} defective parts (at most "
        f"{passed.bound:.2g}), counted on the parts that chose it, which flatters a little."
    )
    if cross_fitted:
        statement += " The parts also fitted the model; each was scored by one fitted without it and its fold of parts."
    return LimitBasis(
        METHOD + (CROSS_FITTED if cross_fitted else ""),
        rejected.bound,
        confidence,
        len(good),
        False,
        statement,
        assumes="Good and defective parts to come are like these, and so are the costs and the defect rate.",
        cost=cost,
    )
