"""Crop, resize and channel conversion: with decode and locate, the only preprocessing outside the model's graph.

Training uses this same function, so that a model sees on the line what it saw when it was fitted.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.imaging.guard import check_inside
from inspector.imaging.pixels import Pixels, as_pixels, as_uint8
from inspector.part import Box, Image


def normalise(image: Image, region: Box, width_px: int, height_px: int, channels: int) -> NDArray[np.uint8]:
    """The model's input: the region in the model's size.

    Returns uint8 (height_px, width_px, channels), C-contiguous, RGB for 3 channels. It is a read-only view of the frame's
    own bytes when nothing has to change. Grey becomes three equal channels; RGB becomes grey by the weights of ITU-R
    BT.601; more than 8 bits are scaled by 255 / (2^bits - 1) and rounded, after resizing.
    Errors: FrameError PART_NOT_FOUND if the region is not inside the picture.
    """
    check_inside(region, image, "the region")
    x, y = region.x_px, region.y_px
    crop = image.pixels[y : y + region.height_px, x : x + region.width_px]
    pixels = to_8_bit(resize(crop, width_px, height_px), image.bits)
    if channels == 1:
        grey = to_grey(pixels)
        return np.ascontiguousarray(grey).reshape(height_px, width_px, 1)
    if pixels.ndim == 2:
        return as_uint8(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB))
    return np.ascontiguousarray(pixels)


def resize(pixels: Pixels, width_px: int, height_px: int) -> Pixels:
    """Resize (height, width[, 3]) pixels of any dtype: shrinks by area averaging, enlarges linearly, axis by axis.

    While both axes are at least twice too long they are halved first, ten times as fast as averaging a camera frame at
    once; the rest of the way then weighs groups of 2 × 2 pixels instead of single ones.
    """
    height, width = pixels.shape[:2]
    while width >= 2 * width_px and height >= 2 * height_px:
        # At a ratio of two, linear interpolation is the mean of 2 × 2 pixels; an odd axis is sampled evenly to its end.
        width, height = (width + 1) // 2, (height + 1) // 2
        pixels = as_pixels(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR))
    # INTER_AREA turns into something else when an axis grows, so axes that shrink and axes that grow take turns.
    shrunk = (min(width, width_px), min(height, height_px))
    if shrunk != (width, height):
        pixels = as_pixels(cv2.resize(pixels, shrunk, interpolation=cv2.INTER_AREA))
    if shrunk != (width_px, height_px):
        pixels = as_pixels(cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_LINEAR))
    return pixels


def to_8_bit(pixels: Pixels, bits: int) -> NDArray[np.uint8]:
    """Scale values of `bits` significant bits to 0…255, rounded; uint8 passes as it is."""
    if pixels.dtype == np.uint8:
        return as_uint8(pixels)
    return as_uint8(cv2.convertScaleAbs(pixels, alpha=255.0 / ((1 << bits) - 1)))


def to_grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width, 3) RGB → (height, width) by the weights of ITU-R BT.601; grey passes as it is."""
    return pixels if pixels.ndim == 2 else as_uint8(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
