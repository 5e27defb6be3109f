"""Small seeded pictures of parts, with and without defects, for the tests of training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.samples import GOOD
from training.data.splits import Role, SplitEntry
from training.data.training_set import LabelledImages

SIZE_PX = 64


def part(seed: int, *, defect: bool = False, colour: bool = False) -> NDArray[np.uint8]:
    """A brushed part with its own grain, uint8 (64, 64) or (64, 64, 3); a defect is a dark blot of 14 px."""
    random = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(random.normal(0, 60, (SIZE_PX, SIZE_PX)), (0, 0), 0.8)
    pixels = 130 + grain + 25 * np.sin(np.arange(SIZE_PX) / 5)
    if defect:
        x, y = random.integers(12, SIZE_PX - 26, 2)
        pixels[y : y + 14, x : x + 14] = 15
    grey = np.clip(pixels, 0, 255).astype(np.uint8)
    return np.stack([grey, grey, np.clip(grey * 0.7, 0, 255).astype(np.uint8)], axis=2) if colour else grey


def exposure(pixels: NDArray[np.uint8], gain: float, shift_px: int) -> NDArray[np.uint8]:
    """The same part under other light, moved a little."""
    moved = np.roll(pixels, shift_px, axis=1).astype(np.float32) * gain
    return np.clip(moved, 0, 255).astype(np.uint8)


def stamped(seed: int) -> NDArray[np.uint8]:
    """A good part with a stamp that no part to fit on had."""
    pixels = part(seed).copy()
    cv2.circle(pixels, (32, 32), 9, 250, 2)
    return pixels


def save(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Path:
    """Write pixels as the file type of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_parts(root: Path, *, good: int, defects: dict[str, int] | None = None, colour: bool = False) -> Path:
    """A generic data set of different parts: good/ and one folder per defect class."""
    for index in range(good):
        save(root / "good" / f"{index:03d}.png", part(index, colour=colour))
    for number, (name, count) in enumerate((defects or {}).items()):
        for index in range(count):
            save(root / name / f"{index:03d}.png", part(10_000 * (number + 1) + index, defect=True, colour=colour))
    return root


def mark(root: Path) -> Path:
    """A mask of the blot in every defective picture of `write_parts`, as data sets of this layout have them."""
    for path in sorted(root.glob("[!g]*/*.png")):
        pixels = np.asarray(Image.open(path))
        mask = np.where((pixels[..., 0] if pixels.ndim == 3 else pixels) == 15, 255, 0).astype(np.uint8)
        save(root / "ground_truth" / path.parent.name / f"{path.stem}_mask.png", mask)
    return root


class Pictures(LabelledImages):
    """Labelled images in memory: uint8 (n, 64, 64, 1), each of a part of its own, all good unless `labels` says else."""

    stored: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None

    def __init__(
        self, pixels: NDArray[np.uint8], labels: Sequence[str] = (), masks: NDArray[np.uint8] | None = None
    ) -> None:
        entries = tuple(
            SplitEntry(str(index), label, index, Role.FIT) for index, label in enumerate(labels or [GOOD] * len(pixels))
        )
        height, width, channels = pixels.shape[1:]
        super().__init__(None, entries, Preparation(width, height, channels))  # type: ignore[arg-type]  # nothing is read
        object.__setattr__(self, "stored", pixels)
        object.__setattr__(self, "masks", masks)

    def only(self, images: Sequence[int]) -> Pictures:
        chosen = list(images)
        masks = None if self.masks is None else self.masks[chosen]
        return Pictures(self.stored[chosen], [self.label(image) for image in chosen], masks)

    def pixels(self, image: int) -> NDArray[np.uint8]:
        return self.stored[image]

    def mask(self, image: int) -> NDArray[np.uint8] | None:
        if self.masks is not None:
            return self.masks[image]
        return np.zeros(self.stored.shape[1:3], np.uint8) if self.is_good(image) else None

    def labels(self, image: int) -> tuple[str, ...]:
        return (self.label(image),)

    def agreement(self, image: int) -> float:
        return 1.0

    def class_masks(self, image: int) -> dict[str, NDArray[np.uint8]] | None:
        mask = self.mask(image)
        if self.is_good(image) or mask is None:
            return {} if self.is_good(image) else None
        return {self.label(image): mask}

    def ignored(self, image: int) -> NDArray[np.bool_] | None:
        return None


def on_disk(root: Path, preparation: Preparation) -> LabelledImages:
    """A folder of parts, each image a part of its own, all to fit on."""
    dataset = open_dataset(str(root))
    entries = [SplitEntry(s.path, s.label, i, Role.FIT) for i, s in enumerate(dataset.samples)]
    return LabelledImages(dataset, tuple(entries), preparation)


def cmyk_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """A CMYK JPEG file, as image editors for print write them."""
    stream = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").convert("CMYK").save(stream, "JPEG", quality=95)
    return stream.getvalue()


def turned_jpeg(pixels: NDArray[np.uint8], orientation: int) -> bytes:
    """A JPEG file with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, exif=exif)
    return stream.getvalue()


def png_header_of(width_px: int, height_px: int) -> bytes:
    """A PNG file whose header promises a picture of any size, with hardly any data behind it."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
