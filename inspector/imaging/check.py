"""Is the picture fit to be judged? Exposure and sharpness, from a sample of its pixels.

A picture that fails gives UNKNOWN, never PASS. The defaults check nothing: limits belong to a station and are set from
its own good pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import cv2
import numpy as np

from inspector.errors import ConfigError, FrameError
from inspector.imaging.guard import check_inside
from inspector.imaging.pixels import Pixels, as_pixels
from inspector.part import Box, Image, Reason

_EXPOSURE_SAMPLES = 60_000
_FEWEST_ROWS = 32
_SHARPNESS_SAMPLES = 60_000
_BANDS = 8
# A JPEG encoder rings around clipped areas; the two topmost of 256 levels count as clipped.
_CLIPPED_LEVEL = 254


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """What a picture must satisfy; None or 0 switches a check off.

    `min_mean` is on the 8-bit scale 0…255; `max_saturated_share` is the share of pixels, above 0 to 1, of which a channel may
    be clipped; `min_sharpness` is on the scale of `sharpness`.
    Errors: ConfigError for values that no picture could meet or miss.
    """

    min_mean: float | None = None
    max_saturated_share: float | None = None
    min_sharpness: float | None = None

    def __post_init__(self) -> None:
        most = {"min_mean": 255.0, "max_saturated_share": 1.0, "min_sharpness": math.inf}
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not (0 <= value <= most[each.name] and math.isfinite(value)):
                raise ConfigError(
                    f"{each.name} is {value}, expected 0 to {most[each.name]:g}: 0 switches the check off"
                )


def check_exposure(image: Image, spec: CheckSpec) -> None:
    """Refuse a picture that is too dark or saturated.

    Errors: FrameError IMAGE_TOO_DARK, IMAGE_SATURATED.
    """
    if not spec.min_mean and not spec.max_saturated_share:
        return
    mean, saturated = exposure(image)
    if spec.min_mean and mean < spec.min_mean:
        raise FrameError(
            Reason.IMAGE_TOO_DARK,
            f"the picture's mean brightness is {mean:.1f} of 255, needed {spec.min_mean:g}: "
            "check the lamp, the lens cap and the exposure time",
        )
    if spec.max_saturated_share and saturated > spec.max_saturated_share:
        raise FrameError(
            Reason.IMAGE_SATURATED,
            f"{saturated:.1%} of the picture is saturated, allowed {spec.max_saturated_share:.1%}: "
            "shorten the exposure time, lower the gain or shade stray light",
        )


def check_sharpness(image: Image, region: Box, spec: CheckSpec) -> None:
    """Refuse a picture that is blurred within the region.

    Errors: FrameError IMAGE_BLURRED; PART_NOT_FOUND if the region is not inside the picture.
    """
    if not spec.min_sharpness:
        return
    measured = sharpness(image, region)
    if measured < spec.min_sharpness:
        raise FrameError(
            Reason.IMAGE_BLURRED,
            f"the picture's sharpness is {measured:.1f}, needed {spec.min_sharpness:g}: "
            "check the focus, the lens for dirt, and that the part stands still while exposed",
        )


def exposure(image: Image) -> tuple[float, float]:
    """Mean brightness on the 8-bit scale 0…255, and the share of pixels with a clipped channel, 0…1.

    From whole rows, spread evenly: all of them up to 60,000 pixels, else some 60,000 pixels but at least 32 rows. Whole rows
    are read as they lie in memory; single pixels on a grid cost a cache line each, ten times as much for a camera's frame.
    """
    height, width = image.pixels.shape[:2]
    rows = max(_FEWEST_ROWS, _EXPOSURE_SAMPLES // width)
    step = max(1, height // rows)
    sample = as_pixels(image.pixels[step // 2 :: step])
    scale = 255.0 / ((1 << image.bits) - 1)
    channels = 1 if sample.ndim == 2 else 3
    mean = sum(cv2.sumElems(sample)[:channels]) / sample.size * scale
    highest = math.ceil(_CLIPPED_LEVEL / scale) - 1
    pixels = sample.shape[0] * sample.shape[1]
    unclipped = cv2.countNonZero(cv2.inRange(sample, (0,) * channels, (highest,) * channels))
    return mean, (pixels - unclipped) / pixels


def sharpness(image: Image, region: Box) -> float:
    """Variance of the Laplacian of the region, scaled to a mean brightness of 100; higher is sharper.

    The variance of the Laplacian is the focus measure LAPV of Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", ICPR 2000, and of Pertuz et al., Pattern Recognition 46 (2013). It grows with the square of the brightness,
    so it is divided by the squared mean, as Groen et al. (1985) do for the variance: light that fades leaves it unchanged.
    From 8 bands of rows, about 60,000 pixels, at full resolution; of RGB the green channel.
    Errors: FrameError PART_NOT_FOUND if the region is not inside the picture.
    """
    check_inside(region, image, "the region")
    x, y = region.x_px, region.y_px
    area = image.pixels[y : y + region.height_px, x : x + region.width_px]
    if area.ndim == 3:
        area = area[:, :, 1]
    if min(area.shape) < 3:
        return 0.0
    total = square = brightness = 0.0
    count = 0
    for band in _bands(area):
        edges = cv2.Laplacian(band, cv2.CV_32F)[1:-1, 1:-1]
        mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(edges))
        total += mean * edges.size
        square += (deviation**2 + mean**2) * edges.size
        brightness += cv2.mean(band)[0] * edges.size
        count += edges.size
    mean_brightness = brightness / count
    if mean_brightness == 0:
        return 0.0
    return max(square / count - (total / count) ** 2, 0.0) * (100.0 / mean_brightness) ** 2


def _bands(area: Pixels) -> Iterator[Pixels]:
    """The area itself if it is small, else bands of rows spread evenly over it; each at least 3 rows, C-contiguous."""
    height, width = area.shape
    rows = max(3, _SHARPNESS_SAMPLES // (_BANDS * width))
    if height <= rows * _BANDS:
        yield as_pixels(np.ascontiguousarray(area))
        return
    for index in range(_BANDS):
        top = (height - rows) * index // (_BANDS - 1)
        yield as_pixels(np.ascontiguousarray(area[top : top + rows]))
