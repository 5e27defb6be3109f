"""Reads every image once and notes what a person should know before fitting on it."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from inspector.errors import DataError
from inspector.imaging.normalise import to_8_bit, to_grey
from inspector.imaging.pixels import as_pixels
from inspector.part import Box, Frame, Image
from training.data.reading import Preparation, read_frame
from training.data.samples import Dataset, Sample, dataset_digest
from training.progress import Progress, silent, track

THUMBNAIL_PX = 128
"""Long side of the typical thumbnail. All of a data set are reduced by the same factor, so that parts keep their size."""

_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Surveyed:
    """One readable image. `thumbnail` is uint8 grey (height, width) of the located region; `mode` is of the file."""

    sample: Sample
    sha256: str
    width_px: int
    height_px: int
    mode: str
    brightness: float
    thumbnail: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One image that cannot be used, and why."""

    sample: Sample
    reason: str


@dataclass(frozen=True, slots=True)
class MaskProblem:
    """One mask that is not what it should be, and why."""

    sample: Sample
    reason: str


@dataclass(frozen=True, slots=True)
class Survey:
    """All images of a data set, read once, in the order of their paths."""

    dataset: Dataset
    images: tuple[Surveyed, ...]
    unreadable: tuple[Unreadable, ...]
    mask_problems: tuple[MaskProblem, ...]

    @property
    def digest(self) -> str:
        """Names exactly these images and labels."""
        return dataset_digest((image.sample.path, image.sha256, image.sample.label) for image in self.images)

    @property
    def good(self) -> tuple[Surveyed, ...]:
        return tuple(image for image in self.images if image.sample.is_good)


def survey(dataset: Dataset, preparation: Preparation, progress: Progress = silent) -> Survey:
    """Read every image of the data set as the service would, and every mask.

    Raises DataError only if no image at all is readable; single images that are not become `unreadable`.
    """
    factor = _thumbnail_factor(dataset, dataset.samples)
    images: list[Surveyed] = []
    unreadable: list[Unreadable] = []
    mask_problems: list[MaskProblem] = []
    for sample in track(dataset.samples, "Reading images", progress):
        try:
            image, surveyed = _read(dataset.file(sample), sample, preparation, factor)
        except DataError as error:
            unreadable.append(Unreadable(sample, str(error)))
            continue
        images.append(surveyed)
        mask_file = dataset.mask_file(sample)
        if mask_file is not None and (reason := _mask_problem(mask_file, image, preparation)):
            mask_problems.append(MaskProblem(sample, reason))
    if not images:
        raise DataError(
            f"none of the {len(unreadable)} images in {dataset.root} can be read; the first, {unreadable[0].sample.path}: "
            f"{unreadable[0].reason}"
        )
    return Survey(dataset, tuple(images), tuple(unreadable), tuple(mask_problems))


def _thumbnail_factor(dataset: Dataset, samples: Sequence[Sample]) -> float:
    """Thumbnail pixels per image pixel, from the sizes in the files' headers; at most 1."""
    sides = [max(size) for sample in samples if (size := _header_size(dataset.file(sample)))]
    return min(1.0, THUMBNAIL_PX / float(np.median(sides))) if sides else 1.0


def _header_size(path: Path) -> tuple[int, int] | None:
    try:
        with PillowImage.open(path) as header:
            return header.size
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError):
        return None


def _read(path: Path, sample: Sample, preparation: Preparation, factor: float) -> tuple[Image, Surveyed]:
    frame = read_frame(path, preparation.limits)
    image = preparation.image(frame)
    region = preparation.region(image)
    grey = _thumbnail(image, region, factor)
    return image, Surveyed(
        sample=sample,
        sha256=_file_sha256(path),
        width_px=image.width_px,
        height_px=image.height_px,
        mode=_mode(frame, image),
        brightness=float(grey.mean()),
        thumbnail=grey,
    )


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _thumbnail(image: Image, region: Box, factor: float) -> NDArray[np.uint8]:
    """uint8 grey of the region, reduced by `factor`; at least 8 and at most 4 × THUMBNAIL_PX on a side."""
    x, y = region.x_px, region.y_px
    crop = image.pixels[y : y + region.height_px, x : x + region.width_px]
    width, height = (
        min(max(round(side * factor), 8), 4 * THUMBNAIL_PX) for side in (region.width_px, region.height_px)
    )
    small = cv2.resize(np.ascontiguousarray(crop), (width, height), interpolation=cv2.INTER_AREA)
    return to_grey(to_8_bit(as_pixels(small), image.bits))


def _mode(frame: Frame, image: Image) -> str:
    """What kind of picture the file holds, in words, with what is unusual about it."""
    with PillowImage.open(io.BytesIO(frame.data)) as header:
        mode, orientation = header.mode, header.getexif().get(_EXIF_ORIENTATION, 1)
    channels = "grey" if image.pixels.ndim == 2 else "colour"
    notes = [f"{image.bits}-bit {channels}"]
    if mode in ("CMYK", "P", "LA", "RGBA", "PA"):
        notes.append({"CMYK": "from CMYK", "P": "from a palette"}.get(mode, "with transparency"))
    if orientation not in (0, 1):
        notes.append("turned by EXIF")
    return ", ".join(notes)


def _mask_problem(path: Path, image: Image, preparation: Preparation) -> str:
    """What is wrong with a mask, or an empty string."""
    try:
        mask = preparation.image(read_frame(path, preparation.limits))
    except DataError as error:
        return str(error)
    if (mask.width_px, mask.height_px) != (image.width_px, image.height_px):
        return (
            f"the mask is {mask.width_px} × {mask.height_px} px, its image {image.width_px} × {image.height_px}; "
            "draw it on the image"
        )
    return "" if mask.pixels.any() else "the mask marks nothing, though the image is of a defect class; draw it"


def sizes(images: Sequence[Surveyed]) -> Counter[tuple[int, int]]:
    """How many images have which (width, height)."""
    return Counter((image.width_px, image.height_px) for image in images)
