"""Files to frames to model input, by the inspector's own imaging: what is fitted on is what the line sees."""

from __future__ import annotations

import hashlib
import stat
import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from inspector.errors import DataError, FrameError
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.locate import LocationSpec, NoLocation, locate, location_to_dict
from inspector.imaging.normalise import normalise
from inspector.inference.manifest import InputSpec, TilingSpec
from inspector.part import Box, Frame, Image, PixelFormat

HEADER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    KeyError,
    TypeError,
    struct.error,
    PillowImage.DecompressionBombError,
)
"""What Pillow raises over a header that it cannot read or takes for a trap."""
_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

MEDIA_TYPES = {PixelFormat.JPEG: "image/jpeg", PixelFormat.PNG: "image/png"}


def read_frame(path: Path, limits: DecodeLimits) -> Frame:
    """A file as the frame a camera would send: JPEG and PNG byte for byte, BMP and TIFF losslessly as PNG.

    Raises DataError if it is none of these, too large or cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError("it is no file; remove it from the data set")  # reading a pipe would wait for ever
        size_bytes = status.st_size
        if size_bytes > limits.max_frame_bytes:
            raise DataError(f"the file has {size_bytes} bytes, more than {limits.max_frame_bytes}; save it smaller")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}; check it and its permissions") from error
    if data.startswith(_JPEG_MAGIC):
        return Frame(0, PixelFormat.JPEG, 0, 0, 0, data)
    if not data.startswith(_PNG_MAGIC):
        data = _as_png(path, data, limits)
    return Frame(0, PixelFormat.PNG, 0, 0, 0, data)


def pixels_sha256(image: Image) -> str:
    """SHA-256 of what a picture shows, whatever kind of file it lies in: size, bits and pixels."""
    digest = hashlib.sha256(repr((image.pixels.shape, image.bits)).encode())
    digest.update(np.ascontiguousarray(image.pixels).data)
    return digest.hexdigest()


def _as_png(path: Path, data: bytes, limits: DecodeLimits) -> bytes:
    """Another file format as PNG of the same pixels. The header is looked at before anything is decoded."""
    if not data:
        raise DataError("the file is empty; copy it again")
    try:
        width, height, pictures = header_of(path)
    except PillowImage.DecompressionBombError as error:
        raise DataError(f"the picture has more than {limits.max_pixels} pixels; crop it") from error
    except HEADER_ERRORS as error:
        raise DataError("the file is no JPEG, PNG, BMP or TIFF picture; save it as one") from error
    if width * height > limits.max_pixels:
        raise DataError(f"the picture is {width} × {height} px, more than {limits.max_pixels} pixels; crop it")
    if pictures > 1:
        raise DataError(f"the file holds {pictures} pictures; save each in a file of its own")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DataError(f"the picture cannot be decoded ({error.err}); save it as PNG") from error
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise DataError("the picture cannot be decoded as 8 or 16 bits per channel; save it as PNG")
    return bytes(cv2.imencode(".png", pixels)[1])


def header_of(path: Path) -> tuple[int, int, int]:
    """Width, height and number of pictures that a file's header states. Raises what HEADER_ERRORS names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)  # nothing is decoded here
        with PillowImage.open(path) as header:
            return *header.size, getattr(header, "n_frames", 1)


@dataclass(frozen=True, slots=True)
class Preparation:
    """From a frame to the model's input: the service and training share it, and a bundle records it.

    With `tiling` the input is a picture that is judged by tiles; sizes are those of the picture.
    """

    width_px: int
    height_px: int
    channels: int
    location: LocationSpec = field(default_factory=NoLocation)
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    tiling: TilingSpec | None = None

    def input_spec(self) -> InputSpec:
        """As the manifest of a bundle has it."""
        channels: Literal[1, 3] = 1 if self.channels == 1 else 3
        return InputSpec(self.width_px, self.height_px, channels, location_to_dict(self.location), self.tiling)

    def image(self, frame: Frame) -> Image:
        """Decode. Raises DataError, because here a broken frame is a broken file."""
        try:
            return decode(frame, self.limits)
        except FrameError as error:
            raise DataError(str(error)) from error

    def region(self, image: Image) -> Box:
        """Find the part. Raises DataError if it is not found."""
        try:
            return locate(image, self.location)
        except FrameError as error:
            raise DataError(str(error)) from error

    def model_input(self, image: Image, region: Box) -> NDArray[np.uint8]:
        """uint8 (height_px, width_px, channels), RGB for 3 channels."""
        return normalise(image, region, self.width_px, self.height_px, self.channels)

    def read(self, path: Path) -> NDArray[np.uint8]:
        """The model's input of a file: uint8 (height_px, width_px, channels). Raises DataError."""
        image = self.image(read_frame(path, self.limits))
        return self.model_input(image, self.region(image))
