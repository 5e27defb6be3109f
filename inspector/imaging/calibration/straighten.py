"""Takes the lens's distortion out of pictures: the same bytes for the same picture, wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.imaging.calibration.lens import Lens
from inspector.imaging.pixels import as_pixels
from inspector.part import Image


@dataclass(frozen=True, slots=True, eq=False)
class Straightener:
    """Where each pixel of the straightened picture comes from: fixed-point maps, made once."""

    size_px: tuple[int, int]
    where: NDArray[np.int16]
    between: NDArray[np.uint16]


def straightener_of(lens: Lens) -> Straightener:
    """For pictures of the lens's own size; focal length and centre stay, so that the scale of `straightened` holds."""
    where, between = cv2.initUndistortRectifyMap(
        lens.matrix, np.array(lens.distortion), np.eye(3), lens.matrix, lens.size_px, cv2.CV_16SC2
    )
    return Straightener(lens.size_px, np.asarray(where, np.int16), np.asarray(between, np.uint16))


def straighten(image: Image, by: Straightener) -> Image:
    """The picture without distortion; what lies beyond the frame's edge repeats it. The caller has held the sizes together."""
    pixels = cv2.remap(image.pixels, by.where, by.between, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Image(as_pixels(pixels), image.bits)
