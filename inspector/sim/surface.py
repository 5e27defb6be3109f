"""What a simulated part is made of before any light falls on it, and the canvas that draws it in its pose."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.sim.textures import FloatField

_SUBPIXEL_BITS = 6


@dataclass(frozen=True, slots=True)
class Pose:
    """How a part lies under the camera: shift in parts of the half frame, rotation in radians."""

    shift_x: float = 0.0
    shift_y: float = 0.0
    angle: float = 0.0


@dataclass(slots=True)
class Surface:
    """Fields of a part in the frame, changed by defects before the light is applied. All float32, one value per pixel.

    coverage      0 belt … 1 part, anti-aliased
    height_px     relief in pixels, towards the camera
    albedo        (height, width, 3) RGB reflectance, linear light
    gloss         strength of the mirror-like highlight, 0 … 1
    sheen         extra light from brushed metal, 0 where there is none
    feature_mask  uint8, 255 where a feature is missing; all 0 on a complete part
    """

    coverage: FloatField
    height_px: FloatField
    albedo: FloatField
    gloss: FloatField
    sheen: FloatField
    feature_mask: NDArray[np.uint8]


@lru_cache(maxsize=4)
def _grid(size_px: int) -> tuple[FloatField, FloatField]:
    axis = (np.arange(size_px, dtype=np.float32) + 0.5) * (2.0 / size_px) - 1.0
    x, y = np.meshgrid(axis, axis)
    return x, y


@dataclass(frozen=True)
class Canvas:
    """Draws anti-aliased shapes, given in part coordinates (the frame spans -1 … 1), into a square frame."""

    size_px: int
    pose: Pose
    _turn: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        c, s = np.cos(self.pose.angle), np.sin(self.pose.angle)
        object.__setattr__(self, "_turn", np.array([[c, -s], [s, c]]))

    @property
    def px(self) -> float:
        """Size of a feature that is one pixel wide in a 256-pixel frame."""
        return self.size_px / 256.0

    def part_coordinates(self) -> tuple[FloatField, FloatField]:
        """Part coordinates (u, v) of every pixel centre, float32 (size_px, size_px) each."""
        x, y = _grid(self.size_px)
        dx, dy = x - np.float32(self.pose.shift_x), y - np.float32(self.pose.shift_y)
        c, s = np.float32(np.cos(self.pose.angle)), np.float32(np.sin(self.pose.angle))
        return c * dx + s * dy, c * dy - s * dx

    def to_frame_px(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixel coordinates (x, y) of part coordinates (n, 2)."""
        moved = points @ self._turn.T + (self.pose.shift_x, self.pose.shift_y)
        return (moved + 1.0) * (self.size_px / 2) - 0.5

    def polygon(self, points: NDArray[np.float64]) -> FloatField:
        """Share of each pixel that the closed polygon (n, 2) covers, 0 … 1."""
        double = self.to_frame_px(points) * 2 + 0.5
        ink = np.zeros((2 * self.size_px,) * 2, np.uint8)
        fixed = np.round(double * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(ink, [fixed], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        small = cv2.resize(ink, (self.size_px,) * 2, interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) * np.float32(1 / 255)

    def disc(self, u: float, v: float, radius: float) -> FloatField:
        """Share of each pixel inside a circle, 0 … 1."""
        turn = np.linspace(0, 2 * np.pi, max(24, int(radius * self.size_px)), endpoint=False)
        return self.polygon(np.stack([u + radius * np.cos(turn), v + radius * np.sin(turn)], axis=1))


def soften(field_: FloatField, sigma_px: float) -> FloatField:
    """Gaussian blur of a float32 field."""
    return np.asarray(cv2.GaussianBlur(field_, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE), np.float32)
