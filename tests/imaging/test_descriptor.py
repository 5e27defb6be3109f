"""What pictures are like: what a person would call alike comes out more alike than what they would not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.imaging.descriptor import LENGTH, describe


def part(seed: int) -> NDArray[np.uint8]:
    """A textured part with a few shapes."""
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.normal(120, 60, (160, 200)).astype(np.float32), (0, 0), 2)
    for _ in range(6):
        centre = (int(rng.integers(20, 180)), int(rng.integers(20, 140)))
        cv2.circle(picture, centre, int(rng.integers(6, 24)), float(rng.integers(0, 255)), -1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def likeness(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(describe(a).astype(np.float32) @ describe(b).astype(np.float32))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda p: p, id="itself"),
        pytest.param(lambda p: cv2.resize(p, (100, 80), interpolation=cv2.INTER_AREA), id="smaller"),
        pytest.param(lambda p: np.clip(p * 0.7 + 20, 0, 255).astype(np.uint8), id="another exposure"),
        pytest.param(lambda p: np.roll(p, 2, axis=1), id="a little aside"),
        pytest.param(lambda p: cv2.GaussianBlur(p, (0, 0), 1), id="a little out of focus"),
        pytest.param(lambda p: np.dstack([p] * 3), id="grey in three channels"),
    ],
)
def test_the_same_part_is_more_alike_than_any_other(change) -> None:  # type: ignore[no-untyped-def]
    one = part(0)
    others = max(likeness(one, part(seed)) for seed in range(1, 12))
    assert likeness(one, np.asarray(change(one), np.uint8)) > max(0.95, others)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.zeros((1, 1), np.uint8), id="one pixel"),
        pytest.param(np.full((3000, 10), 255, np.uint8), id="long and blank"),
        pytest.param(np.zeros((40, 40, 3), np.uint8), id="black, in colour"),
        pytest.param(part(1), id="a part"),
    ],
)
def test_every_picture_has_a_finite_description_of_one_length(pixels: NDArray[np.uint8]) -> None:
    vector = describe(pixels)
    assert (vector.shape, vector.dtype) == ((LENGTH,), np.float16)
    assert np.isfinite(vector).all()
    assert float(np.linalg.norm(vector.astype(np.float32))) <= 1.01


def test_colour_counts() -> None:
    red, blue = np.zeros((50, 50, 3), np.uint8), np.zeros((50, 50, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 200
    assert likeness(red, red) > 0.9 > likeness(red, blue)
