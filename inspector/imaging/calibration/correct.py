"""Flat field and straightening together, as a commissioning measured them: what is done to every frame, or to none."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.errors import FrameError
from inspector.imaging.calibration.flat import FlatField, fits, flatten
from inspector.imaging.calibration.straighten import Straightener, straighten
from inspector.part import Image, Reason


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """What is taken out of pictures, in this order; None for what is not."""

    flat: FlatField | None = None
    straightener: Straightener | None = None


def correct(image: Image, by: Correction) -> Image:
    """The corrected picture: the same for the same picture and correction. Errors: FrameError for another size or colour."""
    if by.flat is not None:
        if not fits(image, by.flat):
            raise _unlike(image, by.flat.size_px, "flat field")
        image = flatten(image, by.flat)
    if by.straightener is not None:
        if (image.width_px, image.height_px) != by.straightener.size_px:
            raise _unlike(image, by.straightener.size_px, "lens")
        image = straighten(image, by.straightener)
    return image


def _unlike(image: Image, size_px: tuple[int, int], what: str) -> FrameError:
    colour = "grey" if image.pixels.ndim == 2 else "colour"
    return FrameError(
        Reason.FRAME_INVALID,
        f"the frame is {image.width_px} × {image.height_px} px in {colour}, the {what} of the commissioning was taken at "
        f"{size_px[0]} × {size_px[1]} px, or in another colour: set the camera as it was, or commission it anew",
    )
