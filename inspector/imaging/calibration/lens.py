"""Lens and scale from pictures of the board, with what is known of their error.

The lens is that of Brown (radial k1, k2 and tangential p1, p2; Zhang, PAMI 22 (2000), as OpenCV fits it). The scale is that of
the plane in which the board lay: how long a pixel is there, over the whole field, and by which share that may be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import ConfigError
from inspector.imaging.calibration.board import Board, Corners

Floats = NDArray[np.float64]

_GRID = 9
_GROUPS = 6
# A focal length that the pictures leave open by more than this is not theirs: they were too few, or hardly tilted.
_FOCAL_SHARE = 0.05
_LENS_PICTURES = 5
# What stays fixed, from the simplest model of distortion to the richest: none, k1, k1 and k2, those with p1 and p2.
_MODELS = (
    cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_ZERO_TANGENT_DIST,
    cv2.CALIB_FIX_K2 | cv2.CALIB_ZERO_TANGENT_DIST,
    cv2.CALIB_ZERO_TANGENT_DIST,
    0,
)
# Without a lens of their own the pictures are taken by one whose picture is so many times its longer side away.
_LONG_FOCAL = 4.0
_FREE = (0, 1, 2, 4)
_COVERAGE = 0.5
# Twice the standard uncertainty holds in some 95 of 100 cases (JCGM 100:2008, 6.2).
COVERAGE_FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class Lens:
    """A camera's lens. `focal_px` and `centre_px` are (x, y); `distortion` is k1, k2, p1, p2.

    `is_fitted` says whether the focal length is that of the pictures; else only the distortion in the plane is known.
    """

    size_px: tuple[int, int]
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    distortion: tuple[float, float, float, float]
    rms_px: float
    is_fitted: bool

    @property
    def matrix(self) -> Floats:
        """The camera matrix, (3, 3)."""
        (fx, fy), (cx, cy) = self.focal_px, self.centre_px
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


@dataclass(frozen=True, slots=True)
class Scale:
    """How long a pixel is in the plane of the board. `uncertainty` is the share by which the true scale may differ.

    It is the sum of `field`, by how much the scale differs over the picture at most, and twice the standard uncertainty of the
    rest: `lens` of lens and place as the corners tell them, `board` of the board's tolerance, `height` of where the plane lies.
    """

    mm_per_px: float
    uncertainty: float
    field: float
    lens: float
    board: float
    height: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the pictures of a board say of a camera. `as_seen` is the scale of the picture as it comes, `straightened` of the
    picture without the lens's distortion. `coverage` is the share of the picture in which corners were seen.
    """

    board: Board
    pictures: int
    lens: Lens
    as_seen: Scale
    straightened: Scale
    coverage: float
    distance_mm: float | None
    tilt_deg: float


def calibrate(
    seen: Sequence[Corners], board: Board, size_px: tuple[int, int], *, height_tolerance_mm: float = 0.0
) -> Calibration:
    """Calibrate by the corners of several pictures; in the first the board lies where the parts lie.

    `height_tolerance_mm` is how far the parts' surface may lie above or below the board. Errors: ConfigError if the pictures
    do not do.
    """
    if not seen:
        raise ConfigError(
            "the board was found in no picture: light it evenly, focus, let it fill the picture, and try again"
        )
    lens, model = _fit_lens(seen, board, size_px)
    turn, place = _pose(seen[0], board, lens)
    distance_mm = float(place[2]) if lens.is_fitted else None
    if height_tolerance_mm and distance_mm is None:
        raise ConfigError(
            f"the height of the parts is given within {height_tolerance_mm:g} mm, and these pictures do not say how far away "
            f"the board is: take {_LENS_PICTURES} or more with the board tilted in various ways"
        )
    fixed = (
        board.tolerance_mm / math.hypot(*board.size_mm) / math.sqrt(3),
        height_tolerance_mm / distance_mm / math.sqrt(3) if distance_mm else 0.0,
    )
    others = [_refitted(seen, board, lens, model, left_out) for left_out in range(_GROUPS)]
    scales = [_scale(lens, (turn, place), others, fixed, straightened=way) for way in (False, True)]
    return Calibration(
        board=board,
        pictures=len(seen),
        lens=lens,
        as_seen=scales[0],
        straightened=scales[1],
        coverage=_covered(seen, size_px),
        distance_mm=distance_mm,
        tilt_deg=math.degrees(math.acos(min(1.0, abs(float(turn[2, 2]))))),
    )


def advice(calibration: Calibration) -> list[str]:
    """What should be better about it, in words; empty if nothing."""
    said = []
    if calibration.coverage < _COVERAGE:
        said.append(
            f"the board was seen in {calibration.coverage:.0%} of the picture: beyond that the lens is only supposed; move it "
            "into the corners, or use a larger one"
        )
    if not calibration.lens.is_fitted:
        said.append(
            "the focal length is open: the board was hardly tilted or seen too seldom. The scale in its plane is right, "
            "distances from the camera are not known"
        )
    if calibration.lens.rms_px > 0.5:
        said.append(
            f"corners lie {calibration.lens.rms_px:.2f} px from where the lens puts them: is the board flat, the picture "
            "sharp, the number of squares right?"
        )
    if calibration.as_seen.field > 0.01 and calibration.tilt_deg > 1:
        said.append(
            f"the camera looks at the plane {calibration.tilt_deg:.1f}° askew, and the scale differs by "
            f"±{calibration.as_seen.field:.1%} over the picture: set it upright"
        )
    return said


def to_plane(px: Floats, lens: Lens, turn: Floats, place: Floats, *, straightened: bool) -> Floats:
    """Where pixels (n, 2) lie in the plane of the board, in mm (n, 2)."""
    if straightened:
        rays = (px - np.array(lens.centre_px)) / np.array(lens.focal_px)
    else:
        rays = cv2.undistortPoints(px.reshape(-1, 1, 2), lens.matrix, np.array(lens.distortion)).reshape(-1, 2)
    directions = np.hstack([rays, np.ones((len(rays), 1))])
    normal = turn[:, 2]
    lengths = (normal @ place) / (directions @ normal)
    return np.asarray(((directions * lengths[:, None] - place) @ turn)[:, :2], np.float64)


def _fit_lens(seen: Sequence[Corners], board: Board, size_px: tuple[int, int]) -> tuple[Lens, int]:
    """The lens, and which of `_MODELS` it is: that of the least Bayesian information criterion (Schwarz, 1978).

    A term that the corners do not need would be let loose where there are none, in the corners of the picture.
    """
    if len(seen) >= _LENS_PICTURES:
        several = [_fit(seen, board, size_px, model, with_focal=True) for model in range(len(_MODELS))]
        best = min(range(len(_MODELS)), key=lambda model: several[model][1])
        lens, _, open_share = several[best]
        if open_share <= _FOCAL_SHARE:
            return lens, best
    # Only the board in its plane: the poses of the others would have to make up for the focal length.
    single = [_fit(seen[:1], board, size_px, model, with_focal=False) for model in range(len(_MODELS) - 1)]
    best = min(range(len(single)), key=lambda model: single[model][1])
    return single[best][0], best


def _fit(
    seen: Sequence[Corners], board: Board, size_px: tuple[int, int], model: int, *, with_focal: bool
) -> tuple[Lens, float, float]:
    """A lens of that model, its information criterion, and the share by which the focal length is open."""
    objects = [np.hstack([board.corner_mm(one.ids), np.zeros((len(one.ids), 1))]).astype(np.float32) for one in seen]
    pictures = [one.px.astype(np.float32).reshape(-1, 1, 2) for one in seen]
    focal, (width, height) = _LONG_FOCAL * max(size_px), size_px
    guess = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    flags = cv2.CALIB_FIX_K3 | _MODELS[model]
    if not with_focal:
        flags |= cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_FOCAL_LENGTH | cv2.CALIB_FIX_PRINCIPAL_POINT
    try:
        rms, matrix, distortion, _, _, spread, _, _ = cv2.calibrateCameraExtended(
            objects, pictures, size_px, guess, np.zeros(5), flags=flags
        )
    except cv2.error as error:
        raise ConfigError(f"the pictures of the board do not fit any lens ({error.err}): take new ones") from error
    found = np.ravel(np.asarray(matrix, np.float64)).reshape(3, 3)
    k1, k2, p1, p2 = (float(value) for value in np.ravel(np.asarray(distortion))[:4])
    open_shares = np.ravel(np.asarray(spread))[:2] / found[[0, 1], [0, 1]]
    lens = Lens(
        size_px=size_px,
        focal_px=(float(found[0, 0]), float(found[1, 1])),
        centre_px=(float(found[0, 2]), float(found[1, 2])),
        distortion=(k1, k2, p1, p2),
        rms_px=float(rms),
        is_fitted=with_focal,
    )
    count = 2 * sum(len(one.ids) for one in seen)
    criterion = count * math.log(max(float(rms) ** 2, 1e-12)) + _FREE[model] * math.log(count)
    return lens, criterion, float(open_shares.max())


def _refitted(
    seen: Sequence[Corners], board: Board, lens: Lens, model: int, left_out: int
) -> tuple[Lens, Floats, Floats]:
    """Lens and place without one of `_GROUPS` random groups of corners, in each picture."""
    kept = []
    for number, one in enumerate(seen):
        group = np.random.default_rng(number).permutation(len(one.ids)) % _GROUPS
        kept.append(Corners(one.px[group != left_out], one.ids[group != left_out]))
    used = kept if lens.is_fitted else kept[:1]
    own, _, _ = _fit(used, board, lens.size_px, model, with_focal=lens.is_fitted)
    return own, *_pose(kept[0], board, own)


def _pose(seen: Corners, board: Board, lens: Lens) -> tuple[Floats, Floats]:
    """How the board lies before the camera: its turn (3, 3) and its place (3,) in mm."""
    objects = np.hstack([board.corner_mm(seen.ids), np.zeros((len(seen.ids), 1))])
    found, turn, place = cv2.solvePnP(
        objects, seen.px, lens.matrix, np.array(lens.distortion), flags=cv2.SOLVEPNP_ITERATIVE
    )
    if not found:
        raise ConfigError("the board's place in the first picture cannot be told: lay it flat where the parts lie")
    return np.asarray(cv2.Rodrigues(turn)[0], np.float64), np.asarray(place, np.float64).ravel()


def _scale(
    lens: Lens,
    plane: tuple[Floats, Floats],
    others: Sequence[tuple[Lens, Floats, Floats]],
    fixed: tuple[float, float],
    *,
    straightened: bool,
) -> Scale:
    """Middle and half range of how long a pixel is, over a grid of the whole picture and in every direction.

    What the corners leave open is the jackknife's standard error (Efron and Tibshirani, 1993, chapter 11) where it is largest.
    """
    lengths = _lengths(lens, *plane, straightened=straightened)
    least, most = float(lengths.min()), float(lengths.max())
    middle = (least + most) / 2
    field = (most - least) / 2 / middle
    again = np.stack([_lengths(*other, straightened=straightened) for other in others])
    errors = np.sqrt((len(again) - 1) * np.mean((again - again.mean(axis=0)) ** 2, axis=0))
    open_share = float(errors.max()) / middle
    board, height = fixed
    total = field + COVERAGE_FACTOR * math.hypot(open_share, board, height)
    return Scale(middle, total, field, open_share, board, height)


def _lengths(lens: Lens, turn: Floats, place: Floats, *, straightened: bool) -> Floats:
    """How long a pixel is in mm, the longest and the shortest way, at each point of a grid: (n, 2)."""
    width, height = lens.size_px
    x, y = np.meshgrid(np.linspace(0, width - 1, _GRID), np.linspace(0, height - 1, _GRID))
    at = np.stack([x.ravel(), y.ravel()], axis=1)
    step = 0.5
    right, left, below, above = (
        to_plane(at + np.array(move) * step, lens, turn, place, straightened=straightened)
        for move in ((1, 0), (-1, 0), (0, 1), (0, -1))
    )
    jacobians = np.stack([right - left, below - above], axis=2) / (2 * step)
    return np.asarray(np.linalg.svd(jacobians, compute_uv=False), np.float64)


def _covered(seen: Sequence[Corners], size_px: tuple[int, int]) -> float:
    """Share of the picture within the hulls of the corners of all pictures together."""
    mask = np.zeros((64, 64), np.uint8)
    by = np.array([64 / size_px[0], 64 / size_px[1]])
    for one in seen:
        hull = cv2.convexHull((one.px * by).astype(np.float32))
        cv2.fillConvexPoly(mask, np.round(hull).astype(np.int32), 1)
    return float(mask.mean())
