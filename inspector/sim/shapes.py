"""The three simulated parts: a turned flange, a glazed tile, a moulded gear. Each returns its `Surface`.

`missing` is how much of one of the part's features is gone: 0 for a complete part, 1 for a feature that was never made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from inspector.sim.surface import Canvas, Surface, soften
from inspector.sim.textures import FloatField, noise, turning_marks

ShapeMaker = Callable[[Canvas, np.random.Generator, float], Surface]

_HOLES = 6
_PETALS = 4
_TEETH = 18
_SPOKES = 5


def flange(canvas: Canvas, rng: np.random.Generator, missing: float) -> Surface:
    """A turned steel flange: rim, raised hub, centre bore, six bolt holes. Missing: one bolt hole, or part of it."""
    u, v = canvas.part_coordinates()
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    body, hub, bore = canvas.disc(0, 0, 0.84), canvas.disc(0, 0, 0.41), canvas.disc(0, 0, 0.25)
    holes = np.zeros_like(body)
    feature = np.zeros(body.shape, np.uint8)
    undrilled = int(rng.integers(_HOLES)) if missing else -1
    for index in range(_HOLES):
        turn = 2 * np.pi * (index + 0.25) / _HOLES
        place = (0.62 * float(np.cos(turn)), 0.62 * float(np.sin(turn)))
        size = 0.088 * float(rng.normal(1.0, 0.006))
        hole = canvas.disc(*place, size)
        if index == undrilled:
            made = canvas.disc(*place, size * (1 - missing)) if missing < 0.97 else np.zeros_like(hole)
            feature[hole - made > 0.5] = 255
            hole = made
        holes = np.maximum(holes, hole)
    coverage = body * (1 - np.maximum(bore, holes))
    marks = turning_marks(rng, radius, angle)
    px = canvas.px
    height = 5.5 * soften(coverage, 1.6 * px) * px + 4.0 * soften(hub, 1.4 * px) * px + 0.05 * marks
    across = np.cos(angle - np.float32(0.9 + canvas.pose.angle))
    sheen = np.square(np.square(across)) * np.float32(0.34) + np.float32(0.05)
    sheen = sheen * (1 + 0.09 * marks) * coverage
    tone = 0.25 * (1 + 0.025 * marks + 0.015 * noise(rng, canvas.size_px, 9.0 * px))
    albedo = tone[..., None] * np.array([0.97, 0.985, 1.0], np.float32)
    return Surface(coverage, height, albedo.astype(np.float32), np.full_like(body, 0.5), sheen, feature)


def _rounded_square(half: float, corner: float) -> NDArray[np.float64]:
    turn = np.linspace(0, np.pi / 2, 9)
    arc = np.stack([np.cos(turn), np.sin(turn)], axis=1) * corner + (half - corner)
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    corners = [arc]
    for _ in range(3):
        corners.append(corners[-1] @ quarter.T)
    return np.concatenate(corners)


def _petal(turn: float) -> NDArray[np.float64]:
    along = np.linspace(0, np.pi, 24)
    upper = np.stack([0.08 + 0.34 * (1 - np.cos(along)) / 2, 0.105 * np.sin(along) ** 1.3], axis=1)
    outline = np.concatenate([upper, upper[::-1] * (1.0, -1.0)])
    c, s = np.cos(turn), np.sin(turn)
    return np.asarray(outline @ np.array([[c, s], [-s, c]]))


def _tile_print(canvas: Canvas, rng: np.random.Generator, missing: float) -> tuple[FloatField, NDArray[np.uint8]]:
    """Ink cover 0 … 1 of the tile's decoration, and where ink is missing."""
    ink = canvas.polygon(_rounded_square(0.665, 0.05)) - canvas.polygon(_rounded_square(0.64, 0.04))
    feature = np.zeros(ink.shape, np.uint8)
    faded = int(rng.integers(2 * _PETALS)) if missing else -1
    for index in range(_PETALS):
        turn = np.pi / 4 + index * np.pi / 2
        dot_at = (0.53 * float(np.cos(turn - np.pi / 4)), 0.53 * float(np.sin(turn - np.pi / 4)))
        for number, motif in ((index, canvas.polygon(_petal(turn))), (index + _PETALS, canvas.disc(*dot_at, 0.045))):
            if number == faded:
                feature[motif > 0.5] = 255
                motif = motif * np.float32(1 - missing)
            ink = np.maximum(ink, motif)
    return ink * np.float32(rng.normal(0.86, 0.012)), feature


def tile(canvas: Canvas, rng: np.random.Generator, missing: float) -> Surface:
    """A glazed ceramic tile with speckles and a printed ornament. Missing: the ink of one petal or dot."""
    px, size = canvas.px, canvas.size_px
    coverage = canvas.polygon(_rounded_square(0.83, 0.05))
    ink, feature = _tile_print(canvas, rng, missing)
    clouds = noise(rng, size, 22.0 * px)
    speckles = np.clip(noise(rng, size, 0.9 * px) - 2.1, 0, 1.4)
    ink = ink * np.clip(1 + 0.05 * noise(rng, size, 1.6 * px), 0, 1.1)
    glaze = np.array([0.66, 0.60, 0.50], np.float32) * float(rng.normal(1.0, 0.012))
    pigment = np.array([0.055, 0.12, 0.25], np.float32)
    body = glaze * (1 + 0.016 * clouds - 0.26 * speckles)[..., None]
    albedo = body + (pigment - body) * ink[..., None]
    height = 6.0 * px * soften(coverage, 3.2 * px) + 0.10 * px * noise(rng, size, 7.0 * px) - 0.10 * px * ink
    gloss = np.full_like(coverage, 0.62)
    return Surface(coverage, height, albedo.astype(np.float32), gloss, np.zeros_like(coverage), feature)


def _gear_outline(broken: int, missing: float) -> NDArray[np.float64]:
    pitch = 2 * np.pi / _TEETH
    profile = ((-0.50, 0.0), (-0.31, 0.0), (-0.24, 0.35), (-0.135, 1.0), (0.135, 1.0), (0.24, 0.35), (0.31, 0.0))
    points = []
    for tooth in range(_TEETH):
        cut = 1 - missing if tooth == broken else 1.0
        for offset, lift in profile:
            turn = (tooth + offset) * pitch
            reach = 0.70 + 0.145 * min(lift, cut)
            points.append((reach * np.cos(turn), reach * np.sin(turn)))
    return np.array(points)


def _windows(canvas: Canvas) -> FloatField:
    opened = np.zeros((canvas.size_px,) * 2, np.float32)
    for index in range(_SPOKES):
        middle, half = 2 * np.pi * (index + 0.5) / _SPOKES, 0.40
        outer = np.linspace(middle - half, middle + half, 12)
        inner = outer[::-1]
        ring = [(0.53 * np.cos(a), 0.53 * np.sin(a)) for a in outer] + [
            (0.33 * np.cos(a), 0.33 * np.sin(a)) for a in inner
        ]
        opened = np.maximum(opened, canvas.polygon(np.array(ring)))
    return opened


def gear(canvas: Canvas, rng: np.random.Generator, missing: float) -> Surface:
    """A moulded gear: teeth, rim, spokes, hub with keyway, ejector-pin marks. Missing: one tooth, or its tip."""
    px, size = canvas.px, canvas.size_px
    broken = int(rng.integers(_TEETH)) if missing else -1
    outline = canvas.polygon(_gear_outline(broken, missing))
    feature = np.zeros(outline.shape, np.uint8)
    if missing:
        feature[canvas.polygon(_gear_outline(-1, 0.0)) - outline > 0.5] = 255
    keyway = canvas.polygon(np.array([(-0.035, -0.17), (0.035, -0.17), (0.035, 0.0), (-0.035, 0.0)]))
    opened = np.maximum(np.maximum(canvas.disc(0, 0, 0.125), keyway), _windows(canvas))
    coverage = outline * (1 - opened)
    web = canvas.disc(0, 0, 0.60) - canvas.disc(0, 0, 0.25)
    pins = np.zeros_like(coverage)
    for index in range(_SPOKES):
        turn = 2 * np.pi * index / _SPOKES
        pins = np.maximum(pins, canvas.disc(0.425 * float(np.cos(turn)), 0.425 * float(np.sin(turn)), 0.042))
    height = (
        5.0 * px * soften(coverage, 1.8 * px) - 3.2 * px * soften(web, 1.8 * px) - 0.7 * px * soften(pins, 0.8 * px)
    )
    height += 0.04 * px * noise(rng, size, 1.1 * px) + 0.05 * px * noise(rng, size, 14.0 * px)
    flow = 1 + 0.03 * noise(rng, size, 26.0 * px) + 0.02 * noise(rng, size, 1.4 * px)
    albedo = flow[..., None] * np.array([0.15, 0.29, 0.33], np.float32) * float(rng.normal(1.0, 0.015))
    gloss = np.full_like(coverage, 0.42)
    return Surface(coverage, height, albedo.astype(np.float32), gloss, np.zeros_like(coverage), feature)


SHAPES: Mapping[str, ShapeMaker] = {"flange": flange, "tile": tile, "gear": gear}
