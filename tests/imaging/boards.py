"""Pictures of a ChArUco board as a camera of known lens and place would take them: what calibration is held against."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.imaging.calibration.board import Board

Floats = NDArray[np.float64]
_TEXTURE_PX_PER_MM = 12.0
_MARGIN_MM = 12.0
_FINER = 3


@dataclass(frozen=True, slots=True)
class Camera:
    """The truth: lens and size in pixels."""

    width_px: int = 640
    height_px: int = 512
    focal_px: float = 1400.0
    k1: float = 0.0
    k2: float = 0.0
    noise: float = 2.0

    @property
    def matrix(self) -> Floats:
        centre = (self.width_px - 1) / 2 + 3.0, (self.height_px - 1) / 2 - 2.0
        return np.array([[self.focal_px, 0, centre[0]], [0, self.focal_px, centre[1]], [0, 0, 1]])

    @property
    def distortion(self) -> Floats:
        return np.array([self.k1, self.k2, 0.0, 0.0])


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the board's middle lies before the camera, in mm, and how it is turned about x, y and z, in degrees."""

    x_mm: float = 0.0
    y_mm: float = 0.0
    z_mm: float = 400.0
    about_x: float = 0.0
    about_y: float = 0.0
    about_z: float = 0.0

    @property
    def turn(self) -> Floats:
        turn = np.eye(3)
        for axis, angle in ((0, self.about_x), (1, self.about_y), (2, self.about_z)):
            vector = np.zeros(3)
            vector[axis] = np.deg2rad(angle)
            turn = turn @ cv2.Rodrigues(vector)[0]
        return np.asarray(turn)

    def place(self, board: Board) -> Floats:
        """Of the board's top left corner."""
        width, height = board.size_mm
        return np.array([self.x_mm, self.y_mm, self.z_mm]) - self.turn @ np.array([width / 2, height / 2, 0])


def plane_mm(px: Floats, camera: Camera, pose: Pose, board: Board) -> Floats:
    """Where pixels (n, 2) look at the board's plane, in mm from its top left corner: the truth."""
    rays = cv2.undistortPoints(px.reshape(-1, 1, 2), camera.matrix, camera.distortion).reshape(-1, 2)
    directions = np.hstack([rays, np.ones((len(rays), 1))])
    turn, place = pose.turn, pose.place(board)
    lengths = (turn[:, 2] @ place) / (directions @ turn[:, 2])
    return np.asarray(((directions * lengths[:, None] - place) @ turn)[:, :2])


def true_scales(camera: Camera, pose: Pose, board: Board) -> Floats:
    """How long a pixel is, along and across, on a grid over the whole picture: (n,) mm."""
    x, y = np.meshgrid(np.linspace(1, camera.width_px - 2, 12), np.linspace(1, camera.height_px - 2, 10))
    at = np.stack([x.ravel(), y.ravel()], axis=1)
    found = []
    for move in ((1.0, 0.0), (0.0, 1.0)):
        there = plane_mm(at + np.array(move) / 2, camera, pose, board) - plane_mm(
            at - np.array(move) / 2, camera, pose, board
        )
        found.append(np.hypot(there[:, 0], there[:, 1]))
    return np.concatenate(found)


def photograph_board(
    board: Board, camera: Camera, pose: Pose, *, printed: float = 1.0, seed: int = 0
) -> NDArray[np.uint8]:
    """The picture, uint8 (height, width). `printed` is how much larger than meant the board came out of the printer."""
    texture = np.pad(board.draw(_TEXTURE_PX_PER_MM), round(_MARGIN_MM * _TEXTURE_PX_PER_MM), constant_values=255)
    drawn_px_per_mm = board.draw(_TEXTURE_PX_PER_MM).shape[1] / board.size_mm[0]
    fine_width, fine_height = camera.width_px * _FINER, camera.height_px * _FINER
    step = 8
    x, y = np.meshgrid(np.arange(-step, fine_width + step, step), np.arange(-step, fine_height + step, step))
    at = (np.stack([x.ravel(), y.ravel()], axis=1) + 0.5) / _FINER - 0.5
    mm = plane_mm(at, camera, pose, board).reshape(*x.shape, 2) / printed
    fine_x, fine_y = np.meshgrid(np.arange(fine_width), np.arange(fine_height))
    coarse = [(each.astype(np.float32) + step) / step for each in (fine_x, fine_y)]
    where = [cv2.remap(mm[..., axis].astype(np.float32), coarse[0], coarse[1], cv2.INTER_CUBIC) for axis in (0, 1)]
    margin = round(_MARGIN_MM * _TEXTURE_PX_PER_MM)
    maps = [np.asarray(each * drawn_px_per_mm + margin - 0.5, np.float32) for each in where]
    fine = cv2.remap(texture, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=200)
    seen = cv2.resize(fine, (camera.width_px, camera.height_px), interpolation=cv2.INTER_AREA).astype(np.float64)
    seen = cv2.GaussianBlur(30 + seen * 0.7, (0, 0), 0.6)
    noise = np.random.default_rng(seed).normal(0, camera.noise, seen.shape)
    return np.clip(np.round(seen + noise), 0, 255).astype(np.uint8)
