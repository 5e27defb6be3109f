"""What a heat map marks, as outlines that a person can accept as a label, and correct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.imaging.archive import AT_LIMIT
from inspector.imaging.png import PNG_MAGIC
from inspector.part import Box, Finding

MAX_REGIONS = 64
_MOST_CORNERS = 400
_FINEST_PX, _COARSEST_PX = 0.7, 64.0


@dataclass(frozen=True, slots=True)
class Region:
    """An outline of (x, y) in pixels of the frame, the class of the finding there, and how many pixels it holds."""

    points: tuple[tuple[float, float], ...]
    defect_class: str
    area_px: float


def read_heat_map(data: bytes) -> NDArray[np.uint8] | None:
    """Grey values of a heat map file as `heat_map_png` writes it: uint8 (height, width); None if it is none."""
    if not data.startswith(PNG_MAGIC):
        return None
    levels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if levels is None else levels.astype(np.uint8, copy=False)


def marked_regions(
    levels: NDArray[np.uint8], findings: Sequence[Finding] = (), level: int = AT_LIMIT
) -> tuple[Region, ...]:
    """Where a heat map reaches `level` (128 is the limit), the largest first, at most `MAX_REGIONS`.

    A region is of the class of the finding that it shares most pixels with, and of none if there is no such finding.
    """
    marked = (levels >= max(level, 1)).astype(np.uint8)
    # At twice the size an outline through pixel centres lies a quarter of a pixel within the pixels' sides, also of one pixel.
    large = cv2.resize(np.pad(marked, 1), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    ordered = sorted(contours, key=cv2.contourArea, reverse=True)[:MAX_REGIONS]
    found = []
    for contour in ordered:
        left, top, width, height = (side // 2 for side in cv2.boundingRect(contour))
        box = Box(max(left - 1, 0), max(top - 1, 0), max(width, 1), max(height, 1))
        points = tuple((float((x + 0.5) / 2 - 1), float((y + 0.5) / 2 - 1)) for x, y in _simpler(contour)[:, 0, :])
        inside = marked[box.y_px : box.y_px + box.height_px, box.x_px : box.x_px + box.width_px]
        found.append(Region(points, _class_of(box, findings), float(inside.sum())))
    return tuple(found)


def _simpler(contour: NDArray[Any]) -> NDArray[Any]:
    """With few enough corners to edit, as near to the outline as that allows."""
    tolerance_px = _FINEST_PX
    while True:
        simple: NDArray[Any] = cv2.approxPolyDP(contour, 2 * tolerance_px, True)
        if len(simple) < 3:
            return contour
        if len(simple) <= _MOST_CORNERS or tolerance_px >= _COARSEST_PX:
            return simple
        tolerance_px *= 2


def _class_of(box: Box, findings: Sequence[Finding]) -> str:
    shared = [(_shared_px(box, finding.box), finding.score, finding.defect_class) for finding in findings]
    best = max(shared, default=(0, 0.0, ""))
    return best[2] if best[0] > 0 else ""


def _shared_px(one: Box, other: Box) -> int:
    width = min(one.x_px + one.width_px, other.x_px + other.width_px) - max(one.x_px, other.x_px)
    height = min(one.y_px + one.height_px, other.y_px + other.height_px) - max(one.y_px, other.y_px)
    return max(width, 0) * max(height, 0)
