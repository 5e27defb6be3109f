"""Curves over all possible limits, with bands that come from drawing physical parts anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from training.evaluate import Judged
from training.statistics import (
    auroc,
    average_precision,
    counted,
    group_draws,
    percentile_interval,
    weighted_auroc,
)

DRAWS = 500
_GRID = np.linspace(0, 1, 201)
_LIMITS = 121
_BINS = 40
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve through (x, y), with a 95 % band, `low` to `high` over `grid`, all from 0 to 1; `area` with its interval."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    grid: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    area: float
    area_interval: tuple[float, float] | None
    at_limit: tuple[float, float]


@dataclass(frozen=True, slots=True)
class RatesByLimit:
    """Shares of parts, with 95 % Clopper-Pearson bounds, that each of `limits` would judge wrong; empty without such parts.

    A good part counts by its highest score, a defective one by its lowest: its worst image.
    """

    limits: tuple[float, ...]
    false_rejects: tuple[float, ...]
    false_rejects_low: tuple[float, ...]
    false_rejects_high: tuple[float, ...]
    escapes: tuple[float, ...]
    escapes_low: tuple[float, ...]
    escapes_high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Histograms:
    """Images by score: `counts` of each label between neighbouring `edges`; the last bin also has all that is above it."""

    edges: tuple[float, ...]
    counts: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Curves:
    """None where there is nothing to draw from: ROC and precision-recall need good and defective parts."""

    roc: Curve | None
    precision_recall: Curve | None
    rates: RatesByLimit | None
    histograms: Histograms | None
    draws: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "bands": "percentile bootstrap over physical parts, 95 %"}


def curves(judged: Sequence[Judged], limit: float, *, draws: int = DRAWS, seed: int = 0) -> Curves:
    """Every curve of the images that were scored, good and defective strata drawn apart."""
    scored = [image for image in judged if image.score is not None]
    if not scored:
        return Curves(None, None, None, None, 0)
    scores = np.array([image.score for image in scored], np.float64)
    truth = np.array([not image.is_good for image in scored])
    rates, histograms = _rates(scored, limit), _histograms(scored, scores, limit)
    if truth.all() or not truth.any():
        return Curves(None, None, rates, histograms, 0)
    weights = list(group_draws([image.part for image in scored], truth, draws, seed))
    above = scores > limit
    caught, false = float(above[truth].mean()), float(above[~truth].mean())
    precision = float(truth[above].mean()) if above.any() else 1.0
    roc = _curve(_roc, scores, truth, weights, (false, caught), auroc(scores[~truth], scores[truth]), weighted_auroc)
    area = average_precision(scores[~truth], scores[truth])
    return Curves(
        roc,
        _curve(_precision_recall, scores, truth, weights, (caught, precision), area, _weighted_precision),
        rates,
        histograms,
        draws,
    )


_Points = Callable[[Floats, NDArray[np.bool_], Floats | None], tuple[Floats, Floats]]


def _curve(
    points: _Points,
    scores: Floats,
    truth: NDArray[np.bool_],
    weights: Sequence[NDArray[np.int64]],
    at_limit: tuple[float, float],
    area: float | None,
    area_of: Callable[[Floats, NDArray[np.bool_], Floats], float],
) -> Curve:
    x, y = points(scores, truth, None)
    drawn, areas = [], []
    for counts in weights:
        weight = counts.astype(np.float64)
        if weight[truth].any() and weight[~truth].any():
            drawn.append(np.interp(_GRID, *points(scores, truth, weight)))
            areas.append(area_of(scores, truth, weight))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return Curve(
        tuple(x.tolist()),
        tuple(y.tolist()),
        tuple(_GRID.tolist()),
        tuple(low.tolist()),
        tuple(high.tolist()),
        float("nan") if area is None else area,
        percentile_interval(areas),
        at_limit,
    )


def _roc(scores: Floats, truth: NDArray[np.bool_], weight: Floats | None) -> tuple[Floats, Floats]:
    false, true, _ = metrics.roc_curve(truth, scores, sample_weight=weight, drop_intermediate=False)
    return false, true


def _precision_recall(scores: Floats, truth: NDArray[np.bool_], weight: Floats | None) -> tuple[Floats, Floats]:
    precision, recall, _ = metrics.precision_recall_curve(truth, scores, sample_weight=weight)
    return recall[::-1], precision[::-1]


def _weighted_precision(scores: Floats, truth: NDArray[np.bool_], weight: Floats) -> float:
    return float(metrics.average_precision_score(truth, scores, sample_weight=weight))


def _rates(scored: Sequence[Judged], limit: float) -> RatesByLimit:
    good: dict[int, float] = defaultdict(lambda: -np.inf)
    defective: dict[int, float] = defaultdict(lambda: np.inf)
    for image in scored:
        assert image.score is not None
        if image.is_good:
            good[image.part] = max(good[image.part], image.score)
        else:
            defective[image.part] = min(defective[image.part], image.score)
    highs, lows = np.array(list(good.values())), np.array(list(defective.values()))
    every = np.concatenate([highs, lows, [limit]])
    limits = np.linspace(float(every.min()), min(float(every.max()), _top(highs, limit)), _LIMITS)
    rejected = [counted(int((highs > value).sum()), len(highs)) for value in limits] if len(highs) else []
    passed = [counted(int((lows <= value).sum()), len(lows)) for value in limits] if len(lows) else []
    return RatesByLimit(
        tuple(limits.tolist()),
        *(tuple(getattr(rate, name) for rate in rejected) for name in ("value", "low", "high")),
        *(tuple(getattr(rate, name) for rate in passed) for name in ("value", "low", "high")),
    )


def _top(good: Floats, limit: float) -> float:
    """Where a picture of scores may end: beyond the limit and the good parts nothing changes any more but escapes."""
    low = min(float(good.min()), limit) if len(good) else min(limit, 0.0)
    return max(float(good.max()) if len(good) else limit, limit) + 0.6 * (limit - low) + 1e-12


def _histograms(scored: Sequence[Judged], scores: Floats, limit: float) -> Histograms:
    low = min(float(scores.min()), limit)
    high = min(float(max(scores.max(), limit)), max(float(np.quantile(scores, 0.99)), limit + 0.5 * (limit - low)))
    if not high > low:
        low, high = low - 0.5, high + 0.5
    width = (high - low) / _BINS
    # The limit is an edge, so that no bar holds passed and rejected images.
    below = int(np.ceil((limit - low) / width - 1e-9))
    edges = limit + width * np.arange(-below, _BINS - below + 1)
    labels = sorted({image.label for image in scored}, key=lambda name: (name != "good", name))
    counts = {}
    for label in labels:
        values = np.array([score for image, score in zip(scored, scores, strict=True) if image.label == label])
        # A score at the limit passes: it belongs to the bin below, which closes upwards.
        bins = np.clip(np.ceil((values - edges[0]) / width - 1e-9).astype(int) - 1, 0, len(edges) - 2)
        counts[label] = tuple(np.bincount(bins, minlength=len(edges) - 1).tolist())
    return Histograms(tuple(edges.tolist()), counts)
