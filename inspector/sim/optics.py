"""Light, lens and sensor: turns a `Surface` into the picture that a colour line camera would take of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.sim.surface import Surface, soften
from inspector.sim.textures import FloatField, noise

_LIGHT = np.array([-0.42, -0.50, 0.757], np.float32)
"""Direction to the lamp: x right, y down, z to the camera. Upper left, about 40 degrees off the axis."""
_UP = np.array([0.0, 0.0, 1.0], np.float32)
_HALF = (_LIGHT + _UP) / np.linalg.norm(_LIGHT + _UP)
_AMBIENT = 0.42
_FULL_WELL = 9_000.0
"""Electrons at white (EMVA 1288: saturation capacity); sets the shot noise of a small-pixel machine-vision sensor."""
_READ_NOISE = 9.0
"""Electrons of dark noise per pixel."""


def _shade(surface: Surface) -> tuple[FloatField, FloatField]:
    """Diffuse light (Lambert) and highlight (Blinn-Phong, exponent 32) of the relief, float32 (height, width) each."""
    gx = cv2.Sobel(surface.height_px, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    gy = cv2.Sobel(surface.height_px, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    upright = 1 / np.sqrt(1 + gx * gx + gy * gy)
    diffuse = np.clip((_LIGHT[2] - gx * _LIGHT[0] - gy * _LIGHT[1]) * upright, 0, None)
    shine = np.clip((_HALF[2] - gx * _HALF[0] - gy * _HALF[1]) * upright, 0, None)
    for _ in range(5):
        shine = shine * shine
    return np.asarray(diffuse, np.float32), np.asarray(shine, np.float32)


def _belt(rng: np.random.Generator, size_px: int, px: float) -> FloatField:
    """Reflectance of a worn rubber belt, float32 (size_px, size_px)."""
    weave = 0.10 * noise(rng, size_px, 0.8 * px) + 0.07 * noise(rng, size_px, 5.0 * px)
    return np.asarray(0.030 * (1 + weave), np.float32)


def _lamp(rng: np.random.Generator, size_px: int) -> FloatField:
    """Uneven light of one exposure: a slope away from the lamp, vignetting (cos⁴ law), and the lamp's drift."""
    axis = np.linspace(-1, 1, size_px, dtype=np.float32)
    x, y = axis[None, :], axis[:, None]
    slope = 1 - np.float32(rng.normal(0.13, 0.012)) * x - np.float32(rng.normal(0.10, 0.012)) * y
    vignette = 1 / np.square(1 + np.float32(0.115) * (x * x + y * y))
    drift = np.float32(np.clip(rng.normal(1.0, 0.03), 0.92, 1.08))
    return np.asarray(slope * vignette * drift, np.float32)


def _shadow(coverage: FloatField, px: float) -> FloatField:
    """How much of the lamp reaches the belt beside the part, 0.4 … 1."""
    move = np.array([[1, 0, 5.0 * px], [0, 1, 6.0 * px]], np.float32)
    shifted = cv2.warpAffine(coverage, move, coverage.shape[::-1])
    return np.asarray(1 - 0.6 * soften(np.asarray(shifted, np.float32), 3.5 * px), np.float32)


def photograph(surface: Surface, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture, uint8 RGB (size, size, 3): shading, belt, uneven light, lens blur, shot and read noise, gamma."""
    size_px = surface.coverage.shape[0]
    px = size_px / 256.0
    diffuse, shine = _shade(surface)
    light = _AMBIENT + (1 - _AMBIENT) * diffuse / _LIGHT[2]
    highlight = 0.40 * surface.gloss * shine + surface.sheen * np.square(diffuse / _LIGHT[2])
    belt = _belt(rng, size_px, px) * _shadow(surface.coverage, px)
    lamp = _lamp(rng, size_px)
    warmth = float(rng.normal(0.0, 0.008))
    planes = []
    for channel, tint in enumerate((1.0 + warmth, 1.0, 0.965 - warmth)):
        scene = belt + (surface.albedo[..., channel] * light + highlight - belt) * surface.coverage
        planes.append(_expose(soften(scene * lamp * np.float32(tint), 0.62 * px), rng))
    return np.asarray(cv2.merge(planes), np.uint8)


def _expose(light: FloatField, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What one colour of the sensor reads, uint8, for light where 1 fills it."""
    np.clip(light, 0, 1, out=light)
    spread = np.sqrt(light * np.float32(1 / _FULL_WELL) + np.float32((_READ_NOISE / _FULL_WELL) ** 2))
    light += spread * noise(rng, light.shape[0], 0.0)
    np.clip(light, 0, 1, out=light)
    return np.asarray(_TONE[(light * np.float32(4095)).astype(np.uint16)])


_TONE: NDArray[np.uint8] = np.round(255 * (np.arange(4096) / 4095) ** (1 / 2.2)).astype(np.uint8)
"""Gamma of the camera as a table over 12-bit values."""
