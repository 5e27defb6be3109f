"""What other promises would cost, and which good parts the limit makes room for: what a quality manager decides by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inspector.inference.manifest import LimitBasis
from training.calibration.limits import MIN_PARTS, good_limit
from training.calibration.scored import PartScore, lots_of
from training.calibration.tail import odd_scores
from training.data.samples import printable
from training.statistics import Rate, counted

RATES = (0.01, 0.02, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class PromiseOption:
    """A promise that could be made, the limit it takes and the defective parts, of those known, that would pass it."""

    false_reject_rate: float
    limit: float
    guaranteed: bool
    escapes: Rate

    def to_json(self) -> dict[str, Any]:
        return {
            "false_reject_rate": self.false_reject_rate,
            "limit": self.limit,
            "guaranteed": self.guaranteed,
            "escapes": self.escapes.to_json(),
        }


@dataclass(frozen=True, slots=True)
class OddParts:
    """Good parts whose scores are not of the others' tail, and what the limit would be if they were not good."""

    parts: tuple[PartScore, ...]
    limit_without: float
    escapes: Rate
    escapes_without: Rate

    def to_json(self) -> dict[str, Any]:
        return {
            "parts": [[printable(part.path), part.score] for part in self.parts],
            "limit_without": self.limit_without,
            "escapes": self.escapes.to_json(),
            "escapes_without": self.escapes_without.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Outlook:
    """Promises to choose from at one `confidence`, and the odd parts if there are any."""

    confidence: float
    options: tuple[PromiseOption, ...]
    odd: OddParts | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "confidence": self.confidence,
            "options": [option.to_json() for option in self.options],
            "odd_parts": None if self.odd is None else self.odd.to_json(),
            "escapes": "of defective parts the model was not fitted on; interval Clopper-Pearson, 95 %",
        }


def look_out(
    good: Sequence[PartScore],
    defects: Sequence[PartScore],
    chosen: tuple[float, float, float],
    limit_of: Callable[[Sequence[PartScore]], tuple[float, LimitBasis]],
    *,
    cross_fitted: bool,
    as_the_line_sees: bool = True,
) -> Outlook:
    """What else could be promised from the same parts. `chosen` is limit, false-reject rate and confidence.

    `limit_of` gives the limit that other good parts would have led to, be it by promise or by costs. Scores that were not
    made `as_the_line_sees` the parts guarantee nothing.
    """
    limit, rate, confidence = chosen
    scores, lots = [part.score for part in good], lots_of(good)
    options = []
    for other in sorted({*RATES, rate}):
        its_limit, basis = good_limit(scores, other, confidence, cross_fitted=cross_fitted, lots=lots)
        guaranteed = basis.guaranteed and as_the_line_sees
        options.append(PromiseOption(other, its_limit, guaranteed, escapes_at(its_limit, defects)))
    return Outlook(confidence, tuple(options), _odd_parts(good, defects, limit, limit_of))


def escapes_at(limit: float, defects: Sequence[PartScore]) -> Rate:
    """Defective parts that pass a limit, with the two-sided 95 % interval."""
    return counted(sum(part.score <= limit for part in defects), len(defects))


def _odd_parts(
    good: Sequence[PartScore],
    defects: Sequence[PartScore],
    limit: float,
    limit_of: Callable[[Sequence[PartScore]], tuple[float, LimitBasis]],
) -> OddParts | None:
    """The odd parts, if the limit would be lower without them."""
    ordered = sorted(good, key=lambda part: -part.score)
    odd = odd_scores(np.sort(np.array([part.score for part in good])))
    if not odd or len(good) - odd < MIN_PARTS:
        return None
    rest = ordered[odd:]
    without, _ = limit_of(rest)
    if without >= limit:
        return None
    return OddParts(tuple(ordered[:odd]), without, escapes_at(limit, defects), escapes_at(without, defects))
