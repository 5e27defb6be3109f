"""Defects of simulated parts: each changes a `Surface` in place and returns the exact mask of what it touched.

`severity` runs from 0 (at the edge of what a camera can see) to 1 (plain to anyone) and sets contrast as well as size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.sim.surface import Surface, soften
from inspector.sim.textures import FloatField, noise

Mask = NDArray[np.uint8]
Damage = Callable[[Surface, np.random.Generator, float], Mask]

_SUBPIXEL_BITS = 6
_TOUCHED = 0.25
"""A pixel belongs to the mask from this share of the defect's full effect on."""


def _place(surface: Surface, rng: np.random.Generator, margin_px: float) -> tuple[float, float]:
    """A random pixel (x, y) of the part, at least `margin_px` from its edges and holes where the part is that wide."""
    distance = cv2.distanceTransform((surface.coverage > 0.99).astype(np.uint8), cv2.DIST_L2, 3)
    inside = np.flatnonzero(distance >= min(margin_px, 0.6 * float(distance.max())))
    y, x = divmod(int(inside[rng.integers(inside.size)]), surface.coverage.shape[1])
    return float(x), float(y)


def _stroke(shape: tuple[int, int], points: NDArray[np.float64], width_px: float) -> FloatField:
    """Share 0 … 1 of each pixel under a line of `width_px` through `points` (n, 2)."""
    zoom = 4
    ink = np.zeros((shape[0] * zoom, shape[1] * zoom), np.uint8)
    fixed = np.round(((points + 0.5) * zoom - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(ink, [fixed], False, 255, max(1, round(width_px * zoom)), cv2.LINE_AA, _SUBPIXEL_BITS)
    small = cv2.resize(ink, shape[::-1], interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) * np.float32(1 / 255)


def _wander(
    rng: np.random.Generator,
    start: tuple[float, float],
    heading: float,
    length_px: float,
    bend: float,
    rough: float,
    steps: int,
) -> NDArray[np.float64]:
    """A path (steps, 2) from `start`; it bends by `bend` radians in all and trembles by `rough` radians a step."""
    turns = heading + bend * np.linspace(-0.5, 0.5, steps) + np.cumsum(rng.normal(0, rough, steps))
    stride = length_px / steps
    return np.asarray(start) + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1), axis=0) * stride


def _centred(path: NDArray[np.float64], middle: tuple[float, float]) -> NDArray[np.float64]:
    return np.asarray(path - path.mean(axis=0) + np.asarray(middle))


def _mask(effect: FloatField, surface: Surface) -> Mask:
    return np.where((effect > _TOUCHED) & (surface.coverage > 0.5), 255, 0).astype(np.uint8)


def scratch(surface: Surface, rng: np.random.Generator, severity: float) -> Mask:
    """A tool mark: one or two nearly parallel shallow grooves that catch the light, fading towards their ends."""
    size = surface.coverage.shape[0]
    px = size / 256.0
    middle, heading = _place(surface, rng, 9 * px), float(rng.uniform(0, np.pi))
    length = px * (18 + 70 * severity) * float(rng.uniform(0.8, 1.2))
    width = px * (0.8 + 1.5 * severity)
    path = _centred(_wander(rng, (0.0, 0.0), heading, length, float(rng.normal(0, 0.25)), 0.015, 24), middle)
    cut = _stroke(surface.coverage.shape, path, width)
    if rng.random() < 0.4:
        beside = np.array([-np.sin(heading), np.cos(heading)]) * px * float(rng.uniform(3.0, 5.0))
        cut = np.maximum(cut, 0.7 * _stroke(surface.coverage.shape, path[6:20] + beside, width))
    y, x = np.nonzero(cut)
    fade = np.ones_like(cut)
    fade[y, x] = np.clip(1.25 - np.hypot(x - middle[0], y - middle[1]) / (0.5 * length), 0.25, 1)
    cut = np.asarray(cut * fade * surface.coverage, np.float32)
    surface.height_px -= (0.25 + 2.2 * severity) * px * cut
    strength = np.float32(0.07 + 0.90 * severity) * cut[..., None]
    bare = np.clip(surface.albedo * 1.6 + 0.16, 0, 0.85) if surface.albedo.mean() < 0.45 else surface.albedo * 0.35
    surface.albedo += strength * (bare - surface.albedo)
    surface.sheen += np.float32(0.40 * severity) * cut * (surface.sheen > 0)
    return _mask(cut, surface)


def dent(surface: Surface, rng: np.random.Generator, severity: float) -> Mask:
    """A blow: a smooth hollow, a little oval, with a raised lip; the surface keeps its colour."""
    size = surface.coverage.shape[0]
    px = size / 256.0
    wide = px * (4.5 + 7.5 * severity) * float(rng.uniform(0.9, 1.15))
    x0, y0 = _place(surface, rng, wide)
    turn, oval = float(rng.uniform(0, np.pi)), float(rng.uniform(0.75, 1.0))
    axis = np.arange(size, dtype=np.float32)
    dx, dy = axis[None, :] - np.float32(x0), axis[:, None] - np.float32(y0)
    along = (np.cos(turn) * dx + np.sin(turn) * dy) / wide
    across = (np.cos(turn) * dy - np.sin(turn) * dx) / (wide * oval)
    square = np.asarray(along * along + across * across, np.float32)
    hollow = np.exp(-1.6 * square) - 0.22 * np.exp(-1.2 * np.square(np.sqrt(square) - 1.45) * 4)
    hollow = np.asarray(hollow * surface.coverage, np.float32)
    surface.height_px -= (0.40 + 8.0 * severity) * px * hollow
    surface.sheen *= 1 - np.float32(0.15 + 0.55 * severity) * np.clip(hollow, 0, 1)
    return _mask(np.clip(hollow, 0, 1), surface)


def crack(surface: Surface, rng: np.random.Generator, severity: float) -> Mask:
    """A jagged dark line that runs in from an edge or hole and may branch."""
    shape = surface.coverage.shape
    px = shape[0] / 256.0
    length = px * (15 + 62 * severity) * float(rng.uniform(0.8, 1.2))
    path, heading = max(
        (_crack_path(surface, rng, length) for _ in range(6)), key=lambda found: _on_part(surface, found[0])
    )
    half = len(path) // 2
    width = px * (0.55 + 1.7 * severity)
    opened = _stroke(shape, path[: half + 1], width)
    opened = np.maximum(opened, 0.8 * _stroke(shape, path[half:], 0.7 * width))
    if rng.random() < 0.3 + 0.6 * severity:
        root, fork = (float(path[half][0]), float(path[half][1])), heading + float(rng.choice((-0.8, 0.8)))
        branch = _wander(rng, root, fork, 0.4 * length, 0.0, 0.35, max(4, half))
        opened = np.maximum(opened, 0.7 * _stroke(shape, branch, 0.7 * width))
    opened = np.asarray(opened * surface.coverage, np.float32)
    dark = np.float32(0.16 + 0.76 * severity) * opened
    surface.albedo *= (1 - dark)[..., None]
    surface.sheen *= 1 - dark
    surface.gloss *= 1 - dark
    surface.height_px -= 0.8 * severity * px * opened
    return _mask(opened, surface)


def _crack_path(surface: Surface, rng: np.random.Generator, length_px: float) -> tuple[NDArray[np.float64], float]:
    """A path from a random edge into the part, and the direction it starts in."""
    px = surface.coverage.shape[0] / 256.0
    distance = np.asarray(cv2.distanceTransform((surface.coverage > 0.99).astype(np.uint8), cv2.DIST_L2, 5), np.float32)
    rim = np.flatnonzero((distance > 0.5) & (distance < max(1.6, 2.5 * px)))
    y, x = divmod(int(rim[rng.integers(rim.size)]), distance.shape[1])
    inward_y, inward_x = _slope_at(soften(distance, 3 * px), x, y)
    heading = float(np.arctan2(inward_y, inward_x) + rng.normal(0, 0.35))
    steps = max(6, int(length_px / (3.2 * px)))
    return _wander(rng, (float(x), float(y)), heading, length_px, float(rng.normal(0, 0.4)), 0.33, steps), heading


def _on_part(surface: Surface, path: NDArray[np.float64]) -> float:
    """Share of a path that runs over the part: cracks grow where there is material to crack."""
    columns, rows = np.clip(np.round(path), 0, surface.coverage.shape[0] - 1).astype(np.int64).T
    return float(surface.coverage[rows, columns].mean())


def _slope_at(field: FloatField, x: int, y: int) -> tuple[float, float]:
    """Gradient (dy, dx) of a field at one pixel inside the frame."""
    height, width = field.shape
    dy = field[min(y + 1, height - 1), x] - field[max(y - 1, 0), x]
    dx = field[y, min(x + 1, width - 1)] - field[y, max(x - 1, 0)]
    return float(dy), float(dx)


_STAINS = np.array([[0.20, 0.10, 0.04], [0.07, 0.065, 0.06]], np.float32)
"""Reflectance of rust and of burnt oil, RGB in linear light."""


def stain(surface: Surface, rng: np.random.Generator, severity: float) -> Mask:
    """A dried drop: an uneven blot with a darker rim that dulls the surface and tints it."""
    size = surface.coverage.shape[0]
    px = size / 256.0
    wide = px * (6 + 13 * severity) * float(rng.uniform(0.85, 1.2))
    x0, y0 = _place(surface, rng, 0.7 * wide)
    axis = np.arange(size, dtype=np.float32)
    far = np.hypot(axis[None, :] - np.float32(x0), axis[:, None] - np.float32(y0)) / np.float32(wide)
    edge = 1 - far * far + 0.20 * noise(rng, size, 5.0 * px) + 0.06 * noise(rng, size, 1.5 * px)
    wet = np.clip(edge * (wide / (3.5 * px)), 0, 1) * (far < 2)
    rim = np.exp(-np.square((edge - 0.15) / 0.20)) * wet
    mottled = 0.72 + 0.12 * noise(rng, size, 3.0 * px)
    blot = np.asarray(np.clip(mottled * wet + 0.40 * rim, 0, 1) * surface.coverage, np.float32)
    colour = _STAINS[int(rng.integers(len(_STAINS)))]
    strength = np.float32(0.04 + 0.96 * severity) * blot
    surface.albedo += strength[..., None] * (colour - surface.albedo)
    surface.sheen *= 1 - strength
    surface.gloss *= 1 - np.float32(0.7) * strength
    return _mask(blot, surface)


DAMAGES: Mapping[str, Damage] = {"scratch": scratch, "dent": dent, "crack": crack, "stain": stain}
"""What can happen to a finished part. A missing feature is made with the part: see `shapes`."""
