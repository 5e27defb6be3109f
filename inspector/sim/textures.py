"""Noise fields for the simulated parts, cut at a random place from atlases of fixed seed."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

FloatField = NDArray[np.float32]

_ATLAS_PX = 1536
_ATLAS_SEED = 20_220_601


@lru_cache(maxsize=16)
def _atlas(grain_px: float) -> FloatField:
    """float32 (1536, 1536) Gaussian noise of correlation length `grain_px`, mean 0, standard deviation 1, read-only."""
    rng = np.random.default_rng([_ATLAS_SEED, round(grain_px * 100)])
    shrink = max(1, int(grain_px / 3))
    small = rng.standard_normal((_ATLAS_PX // shrink + 2,) * 2, dtype=np.float32)
    if grain_px > 0.3:
        small = np.asarray(cv2.GaussianBlur(small, (0, 0), grain_px / shrink), np.float32)
    wide = np.asarray(cv2.resize(small, (_ATLAS_PX, _ATLAS_PX), interpolation=cv2.INTER_CUBIC), np.float32)
    field: FloatField = (wide - wide.mean()) / wide.std()
    field.flags.writeable = False
    return field


def noise(rng: np.random.Generator, size_px: int, grain_px: float) -> FloatField:
    """Gaussian noise, float32 (size_px, size_px), mean about 0, deviation about 1, correlated over `grain_px` pixels.

    Cut from an atlas at a random place and flipped at random; `size_px` up to 1024.
    """
    atlas = _atlas(grain_px)
    row, column = rng.integers(0, _ATLAS_PX - size_px, 2)
    cut = atlas[row : row + size_px, column : column + size_px]
    flip = int(rng.integers(0, 4))
    return np.ascontiguousarray(cut[:: 1 - 2 * (flip & 1), :: 1 - (flip & 2)])


def turning_marks(
    rng: np.random.Generator, radius: FloatField, angle: FloatField, rings: int = 220, sectors: int = 48
) -> FloatField:
    """Marks of a lathe tool: fine rings that wax and wane slowly around the axis. About mean 0, deviation 1.

    `radius` is 0 at the axis and 1 at the rim, `angle` in radians; both float32 (height, width), as is the result.
    """
    table = rng.standard_normal((rings, sectors), dtype=np.float32)
    smooth = cv2.GaussianBlur(np.hstack([table] * 3), (0, 0), sigmaX=5.0, sigmaY=0.6)[:, sectors : 2 * sectors]
    table = np.asarray(smooth / smooth.std() + 0.9 * rng.standard_normal((rings, 1), dtype=np.float32), np.float32)
    column = (angle * (sectors / (2 * np.pi))) % sectors
    marks = cv2.remap(
        np.hstack([table, table[:, :1]]),
        column.astype(np.float32),
        np.clip(radius * rings, 0, rings - 1).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    return np.asarray(marks / 1.35, np.float32)
