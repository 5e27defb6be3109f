"""Scores and limits to verdict and findings. Pure: no I/O, no clock, no state."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.decision.dimensions import Dimensions, breaches, is_excused
from inspector.decision.measure import Measurement, measure, to_frame
from inspector.part import Box, Finding, Judgement, Limits, Reason, Scores

MAX_FINDINGS = 32
"""Strongest findings kept of one part; what is speckled all over is not described better by a thousand boxes."""
_MAX_TOLD = 3
_ROUNDING = 1e-3


def judge(
    scores: Scores, limits: Limits, region: Box, classes: Sequence[str], dimensions: Dimensions | None = None
) -> Judgement:
    """Judge one part.

    `region` is where the maps lie in the frame; `classes` are the bundle's defect classes, the first of which names findings
    of a model that does not tell classes apart. A score up to the limit is PASS, above it REJECT; anything that is not a
    finite number, in score, maps or class scores, is UNKNOWN with SCORE_INVALID.

    With `dimensions`, a finding beyond one of their limits is REJECT whatever the score; and if they overrule the score, a
    score above its limit is PASS where `is_excused` says so. They need a model with class maps: without, UNKNOWN.

    A REJECT has one to `MAX_FINDINGS` findings, strongest first after those beyond a dimension limit: what class maps
    outline, with lengths, and evidence above the limit beside it; else the 8-connected areas of the anomaly map above
    `limits.region`; or the map's peak, if nothing is above; or the whole region, if the model has no map. A PASS has none:
    the image score decides, and a finding beside a PASS would contradict it; but one that overrules its score has those that
    it excuses.
    """
    if problem := _invalid(scores, dimensions is not None):
        return Judgement(Reason.SCORE_INVALID, problem, limit=limits.score)
    # Asked this way a limit that is no number rejects: nothing but a comparison that holds may pass a part.
    within = scores.score <= limits.score
    if within and dimensions is None:
        return Judgement(Reason.WITHIN_LIMITS, score=scores.score, limit=limits.score)
    measurement = _measurement(scores, region, classes, dimensions)
    broken = breaches(measurement, dimensions) if dimensions is not None else []
    if within and not broken:
        return Judgement(Reason.WITHIN_LIMITS, score=scores.score, limit=limits.score)
    above = "" if within else f"score {scores.score:.4g} is above the limit {limits.score:.4g}"
    if broken:
        detail = _shortened([breach.words for breach in broken])
        first = {number for breach in broken for number in breach.findings}
        findings = _all_findings(scores, limits, region, classes, measurement, first)
        detail = f"{detail}; {above}" if above else detail
        return Judgement(Reason.DIMENSION_ABOVE_LIMIT, detail, scores.score, limits.score, findings)
    if dimensions is not None and is_excused(measurement, dimensions, scores.anomaly_map, limits.score):
        findings = _strongest([one.finding for one in measurement.found])
        detail = f"{above}, by {len(measurement.found)} finding(s) that are all within their dimension limits"
        return Judgement(Reason.WITHIN_LIMITS, detail, scores.score, limits.score, findings)
    findings = _all_findings(scores, limits, region, classes, measurement, set())
    return Judgement(Reason.SCORE_ABOVE_LIMIT, above, scores.score, limits.score, findings)


def _invalid(scores: Scores, needs_class_maps: bool) -> str:
    """Why the scores cannot be judged, or an empty string."""
    step = "run the bundle's self-test and export it again"
    if not math.isfinite(scores.score):
        return f"the model scored {scores.score}, which is no finite number; {step}"
    if scores.anomaly_map is not None and scores.anomaly_map.size == 0:
        return f"the model gave an empty anomaly map; {step}"
    if scores.anomaly_map is not None and not np.isfinite(scores.anomaly_map).all():
        return f"the anomaly map holds values that are no finite numbers; {step}"
    if not all(map(math.isfinite, scores.class_scores.values())):
        return f"a class score is no finite number; {step}"
    return _invalid_class_maps(scores, needs_class_maps, step)


def _invalid_class_maps(scores: Scores, needed: bool, step: str) -> str:
    maps = scores.class_maps
    if maps is None:
        return f"the recipe has dimension limits and the model gave no class maps; {step}" if needed else ""
    if maps.ndim != 3 or not maps.size:
        return f"the model gave class maps of shape {maps.shape}; {step}"
    if scores.anomaly_map is not None and scores.anomaly_map.shape != maps.shape[1:]:
        return f"the class maps have {maps.shape[1:]} cells and the anomaly map {scores.anomaly_map.shape}; {step}"
    # Written so that NaN is refused too.
    if not (float(maps.min()) >= 0.0 and float(maps.max()) <= 1.0 + _ROUNDING):
        return f"the class maps hold values that are no probabilities; {step}"
    return ""


def _measurement(scores: Scores, region: Box, classes: Sequence[str], dimensions: Dimensions | None) -> Measurement:
    """What the class maps outline; nothing for a model without them."""
    if scores.class_maps is None:
        return Measurement((), np.zeros((0, 0), np.int32))
    if dimensions is None:
        return measure(scores.class_maps, scores.anomaly_map, region, classes)
    return measure(scores.class_maps, scores.anomaly_map, region, classes, dimensions.outline, dimensions.mm_per_px)


def _all_findings(
    scores: Scores,
    limits: Limits,
    region: Box,
    classes: Sequence[str],
    measurement: Measurement,
    first: Collection[int],
) -> tuple[Finding, ...]:
    """What a reject shows: outlined findings, those of `first` before the others, and evidence that no outline explains."""
    if not measurement.found:
        return _findings(scores, limits.region, region, _class_namer(scores, classes))
    rest = [one.finding for number, one in enumerate(measurement.found) if number not in first]
    broken = [measurement.found[number].finding for number in sorted(first)]
    if scores.anomaly_map is not None:
        rest += _unexplained(scores, scores.anomaly_map, limits.score, region, classes, measurement)
    return (_strongest(broken) + _strongest(rest))[:MAX_FINDINGS]


def _unexplained(
    scores: Scores,
    anomaly_map: NDArray[np.float32],
    limit: float,
    region: Box,
    classes: Sequence[str],
    measurement: Measurement,
) -> list[Finding]:
    """Areas of the anomaly map above the limit that no outline touches."""
    count, labels = cv2.connectedComponents((anomaly_map > np.float64(limit)).astype(np.uint8), connectivity=8)
    touched = np.unique(labels[measurement.labels > 0])
    beside = np.where(np.isin(labels, np.append(touched, 0)), np.float32(-np.inf), anomaly_map)
    if count - 1 <= np.count_nonzero(touched):
        return []
    return list(_findings(replace(scores, anomaly_map=beside), limit, region, _class_namer(scores, classes)))


def _strongest(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: -finding.score)[:MAX_FINDINGS])


def _shortened(words: Sequence[str]) -> str:
    more = f"; and {len(words) - _MAX_TOLD} more" if len(words) > _MAX_TOLD else ""
    return "; ".join(words[:_MAX_TOLD]) + more


def _class_namer(scores: Scores, classes: Sequence[str]) -> Callable[[Box], str]:
    """Names the class of a box of cells: the most likely there by class maps, else the strongest of the whole image."""
    maps = scores.class_maps
    if maps is None:
        whole = _strongest_class(scores.class_scores, classes)
        return lambda cells: whole

    def name(cells: Box) -> str:
        window = maps[:, cells.y_px : cells.y_px + cells.height_px, cells.x_px : cells.x_px + cells.width_px]
        return classes[int(window.max(axis=(1, 2)).argmax())]

    return name


def _strongest_class(class_scores: Mapping[str, float], classes: Sequence[str]) -> str:
    if class_scores:
        return max(class_scores, key=lambda name: class_scores[name])
    return classes[0]


def _findings(scores: Scores, limit: float, region: Box, name: Callable[[Box], str]) -> tuple[Finding, ...]:
    """Findings of the anomaly map, `name` giving the class of a box of cells."""
    anomaly_map = scores.anomaly_map
    if anomaly_map is None:
        area_px = float(region.width_px * region.height_px)
        return (Finding(name(Box(0, 0, 1 << 30, 1 << 30)), region, area_px, scores.score),)
    rows, columns = anomaly_map.shape
    cell_px = region.width_px * region.height_px / (rows * columns)
    return tuple(
        Finding(name(cells), to_frame(cells, region, rows, columns), count * cell_px, peak)
        for cells, count, peak in _areas(anomaly_map, limit)
    )


def _areas(anomaly_map: NDArray[np.float32], limit: float) -> list[tuple[Box, int, float]]:
    """Areas above `limit`, strongest first, at most MAX_FINDINGS: bounding box in cells, number of cells, peak value.

    The peak cell alone if nothing is above.
    """
    above = (anomaly_map > np.float64(limit)).astype(np.uint8)  # exact: float32 would round or overflow the limit
    if not above.any():
        row, column = np.unravel_index(int(anomaly_map.argmax()), anomaly_map.shape)
        return [(Box(int(column), int(row), 1, 1), 1, float(anomaly_map[row, column]))]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    peaks = np.full(count, -np.inf, np.float32)
    cells_above = np.flatnonzero(above)  # the rest is label 0, the background, whose peak stays -inf
    np.maximum.at(peaks, labels.ravel()[cells_above].astype(np.intp), anomaly_map.ravel()[cells_above])
    strongest = np.argsort(-peaks, kind="stable")[: min(MAX_FINDINGS, count - 1)]
    areas = []
    for label in strongest:
        x, y, width, height, cells = (int(value) for value in stats[label])
        areas.append((Box(x, y, width, height), cells, float(peaks[label])))
    return areas
