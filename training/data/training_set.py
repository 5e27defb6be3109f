"""Labelled images as a model learns from them: pixels and masks in the model's input size, read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.imaging.normalise import resize, to_8_bit, to_grey
from inspector.imaging.pixels import as_pixels
from inspector.part import Box
from training.data.reading import Preparation, read_frame
from training.data.samples import GOOD, Dataset
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

    def __len__(self) -> int:
        return len(self.entries)

    def only(self, images: Sequence[int]) -> LabelledImages:
        """These images alone, numbered anew in the order given."""
        entries = tuple(self.entries[image] for image in images)
        return LabelledImages(self.dataset, entries, self.preparation, self.region_of_interest)

    def label(self, image: int) -> str:
        return self.entries[image].label

    def is_good(self, image: int) -> bool:
        return self.entries[image].label == GOOD

    def part(self, image: int) -> int:
        """Images of one physical part have the same number here; they must never be on two sides of a split."""
        return self.entries[image].group

    def pixels(self, image: int) -> NDArray[np.uint8]:
        """uint8 (height_px, width_px, channels), RGB for 3 channels. Raises DataError."""
        return self.preparation.read(self._file(self.entries[image].path))

    def mask(self, image: int) -> NDArray[np.uint8] | None:
        """Share of each pixel of the model's input that is defective, uint8 (height_px, width_px) of 0 to 255.

        All 0 for a good part, None for a defective one that has no mask. Raises DataError.
        """
        entry = self.entries[image]
        if entry.label == GOOD:
            return np.zeros((self.preparation.height_px, self.preparation.width_px), np.uint8)
        return self._drawn(entry.path, entry.mask) if entry.mask else None

    def _drawn(self, path: str, mask: str) -> NDArray[np.uint8]:
        """A mask cut and resized as its picture is. Its pixels count as marked above half of the brightest."""
        region = self._region(path)
        drawn = self.preparation.image(read_frame(self._file(mask), self.preparation.limits))
        grey = to_grey(to_8_bit(drawn.pixels, drawn.bits))
        x, y = region.x_px, region.y_px
        # Masks come as 0 and 255, as 0 and 1, and as JPEG with ringing between.
        marked = grey[y : y + region.height_px, x : x + region.width_px] > int(grey.max()) // 2
        crop = marked.astype(np.uint8) * np.uint8(255)
        size = (self.preparation.width_px, self.preparation.height_px)
        shrinks = region.width_px > size[0] and region.height_px > size[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(crop, size, interpolation=method), np.uint8)

    def _region(self, path: str) -> Box:
        return self.preparation.region(self.preparation.image(read_frame(self._file(path), self.preparation.limits)))

    def _file(self, path: str) -> Path:
        return self.dataset.root / path


def cells_of(region: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.bool_]:
    """The cells of a coarser map that lie in a region by at least half: bool (rows, columns)."""
    share = cv2.resize(region.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(share >= 0.5)


def read_region_of_interest(path: Path, preparation: Preparation) -> NDArray[np.bool_]:
    """A picture whose bright pixels are where defects count: bool (height_px, width_px). Raises DataError.

    It may have any size: it is stretched over the located region, as the region is over the model's input.
    """
    drawn = preparation.image(read_frame(path, preparation.limits))
    grey = to_grey(to_8_bit(drawn.pixels, drawn.bits))
    return np.asarray(resize(as_pixels(grey), preparation.width_px, preparation.height_px) >= 128)
