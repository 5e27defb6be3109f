"""Raw camera formats: their layout in memory as data, and how their pixels become a picture.

Source of names and layouts: GenICam Pixel Format Naming Convention 2.4. OpenCV's older Bayer names say which colours lie
at row 1, columns 1 and 2 and so look swapped; its names with four letters say the first 2 × 2 pixels, as GenICam does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from inspector.imaging.guard import DecodeLimits, check_pixel_count, invalid
from inspector.imaging.pixels import Pixels, as_pixels
from inspector.part import Frame, Image, PixelFormat


@dataclass(frozen=True, slots=True)
class RawLayout:
    """How one raw format lies in memory. `name` is GenICam's, `demosaic` OpenCV's conversion code for a Bayer mosaic."""

    name: str
    bits: int = 8
    channels: int = 1
    demosaic: int | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("u1") if self.bits == 8 else np.dtype("<u2")


RAW_LAYOUTS: Mapping[PixelFormat, RawLayout] = {
    PixelFormat.MONO8: RawLayout("Mono8"),
    PixelFormat.MONO10: RawLayout("Mono10", bits=10),
    PixelFormat.MONO12: RawLayout("Mono12", bits=12),
    PixelFormat.MONO16: RawLayout("Mono16", bits=16),
    PixelFormat.RGB8: RawLayout("RGB8", channels=3),
    PixelFormat.BGR8: RawLayout("BGR8", channels=3),
    PixelFormat.BAYER_RG8: RawLayout("BayerRG8", demosaic=cv2.COLOR_BayerRGGB2RGB),
    PixelFormat.BAYER_GR8: RawLayout("BayerGR8", demosaic=cv2.COLOR_BayerGRBG2RGB),
    PixelFormat.BAYER_GB8: RawLayout("BayerGB8", demosaic=cv2.COLOR_BayerGBRG2RGB),
    PixelFormat.BAYER_BG8: RawLayout("BayerBG8", demosaic=cv2.COLOR_BayerBGGR2RGB),
}
RAW_FORMATS_BY_NAME: Mapping[str, PixelFormat] = {layout.name: key for key, layout in RAW_LAYOUTS.items()}


def raw_pixels(frame: Frame, limits: DecodeLimits) -> Pixels:
    """The frame's values as sent, without a copy.

    Returns a read-only view of `frame.data`, uint8 or uint16: (height, width), or (height, width, 3) in the format's own
    channel order; rows are `stride_bytes` apart.
    Errors: FrameError FRAME_INVALID if size, stride and bytes disagree, FRAME_TOO_LARGE above `limits.max_pixels`.
    """
    layout = RAW_LAYOUTS[frame.pixel_format]
    width, height, item = frame.width_px, frame.height_px, layout.dtype.itemsize
    check_pixel_count(width, height, limits)
    row_bytes = width * layout.channels * item
    stride = frame.stride_bytes or row_bytes
    if stride < row_bytes or stride % item:
        raise invalid(
            f"a stride of {stride} bytes cannot hold rows of {width} px in {layout.name} ({row_bytes} bytes, in steps of "
            f"{item}): send the camera's line pitch, or 0 for rows without padding"
        )
    least, most = stride * (height - 1) + row_bytes, stride * height
    if not least <= len(frame.data) <= most:
        raise invalid(
            f"{len(frame.data)} bytes came for {width} × {height} px of {layout.name} at a stride of {stride} bytes, "
            f"expected {most}: the frame is truncated, or its size or pixel format is not the camera's"
        )
    shape, strides = (height, width), (stride, layout.channels * item)
    if layout.channels == 1:
        return np.ndarray(shape, layout.dtype, frame.data, strides=strides)
    return np.ndarray((*shape, layout.channels), layout.dtype, frame.data, strides=(*strides, item))


def develop(pixels: Pixels, pixel_format: PixelFormat) -> Image:
    """Values as sent → picture: checks the bit depth, puts colours in RGB order, interpolates a Bayer mosaic (bilinear).

    `pixels` are as from `raw_pixels`. Mono and RGB8 are passed on without a copy.
    Errors: FrameError FRAME_INVALID for values above the stated bit depth and for a mosaic too small to interpolate.
    """
    layout = RAW_LAYOUTS[pixel_format]
    if layout.bits in (10, 12) and (top := int(pixels.max())) >> layout.bits:
        raise invalid(
            f"a value of {top} in a {layout.name} frame, whose largest is {(1 << layout.bits) - 1}: "
            "set the camera to unpacked words with the value in the low bits, or send it as Mono16"
        )
    if pixel_format is PixelFormat.BGR8:
        return Image(as_pixels(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)))
    if layout.demosaic is None:
        return Image(pixels, layout.bits)
    if min(pixels.shape) < 3:
        # OpenCV answers with a black picture here.
        raise invalid(
            f"a {layout.name} frame of {pixels.shape[1]} × {pixels.shape[0]} px is too small to interpolate its colours: "
            "send at least 3 × 3 px"
        )
    return Image(as_pixels(cv2.cvtColor(pixels, layout.demosaic)))
