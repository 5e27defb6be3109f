"""The part's id from a code in its own picture: Data Matrix, QR, Code 128 and others, read by zxing-cpp."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.cameras.sources.plc_readers import sound_id
from inspector.cameras.sources.source import Grab, Lost
from inspector.errors import ConfigError, FrameError
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.guard import check_inside
from inspector.imaging.normalise import to_8_bit, to_grey
from inspector.imaging.pixels import as_pixels
from inspector.part import Box, Frame

log = logging.getLogger(__name__)

# By their names in the line file.
FORMATS = {"data-matrix": "DataMatrix", "qr": "QRCode", "code-128": "Code128", "code-39": "Code39", "ean-13": "EAN13"}


class CodeStage:
    """Gives each part the id that its picture shows, or none.

    A picture without a readable code, or with codes that say different things, is a part without an id: it is judged all the
    same. The counts say how often that was; the first, second, fourth, eighth … is in the log.
    """

    def __init__(self, formats: Sequence[str], region: Box | None = None) -> None:
        """`region` is where the code is, in pixels of the frame: reading a whole picture takes many times as long.

        Raises ConfigError if zxing-cpp is not installed.
        """
        try:
            import zxingcpp
        except ImportError as error:
            raise ConfigError('codes need zxing-cpp, which is not here: pip install "inspector[cameras]"') from error
        self._read: Any = zxingcpp.read_barcodes
        self._formats = [getattr(zxingcpp.BarcodeFormat, FORMATS[name]) for name in formats]
        self._region = region
        self._limits = DecodeLimits()
        self.found = self.without = self.several = 0

    def __call__(self, grab: Grab) -> Grab:
        """The part with its id; one without a frame is passed on."""
        if isinstance(grab, Lost):
            return grab
        ids = self._ids(grab.frame)
        if len(ids) == 1:
            self.found += 1
            return replace(grab, frame=replace(grab.frame, part_id=ids.pop()))
        if ids:
            self.several += 1
            self._tell(
                self.several, f"{grab.origin} shows several codes ({', '.join(sorted(ids))}): its part has no id"
            )
        else:
            self.without += 1
            self._tell(self.without, f"no code can be read in {grab.origin}: its part has no id; is the region right?")
        return replace(grab, frame=replace(grab.frame, part_id=""))

    def _ids(self, frame: Frame) -> set[str]:
        try:
            picture = self._picture(frame)
        except FrameError:  # of a torn picture the service says so, and gives its part UNKNOWN
            return set()
        found = self._read(picture, formats=self._formats)
        return {part_id for code in found if (part_id := sound_id(code.text))}

    def _picture(self, frame: Frame) -> NDArray[np.uint8]:
        """Grey, uint8 (height, width), C-contiguous. Errors: FrameError."""
        image = decode(frame, self._limits)
        pixels = image.pixels
        if self._region is not None:
            check_inside(self._region, image, "the region of the code")
            x, y = self._region.x_px, self._region.y_px
            pixels = pixels[y : y + self._region.height_px, x : x + self._region.width_px]
        return np.ascontiguousarray(to_grey(to_8_bit(as_pixels(np.ascontiguousarray(pixels)), image.bits)))

    @staticmethod
    def _tell(count: int, what: str) -> None:
        if count & (count - 1) == 0:
            log.warning("%s (%d so far)", what, count)
