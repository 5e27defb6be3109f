"""Pictures and files that the imaging tests share: seeded, small, and of known content."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from inspector.part import Frame, PixelFormat


def smooth_rgb(width: int = 61, height: int = 47, seed: int = 0) -> NDArray[np.uint8]:
    """Coloured clouds, uint8 (height, width, 3) RGB: compress well and differ in every corner."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX), np.uint8)


def smooth_grey(width: int = 61, height: int = 47, seed: int = 0) -> NDArray[np.uint8]:
    """As `smooth_rgb`, uint8 (height, width)."""
    return np.ascontiguousarray(smooth_rgb(width, height, seed)[:, :, 0])


def file_of(picture: NDArray[Any] | Pillow.Image, kind: str, **options: Any) -> bytes:
    """A file of the picture, written by Pillow."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, Pillow.Image) else Pillow.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def read_by_pillow(data: bytes, mode: str) -> NDArray[Any]:
    """The file as Pillow reads it, in a Pillow mode."""
    return np.asarray(Pillow.open(io.BytesIO(data)).convert(mode))


def frame(pixel_format: PixelFormat, data: bytes, width: int = 0, height: int = 0, stride: int = 0) -> Frame:
    """A frame of trigger 1."""
    return Frame(1, pixel_format, width, height, stride, data)


def raw_frame(pixel_format: PixelFormat, values: NDArray[Any], padding: int = 0) -> Frame:
    """A raw frame of (height, width[, 3]) values, with `padding` bytes of 0xAA after each row."""
    rows = [row.astype(row.dtype.newbyteorder("<")).tobytes() + b"\xaa" * padding for row in values]
    stride = len(rows[0]) if padding else 0
    return frame(pixel_format, b"".join(rows), values.shape[1], values.shape[0], stride)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk with a right checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(width: int, height: int, depth: int, colour: int, scanlines: bytes, *extra: bytes) -> bytes:
    """A PNG file from its parts; `extra` are whole chunks that go before the pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(scanlines))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + png_chunk(b"IEND", b"")


def exif_block(orientation: int, order: str = "<") -> bytes:
    """A TIFF header with one directory that holds only the orientation."""
    start = b"II" if order == "<" else b"MM"
    return start + struct.pack(order + "HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_exif(jpeg: bytes, exif: bytes) -> bytes:
    """The JPEG file with an Exif segment right after its start."""
    body = b"Exif\0\0" + exif
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
