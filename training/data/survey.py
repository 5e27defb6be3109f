"""Reads every image once and notes what a person should know before fitting on it."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from inspector.errors import DataError
from inspector.imaging.normalise import to_8_bit, to_grey
from inspector.imaging.pixels import as_pixels
from inspector.part import Box, Frame, Image
from training.data.importers.found import is_there
from training.data.mask_checks import MaskProblem, check_masks
from training.data.reading import HEADER_ERRORS, Preparation, header_of, pixels_sha256, read_frame
from training.data.samples import Dataset, Sample, dataset_digest, sample_identity
from training.progress import Progress, silent, track

THUMBNAIL_PX = 128
"""Long side of the typical thumbnail. All of a data set are reduced by the same factor, so that parts keep their size."""

BLANK_CONTRAST = 0.25
"""Standard deviation, in grey levels, below which a picture shows nothing: a covered lens, a dead or overexposed sensor."""
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Surveyed:
    """One readable image. `sample` has a mask and areas to ignore only if they can be used; `region` is where the part is.

    `thumbnail` is uint8 grey (height, width) of the located region, `brightness` its mean and `contrast` its standard
    deviation in grey levels; `mode` is of the file. `mask_sha256` and `ignore_sha256` are of those files, or empty;
    `pixels_sha256` is of what the picture shows, whatever kind of file it lies in.
    """

    sample: Sample
    sha256: str
    width_px: int
    height_px: int
    region: Box
    mode: str
    brightness: float
    contrast: float
    thumbnail: NDArray[np.uint8]
    mask_sha256: str = ""
    ignore_sha256: str = ""
    pixels_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One image that cannot be used, and why."""

    sample: Sample
    reason: str


@dataclass(frozen=True, slots=True)
class Survey:
    """All images of a data set, read once, in the order of their paths. `dataset` is without what cannot be used."""

    dataset: Dataset
    images: tuple[Surveyed, ...]
    unreadable: tuple[Unreadable, ...]
    mask_problems: tuple[MaskProblem, ...]

    @property
    def digest(self) -> str:
        """Names exactly these images, labels, masks, areas to ignore, parts and lots."""
        return dataset_digest(
            sample_identity(image.sample, image.sha256, image.mask_sha256, image.ignore_sha256) for image in self.images
        )

    @property
    def blank(self) -> tuple[Surveyed, ...]:
        """Images of one grey value all over."""
        return tuple(image for image in self.images if image.contrast < BLANK_CONTRAST)

    @property
    def channels(self) -> int:
        """3 if any image is in colour, else 1."""
        return 3 if any("colour" in image.mode for image in self.images) else 1

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
    problems: list[MaskProblem] = []
    for sample in track(dataset.samples, "Reading images", progress):
        try:
            surveyed = _read(dataset.file(sample), sample, preparation, factor)
        except DataError as error:
            unreadable.append(Unreadable(sample, str(error)))
            continue
        found = check_masks(dataset, sample, surveyed.width_px, surveyed.height_px)
        problems += found
        images.append(_with_masks(dataset, surveyed, found))
    if not images:
        raise DataError(
            f"none of the {len(unreadable)} images in {dataset.root} can be read; the first, {unreadable[0].sample.path}: "
            f"{unreadable[0].reason}"
        )
    usable = replace(dataset, samples=tuple(image.sample for image in images))
    return Survey(usable, tuple(images), tuple(unreadable), tuple(problems))


def _with_masks(dataset: Dataset, image: Surveyed, problems: Sequence[MaskProblem]) -> Surveyed:
    """The image with what of its masks can be used, and their digests."""
    sample = image.sample
    if any(not problem.usable for problem in problems):
        sample = replace(sample, mask="", ignore="", drawing=None)
    return replace(
        image,
        sample=sample,
        mask_sha256=_file_sha256(dataset.root / sample.mask) if sample.mask else "",
        ignore_sha256=_file_sha256(dataset.root / sample.ignore) if sample.ignore else "",
    )


def _thumbnail_factor(dataset: Dataset, samples: Sequence[Sample]) -> float:
    """Thumbnail pixels per image pixel, from the sizes in the files' headers; at most 1."""
    sides = [max(size) for sample in samples if (size := _header_size(dataset.file(sample)))]
    return min(1.0, THUMBNAIL_PX / float(np.median(sides))) if sides else 1.0


def _header_size(path: Path) -> tuple[int, int] | None:
    if not is_there(path):
        return None  # opening a pipe would wait for ever
    try:
        return header_of(path)[:2]
    except HEADER_ERRORS:
        return None


def _read(path: Path, sample: Sample, preparation: Preparation, factor: float) -> Surveyed:
    frame = read_frame(path, preparation.limits)
    image = preparation.image(frame)
    region = preparation.region(image)
    grey = _thumbnail(image, region, factor)
    return Surveyed(
        sample=sample,
        sha256=_file_sha256(path),
        width_px=image.width_px,
        height_px=image.height_px,
        region=region,
        mode=_mode(frame, image),
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        thumbnail=grey,
        pixels_sha256=pixels_sha256(image),
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
    try:
        with PillowImage.open(io.BytesIO(frame.data)) as header:
            mode, orientation = header.mode, header.getexif().get(_EXIF_ORIENTATION, 1)
    except HEADER_ERRORS:  # what stands beside the pixels is no reason to leave out a picture that the line can decode
        mode, orientation = "", 1
    channels = "grey" if image.pixels.ndim == 2 else "colour"
    notes = [f"{image.bits}-bit {channels}"]
    if mode in ("CMYK", "P", "LA", "RGBA", "PA"):
        notes.append({"CMYK": "from CMYK", "P": "from a palette"}.get(mode, "with transparency"))
    if orientation not in (0, 1):
        notes.append("turned by EXIF")
    return ", ".join(notes)


def sizes(images: Sequence[Surveyed]) -> Counter[tuple[int, int]]:
    """How many images have which (width, height)."""
    return Counter((image.width_px, image.height_px) for image in images)
