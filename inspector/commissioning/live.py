"""What a frame says to someone who sets exposure and focus."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from inspector.imaging.check import exposure, sharpness
from inspector.imaging.normalise import resize, to_8_bit, to_grey
from inspector.imaging.pixels import as_pixels
from inspector.part import Box, Image

BINS = 64
_ROWS = 128
_PREVIEW_PX = 960
_DARK_LEVEL = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """One frame. Levels are on the 8-bit scale; `histogram` has the shares of `BINS` equal classes of them, all channels.

    `saturated` and `dark` are shares of pixels at either end. `sharpness` is that of `imaging.check`, on its scale.
    """

    width_px: int
    height_px: int
    mean: float
    saturated: float
    dark: float
    sharpness: float
    histogram: tuple[float, ...]

    @property
    def advice(self) -> str:
        """The first thing to do about the exposure; empty if it is well."""
        if self.saturated > 0.02:
            return f"{self.saturated:.1%} of the picture is saturated: shorten the exposure or open the aperture less"
        if self.mean < 25:
            return "the picture is dark: more light or a longer exposure"
        top = next((n for n in range(BINS - 1, -1, -1) if sum(self.histogram[n:]) > 0.005), 0)
        if top < BINS // 2:
            return "half of the grey levels are unused: a longer exposure would show more"
        return ""


def read_frame(image: Image) -> Reading:
    """Measure a frame for people; a few milliseconds."""
    mean, saturated = exposure(image)
    step = max(1, image.height_px // _ROWS)
    sample = to_8_bit(as_pixels(np.ascontiguousarray(image.pixels[::step])), image.bits)
    counts = np.bincount(sample.ravel(), minlength=256)
    histogram = np.asarray(counts, np.float64).reshape(BINS, -1).sum(axis=1)
    return Reading(
        width_px=image.width_px,
        height_px=image.height_px,
        mean=mean,
        saturated=saturated,
        dark=float((to_grey(sample) <= _DARK_LEVEL).mean()),
        sharpness=sharpness(image, Box(0, 0, image.width_px, image.height_px)),
        histogram=tuple(float(share) for share in histogram / max(1.0, histogram.sum())),
    )


def preview(image: Image) -> bytes:
    """A JPEG for the page, no wider or higher than 960 px."""
    pixels = to_8_bit(image.pixels, image.bits)
    shrink = max(1.0, max(pixels.shape[:2]) / _PREVIEW_PX)
    if shrink > 1:
        pixels = to_8_bit(resize(pixels, round(pixels.shape[1] / shrink), round(pixels.shape[0] / shrink)), 8)
    shown = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return data.tobytes() if done else b""
