"""A limit from the scores of good parts alone, with what it promises and on what grounds.

With enough parts the limit is an order statistic and the promise holds whatever the distribution of scores (Wilks 1941).
With fewer it rests on the shape of the tail, and says so, with how many more parts would do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from inspector.errors import DataError
from inspector.inference.manifest import LimitBasis

MIN_PARTS = 3
DISTRIBUTION_FREE = "order statistic (Wilks 1941)"
TAIL = "exponential tail over a threshold"
CROSS_FITTED = ", cross-fitted"
_DRAWS = 20_000
_REGION_QUANTILE = 0.999


def check_promise(false_reject_rate: float, confidence: float) -> None:
    """Raise DataError for a rate and a confidence that no limit can be set by."""
    if not 0 < false_reject_rate < 0.5 or not 0.5 <= confidence < 1:
        raise DataError(
            f"a false-reject rate of {false_reject_rate} with a confidence of {confidence} cannot be promised: give a rate "
            "between 0 and 0.5 and a confidence from 0.5 to below 1"
        )


def parts_needed(false_reject_rate: float, confidence: float) -> int:
    """Good parts from which the largest score of all is a proven limit: the least n with 1 - (1 - rate)^n ≥ confidence."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - false_reject_rate))


def good_limit(
    scores: Sequence[float],
    false_reject_rate: float = 0.01,
    confidence: float = 0.95,
    *,
    cross_fitted: bool = False,
) -> tuple[float, LimitBasis]:
    """A limit that at most `false_reject_rate` of good parts exceed, with `confidence`, and its basis.

    `scores` has one score per good part, none of which the model was fitted on: parts must be independent, so several
    images of one part count once. If they are `cross_fitted`, each comes from a model fitted without that part but not
    from the final one; the limit is then never called guaranteed.
    Raises DataError for too few parts, or for scores and shares that are no such numbers.
    """
    values = _checked(scores, false_reject_rate, confidence)
    needed = parts_needed(false_reject_rate, confidence)
    enough = len(values) >= needed
    limit, basis = (_proven_limit if enough else _tail_limit)(values, false_reject_rate, confidence)
    return limit, _as_cross_fitted(basis) if cross_fitted else basis


def region_limit(maps: NDArray[np.float32], score_limit: float) -> float:
    """The map value that outlines findings: above almost all of good parts, never above the score limit.

    `maps` is float32 (n, rows, columns) of good parts that the model was not fitted on.
    """
    return min(float(np.quantile(maps, _REGION_QUANTILE)), score_limit)


def _checked(scores: Sequence[float], false_reject_rate: float, confidence: float) -> NDArray[np.float64]:
    check_promise(false_reject_rate, confidence)
    values = np.sort(np.asarray(scores, np.float64))
    if len(values) < MIN_PARTS:
        raise DataError(
            f"{len(values)} good parts are too few to set a limit: at least {MIN_PARTS} are needed for a guess and "
            f"{parts_needed(false_reject_rate, confidence)} for a promise; add images of more good parts"
        )
    if not np.isfinite(values).all():
        raise DataError("the model gives good parts scores that are no finite numbers; fit it again")
    return values


def _proven_limit(values: NDArray[np.float64], rate: float, confidence: float) -> tuple[float, LimitBasis]:
    """The lowest order statistic that holds.

    With k scores above the limit, the share of good parts above it is Beta(k + 1, n - k) distributed, whatever the scores'
    distribution; it stays under the rate with probability P(Binomial(n, rate) > k).
    """
    count = len(values)
    allowed = np.arange(count)
    holds = stats.binom.sf(allowed, count, rate) >= confidence
    above = int(allowed[holds].max())
    limit = float(values[count - 1 - above])
    statement = (
        f"At most {rate:.3g} of good parts are rejected, with {confidence:.3g} confidence: the limit is exceeded by "
        f"{above} of {count} good parts that the model was not fitted on. This holds for any distribution of scores, for "
        "parts drawn like these."
    )
    return limit, LimitBasis(
        DISTRIBUTION_FREE, rate, confidence, count, True, statement, parts_needed(rate, confidence)
    )


def _tail_limit(values: NDArray[np.float64], rate: float, confidence: float) -> tuple[float, LimitBasis]:
    """An upper confidence bound of the score's (1 - rate) quantile under a tail that falls off exponentially.

    Peaks over a threshold, generalised Pareto with shape 0 (Pickands 1975): of a few dozen parts the shape cannot be
    estimated, and 0 lies on the safe side of normal and of bounded tails. For the k highest scores over the next, u, the
    mean excess is Gamma(k) distributed about its true value and the share above u is Beta(k + 1, n - k); the bound is
    the `confidence` quantile of both together, from seeded draws.
    """
    count = len(values)
    tail = min(max(3, int(2 * math.sqrt(count))), count - 1)
    threshold = values[-tail - 1]
    random = np.random.default_rng(0)
    share_above = random.beta(tail + 1, count - tail, _DRAWS)
    mean_excess = random.standard_gamma(tail, _DRAWS) / tail
    factor = float(np.quantile(np.log(share_above / rate) / mean_excess, confidence))
    # Of the parts that the limit comes from, too, no more than the rate may be above it.
    least = values[-1 - int(rate * count)]
    limit = max(float(threshold + factor * (values[-tail:] - threshold).mean()), float(least))
    above = int((values > limit).sum())
    needed = parts_needed(rate, confidence)
    statement = (
        f"About {rate:.3g} of good parts may be rejected: an estimate, not a promise. {count} good parts are too few to prove "
        f"it with {confidence:.3g} confidence; the limit, which {above} of {count} exceed, assumes that the {tail} highest "
        f"scores fall off exponentially. {needed - count} more good parts ({needed} to set the limit) would prove it."
    )
    return limit, LimitBasis(TAIL, rate, confidence, count, False, statement, needed)


def _as_cross_fitted(basis: LimitBasis) -> LimitBasis:
    """The same basis without the guarantee: the scores are of models that differ, each part's from one without it."""
    note = (
        " The parts also fitted the model; each was scored by one fitted without it (5 folds), which judges more strictly "
        "than the final model."
    )
    return replace(basis, method=basis.method + CROSS_FITTED, guaranteed=False, statement=basis.statement + note)
