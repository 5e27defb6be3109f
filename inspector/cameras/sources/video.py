"""Video files and network cameras (RTSP), read by PyAV (FFmpeg).

Every frame is a part, or every n-th. What FFmpeg could not decode, or patched up from other frames, is announced as lost and
never shown: a patched frame looks sound and is not. Frames that are missing by their time stamps are announced too, where the
video has a constant rate.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from inspector.cameras.sources.passing import Absence, one_of
from inspector.cameras.sources.source import LOOK_S, Grab, Lost, Taken
from inspector.errors import SourceError
from inspector.part import Frame, PixelFormat

log = logging.getLogger(__name__)

# How long a live stream may take to begin, and to send its next packet.
OPEN_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 5.0
# Frames of a live stream that wait for the program; more than these are announced as lost.
_WAITING = 8
_JOIN_S = READ_TIMEOUT_S + 5.0
# FFmpeg counts durations in these.
_DURATION_S = 1_000_000
# A step of the time stamps that is longer than this many frames is no loss, but another clock.
_LONGEST_GAP = 1000


@dataclass(frozen=True, slots=True)
class VideoAddress:
    """What FFmpeg opens: an address or path, its format if that is not found by itself, and FFmpeg's options."""

    url: str
    format: str | None = None
    options: Mapping[str, str] | None = None
    live: bool = False

    def __str__(self) -> str:
        """Without the user and password that an address may have."""
        return re.sub(r"(?<=://)[^/@]*@", "", self.url)


class VideoSource:
    """Frames of a video as Mono8 or RGB8, whatever they are coded in."""

    def __init__(self, address: VideoAddress, *, pixel_format: str = "Mono8", every: int = 1) -> None:
        """`every` 5 shows the first frame of five, the sixth, and so on; the others are no parts."""
        self._address = address
        self._as_colour = pixel_format == "RGB8"
        self._every = every
        self._container: Any = None
        self._rate: Fraction | None = None
        self._about = ""
        self._shown = 0
        self._is_steady = False
        self._absence = Absence()
        self.waits = not address.live

    @property
    def rate_hz(self) -> float | None:
        return float(self._rate / self._every) if self._rate else None

    def open(self) -> None:
        """Open it and find its video. Raises SourceError."""
        av = _av()
        address = self._address
        timeout = (OPEN_TIMEOUT_S, READ_TIMEOUT_S) if address.live else None
        try:
            self._container = av.open(
                address.url, format=address.format, options=dict(address.options or {}), timeout=timeout
            )
            stream = self._container.streams.video[0]
        except IndexError as error:
            self.close()
            raise SourceError(f"{address} has no video, only sound or data: name another") from error
        except (av.FFmpegError, OSError, ValueError) as error:
            self.close()
            step = "is the camera on, and the address right?" if address.live else "is it a whole video file?"
            raise SourceError(f"{address} cannot be opened ({_why(error)}): {step}") from error
        stream.thread_type = "NONE" if address.live else "AUTO"  # threads hold frames back
        self._rate = stream.average_rate or stream.guessed_rate
        self._is_steady = _step(stream) is not None
        self._about = f"{stream.codec_context.name} of {stream.width} × {stream.height} px"

    def close(self) -> None:
        """Close what is open."""
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def describe(self) -> str:
        every = "every frame" if self._every == 1 else f"one of {self._every} frames"
        rate = f" at {float(self._rate):g} a second" if self._rate else ""
        return f"{self._address}: {self._about}{rate}, {every}"

    def grabs(self) -> Iterator[Grab | None]:
        """Its frames. A file ends; a live stream that breaks off raises SourceError, and opened again begins with a gap."""
        assert self._container is not None, "open it first"
        if not self._address.live:
            yield from self._of_file()
            return
        yield from self._absence.told(self.rate_hz if self._is_steady else None)
        for part in self._live():
            if part is not None:
                self._absence.end()
            yield part

    def _of_file(self) -> Iterator[Grab]:
        """Opened again after a fault it goes on behind what was shown."""
        behind = self._shown
        for number, grab in enumerate(one_of(self._every, self._frames())):
            if number < behind:
                continue
            yield grab
            # The next is asked for when this one is on its way.
            self._shown = number + 1

    def _live(self) -> Iterator[Grab | None]:
        """A thread reads, so that the program can look about while nothing comes."""
        came: queue.Queue[Grab | SourceError] = queue.Queue(_WAITING)
        ending = threading.Event()
        name = f"video-{self._address}"
        reader = threading.Thread(target=self._read, args=(came, ending), name=name, daemon=True)
        reader.start()
        try:
            while True:
                try:
                    grab = came.get(timeout=LOOK_S)
                except queue.Empty:
                    yield None
                    continue
                if isinstance(grab, SourceError):
                    raise grab
                yield grab
        finally:
            ending.set()
            reader.join(_JOIN_S)
            if reader.is_alive():
                # FFmpeg still waits for the camera, and closed under it it may crash: it goes when the reader ends.
                self._container = None

    def _read(self, came: queue.Queue[Grab | SourceError], ending: threading.Event) -> None:
        crowded = 0
        try:
            for grab in one_of(self._every, self._frames()):
                if ending.is_set():
                    return
                try:
                    if crowded:
                        came.put_nowait(Lost(f"{crowded} frames waited too long for this program", count=crowded))
                        crowded = 0
                    came.put_nowait(grab)
                except queue.Full:
                    crowded += grab.count if isinstance(grab, Lost) else 1
            fault = SourceError(f"{self._address} ended: a live stream does not; is the camera on?")
        except SourceError as error:
            fault = error
        except Exception as error:  # the reader's outermost edge
            log.exception("reading %s failed", self._address)
            fault = SourceError(f"reading {self._address} failed ({error!r}): the log has it")
        while not ending.is_set():
            try:
                came.put(fault, timeout=LOOK_S)
                return
            except queue.Full:
                continue

    def _frames(self) -> Iterator[Grab]:
        av = _av()
        stream = self._container.streams.video[0]
        clock = _Stamps(_step(stream))
        decoded = 0
        try:
            for packet in self._container.demux(stream):
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    decoded += 1
                    yield Lost(f"frame {decoded} does not decode ({_why(error)}): the video is damaged there")
                    clock.forget()
                    continue
                for frame in frames:
                    if missing := clock.missing(frame.pts):
                        yield Lost(
                            f"{missing} frames before frame {decoded + missing + 1} are not there", count=missing
                        )
                        decoded += missing
                    decoded += 1
                    yield self._part(frame, decoded)
        except (av.FFmpegError, OSError) as error:
            why = f"{self._address} breaks off after frame {decoded} ({_why(error)})"
            if self._address.live:
                raise SourceError(f"{why}: look at the camera and its cable") from error
            yield Lost(f"{why}: what came behind is lost; copy the file again")
            return
        said = 0 if self._address.live else self._said(stream)
        if said > decoded:
            yield Lost(f"{self._address} breaks off after frame {decoded} of {said}", count=said - decoded)

    def _said(self, stream: Any) -> int:
        """How many frames a file says that it has; 0 if it does not."""
        if stream.frames:
            return int(stream.frames)
        # Matroska says how long it is, which is rounded; of one with sound it may be the sound.
        duration, rate = self._container.duration, stream.average_rate
        if not duration or not rate or len(self._container.streams) > 1 or _step(stream) is None:
            return 0
        said = duration * rate / _DURATION_S
        return int(said) if abs(said - round(said)) > 0.1 else round(said)

    def _part(self, frame: Any, number: int) -> Grab:
        if frame.is_corrupt:
            return Lost(f"frame {number} is damaged, and what is missing was made up by the decoder")
        grey = not self._as_colour
        pixels = frame.to_ndarray(format="gray" if grey else "rgb24")
        height, width = pixels.shape[:2]
        pixel_format = PixelFormat.MONO8 if grey else PixelFormat.RGB8
        at, at_s = (datetime.now(UTC), time.monotonic()) if self._address.live else (None, None)
        taken = Frame(0, pixel_format, width, height, 0, pixels.tobytes(), capture_time=at)
        return Taken(taken, f"{self._address}, frame {number}", exposed_s=at_s)


class _Stamps:
    """How many frames are missing before one, by its time stamp and the step from frame to frame."""

    def __init__(self, step: Fraction | None) -> None:
        self._step = step
        self._last: int | None = None

    def forget(self) -> None:
        """What was missing until now is told already."""
        self._last = None

    def missing(self, stamp: int | None) -> int:
        """Frames left out since the last one."""
        last, self._last = self._last, stamp
        if self._step is None or last is None or stamp is None or stamp <= last:
            return 0
        steps = round((stamp - last) / self._step)
        return steps - 1 if 1 < steps <= _LONGEST_GAP else 0


def _step(stream: Any) -> Fraction | None:
    """The step of the time stamps from frame to frame, if the video says that it is always the same."""
    rate, base = stream.average_rate, stream.base_rate
    if not rate or not base or not stream.time_base or abs(rate - base) > Fraction(1, 100) * base:
        return None
    step: Fraction = 1 / (rate * stream.time_base)
    return step


def _av() -> Any:
    """PyAV. Raises SourceError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise SourceError('videos need PyAV, which is not here: pip install "inspector[cameras]"') from error
    return av


def _why(error: Exception) -> str:
    """FFmpeg's words, without the address, which it also says."""
    return str(getattr(error, "strerror", "") or type(error).__name__)
