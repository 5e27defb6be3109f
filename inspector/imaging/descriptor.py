"""What a picture is like, as one short vector: pictures that look alike have vectors that point the same way.

No network and no training: layout of brightness, directions of edges, fineness of texture and colour, each on a coarse grid, as
in HOG (Dalal and Triggs 2005) and the MPEG-7 layout descriptors. The same pixels give the same vector on every machine, up to
rounding; it takes a few milliseconds.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""Vectors of two versions cannot be compared."""
_SIDE_PX = 64
_GRID = 4
_DIRECTIONS = 8
_SCALES = (1.0, 2.0, 4.0)
_WEIGHTS = (1.0, 1.0, 0.7, 0.5)
"""Of layout, edges, texture and colour."""
LENGTH = 8 * 8 + _GRID * _GRID * (_DIRECTIONS + len(_SCALES)) + 2 * 2 * 3


def describe(pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
    """The vector of a picture, float16 (LENGTH,) of length 1.

    `pixels` are uint8 (height, width) grey or (height, width, 3) RGB of any size. The product of two vectors is 1 for the same
    picture and near 0 for two that have nothing in common.
    """
    small = np.asarray(cv2.resize(pixels, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA), np.uint8)
    grey = (small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)).astype(np.float32)
    even = (grey - grey.mean()) / (grey.std() + 4.0)
    blocks = (_layout(even), _edges(even), _texture(even), _colour(small))
    vector = np.concatenate(
        [weight * block / (np.linalg.norm(block) + 1e-3) for weight, block in zip(_WEIGHTS, blocks, strict=True)]
    )
    return np.asarray(vector / (np.linalg.norm(vector) + 1e-9), np.float16)


def _layout(even: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness of 8 × 8 cells."""
    return np.asarray(cv2.resize(even, (8, 8), interpolation=cv2.INTER_AREA).ravel(), np.float32)


def _cells(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of each cell of the grid."""
    return np.asarray(cv2.resize(values, (_GRID, _GRID), interpolation=cv2.INTER_AREA).ravel(), np.float32)


def _edges(even: NDArray[np.float32]) -> NDArray[np.float32]:
    """How strong edges of each direction are in each cell; square roots, so that one strong edge does not speak for all."""
    across, down = cv2.Sobel(even, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(even, cv2.CV_32F, 0, 1, ksize=3)
    strength = np.sqrt(across * across + down * down)
    place = np.mod(np.arctan2(down, across), np.pi) * (_DIRECTIONS / np.pi)
    found = []
    for direction in range(_DIRECTIONS):
        # Shared between the two nearest directions, so that a small turn changes little.
        away = np.abs(place - direction)
        near = np.maximum(0.0, 1.0 - np.minimum(away, _DIRECTIONS - away)).astype(np.float32)
        found.append(_cells(np.asarray(strength * near, np.float32)))
    return np.sqrt(np.concatenate(found))


def _texture(even: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much there is in each cell of each fineness."""
    found, before = [], even
    for scale in _SCALES:
        after = cv2.GaussianBlur(even, (0, 0), scale)
        detail = np.asarray(before - after, np.float32)
        found.append(np.sqrt(_cells(detail * detail)))
        before = np.asarray(after, np.float32)
    return np.concatenate(found)


def _colour(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How far red, green and blue are from grey in each quarter; nothing for grey pictures."""
    if small.ndim == 2:
        return np.zeros(12, np.float32)
    quarters = cv2.resize(small.astype(np.float32), (2, 2), interpolation=cv2.INTER_AREA).reshape(4, 3)
    return np.asarray((quarters - quarters.mean(axis=1, keepdims=True)).ravel() / 255.0 + 0.0, np.float32)
