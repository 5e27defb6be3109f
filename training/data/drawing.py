"""Areas that a label file describes by coordinates, where other data sets have a mask file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DataError
from inspector.imaging.raster import polygon_pixels

IGNORE = "ignore"
"""The class of areas that are nobody's business: no defect, and not known to be good."""
MAX_POINTS = 100_000
"""Of one polygon; drawn by hand they have tens, traced from pixels hundreds."""
_SLACK = 0.01
"""Share of the picture's side by which coordinates may lie outside it: rounding of label tools. They are clipped."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed outline of (x, y), x to the right and y down, (0, 0) at the picture's upper left corner."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A box around a defect: says where it is, not which pixels it covers."""

    label: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Runs:
    """Pixels by run lengths, column after column, unmarked first: COCO's RLE. Their sum is width × height."""

    label: str
    counts: tuple[int, ...]


Shape = Polygon | Rectangle | Runs


@dataclass(frozen=True, slots=True)
class Drawing:
    """Marked areas of one picture of `width_px` × `height_px` as it is shown.

    Both sides are 0 if coordinates are shares of the sides, 0 to 1, which fit a picture of any size.
    """

    width_px: int
    height_px: int
    shapes: tuple[Shape, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Defect classes, that of the largest area first; without areas to ignore."""
        areas: dict[str, float] = {}
        for shape in self.shapes:
            if shape.label != IGNORE:
                areas[shape.label] = areas.get(shape.label, 0.0) + _area(shape)
        return tuple(sorted(areas, key=lambda label: (-areas[label], label)))

    @property
    def only_boxes(self) -> bool:
        """Whether every defect is marked by a box, so that the pixels of none are known."""
        defects = [shape for shape in self.shapes if shape.label != IGNORE]
        return bool(defects) and all(isinstance(shape, Rectangle) for shape in defects)

    def marked(self, label: str, width_px: int, height_px: int) -> Mask:
        """Where a picture of that size shows `label`: bool (height_px, width_px).

        Raises DataError if it was drawn on a picture of another size.
        """
        if self.width_px and (self.width_px, self.height_px) != (width_px, height_px):
            raise DataError(
                f"the areas are drawn on {self.width_px} × {self.height_px} px, the picture has {width_px} × {height_px}; "
                "give the picture that was labelled, or label this one"
            )
        scale = (1.0, 1.0) if self.width_px else (float(width_px), float(height_px))
        area = np.zeros((height_px, width_px), np.uint8)
        for shape in self.shapes:
            if shape.label == label:
                _draw(area, shape, scale)
        return area > 0


def polygon(label: str, points: Iterable[tuple[float, float]], width: float, height: float) -> Polygon:
    """A polygon within a picture of those sides. Raises DataError if it is none, or lies outside."""
    outline = tuple((_within(x, width, "x"), _within(y, height, "y")) for x, y in points)
    if len(outline) < 3:
        raise DataError(f"a polygon has {len(outline)} points, at least 3 are needed; draw it again")
    if len(outline) > MAX_POINTS:
        raise DataError(f"a polygon has {len(outline)} points, at most {MAX_POINTS} are read; simplify it")
    return Polygon(label, outline)


def rectangle(label: str, x: float, y: float, box: tuple[float, float], sides: tuple[float, float]) -> Rectangle:
    """A box of (width, height) at its upper left corner (x, y), in a picture of `sides`. Raises DataError."""
    if not (box[0] > 0 and box[1] > 0):
        raise DataError(f"a box is {box[0]:g} wide and {box[1]:g} high; draw it again")
    left, top = _within(x, sides[0], "x"), _within(y, sides[1], "y")
    right, bottom = _within(x + box[0], sides[0], "x"), _within(y + box[1], sides[1], "y")
    return Rectangle(label, left, top, right - left, bottom - top)


def runs(label: str, counts: Sequence[int], width_px: int, height_px: int) -> Runs:
    """Run lengths of a picture of that size. Raises DataError if they do not add up to it."""
    # A sum is looked at before anything of its size is made.
    if any(count < 0 for count in counts) or sum(counts) != width_px * height_px:
        raise DataError(
            f"run lengths add up to {sum(counts)} pixels, the picture has {width_px} × {height_px}; export it again"
        )
    return Runs(label, tuple(counts))


def _within(value: float, side: float, name: str) -> float:
    if not math.isfinite(value):
        raise DataError(f"a coordinate {name} is {value}; draw the area again")
    slack = max(_SLACK * side, 1.0 if side > 1 else 0.0)
    if not -slack <= value <= side + slack:
        raise DataError(f"a coordinate {name} is {value:g}, outside the picture, which ends at {side:g}; draw it again")
    return min(max(value, 0.0), side)


def _area(shape: Shape) -> float:
    if isinstance(shape, Rectangle):
        return shape.width * shape.height
    if isinstance(shape, Runs):
        return float(sum(shape.counts[1::2]))
    x, y = np.array(shape.points, np.float64).T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def _draw(area: NDArray[np.uint8], shape: Shape, scale: tuple[float, float]) -> None:
    """Mark the pixels whose centres a shape holds."""
    height, width = area.shape
    if isinstance(shape, Runs):
        values = np.arange(len(shape.counts)) % 2
        flat = np.repeat(values.astype(np.uint8), shape.counts)
        area |= flat.reshape((width, height)).T
        return
    if isinstance(shape, Rectangle):
        left, top = round(shape.x * scale[0]), round(shape.y * scale[1])
        right = round((shape.x + shape.width) * scale[0])
        bottom = round((shape.y + shape.height) * scale[1])
        # A box thinner than a pixel still marks one.
        area[min(top, height - 1) : max(bottom, top + 1), min(left, width - 1) : max(right, left + 1)] = 1
        return
    points = [(x * scale[0], y * scale[1]) for x, y in shape.points]
    area |= polygon_pixels(points, width, height).astype(np.uint8)
