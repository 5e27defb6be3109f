"""What time does to a camera's picture, by degrees, on frames that are there: what the tests of camera health age them with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.imaging.health.kinds import Kind

Picture = NDArray[np.uint8]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Ageing:
    """One thing that goes wrong: `steps` are its degrees, `unit` says of what, and `age` is the picture at one of them."""

    kind: Kind
    name: str
    steps: tuple[float, ...]
    unit: str
    age: Callable[[Picture, float, Rng], Picture]


def _whole(pixels: NDArray[np.floating]) -> Picture:
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)


def _by(picture: Picture, field: NDArray[np.floating]) -> Picture:
    """Light multiplied by a field (height, width)."""
    return _whole(picture * (field if picture.ndim == 2 else field[..., None]))


def _square(picture: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x and y of each pixel, −1…1 from edge to edge."""
    height, width = picture.shape[:2]
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    return x, y


def _noise_after(picture: Picture, rng: Rng) -> Picture:
    """Blur in the lens comes before the sensor, whose noise it does not take away."""
    return _whole(picture + rng.normal(0, 1.0, picture.shape))


def faded(picture: Picture, share: float, _: Rng) -> Picture:
    """The lamp gives less light."""
    return _whole(picture * (1.0 - share))


def overexposed(picture: Picture, share: float, _: Rng) -> Picture:
    """More light than the sensor takes."""
    return _whole(picture * (1.0 + share))


def flickering(picture: Picture, share: float, rng: Rng) -> Picture:
    """The lamp's light differs from frame to frame."""
    return _whole(picture * (1.0 + share * rng.standard_normal()))


def defocused(picture: Picture, sigma_px: float, rng: Rng) -> Picture:
    """The lens moved, or the parts lie lower."""
    return _noise_after(cv2.GaussianBlur(picture, (0, 0), sigma_px), rng)


def shaken(picture: Picture, length_px: float, rng: Rng) -> Picture:
    """The mount swings along 20 degrees while the shutter is open."""
    size = 2 * int(np.ceil(length_px / 2)) + 1
    kernel, middle = np.zeros((size, size), np.float32), size // 2
    for along in np.linspace(-length_px / 2, length_px / 2, 16 * size):
        x, y = middle + along * np.cos(np.deg2rad(20)), middle + along * np.sin(np.deg2rad(20))
        left, top = int(x), int(y)
        for column, row, part in (
            (left, top, (left + 1 - x) * (top + 1 - y)),
            (left + 1, top, (x - left) * (top + 1 - y)),
            (left, top + 1, (left + 1 - x) * (y - top)),
            (left + 1, top + 1, (x - left) * (y - top)),
        ):
            if 0 <= column < size and 0 <= row < size:
                kernel[row, column] += part
    return _noise_after(cv2.filter2D(picture, -1, kernel / kernel.sum()), rng)


def dirty(picture: Picture, specks: float, _: Rng) -> Picture:
    """Specks on the cover glass, each a thirtieth of the picture wide, which take up to half of the light."""
    height, width = picture.shape[:2]
    mask, places = np.ones((height, width), np.float32), np.random.default_rng(3)
    for _number in range(round(specks)):
        x, y = places.uniform(0.1, 0.9, 2) * (width, height)
        cv2.circle(mask, (round(x), round(y)), max(2, round(width / 60)), 0.5, -1)
    return _by(picture, cv2.GaussianBlur(mask, (0, 0), width / 200))


def vignetted(picture: Picture, share: float, _: Rng) -> Picture:
    """A hood slips: the corners lose light."""
    x, y = _square(picture)
    return _by(picture, 1 - share * (x * x + y * y) / 2)


def one_sided(picture: Picture, share: float, _: Rng) -> Picture:
    """A lamp on the right dies by and by."""
    x, _y = _square(picture)
    return _by(picture, 1 - share * (x + 1) / 2)


def reddened(picture: Picture, share: float, _: Rng) -> Picture:
    """The lamp's colour drifts."""
    return _whole(picture * np.array([1 + share, 1, 1 - share / 2], np.float32))


def shifted(picture: Picture, share: float, _: Rng) -> Picture:
    """The mount slips: all that is seen moves to the right, and half as much down."""
    width = picture.shape[1]
    move = np.array([[1, 0, share * width], [0, 1, share * width / 2]], np.float32)
    return np.asarray(cv2.warpAffine(picture, move, picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT), np.uint8)


AGEINGS = (
    Ageing(Kind.LIGHT, "lamp fades", (0.04, 0.08, 0.12, 0.16, 0.20, 0.25, 0.30), "of the light", faded),
    Ageing(Kind.SATURATION, "overexposed", (0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40, 0.60), "more light", overexposed),
    Ageing(Kind.FLICKER, "lamp flickers", (0.02, 0.04, 0.06, 0.08, 0.12, 0.16), "deviation", flickering),
    Ageing(Kind.FOCUS, "out of focus", (0.5, 0.75, 1.0, 1.5, 2.0, 3.0), "px blur", defocused),
    Ageing(Kind.VIBRATION, "mount swings", (2, 4, 6, 8, 10, 14), "px motion", shaken),
    Ageing(Kind.DIRT, "dirt on the glass", (1, 2, 3, 4, 6, 8), "specks", dirty),
    Ageing(Kind.VIGNETTING, "hood slips", (0.05, 0.10, 0.15, 0.20, 0.30), "of the corners", vignetted),
    Ageing(Kind.UNEVEN_LIGHT, "one lamp dies", (0.05, 0.10, 0.15, 0.20, 0.25, 0.30), "of the right", one_sided),
    Ageing(Kind.COLOUR, "colour drifts", (0.02, 0.04, 0.06, 0.08, 0.12), "red", reddened),
    Ageing(Kind.MOVED, "camera slips", (0.005, 0.01, 0.015, 0.02, 0.03, 0.05), "of the width", shifted),
)
