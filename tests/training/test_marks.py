"""Masks, drawn areas and areas to ignore reach the model's input where they were drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from training_pictures import part, save

from inspector.errors import DataError
from inspector.imaging.locate import BlobLocation
from inspector.imaging.raster import decode_counts
from training.data.drawing import IGNORE, Drawing, Polygon, Rectangle, Runs, polygon, rectangle, runs
from training.data.marks import read_mask
from training.data.reading import Preparation
from training.data.samples import Dataset, Sample
from training.data.splits import Role, SplitEntry
from training.data.survey import survey
from training.data.training_set import LabelledImages
from training.models.memory_bank.fitting import FitSettings, collect_patches

SIDE = 64


def _images(root: Path, sample: Sample, preparation: Preparation | None = None) -> LabelledImages:
    dataset = Dataset(root, "test", (sample,))
    entry = SplitEntry(sample.path, sample.label, 0, Role.FIT)
    return LabelledImages(dataset, (entry,), preparation or Preparation(SIDE, SIDE, 1))


def _square(x: int, y: int, side: int) -> np.ndarray:
    area = np.zeros((SIDE, SIDE), bool)
    area[y : y + side, x : x + side] = True
    return area


SHAPES = [
    pytest.param(Polygon("cut", ((8, 4), (24, 4), (24, 20), (8, 20))), SIDE, id="polygon, edges between pixels"),
    pytest.param(Rectangle("cut", 8, 4, 16, 16), SIDE, id="box"),
    pytest.param(Runs("cut", (8 * 64 + 4, *((16, 48) * 15), 16, 40 * 64 + 44)), SIDE, id="runs go down the columns"),
    pytest.param(Rectangle("cut", 8 / 64, 4 / 64, 16 / 64, 16 / 64), 0, id="box in shares of the sides"),
    pytest.param(
        Polygon("cut", ((8 / 64, 4 / 64), (24 / 64, 4 / 64), (24 / 64, 20 / 64), (8 / 64, 20 / 64))), 0, id="shares"
    ),
]


@pytest.mark.parametrize(("shape", "side"), SHAPES)
def test_every_kind_of_shape_marks_the_pixels_it_covers(shape: Polygon | Rectangle | Runs, side: int) -> None:
    marked = Drawing(side, side, (shape,)).marked("cut", SIDE, SIDE)
    # OpenCV also fills the pixels that an outline touches.
    assert (marked & _square(8, 4, 16)).sum() == 256
    assert not (marked & ~_square(7, 3, 18)).any()
    if not isinstance(shape, Polygon):
        assert np.array_equal(marked, _square(8, 4, 16))


def test_a_box_thinner_than_a_pixel_marks_one() -> None:
    assert Drawing(0, 0, (Rectangle("cut", 0.999, 0.999, 0.0001, 0.0001),)).marked("cut", SIDE, SIDE).sum() == 1


def test_a_drawing_made_on_another_size_is_refused() -> None:
    with pytest.raises(DataError, match="drawn on 32 × 32 px, the picture has 64 × 64"):
        Drawing(32, 32, (Rectangle("cut", 1, 1, 2, 2),)).marked("cut", SIDE, SIDE)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=40))
def test_compressed_runs_come_back(counts: list[int]) -> None:
    assert decode_counts(_compressed(counts), 1000) == counts


def _compressed(counts: list[int]) -> str:
    """COCO's compression, written from its description to check the reading."""
    text = ""
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            digit = rest & 0x1F
            rest >>= 5
            more = rest != (-1 if digit & 0x10 else 0)
            text += chr((digit | (0x20 if more else 0)) + 48)
    return text


@pytest.mark.parametrize(
    "text", [pytest.param("Z" * 40, id="never ends"), pytest.param("é", id="no digit"), pytest.param("_", id="cut off")]
)
def test_damaged_runs_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="damaged"):
        decode_counts(text, 1000)


def test_more_runs_than_pixels_are_refused() -> None:
    with pytest.raises(DataError, match="more than 10 run lengths"):
        decode_counts("1" * 1000, 10)


@pytest.mark.parametrize("counts", [[10**12], [4095], [4097], [-1, 4097], []])
def test_runs_that_do_not_fill_the_picture_are_refused(counts: list[int]) -> None:
    with pytest.raises(DataError, match="add up to"):
        runs("cut", counts, SIDE, SIDE)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        pytest.param([(1, 1), (2, 2)], "2 points", id="a line"),
        pytest.param([(1, 1), (2, 2), (float("nan"), 3)], "is nan", id="NaN"),
        pytest.param([(1, 1), (2, 2), (float("inf"), 3)], "is inf", id="infinite"),
        pytest.param([(1, 1), (2, 2), (1e9, 3)], "outside the picture", id="far outside"),
        pytest.param([(1, 1)] * 100_001, "at most 100000", id="too many points"),
    ],
)
def test_polygons_that_cannot_be_are_refused(points: list[tuple[float, float]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        polygon("cut", points, SIDE, SIDE)


def test_coordinates_a_little_outside_are_clipped() -> None:
    assert polygon("cut", [(-0.4, 0), (64.4, 0), (3, 3)], SIDE, SIDE).points == ((0, 0), (64, 0), (3, 3))


@pytest.mark.parametrize("box", [(0.0, 5.0), (5.0, -3.0)])
def test_a_box_without_area_is_refused(box: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="wide and"):
        rectangle("cut", 5, 5, box, (SIDE, SIDE))


MASKS = [
    pytest.param([0, 255], np.uint8, [255], id="0 and 255"),
    pytest.param([0, 1], np.uint8, [1], id="0 and 1"),
    pytest.param([0, 1, 2, 3], np.uint8, [1, 2, 3], id="class numbers: each marks"),
    pytest.param([0, 1, 2], np.uint16, [1, 2], id="class numbers in 16 bits"),
    pytest.param([0, 40, 250, 255], np.uint8, [250, 255], id="ringing of a JPEG"),
    pytest.param([0, 60_000], np.uint16, [60_000], id="16 bits"),
]


@pytest.mark.parametrize(("values", "dtype", "marks"), MASKS)
def test_what_a_mask_file_marks(tmp_path: Path, values: list[int], dtype: type, marks: list[int]) -> None:
    pixels = np.resize(np.array(values, dtype), (8, 8))
    path = save(tmp_path / "mask.png", pixels)
    assert np.array_equal(read_mask(path, 8, 8), np.isin(pixels, marks))


def test_a_mask_with_a_palette_marks_by_its_numbers_not_its_colours(tmp_path: Path) -> None:
    numbers = np.zeros((8, 8), np.uint8)
    numbers[0, :3] = [1, 2, 3]
    picture = Image.fromarray(numbers, "P")
    picture.putpalette([0, 0, 0, 250, 250, 250, 0, 0, 9, 60, 0, 0])
    picture.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", 8, 8), numbers > 0)


def test_classes_have_masks_of_their_own_that_may_overlap(tmp_path: Path) -> None:
    save(tmp_path / "a.png", part(1))
    shapes = (Rectangle("cut", 0, 0, 20, 20), Rectangle("dent", 10, 0, 20, 40), Rectangle(IGNORE, 40, 40, 24, 24))
    drawing = Drawing(SIDE, SIDE, shapes)
    assert drawing.labels == ("dent", "cut")
    images = _images(tmp_path, Sample("a.png", "dent", also=("cut",), drawing=drawing))
    masks, mask, ignored = images.class_masks(0), images.mask(0), images.ignored(0)
    assert masks is not None
    assert mask is not None
    assert ignored is not None
    assert {label: int((area > 0).sum()) for label, area in masks.items()} == {"dent": 800, "cut": 400}
    assert (mask > 0).sum() == 1000
    assert np.array_equal(ignored, _square(40, 40, 24))
    assert images.labels(0) == ("dent", "cut")


def test_one_mask_file_for_two_classes_does_not_say_which_is_where(tmp_path: Path) -> None:
    save(tmp_path / "a.png", part(1))
    save(tmp_path / "m.png", _square(3, 3, 9).astype(np.uint8))
    images = _images(tmp_path, Sample("a.png", "cut", "m.png", also=("dent",)))
    mask = images.mask(0)
    assert images.class_masks(0) is None
    assert mask is not None
    assert (mask > 0).sum() == 81


def test_marks_are_cut_out_and_resized_as_their_picture_is(tmp_path: Path) -> None:
    save(tmp_path / "a.png", _square(16, 16, 32).astype(np.uint8) * 200)
    save(tmp_path / "ignore.png", _square(16, 16, 16).astype(np.uint8) * 255)
    sample = Sample(
        "a.png", "cut", ignore="ignore.png", drawing=Drawing(0, 0, (Rectangle("cut", 0.5, 0.5, 0.25, 0.25),))
    )
    images = _images(tmp_path, sample, Preparation(16, 16, 1, BlobLocation(100, threshold=100)))
    mask, ignored = images.mask(0), images.ignored(0)
    assert mask is not None
    assert ignored is not None
    assert np.array_equal(np.argwhere(mask)[[0, -1]], [[8, 8], [15, 15]])
    assert np.array_equal(np.argwhere(ignored)[[0, -1]], [[0, 0], [7, 7]])


def test_a_good_part_has_an_empty_mask_and_may_have_areas_to_ignore(tmp_path: Path) -> None:
    save(tmp_path / "a.png", part(1))
    images = _images(tmp_path, Sample("a.png", "good", drawing=Drawing(SIDE, SIDE, (Rectangle(IGNORE, 0, 0, 8, 8),))))
    mask, ignored = images.mask(0), images.ignored(0)
    assert mask is not None
    assert ignored is not None
    assert not mask.any()
    assert ignored.sum() == 64
    assert images.class_masks(0) == {}


def test_a_memory_bank_remembers_nothing_of_ignored_areas(tmp_path: Path) -> None:
    save(tmp_path / "a.png", part(1))
    everything = collect_patches(_images(tmp_path, Sample("a.png", "good")), FitSettings())
    half = Sample("a.png", "good", drawing=Drawing(0, 0, (Rectangle(IGNORE, 0, 0, 0.5, 1),)))
    assert len(collect_patches(_images(tmp_path, half), FitSettings()).patches) * 2 == len(everything.patches)
    whole = Sample("a.png", "good", drawing=Drawing(0, 0, (Rectangle(IGNORE, 0, 0, 1, 1),)))
    with pytest.raises(DataError, match="areas to ignore cover all good parts"):
        collect_patches(_images(tmp_path, whole), FitSettings())


def test_the_digest_covers_masks_areas_to_ignore_parts_and_lots(tmp_path: Path) -> None:
    save(tmp_path / "a.png", part(1))
    for name in ("m", "n"):
        save(tmp_path / f"{name}.png", _square(3, 3, ord(name) - 100).astype(np.uint8))
    drawing = Drawing(0, 0, (Rectangle("cut", 0.1, 0.1, 0.2, 0.2),))
    variants = [
        Sample("a.png", "cut"),
        Sample("a.png", "cut", "m.png"),
        Sample("a.png", "cut", "n.png"),
        Sample("a.png", "cut", ignore="m.png"),
        Sample("a.png", "cut", also=("dent",)),
        Sample("a.png", "cut", group="7"),
        Sample("a.png", "cut", lot="7"),
        Sample("a.png", "cut", drawing=drawing),
        Sample("a.png", "cut", drawing=Drawing(SIDE, SIDE, (Rectangle("cut", 5, 5, 9, 9),))),
    ]
    digests = {survey(Dataset(tmp_path, "x", (v,)), Preparation(SIDE, SIDE, 1)).digest for v in variants}
    assert len(digests) == len(variants)
