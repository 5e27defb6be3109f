"""Cameras of the Linux kernel (V4L2): found by what sysfs says of them, read by the driver's own numbers and times.

Every picture goes on as the camera gave it, but for YUV, of which Mono8 or RGB8 is made. What the driver could not give counts
by the steps of its numbers; what passed while the camera was away, by its rate.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from inspector.cameras.sources.clocks import time_of_day
from inspector.cameras.sources.counting import FrameCounter
from inspector.cameras.sources.passing import Absence, one_of, silent_after_s
from inspector.cameras.sources.source import LOOK_S, Found, Grab, Lost, Taken
from inspector.cameras.sources.v4l2_device import Filled, Mode, V4l2Device
from inspector.errors import SourceError
from inspector.part import Frame, PixelFormat

log = logging.getLogger(__name__)

_CLASS = Path("/sys/class/video4linux")
# Formats by the kernel's names (include/uapi/linux/videodev2.h), that go on as they are, with the bytes of a pixel.
_AS_IS: dict[str, tuple[PixelFormat, int]] = {
    "GREY": (PixelFormat.MONO8, 1),
    "Y10": (PixelFormat.MONO10, 2),
    "Y12": (PixelFormat.MONO12, 2),
    "Y16": (PixelFormat.MONO16, 2),
    "RGB3": (PixelFormat.RGB8, 3),
    "BGR3": (PixelFormat.BGR8, 3),
    "RGGB": (PixelFormat.BAYER_RG8, 1),
    "GRBG": (PixelFormat.BAYER_GR8, 1),
    "GBRG": (PixelFormat.BAYER_GB8, 1),
    "BA81": (PixelFormat.BAYER_BG8, 1),
}
# Brightness and colour of two neighbours in four bytes: where the brightness stands, and OpenCV's way to RGB.
_PAIRS = {"YUYV": (0, cv2.COLOR_YUV2RGB_YUY2), "UYVY": (1, cv2.COLOR_YUV2RGB_UYVY)}
_COMPRESSED = ("MJPG", "JPEG")
TAKEN = (*_AS_IS, *_PAIRS, *_COMPRESSED)
# The driver holds what comes in so long, while the program is at something else.
# A driver's time of a frame that is longer ago is none.
_OLDEST_NS = 10_000_000_000
_BUFFERED_S, _FEWEST_BUFFERS, _MOST_BUFFERS = 0.3, 6, 32


class V4l2Source:
    """One camera. Opened again after a failure it tells how many parts passed meanwhile, as far as that can be known."""

    waits = False

    def __init__(
        self,
        device: str,
        *,
        width_px: int = 0,
        height_px: int = 0,
        rate_hz: float = 0.0,
        input_format: str = "",
        pixel_format: str = "Mono8",
        every: int = 1,
        triggered: bool = False,
        controls: Mapping[str, int] | None = None,
        make: Callable[[str], V4l2Device] = V4l2Device,
    ) -> None:
        """What is 0 or empty stays as the camera has it. `triggered`: each frame is asked for, and silence is no fault.

        `pixel_format` is what YUV is made into; Mono8 is its brightness as the camera gave it. `make` makes the device.
        """
        self._size = (width_px, height_px) if width_px and height_px else None
        self._asked_hz, self._input_format = rate_hz or None, input_format
        self._as_colour, self._every, self._is_triggered = pixel_format == "RGB8", every, triggered
        self._controls = dict(controls or {})
        self._device = make(device)
        self._counter = FrameCounter()
        self._mode = Mode("", 0, 0, 0, 0)
        self._about = ""
        self._absence = Absence()
        self._said = ""

    @property
    def rate_hz(self) -> float | None:
        """Parts a second of a camera that runs freely and says so."""
        rate = None if self._is_triggered else self._mode.rate_hz
        return rate / self._every if rate else None

    def describe(self) -> str:
        every = "every frame" if self._every == 1 else f"one of {self._every} frames"
        return f"{self._device.path}: {self._about or 'a camera of the kernel'}, {every}"

    def open(self) -> None:
        """Open it, set it and start it. Raises SourceError."""
        device = self._device
        try:
            device.open()
            self._mode = mode = device.set_mode(self._input_format, self._size, self._asked_hz)
            if mode.fourcc not in TAKEN:
                offered = [one for one in device.formats() if one in TAKEN]
                step = (
                    f"set input_format to one of {', '.join(offered)}"
                    if offered
                    else "no other of its formats is either"
                )
                raise SourceError(f"{device.path} gives {mode.fourcc}, which is not taken: {step}")
            wanted = math.ceil((mode.rate_hz or 0.0) * _BUFFERED_S)
            device.reserve(max(_FEWEST_BUFFERS, min(_MOST_BUFFERS, wanted)))
            # Not before it is ours: another program's camera is not to be changed.
            controls = [f"{name} {device.set_control(name, value)}" for name, value in self._controls.items()]
            device.start()
        except SourceError:
            device.close()
            raise
        rate_text = f" at {mode.rate_hz:g} a second" if mode.rate_hz else ""
        size = f"{mode.width_px} × {mode.height_px} px"
        self._about = ", ".join([f"{device.model}: {mode.fourcc} of {size}{rate_text}", *controls])
        # From which number it counts is its driver's own matter.
        self._counter.restart(None)
        self._said = ""

    def close(self) -> None:
        self._device.close()

    def grabs(self) -> Iterator[Grab | None]:
        """Frames and losses in the order of the driver's numbers. Raises SourceError when the camera is gone, or silent."""
        yield from self._absence.told(self.rate_hz)
        yield from one_of(self._every, self._frames())

    def _frames(self) -> Iterator[Grab | None]:
        rate_hz = None if self._is_triggered else self._mode.rate_hz
        limit_s, heard_s = silent_after_s(rate_hz, has_begun=False), time.monotonic()
        while True:
            filled = self._device.next(LOOK_S)
            now_s = time.monotonic()
            if filled is None:
                yield None
                if limit_s is not None and now_s - heard_s > limit_s:
                    raise SourceError(
                        f"{self._device.path} runs freely and gave nothing for {limit_s:.1f} s: look at the camera and its "
                        "cable; triggered = true if it waits for a trigger"
                    )
                continue
            limit_s, heard_s = silent_after_s(rate_hz), now_s
            self._absence.end()
            step = self._counter.step(filled.number, filled.taken_ns or 0)
            # Some drivers count nothing, and would say so for each frame.
            if step.odd and step.odd != self._said:
                self._said = step.odd
                log.error("camera %s: %s; parts are counted on from here", self._device.path, step.odd)
            if step.lost:
                yield Lost(step.why or step.odd, step.lost, f"frame {filled.number}")
            yield self._grab(filled)

    def _grab(self, filled: Filled) -> Grab:
        """Its frame, or why there is none."""
        mode, origin = self._mode, f"frame {filled.number}"
        if filled.is_damaged:
            return Lost("the frame is damaged: its driver says so", 1, origin)
        if not filled.data:
            return Lost("the frame is empty", 1, origin)
        now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        taken_ns = filled.taken_ns
        at_ns = taken_ns if taken_ns is not None and now_ns - _OLDEST_NS < taken_ns <= now_ns else now_ns
        at = time_of_day(at_ns, now_ns, wall_ns)
        if mode.fourcc in _COMPRESSED:
            frame = Frame(0, PixelFormat.JPEG, 0, 0, 0, filled.data, capture_time=at)
            return Taken(frame, origin, exposed_s=at_ns / 1e9)
        pixel_bytes = _AS_IS[mode.fourcc][1] if mode.fourcc in _AS_IS else 2
        row_bytes = max(mode.row_bytes, mode.width_px * pixel_bytes)  # not every driver says it
        # The last row may end with its last pixel.
        needed = row_bytes * (mode.height_px - 1) + mode.width_px * pixel_bytes
        if len(filled.data) < needed:
            return Lost(f"the frame is truncated: it has {len(filled.data)} bytes of {needed}", 1, origin)
        return Taken(self._frame(filled.data, row_bytes, needed, at), origin, exposed_s=at_ns / 1e9)

    def _frame(self, data: bytes, row_bytes: int, needed: int, at: datetime) -> Frame:
        mode = self._mode
        width, height = mode.width_px, mode.height_px
        if mode.fourcc in _AS_IS:
            return Frame(
                0, _AS_IS[mode.fourcc][0], width, height, row_bytes, data[: row_bytes * height], capture_time=at
            )
        first, to_rgb = _PAIRS[mode.fourcc]
        rows = np.zeros((height, row_bytes), np.uint8)
        rows.reshape(-1)[:needed] = np.frombuffer(data, np.uint8, needed)
        pairs = rows[:, : 2 * width].reshape(height, width, 2)
        if self._as_colour:
            pixels = cv2.cvtColor(np.ascontiguousarray(pairs), to_rgb).tobytes()
            return Frame(0, PixelFormat.RGB8, width, height, 0, pixels, capture_time=at)
        return Frame(0, PixelFormat.MONO8, width, height, 0, pairs[:, :, first].tobytes(), capture_time=at)


def discover(classes: Path = _CLASS) -> list[Found]:
    """A device for each camera: the first that its driver made, further ones tell about pictures instead of giving them."""
    entries = sorted(classes.glob("video*"), key=lambda path: (len(path.name), path.name))
    first = (entry for entry in entries if _read(entry / "index") in ("", "0"))
    return [Found("v4l2", f"/dev/{entry.name}", _read(entry / "name"), _bus(entry)) for entry in first]


def _bus(entry: Path) -> str:
    """Where it is plugged in, as 1-2:1.0 of USB; empty for a device of a driver alone."""
    device = entry / "device"
    return device.resolve().name if device.exists() else ""


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
