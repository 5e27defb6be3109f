"""The EXIF orientation tag, and turning a picture upright by it.

Source: CIPA DC-008 (Exif 2.32) section 4.6.4 A, tag 0x0112; TIFF 6.0 section 2 for the directory's layout.
"""

from __future__ import annotations

import struct

import numpy as np

from inspector.imaging.pixels import Pixels, as_pixels

_ORIENTATION_TAG = 0x0112
_SHORT = 3


def orientation_of(exif: bytes) -> int:
    """The orientation, 1 to 8, of an Exif block that starts with its TIFF header; 1 if absent or malformed."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        magic, directory = struct.unpack_from(order + "HI", exif, 2)
        if magic != 42:
            return 1
        (entries,) = struct.unpack_from(order + "H", exif, directory)
        for index in range(entries):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, directory + 2 + 12 * index)
            if tag == _ORIENTATION_TAG:
                return int(value) if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn or mirror (height, width[, 3]) pixels as an orientation of 1 to 8 asks; C-contiguous, dtype kept."""
    if orientation == 1:
        return pixels
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    # After the transposition of 5 to 8, what is left to do is a mirror or none.
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return as_pixels(np.ascontiguousarray(pixels))


def jpeg_exif(data: bytes) -> bytes:
    """The Exif block of a JPEG file from its TIFF header on, or nothing. Reads the segments before the first scan."""
    if data.find(b"Exif\0\0", 0, 1 << 18) < 0:
        return b""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return data[at + 10 : at + 2 + length]
        at += 2 + max(length, 2)
    return b""
