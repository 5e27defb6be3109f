"""A limit from the scores of good parts alone, with what it promises and on what grounds.

With enough parts the limit is an order statistic and the promise holds whatever the distribution of scores (Wilks 1941).
With fewer it rests on the shape of the tail, and says so, with how many more parts would do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from inspector.errors import DataError
from inspector.inference.manifest import LimitBasis, PartCount
from training.calibration.tail import tail_bound

MIN_PARTS = 3
DISTRIBUTION_FREE = "order statistic (Wilks 1941)"
TAIL = "exponential tail over a threshold"
CROSS_FITTED = ", cross-fitted"
_FOR_ANY = "This holds for any distribution of scores, for parts drawn like these."
_REGION_QUANTILE = 0.999
_LOTS_DIFFER_AT = 0.05
_HIGH = 0.8
"""Lots are compared by their share of scores above this quantile: high enough to speak of the tail, with enough to count."""


def check_promise(false_reject_rate: float, confidence: float) -> None:
    """Raise DataError for a rate and a confidence that no limit can be set by."""
    if not 1e-6 <= false_reject_rate < 0.5 or not 0.5 <= confidence < 1:
        raise DataError(
            f"a false-reject rate of {false_reject_rate} with a confidence of {confidence} cannot be promised: give a rate "
            "from 0.000001 to below 0.5 and a confidence from 0.5 to below 1"
        )


def parts_needed(false_reject_rate: float, confidence: float) -> int:
    """Good parts from which the largest score of all is a proven limit: the least n with 1 - (1 - rate)^n ≥ confidence."""
    return math.ceil(math.log(1 - confidence) / math.log1p(-false_reject_rate))


def good_limit(
    scores: Sequence[float],
    false_reject_rate: float = 0.01,
    confidence: float = 0.95,
    *,
    cross_fitted: bool = False,
    lots: Sequence[object] = (),
) -> tuple[float, LimitBasis]:
    """A limit that at most `false_reject_rate` of good parts exceed, with `confidence`, and its basis.

    `scores` has one score per good part, none of which the model was fitted on: parts must be independent, so several
    images of one part count once. `lots` names the lot of each part, nothing if that is not known: where lots differ,
    their parts count for less. If the scores are `cross_fitted`, each comes from a model fitted without that part but not
    from the final one; the limit is then never called guaranteed.
    Raises DataError for too few parts, or for scores and shares that are no such numbers.
    """
    check_promise(false_reject_rate, confidence)
    values = _checked(scores, parts_needed(false_reject_rate, confidence))
    drawn = _draws(np.asarray(scores, np.float64), lots)
    enough = int(drawn.effective) >= parts_needed(false_reject_rate, confidence)
    limit, basis = (_proven_limit if enough else _tail_limit)(values, false_reject_rate, confidence, drawn)
    if cross_fitted:
        return limit, _as_cross_fitted(basis)
    if not enough:
        needed = basis.good_parts_needed
        more = f" {needed - len(values)} more good parts ({needed} to set the limit) would prove it."
        basis = replace(basis, statement=basis.statement + more)
    return limit, basis


def lots_differ(scores: Sequence[float], lots: Sequence[object]) -> bool:
    """Whether parts of several lots score too differently to count as drawn one by one (Kruskal and Wallis 1952, 5 %)."""
    return len(set(lots)) > 1 and _differ(np.asarray(scores, np.float64), lots)


def region_limit(maps: NDArray[np.float32], score_limit: float) -> float:
    """The map value that outlines findings: above almost all of good parts, never above the score limit.

    `maps` is float32 (n, rows, columns) of good parts that the model was not fitted on.
    """
    return min(float(np.quantile(maps, _REGION_QUANTILE)), score_limit)


def part_count(count: int, parts: int, confidence: float) -> PartCount:
    """Parts counted, with the one-sided upper bound of Clopper and Pearson (Biometrika 26, 1934) on their share."""
    bound = 1.0 if count == parts else float(stats.beta.ppf(confidence, count + 1, parts - count))
    return PartCount(count, parts, bound)


def with_counts(
    basis: LimitBasis,
    tested: PartCount | None,
    escapes: PartCount | None,
    fold_shift: float | None = None,
    *,
    of_differing_lots: bool = False,
) -> LimitBasis:
    """The basis with what the limit did on parts that did not set it; None where there are none.

    `fold_shift` is how much higher the final model scores good test images than the models of the folds, as a median. Of
    lots that differ the bounds are too low, as parts of one lot are alike, and are no claim.
    """
    statement, assumes = basis.statement, basis.assumes
    doubt = ", if lots did not differ, which they do" if of_differing_lots else ""
    if fold_shift is not None:
        assumes += f" On good test images the final model's scores differ from theirs by {fold_shift:+.3g} (median)."
    if tested is not None:
        claim = doubt or ", for any distribution of scores"
        statement += (
            f" Of {tested.parts} good parts that neither fitted the model nor set the limit it rejects {tested.count}: at "
            f"most {tested.bound:.2g} of good parts with {basis.confidence:.3g} confidence{claim}."
        )
    if escapes is None:
        statement += " How many defective parts pass is not known: no defective parts were there to count."
    else:
        statement += (
            f" Of {escapes.parts} defective parts, each scored by a model that was not fitted on it, {escapes.count} pass: at "
            f"most {escapes.bound:.2g} of such defects with {basis.confidence:.3g} confidence{doubt}."
        )
    return replace(basis, statement=statement, assumes=assumes, tested=tested, escapes=escapes)


def of_pictures_with_areas_to_ignore(basis: LimitBasis, filled: int, pictures: int) -> LimitBasis:
    """The basis if `filled` of the `pictures` that set the limit were scored without areas to ignore.

    The line knows no such areas and judges them too, so nothing is guaranteed then.
    """
    if not filled:
        return basis
    told = f"{filled} of {pictures} pictures that set the limit were scored without areas to ignore, which the line judges."
    return replace(_without_guarantee(basis), assumes=f"{basis.assumes} {told}".strip())


@dataclass(frozen=True, slots=True)
class _Draws:
    """What parts count for: as many independent draws as they are worth, and what that takes for granted."""

    effective: float
    lots_differ: bool
    assumes: str


def _draws(scores: NDArray[np.float64], lots: Sequence[object]) -> _Draws:
    """Parts of lots that differ are worth fewer independent ones: their number over the design effect (Kish 1965)."""
    count = len(scores)
    if not lots:
        return _Draws(
            count,
            False,
            "Parts were drawn independently, like those to come; lots are not known, so lot-to-lot change is not in it.",
        )
    names = Counter(lots)
    if len(names) < 2:
        return _Draws(
            count, False, "All parts are of one lot: nothing is known of other lots, whose scores may be higher."
        )
    if not _differ(scores, lots):
        return _Draws(
            count,
            False,
            f"Parts were drawn independently, like those to come; their {len(names)} lots show no difference "
            "(Kruskal-Wallis, 5 %), which cannot see a lot that has a few more odd parts than others.",
        )
    effect = _design_effect(scores, lots)
    return _Draws(
        count / effect,
        True,
        f"The {len(names)} lots differ (Kruskal-Wallis, 5 %): {count} parts count as {count / effect:.0f} independent ones, "
        "by a design effect that is itself estimated. Lots to come are like these.",
    )


def _differ(scores: NDArray[np.float64], lots: Sequence[object]) -> bool:
    groups = [scores[[lot == name for lot in lots]] for name in dict.fromkeys(lots)]
    if np.ptp(scores) == 0:
        return False
    return bool(stats.kruskal(*groups).pvalue < _LOTS_DIFFER_AT)


def _design_effect(scores: NDArray[np.float64], lots: Sequence[object]) -> float:
    """How much more the share of high scores varies from lot to lot than if parts were independent; at least 1."""
    high = (scores > np.quantile(scores, _HIGH)).astype(np.float64)
    share = high.mean()
    if share == 0:
        return 1.0
    sums: dict[object, float] = {}
    for lot, value in zip(lots, high, strict=True):
        sums[lot] = sums.get(lot, 0.0) + float(value - share)
    between = sum(total * total for total in sums.values()) * len(sums) / (len(sums) - 1)
    return max(1.0, between / float(len(scores) * share * (1 - share)))


def _checked(scores: Sequence[float], needed: int) -> NDArray[np.float64]:
    values = np.sort(np.asarray(scores, np.float64))
    if len(values) < MIN_PARTS:
        raise DataError(
            f"{len(values)} good parts are too few to set a limit: at least {MIN_PARTS} are needed for a guess and "
            f"{needed} for a promise; add images of more good parts"
        )
    if not np.isfinite(values).all():
        raise DataError("the model gives good parts scores that are no finite numbers; fit it again")
    return values


def _proven_limit(
    values: NDArray[np.float64], rate: float, confidence: float, drawn: _Draws
) -> tuple[float, LimitBasis]:
    """The lowest order statistic that holds.

    With k scores above the limit, the share of good parts above it is Beta(k + 1, n - k) distributed, whatever the scores'
    distribution; it stays under the rate with probability P(Binomial(n, rate) > k).
    """
    count, effective = len(values), int(drawn.effective)
    allowed = np.arange(effective)
    holds = stats.binom.sf(allowed, effective, rate) >= confidence
    # Of parts that count for less, as many more may be above.
    above = int(int(allowed[holds].max()) * count / drawn.effective)
    limit = float(values[count - 1 - above])
    above = int((values > limit).sum())  # fewer where scores are tied
    statement = (
        f"At most {rate:.3g} of good parts are rejected, with {confidence:.3g} confidence: the limit is exceeded by "
        f"{above} of {count} good parts that the model was not fitted on. "
    )
    if drawn.lots_differ:
        statement += "An estimate, not a promise: lots differ, and how much is known only from these lots."
    else:
        statement += _FOR_ANY
    needed = parts_needed(rate, confidence)
    return limit, LimitBasis(
        DISTRIBUTION_FREE, rate, confidence, count, not drawn.lots_differ, statement, needed, drawn.assumes
    )


def _tail_limit(values: NDArray[np.float64], rate: float, confidence: float, drawn: _Draws) -> tuple[float, LimitBasis]:
    """The upper confidence bound of an exponential tail, never below what the parts themselves allow."""
    count = len(values)
    bound = tail_bound(values, rate, confidence, drawn.effective)
    # Of the parts that the limit comes from, too, no more than the rate may be above it.
    limit = max(bound.limit, float(values[-1 - int(rate * count)]))
    above = int((values > limit).sum())
    needed = math.ceil(parts_needed(rate, confidence) * count / drawn.effective)
    proven = part_count(
        min(math.ceil(above * drawn.effective / count), int(drawn.effective)), int(drawn.effective), confidence
    )
    statement = (
        f"About {rate:.3g} of good parts may be rejected: an estimate, not a promise. {count} good parts are too few to prove "
        f"it with {confidence:.3g} confidence. If the {bound.scores} highest scores fall off exponentially, {rate:.3g} of good "
        f"parts score above {min(bound.estimate, limit):.4g}; the limit is higher, at the {confidence:.3g} confidence bound of "
        f"that figure, and {above} of {count} exceed it. Under heavier tails more are rejected; whatever the "
        f"tail, at most {proven.bound:.2g} with {confidence:.3g} confidence."
    )
    assumes = f"Scores above the threshold fall off exponentially or faster. {drawn.assumes}"
    return limit, LimitBasis(TAIL, rate, confidence, count, False, statement, needed, assumes)


def _as_cross_fitted(basis: LimitBasis) -> LimitBasis:
    """The same basis without the guarantee: the scores are of models that differ, each part's from one without it."""
    note = (
        " The parts also fitted the model; each was scored by one fitted without it and its fold of parts. "
        f"{basis.good_parts_needed} good parts that the model was not fitted on would prove it: collect them and "
        "set the limit anew with inspector-train recalibrate, or hold as many out with --calibration-fraction."
    )
    assumes = "The final model scores parts it has not seen no higher than the models of the folds do. "
    basis = _without_guarantee(basis)
    return replace(
        basis,
        method=basis.method + CROSS_FITTED,
        statement=basis.statement + note,
        assumes=assumes + basis.assumes,
    )


def _without_guarantee(basis: LimitBasis) -> LimitBasis:
    said = basis.statement
    if basis.guaranteed:
        said = said.replace("At most", "An estimate, not a promise: at most", 1).replace(f" {_FOR_ANY}", "")
    return replace(basis, guaranteed=False, statement=said)
