"""What a heat map marks, as outlines to accept."""

from __future__ import annotations

import numpy as np
import pytest

from inspector.imaging.archive import heat_map_png
from inspector.imaging.raster import polygon_pixels
from inspector.imaging.regions import MAX_REGIONS, marked_regions, read_heat_map
from inspector.part import Box, Finding


def levels(*marks: tuple[int, int, int, int], value: int = 200) -> np.ndarray:
    """80 × 60 grey levels with rectangles of x, y, width, height."""
    picture = np.full((60, 80), 20, np.uint8)
    for x, y, width, height in marks:
        picture[y : y + height, x : x + width] = value
    return picture


MARKS = [
    pytest.param([], [], id="nothing"),
    pytest.param([(10, 12, 20, 9)], [(10, 12, 20, 9)], id="one rectangle"),
    pytest.param([(1, 1, 2, 2), (30, 30, 20, 20)], [(30, 30, 20, 20), (1, 1, 2, 2)], id="the largest first"),
    pytest.param([(0, 0, 80, 60)], [(0, 0, 80, 60)], id="the whole picture"),
    pytest.param([(40, 30, 1, 1)], [(40, 30, 1, 1)], id="a single pixel"),
    pytest.param([(70, 50, 10, 10)], [(70, 50, 10, 10)], id="at the edge"),
]


@pytest.mark.parametrize(("marks", "expected"), MARKS)
def test_outlines_hold_the_marked_pixels(marks: list[tuple[int, ...]], expected: list[tuple[int, ...]]) -> None:
    found = marked_regions(levels(*marks))  # type: ignore[arg-type]
    assert len(found) == len(expected)
    for region, (x, y, width, height) in zip(found, expected, strict=True):
        wanted = levels((x, y, width, height)) > 100
        assert (polygon_pixels(region.points, 80, 60) == wanted).all()
        assert region.area_px == width * height
        assert all(0 <= px <= 80 and 0 <= py <= 60 for px, py in region.points)


def test_the_level_decides_what_is_marked() -> None:
    picture = levels((10, 10, 20, 20), value=150)
    picture[15:20, 15:20] = 220
    assert [region.area_px for region in marked_regions(picture, level=200)] == [25]
    assert [region.area_px for region in marked_regions(picture, level=128)] == [400]
    assert marked_regions(picture, level=255) == ()


def test_a_region_is_of_the_class_of_the_finding_there() -> None:
    findings = [Finding("dent", Box(0, 0, 12, 12), 10, 0.9), Finding("scratch", Box(8, 8, 30, 30), 10, 0.7)]
    (region,) = marked_regions(levels((10, 10, 20, 20)), findings)
    assert region.defect_class == "scratch"
    (aside,) = marked_regions(levels((60, 40, 5, 5)), findings)
    assert aside.defect_class == ""


def test_a_noisy_map_gives_a_bounded_number_of_regions_and_corners() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (400, 400), dtype=np.uint8)
    found = marked_regions(noise)
    assert len(found) <= MAX_REGIONS
    assert all(len(region.points) <= 10_000 for region in found)


def test_the_heat_map_of_an_archive_is_read_back() -> None:
    anomaly = np.zeros((6, 8), np.float32)
    anomaly[2:4, 2:5] = 1.0
    read = read_heat_map(heat_map_png(anomaly, 0.5, Box(0, 0, 80, 60), (80, 60)))
    assert read is not None
    (region,) = marked_regions(read)
    assert 400 < region.area_px < 1000
    assert read_heat_map(b"GIF89a") is None
    assert read_heat_map(b"\x89PNG\r\n\x1a\n") is None
