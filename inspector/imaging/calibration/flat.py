"""The flat field: how unevenly light, lens and sensor see an even target, and how that is taken out again."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import ConfigError
from inspector.imaging.pixels import as_pixels
from inspector.part import Image

LEAST_FRAMES = 8
_MOST_GAIN = 4.0
_TOO_BRIGHT, _TOO_DARK = 0.98, 0.08
_FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class FlatField:
    """By what each pixel is multiplied so that an even target looks even: float32 (height, width[, 3]), mean 1 in the middle.

    `unevenness` is the largest gain by the smallest, less 1, after small blemishes are smoothed; `frames` were averaged.
    """

    gain: NDArray[np.float32]
    unevenness: float
    frames: int

    @property
    def size_px(self) -> tuple[int, int]:
        return int(self.gain.shape[1]), int(self.gain.shape[0])


def build_flat(images: Sequence[Image]) -> FlatField:
    """From frames of an even, bright, unsaturated target. Errors: ConfigError if they are not."""
    if len(images) < LEAST_FRAMES:
        raise ConfigError(
            f"a flat field needs {LEAST_FRAMES} frames or more, got {len(images)}: take more of the target"
        )
    first = images[0]
    if any(image.pixels.shape != first.pixels.shape or image.bits != first.bits for image in images):
        raise ConfigError(
            "the frames of the flat field differ in size or format: leave the camera as it is between them"
        )
    full = float((1 << first.bits) - 1)
    mean = np.asarray(np.mean([image.pixels for image in images], axis=0, dtype=np.float32), np.float32)
    smooth = np.asarray(cv2.GaussianBlur(mean, (0, 0), max(1.0, max(mean.shape[:2]) / 100)), np.float32)
    if float(smooth.max()) > _TOO_BRIGHT * full:
        raise ConfigError(
            "the flat field is clipped where it is brightest: shorten the exposure until it is at some 80 %"
        )
    if float(smooth.min()) < _TOO_DARK * full:
        raise ConfigError("the flat field is nearly black somewhere: more light, or a longer exposure")
    level = smooth.mean(axis=(0, 1))
    gain = np.asarray(level / np.maximum(mean, 1.0), np.float32)
    even = level / smooth
    return FlatField(np.minimum(gain, np.float32(_MOST_GAIN)), float(even.max() / even.min() - 1), len(images))


def flatten(image: Image, flat: FlatField) -> Image:
    """The picture as if all of it were seen evenly: rounded, clipped at full scale. The caller has asked `fits`."""
    pixels = as_pixels(cv2.multiply(image.pixels, flat.gain, dtype=cv2.CV_8U if image.bits == 8 else cv2.CV_16U))
    if image.bits in (10, 12):
        pixels = as_pixels(np.minimum(pixels, (1 << image.bits) - 1))
    return Image(pixels, image.bits)


def write_flat(flat: FlatField) -> bytes:
    """As numpy's .npz."""
    target = io.BytesIO()
    np.savez_compressed(
        target, format=_FORMAT, gain=flat.gain.astype(np.float16), unevenness=flat.unevenness, frames=flat.frames
    )
    return target.getvalue()


def read_flat(data: bytes, name: str) -> FlatField:
    """The inverse of `write_flat`. `name` is for the message. Errors: ConfigError."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if int(file["format"]) != _FORMAT:
                raise ConfigError(f"{name} has another format than {_FORMAT}: take it anew")
            gain = file["gain"].astype(np.float32)
            flat = FlatField(gain, float(file["unevenness"]), int(file["frames"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(f"{name} is no flat field ({error}): take it anew") from error
    if gain.ndim not in (2, 3) or not np.isfinite(gain).all() or gain.min() < 0:
        raise ConfigError(f"{name} is no flat field: its gains are not numbers of 0 or more; take it anew")
    return flat


def fits(image: Image, flat: FlatField) -> bool:
    """Whether the flat field is of pictures of that size and colour."""
    return image.pixels.shape == flat.gain.shape
