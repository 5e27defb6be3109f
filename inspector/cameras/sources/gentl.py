"""A GenICam camera by a vendor's GenTL producer (a .cti file), read with harvesters: for cameras that Aravis does not reach.

As `genicam.py`, with three differences of the library: a frame is copied out of its buffer; an incomplete buffer is thrown
away inside it, so that its part is told by the callback for that, or by the gap in the frame ids; and a program may load a
producer once only (GenTL 1.6, GCInitLib), so that its cameras share it.

Run with the producer that comes with the package `genicam`, never with a camera.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from inspector.cameras.sources.clocks import CameraClock, time_of_day
from inspector.cameras.sources.counting import FIRST_OF_GIGE, FIRST_OF_USB3, FrameCounter
from inspector.cameras.sources.genicam_setup import buffers_for, house_format, is_near
from inspector.cameras.sources.passing import Absence, silent_after_s
from inspector.cameras.sources.source import LOOK_S, Found, Grab, Lost, Taken
from inspector.errors import SourceError
from inspector.part import Frame

log = logging.getLogger(__name__)
# By GenTL's names of transport layers; others number as they like.
_FIRST_NUMBERS = {"GEV": FIRST_OF_GIGE, "U3V": FIRST_OF_USB3}
_LOOK_FOR_MS = 1000
_ANOTHER = "name the .cti file that the camera's vendor installs, for this computer's kind of processor"
_NEEDS = 'GenTL cameras need harvesters, which is not here: install the extra "gentl" (pip install "inspector[gentl]")'


@dataclass(frozen=True, slots=True)
class GentlOptions:
    """What the line file says of a camera; what is None or empty stays as the camera has it."""

    producer: Path
    device: str
    pixel_format: str = ""
    region: tuple[int, int, int, int] | None = None  # x, y, width, height in pixels
    exposure_us: float | None = None
    gain: float | None = None
    rate_hz: float | None = None
    trigger_source: str = ""
    trigger_activation: str = ""
    trigger_delay_us: float | None = None
    trigger_number: str = "frame-id"
    buffers: int = 0
    deadline_ms: int = 500
    features: Mapping[str, bool | int | float | str] = field(default_factory=dict)


def harvester() -> Any:
    """A new reader of producers. Raises SourceError if the library is not installed."""
    try:
        from harvesters.core import Harvester
    except ImportError as error:
        raise SourceError(f"{_NEEDS} ({error})") from error

    class Careful(Harvester):  # type: ignore[misc]
        """The library itself passes over a file that it cannot load, and dies by one that is no producer."""

        def add_file(self, file_path: str) -> None:
            try:
                library = ctypes.CDLL(file_path)
            except OSError as error:
                raise SourceError(f"{file_path} cannot be loaded ({error}): {_ANOTHER}") from error
            if not hasattr(library, "GCInitLib"):
                raise SourceError(f"{file_path} is no GenTL producer, it has no GCInitLib: {_ANOTHER}")
            super().add_file(file_path)

    return Careful()


@dataclass(slots=True)
class _Loaded:
    """A producer that is in use: by whom it is read, through what it reaches cameras, and how many are open by it."""

    reader: Any
    interfaces: list[Any]
    cameras: int = 0


class _Producers:
    """The producers that this program has loaded, each once, until its last camera is closed. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[tuple[Callable[[], Any], Path], _Loaded] = {}

    def camera(self, make: Callable[[], Any], producer: Path, device: str) -> tuple[Any, Any]:
        """Reader of the producer, by its resolved path, and the camera. Errors are the library's; give both back by `free`."""
        with self._lock:
            loaded = self._loaded.get((make, producer))
            if loaded is None:
                reader = make()
                try:
                    reader.add_file(str(producer))
                    reader.update()
                    camera = reader.create({"id_": device})
                except BaseException:
                    reader.reset()
                    raise
                interfaces = {id(info.parent): info.parent for info in reader.device_info_list}
                loaded = self._loaded[make, producer] = _Loaded(reader, list(interfaces.values()))
            else:
                _look_again(loaded)
                camera = loaded.reader.create({"id_": device})
            loaded.cameras += 1
            return loaded.reader, camera

    def free(self, make: Callable[[], Any], producer: Path) -> None:
        """One camera fewer; with the last one goes the producer."""
        with self._lock:
            loaded = self._loaded[make, producer]
            loaded.cameras -= 1
            if not loaded.cameras:
                del self._loaded[make, producer]
                loaded.reader.reset()


def _look_again(loaded: _Loaded) -> None:
    """Find what was plugged in meanwhile. Not by `update`, which takes away the cameras that are open."""
    from harvesters.core import DeviceInfo

    here = []
    for interface in loaded.interfaces:
        interface.update_device_info_list(_LOOK_FOR_MS)
        here += [DeviceInfo(module=info, parent=interface) for info in interface.module.device_info_list]
    loaded.reader.device_info_list[:] = here


_producers = _Producers()


@contextmanager
def told(doing: str, step: str) -> Iterator[None]:
    """Foreign errors as the house's. The library raises its own, those of GenApi and GenTL, and plain ones of Python."""
    from genicam.genapi import GenericException as NodeError
    from genicam.gentl import GenericException as ProducerError

    try:
        yield
    except (NodeError, ProducerError, ValueError, OSError, AttributeError, RuntimeError) as error:
        raise SourceError(f"{doing}: {error}; {step}") from error


class GentlSource:
    """One camera. Opened again after a failure it tells how many parts passed meanwhile, as far as that can be known."""

    waits = False

    def __init__(self, make: Callable[[], Any] = harvester, **options: Any) -> None:
        self._make = make
        self._options = GentlOptions(**options)
        self._producer = self._options.producer
        self._counter = FrameCounter()
        self._clock = CameraClock()
        self._harvester: Any = None
        self._camera: Any = None
        self._set: dict[str, str] = {}
        self._rate_hz: float | None = None
        self._shape: tuple[int, int, str] = (0, 0, "")
        self._absence = Absence()
        self._discarded: list[None] = []

    @property
    def rate_hz(self) -> float | None:
        """Frames per second if the camera runs freely and says so; a trigger's rate is not known."""
        return self._rate_hz

    def describe(self) -> str:
        """What stands in it."""
        settings = ", ".join(f"{name} {value}" for name, value in self._set.items())
        return f"GenTL camera {self._options.device} by {self._options.producer.name}: {settings}"

    def open(self) -> None:
        """Load the producer, find the camera, set it and start it. Raises SourceError."""
        options = self._options
        if not options.producer.is_file():
            raise SourceError(f"{options.producer} is not there: name the .cti file that the camera's vendor installs")
        step = "look at `inspector camera list`; another program may have it"
        with told(f"camera {options.device} cannot be opened by {options.producer}", step):
            self._producer = options.producer.resolve()
            self._harvester, self._camera = _producers.camera(self._make, self._producer, options.device)
        nodes = self._camera.remote_device.node_map
        self._set = _set_up(nodes, options)
        with told(f"camera {options.device} cannot be started", step):
            width, height = int(nodes.Width.value), int(nodes.Height.value)
            self._shape = (width, height, str(nodes.PixelFormat.value))
            rate = getattr(nodes, "AcquisitionFrameRate", None)
            self._rate_hz = float(rate.value) if rate is not None and not options.trigger_source else None
            if house_format(self._shape[2]) is None:
                raise SourceError(
                    f"the camera gives {self._shape[2]}, which the service does not take: set pixel_format"
                )
            self._camera.num_buffers = options.buffers or buffers_for(self._rate_hz, options.deadline_ms)
            self._camera.add_callback(self._camera.Events.INCOMPLETE_BUFFER, _Counting(self._discarded))
            self._camera.start()
        self._counter.restart(self._first_number())
        self._clock = CameraClock((options.exposure_us or 0.0) / 1000)

    def grabs(self) -> Iterator[Grab | None]:
        """Frames and losses in the order of the camera's numbers. Raises SourceError when the camera is gone."""
        from genicam.gentl import TimeoutException

        yield from self._absence.told(self._rate_hz)
        limit_s, heard_s = silent_after_s(self._rate_hz, has_begun=False), time.monotonic()
        told_apart = 0
        while True:
            buffer = None
            doing = f"camera {self._options.device} does not answer any more"
            with told(doing, "look at its power and cable"), suppress(TimeoutException):
                buffer = self._camera.fetch(timeout=LOOK_S)
            while self._discarded:
                self._discarded.pop()
                told_apart += 1
                limit_s, heard_s = silent_after_s(self._rate_hz), time.monotonic()
                self._absence.end()
                yield Lost("the frame is incomplete: the producer threw it away")
            if buffer is None:
                yield None
                if limit_s is not None and time.monotonic() - heard_s > limit_s:
                    raise SourceError(
                        f"camera {self._options.device} runs freely and gave nothing for {limit_s:.1f} s: look at its power "
                        "and cable"
                    )
                continue
            limit_s, heard_s = silent_after_s(self._rate_hz), time.monotonic()
            self._absence.end()
            # The memory is the producer's again when this is left.
            with told("a frame cannot be read", "look at the producer's own log"):
                number, taken_ns, grab = self._read(buffer)
                buffer.queue()
            step = self._counter.step(number, taken_ns)
            if step.odd:
                log.error("camera %s: %s; parts are counted on from here", self._options.device, step.odd)
            if step.unsure:
                log.warning("camera %s: %s", self._options.device, step.unsure)
            if step.again:
                continue
            lost, told_apart = max(0, step.lost - told_apart), 0
            if lost and self._options.trigger_number == "frame-id":
                yield Lost(step.why or step.odd, lost, grab.origin)
            yield grab

    def _first_number(self) -> int | None:
        """With what the protocol numbers the first frame of an acquisition; None if that is not known, or of no interest."""
        if self._options.trigger_number != "frame-id":
            return None
        with told("the camera's protocol cannot be read", "look at the producer's own log"):
            kinds = {str(one.id_): str(one.tl_type) for one in self._harvester.device_info_list}
        return _FIRST_NUMBERS.get(kinds.get(self._options.device, ""))

    def _read(self, buffer: Any) -> tuple[int, int, Grab]:
        """Number and time of a buffer, and its frame, copied, or why there is none."""
        number, taken_ns, now_ns = int(buffer.module.frame_id), _taken_ns(buffer), time.monotonic_ns()
        wall_ns = time.time_ns()
        origin = f"frame {number}"
        components = buffer.payload.components
        if len(components) != 1:
            return number, taken_ns, Lost(f"the frame has {len(components)} parts, expected one picture", 1, origin)
        picture = components[0]
        now = (int(picture.width), int(picture.height), str(picture.data_format))
        if now != self._shape:
            was = "{} × {} {}".format(*self._shape)
            fault = f"the frame is {now[0]} × {now[1]} {now[2]} and the camera was set to {was}"
            return number, taken_ns, Lost(fault, 1, origin)
        data = picture.data.tobytes()
        pixel_format = house_format(now[2])
        assert pixel_format is not None
        at_ns, uncertainty_ms = now_ns, None
        if fault := self._clock.arrival(taken_ns, now_ns) if taken_ns else "":
            log.error("camera %s: %s; its times are taken anew", self._options.device, fault)
        if taken_ns and (at := self._clock.to_host(taken_ns)) is not None:
            at_ns, uncertainty_ms = at.at_ns, at.uncertainty_ms
        stride = len(data) // now[1] if now[1] else 0
        taken = Frame(0, pixel_format, now[0], now[1], stride, data, capture_time=time_of_day(at_ns, now_ns, wall_ns))
        return number, taken_ns, Taken(taken, origin, uncertainty_ms=uncertainty_ms, exposed_s=at_ns / 1e9)

    def close(self) -> None:
        """Stop the camera and free the producer."""
        camera, self._camera = self._camera, None
        self._harvester = None
        if camera is None:
            return
        for free in (camera.stop, camera.destroy, partial(_producers.free, self._make, self._producer)):
            try:
                with told(f"camera {self._options.device} cannot be freed", "it is opened anew all the same"):
                    free()
            except SourceError as error:
                log.warning("%s", error)


def _taken_ns(buffer: Any) -> int:
    """When the camera took it, in ns of its own clock; 0 if it has none that it tells."""
    from genicam.gentl import NotAvailableException, NotImplementedException

    with suppress(NotAvailableException, NotImplementedException):
        return int(buffer.timestamp_ns)
    return 0


class _Counting:
    """The library's callback: notes each incomplete buffer. Holds no camera."""

    def __init__(self, noted: list[None]) -> None:
        self._noted = noted

    def emit(self, context: object | None = None) -> None:
        self._noted.append(None)


def discover(producers: list[Path], make: Callable[[], Any] = harvester) -> list[Found]:
    """Cameras that these producers reach; one that cannot be loaded is told and left out. Raises SourceError."""
    reader, unusable = make(), []
    with told("the producers cannot be read", "look at GENICAM_GENTL64_PATH"):
        for producer in producers:
            try:
                reader.add_file(str(producer))
            except SourceError as error:
                unusable.append(error)
        if unusable and len(unusable) == len(producers):
            raise SourceError("; ".join(map(str, unusable)))
        for fault in unusable:
            log.warning("%s", fault)
        reader.update()
        found = [
            Found("gentl", str(info.id_), f"{info.vendor} {info.model} ({info.tl_type})")
            for info in reader.device_info_list
        ]
        reader.reset()
    return sorted(found, key=lambda one: one.device)


def _set_up(nodes: Any, options: GentlOptions) -> dict[str, str]:
    """Write everything by the names of GenICam's SFNC, and read it back. Raises SourceError."""
    seen: dict[str, str] = {}
    for name, value in options.features.items():
        seen[name] = _write(nodes, name, name, value)
    # Some have it so for ever, and do not let it be written.
    if not _is_now(nodes, "AcquisitionMode", "Continuous"):
        _write(nodes, "the acquisition mode", "AcquisitionMode", "Continuous")
    if options.pixel_format:
        seen["pixel_format"] = _write(nodes, "pixel_format", "PixelFormat", options.pixel_format)
    if options.region is not None:
        x, y, width, height = options.region
        # Offsets first to 0: a region is only taken where it fits the sensor at every moment.
        for name, value in (
            ("OffsetX", 0),
            ("OffsetY", 0),
            ("Width", width),
            ("Height", height),
            ("OffsetX", x),
            ("OffsetY", y),
        ):
            if value or hasattr(nodes, name):  # a camera that cannot move its region starts at 0
                seen[name] = _write(nodes, "region", name, value)
    # The trigger first: beside another one some let no rate be written.
    if hasattr(nodes, "TriggerMode"):
        _write(nodes, "trigger_source", "TriggerSelector", "FrameStart")
        if options.trigger_source:
            _write(nodes, "trigger_source", "TriggerSource", options.trigger_source)
            if options.trigger_activation:
                _write(nodes, "trigger_activation", "TriggerActivation", options.trigger_activation)
            if options.trigger_delay_us is not None:
                _write(nodes, "trigger_delay_us", "TriggerDelay", options.trigger_delay_us)
        _write(nodes, "trigger_source", "TriggerMode", "On" if options.trigger_source else "Off")
        seen["trigger"] = options.trigger_source or "none, it runs freely"
    elif options.trigger_source:
        raise SourceError(f'trigger_source = "{options.trigger_source}": the camera has no trigger')
    if options.rate_hz is not None and not _is_now(nodes, "AcquisitionFrameRateEnable", True):
        _write(nodes, "rate_hz", "AcquisitionFrameRateEnable", True)
    for key, name in (("exposure_us", "ExposureTime"), ("gain", "Gain"), ("rate_hz", "AcquisitionFrameRate")):
        if getattr(options, key) is not None:
            seen[key] = _write(nodes, key, name, getattr(options, key))
    return seen


def _is_now(nodes: Any, name: str, value: object) -> bool:
    """Whether a feature has that value, or is not there to be set."""
    with told(f"{name} cannot be read", "look at the producer's own log"):
        return not hasattr(nodes, name) or getattr(nodes, name).value == value


def _write(nodes: Any, key: str, name: str, value: bool | int | float | str) -> str:
    """One feature, read back."""
    node = getattr(nodes, name, None)
    if node is None:
        raise SourceError(f"{key}: the camera has no feature {name}: its manual lists them, upper and lower case count")
    with told(f"{key} = {value!r} ({name})", "choose a value that the camera takes"):
        if value is True and hasattr(node, "execute"):
            node.execute()
            return "done"
        node.value = value
        now = node.value
    near = is_near(value, now) if isinstance(value, float) else now == value
    if not near:
        raise SourceError(f"{key} = {value!r} was written and the camera has {now!r}: write that, or another value")
    return f"{now:g}" if isinstance(now, float) else str(now)
