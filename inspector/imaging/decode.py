"""Bytes of a frame → pixels, with nothing believed and nothing lossy in between.

Whatever comes, the outcome is an Image or a FrameError. A picture that is only partly there is never passed on.
"""

from __future__ import annotations

from inspector.errors import FrameError
from inspector.imaging.guard import DecodeLimits, check_stated_size, invalid
from inspector.imaging.jpeg import JPEG_MAGIC, decode_jpeg
from inspector.imaging.orientation import upright
from inspector.imaging.png import PNG_MAGIC, PngFile, parse_png, png_pixels
from inspector.imaging.raw import RAW_FORMATS_BY_NAME, RAW_LAYOUTS, develop, raw_pixels
from inspector.part import Frame, Image, PixelFormat, Reason

__all__ = ["DecodeLimits", "archived_format", "decode"]

_MAGIC = {
    "JPEG": JPEG_MAGIC,
    "PNG": PNG_MAGIC,
    "GIF": b"GIF8",
    "TIFF": b"II*\0",
    "big-endian TIFF": b"MM\0*",
    "BMP": b"BM",
    "WebP or AVI": b"RIFF",
    "ZIP": b"PK\x03\x04",
    "PDF": b"%PDF",
}


def decode(frame: Frame, limits: DecodeLimits) -> Image:
    """Decode a frame in any pixel format.

    Mono8, Mono10, Mono12, Mono16 and RGB8 become a read-only view of `frame.data`; BGR8 is put in RGB order; Bayer mosaics
    are interpolated bilinearly; JPEG and PNG are turned upright by their EXIF orientation, so coordinates in the picture are
    those of the picture as shown. An archived raw frame sent as PNG gives the same Image as the frame it was.
    Errors: FrameError with FRAME_INVALID or FRAME_TOO_LARGE, and nothing else.
    """
    if len(frame.data) > limits.max_frame_bytes:
        raise FrameError(
            Reason.FRAME_TOO_LARGE,
            f"the frame has {len(frame.data)} bytes, more than the {limits.max_frame_bytes} allowed: "
            "send the region of interest only, or raise the limit of the line",
        )
    if frame.pixel_format is PixelFormat.JPEG:
        _check_magic(frame, JPEG_MAGIC)
        return decode_jpeg(frame, limits)
    if frame.pixel_format is PixelFormat.PNG:
        _check_magic(frame, PNG_MAGIC)
        file = parse_png(frame.data, limits)
        check_stated_size(frame, file.width_px, file.height_px)
        return _png_image(file)
    return develop(raw_pixels(frame, limits), frame.pixel_format)


def archived_format(file: PngFile) -> PixelFormat:
    """The raw format of an archived frame, or PNG for a file that is itself the frame.

    Errors: FrameError FRAME_INVALID if the file names a format that is unknown or does not fit its pixels.
    """
    if not file.pixel_format:
        return PixelFormat.PNG
    pixel_format = RAW_FORMATS_BY_NAME.get(file.pixel_format)
    if pixel_format is None:
        raise invalid(
            f"the PNG file says it holds {file.pixel_format[:40]!r}, known are {', '.join(RAW_FORMATS_BY_NAME)}: "
            "remove its PixelFormat text"
        )
    layout = RAW_LAYOUTS[pixel_format]
    colour_type, depth = (2 if layout.channels == 3 else 0), layout.dtype.itemsize * 8
    if (file.colour_type, file.bit_depth) != (colour_type, depth):
        raise invalid(
            f"the PNG file says it holds {layout.name}, but has colour type {file.colour_type} with {file.bit_depth} bits "
            f"instead of {colour_type} with {depth}: remove its PixelFormat text"
        )
    return pixel_format


def _png_image(file: PngFile) -> Image:
    pixel_format = archived_format(file)
    pixels = png_pixels(file)
    if pixel_format is PixelFormat.PNG:
        return Image(upright(pixels, file.orientation), 16 if file.bit_depth == 16 else 8)
    if RAW_LAYOUTS[pixel_format].channels == 3:
        return Image(pixels)
    return develop(pixels, pixel_format)


def _check_magic(frame: Frame, magic: bytes) -> None:
    if frame.data.startswith(magic):
        return
    found = next((name for name, start in _MAGIC.items() if frame.data.startswith(start)), None)
    what = f"a {found} file" if found else f"{len(frame.data)} bytes that are no picture file"
    raise invalid(
        f"the frame says {frame.pixel_format.name} and holds {what}: send a complete JPEG or PNG file, named so"
    )
