"""The light over the picture, now against then: a smooth change, a shift of what stands still, and what is left in place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.imaging.health.measure import Floats
from inspector.imaging.health.reference import TO_SIGMA, Reference
from inspector.imaging.health.window import Summary

_ROUNDS = 4
_STEPS = 4
# Huber's constant: beyond so many deviations a cell counts less (Huber, "Robust estimation of a location parameter", 1964).
_HUBER = 1.345
# Neighbouring cells share parts and lens: so many of them say what one independent cell would.
_ALIKE_CELLS = 9.0
_LEAST_SPREAD = 0.01
# A shift must explain this share of what the smooth change leaves, or something else has happened.
_EXPLAINED = 0.5
_LEAST_DEPTH = 0.06
_EDGE_SHARE = 0.5
_SURE = 7.5
_BLOB_CELLS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """What has become of the light. All changes are logarithms, positive for brighter.

    `centre` is that of the picture's centre, `corners` that of the corners against it, `across` (x, y) those of the right
    against the left and the bottom against the top edge. `shift_px` is (x, y), how far what stands still has moved in the
    picture. Each has its deviation. `left` is float32 (rows, columns): what neither explains.
    """

    centre: float
    centre_sigma: float
    corners: float
    corners_sigma: float
    across: tuple[float, float]
    across_sigma: float
    shift_px: tuple[float, float]
    shift_sigma_px: float
    left: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    terms: NDArray[np.float64]
    sigmas: NDArray[np.float64]
    left: Floats
    cost: float


@dataclass(frozen=True, slots=True)
class Blob:
    """Something that has become darker or brighter in place: its centre, its cells, and the mean change as a logarithm."""

    x_px: int
    y_px: int
    cells: int
    change: float


def field_of(now: Floats, reference: Reference) -> Field:
    """Explain the median frame `now` by the reference."""
    weights = np.where(reference.usable, 1 / (reference.spread**2 + _LEAST_SPREAD**2), 0.0)
    plain = _fit(now - reference.middle, weights, _surface(now.shape))
    # As sure as a shift could be told if there were one: without marks in what stands still, not at all.
    still = _fit(now - reference.middle, weights, np.concatenate([_surface(now.shape), _slopes(reference.middle)]))
    shift, shifted = _shift(now, reference, weights)
    moved = shifted is not None and shifted.cost < (1 - _EXPLAINED) * plain.cost
    used = shifted if moved and shifted is not None else plain
    cell_px = reference.size_px[0] / now.shape[1]
    terms, sigmas = used.terms, used.sigmas
    return Field(
        centre=float(terms[0]),
        centre_sigma=float(sigmas[0]),
        corners=float(terms[3]),
        corners_sigma=float(sigmas[3]),
        across=(2 * float(terms[1]), 2 * float(terms[2])),
        across_sigma=2 * float(max(sigmas[1:3])),
        shift_px=(shift[0] * cell_px, shift[1] * cell_px) if moved else (0.0, 0.0),
        shift_sigma_px=float(max((sigmas if moved else still.sigmas)[4:6])) * cell_px,
        left=used.left,
    )


def blobs_in(left: Floats, summary: Summary, reference: Reference, blur_px: float) -> list[Blob]:
    """What has changed in place beyond what parts, edges, blur and chance explain; the largest first."""
    cell_px = reference.size_px[0] / left.shape[1]
    chance = _SURE * math.sqrt(1 / summary.held + 1 / max(1, reference.frames))
    kernel = np.ones((3, 3), np.uint8)
    # Where the still picture has an edge, a little blur or shift changes a cell too.
    edges = (cv2.dilate(reference.middle, kernel) - cv2.erode(reference.middle, kernel)) * (
        _EDGE_SHARE + blur_px / cell_px
    )
    allowed = np.maximum(np.maximum(_LEAST_DEPTH, edges), reference.spread * max(1.0, chance))
    changed = (np.abs(left) > allowed) & reference.usable
    count, labels, stats, centres = cv2.connectedComponentsWithStats(changed.astype(np.uint8), connectivity=8)
    found = [
        Blob(
            x_px=round((float(centres[number][0]) + 0.5) * cell_px),
            y_px=round((float(centres[number][1]) + 0.5) * cell_px),
            cells=int(stats[number][cv2.CC_STAT_AREA]),
            change=float(left[labels == number].mean()),
        )
        for number in range(1, count)
        if stats[number][cv2.CC_STAT_AREA] >= _BLOB_CELLS
    ]
    return sorted(found, key=lambda blob: -blob.cells)


def _surface(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Terms of the smooth change, (4, rows, columns): even, along x and y (−1…1 from edge to edge), r² (1 in the corners)."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    return np.stack([np.ones(shape), x, y, (x * x + y * y) / 2])


def _fit(change: Floats, weights: NDArray[np.float64], terms: NDArray[np.float64]) -> _Fit:
    """Weighted least squares in which outliers count less; `cost` is the sum of Huber's function over what is left."""
    flat, base = terms.reshape(len(terms), -1).T, weights.ravel()
    wanted, used = change.ravel().astype(np.float64), weights.ravel()
    solved: NDArray[np.float64] = np.zeros(len(terms))
    left = wanted
    for _ in range(_ROUNDS):
        normal = (flat * used[:, None]).T @ flat + 1e-9 * np.eye(len(terms))
        solved = np.asarray(np.linalg.solve(normal, (flat * used[:, None]).T @ wanted), np.float64)
        left = wanted - flat @ solved
        scaled = np.abs(left) * np.sqrt(base)
        unit = max(TO_SIGMA * float(np.median(scaled[base > 0])), 1e-6)
        used = base * np.minimum(1.0, _HUBER * unit / np.maximum(scaled, 1e-12))
    spread = unit * math.sqrt(_ALIKE_CELLS)
    sigmas = np.sqrt(np.diag(np.linalg.inv(normal))) * spread
    cost = float(np.sum(np.where(scaled <= 3.0, scaled**2, 6.0 * scaled - 9.0)))
    return _Fit(solved, sigmas, left.reshape(change.shape).astype(np.float32), cost)


def _shift(now: Floats, reference: Reference, weights: NDArray[np.float64]) -> tuple[tuple[float, float], _Fit | None]:
    """The shift (x, y) in cells that explains the change best, and the fit with it.

    Steps of Lucas and Kanade ("An iterative image registration technique", IJCAI 1981), beside the smooth change, from no shift
    and from the one that phase correlation finds.
    """
    best: tuple[tuple[float, float], _Fit | None] = ((0.0, 0.0), None)
    for start in ((0.0, 0.0), _coarse_shift(now, reference)):
        x, y = start
        for _ in range(_STEPS):
            if max(abs(x), abs(y)) > min(now.shape) / 4:
                break
            there = _moved(reference.middle, x, y)
            seen = np.where(
                _moved(reference.usable.astype(np.float32), x, y) > 0.99, _moved_weights(weights, x, y), 0.0
            )
            fit = _fit(now - there, seen, np.concatenate([_surface(now.shape), _slopes(there)]))
            if best[1] is None or fit.cost < best[1].cost:
                best = (x + float(fit.terms[4]), y + float(fit.terms[5])), fit
            x, y = x + float(np.clip(fit.terms[4], -1, 1)), y + float(np.clip(fit.terms[5], -1, 1))
    return best


def _slopes(cells: Floats) -> NDArray[np.float64]:
    """How a small shift to the right, and one down, changes each cell: (2, rows, columns)."""
    return np.stack([-np.gradient(cells, axis=1), -np.gradient(cells, axis=0)]).astype(np.float64)


def _coarse_shift(now: Floats, reference: Reference) -> tuple[float, float]:
    """By phase correlation of what stands out from its surroundings."""
    window = cv2.createHanningWindow(now.shape[::-1], cv2.CV_32F)
    pair = [(each - cv2.GaussianBlur(each, (0, 0), 3.0)).astype(np.float32) for each in (reference.middle, now)]
    (x, y), _ = cv2.phaseCorrelate(pair[0], pair[1], window)
    return (float(x), float(y)) if math.isfinite(x) and math.isfinite(y) else (0.0, 0.0)


def _moved(cells: Floats, x: float, y: float) -> Floats:
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(cells, move, cells.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _moved_weights(weights: NDArray[np.float64], x: float, y: float) -> NDArray[np.float64]:
    move = np.array([[1, 0, x], [0, 1, y]], np.float64)
    return np.asarray(cv2.warpAffine(weights, move, weights.shape[::-1], flags=cv2.INTER_NEAREST), np.float64)
