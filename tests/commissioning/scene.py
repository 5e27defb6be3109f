"""A camera before a fixture, as files: an even target, the board, then parts; with a known lens, scale and fall of light."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
from imaging.boards import Camera, Pose, photograph_board
from numpy.typing import NDArray

from inspector.imaging.calibration.board import Board

BOARD = Board(columns=13, rows=10, square_mm=14.0)
CAMERA = Camera(width_px=480, height_px=384, focal_px=1050.0, k1=-0.2)
PLANE = Pose(z_mm=400)
TILTED = (
    Pose(x_mm=-20, y_mm=10, z_mm=420, about_x=22, about_z=10),
    Pose(x_mm=20, y_mm=-10, z_mm=410, about_y=25, about_z=-15),
    Pose(x_mm=10, y_mm=15, z_mm=430, about_x=-20, about_y=15, about_z=80),
    Pose(x_mm=-15, y_mm=-12, z_mm=380, about_x=12, about_y=-24),
)
FLATS = 8


def fall_of_light() -> NDArray[np.float64]:
    """How much of the light reaches each pixel: a quarter less in the corners."""
    y, x = np.mgrid[0 : CAMERA.height_px, 0 : CAMERA.width_px]
    across, down = 2 * x / CAMERA.width_px - 1, 2 * y / CAMERA.height_px - 1
    return np.asarray(1 - 0.25 * (across**2 + down**2) / 2)


@functools.cache
def flats() -> list[NDArray[np.uint8]]:
    """An even target under that light."""
    rng = np.random.default_rng(0)
    return [_seen(np.full((CAMERA.height_px, CAMERA.width_px), 200.0), rng) for _ in range(FLATS)]


@functools.cache
def boards(*, tilted: bool = True) -> list[NDArray[np.uint8]]:
    """The board where the parts lie, then tilted."""
    poses = (PLANE, *TILTED) if tilted else (PLANE,)
    return [photograph_board(BOARD, CAMERA, pose, seed=number) for number, pose in enumerate(poses)]


@functools.cache
def parts(count: int, *, light: float = 1.0, seed: int = 1) -> list[NDArray[np.uint8]]:
    """Parts in a fixture whose edges stand still."""
    rng = np.random.default_rng(seed)
    return [_seen(_part(rng) * light, rng) for _ in range(count)]


def _part(rng: np.random.Generator) -> NDArray[np.float64]:
    scene = np.full((CAMERA.height_px, CAMERA.width_px), 70.0, np.float32)
    x, y = (int(move) for move in rng.integers(-4, 5, 2))
    cv2.rectangle(scene, (135 + x, 95 + y), (345 + x, 285 + y), 150 + 8 * float(rng.standard_normal()), -1)
    cv2.circle(scene, (240 + x, 190 + y), 40, 60.0, -1)
    cv2.line(scene, (15, 8), (15, 376), 140.0, 5)
    cv2.line(scene, (8, 368), (472, 368), 120.0, 4)
    return np.asarray(cv2.GaussianBlur(scene, (0, 0), 0.8), np.float64)


def _seen(scene: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    seen = scene * fall_of_light() + rng.normal(0, 1.5, scene.shape)
    return np.clip(np.round(seen), 0, 255).astype(np.uint8)


def write(folder: Path, pictures: list[NDArray[np.uint8]]) -> Path:
    """As the files of a folder camera, in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:04d}.png"), picture)
    return folder
