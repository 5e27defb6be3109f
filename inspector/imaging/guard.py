"""What every decoder refuses before it allocates, and how it says so."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.errors import FrameError
from inspector.part import Box, Frame, Image, Reason


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """The largest frame that is looked at: bytes as received, and pixels as stated by its header."""

    max_frame_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 50_000_000


def invalid(message: str) -> FrameError:
    """The error of a frame that cannot be decoded or contradicts its own description."""
    return FrameError(Reason.FRAME_INVALID, message)


def check_pixel_count(width_px: int, height_px: int, limits: DecodeLimits) -> None:
    """Refuse a picture by its stated size, before memory is taken for it.

    Errors: FrameError FRAME_INVALID for an empty picture, FRAME_TOO_LARGE above `limits.max_pixels`.
    """
    if width_px < 1 or height_px < 1:
        raise invalid(f"the picture is {width_px} × {height_px} px: a frame has at least one pixel; send its real size")
    if width_px * height_px > limits.max_pixels:
        raise FrameError(
            Reason.FRAME_TOO_LARGE,
            f"the picture is {width_px} × {height_px} px, more than the {limits.max_pixels} px allowed: "
            "send the region of interest only, or raise the limit of the line",
        )


def check_stated_size(frame: Frame, width_px: int, height_px: int) -> None:
    """Hold the frame's width and height, where given, against those in the file's header.

    Errors: FrameError FRAME_INVALID.
    """
    if frame.width_px not in (0, width_px) or frame.height_px not in (0, height_px):
        raise invalid(
            f"the frame says {frame.width_px} × {frame.height_px} px, its {frame.pixel_format.name} file "
            f"{width_px} × {height_px} px: send the file's own size, or 0 × 0"
        )


def check_inside(region: Box, image: Image, what: str) -> None:
    """Refuse a region that is empty or reaches beyond the picture.

    Errors: FrameError PART_NOT_FOUND.
    """
    right, bottom = region.x_px + region.width_px, region.y_px + region.height_px
    empty = region.width_px < 1 or region.height_px < 1
    if empty or region.x_px < 0 or region.y_px < 0 or right > image.width_px or bottom > image.height_px:
        raise FrameError(
            Reason.PART_NOT_FOUND,
            f"{what} x {region.x_px}…{right}, y {region.y_px}…{bottom} px does not lie in the picture of "
            f"{image.width_px} × {image.height_px} px: correct it in the recipe, or the camera's picture size",
        )
