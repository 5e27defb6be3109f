"""The model's input: right size, right values, no copy where none is needed, and fast."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imaging.pictures import file_of, frame, smooth_grey, smooth_rgb
from numpy.typing import NDArray

from inspector.errors import FrameError
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.normalise import normalise, resize
from inspector.part import Box, Image, PixelFormat, Reason


def whole(image: Image) -> Box:
    return Box(0, 0, image.width_px, image.height_px)


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    target=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    colour=st.booleans(),
    bits=st.sampled_from([8, 10, 12, 16]),
    channels=st.sampled_from([1, 3]),
    data=st.data(),
)
def test_every_region_of_every_picture_gives_the_model_s_shape(
    width: int, height: int, target: tuple[int, int], colour: bool, bits: int, channels: int, data: st.DataObject
) -> None:
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    region = Box(x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
    level = data.draw(st.integers(0, (1 << bits) - 1))
    pixels = np.full((height, width, 3) if colour else (height, width), level, np.uint8 if bits == 8 else np.uint16)
    result = normalise(Image(pixels, bits), region, *target, channels)
    assert result.shape == (target[1], target[0], channels)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert np.abs(result - level * 255 / ((1 << bits) - 1)).max() <= 0.51


def test_nothing_is_copied_when_nothing_changes() -> None:
    for pixels, channels in ((smooth_rgb(), 3), (smooth_grey(), 1)):
        image = Image(pixels)
        result = normalise(image, whole(image), 61, 47, channels)
        assert np.shares_memory(result, pixels)
        np.testing.assert_array_equal(result.reshape(pixels.shape), pixels)


def test_a_region_of_the_model_s_size_is_cut_exactly() -> None:
    rgb = smooth_rgb()
    result = normalise(Image(rgb), Box(7, 5, 20, 30), 20, 30, 3)
    np.testing.assert_array_equal(result, rgb[5:35, 7:27])
    assert result.flags.c_contiguous


def test_channels() -> None:
    rgb = smooth_rgb()
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(normalise(Image(rgb), Box(0, 0, 61, 47), 61, 47, 1)[:, :, 0], grey)
    assert np.abs(grey - rgb @ [0.299, 0.587, 0.114]).max() < 1, "weights of BT.601, in RGB order"
    three = normalise(Image(grey), Box(0, 0, 61, 47), 61, 47, 3)
    np.testing.assert_array_equal(three, np.repeat(grey[:, :, None], 3, axis=2))


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "RGB"])
@pytest.mark.parametrize(
    ("width", "height", "target"),
    [
        pytest.param(1280, 1024, (224, 224), id="camera frame"),
        pytest.param(1279, 1023, (224, 224), id="odd sizes"),
        pytest.param(500, 1240, (224, 224), id="tall"),
        pytest.param(448, 448, (224, 224), id="exact half"),
        pytest.param(300, 250, (224, 224), id="less than half"),
    ],
)
def test_shrinking_averages_areas(width: int, height: int, target: tuple[int, int], colour: bool) -> None:
    rgb = smooth_rgb(width, height)
    pixels = rgb if colour else np.ascontiguousarray(rgb[:, :, 0])
    exact = cv2.resize(pixels.astype(np.float32), target, interpolation=cv2.INTER_AREA)
    error = np.abs(resize(pixels, *target) - exact)
    assert error.max() <= 15
    assert error.mean() < 2.5


def test_shrinking_by_a_power_of_two_is_exact() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (256, 512), dtype=np.uint8)
    exact = noise.reshape(64, 4, 128, 4).mean(axis=(1, 3))
    assert np.abs(resize(noise, 128, 64) - exact).max() <= 1


def test_a_checkerboard_becomes_grey_not_a_pattern() -> None:
    board = (np.indices((1000, 1000)).sum(axis=0) % 2 * 255).astype(np.uint8)
    for target in ((224, 224), (100, 900), (900, 100), (333, 500)):
        shrunk = resize(board, *target)
        assert abs(float(shrunk.mean()) - 127.5) < 1
    assert int(np.ptp(resize(board, 224, 224))) <= 40


def test_an_axis_that_shrinks_is_averaged_while_the_other_grows() -> None:
    rows = np.random.default_rng(4).integers(0, 256, 1000, dtype=np.uint8)
    result = resize(np.repeat(rows[:, None], 20, axis=1), 100, 50)
    assert result.shape == (50, 100)
    assert np.abs(result - rows.reshape(50, 20).mean(axis=1)[:, None]).max() <= 1


@pytest.mark.parametrize(
    "region",
    [Box(0, 0, 62, 47), Box(1, 0, 61, 47), Box(-1, 0, 5, 5), Box(0, 0, 0, 5), Box(60, 46, 2, 1), Box(0, 2**40, 1, 1)],
)
def test_a_region_beyond_the_picture_is_refused(region: Box) -> None:
    with pytest.raises(FrameError, match="61 × 47 px") as caught:
        normalise(Image(smooth_grey()), region, 10, 10, 1)
    assert caught.value.reason is Reason.PART_NOT_FOUND


def test_a_jpeg_tile_is_ready_faster_than_in_the_bare_loop() -> None:
    data = file_of(smooth_rgb(224, 224), "JPEG", quality=90)
    sent, limits, region = frame(PixelFormat.JPEG, data), DecodeLimits(), Box(0, 0, 224, 224)

    def bare() -> NDArray[np.float32]:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        picture = cv2.cvtColor(cv2.resize(picture, (224, 224)), cv2.COLOR_BGR2RGB)
        return (picture.astype(np.float32) / 255 - 0.5) / 0.25

    def ours() -> NDArray[np.uint8]:
        return normalise(decode(sent, limits), region, 224, 224, 3)

    # Interleaved, and the best of each, so that a busy machine disturbs both alike.
    seconds = [(_seconds(ours), _seconds(bare)) for _ in range(60)]
    assert min(s[0] for s in seconds) < min(s[1] for s in seconds)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
