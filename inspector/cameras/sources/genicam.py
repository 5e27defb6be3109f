"""A GigE Vision or USB3 Vision camera by Aravis: parts by the camera's own numbers, losses told, frames without a copy.

    open: find the camera, set it, read back ─▶ buffers ─▶ acquisition
    grabs: buffer ─▶ number ─▶ lost before it? ─▶ whole, and as it was set? ─▶ frame, or why there is none

What cannot be told apart from the numbers alone is told as one lost part at least: a camera that was away or restarted counts
anew, and how many pulses it did not see nobody knows. One that runs freely is away for as many parts as its rate says.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from inspector.cameras.sources.aravis import aravis
from inspector.cameras.sources.buffers import Pool
from inspector.cameras.sources.clocks import CameraClock, WallClock, time_of_day
from inspector.cameras.sources.counting import FIRST_OF_GIGE, FIRST_OF_USB3, FrameCounter
from inspector.cameras.sources.genicam_setup import (
    PIXEL_FORMATS,
    GenicamOptions,
    buffers_for,
    set_up,
    told,
)
from inspector.cameras.sources.passing import Absence, silent_after_s
from inspector.cameras.sources.source import LOOK_S, Grab, Lost, Taken
from inspector.errors import SourceError
from inspector.part import Frame, PixelFormat

log = logging.getLogger(__name__)

# As many frames in a row that are not as the camera was set, and it is set anew.
MAX_ODD = 3
LATCH_EVERY_S = 10.0
_LATCHES = (("TimestampLatch", "TimestampLatchValue"), ("GevTimestampControlLatch", "GevTimestampValue"))
_BYTES = {PixelFormat.MONO10: 2, PixelFormat.MONO12: 2, PixelFormat.MONO16: 2, PixelFormat.RGB8: 3, PixelFormat.BGR8: 3}


class GenicamSource:
    """One camera. Opened again after a failure it tells how many parts passed meanwhile, as far as that can be known."""

    waits = False

    def __init__(self, **options: Any) -> None:
        self._options = GenicamOptions(**options)
        self._counter = FrameCounter()
        self._clock = CameraClock()
        self._wall = WallClock()
        self._camera: Any = None
        self._stream: Any = None
        self._pool: Pool | None = None
        self._chunks: Any = None
        self._gone = threading.Event()
        self._set: dict[str, str] = {}
        self._rate_hz: float | None = None
        self._shape: tuple[int, int, int] = (0, 0, 0)
        self._absence = Absence()
        self._heard_s = self._latched_s = 0.0
        self._odd = self._unnumbered = 0
        self._missing_packets = self._ignored_packets = self._ignored_looks = self._underruns = 0
        self._formats: dict[int, PixelFormat] = {}

    @property
    def rate_hz(self) -> float | None:
        """Frames per second if the camera runs freely; a trigger's rate is not known."""
        return self._rate_hz

    def describe(self) -> str:
        """Its names, and what stands in it."""
        if self._camera is None:
            return f"GenICam camera {self._options.device}"
        settings = ", ".join(f"{name} {value}" for name, value in self._set.items())
        count = self._stream.get_n_buffers()
        held = sum((count.n_input_buffers, count.n_output_buffers)) if count else 0
        return f"{self._camera.get_vendor_name()} {self._camera.get_model_name()}: {settings}; {held} buffers"

    # --------------------------------------------------------------------------------------------------------- open

    def open(self) -> None:
        """Find the camera, set it and start it. Raises SourceError."""
        library, options = aravis(), self._options
        self._gone.clear()
        step = "look at its power and cable, and at `inspector camera list`; another program may have it"
        with told(library, f"camera {options.device} cannot be opened", step):
            self._camera = library.Camera.new(options.device)
        # Told by the library's own thread; it must hold nothing of this source, or the camera could not be freed.
        self._camera.get_device().connect("control-lost", _teller(self._gone))
        with told(library, f"camera {options.device} cannot be stopped", step):
            self._camera.stop_acquisition()
        self._set = set_up(library, self._camera, options)
        self._start(library)

    def _start(self, library: Any) -> None:
        """Buffers and acquisition."""
        camera, options = self._camera, self._options
        self._formats = {
            getattr(library, f"PIXEL_FORMAT_{_library_name(name)}"): house for name, house in PIXEL_FORMATS.items()
        }
        with told(library, f"camera {options.device} gives no stream", "is another program streaming from it?"):
            free = not options.trigger_source and camera.is_frame_rate_available()
            self._rate_hz = camera.get_frame_rate() if free else None
            exposure_us = camera.get_exposure_time() if camera.is_exposure_time_available() else 0.0
            size, region = camera.get_payload(), camera.get_region()
            self._shape = (region.width, region.height, camera.get_pixel_format())
            if options.trigger_number.startswith("chunk:"):
                camera.set_chunks(options.trigger_number.removeprefix("chunk:"))
                self._chunks = camera.create_chunk_parser()
                size = camera.get_payload()
            self._stream = camera.create_stream(None, None)
            if self._stream is None:
                raise SourceError(f"camera {options.device} gives no stream: is another program streaming from it?")
            count = options.buffers or buffers_for(self._rate_hz, options.deadline_ms)
            self._pool = Pool(count, size, library.Buffer.new, partial(_give, self._stream.push_buffer))
            camera.start_acquisition()
        self._counter.restart(self._first_number())
        self._unnumbered = 0
        self._clock = CameraClock(exposure_us / 1000)
        self._heard_s, self._odd = time.monotonic(), 0
        self._missing_packets = self._ignored_packets = self._ignored_looks = self._underruns = 0
        self._latch(library)

    # -------------------------------------------------------------------------------------------------------- grabs

    def grabs(self) -> Iterator[Grab | None]:
        """Frames and losses in the order of the camera's numbers. Raises SourceError when the camera is gone or was changed."""
        library = aravis()
        yield from self._absence.told(self._rate_hz)
        wait_us = int(LOOK_S * 1e6)
        while True:
            if self._gone.is_set():
                raise SourceError(
                    f"camera {self._options.device} does not answer any more: look at its power and cable"
                )
            buffer = self._stream.timeout_pop_buffer(wait_us)
            self._wall.look(time.monotonic_ns(), time.time_ns())
            if buffer is None:
                yield None
                self._check_silence()
            else:
                self._heard_s = time.monotonic()
                self._absence.end()
                # What the driver left out were late packets of frames given up, and no numbers of before.
                self._ignored_looks = 0
                yield from self._take(library, buffer)
                del buffer
            if time.monotonic() - self._latched_s > LATCH_EVERY_S:
                self._latch(library)

    def _check_silence(self) -> None:
        if self._camera.is_gv_device():
            ignored, underruns = map(self._stream.get_info_uint64_by_name, ("n_ignored_packets", "n_underruns"))
            grew = ignored > self._ignored_packets and underruns == self._underruns
            if underruns > self._underruns:
                log.warning(
                    "camera %s: all buffers are in use, frames are lost until some come back", self._options.device
                )
            self._ignored_packets, self._underruns = ignored, underruns
            self._ignored_looks = self._ignored_looks + 1 if grew else 0
            if self._ignored_looks >= MAX_ODD:
                raise SourceError(
                    f"camera {self._options.device} sends frames under numbers that it gave before, which the driver "
                    "leaves out: it was restarted or set anew; it is opened anew"
                )
        if (limit_s := silent_after_s(self._rate_hz)) is None:
            return
        if time.monotonic() - self._heard_s > limit_s:
            self._gone.set()
            raise SourceError(
                f"camera {self._options.device} runs freely and gave nothing for {limit_s:.1f} s: look at its power and cable"
            )

    def _take(self, library: Any, buffer: Any) -> Iterator[Grab]:
        """What one buffer says: parts lost before it, and its own frame, or why there is none."""
        pool = self._pool
        assert pool is not None
        taken_ns = int(buffer.get_timestamp())
        whole = buffer.get_status() == library.BufferStatus.SUCCESS
        number = self._number(library, buffer, whole)
        origin = f"frame {number}" if number is not None else ""
        if number is not None:
            step = self._counter.step(number, taken_ns)
            if step.odd:
                log.error("camera %s: %s; parts are counted on from here", self._options.device, step.odd)
            if step.unsure:
                log.warning("camera %s: %s", self._options.device, step.unsure)
            if step.again:
                log.error("camera %s sent frame %d twice; it is taken once", self._options.device, number)
                pool.back(buffer)
                return
            # Of some of them a part came before, without its number.
            lost, self._unnumbered = max(0, step.lost - self._unnumbered), 0
            if lost:
                yield Lost(step.why or step.odd, lost, origin)
        fault = self._fault(library, buffer) if whole else self._incomplete(library, buffer)
        if fault:
            pool.back(buffer)
            self._unnumbered += number is None
            yield Lost(fault, 1, origin)
            return
        yield self._frame(buffer, pool, taken_ns, origin)

    def _number(self, library: Any, buffer: Any, whole: bool) -> int | None:
        """The camera's number of this frame; None if parts are counted here, or the packet that has it is lost."""
        if self._options.trigger_number == "here":
            return None
        if self._chunks is None:
            number = int(buffer.get_frame_id())
            return number if whole or number else None
        if not whole:
            return None
        name = self._options.trigger_number.removeprefix("chunk:")
        with told(library, f"a frame has no chunk {name}", "choose another trigger_number"):
            return int(self._chunks.get_integer_value(buffer, name))

    def _first_number(self) -> int | None:
        """With what the protocol numbers the first frame of an acquisition; None if parts go by another count."""
        if self._options.trigger_number != "frame-id":
            return None
        return FIRST_OF_GIGE if self._camera.is_gv_device() else FIRST_OF_USB3 if self._camera.is_uv_device() else None

    def _incomplete(self, library: Any, buffer: Any) -> str:
        """Why a frame is not whole."""
        status = buffer.get_status()
        kinds = library.BufferStatus
        names = {
            kinds.MISSING_PACKETS: "packets of it are missing",
            kinds.TIMEOUT: "its last packets did not come in time",
            kinds.SIZE_MISMATCH: "it is larger than the camera said when it was set",
            kinds.WRONG_PACKET_ID: "its packets contradict each other",
        }
        if status == kinds.SIZE_MISMATCH:
            self._count_odd("frames are larger than the camera said when it was set")
        why = names.get(status, f"the driver says {status.value_nick}")
        missing = self._stream.get_info_uint64_by_name("n_missing_packets") if self._camera.is_gv_device() else 0
        more, self._missing_packets = missing - self._missing_packets, missing
        return f"the frame is incomplete: {why}{f' ({more} packets)' if more > 0 else ''}"

    def _fault(self, library: Any, buffer: Any) -> str:
        """Why a frame that came whole cannot be shown; "" if it can."""
        kinds = library.BufferPayloadType
        if buffer.get_payload_type() not in (kinds.IMAGE, kinds.CHUNK_DATA, kinds.EXTENDED_CHUNK_DATA):
            return "the frame is no plain picture: turn off multi-part and compressed transfer in the camera"
        width, height, code = buffer.get_image_width(), buffer.get_image_height(), buffer.get_image_pixel_format()
        if (width, height, code) != self._shape:
            was, now = _describe(*self._shape, self._formats), _describe(width, height, code, self._formats)
            self._count_odd(f"frames are {now}, set were {was}")
            return f"the frame is {now} and the camera was set to {was}"
        self._odd = 0
        if (bytes_ := self._row_bytes(buffer) * height) == 0:
            return "the frame is empty"
        assert self._pool is not None
        return f"the frame is truncated: it should have {bytes_} bytes" if bytes_ > self._pool.size else ""

    def _count_odd(self, fact: str) -> None:
        """Raises SourceError after some in a row: the camera is then set as the line file says."""
        self._odd += 1
        if self._odd >= MAX_ODD:
            raise SourceError(f"{fact}: something else changed camera {self._options.device}; it is set anew")

    def _row_bytes(self, buffer: Any) -> int:
        width, _, code = self._shape
        return width * _BYTES.get(self._formats[code], 1) + int(buffer.get_image_padding()[0])

    def _frame(self, buffer: Any, pool: Pool, taken_ns: int, origin: str) -> Taken:
        width, height, code = self._shape
        stride = self._row_bytes(buffer)
        now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        # When its first packet came, until the camera's clock is known.
        at_ns = self._wall.to_monotonic(int(buffer.get_system_timestamp()), now_ns, wall_ns)
        uncertainty_ms = None
        if taken_ns:
            fault = self._clock.arrival(taken_ns, at_ns)
            if fault:
                log.error("camera %s: %s; its times are taken anew", self._options.device, fault)
            if (at := self._clock.to_host(taken_ns)) is not None:
                at_ns, uncertainty_ms = at.at_ns, at.uncertainty_ms
        capture_time = time_of_day(at_ns, now_ns, wall_ns)
        data = pool.lend(buffer, stride * height)
        frame = Frame(0, self._formats[code], width, height, stride, data, capture_time=capture_time)
        return Taken(frame, origin, uncertainty_ms=uncertainty_ms, exposed_s=at_ns / 1e9)

    def _latch(self, library: Any) -> None:
        """Ask the camera for its time, if it can tell it."""
        self._latched_s = time.monotonic()
        camera = self._camera
        for command, value in _LATCHES:
            if not camera.is_feature_available(command) or not camera.is_feature_available(value):
                continue
            with told(library, "the camera's clock cannot be read", "it is opened anew"):
                asked_ns = time.monotonic_ns()
                camera.execute_command(command)
                answered_ns = time.monotonic_ns()
                ticks = camera.get_integer(value)
            hz = camera.get_device().get_timestamp_tick_frequency() if camera.is_gv_device() else 1_000_000_000
            self._clock.latch(ticks * 1_000_000_000 // (hz or 1_000_000_000), asked_ns, answered_ns)
            return

    # -------------------------------------------------------------------------------------------------------- close

    def close(self) -> None:
        """Stop the camera and free it. One that is gone is not spoken to: each word would wait for an answer."""
        camera, self._camera = self._camera, None
        stream, self._stream = self._stream, None
        if self._pool is not None:
            self._pool.close()
        if camera is not None and not self._gone.is_set():
            try:
                with told(aravis(), "the camera cannot be stopped", "it is freed all the same"):
                    camera.stop_acquisition()
            except SourceError as error:
                log.warning("%s", error)
        self._chunks = None
        del stream, camera
        self._pool = None


def _give(push: Callable[[Any], None], buffer: Any) -> None:
    """Hand a buffer to the driver, without the number of the frame that was in it: it stays there if the next one's is lost."""
    buffer.set_frame_id(0)
    push(buffer)


def _teller(gone: threading.Event) -> Any:
    return lambda _device: gone.set()


def _library_name(name: str) -> str:
    """ "Mono8" as the library's constant has it: MONO_8; "BayerRG8": BAYER_RG_8; "RGB8": RGB_8_PACKED."""
    special = {"RGB8": "RGB_8_PACKED", "BGR8": "BGR_8_PACKED"}
    if name in special:
        return special[name]
    letters = name.rstrip("0123456789")
    bits = name[len(letters) :]
    return (
        f"BAYER_{letters.removeprefix('Bayer')}_{bits}" if letters.startswith("Bayer") else f"{letters.upper()}_{bits}"
    )


def _describe(width: int, height: int, code: int, formats: dict[int, PixelFormat]) -> str:
    known = formats.get(code)
    return f"{width} × {height} {known.name if known is not None else f'in format 0x{code:08X}'}"
