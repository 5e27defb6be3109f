"""Whatever bytes and numbers come, the answer of `decode` is an Image of the stated shape or a FrameError."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from imaging.pictures import exif_block, file_of, png_chunk, smooth_grey, smooth_rgb, with_exif

from inspector.errors import FrameError
from inspector.imaging.archive import archive, unarchive
from inspector.imaging.decode import DecodeLimits, decode
from inspector.part import Frame, PixelFormat, Reason

T = TypeVar("T")
REASONS = (Reason.FRAME_INVALID, Reason.FRAME_TOO_LARGE)
LIMITS = DecodeLimits(max_frame_bytes=100_000, max_pixels=100_000)
PNG = file_of(smooth_rgb(), "PNG")
SEEDS = {
    PixelFormat.JPEG: [
        file_of(smooth_rgb(), "JPEG"),
        file_of(smooth_grey(), "JPEG"),
        file_of(smooth_rgb(), "JPEG", progressive=True),
        with_exif(file_of(smooth_rgb(), "JPEG"), exif_block(6)),
    ],
    PixelFormat.PNG: [
        PNG,
        file_of(smooth_grey(), "PNG"),
        PNG[:33] + png_chunk(b"eXIf", exif_block(8)) + png_chunk(b"tEXt", b"PixelFormat\0RGB8") + PNG[33:],
    ],
}
NUMBERS = st.one_of(st.integers(0, 70), st.integers(0, 2**32 - 1), st.integers(-(2**40), 2**40))


def attempt(work: Callable[[], T]) -> T | None:
    """What the work gives, or None if it is refused in the agreed way; any other exception goes through."""
    refusal: FrameError | None = None
    result: T | None = None
    try:
        result = work()
    except FrameError as error:
        refusal = error
    assert refusal is None or (refusal.reason in REASONS and str(refusal))
    return result


def outcome(sent: Frame) -> None:
    image = attempt(lambda: decode(sent, LIMITS))
    if image is None:
        return
    assert image.pixels.dtype in (np.uint8, np.uint16)
    assert image.pixels.ndim == 2 or image.pixels.shape[2] == 3
    assert 0 < image.width_px * image.height_px <= LIMITS.max_pixels
    int(image.pixels.max())  # touches every byte of the view


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(PixelFormat), width=NUMBERS, height=NUMBERS, stride=NUMBERS, data=st.binary(max_size=5000))
def test_random_frames(kind: PixelFormat, width: int, height: int, stride: int, data: bytes) -> None:
    outcome(Frame(1, kind, width, height, stride, data))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), kind=st.sampled_from([PixelFormat.JPEG, PixelFormat.PNG]))
def test_files_with_changed_removed_and_inserted_bytes(data: st.DataObject, kind: PixelFormat) -> None:
    file = bytearray(data.draw(st.sampled_from(SEEDS[kind])))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.one_of(st.integers(0, min(700, len(file))), st.integers(0, len(file))))
        length = data.draw(st.sampled_from([0, 1, 2, 4, 50]))
        file[at : at + length] = data.draw(st.binary(max_size=6))
    outcome(Frame(1, kind, 0, 0, 0, bytes(file)))
    archive(Frame(1, kind, 0, 0, 0, bytes(file)))


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from([b"IHDR", b"PLTE", b"IDAT", b"tEXt", b"eXIf", b"tRNS", b"IEND", b"acTL", b"abcd"]),
    body=st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(lambda b: b"PixelFormat\0" + b)),
    place=st.sampled_from([8, 33, len(PNG) - 12]),
)
def test_png_with_a_foreign_chunk_of_right_checksum(kind: bytes, body: bytes, place: int) -> None:
    outcome(Frame(1, PixelFormat.PNG, 0, 0, 0, PNG[:place] + png_chunk(kind, body) + PNG[place:]))


@settings(max_examples=200, deadline=None)
@given(data=st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda b: PNG[:33] + b)))
def test_unarchive_of_anything(data: bytes) -> None:
    attempt(lambda: unarchive(data))
