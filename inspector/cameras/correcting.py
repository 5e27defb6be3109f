"""Correcting frames where the camera is, so that line, records and training all see the same picture."""

from __future__ import annotations

from dataclasses import replace

from inspector.cameras.sources.source import Grab, Lost, Taken
from inspector.errors import FrameError
from inspector.imaging.calibration.correct import Correction, correct
from inspector.imaging.decode import DecodeLimits, decode
from inspector.part import Frame, Image, PixelFormat, Reason

_GREY = {8: PixelFormat.MONO8, 10: PixelFormat.MONO10, 12: PixelFormat.MONO12, 16: PixelFormat.MONO16}


class Corrector:
    """A stage of the camera program. A frame that cannot be corrected is lost, and told: never sent as it is."""

    def __init__(self, correction: Correction, limits: DecodeLimits | None = None) -> None:
        self._correction = correction
        self._limits = limits or DecodeLimits()

    def __call__(self, grab: Grab) -> Grab:
        """The grab with its frame corrected."""
        if isinstance(grab, Lost):
            return grab
        try:
            image = correct(decode(grab.frame, self._limits), self._correction)
            return replace(grab, frame=_frame(grab.frame, image))
        except FrameError as error:
            return _lost(grab, f"it could not be corrected: {error}")


def _frame(frame: Frame, image: Image) -> Frame:
    """The same look at the same part, as raw pixels. Errors: FrameError for colour of more than 8 bits."""
    if image.pixels.ndim == 3 and image.bits != 8:
        raise FrameError(
            Reason.FRAME_INVALID, "colour of more than 8 bits cannot be sent as pixels: let the camera send 8"
        )
    pixel_format = PixelFormat.RGB8 if image.pixels.ndim == 3 else _GREY[image.bits]
    about = {"width_px": image.width_px, "height_px": image.height_px, "stride_bytes": 0}
    return replace(frame, pixel_format=pixel_format, data=image.pixels.tobytes(), **about)  # type: ignore[arg-type]


def _lost(grab: Taken, why: str) -> Lost:
    return Lost(why, origin=grab.origin, trigger=grab.trigger, part_id=grab.frame.part_id)
