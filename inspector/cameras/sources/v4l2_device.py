"""A capture device of the Linux kernel by V4L2's own calls: set, read back, filled buffers with their number and time.

    open ─▶ S_FMT, S_PARM, read back ─▶ REQBUFS, mmap ─▶ S_CTRL, read back ─▶ STREAMON ─▶ poll, DQBUF ─▶ a copy ─▶ QBUF
    close: STREAMOFF ─▶ unmap ─▶ REQBUFS 0 ─▶ close, after a failure too: else the device would stay busy

Layouts and numbers are those of the kernel's ABI (linux/videodev2.h, 64-bit), which it keeps. Devices with several planes for
a picture (some cameras of single-board computers) are not read.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import math
import mmap
import os
import re
import select
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from inspector.errors import SourceError

# V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_MEMORY_MMAP, V4L2_CTRL_TYPE_CTRL_CLASS
_CAPTURE, _MMAP, _CLASS_TITLE = 1, 1, 6
# V4L2_CAP_: VIDEO_CAPTURE, VIDEO_CAPTURE_MPLANE, STREAMING, DEVICE_CAPS, and TIMEPERFRAME of a rate
_CAPTURES, _CAPTURES_PLANES, _STREAMS, _HAS_OWN, _HAS_RATE = 0x1, 0x1000, 0x0400_0000, 0x8000_0000, 0x1000
# V4L2_CTRL_FLAG_: DISABLED, READ_ONLY, WRITE_ONLY, NEXT_CTRL
_DISABLED, _READ_ONLY, _WRITE_ONLY, _NEXT = 0x1, 0x4, 0x40, 0x8000_0000
# V4L2_BUF_FLAG_: ERROR, TIMESTAMP_MASK, TIMESTAMP_MONOTONIC
_DAMAGED, _CLOCKS, _MONOTONIC = 0x40, 0xE000, 0x2000
_BIG_ENDIAN = 0x8000_0000
_RATE_NEAR = 0.01
_NOT_HERE = "is the camera plugged in, and the device right? `inspector camera list` shows those that are here"
_STEPS: dict[int | None, str] = {
    errno.EBUSY: "another program reads it, end that (`fuser -v` DEVICE names it); or the same device twice in this one",
    errno.ENOTTY: "it gives no pictures: `inspector camera list` shows devices that do",
    errno.EINVAL: "it takes something else: `v4l2-ctl --all --list-formats-ext -d` DEVICE shows what",
    errno.EACCES: "let the user of this program read it: mostly that is the group video",
}
_u8, _u32, _i32, _long = ctypes.c_uint8, ctypes.c_uint32, ctypes.c_int32, ctypes.c_long


class Capability(ctypes.Structure):
    """struct v4l2_capability"""

    _fields_ = (
        ("driver", ctypes.c_char * 16), ("card", ctypes.c_char * 32), ("bus_info", ctypes.c_char * 32), ("version", _u32),
        ("capabilities", _u32), ("device_caps", _u32), ("reserved", _u32 * 3),
    )  # fmt: skip


class FormatDescription(ctypes.Structure):
    """struct v4l2_fmtdesc"""

    _fields_ = (
        ("index", _u32), ("type", _u32), ("flags", _u32), ("description", ctypes.c_char * 32), ("pixelformat", _u32),
        ("mbus_code", _u32), ("reserved", _u32 * 3),
    )  # fmt: skip


class Format(ctypes.Structure):
    """struct v4l2_format with its v4l2_pix_format: the union has pointers in it, and 200 bytes."""

    _fields_ = (
        ("type", _u32), ("gap", _u32), ("width", _u32), ("height", _u32), ("pixelformat", _u32), ("field", _u32),
        ("bytesperline", _u32), ("sizeimage", _u32), ("rest", _u8 * (200 - 24)),
    )  # fmt: skip


class StreamParameters(ctypes.Structure):
    """struct v4l2_streamparm with its v4l2_captureparm."""

    _fields_ = (
        ("type", _u32), ("capability", _u32), ("capturemode", _u32), ("numerator", _u32), ("denominator", _u32),
        ("rest", _u8 * (200 - 16)),
    )  # fmt: skip


class RequestBuffers(ctypes.Structure):
    """struct v4l2_requestbuffers"""

    _fields_ = (("count", _u32), ("type", _u32), ("memory", _u32), ("capabilities", _u32), ("flags", _u32))


class Buffer(ctypes.Structure):
    """struct v4l2_buffer; `offset` stands first in a union of eight bytes."""

    _fields_ = (
        ("index", _u32), ("type", _u32), ("bytesused", _u32), ("flags", _u32), ("field", _u32), ("seconds", _long),
        ("microseconds", _long), ("timecode", _u8 * 16), ("sequence", _u32), ("memory", _u32), ("offset", _u32),
        ("offset_rest", _u32), ("length", _u32), ("reserved", _u32 * 2),
    )  # fmt: skip


class ControlQuery(ctypes.Structure):
    """struct v4l2_queryctrl"""

    _fields_ = (
        ("id", _u32), ("type", _u32), ("name", ctypes.c_char * 32), ("minimum", _i32), ("maximum", _i32), ("step", _i32),
        ("default", _i32), ("flags", _u32), ("reserved", _u32 * 2),
    )  # fmt: skip


class Control(ctypes.Structure):
    """struct v4l2_control"""

    _fields_ = (("id", _u32), ("value", _i32))


def _request(direction: int, number: int, kind: type[Any]) -> int:
    """As _IOC of asm-generic/ioctl.h: 1 writes, 2 reads, 3 both."""
    return direction << 30 | ctypes.sizeof(kind) << 16 | ord("V") << 8 | number


QUERYCAP = _request(2, 0, Capability)
ENUM_FMT = _request(3, 2, FormatDescription)
G_FMT, S_FMT = _request(3, 4, Format), _request(3, 5, Format)
REQBUFS = _request(3, 8, RequestBuffers)
QUERYBUF, QBUF, DQBUF = _request(3, 9, Buffer), _request(3, 15, Buffer), _request(3, 17, Buffer)
STREAMON, STREAMOFF = _request(1, 18, ctypes.c_int), _request(1, 19, ctypes.c_int)
G_PARM, S_PARM = _request(3, 21, StreamParameters), _request(3, 22, StreamParameters)
G_CTRL, S_CTRL = _request(3, 27, Control), _request(3, 28, Control)
QUERYCTRL = _request(3, 36, ControlQuery)


@dataclass(frozen=True, slots=True)
class Mode:
    """How the device gives pictures: `fourcc` as the kernel calls the format, bytes of a row and of all; rate if known."""

    fourcc: str
    width_px: int
    height_px: int
    row_bytes: int
    size_bytes: int
    rate_hz: float | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """What the driver filled a buffer with: its number since the start, when by the monotonic clock, if told, and a copy."""

    number: int
    taken_ns: int | None
    is_damaged: bool
    data: bytes


class V4l2Device:
    """One device, for one thread. Every method raises SourceError, but `close`."""

    def __init__(self, path: str, ioctl: Callable[[int, int, Any], int] = fcntl.ioctl) -> None:
        self.path = path
        self.model = ""
        self._ioctl = ioctl
        self._fd: int | None = None
        self._maps: list[mmap.mmap] = []
        self._is_on = False

    def open(self) -> None:
        """Open it; look that it gives pictures."""
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise SourceError(self._failed("cannot be opened", error)) from error
        about = Capability()
        self._call(QUERYCAP, about, "cannot be opened")
        self.model = about.card.decode("utf-8", "replace")
        can = about.device_caps if about.capabilities & _HAS_OWN else about.capabilities
        if can & _CAPTURES_PLANES:
            raise SourceError(
                f"{self.path} gives pictures in several planes, which is not read: has it another device?"
            )
        if not can & _CAPTURES or not can & _STREAMS:
            raise SourceError(f"{self.path} gives no pictures: `inspector camera list` shows devices that do")

    def formats(self) -> list[str]:
        """What it can give, as the kernel calls it, such as "YUYV"."""
        found: list[str] = []
        one = FormatDescription(type=_CAPTURE)
        with suppress(OSError):  # EINVAL behind the last
            while len(found) < 256:
                self._do(ENUM_FMT, one)
                found.append(name_of(one.pixelformat))
                one = FormatDescription(type=_CAPTURE, index=one.index + 1)
        return found

    def set_mode(self, fourcc: str, size: tuple[int, int] | None, rate_hz: float | None) -> Mode:
        """Set what is not empty or None, and read back what the driver made of it: it takes the nearest without a word."""
        wanted = Format(type=_CAPTURE)
        self._call(G_FMT, wanted, "does not say its format")
        if fourcc or size:
            wanted.pixelformat = code_of(fourcc) if fourcc else wanted.pixelformat
            wanted.width, wanted.height = size or (wanted.width, wanted.height)
            wanted.field, wanted.bytesperline, wanted.sizeimage = 1, 0, 0  # V4L2_FIELD_NONE: no half pictures
            self._call(S_FMT, wanted, "does not take its format")
        if not wanted.width or not wanted.height:
            raise SourceError(f"{self.path} gives pictures of no size: is anything connected to it?")
        now = name_of(wanted.pixelformat)
        if fourcc and now != fourcc.rstrip():
            raise SourceError(
                f"{self.path} gives {now} and {fourcc} was asked: it can give {', '.join(self.formats())}"
            )
        if size and (wanted.width, wanted.height) != size:
            asked = "{}x{}".format(*size)
            raise SourceError(
                f"{self.path} gives {wanted.width}x{wanted.height} pixels, and {asked} was asked: write that, or what "
                "`v4l2-ctl --list-formats-ext -d` DEVICE shows"
            )
        rate = self._set_rate(rate_hz)
        return Mode(now, wanted.width, wanted.height, wanted.bytesperline, wanted.sizeimage, rate)

    def _set_rate(self, rate_hz: float | None) -> float | None:
        about = StreamParameters(type=_CAPTURE)
        try:
            self._do(G_PARM, about)
        except OSError:
            about.capability = 0
        if rate_hz is not None:
            if not about.capability & _HAS_RATE:
                raise SourceError(f"{self.path} cannot be set to a rate: leave rate_hz out")
            period = 1 / Fraction(rate_hz).limit_denominator(1000)
            about.numerator, about.denominator = period.numerator, period.denominator
            self._call(S_PARM, about, f"does not take {rate_hz:g} frames a second")
        if not about.numerator or not about.denominator:
            return None
        now: float = about.denominator / about.numerator
        if rate_hz is not None and not math.isclose(now, rate_hz, rel_tol=_RATE_NEAR):
            raise SourceError(
                f"{self.path} gives {now:g} frames a second, and {rate_hz:g} was asked: write that, or what "
                "`v4l2-ctl --list-formats-ext -d` DEVICE shows"
            )
        return now

    def set_control(self, name: str, value: int) -> str:
        """Exposure, gain and the like by the names of v4l2-ctl, read back where it can be."""
        known = {control_name(one.name): one for one in self._controls()}
        control = known.get(name)
        if control is None:
            raise SourceError(f"{self.path} has no control {name}: it has {', '.join(known) or 'none'}")
        if control.flags & _READ_ONLY or not control.minimum <= value <= max(control.maximum, control.minimum):
            takes = "cannot be set" if control.flags & _READ_ONLY else f"takes {control.minimum} to {control.maximum}"
            raise SourceError(f"{self.path}: {name} = {value}: it {takes}")
        self._call(S_CTRL, Control(control.id, value), f"does not take {name} = {value}")
        if control.flags & _WRITE_ONLY:
            return "done"
        now = Control(control.id)
        self._call(G_CTRL, now, f"does not say its {name}")
        if now.value != value:
            raise SourceError(
                f"{self.path}: {name} = {value} was written and it has {now.value}: write that, or another value"
            )
        return str(now.value)

    def _controls(self) -> Iterator[ControlQuery]:
        one = ControlQuery(id=_NEXT)
        with suppress(OSError):  # EINVAL behind the last
            for _ in range(1024):
                self._do(QUERYCTRL, one)
                if one.type != _CLASS_TITLE and not one.flags & _DISABLED:
                    yield one
                one = ControlQuery(id=one.id | _NEXT)

    def reserve(self, buffers: int) -> None:
        """Have it for this program alone, with `buffers` to fill, as far as it takes so many."""
        asked = RequestBuffers(buffers, _CAPTURE, _MMAP)
        self._call(REQBUFS, asked, "gives no buffers")
        if not asked.count:
            raise SourceError(f"{self.path} gives no buffers: there is no memory for its pictures")
        for index in range(asked.count):
            buffer = Buffer(index=index, type=_CAPTURE, memory=_MMAP)
            self._call(QUERYBUF, buffer, "gives no buffers")
            try:
                # Read alone would do, but not every driver maps it so.
                self._maps.append(mmap.mmap(self._open_fd(), buffer.length, offset=buffer.offset))
            except (OSError, ValueError) as error:
                raise SourceError(
                    f"{self.path}: its buffers cannot be mapped ({error}): start its driver anew"
                ) from error
            self._call(QBUF, buffer, "takes no buffers")

    def start(self) -> None:
        """Let it fill the buffers."""
        self._call(STREAMON, ctypes.c_int(_CAPTURE), "does not start")
        self._is_on = True

    def next(self, wait_s: float) -> Filled | None:
        """The next picture; None if none came in `wait_s`."""
        poll = select.poll()
        poll.register(self._open_fd(), select.POLLIN)
        if not (came := poll.poll(wait_s * 1000)):
            return None
        buffer = Buffer(type=_CAPTURE, memory=_MMAP)
        try:
            self._do(DQBUF, buffer)
        except BlockingIOError as error:
            if came[0][1] & select.POLLIN:
                return None  # it was taken back meanwhile
            raise SourceError(f"{self.path} gives nothing any more: look at the camera and its cable") from error
        except OSError as error:
            raise SourceError(f"{self.path} breaks off ({error.strerror}): look at the camera and its cable") from error
        if buffer.index >= len(self._maps):
            raise SourceError(f"{self.path} names a buffer that it does not have: start its driver anew")
        data = self._maps[buffer.index][: buffer.bytesused]
        taken_ns = None
        if buffer.flags & _CLOCKS == _MONOTONIC:
            taken_ns = buffer.seconds * 1_000_000_000 + buffer.microseconds * 1000
        filled = Filled(buffer.sequence, taken_ns, bool(buffer.flags & _DAMAGED), data)
        self._call(QBUF, buffer, "takes no buffer back")
        return filled

    def close(self) -> None:
        """Give everything back. Never raises; nothing happens if it is not open."""
        if self._fd is None:
            return
        with suppress(OSError):
            if self._is_on:
                self._do(STREAMOFF, ctypes.c_int(_CAPTURE))
        self._is_on = False
        while self._maps:
            self._maps.pop().close()
        with suppress(OSError):
            self._do(REQBUFS, RequestBuffers(0, _CAPTURE, _MMAP))
        fd, self._fd = self._fd, None
        os.close(fd)

    def _open_fd(self) -> int:
        assert self._fd is not None, "open it first"
        return self._fd

    def _do(self, request: int, about: Any) -> None:
        self._ioctl(self._open_fd(), request, about)

    def _call(self, request: int, about: Any, failed: str) -> None:
        try:
            self._do(request, about)
        except OSError as error:
            raise SourceError(self._failed(failed, error)) from error

    def _failed(self, what: str, error: OSError) -> str:
        return f"{self.path} {what} ({error.strerror}): {_STEPS.get(error.errno, _NOT_HERE)}"


def name_of(code: int) -> str:
    """Four letters of a format's number; not-letters as a question mark, spaces at the end left out, "-BE" for big-endian."""
    letters = (code & ~_BIG_ENDIAN).to_bytes(4, "little")
    name = "".join(chr(one) if 32 <= one < 127 else "?" for one in letters).rstrip()
    return f"{name}-BE" if code & _BIG_ENDIAN else name


def code_of(name: str) -> int:
    """The number of a format's four letters."""
    return int.from_bytes(name.ljust(4).encode("ascii"), "little")


def control_name(title: bytes) -> str:
    """A control's title as v4l2-ctl writes it: "Exposure Time, Absolute" is exposure_time_absolute."""
    return re.sub(r"[^a-z0-9]+", "_", title.decode("ascii", "replace").lower()).strip("_")
