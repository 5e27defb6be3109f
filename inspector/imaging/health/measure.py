"""What one frame says of its camera, from a sample of its pixels: brightness by cell, clipping, fine detail by direction.

Costs a few tenths of a millisecond for 1.3 megapixels, whatever the frame holds: `python -m tests.benchmarks --only health`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from inspector.imaging.check import exposure
from inspector.imaging.pixels import Pixels, as_pixels
from inspector.part import Image

Floats = NDArray[np.float32]

MAX_CELLS = 80
"""Cells across the longer side of the picture."""
_LEAST_CELL_PX = 4
# Rows of a cell that are read, by the number of channels: a row in colour is three times as long.
_ROWS_OF_A_CELL = {1: 2, 3: 1}
_PARTS_OF_A_CELL = 4
# Blocks in which detail is looked for: rows and columns of them, and the size of one in pixels.
_BLOCKS = (6, 8)
_BLOCK_PX = (24, 32)
_STRUCTURED_SHARE = 0.25
DIRECTIONS_DEG = (0, 45, 90, 135)
# Distances (x, y) in pixels over which grey levels are compared, in the order of the directions: near, far.
_NEAR = ((2, 0), (1, 1), (0, 2), (-1, 1))
_FAR = ((8, 0), (6, 6), (0, 8), (-6, 6))
# Mean square difference over the far distance, in squared grey levels of 255, below which a block holds nothing to focus on.
_LEAST_STRUCTURE = 16.0
LEAST_SIDE_PX = 48
PROBES_PX = (0.75, 1.5, 3.0)
"""Deviations of the blurs that a camera's own frames are given at commissioning, to learn what its detail says of blur."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameHealth:
    """One frame, measured. Levels are on the 8-bit scale 0…255.

    `cells` is float32 (rows, columns, channels), the mean level of each cell, RGB or one channel; `saturated` the share of
    pixels with a clipped channel, 0…1. `detail` is float32 (2, 4): for each of `DIRECTIONS_DEG` (from x to y, y down) the mean
    square difference of near pixels, by that of far ones and by the squared level, NaN if the picture holds nothing to focus
    on. `probes` is float32 (3, 2, 4), the detail of the same frame blurred by each of `PROBES_PX`; only frames for a reference
    have it.
    """

    size_px: tuple[int, int]
    cells: Floats
    saturated: float
    detail: Floats
    probes: Floats | None = None

    @property
    def level(self) -> float:
        """Mean level of the whole frame."""
        return float(self.cells.mean())


def is_measurable(image: Image) -> bool:
    """Whether the picture is large enough to say anything of its camera."""
    return min(image.width_px, image.height_px) >= LEAST_SIDE_PX


def measure(image: Image, *, probe: bool = False) -> FrameHealth:
    """Measure one frame; with `probe` one for a reference, which takes some 50 ms. The caller has asked `is_measurable`."""
    scale = 255.0 / ((1 << image.bits) - 1)
    plane = image.pixels if image.pixels.ndim == 2 else image.pixels[:, :, 1]
    return FrameHealth(
        size_px=(image.width_px, image.height_px),
        cells=_cells(image.pixels, scale),
        saturated=exposure(image)[1],
        detail=_detail(_blocks(plane) * np.float32(scale)),
        probes=_probes(plane * np.float32(scale)) if probe else None,
    )


def _probes(plane: Floats) -> Floats:
    """Detail of a plane (height, width) that is blurred as a lens blurs it, before the sensor: its noise stays."""
    noise = _noise_of(_blocks(plane))
    grain = np.random.default_rng(0).standard_normal(plane.shape, np.float32) * np.float32(noise)
    found = [_detail(_blocks(cv2.GaussianBlur(plane, (0, 0), sigma) + grain)) for sigma in PROBES_PX]
    return np.stack(found)


def _noise_of(blocks: Floats) -> float:
    """Deviation of the sensor's noise: that of second differences in the quietest blocks (Immerkær, CVIU 64 (1996))."""
    second = blocks[:, :, 2:] - 2 * blocks[:, :, 1:-1] + blocks[:, :, :-2]
    each = 1.4826 * np.median(np.abs(second), axis=(1, 2)) / np.sqrt(6.0)
    return float(np.quantile(each, 0.1))


def cells_of(width_px: int, height_px: int) -> tuple[int, int]:
    """How many (columns, rows) of cells a picture of that size has."""
    side_px = max(_LEAST_CELL_PX, max(width_px, height_px) / MAX_CELLS)
    return max(1, round(width_px / side_px)), max(1, round(height_px / side_px))


def _cells(pixels: Pixels, scale: float) -> Floats:
    """Mean level by cell. Of tall cells some whole rows are read: single pixels would cost a cache line each."""
    height, width = pixels.shape[:2]
    columns, rows = cells_of(width, height)
    read = _ROWS_OF_A_CELL[1 if pixels.ndim == 2 else 3]
    step = max(1, height // (rows * read))
    sample = as_pixels(pixels[step // 2 :: step])
    # Averaging 8-bit levels rounds to whole ones, a tenth of a dark cell: the last step is in real numbers.
    fine = (min(width, columns * _PARTS_OF_A_CELL), min(sample.shape[0], rows * read))
    small = cv2.resize(sample, fine, interpolation=cv2.INTER_AREA).astype(np.float32)
    cells = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(cells * np.float32(scale), np.float32).reshape(rows, columns, -1)


def _detail(blocks: Floats) -> Floats:
    """How much of the contrast is fine, by direction, in the blocks that hold most contrast; blocks on the 8-bit scale.

    The mean square difference of pixels that lie some way apart is the structure function of the picture (Kolmogorov); its near
    value is the squared gradient of Pertuz et al., "Analysis of focus measure operators", Pattern Recognition 46 (2013). By
    the far value, light and contrast cancel, and what blur takes from edges is left; of textures finer than the blur it takes
    both, and only the level is left to measure by. Which of the two tells more, a camera's reference knows.
    """
    far = np.stack([_difference(blocks, *offset) for offset in _FAR])
    near = np.stack([_difference(blocks, *offset) for offset in _NEAR])
    contrast = far.sum(axis=0)
    strongest = np.argsort(contrast)[-max(1, round(contrast.size * _STRUCTURED_SHARE)) :]
    strongest = strongest[contrast[strongest] >= _LEAST_STRUCTURE * len(_FAR)]
    if not strongest.size:
        return np.full((2, len(DIRECTIONS_DEG)), np.nan, np.float32)
    fine = near[:, strongest].mean(axis=1)
    level = float(blocks[strongest].mean())
    return np.stack([fine / np.maximum(far[:, strongest].mean(axis=1), 1e-6), fine / max(level**2, 1.0)]).astype(
        np.float32
    )


def _blocks(plane: Pixels | Floats) -> Floats:
    """Blocks spread evenly over a plane (height, width), as float32 (blocks, rows, columns)."""
    height, width = plane.shape
    block_height, block_width = min(_BLOCK_PX[0], height), min(_BLOCK_PX[1], width)
    down = max(1, (height - block_height) // max(1, _BLOCKS[0] - 1))
    right = max(1, (width - block_width) // max(1, _BLOCKS[1] - 1))
    many = (1 + (height - block_height) // down, 1 + (width - block_width) // right)
    strides = plane.strides
    view = as_strided(
        plane,
        (min(many[0], _BLOCKS[0]), min(many[1], _BLOCKS[1]), block_height, block_width),
        (down * strides[0], right * strides[1], *strides),
        writeable=False,
    )
    return view.astype(np.float32).reshape(-1, block_height, block_width)


def _difference(blocks: Floats, x: int, y: int) -> Floats:
    """Mean square difference of pixels (x, y) apart, by block."""
    height, width = blocks.shape[1:]
    first = blocks[:, : height - y, max(0, -x) : width - max(0, x)]
    second = blocks[:, y:, max(0, x) : width - max(0, -x)]
    change = second - first
    return np.asarray(np.einsum("bij,bij->b", change, change) / change[0].size, np.float32)
