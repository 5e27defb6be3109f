"""Scores and limits to verdict and findings. Pure: no I/O, no clock, no state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.part import Box, Finding, Judgement, Limits, Reason, Scores

MAX_FINDINGS = 32
"""Strongest findings kept of one part; what is speckled all over is not described better by a thousand boxes."""


def judge(scores: Scores, limits: Limits, region: Box, classes: Sequence[str]) -> Judgement:
    """Judge one part.

    `region` is where the anomaly map lies in the frame; `classes` are the bundle's defect classes, the first of which
    names findings of a model that does not tell classes apart. A score up to the limit is PASS, above it REJECT;
    anything that is not a finite number, in score, map or class scores, is UNKNOWN with SCORE_INVALID.

    A REJECT has one to `MAX_FINDINGS` findings, strongest first: the 8-connected areas of the map above
    `limits.region`; or the map's peak, if nothing is above; or the whole region, if the model has no map. A PASS has
    none: the image score decides, and a finding beside a PASS would contradict it.
    """
    if problem := _invalid(scores):
        return Judgement(Reason.SCORE_INVALID, problem, limit=limits.score)
    # In this order a limit that is no number rejects: nothing but a comparison that holds may pass a part.
    if scores.score <= limits.score:
        return Judgement(Reason.WITHIN_LIMITS, score=scores.score, limit=limits.score)
    defect_class = _strongest_class(scores.class_scores, classes)
    findings = _findings(scores, limits.region, region, defect_class)
    detail = f"score {scores.score:.4g} is above the limit {limits.score:.4g}"
    return Judgement(Reason.SCORE_ABOVE_LIMIT, detail, scores.score, limits.score, findings)


def _invalid(scores: Scores) -> str:
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
    return ""


def _strongest_class(class_scores: Mapping[str, float], classes: Sequence[str]) -> str:
    if class_scores:
        return max(class_scores, key=lambda name: class_scores[name])
    return classes[0]


def _findings(scores: Scores, limit: float, region: Box, defect_class: str) -> tuple[Finding, ...]:
    anomaly_map = scores.anomaly_map
    if anomaly_map is None:
        return (Finding(defect_class, region, float(region.width_px * region.height_px), scores.score),)
    rows, columns = anomaly_map.shape
    cell_px = region.width_px * region.height_px / (rows * columns)
    return tuple(
        Finding(defect_class, _to_frame(cells, region, rows, columns), count * cell_px, peak)
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


def _to_frame(cells: Box, region: Box, rows: int, columns: int) -> Box:
    """The smallest box of whole frame pixels around map cells; inside `region` and never empty.

    Integers throughout: a cell edge that falls on a pixel edge must not be pushed a pixel outwards by rounding.
    """
    left = cells.x_px * region.width_px // columns
    top = cells.y_px * region.height_px // rows
    right = -((cells.x_px + cells.width_px) * region.width_px // -columns)
    bottom = -((cells.y_px + cells.height_px) * region.height_px // -rows)
    return Box(region.x_px + left, region.y_px + top, right - left, bottom - top)
