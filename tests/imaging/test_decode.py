"""Every pixel format decodes to the values that were sent; nothing that is only partly there is passed on."""

from __future__ import annotations

import io
import struct
import time
import zlib

import cv2
import numpy as np
import pytest
from imaging.pictures import (
    exif_block,
    file_of,
    frame,
    png_chunk,
    png_file,
    raw_frame,
    read_by_pillow,
    smooth_grey,
    smooth_rgb,
    with_exif,
)
from PIL import Image as Pillow
from PIL import ImageOps

from inspector.errors import FrameError
from inspector.imaging.decode import DecodeLimits, decode
from inspector.part import Frame, PixelFormat, Reason

LIMITS = DecodeLimits()
BAYER = {
    PixelFormat.BAYER_RG8: "RGGB",
    PixelFormat.BAYER_GR8: "GRBG",
    PixelFormat.BAYER_GB8: "GBRG",
    PixelFormat.BAYER_BG8: "BGGR",
}


def refused(sent: Frame, limits: DecodeLimits = LIMITS) -> FrameError:
    with pytest.raises(FrameError) as caught:
        decode(sent, limits)
    return caught.value


# ---- raw formats


@pytest.mark.parametrize("padding", [0, 6], ids=["tight rows", "rows with padding"])
@pytest.mark.parametrize(
    ("pixel_format", "bits"),
    [(PixelFormat.MONO8, 8), (PixelFormat.MONO10, 10), (PixelFormat.MONO12, 12), (PixelFormat.MONO16, 16)],
    ids=lambda value: getattr(value, "name", None),
)
def test_grey_values_arrive_unchanged_and_uncopied(pixel_format: PixelFormat, bits: int, padding: int) -> None:
    dtype = np.uint8 if bits == 8 else np.uint16
    values = np.random.default_rng(bits).integers(0, 1 << bits, (13, 17)).astype(dtype)
    values[0, 0], values[-1, -1] = (1 << bits) - 1, 0
    sent = raw_frame(pixel_format, values, padding)
    image = decode(sent, LIMITS)
    assert image.bits == bits
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, values)
    assert np.shares_memory(image.pixels, np.frombuffer(sent.data, np.uint8))
    assert not image.pixels.flags.writeable


@pytest.mark.parametrize("padding", [0, 5], ids=["tight rows", "rows with padding"])
def test_colours_come_out_in_rgb_order(padding: int) -> None:
    rgb = smooth_rgb()
    np.testing.assert_array_equal(decode(raw_frame(PixelFormat.RGB8, rgb, padding), LIMITS).pixels, rgb)
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    np.testing.assert_array_equal(decode(raw_frame(PixelFormat.BGR8, bgr, padding), LIMITS).pixels, rgb)


@pytest.mark.parametrize(("pixel_format", "pattern"), BAYER.items(), ids=BAYER.values())
def test_a_bayer_mosaic_gives_back_the_colour_it_was_taken_of(pixel_format: PixelFormat, pattern: str) -> None:
    colour = {"R": 200, "G": 90, "B": 30}
    mosaic = np.empty((8, 10), np.uint8)
    for index, letter in enumerate(pattern):
        mosaic[index // 2 :: 2, index % 2 :: 2] = colour[letter]
    pixels = decode(raw_frame(pixel_format, mosaic, padding=3), LIMITS).pixels
    assert pixels.shape == (8, 10, 3)
    np.testing.assert_array_equal(pixels, np.broadcast_to([200, 90, 30], (8, 10, 3)))


def test_the_last_row_may_come_without_its_padding() -> None:
    values = smooth_grey(20, 9)
    sent = raw_frame(PixelFormat.MONO8, values, padding=12)
    short = frame(PixelFormat.MONO8, sent.data[:-12], 20, 9, 32)
    np.testing.assert_array_equal(decode(short, LIMITS).pixels, values)


MONO, MONO10, RGB, BAYER_RG = PixelFormat.MONO8, PixelFormat.MONO10, PixelFormat.RGB8, PixelFormat.BAYER_RG8


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        pytest.param(frame(MONO, b""), "at least one pixel", id="empty"),
        pytest.param(frame(MONO, b"1234", 4, 0), "at least one pixel", id="no rows"),
        pytest.param(frame(MONO, b"1234", -4, -1), "at least one pixel", id="negative size"),
        pytest.param(frame(MONO, b"12345678"[:7], 4, 2), "7 bytes came", id="one byte short"),
        pytest.param(frame(MONO, b"123456789", 4, 2), "9 bytes came", id="one byte over"),
        pytest.param(frame(MONO, b"12345678", 4, 2, 3), "stride of 3", id="stride below the row"),
        pytest.param(frame(MONO, b"12345678", 4, 2, -4), "stride of -4", id="negative stride"),
        pytest.param(frame(MONO, b"12345678", 4, 2, 2**31), "8 bytes came", id="stride of gigabytes"),
        pytest.param(frame(MONO10, bytes(22), 5, 2, 11), "stride of 11", id="odd stride of 16-bit words"),
        pytest.param(frame(MONO10, bytes(10), 5, 2), "10 bytes came", id="8-bit data called Mono10"),
        pytest.param(frame(RGB, bytes(8), 4, 2), "8 bytes came", id="grey data called RGB8"),
        pytest.param(frame(BAYER_RG, bytes(16), 2, 8), "too small", id="mosaic too small to interpolate"),
        pytest.param(raw_frame(MONO10, np.full((3, 3), 1024, np.uint16)), "value of 1024", id="11 bits in Mono10"),
        pytest.param(
            raw_frame(PixelFormat.MONO12, np.full((3, 3), 4096, np.uint16)), "value of 4096", id="13 bits in Mono12"
        ),
    ],
)
def test_a_raw_frame_that_contradicts_itself_is_refused(sent: Frame, says: str) -> None:
    error = refused(sent)
    assert error.reason is Reason.FRAME_INVALID
    assert says in str(error)


@pytest.mark.parametrize(
    ("sent", "limits"),
    [
        pytest.param(frame(MONO, bytes(101), 101, 1), DecodeLimits(max_frame_bytes=100), id="bytes"),
        pytest.param(frame(MONO, bytes(101), 101, 1), DecodeLimits(max_pixels=100), id="pixels"),
        pytest.param(frame(MONO, b"", 2**32 - 1, 2**32 - 1), LIMITS, id="largest size a frame can state"),
    ],
)
def test_a_frame_above_the_limits_is_too_large(sent: Frame, limits: DecodeLimits) -> None:
    assert refused(sent, limits).reason is Reason.FRAME_TOO_LARGE


# ---- JPEG


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"subsampling": 0}, "4:4:4"),
        ({"subsampling": 1}, "4:2:2"),
        ({"subsampling": 2}, "4:2:0"),
        ({"progressive": True}, "progressive"),
        ({"keep_rgb": True}, "stored as RGB"),
        ({"restart_marker_blocks": 2}, "restart markers"),
        ({"optimize": True, "quality": 30}, "optimised tables"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_jpeg_gives_the_pixels_that_pillow_gives(options: dict[str, int], reason: str) -> None:
    data = file_of(smooth_rgb(), "JPEG", **options)
    image = decode(frame(PixelFormat.JPEG, data, 61, 47), LIMITS)
    assert image.pixels.flags.c_contiguous
    np.testing.assert_array_equal(image.pixels, read_by_pillow(data, "RGB"), err_msg=reason)


def test_grey_jpeg_stays_grey() -> None:
    data = file_of(smooth_grey(), "JPEG")
    image = decode(frame(PixelFormat.JPEG, data), LIMITS)
    assert image.pixels.shape == (47, 61)
    assert image.pixels.flags.c_contiguous
    np.testing.assert_array_equal(image.pixels, read_by_pillow(data, "L"))


def test_cmyk_jpeg_becomes_rgb() -> None:
    data = file_of(Pillow.fromarray(smooth_rgb()).convert("CMYK"), "JPEG", quality=95)
    pixels = decode(frame(PixelFormat.JPEG, data), LIMITS).pixels.astype(int)
    assert np.abs(pixels - read_by_pillow(data, "RGB")).max() <= 1
    assert np.abs(pixels - smooth_rgb()).mean() < 3


def test_bytes_after_the_end_of_a_jpeg_are_ignored() -> None:
    data = file_of(smooth_rgb(), "JPEG")
    padded = decode(frame(PixelFormat.JPEG, data + bytes(100)), LIMITS)
    np.testing.assert_array_equal(padded.pixels, read_by_pillow(data, "RGB"))


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_a_jpeg_cut_anywhere_is_refused(progressive: bool) -> None:
    data = file_of(smooth_rgb(), "JPEG", progressive=progressive)
    for end in range(0, len(data) - 1, 7):
        assert refused(frame(PixelFormat.JPEG, data[:end])).reason is Reason.FRAME_INVALID


def test_a_jpeg_cut_and_closed_with_an_end_marker_is_refused() -> None:
    data = file_of(smooth_rgb(400, 300), "JPEG")
    for share in (0.3, 0.5, 0.9):
        cut = data[: int(len(data) * share)].rstrip(b"\xff") + b"\xff\xd9"
        assert read_by_pillow(cut, "RGB").shape == (300, 400, 3), "Pillow passes it on with a grey rest"
        assert refused(frame(PixelFormat.JPEG, cut)).reason is Reason.FRAME_INVALID


def test_a_jpeg_bomb_is_refused_by_its_header() -> None:
    data = bytearray(file_of(smooth_grey(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    error = refused(frame(PixelFormat.JPEG, bytes(data)))
    assert error.reason is Reason.FRAME_TOO_LARGE
    assert "60000 × 60000" in str(error)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = file_of(smooth_grey(), "JPEG", progressive=True)
    first, last = data.index(b"\xff\xda"), data.rindex(b"\xff\xda")
    error = refused(frame(PixelFormat.JPEG, data[:first] + data[last:-2] * 101 + b"\xff\xd9"))
    assert "101 scans" in str(error)


def test_an_unusual_subsampling_is_refused_with_advice() -> None:
    data = bytearray(file_of(smooth_rgb(), "JPEG", subsampling=0))
    for luminance in (0x31, 0x14):
        data[data.index(b"\xff\xc0") + 11] = luminance
        assert "send PNG" in str(refused(frame(PixelFormat.JPEG, bytes(data))))


# ---- PNG


def test_png_of_every_colour_type_gives_the_pixels_that_were_stored() -> None:
    rgb, grey = smooth_rgb(), smooth_grey()
    alpha = smooth_grey(seed=3)
    rgba = np.dstack([rgb, alpha])
    palette = Pillow.fromarray(rgb).quantize(40)
    cases = {
        "grey": (file_of(grey, "PNG"), grey),
        "RGB": (file_of(rgb, "PNG"), rgb),
        "RGBA drops alpha and keeps colours": (file_of(rgba, "PNG"), rgb),
        "grey with alpha": (file_of(Pillow.merge("LA", [Pillow.fromarray(c) for c in (grey, alpha)]), "PNG"), grey),
        "palette": (file_of(palette, "PNG"), np.asarray(palette.convert("RGB"))),
        "palette with transparency": (file_of(palette, "PNG", transparency=3), np.asarray(palette.convert("RGB"))),
        "grey with a transparent value": (file_of(grey, "PNG", transparency=int(grey[0, 0])), grey),
        "1 bit": (file_of(Pillow.fromarray(grey > 128), "PNG"), np.where(grey > 128, 255, 0)),
    }
    for name, (data, expected) in cases.items():
        image = decode(frame(PixelFormat.PNG, data, 61, 47), LIMITS)
        np.testing.assert_array_equal(image.pixels, expected, err_msg=name)
        assert image.pixels.dtype == np.uint8
        assert image.bits == 8
        assert image.pixels.flags.c_contiguous, name


@pytest.mark.parametrize(("depth", "spread"), [(2, 85), (4, 17)], ids=["2 bits", "4 bits"])
def test_png_of_few_bits_is_spread_over_the_8_bit_range(depth: int, spread: int) -> None:
    row = int("".join(format(v % (1 << depth), f"0{depth}b") for v in range(8)), 2).to_bytes(depth)
    data = png_file(8, 1, depth, 0, b"\0" + row)
    expected = [[v % (1 << depth) * spread for v in range(8)]]
    np.testing.assert_array_equal(decode(frame(PixelFormat.PNG, data), LIMITS).pixels, expected)


@pytest.mark.parametrize("channels", [1, 3, 4], ids=["grey", "RGB", "RGBA"])
def test_png_of_16_bits_keeps_them(channels: int) -> None:
    values = np.random.default_rng(5).integers(0, 65536, (9, 11, channels), dtype=np.uint16)
    stored = values if channels < 3 else values[:, :, [2, 1, 0, 3][:channels]]
    data = cv2.imencode(".png", stored)[1].tobytes()
    image = decode(frame(PixelFormat.PNG, data), LIMITS)
    assert image.bits == 16
    np.testing.assert_array_equal(image.pixels, values[:, :, 0] if channels == 1 else values[:, :, :3])


def test_interlaced_png() -> None:
    # Adam7 of one pixel is one pass of one pixel; Pillow and OpenCV write no interlaced files.
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"\0\x7b")) + png_chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode(frame(PixelFormat.PNG, data), LIMITS).pixels, [[123]])


def test_colour_profiles_and_gamma_do_not_change_the_values() -> None:
    grey = smooth_grey()
    scanlines = b"".join(b"\0" + row.tobytes() for row in grey)
    gamma = png_chunk(b"gAMA", struct.pack(">I", 100_000))
    profile = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 10_000_000))
    data = png_file(61, 47, 8, 0, scanlines, gamma, profile)
    np.testing.assert_array_equal(decode(frame(PixelFormat.PNG, data), LIMITS).pixels, grey)


def test_a_png_cut_anywhere_is_refused() -> None:
    data = file_of(smooth_rgb(), "PNG")
    for end in range(0, len(data), 31):
        assert refused(frame(PixelFormat.PNG, data[:end])).reason is Reason.FRAME_INVALID


def test_any_changed_byte_of_a_png_is_noticed() -> None:
    data = file_of(smooth_grey(20, 15), "PNG")
    for at in range(len(data)):
        damaged = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        assert refused(frame(PixelFormat.PNG, damaged)).reason in (Reason.FRAME_INVALID, Reason.FRAME_TOO_LARGE)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(png_file(20, 20, 8, 0, bytes(21 * 10)), "end early", id="half of the rows, all checksums right"),
        pytest.param(png_file(20, 20, 8, 0, b""), "end early", id="no pixels"),
        pytest.param(png_file(20, 20, 3, 0, b""), "does not exist", id="3 bits"),
        pytest.param(png_file(20, 20, 8, 7, b""), "does not exist", id="colour type 7"),
        pytest.param(png_file(0, 20, 8, 0, b""), "at least one pixel", id="width of 0"),
        pytest.param(
            png_file(1, 1, 8, 0, bytes(2), png_chunk(b"acTL", struct.pack(">II", 2, 0))), "animated", id="animated"
        ),
        pytest.param(png_file(1, 1, 8, 0, bytes(2), *[png_chunk(b"tEXt", b"")] * 70_000), "chunks", id="70,000 chunks"),
        pytest.param(
            png_file(1, 1, 8, 0, bytes(2), png_chunk(b"tEXt", b"PixelFormat\0Mono9")), "Mono9", id="unknown raw format"
        ),
        pytest.param(
            png_file(1, 1, 8, 0, bytes(2), png_chunk(b"tEXt", b"PixelFormat\0Mono12")), "instead of", id="8-bit Mono12"
        ),
        pytest.param(png_file(9, 9, 8, 3, bytes(90)), "damaged", id="palette picture without palette"),
    ],
)
def test_a_png_that_is_wrong_inside_is_refused(data: bytes, says: str) -> None:
    error = refused(frame(PixelFormat.PNG, data))
    assert error.reason is Reason.FRAME_INVALID
    assert says in str(error)


def test_a_png_bomb_is_refused_by_its_header() -> None:
    bomb = png_file(40_000, 40_000, 8, 2, bytes(10_000_000))
    assert len(bomb) < 20_000
    assert refused(frame(PixelFormat.PNG, bomb)).reason is Reason.FRAME_TOO_LARGE


def test_text_that_unpacks_to_gigabytes_costs_nothing() -> None:
    bomb = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(7_900_000)))
    data = png_file(4, 4, 8, 0, bytes(20), *[bomb] * 300)
    start = time.perf_counter()
    decode(frame(PixelFormat.PNG, data), LIMITS)
    assert time.perf_counter() - start < 2, "libpng alone takes ten seconds"


# ---- both file formats


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little endian", "big endian"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, order: str, orientation: int) -> None:
    rgb = smooth_rgb()
    exif = exif_block(orientation, order)
    if kind == "JPEG":
        data = with_exif(file_of(rgb, kind), exif)
    else:
        plain = file_of(rgb, kind)
        data = plain[:33] + png_chunk(b"eXIf", exif) + plain[33:]
    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))))
    # The size that a camera states is that of the file, before it is turned.
    pixels = decode(frame(PixelFormat[kind], data, 61, 47), LIMITS).pixels
    np.testing.assert_array_equal(pixels, expected)
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize(
    "exif",
    [b"", b"II", b"XX*\0" + bytes(20), exif_block(9), exif_block(0), exif_block(6)[:12], b"II*\0\xff\xff\xff\xff"],
    ids=["empty", "no directory", "no byte order", "orientation 9", "orientation 0", "truncated", "directory nowhere"],
)
def test_malformed_exif_leaves_the_picture_as_it_is(exif: bytes) -> None:
    data = file_of(smooth_rgb(), "JPEG")
    pixels = decode(frame(PixelFormat.JPEG, with_exif(data, exif)), LIMITS).pixels
    np.testing.assert_array_equal(pixels, read_by_pillow(data, "RGB"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("width", "height"), [(60, 47), (61, 46), (61, 1), (47, 61), (1, 0)])
def test_a_stated_size_that_is_not_the_file_s_is_refused(kind: str, width: int, height: int) -> None:
    error = refused(frame(PixelFormat[kind], file_of(smooth_rgb(), kind), width, height))
    assert error.reason is Reason.FRAME_INVALID
    assert "61 × 47" in str(error)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "0 bytes", id="empty"),
        pytest.param(b"\xff\xd8\xff", "", id="only the start"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "", id="only the signature"),
        pytest.param(b"GIF89a" + bytes(50), "GIF", id="GIF"),
        pytest.param(b"PK\x03\x04" + bytes(50), "ZIP", id="ZIP"),
        pytest.param(b"II*\0" + bytes(50), "TIFF", id="TIFF"),
        pytest.param(b"BM" + bytes(50), "BMP", id="BMP"),
        pytest.param(b"RIFF\0\0\0\0WEBP" + bytes(50), "WebP", id="WebP"),
        pytest.param(b"<svg>", "no picture file", id="text"),
        pytest.param(bytes(1000), "no picture file", id="zeros"),
    ],
)
@pytest.mark.parametrize("kind", [PixelFormat.JPEG, PixelFormat.PNG], ids=["as JPEG", "as PNG"])
def test_other_files_are_refused(kind: PixelFormat, data: bytes, says: str) -> None:
    error = refused(frame(kind, data))
    assert error.reason is Reason.FRAME_INVALID
    assert says in str(error)


def test_a_png_called_jpeg_is_refused_by_name() -> None:
    assert "holds a PNG file" in str(refused(frame(PixelFormat.JPEG, file_of(smooth_rgb(), "PNG"))))
