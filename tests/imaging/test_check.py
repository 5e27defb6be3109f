"""Too dark, saturated, blurred: measured alike for every pixel format, and told with the figures."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imaging.pictures import smooth_grey
from numpy.typing import NDArray

from inspector.errors import ConfigError, FrameError
from inspector.imaging.check import CheckSpec, check_exposure, check_sharpness, exposure, sharpness
from inspector.part import Box, Image, Reason


def textured(width: int = 640, height: int = 480) -> NDArray[np.uint8]:
    """A grainy surface, sharp to the pixel, values 60…140."""
    return np.random.default_rng(2).integers(60, 141, (height, width), dtype=np.uint8)


def whole(image: Image) -> Box:
    return Box(0, 0, image.width_px, image.height_px)


@pytest.mark.parametrize("shape", [(1, 1), (480, 640), (1024, 1280), (3, 5000), (480, 640, 3)])
@pytest.mark.parametrize(("bits", "level"), [(8, 51), (10, 205), (12, 819), (16, 13107)])
def test_mean_is_on_the_8_bit_scale(shape: tuple[int, ...], bits: int, level: int) -> None:
    mean, saturated = exposure(Image(np.full(shape, level, np.uint8 if bits == 8 else np.uint16), bits))
    assert mean == pytest.approx(51, abs=0.2)
    assert saturated == 0


@pytest.mark.parametrize(("bits", "full"), [(8, 255), (10, 1023), (12, 4095), (16, 65535)])
def test_the_saturated_share_is_found_in_every_bit_depth(bits: int, full: int) -> None:
    pixels = np.zeros((480, 640), np.uint8 if bits == 8 else np.uint16)
    pixels[:120] = full
    assert exposure(Image(pixels, bits))[1] == pytest.approx(0.25, abs=0.01)


def test_one_clipped_channel_makes_a_pixel_saturated() -> None:
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[:, :100, 0] = 255
    assert exposure(Image(pixels))[1] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("level", "spec", "reason", "says"),
    [
        (10, CheckSpec(min_mean=20), Reason.IMAGE_TOO_DARK, "10.0 of 255, needed 20"),
        (255, CheckSpec(max_saturated_share=0.1), Reason.IMAGE_SATURATED, "100.0% of the picture"),
    ],
)
def test_bad_exposure_is_refused_with_its_figures(level: int, spec: CheckSpec, reason: Reason, says: str) -> None:
    with pytest.raises(FrameError) as caught:
        check_exposure(Image(np.full((50, 50), level, np.uint8)), spec)
    assert caught.value.reason is reason
    assert says in str(caught.value)


@pytest.mark.parametrize("off", [None, 0.0], ids=["None", "0"])
def test_none_and_0_switch_every_check_off(off: float | None) -> None:
    spec = CheckSpec(off, off, off)
    for level in (0, 255):
        image = Image(np.full((50, 50), level, np.uint8))
        check_exposure(image, spec)
        check_sharpness(image, whole(image), spec)


def test_a_good_picture_passes_every_check() -> None:
    image = Image(textured())
    spec = CheckSpec(min_mean=50, max_saturated_share=0.01, min_sharpness=100)
    check_exposure(image, spec)
    check_sharpness(image, whole(image), spec)


def test_a_blurred_picture_is_refused_with_its_figures() -> None:
    image = Image(cv2.GaussianBlur(textured(), (0, 0), 3))
    with pytest.raises(FrameError, match=r"sharpness is \d+\.\d, needed 100") as caught:
        check_sharpness(image, whole(image), CheckSpec(min_sharpness=100))
    assert caught.value.reason is Reason.IMAGE_BLURRED


def test_sharpness_falls_with_every_step_of_blur() -> None:
    measured = [sharpness(Image(textured()), Box(0, 0, 640, 480))]
    for sigma in (0.5, 1.0, 2.0, 4.0):
        blurred = Image(cv2.GaussianBlur(textured(), (0, 0), sigma))
        measured.append(sharpness(blurred, whole(blurred)))
    assert measured == sorted(measured, reverse=True)
    assert measured[0] > 20 * measured[2]


@pytest.mark.parametrize("gain", [0.25, 0.5, 1.5])
def test_sharpness_does_not_depend_on_brightness(gain: float) -> None:
    plain, other = Image(textured()), Image(cv2.convertScaleAbs(textured(), alpha=gain))
    assert sharpness(other, whole(other)) == pytest.approx(sharpness(plain, whole(plain)), rel=0.02)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_sharpness_does_not_depend_on_the_bit_depth(bits: int) -> None:
    plain = Image(textured())
    deep = Image((textured().astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16), bits)
    assert sharpness(deep, whole(deep)) == pytest.approx(sharpness(plain, whole(plain)), rel=0.02)


def test_a_large_picture_is_sampled_and_gives_the_same_figure() -> None:
    small, large = Image(textured(200, 200)), Image(textured(2560, 2048))
    assert sharpness(large, whole(large)) == pytest.approx(sharpness(small, whole(small)), rel=0.05)


def test_only_the_region_is_looked_at() -> None:
    pixels = cv2.GaussianBlur(textured(), (0, 0), 5)
    pixels[100:200, 300:400] = textured()[100:200, 300:400]
    assert sharpness(Image(pixels), Box(300, 100, 100, 100)) > 100 * sharpness(Image(pixels), Box(0, 210, 300, 200))


@settings(max_examples=100, deadline=None)
@given(width=st.integers(1, 400), height=st.integers(1, 400), level=st.integers(0, 255), colour=st.booleans())
def test_flat_pictures_of_any_size_have_no_sharpness(width: int, height: int, level: int, colour: bool) -> None:
    image = Image(np.full((height, width, 3) if colour else (height, width), level, np.uint8))
    assert sharpness(image, whole(image)) == 0
    assert exposure(image) == (level, float(level >= 254))


def test_a_region_beyond_the_picture_is_refused() -> None:
    with pytest.raises(FrameError) as caught:
        check_sharpness(Image(smooth_grey()), Box(50, 0, 20, 20), CheckSpec(min_sharpness=1))
    assert caught.value.reason is Reason.PART_NOT_FOUND


@pytest.mark.parametrize("name", ["min_mean", "max_saturated_share", "min_sharpness"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_limits_that_mean_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        CheckSpec(**{name: value})


@pytest.mark.parametrize("values", [{"min_mean": 255.1}, {"max_saturated_share": 1.01}])
def test_limits_beyond_the_scale_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected 0 to"):
        CheckSpec(**values)
