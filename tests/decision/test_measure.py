"""Outlines, areas, lengths and places of findings, held against geometry that can be worked out by hand or by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from inspector.decision.measure import MAX_MEASURED, Measured, feret_diameter, measure
from inspector.part import Box

CLASSES = ("crack", "scratch")
REGION = Box(100, 50, 40, 20)  # of 10 × 20 cells: each 2 × 2 px


def maps_of(**cells: list[tuple[slice, slice]]) -> np.ndarray:
    """Class maps (2, 10, 20) with probability 0.9 in the cells named by class."""
    maps = np.zeros((2, 10, 20), np.float32)
    for name, places in cells.items():
        for place in places:
            maps[CLASSES.index(name)][place] = 0.9
    return maps


def test_nothing_is_found_where_all_is_background() -> None:
    found = measure(maps_of(), None, REGION, CLASSES)
    assert found.found == ()
    assert not found.labels.any()


@pytest.mark.parametrize(
    ("place", "box", "area_px", "length_px", "centre_px"),
    [
        pytest.param((slice(0, 1), slice(0, 1)), Box(100, 50, 2, 2), 4, math.hypot(2, 2), (101, 51), id="one cell"),
        pytest.param((slice(4, 5), slice(3, 13)), Box(106, 58, 20, 2), 40, math.hypot(20, 2), (116, 59), id="a line"),
        pytest.param(
            (slice(0, 10), slice(19, 20)), Box(138, 50, 2, 20), 40, math.hypot(2, 20), (139, 60), id="an edge"
        ),
        pytest.param((slice(0, 10), slice(0, 20)), REGION, 800, math.hypot(40, 20), (120, 60), id="all of it"),
    ],
)
def test_a_rectangle_measures_what_a_ruler_says(place, box, area_px, length_px, centre_px) -> None:  # type: ignore[no-untyped-def]
    (one,) = measure(maps_of(scratch=[place]), None, REGION, CLASSES, mm_per_px=0.5).found
    assert (one.finding.defect_class, one.finding.box, one.finding.area_px) == ("scratch", box, area_px)
    assert one.finding.length_px == pytest.approx(length_px)
    assert one.finding.centre_px == pytest.approx(centre_px)
    assert one.size.length_mm == pytest.approx(length_px / 2)
    assert one.size.area_mm2 == pytest.approx(area_px / 4)
    assert (one.size.x_mm, one.size.y_mm) == pytest.approx(((centre_px[0] - 100) / 2, (centre_px[1] - 50) / 2))


def test_cells_that_are_not_square_are_measured_in_pixels_of_the_frame() -> None:
    (one,) = measure(maps_of(crack=[(slice(0, 10), slice(0, 1))]), None, Box(0, 0, 20, 100), CLASSES).found
    assert one.finding.area_px == 100
    assert one.finding.length_px == pytest.approx(math.hypot(1, 100))
    assert one.finding.size is None
    with pytest.raises(ValueError, match="without a scale"):
        _ = one.size


def test_a_defect_that_changes_its_class_on_the_way_is_one_finding() -> None:
    maps = maps_of(
        scratch=[(slice(4, 5), slice(0, 6)), (slice(4, 5), slice(9, 15))], crack=[(slice(4, 5), slice(6, 9))]
    )
    (one,) = measure(maps, None, REGION, CLASSES).found
    assert one.finding.length_px == pytest.approx(math.hypot(30, 2))
    assert one.finding.defect_class == "scratch"
    assert one.may_be == {"scratch", "crack"}


@pytest.mark.parametrize(
    ("crack", "may_be"),
    [
        pytest.param(0.24, {"scratch"}, id="hardly"),
        pytest.param(0.26, {"scratch", "crack"}, id="a quarter"),
    ],
)
def test_a_class_that_is_likely_enough_counts_as_what_it_may_be(crack: float, may_be: set[str]) -> None:
    maps = maps_of(scratch=[(slice(2, 4), slice(2, 4))])
    maps[0, 2:4, 2:4] = crack
    maps[1, 2:4, 2:4] = 0.6
    (one,) = measure(maps, None, REGION, CLASSES).found
    assert one.may_be == may_be


def test_two_unlikely_classes_together_are_outlined() -> None:
    maps = np.zeros((2, 10, 20), np.float32)
    maps[:, 3, 3] = 0.3
    (one,) = measure(maps, None, REGION, CLASSES).found
    assert one.finding.box == Box(106, 56, 2, 2)


def test_the_score_is_the_highest_value_of_the_map_inside() -> None:
    anomaly_map = np.zeros((10, 20), np.float32)
    anomaly_map[4, 4], anomaly_map[9, 9] = 7.0, 99.0
    (one,) = measure(maps_of(crack=[(slice(4, 6), slice(4, 6))]), anomaly_map, REGION, CLASSES).found
    assert one.finding.score == 7.0


def test_of_too_many_findings_the_largest_are_measured() -> None:
    maps = np.zeros((1, 60, 60), np.float32)
    maps[0, ::2, ::2] = 1.0
    maps[0, 0:2, 0:4] = 1.0
    found = measure(maps, None, Box(0, 0, 60, 60), ("dirt",))
    assert found.too_many
    assert len(found.found) == MAX_MEASURED
    assert found.found[0].finding.box == Box(0, 0, 5, 3)
    assert found.labels.max() == MAX_MEASURED


cells = arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@settings(max_examples=150, deadline=None)
@given(cells, st.floats(0.25, 8), st.floats(0.25, 8))
def test_the_length_is_the_largest_distance_between_corners(shape: np.ndarray, width: float, height: float) -> None:
    shape = shape[shape.any(axis=1)]  # the connected areas that are measured have a cell in every row
    if not shape.size:
        return
    corners = np.array(
        [((x + dx) * width, (y + dy) * height) for y, x in np.argwhere(shape) for dx in (0, 1) for dy in (0, 1)]
    )
    largest = max(math.dist(a, b) for a in corners for b in corners)
    assert feret_diameter(shape, width, height) == pytest.approx(largest, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(cells, st.integers(0, 5), st.integers(0, 5))
def test_moving_a_defect_moves_its_place_and_nothing_else(shape: np.ndarray, down: int, across: int) -> None:
    def placed(y: int, x: int) -> np.ndarray:
        maps = np.zeros((1, 16, 16), np.float32)
        maps[0, y : y + shape.shape[0], x : x + shape.shape[1]] = shape
        return maps

    region = Box(0, 0, 48, 48)
    here = measure(placed(0, 0), None, region, ("dirt",), mm_per_px=0.1).found
    there = measure(placed(down, across), None, region, ("dirt",), mm_per_px=0.1).found
    assert sum(one.finding.area_px for one in here) == shape.sum() * 9
    for one, moved in zip(sorted(here, key=_place), sorted(there, key=_place), strict=True):
        assert moved.size.length_mm == pytest.approx(one.size.length_mm)
        assert moved.size.area_mm2 == pytest.approx(one.size.area_mm2)
        assert moved.size.x_mm == pytest.approx(one.size.x_mm + across * 0.3)
        assert moved.size.y_mm == pytest.approx(one.size.y_mm + down * 0.3)
        assert one.size.length_mm**2 >= one.size.area_mm2  # no shape of that diameter has more area than its square


def _place(one: Measured) -> tuple[int, int, float]:
    box = one.finding.box
    return box.y_px, box.x_px, one.finding.area_px
