"""Marked pixels of a picture as run lengths: small, comparable, and the words of COCO.

Runs go column after column and begin with unmarked pixels, as in https://github.com/cocodataset/cocoapi (maskApi.c).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import DataError
from inspector.imaging.png import write_png

Marked = NDArray[np.bool_]
_SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True)
class Raster:
    """Marked pixels of a picture of `width_px` × `height_px`. `counts` add up to its pixels; only the first may be 0."""

    width_px: int
    height_px: int
    counts: tuple[int, ...]

    @property
    def area_px(self) -> int:
        """How many pixels are marked."""
        return sum(self.counts[1::2])

    def marked(self) -> Marked:
        """bool (height_px, width_px)."""
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, self.counts).reshape(self.width_px, self.height_px).T


def raster_of(marked: Marked) -> Raster:
    """From bool (height, width)."""
    height, width = marked.shape
    flat = np.ascontiguousarray(marked.T).ravel()
    edges = np.flatnonzero(np.diff(flat.astype(np.int8), prepend=0))
    counts = np.diff(np.concatenate(([0], edges, [flat.size])))
    return Raster(width, height, tuple(int(count) for count in counts))


def checked_raster(width_px: int, height_px: int, counts: Iterable[int]) -> Raster:
    """From run lengths of outside. Raises DataError unless they add up to the picture."""
    given = tuple(counts)
    # A sum is looked at before anything of its size is made.
    if any(count < 0 for count in given) or sum(given) != width_px * height_px:
        raise DataError(
            f"run lengths add up to {sum(given)} pixels, the picture has {width_px} × {height_px}; export it again"
        )
    return (
        raster_of(Raster(width_px, height_px, given).marked()) if 0 in given[1:] else Raster(width_px, height_px, given)
    )


def raster_png(raster: Raster) -> bytes:
    """As a PNG file of 0 and 255; the same pixels always give the same bytes."""
    return write_png(np.where(raster.marked(), 255, 0).astype(np.uint8))


def polygon_pixels(points: Sequence[tuple[float, float]], width_px: int, height_px: int) -> Marked:
    """The pixels whose centres an outline of (x, y) holds: bool (height_px, width_px)."""
    area = np.zeros((height_px, width_px), np.uint8)
    outline = np.array(points, np.float64) - 0.5  # OpenCV counts from the centre of the first pixel
    fixed = np.round(outline * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(area, [fixed], (1,), shift=_SUBPIXEL_BITS)
    return area > 0


def encode_counts(counts: Sequence[int]) -> str:
    """COCO's compressed string: base 32 with continuation bit, from the third on as difference to the one before the last."""
    text: list[str] = []
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            digit = value & 0x1F
            value >>= 5
            more = value != -1 if digit & 0x10 else value != 0
            text.append(chr(digit + (0x20 if more else 0) + 48))
    return "".join(text)


def decode_counts(text: str, most: int) -> list[int]:
    """Run lengths from COCO's compressed string. Raises DataError; never gives more than `most`."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            digit = ord(text[position]) - 48 if position < len(text) else -1
            if not 0 <= digit < 64 or shift > 35:
                raise DataError("a compressed run length is damaged; export the labels again")
            value |= (digit & 0x1F) << shift
            more = bool(digit & 0x20)
            shift += 5
            position += 1
            if not more and digit & 0x10:
                value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        if len(counts) > most:
            raise DataError(f"there are more than {most} run lengths, one for every pixel; export the labels again")
    return counts
