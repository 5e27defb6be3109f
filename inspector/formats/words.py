"""Geometry that formats share: how large an area is, what surrounds it, and what reaches a little over the picture's edge."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from inspector.errors import LabelInvalid
from inspector.imaging.raster import Marked, Raster, polygon_pixels, raster_of
from inspector.labelling import whole_box
from inspector.part import Box
from inspector.records.labels import Polygon

Shape = Box | Polygon | Raster
_SLACK = 0.01
"""Share of the picture's side by which coordinates may lie outside it: rounding of label tools. They are clipped."""


def bounds(shape: Shape) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of an area, in pixels of the picture."""
    if isinstance(shape, Box):
        return (
            shape.x_px,
            shape.y_px,
            shape.x_px + shape.width_px,
            shape.y_px + shape.height_px,
        )
    if isinstance(shape, Polygon):
        xs, ys = zip(*shape.points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)
    marked = shape.marked()
    if not shape.area_px:
        return 0, 0, 0, 0
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def area_px(shape: Shape) -> float:
    """How many pixels an area covers."""
    if isinstance(shape, Box):
        return float(shape.width_px * shape.height_px)
    if isinstance(shape, Raster):
        return float(shape.area_px)
    x, y = np.array(shape.points, np.float64).T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def pixels(shape: Shape, size_px: tuple[int, int]) -> Marked:
    """The pixels of a picture of (width, height) that an area covers: bool (height, width)."""
    width, height = size_px
    if isinstance(shape, Raster):
        return shape.marked()
    if isinstance(shape, Polygon):
        return polygon_pixels(shape.points, width, height)
    area = np.zeros((height, width), np.bool_)
    area[shape.y_px : shape.y_px + shape.height_px, shape.x_px : shape.x_px + shape.width_px] = True
    return area


def together(shapes: Sequence[Shape], size_px: tuple[int, int]) -> Raster | None:
    """The pixels of all these areas; None without any, so that it is not a mask of nothing."""
    if not shapes:
        return None
    return raster_of(np.logical_or.reduce([pixels(shape, size_px) for shape in shapes]))


def outlines(raster: Raster) -> list[Polygon]:
    """The outer outlines of marked pixels, through the centres of their edge pixels' far sides; holes are lost."""
    marked = np.pad(raster.marked().astype(np.uint8), 1)
    # At four times the size an outline through pixel centres lies an eighth of a pixel within the pixels' sides.
    large = cv2.resize(marked, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours:
        points = [(float((x + 0.5) / 4 - 1), float((y + 0.5) / 4 - 1)) for x, y in contour[:, 0, :]]
        if len(points) >= 3:
            found.append(Polygon(tuple(points)))
    return found


def clipped(value: float, side: float, where: str) -> float:
    """A coordinate within the picture. Raises LabelInvalid for one that lies outside by more than rounding."""
    slack = max(_SLACK * side, 1.0 if side > 1 else 0.0)
    if not -slack <= value <= side + slack:
        raise LabelInvalid(
            f"{where} has the coordinate {value:g}, outside the picture, which ends at {side:g}: draw it again"
        )
    return min(max(value, 0.0), float(side))


def clipped_polygon(points: Sequence[tuple[float, float]], size_px: tuple[float, float], where: str) -> Polygon:
    """An outline within the picture. Raises LabelInvalid."""
    return Polygon(tuple((clipped(x, size_px[0], where), clipped(y, size_px[1], where)) for x, y in points))


def clipped_box(corners: tuple[float, float, float, float], size_px: tuple[int, int], where: str) -> Box:
    """A box of left, top, right, bottom within the picture, in whole pixels. Raises LabelInvalid."""
    left, top, right, bottom = corners
    if not (right > left and bottom > top):
        raise LabelInvalid(f"{where} has a box that is {right - left:g} wide and {bottom - top:g} high: draw it again")
    width, height = size_px
    box = whole_box(
        clipped(left, width, where),
        clipped(top, height, where),
        clipped(right, width, where),
        clipped(bottom, height, where),
    )
    # One that is thinner than a pixel at the far edge still marks the last one.
    return Box(min(box.x_px, width - box.width_px), min(box.y_px, height - box.height_px), box.width_px, box.height_px)
