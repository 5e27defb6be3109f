"""PNG files: structure and checksums are checked here, pixels are read and written by libpng through OpenCV.

Only the chunks that make the pixels are handed on, so nothing else in a file (colour profiles, gamma, text, animation)
can change or burden the decoding: libpng unpacks two megabytes of hostile text for ten seconds.
Source: PNG specification, third edition (W3C 2025).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from inspector.imaging.guard import DecodeLimits, check_pixel_count, invalid
from inspector.imaging.orientation import orientation_of
from inspector.imaging.pixels import Pixels, as_pixels

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_FORMAT_KEYWORD = b"PixelFormat"
# Enough for a full-size frame in chunks of 1 KiB; a file of millions of empty chunks is not worth reading.
_MAX_CHUNKS = 65_536
_BIT_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_IEND = b"\0\0\0\0IEND\xaeB`\x82"
# On camera frames half the time of OpenCV's own choice of filter per row, for files 5 % larger; matching long strings
# (the default strategy) gains nothing on sensor noise.
_WRITE_SETTINGS = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 2),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
)


@dataclass(frozen=True, slots=True)
class PngFile:
    """A PNG file whose chunks are whole: its header, and `essential`, a PNG file of the chunks that make the pixels.

    `pixel_format` is the raw format named in an archived frame, else empty; `orientation` is EXIF's, 1 to 8.
    """

    width_px: int
    height_px: int
    bit_depth: int
    colour_type: int
    orientation: int
    pixel_format: str
    essential: bytes


def parse_png(data: bytes, limits: DecodeLimits) -> PngFile:
    """Read and check the chunks of a PNG file; nothing is decompressed.

    Errors: FrameError FRAME_INVALID for anything truncated, damaged, animated or out of order, FRAME_TOO_LARGE above
    `limits.max_pixels`.
    """
    view = memoryview(data)
    width, height, depth, colour_type = _header(view, limits)
    essential: list[bytes | memoryview] = [PNG_MAGIC]
    orientation, pixel_format, at = 1, "", len(PNG_MAGIC)
    for _ in range(_MAX_CHUNKS):
        kind, body, end = _chunk(view, at)
        if kind == b"IEND":
            essential.append(_IEND)
            return PngFile(width, height, depth, colour_type, orientation, pixel_format, b"".join(essential))
        if kind in (b"IHDR", b"PLTE", b"IDAT"):
            essential.append(view[at:end])
        elif kind == b"acTL":
            raise invalid("the PNG file is animated: send one picture per frame")
        elif kind == b"eXIf":
            orientation = orientation_of(bytes(body))
        elif kind == b"tEXt" and bytes(body[: len(_FORMAT_KEYWORD) + 1]) == _FORMAT_KEYWORD + b"\0":
            pixel_format = bytes(body[len(_FORMAT_KEYWORD) + 1 :]).decode("latin-1")
        at = end
    raise invalid(f"the PNG file has more than {_MAX_CHUNKS} chunks: save it again with ordinary ones")


def _header(view: memoryview, limits: DecodeLimits) -> tuple[int, int, int, int]:
    """Width, height, bit depth and colour type of IHDR, checked."""
    kind, body, _ = _chunk(view, len(PNG_MAGIC))
    if kind != b"IHDR" or len(body) != 13:
        raise invalid("the PNG file does not start with its header: it is damaged; check the camera's transfer")
    width, height, depth, colour_type = struct.unpack(">IIBB", body[:10])
    check_pixel_count(width, height, limits)
    if depth not in _BIT_DEPTHS.get(colour_type, ()):
        raise invalid(
            f"the PNG file says colour type {colour_type} with {depth} bits, which does not exist: it is damaged"
        )
    return width, height, depth, colour_type


def _chunk(view: memoryview, at: int) -> tuple[bytes, memoryview, int]:
    """Kind, body and end of the chunk at a byte offset, its length and checksum checked."""
    if len(view) < at + 12:
        raise invalid(
            f"the PNG file ends at byte {len(view)}, before its end chunk: it is truncated; check the transfer"
        )
    length = int.from_bytes(view[at : at + 4], "big")
    end = at + 12 + length
    if len(view) < end:
        raise invalid(f"the PNG file ends at byte {len(view)} within a chunk that goes to {end}: it is truncated")
    if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
        raise invalid(f"the checksum of the PNG chunk at byte {at} is wrong: the file is damaged; check the transfer")
    return bytes(view[at + 4 : at + 8]), view[at + 8 : end - 4], end


def png_pixels(file: PngFile) -> Pixels:
    """Decompress a PNG file.

    Returns (height, width) for grey, else (height, width, 3) RGB, C-contiguous; uint16 for 16-bit files, else uint8 (1, 2
    and 4 bits are spread over 0…255). Palettes are looked up. Alpha is left out and colours are taken as stored:
    transparency is not light on a sensor.
    Errors: FrameError FRAME_INVALID.
    """
    try:
        stored: Any = cv2.imdecode(np.frombuffer(file.essential, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise invalid(f"the PNG file cannot be decoded ({error.err}): it is damaged; check the transfer") from error
    if stored is None or stored.shape[:2] != (file.height_px, file.width_px):
        raise invalid(
            "the pixel data of the PNG file end early or are damaged: write the file again; check the transfer"
        )
    if file.colour_type in (0, 4):
        return as_pixels(stored if stored.ndim == 2 else np.ascontiguousarray(stored[:, :, 0]))
    if stored.ndim == 2:
        return as_pixels(cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB))
    return as_pixels(cv2.cvtColor(stored, cv2.COLOR_BGRA2RGB if stored.shape[2] == 4 else cv2.COLOR_BGR2RGB))


def write_png(pixels: Pixels, pixel_format: str = "") -> bytes:
    """Write uint8 or uint16 pixels, (height, width) or (height, width, 3) in OpenCV's order BGR, as a PNG file.

    `pixel_format` is noted in a tEXt chunk. The same pixels always give the same bytes. No colour or value is changed.
    """
    _, encoded = cv2.imencode(".png", pixels, _WRITE_SETTINGS)
    file = encoded.tobytes()
    if not pixel_format:
        return file
    body = b"tEXt" + _FORMAT_KEYWORD + b"\0" + pixel_format.encode("latin-1")
    text = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    after_header = len(PNG_MAGIC) + 25
    return file[:after_header] + text + file[after_header:]
