"""Class maps to findings with outline, class, area, length and place. Pure.

A length is the largest distance between two points of a finding's outline: the maximum Feret diameter (ISO 13322-1:2014). A
curved scratch is measured by its chord. Cells count with all of their area and their corners, so that nothing is measured
shorter than it was outlined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.part import Box, Finding, Millimetres

MAX_MEASURED = 256
"""Findings measured of one part, the largest; a part with more is not described by measuring them all."""
PLAUSIBLE = 0.25
"""Mean probability over a finding from which it may be of a class, besides that which is most likely."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A finding with what its limits are chosen by.

    `may_be` are the classes that it may be: the most likely, those of which it has a cell as likely as the outline, and those
    of at least `PLAUSIBLE` on average. `box_mm` is x, y, width and height in mm from the corner of the located region.
    """

    finding: Finding
    may_be: frozenset[str]
    box_mm: tuple[float, float, float, float]

    @property
    def size(self) -> Millimetres:
        """Its size on the part. Raises ValueError if it was measured without a scale."""
        if self.finding.size is None:
            raise ValueError("the finding was measured without a scale")
        return self.finding.size


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is outlined on a part. `labels` int32 (rows, columns) is 1 + the place in `found` of each cell's finding, else 0.

    `too_many` says that only the largest were measured.
    """

    found: tuple[Measured, ...]
    labels: NDArray[np.int32]
    too_many: bool = False


def measure(
    class_maps: NDArray[np.float32],
    anomaly_map: NDArray[np.float32] | None,
    region: Box,
    classes: Sequence[str],
    outline: float = 0.5,
    mm_per_px: float | None = None,
) -> Measurement:
    """Outline and measure the findings in class maps, float32 (classes, rows, columns) of probabilities over `region`.

    A finding is an 8-connected area of cells where the classes together are at least as likely as `outline`; one class is
    not cut off from another, so that a defect is not measured in pieces. It bears the class that is most likely over it,
    and the highest value of `anomaly_map` (rows, columns) in it as its score, or of its class without that map.
    """
    above = class_maps.sum(axis=0) >= outline
    if not above.any():
        return Measurement((), np.zeros(above.shape, np.int32))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above.astype(np.uint8), connectivity=8)
    largest = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:MAX_MEASURED] + 1
    places = np.zeros(count, np.int32)
    places[largest] = np.arange(1, len(largest) + 1)
    rows, columns = above.shape
    cell = (region.width_px / columns, region.height_px / rows)
    found = []
    for label in largest:
        x, y, width, height, _ = (int(value) for value in stats[label])
        window = (slice(y, y + height), slice(x, x + width))
        inside = np.asarray(labels[window] == label)
        likely = class_maps[:, *window][:, inside]
        means = likely.mean(axis=1)
        name = int(means.argmax())
        may_be = {name, *np.flatnonzero((likely.max(axis=1) >= outline) | (means >= PLAUSIBLE)).tolist()}
        score = float(likely[name].max() if anomaly_map is None else anomaly_map[window][inside].max())
        box = Box(x, y, width, height)
        finding = _finding(
            inside, box, cell, to_frame(box, region, rows, columns), region, classes[name], score, mm_per_px
        )
        found.append(Measured(finding, frozenset(classes[one] for one in may_be), _box_mm(box, cell, mm_per_px)))
    return Measurement(tuple(found), places[labels], count - 1 > MAX_MEASURED)


def feret_diameter(cells: NDArray[np.bool_], cell_width: float, cell_height: float) -> float:
    """The largest distance between two corners of the true cells, bool (rows, columns) with one in every row.

    Only the first and the last cell of a row can hold an end of it.
    """
    rows, columns = cells.shape
    left = cells.argmax(axis=1)
    right = columns - cells[:, ::-1].argmax(axis=1)
    y = np.arange(rows)
    xs = np.concatenate([left, left, right, right]) * cell_width
    ys = np.concatenate([y, y + 1, y, y + 1]) * cell_height
    hull = cv2.convexHull(np.stack([xs, ys], axis=1).astype(np.float32))[:, 0].astype(np.float64)
    return float(np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(axis=2).max()))


def to_frame(cells: Box, region: Box, rows: int, columns: int) -> Box:
    """The smallest box of whole frame pixels around map cells; inside `region` and never empty.

    Integers throughout: a cell edge that falls on a pixel edge must not be pushed a pixel outwards by rounding.
    """
    left = cells.x_px * region.width_px // columns
    top = cells.y_px * region.height_px // rows
    right = -((cells.x_px + cells.width_px) * region.width_px // -columns)
    bottom = -((cells.y_px + cells.height_px) * region.height_px // -rows)
    return Box(region.x_px + left, region.y_px + top, right - left, bottom - top)


def _finding(
    inside: NDArray[np.bool_],
    box: Box,
    cell: tuple[float, float],
    box_px: Box,
    region: Box,
    defect_class: str,
    score: float,
    mm_per_px: float | None,
) -> Finding:
    ys, xs = np.nonzero(inside)
    x_px = (box.x_px + float(xs.mean()) + 0.5) * cell[0]
    y_px = (box.y_px + float(ys.mean()) + 0.5) * cell[1]
    length_px = feret_diameter(inside, *cell)
    area_px = len(xs) * cell[0] * cell[1]
    size = None
    if mm_per_px is not None:
        size = Millimetres(length_px * mm_per_px, area_px * mm_per_px**2, x_px * mm_per_px, y_px * mm_per_px)
    centre = (region.x_px + x_px, region.y_px + y_px)
    return Finding(defect_class, box_px, area_px, score, length_px, centre, size)


def _box_mm(box: Box, cell: tuple[float, float], mm_per_px: float | None) -> tuple[float, float, float, float]:
    across, down = (side * (mm_per_px or 0.0) for side in cell)
    return box.x_px * across, box.y_px * down, box.width_px * across, box.height_px * down
