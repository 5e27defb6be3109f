"""Sets a GenICam camera as the line file says, and reads back what it made of that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from inspector.errors import SourceError
from inspector.part import PixelFormat

# GenICam's names (PFNC) of what the service takes, and the number by which frames call them.
PIXEL_FORMATS: dict[str, PixelFormat] = {
    "Mono8": PixelFormat.MONO8,
    "Mono10": PixelFormat.MONO10,
    "Mono12": PixelFormat.MONO12,
    "Mono16": PixelFormat.MONO16,
    "RGB8": PixelFormat.RGB8,
    "BGR8": PixelFormat.BGR8,
    "BayerRG8": PixelFormat.BAYER_RG8,
    "BayerGR8": PixelFormat.BAYER_GR8,
    "BayerGB8": PixelFormat.BAYER_GB8,
    "BayerBG8": PixelFormat.BAYER_BG8,
}
# Older cameras of GigE Vision 1 write these two otherwise.
_OTHER_NAMES = {"RGB8Packed": "RGB8", "BGR8Packed": "BGR8"}
# A float is as asked if it is within this share, or the step that the camera names: exposure comes in steps of lines.
_NEAR = 0.01
# Buffers beyond the frames that may wait for the service: the one being filled, the next, and what a hiccup takes.
SPARE_BUFFERS = 6
FEWEST_BUFFERS, MOST_BUFFERS = 8, 256
USUAL_RATE_HZ = 30.0


@dataclass(frozen=True, slots=True)
class GenicamOptions:
    """What the line file says of a camera; what is None or empty stays as the camera has it."""

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
    packet_size: int = 0
    packet_delay_ns: int = 0
    buffers: int = 0
    deadline_ms: int = 500
    features: Mapping[str, bool | int | float | str] = field(default_factory=dict)


@contextmanager
def told(library: Any, doing: str, step: str) -> Iterator[None]:
    """Foreign errors as the house's: what was being done, what the camera said, what to do."""
    from gi.repository import GLib

    try:
        yield
    except GLib.Error as error:
        raise SourceError(f"{doing}: {error.message}; {step}") from error


def set_up(library: Any, camera: Any, options: GenicamOptions) -> dict[str, str]:
    """Write everything, in an order that cameras take; returns what stands in the camera now. Raises SourceError."""
    camera.set_range_check_policy(library.RangeCheckPolicy.ENABLE)
    seen: dict[str, str] = {}
    for name, value in options.features.items():
        seen[name] = _write(library, camera, name, name, value)
    with told(library, "the acquisition mode cannot be set", "set AcquisitionMode to Continuous under features"):
        camera.set_acquisition_mode(library.AcquisitionMode.CONTINUOUS)
    if options.pixel_format:
        _write(library, camera, "pixel_format", "PixelFormat", options.pixel_format)
    if options.region is not None:
        _set_region(library, camera, options.region)
    if options.rate_hz is not None:
        with told(library, f"rate_hz = {options.rate_hz:g}", "choose a rate that the camera takes"):
            camera.set_frame_rate(options.rate_hz)
        seen["rate_hz"] = _near(options.rate_hz, camera.get_frame_rate(), 0.0, "rate_hz")
    _set_exposure(library, camera, options, seen)
    _set_trigger(library, camera, options, seen)
    if camera.is_gv_device():
        _set_packets(library, camera, options, seen)
    with told(library, "the camera's region and format cannot be read", "is it one that gives pictures?"):
        x, y, width, height = camera.get_region()
        seen["region"] = f"{width} × {height} at {x}, {y}"
        seen["pixel_format"] = _usable_format(camera)
    return seen


def house_format(name: str) -> PixelFormat | None:
    """What the service calls a format of GenICam; None if it does not take it."""
    return PIXEL_FORMATS.get(_OTHER_NAMES.get(name, name))


def _usable_format(camera: Any) -> str:
    name = str(camera.get_pixel_format_as_string())
    if house_format(name) is None:
        offered = [one for one in camera.dup_available_pixel_formats_as_strings() if house_format(one) is not None]
        step = (
            f"set pixel_format to one of {', '.join(offered)}"
            if offered
            else "no other format of it can be taken either"
        )
        raise SourceError(f"the camera gives {name}, which the service does not take: {step}")
    return name


def _set_region(library: Any, camera: Any, region: tuple[int, int, int, int]) -> None:
    x, y, width, height = region
    with told(library, f"region {width} × {height} at {x}, {y}", "choose one that the sensor has"):
        camera.set_region(0, 0, width, height)
        camera.set_region(x, y, width, height)
        now = camera.get_region()
    if (now.x, now.y, now.width, now.height) != tuple(region):
        raise SourceError(
            f"region {width} × {height} at {x}, {y} was asked for and the camera took {now.width} × {now.height} at {now.x}, "
            f"{now.y}: write that, or other multiples of its steps, into the line file"
        )


def _set_exposure(library: Any, camera: Any, options: GenicamOptions, seen: dict[str, str]) -> None:
    if options.exposure_us is not None:
        with told(library, f"exposure_us = {options.exposure_us:g}", "choose a time that the camera takes"):
            if camera.is_exposure_auto_available():
                camera.set_exposure_time_auto(library.Auto.OFF)
            camera.set_exposure_time(options.exposure_us)
            now = camera.get_exposure_time()
        seen["exposure_us"] = _near(options.exposure_us, now, 0.0, "exposure_us")
    if options.gain is not None:
        with told(library, f"gain = {options.gain:g}", "choose a gain that the camera takes"):
            if camera.is_gain_auto_available():
                camera.set_gain_auto(library.Auto.OFF)
            camera.set_gain(options.gain)
            now = camera.get_gain()
        seen["gain"] = _near(options.gain, now, 0.0, "gain")


def _set_trigger(library: Any, camera: Any, options: GenicamOptions, seen: dict[str, str]) -> None:
    if not options.trigger_source:
        with told(library, "the triggers cannot be turned off", "turn them off under features"):
            camera.clear_triggers()
        seen["trigger"] = "none, it runs freely"
        return
    sources = "choose a source that the camera has"
    with told(library, f'trigger_source = "{options.trigger_source}"', sources):
        camera.set_trigger(options.trigger_source)
        seen["trigger"] = now = str(camera.get_trigger_source())
    if now != options.trigger_source:
        raise SourceError(
            f'trigger_source "{options.trigger_source}" was asked for and the camera has "{now}": {sources}'
        )
    if options.trigger_activation:
        _write(library, camera, "trigger_activation", "TriggerActivation", options.trigger_activation)
    if options.trigger_delay_us is not None:
        name = "TriggerDelay" if camera.is_feature_available("TriggerDelay") else "TriggerDelayAbs"
        seen["trigger_delay_us"] = _write(library, camera, "trigger_delay_us", name, options.trigger_delay_us)


def _set_packets(library: Any, camera: Any, options: GenicamOptions, seen: dict[str, str]) -> None:
    with told(library, "the size of packets cannot be set", "give packet_size, no larger than the network carries"):
        if options.packet_size:
            camera.gv_set_packet_size(options.packet_size)
        else:
            camera.gv_auto_packet_size()
        if options.packet_delay_ns:
            camera.gv_set_packet_delay(options.packet_delay_ns)
        now = camera.gv_get_packet_size()
    if options.packet_size and now != options.packet_size:
        raise SourceError(f"packet_size {options.packet_size} was asked for and the camera took {now}: write that")
    seen["packet_size"] = str(now)


def _write(library: Any, camera: Any, key: str, name: str, value: bool | int | float | str) -> str:
    """One feature, read back. Raises SourceError."""
    with told(library, f"{key} = {value!r}", "choose a value that the camera takes"):
        node = camera.get_device().get_feature(name)
        if node is None:
            raise SourceError(
                f"{key}: the camera has no feature {name}: its manual lists them, upper and lower case count"
            )
        if isinstance(node, library.GcCommand):
            if value is not True:
                raise SourceError(f"{key}: {name} is a command: write true to give it, or leave it out")
            camera.execute_command(name)
            return "done"
        if isinstance(node, library.GcBoolean):
            camera.set_boolean(name, _of(bool, value, key, name))
            now: Any = camera.get_boolean(name)
        elif isinstance(node, library.GcEnumeration | library.GcString):
            camera.set_string(name, _of(str, value, key, name))
            now = camera.get_string(name)
        elif isinstance(node, library.GcFloat):
            number = _of(float, value, key, name)
            camera.set_float(name, number)
            return _near(number, camera.get_float(name), camera.get_float_increment(name), key)
        else:
            camera.set_integer(name, _of(int, value, key, name))
            now = camera.get_integer(name)
    if now != value:
        raise SourceError(f"{key} = {value!r} was written and the camera has {now!r}: write that, or another value")
    return str(now)


def _of(kind: type, value: bool | int | float | str, key: str, name: str) -> Any:
    """`value`, which must be of the feature's kind; an integer is a float too, but true is no number."""
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    words = {bool: "true or false", str: "text", float: "a number", int: "a whole number"}
    raise SourceError(f"{key} = {value!r}: {name} takes {words[kind]}")


def is_near(asked: float, now: float, step: float = 0.0) -> bool:
    """Whether a float is as asked, but for the steps that the camera has."""
    return abs(now - asked) <= max(_NEAR * abs(asked), step, 1e-9)


def buffers_for(rate_hz: float | None, deadline_ms: int) -> int:
    """Buffers that hold what comes within the recipe's budget, and a few for the driver; each has the size of a frame."""
    waiting = math.ceil((rate_hz or USUAL_RATE_HZ) * deadline_ms / 1000)
    return max(FEWEST_BUFFERS, min(MOST_BUFFERS, waiting + SPARE_BUFFERS))


def _near(asked: float, now: float, step: float, key: str) -> str:
    """What the camera made of a float, if that is near what was asked for. Raises SourceError."""
    if not is_near(asked, now, step):
        raise SourceError(
            f"{key} = {asked:g} was written and the camera has {now:g}: write that, or choose another value"
        )
    return f"{now:g}"
