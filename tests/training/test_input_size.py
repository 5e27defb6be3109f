"""The size that nobody asked for: as the parts are, within a budget, never larger than they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import ConfigError, DataError
from inspector.part import Box
from training.data.input_size import MAX_SIDE_PX, MIN_SIDE_PX, STEP_PX, asked_size, parse_size, size_for
from training.data.samples import Sample
from training.data.survey import Surveyed

BUDGET = 320 * 320


def _images(*sizes: tuple[int, int]) -> list[Surveyed]:
    blank = np.zeros((8, 8), np.uint8)
    return [
        Surveyed(Sample(f"{i}.png", "good"), "", 4096, 4096, Box(5, 5, *size), "", 0.0, 0.0, blank)
        for i, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("sizes", "budget", "chosen"),
    [
        pytest.param([(512, 512)], BUDGET, (320, 320), id="a square uses the whole budget"),
        pytest.param([(500, 1260)], BUDGET, (192, 512), id="a tall part stays tall"),
        pytest.param([(1280, 1024)], BUDGET, (352, 288), id="a camera frame"),
        pytest.param([(128, 128)], BUDGET, (128, 128), id="a small part is not enlarged"),
        pytest.param([(302, 328)], BUDGET, (288, 320), id="nor by a part of a step"),
        pytest.param([(20, 500)], BUDGET, (32, 480), id="less than a step becomes one"),
        pytest.param([(8, 8)], BUDGET, (32, 32), id="tiny"),
        pytest.param([(100_000, 100)], BUDGET, (2048, 32), id="a web"),
        pytest.param([(100_000, 4000)], 10**9, (2048, 2048), id="no side beyond what a model can have"),
        pytest.param([(500, 500)], 1, (32, 32), id="no budget"),
        pytest.param([(100, 100), (128, 96), (4000, 90)], BUDGET, (128, 96), id="one odd image has no say"),
    ],
)
def test_size(sizes: list[tuple[int, int]], budget: int, chosen: tuple[int, int]) -> None:
    size = size_for(_images(*sizes), budget)
    assert (size.width_px, size.height_px) == chosen
    reasons = (f"at most {budget:,} pixels", "nothing is enlarged", "a side has one step at least")
    assert [reason in size.reason for reason in reasons].count(True) == 1
    enlarged = any(side < STEP_PX for part in sizes for side in part)
    assert not (enlarged and "nothing is enlarged" in size.reason)


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(STEP_PX * STEP_PX, 1 << 22))
def test_any_size_is_within_its_bounds(width: int, height: int, budget: int) -> None:
    size = size_for(_images((width, height)), budget)
    for side, whole in ((size.width_px, width), (size.height_px, height)):
        assert side % STEP_PX == 0
        assert MIN_SIDE_PX <= side <= min(max(whole, MIN_SIDE_PX), MAX_SIDE_PX)
    assert size.width_px * size.height_px <= budget


@pytest.mark.parametrize(("text", "sides"), [("auto", None), ("AUTO", None), ("64x48", (64, 48)), ("64X48", (64, 48))])
def test_sizes_in_words(text: str, sides: tuple[int, int] | None) -> None:
    assert parse_size(text) == sides


@pytest.mark.parametrize(
    "text", ["", "x", "64", "64x", "-4x4", "0x64", "64x64x64", "6.4x4", " 64x48", "64x48\n", "²x4", "9" * 5000 + "x1"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected auto, or width x height"):
        parse_size(text)


@pytest.mark.parametrize("sides", [(31, 64), (64, 31), (2049, 64), (999_999, 999_999)])
def test_sizes_that_no_model_can_have_are_refused(sides: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="give sides from 32 to 2048"):
        asked_size(*sides)
    assert asked_size(32, 2048).reason == "as asked for"
