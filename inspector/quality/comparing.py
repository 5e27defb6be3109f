"""Two bundles on the same parts: who errs where, what chance explains, and what another limit would change.

A part counts as wrong if any of its images is, as in the reports of `inspector-train`. With limit L a good part is a false
reject if its highest score is above L, a defective part escapes if its lowest is not. A part that a bundle could not score is
UNKNOWN, and counts neither as escape nor as false reject.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from inspector.quality.rates import CONFIDENCE, Rate, rate

SIGNIFICANT = 0.05
GOOD = "good"


@dataclass(frozen=True, slots=True)
class ComparedPart:
    """A physical part with the scores that decide on it, A's and B's: the highest of a good one, the lowest of a defective.

    None where the bundle scored none of its images.
    """

    number: int
    label: str
    lot: str
    scores: tuple[float | None, float | None]

    @property
    def is_good(self) -> bool:
        return self.label == GOOD

    def errs(self, side: int, limit: float) -> bool:
        """Whether bundle `side` (0 or 1) judges it wrongly with this limit."""
        score = self.scores[side]
        return score is not None and (score > limit) == self.is_good


@dataclass(frozen=True, slots=True)
class Errors:
    """What one bundle does wrongly with its limit: defective parts that pass, good parts that are rejected."""

    escapes: Rate
    false_rejects: Rate


@dataclass(frozen=True, slots=True)
class Paired:
    """One kind of error of both on the same parts; `p` is of McNemar's exact test of the parts on which only one errs."""

    name: str
    first: Rate
    second: Rate
    only_first: int
    only_second: int
    p: float

    @property
    def words(self) -> str:
        """What can be said: that B is better or worse, or that no difference can be shown."""
        if not self.first.total:
            return f"{self.name}: there are no parts to tell by"
        shown = "no difference can be shown"
        if self.p < SIGNIFICANT:
            shown = "B is better" if self.only_first > self.only_second else "B is worse"
        return (
            f"{self.name}: A {self.first.words}; B {self.second.words}; {self.only_first} only A, {self.only_second} only B; "
            f"McNemar's exact test p = {self.p:.3g}: {shown}"
        )


@dataclass(frozen=True, slots=True)
class Curve:
    """Escape and false-reject rates of one bundle by limit, each float64 (n,), with 95 % Clopper-Pearson bounds."""

    limits: NDArray[np.float64]
    escapes: NDArray[np.float64]
    escapes_low: NDArray[np.float64]
    escapes_high: NDArray[np.float64]
    false_rejects: NDArray[np.float64]
    false_rejects_low: NDArray[np.float64]
    false_rejects_high: NDArray[np.float64]


def parts_of(images: Iterable[tuple[int, str, str, float | None, float | None]]) -> list[ComparedPart]:
    """Parts of images that are part, label, lot, and both scores. A part is good if all its images are."""
    by_part: dict[int, list[tuple[str, str, float | None, float | None]]] = defaultdict(list)
    for part, *rest in images:
        by_part[part].append(tuple(rest))  # type: ignore[arg-type]
    found = []
    for number, some in sorted(by_part.items()):
        bad = [one for one in some if one[0] != GOOD]
        of = bad or some
        choose: Callable[[Sequence[float]], float] = min if bad else max
        sides = ([one[2 + side] for one in of] for side in (0, 1))
        scores = [[float(value) for value in side if isinstance(value, float | int)] for side in sides]
        first, second = (choose(side) if side else None for side in scores)
        found.append(ComparedPart(number, of[0][0], of[0][1], (first, second)))
    return found


def errors(parts: Sequence[ComparedPart], side: int, limit: float) -> Errors:
    """How often one bundle errs with a limit."""
    escapes, false_rejects = (
        rate(sum(part.errs(side, limit) for part in some), len(some)) for some in (_of(parts, False), _of(parts, True))
    )
    return Errors(escapes, false_rejects)


def paired(parts: Sequence[ComparedPart], limits: tuple[float, float]) -> tuple[Paired, Paired]:
    """Escapes and false rejects of both bundles, each with its limit."""
    found = []
    for name, good in (("escapes", False), ("false rejects", True)):
        some = _of(parts, good)
        wrong = [(part.errs(0, limits[0]), part.errs(1, limits[1])) for part in some]
        only_first = sum(one and not other for one, other in wrong)
        only_second = sum(other and not one for one, other in wrong)
        first, second = (rate(sum(pair[side] for pair in wrong), len(some)) for side in (0, 1))
        found.append(Paired(name, first, second, only_first, only_second, mcnemar_exact(only_first, only_second)))
    return found[0], found[1]


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p-value that two ways to judge the same parts err equally often, from the parts on which just one errs.

    Source: McNemar, Psychometrika 12, 1947, in the exact binomial form (Fagerland, Lydersen and Laake, BMC Medical
    Research Methodology 13:91, 2013). 1 if they never differ. Raises ValueError for negative counts.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"got {only_first} and {only_second} parts, expected counts from 0")
    differing = only_first + only_second
    return float(stats.binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0


def groups(parts: Sequence[ComparedPart], by: Callable[[ComparedPart], str]) -> dict[str, list[ComparedPart]]:
    """Parts by class or lot, in the order of their names, good ones first."""
    found: dict[str, list[ComparedPart]] = defaultdict(list)
    for part in parts:
        found[by(part)].append(part)
    return dict(sorted(found.items(), key=lambda item: (item[0] != GOOD, item[0])))


def flipped(parts: Sequence[ComparedPart], side: int, old: float, new: float) -> list[ComparedPart]:
    """The parts that one bundle judges otherwise once its limit moves, the nearest to the old limit first."""
    low, high = sorted((old, new))
    moved = [part for part in parts if (score := part.scores[side]) is not None and low < score <= high]
    return sorted(moved, key=lambda part: abs((part.scores[side] or 0.0) - old))


def next_limit(parts: Sequence[ComparedPart], side: int, limit: float, up: bool) -> float | None:
    """The nearest other limit with which the bundle judges a part otherwise; None if there is none on that side."""
    scores = {part.scores[side] for part in parts}
    known = sorted({score for score in scores if score is not None})
    if up:
        return next((score for score in known if score > limit), None)
    passed = [score for score in known if score <= limit]
    if not passed:
        return None
    # Just below the score of the part that passed last: it is rejected then.
    return passed[-2] if len(passed) > 1 else math.nextafter(passed[-1], -math.inf)


def differing(parts: Sequence[ComparedPart], limits: tuple[float, float]) -> list[tuple[ComparedPart, str]]:
    """The parts on which the bundles differ, with who is right: "B" first, then "A"; defective before good."""
    found = []
    for part in parts:
        first, second = part.errs(0, limits[0]), part.errs(1, limits[1])
        if None not in part.scores and first is not second:
            found.append((part, "B" if first else "A"))
    return sorted(found, key=lambda pair: (pair[1] == "A", pair[0].is_good, pair[0].number))


def curve(parts: Sequence[ComparedPart], side: int, points: int = 121, at: Sequence[float] = ()) -> Curve:
    """The rates of one bundle for limits all over its scores, and at some limits that must be among them."""
    scores = np.array([part.scores[side] for part in parts if part.scores[side] is not None], np.float64)
    chosen = np.unique(np.concatenate([_spread(scores, points), np.array([x for x in at if math.isfinite(x)])]))
    good, bad = (_scores(_of(parts, is_good), side) for is_good in (True, False))
    rejected = len(good) - np.searchsorted(np.sort(good), chosen, side="right")
    passed = np.searchsorted(np.sort(bad), chosen, side="right")
    totals = [sum(part.is_good is is_good for part in parts) for is_good in (True, False)]
    false_rejects, escapes = _with_bounds(rejected, totals[0]), _with_bounds(passed, totals[1])
    return Curve(chosen, *escapes, *false_rejects)


def _of(parts: Sequence[ComparedPart], good: bool) -> list[ComparedPart]:
    return [part for part in parts if part.is_good is good]


def _scores(parts: Sequence[ComparedPart], side: int) -> NDArray[np.float64]:
    return np.array([part.scores[side] for part in parts if part.scores[side] is not None], np.float64)


def _spread(scores: NDArray[np.float64], points: int) -> NDArray[np.float64]:
    """Limits where something changes: quantiles of the scores, and a little beyond both ends."""
    if not scores.size:
        return np.array([], np.float64)
    inner = np.quantile(scores, np.linspace(0, 1, points), method="nearest")
    room = max(float(scores.max() - scores.min()), 1e-6) * 0.02
    return np.asarray(np.concatenate([[scores.min() - room], inner, [scores.max() + room]]), np.float64)


def _with_bounds(
    counts: NDArray[np.int64], total: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Rates with bounds, as `rate` has them; without parts nothing is known."""
    if not total:
        return np.full(len(counts), np.nan), np.zeros(len(counts)), np.ones(len(counts))
    tail = (1 - CONFIDENCE) / 2
    some = np.asarray(counts, np.float64)
    low = np.where(counts == 0, 0.0, stats.beta.ppf(tail, np.maximum(some, 1e-9), total - some + 1))
    high = np.where(counts == total, 1.0, stats.beta.ppf(1 - tail, some + 1, np.maximum(total - some, 1e-9)))
    return some / total, np.asarray(low, np.float64), np.asarray(high, np.float64)
