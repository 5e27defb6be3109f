"""What is marked in a picture, by a mask file or by a drawing, in the picture's own pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from inspector.errors import DataError
from inspector.imaging.normalise import to_8_bit, to_grey
from training.data.drawing import IGNORE, Mask
from training.data.reading import HEADER_ERRORS, Preparation, read_frame
from training.data.samples import Dataset, Sample

MOST_CLASS_NUMBERS = 32
"""A mask whose brightest pixel is below this holds class numbers 1, 2, 3 …: each of them marks."""


def defects(dataset: Dataset, sample: Sample, width_px: int, height_px: int) -> Mask | None:
    """Where the sample's picture of that size is defective: bool (height_px, width_px).

    None if nothing says where; all False for a good part. Raises DataError if mask and picture do not fit together.
    """
    if sample.is_good:
        return np.zeros((height_px, width_px), np.bool_)
    by_class = defects_by_class(dataset, sample, width_px, height_px)
    if by_class is not None:
        return _any_of(list(by_class.values()))
    return read_mask(dataset.root / sample.mask, width_px, height_px) if sample.mask else None


def defects_by_class(dataset: Dataset, sample: Sample, width_px: int, height_px: int) -> dict[str, Mask] | None:
    """As `defects`, for each class that the picture shows; they may overlap. Empty for a good part.

    None also if one mask file is for several classes, as nothing says which area is of which.
    """
    if sample.is_good:
        return {}
    if sample.drawing is not None and sample.drawing.labels:
        return {label: sample.drawing.marked(label, width_px, height_px) for label in sample.drawing.labels}
    if not sample.mask or sample.also:
        return None
    return {sample.label: read_mask(dataset.root / sample.mask, width_px, height_px)}


def ignored(dataset: Dataset, sample: Sample, width_px: int, height_px: int) -> Mask | None:
    """Where the sample's picture of that size does not count: bool (height_px, width_px), None for nowhere."""
    areas = []
    if sample.ignore:
        areas.append(read_mask(dataset.root / sample.ignore, width_px, height_px))
    if _draws_ignored(sample):
        assert sample.drawing is not None
        areas.append(sample.drawing.marked(IGNORE, width_px, height_px))
    return _any_of(areas) if areas else None


def has_ignored(sample: Sample) -> bool:
    """Whether some of the sample's picture does not count; nothing is read."""
    return bool(sample.ignore) or _draws_ignored(sample)


def _draws_ignored(sample: Sample) -> bool:
    return sample.drawing is not None and any(shape.label == IGNORE for shape in sample.drawing.shapes)


def _any_of(areas: Sequence[Mask]) -> Mask:
    return np.asarray(np.logical_or.reduce(areas), np.bool_)


def read_mask(path: Path, width_px: int, height_px: int) -> Mask:
    """A mask file of a picture of that size: bool (height_px, width_px). Raises DataError."""
    grey = mask_values(path)
    if grey.shape != (height_px, width_px):
        raise DataError(
            f"the mask is {grey.shape[1]} × {grey.shape[0]} px, its image {width_px} × {height_px}; draw it on the image"
        )
    return grey > marked_above(grey)


def mask_values(path: Path) -> NDArray[np.uint8]:
    """Values of a mask file: uint8 (height, width), of a palette picture 255 for all but its first colour.

    Raises DataError.
    """
    plain = Preparation(1, 1, 1)
    frame = read_frame(path, plain.limits)
    drawn = plain.image(frame)  # also checks the size before Pillow decodes anything
    try:
        with PillowImage.open(io.BytesIO(frame.data)) as picture:
            if picture.mode == "P":
                return np.where(np.asarray(picture) > 0, 255, 0).astype(np.uint8)
    except HEADER_ERRORS as error:
        raise DataError(f"the mask cannot be read ({error}); save it again as PNG") from error
    if drawn.pixels.dtype == np.uint16 and int(drawn.pixels.max()) < 256:
        return to_grey(drawn.pixels.astype(np.uint8))  # class numbers in 16 bits
    return to_grey(to_8_bit(drawn.pixels, drawn.bits))


def marked_above(grey: NDArray[np.uint8]) -> int:
    """The grey value above which a mask marks. Masks come as 0 and 255, as 0 and 1, as class numbers, and as JPEG with
    ringing between.
    """
    brightest = int(grey.max())
    return 0 if brightest < MOST_CLASS_NUMBERS else brightest // 2
