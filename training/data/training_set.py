"""Labelled images as a model learns from them: pixels and masks in the model's input size, read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import DataError
from inspector.imaging.normalise import resize, to_8_bit, to_grey
from inspector.imaging.pixels import as_pixels
from inspector.inference.tiling import Tiles
from inspector.part import Box
from training.data import marks
from training.data.dont_care import fillings
from training.data.reading import Preparation, read_frame
from training.data.samples import GOOD, Dataset, Sample, printable
from training.data.splits import SplitEntry


@dataclass(frozen=True)
class LabelledImages:
    """Images, their labels and parts, by number. A kind of model is handed those to fit on and sees no others.

    `region_of_interest`, bool (height_px, width_px) of the model's input, is where defects count; None for everywhere.
    """

    dataset: Dataset
    entries: tuple[SplitEntry, ...]
    preparation: Preparation
    region_of_interest: NDArray[np.bool_] | None = None
    examples: tuple[str, ...] = ()
    """Paths of pictures of good parts: what areas to ignore of others are filled from."""

    @cached_property
    def tiles(self) -> Tiles | None:
        """How the pictures are cut if they are judged by tiles, else None."""
        if self.preparation.tiling is None:
            return None
        return Tiles(self.preparation.input_spec(), self.region_of_interest)

    def __len__(self) -> int:
        return len(self.entries)

    def only(self, images: Sequence[int]) -> LabelledImages:
        """These images alone, numbered anew in the order given."""
        entries = tuple(self.entries[image] for image in images)
        return LabelledImages(self.dataset, entries, self.preparation, self.region_of_interest, self.examples)

    def label(self, image: int) -> str:
        return self.entries[image].label

    def is_good(self, image: int) -> bool:
        return self.entries[image].label == GOOD

    def part(self, image: int) -> int:
        """Images of one number are never on two sides: those of a physical part, or of a lot where lots are kept together."""
        return self.entries[image].group

    def pixels(self, image: int) -> NDArray[np.uint8]:
        """uint8 (height_px, width_px, channels), RGB for 3 channels. Raises DataError."""
        return self.preparation.read(self._file(self.entries[image].path))

    def labels(self, image: int) -> tuple[str, ...]:
        """Every class that the image shows, the main one first."""
        return self._sample(image).labels

    def agreement(self, image: int) -> float:
        """Share of those who labelled the image that say so, above 0 up to 1."""
        return self._sample(image).agreement

    def mask(self, image: int) -> NDArray[np.uint8] | None:
        """Share of each pixel of the model's input that is defective, uint8 (height_px, width_px) of 0 to 255.

        All 0 for a good part, None for a defective one that has no mask. Raises DataError.
        """
        if self.is_good(image):
            return np.zeros((self.preparation.height_px, self.preparation.width_px), np.uint8)
        sample = self._sample(image)
        if not sample.is_masked:
            return None
        width_px, height_px, region = self._geometry(sample)
        marked = marks.defects(self.dataset, sample, width_px, height_px)
        return None if marked is None else fitted_area(marked, region, self.preparation)

    def class_masks(self, image: int) -> dict[str, NDArray[np.uint8]] | None:
        """As `mask`, for each class that the image shows; areas of two classes may overlap. Empty for a good part.

        None if nothing says where, or one mask is for several classes together. Raises DataError.
        """
        if self.is_good(image):
            return {}
        sample = self._sample(image)
        if not sample.is_masked:
            return None
        width_px, height_px, region = self._geometry(sample)
        by_class = marks.defects_by_class(self.dataset, sample, width_px, height_px)
        if by_class is None:
            return None
        return {label: fitted_area(marked, region, self.preparation) for label, marked in by_class.items()}

    def ignored(self, image: int) -> NDArray[np.bool_] | None:
        """Where this image does not count, whatever it shows: bool (height_px, width_px), None for nowhere.

        A pixel of the model's input does not count if half of it does not. Raises DataError.
        """
        sample = self._sample(image)
        if not marks.has_ignored(sample):
            return None
        width_px, height_px, region = self._geometry(sample)
        area = marks.ignored(self.dataset, sample, width_px, height_px)
        return None if area is None else fitted_area(area, region, self.preparation) >= 128

    def without_ignored(self, image: int) -> list[NDArray[np.uint8]]:
        """The picture as it might look on a good part where it does not count, in several ways, and as it is, last."""
        pixels, area = self.pixels(image), self.ignored(image)
        if area is None or not area.any():
            return [pixels]
        return [*fillings(pixels, area, self._examples(image)), pixels]

    def filled(self, image: int) -> NDArray[np.uint8]:
        """The first of these ways, without the work of the others."""
        pixels, area = self.pixels(image), self.ignored(image)
        if area is None or not area.any():
            return pixels
        return [*fillings(pixels, area, self._examples(image, 1)), pixels][0]

    def _examples(self, image: int, most: int | None = None) -> list[NDArray[np.uint8]]:
        """Pictures of good parts to fill this one from."""
        others = [path for path in self.examples if path != self.entries[image].path]
        return [self.preparation.read(self._file(path)) for path in others[:most]]

    def shows_what_counts(self, image: int) -> bool:
        """Whether the picture counts anywhere and, if it is marked, where; also if nothing says where the defect is."""
        area = self.ignored(image)
        if area is None:
            return True
        if area.all():
            return False
        mask = None if self.is_good(image) else self.mask(image)
        return mask is None or not mask.any() or bool(((mask >= 128) & ~area).any())

    def _geometry(self, sample: Sample) -> tuple[int, int, Box]:
        """Width and height of the picture, and where the part is in it."""
        picture = self.preparation.image(read_frame(self._file(sample.path), self.preparation.limits))
        return picture.width_px, picture.height_px, self.preparation.region(picture)

    def _sample(self, image: int) -> Sample:
        return self.dataset.sample(self.entries[image].path)

    def _file(self, path: str) -> Path:
        return self.dataset.root / path


def fitted_area(marked: NDArray[np.bool_], region: Box, preparation: Preparation) -> NDArray[np.uint8]:
    """An area cut and resized as its picture is: uint8 (height_px, width_px), 255 where all of a pixel is in it."""
    x, y = region.x_px, region.y_px
    crop = marked[y : y + region.height_px, x : x + region.width_px].astype(np.uint8) * np.uint8(255)
    size = (preparation.width_px, preparation.height_px)
    shrinks = region.width_px > size[0] and region.height_px > size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(crop, size, interpolation=method), np.uint8)


def cells_of(region: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.bool_]:
    """The cells of a coarser map that lie in a region by at least half: bool (rows, columns)."""
    share = cv2.resize(region.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(share >= 0.5)


def interest_cells(region: NDArray[np.bool_] | None, rows: int, columns: int) -> NDArray[np.float32] | None:
    """A region of interest in cells of a coarser map: float32 (rows, columns) of 1 and 0; None for everywhere.

    Raises DataError if it has no cell.
    """
    if region is None:
        return None
    cells = cells_of(region, rows, columns)
    if not cells.any():
        raise DataError(
            f"the region of interest covers none of the {rows} × {columns} cells that the model tells apart by half; draw it "
            "larger, or fit with a larger --size"
        )
    return cells.astype(np.float32)


def read_drawn_region(path: Path) -> NDArray[np.uint8]:
    """A picture whose bright pixels are where defects count, as drawn: uint8 grey (height, width). Raises DataError."""
    reading = Preparation(1, 1, 1)
    try:
        drawn = reading.image(read_frame(path, reading.limits))
    except DataError as error:
        raise DataError(f"the region of interest {printable(str(path))}: {error}") from error
    return to_grey(to_8_bit(drawn.pixels, drawn.bits))


def region_of_interest(drawn: NDArray[np.uint8], preparation: Preparation) -> NDArray[np.bool_]:
    """A drawn region, of any size, over the model's input: bool (height_px, width_px).

    It is stretched over the located region, as the region is over the model's input. Raises DataError if nothing is left.
    """
    region = np.asarray(resize(as_pixels(drawn), preparation.width_px, preparation.height_px) >= 128)
    if not region.any():
        raise DataError(
            f"the region of interest, brightest at {int(drawn.max())} of 255, is nowhere 128 or more at "
            f"{preparation.width_px} × {preparation.height_px} px: nothing would count. Draw white where defects count"
        )
    return region
