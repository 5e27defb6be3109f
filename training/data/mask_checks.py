"""Looks whether masks can be what they claim to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DataError
from training.data import marks
from training.data.samples import Dataset, Sample

_HALF_TONES = 0.5
"""Share of the pixels that are not black from which on a mask with values in between is rather a picture."""
_NEARLY_ALL = 0.9


@dataclass(frozen=True, slots=True)
class MaskProblem:
    """One mask that is not what it should be, and why. If it is not `usable`, the image is taken as having none."""

    sample: Sample
    reason: str
    usable: bool = False


def check_masks(dataset: Dataset, sample: Sample, width_px: int, height_px: int) -> list[MaskProblem]:
    """What is wrong with the masks and drawn areas of a picture of that size; a good part may have an empty mask."""
    problems = []
    try:
        if sample.mask:
            values = marks.mask_values(dataset.root / sample.mask)
            marked = marks.read_mask(dataset.root / sample.mask, width_px, height_px)
            problems += _looks(sample, values, marked)
        elif sample.is_masked:
            drawn = marks.defects(dataset, sample, width_px, height_px)
            if drawn is not None and not drawn.any():
                problems.append(MaskProblem(sample, "the drawn areas cover no pixel; draw them again"))
        marks.ignored(dataset, sample, width_px, height_px)
    except DataError as error:
        problems.append(MaskProblem(sample, str(error)))
    return problems


def _looks(sample: Sample, values: NDArray[np.uint8], marked: NDArray[np.bool_]) -> list[MaskProblem]:
    if sample.is_good:
        if not marked.any():
            return []
        return [
            MaskProblem(sample, "the mask marks something, though the image is labelled good; correct one of the two")
        ]
    if not marked.any():
        return [MaskProblem(sample, "the mask marks nothing, though the image is of a defect class; draw it")]
    brightest = int(values.max())
    between = (values > brightest // 8) & (values < brightest - brightest // 8)
    if brightest > marks.MOST_CLASS_NUMBERS and between.sum() > _HALF_TONES * (values > brightest // 8).sum():
        return [
            MaskProblem(
                sample, "most values of the mask are neither dark nor bright: it looks like a picture; export the mask"
            )
        ]
    if marked.mean() > _NEARLY_ALL:
        return [
            MaskProblem(
                sample,
                f"the mask marks {marked.mean():.0%} of the picture: look whether it is inverted",
                usable=True,
            )
        ]
    return []
