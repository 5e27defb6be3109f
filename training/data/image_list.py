"""The images that a bundle knows, by content: a text file in the bundle that its manifest names.

    inspector images 1
    fit 5f2c… 91ab…
    test 03d1… 77e0…

Each line is a role, the SHA-256 of the file and that of its pixels. The first finds a picture in an image store or snapshot
again, the second also where the same pixels lie in a file of another kind, as when a camera sent them raw.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from inspector.errors import DataError
from inspector.inference.bundle import Bundle

IMAGE_LIST = "images.txt"
MAX_IMAGES = 1_000_000
"""With 140 bytes each; a larger data set than this does not fit into the memory of a fit anyway."""
FIT, CALIBRATION, VALIDATION, TEST, ADDED = "fit", "calibration", "validation", "test", "added"
"""What an image was for. `added` ones were put into the memory after the fit."""
TAUGHT = frozenset({FIT, CALIBRATION, VALIDATION, ADDED})
"""The roles of images on which the figures of a bundle flatter it."""
_HEADER = "inspector images 1"
_LINE = re.compile(r"(fit|calibration|validation|test|added) ([0-9a-f]{64}) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, order=True)
class KnownImage:
    """One image: what it was for, and the SHA-256 of its file and of its pixels."""

    role: str
    file_sha256: str
    pixels_sha256: str


@dataclass(frozen=True)
class ImageList:
    """Every image that a bundle was fitted, calibrated and tested on."""

    images: frozenset[KnownImage]

    @cached_property
    def _roles(self) -> Mapping[str, frozenset[str]]:
        roles: dict[str, set[str]] = {}
        for image in self.images:
            for sha256 in (image.file_sha256, image.pixels_sha256):
                roles.setdefault(sha256, set()).add(image.role)
        return {sha256: frozenset(found) for sha256, found in roles.items()}

    def roles(self, file_sha256: str, pixels_sha256: str) -> frozenset[str]:
        """What an image was for, found by its file or by its pixels; empty if the bundle does not know it."""
        return self._roles.get(file_sha256, frozenset()) | self._roles.get(pixels_sha256, frozenset())

    def with_more(self, images: Iterable[KnownImage]) -> ImageList:
        return ImageList(self.images | frozenset(images))

    def without(self, role: str, files: frozenset[str] | None = None) -> ImageList:
        """Without the images of a role, or those of them with these files."""
        gone = {i for i in self.images if i.role == role and (files is None or i.file_sha256 in files)}
        return ImageList(self.images - gone)

    def to_bytes(self) -> bytes:
        """As it stands in the bundle; the same images always give the same bytes."""
        lines = [f"{image.role} {image.file_sha256} {image.pixels_sha256}" for image in sorted(self.images)]
        return ("\n".join([_HEADER, *lines]) + "\n").encode("ascii")


def image_list(images: Iterable[KnownImage]) -> ImageList:
    """A list of images. Raises DataError if they are too many for a bundle to name."""
    found = frozenset(images)
    if len(found) > MAX_IMAGES:
        raise DataError(f"{len(found)} images are more than the {MAX_IMAGES} that a bundle can name; fit on fewer")
    return ImageList(found)


def read_image_list(data: bytes, source: str) -> ImageList:
    """Inverse of `ImageList.to_bytes`. Raises DataError that names the line that is none."""
    lines = data.decode("ascii", "replace").splitlines()
    if not lines or lines[0] != _HEADER:
        raise DataError(f"{source} is no list of images: its first line is not {_HEADER!r}; export the bundle again")
    if len(lines) > MAX_IMAGES + 1:
        raise DataError(
            f"{source} names {len(lines) - 1} images, at most {MAX_IMAGES} are read; export the bundle again"
        )
    images = set()
    for number, line in enumerate(lines[1:], start=2):
        if (found := _LINE.fullmatch(line)) is None:
            raise DataError(f"{source}, line {number} is no role with two hashes; export the bundle again")
        images.add(KnownImage(*found.groups()))
    return ImageList(frozenset(images))


def images_of(bundle: Bundle) -> ImageList | None:
    """The images that a bundle knows; None if it does not say. Raises BundleTampered, DataError."""
    name = bundle.manifest.image_list
    return read_image_list(bundle.read(name), f"{name} of {bundle.label}") if name else None
