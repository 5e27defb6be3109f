"""Keeping frames without loss, as files that any viewer opens, and the heat map that goes with a reject.

JPEG and PNG are kept byte for byte. Raw frames become PNG files of 8 or 16 bits, Bayer frames as the mosaic that they are,
with the GenICam name of their format in a `PixelFormat` text chunk; padding at the end of rows is not kept.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import FrameError
from inspector.imaging.decode import DecodeLimits, archived_format
from inspector.imaging.guard import invalid
from inspector.imaging.jpeg import JPEG_MAGIC
from inspector.imaging.pixels import as_pixels
from inspector.imaging.png import PNG_MAGIC, parse_png, png_pixels, write_png
from inspector.imaging.raw import RAW_LAYOUTS, raw_pixels
from inspector.part import Box, Frame, PixelFormat

AT_LIMIT = 128
_FILE_LIMITS = DecodeLimits()
_NO_LIMITS = DecodeLimits(max_frame_bytes=2**62, max_pixels=2**62)
_FILES = {PixelFormat.JPEG: (JPEG_MAGIC, "image/jpeg"), PixelFormat.PNG: (PNG_MAGIC, "image/png")}


def archive(frame: Frame) -> tuple[bytes, str]:
    """File bytes and media type under which a frame is kept; the same frame always gives the same bytes.

    A frame that contradicts its own description is evidence too: its bytes are kept as they came, as
    "application/octet-stream".
    """
    if frame.pixel_format in _FILES:
        magic, media_type = _FILES[frame.pixel_format]
        return frame.data, media_type if frame.data.startswith(magic) else "application/octet-stream"
    try:
        pixels = raw_pixels(frame, _NO_LIMITS)
    except FrameError:
        return frame.data, "application/octet-stream"
    if frame.pixel_format is PixelFormat.RGB8:
        pixels = as_pixels(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return write_png(pixels, RAW_LAYOUTS[frame.pixel_format].name), "image/png"


def unarchive(data: bytes, limits: DecodeLimits = _FILE_LIMITS) -> Frame:
    """The frame that `archive` kept, pixel for pixel; also makes a frame of any JPEG or PNG file.

    The frame has trigger 0 and rows without padding. Files that are themselves the frame are not decoded here.
    Errors: FrameError FRAME_INVALID, FRAME_TOO_LARGE.
    """
    if data.startswith(JPEG_MAGIC):
        return Frame(0, PixelFormat.JPEG, 0, 0, 0, data)
    if not data.startswith(PNG_MAGIC):
        raise invalid(f"{len(data)} bytes that are neither a JPEG nor a PNG file: this is no archived picture")
    file = parse_png(data, limits)
    pixel_format = archived_format(file)
    if pixel_format is PixelFormat.PNG:
        return Frame(0, pixel_format, 0, 0, 0, data)
    pixels = png_pixels(file)
    if pixel_format is PixelFormat.BGR8:
        pixels = pixels[:, :, ::-1]
    return Frame(0, pixel_format, file.width_px, file.height_px, 0, pixels.tobytes())


def heat_map_png(anomaly_map: NDArray[np.float32], limit: float, region: Box, frame_size: tuple[int, int]) -> bytes:
    """An anomaly map as a grey 8-bit PNG file that lies over its picture.

    `anomaly_map` is (rows, columns) over `region`, which is in pixels of the frame; `frame_size` is (width, height). A grey
    value of 128 is the limit: 128 + 127 · (value − limit) / |limit|, so that brighter is a defect, 1 is a map value of 0
    and 255 is twice the limit and above. 0 is outside the region; values that are not numbers are drawn as 255.
    """
    width, height = frame_size
    size = (region.width_px, region.height_px)
    scale = 127.0 / max(abs(limit), float(np.finfo(np.float32).tiny))
    grey = np.nan_to_num(AT_LIMIT + (anomaly_map.astype(np.float64) - limit) * scale, nan=np.inf)
    levels = np.rint(np.clip(grey, 1.0, 255.0)).astype(np.uint8)
    over_region = cv2.resize(levels, size, interpolation=cv2.INTER_LINEAR)
    picture = np.zeros((height, width), np.uint8)
    left, top = max(region.x_px, 0), max(region.y_px, 0)
    right, bottom = min(region.x_px + size[0], width), min(region.y_px + size[1], height)
    if left < right and top < bottom:
        rows, columns = slice(top - region.y_px, bottom - region.y_px), slice(left - region.x_px, right - region.x_px)
        picture[top:bottom, left:right] = over_region[rows, columns]
    return write_png(picture)
