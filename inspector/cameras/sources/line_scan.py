"""A line-scan camera, which gives blocks of rows, as a source of frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from inspector.cameras.sources.rows import Gap, Joined, Joiner, Rows
from inspector.cameras.sources.source import Grab, Lost, Source, Taken
from inspector.errors import SourceError
from inspector.imaging.pixels import as_pixels
from inspector.part import Frame, PixelFormat

# Formats whose rows can be joined: a Bayer mosaic would lose its order, a file has no rows.
_CHANNELS: dict[PixelFormat, tuple[np.dtype[Any], int]] = {
    PixelFormat.MONO8: (np.dtype("u1"), 1),
    PixelFormat.MONO10: (np.dtype("<u2"), 1),
    PixelFormat.MONO12: (np.dtype("<u2"), 1),
    PixelFormat.MONO16: (np.dtype("<u2"), 1),
    PixelFormat.RGB8: (np.dtype("u1"), 3),
    PixelFormat.BGR8: (np.dtype("u1"), 3),
}


class LineScan:
    """Joins the rows of `source`, whose frames follow each other without a gap, by `make_joiner`.

    Parts are numbered here: the numbers of blocks are no parts. A block that was lost, or that has another width or format,
    breaks the frame that it belongs to, which is announced as lost.
    """

    def __init__(self, source: Source, make_joiner: Callable[[], Joiner]) -> None:
        self._source = source
        self._make_joiner = make_joiner
        self._joiner = make_joiner()
        self._shape: tuple[PixelFormat, int] | None = None
        self._block_rows = 0
        self.waits = source.waits
        self.rate_hz: float | None = None

    def open(self) -> None:
        """Open the camera; what was begun before is not joined to what comes now."""
        self._source.open()
        self._joiner, self._shape = self._make_joiner(), None

    def close(self) -> None:
        self._source.close()

    def describe(self) -> str:
        return f"{self._source.describe()}; its rows are joined into frames"

    def grabs(self) -> Iterator[Grab | None]:
        """Frames of joined rows."""
        for grab in self._source.grabs():
            if grab is None:
                yield None
            elif isinstance(grab, Lost):
                yield from self._told(self._joiner.lose(grab.count * self._block_rows, grab.why), None)
            else:
                yield from self._add(grab)

    def _add(self, taken: Taken) -> Iterator[Grab]:
        frame = taken.frame
        if frame.pixel_format not in _CHANNELS:
            known = ", ".join(one.name for one in _CHANNELS)
            raise SourceError(
                f"rows of {frame.pixel_format.name} cannot be joined: set the camera's pixel_format to one of {known}"
            )
        shape = (frame.pixel_format, frame.width_px)
        if self._shape not in (None, shape):
            why = f"the camera changed to rows of {frame.width_px} px in {frame.pixel_format.name}"
            yield from self._told(self._joiner.lose(0, why), None)
            self._joiner = self._make_joiner()
        self._shape, self._block_rows = shape, frame.height_px
        rows = _rows_of(frame)
        if rows is None:
            yield from self._told(self._joiner.lose(frame.height_px, f"block {taken.origin} is truncated"), None)
            return
        yield from self._told(self._joiner.add(rows), taken)

    def _told(self, joined: Iterable[Joined | Gap], taken: Taken | None) -> Iterator[Grab]:
        for one in joined:
            origin = f"row {one.first_row}"
            if isinstance(one, Gap):
                yield Lost(one.why, origin=origin)
                continue
            assert taken is not None or self._shape is not None
            height, width = one.rows.shape[:2]
            pixel_format = self._shape[0] if self._shape is not None else PixelFormat.MONO8
            time = taken.frame.capture_time if taken is not None else None
            frame = Frame(
                0, pixel_format, width, height, 0, np.ascontiguousarray(one.rows).tobytes(), capture_time=time
            )
            known = (taken.uncertainty_ms, taken.exposed_s) if taken is not None else (None, None)
            yield Taken(frame, origin, uncertainty_ms=known[0], exposed_s=known[1])


def _rows_of(frame: Frame) -> Rows | None:
    """The block's rows, (rows, columns) or (rows, columns, 3); None if its bytes are not as many as it says."""
    dtype, channels = _CHANNELS[frame.pixel_format]
    row_bytes = frame.width_px * channels * dtype.itemsize
    stride = frame.stride_bytes or row_bytes
    if not frame.width_px or not frame.height_px or stride < row_bytes or len(frame.data) != stride * frame.height_px:
        return None
    rows = np.frombuffer(frame.data, np.uint8).reshape(frame.height_px, stride)[:, :row_bytes]
    shape = (frame.height_px, frame.width_px, 3) if channels == 3 else (frame.height_px, frame.width_px)
    return as_pixels(np.ascontiguousarray(rows).view(dtype).reshape(shape))
