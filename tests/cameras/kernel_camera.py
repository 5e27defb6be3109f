"""A capture device of the kernel for tests: answers V4L2's calls as the kernel's own documents say, frames from a list."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from inspector.cameras.sources import v4l2_device as abi

PAGE = 4096


def fault(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@dataclass
class Shot:
    """A filled buffer."""

    number: int
    data: bytes
    flags: int = 0x2000
    seconds: int = 1


@dataclass
class KernelCamera:
    """Its memory is a file, so that it can be mapped; `coming` are shots, or errors that the kernel answers."""

    path: Path
    formats: tuple[str, ...] = ("YUYV", "GREY")
    size: tuple[int, int] = (8, 4)
    row_bytes: int = 0
    rate: tuple[int, int] = (1, 25)
    rates: bool = True
    capabilities: int = 0x0420_0001
    coming: deque[Shot | OSError] = field(default_factory=deque)
    refuses: dict[int, int] = field(default_factory=dict)
    fixed_size: bool = False
    most_buffers: int = 4
    exposure: int = 100
    changes: Callable[[abi.Buffer], None] = lambda _buffer: None
    calls: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.format = self.formats[0]
        self.queued: deque[int] = deque()
        self.is_on = False
        self.buffers = 0
        self.path.write_bytes(bytes(PAGE * 64))

    def __call__(self, fd: int, request: int, about: Any) -> int:
        self.calls.append(request)
        if request in self.refuses:
            raise fault(self.refuses[request])
        self._answers[request](self, about)
        return 0

    def _capability(self, about: abi.Capability) -> None:
        about.card, about.capabilities = b"A camera of tests", self.capabilities

    def _description(self, about: abi.FormatDescription) -> None:
        if about.index >= len(self.formats):
            raise fault(errno.EINVAL)
        about.pixelformat = abi.code_of(self.formats[about.index])

    def _get_format(self, about: abi.Format) -> None:
        bytes_ = {"YUYV": 2, "UYVY": 2, "Y16": 2, "RGB3": 3, "BGR3": 3}.get(self.format, 1)
        about.pixelformat = abi.code_of(self.format.removesuffix("-BE")) | (0x8000_0000 if "-BE" in self.format else 0)
        about.width, about.height = self.size
        about.bytesperline = self.row_bytes or self.size[0] * bytes_
        about.sizeimage = about.bytesperline * self.size[1]

    def _set_format(self, about: abi.Format) -> None:
        """The nearest, without a word."""
        if (asked := abi.name_of(about.pixelformat)) in self.formats:
            self.format = asked
        if not self.fixed_size:
            self.size = (about.width, about.height)
        self._get_format(about)

    def _rate(self, about: abi.StreamParameters) -> None:
        about.capability = 0x1000 if self.rates else 0
        about.numerator, about.denominator = self.rate

    def _request(self, about: abi.RequestBuffers) -> None:
        about.count = self.buffers = min(about.count, self.most_buffers)
        self.queued.clear()

    def _query(self, about: abi.Buffer) -> None:
        about.offset, about.length = PAGE * about.index, PAGE

    def _queue(self, about: abi.Buffer) -> None:
        self.queued.append(about.index)

    def _dequeue(self, about: abi.Buffer) -> None:
        if not self.coming:
            raise fault(errno.EAGAIN)
        shot = self.coming.popleft()
        if isinstance(shot, OSError):
            raise shot
        about.index = self.queued.popleft()
        about.bytesused, about.flags, about.sequence, about.seconds = (
            len(shot.data),
            shot.flags,
            shot.number,
            shot.seconds,
        )
        with self.path.open("r+b") as file:
            file.seek(PAGE * about.index)
            file.write(shot.data)
        self.changes(about)

    def _on(self, _about: Any) -> None:
        self.is_on = True

    def _off(self, _about: Any) -> None:
        self.is_on = False

    def _control(self, about: abi.ControlQuery) -> None:
        controls = [
            (0x0098_0001, 6, b"User Controls", 0, 0, 0),
            (0x009A_0902, 1, b"Exposure Time, Absolute", 1, 500, 0),
            (0x009A_0910, 1, b"Temperature", 0, 100, 0x4),
            (0x009A_0911, 4, b"Reset", 0, 0, 0x40),
        ]
        after = [one for one in controls if one[0] > about.id & 0x7FFF_FFFF]
        if not after:
            raise fault(errno.EINVAL)
        about.id, about.type, about.name, about.minimum, about.maximum, about.flags = after[0]

    def _set_control(self, about: abi.Control) -> None:
        if about.id == 0x009A_0902:
            self.exposure = about.value // 10 * 10  # in steps

    def _get_control(self, about: abi.Control) -> None:
        about.value = self.exposure

    _answers: ClassVar[dict[int, Any]] = {
        abi.QUERYCAP: _capability,
        abi.ENUM_FMT: _description,
        abi.G_FMT: _get_format,
        abi.S_FMT: _set_format,
        abi.G_PARM: _rate,
        abi.S_PARM: _rate,
        abi.REQBUFS: _request,
        abi.QUERYBUF: _query,
        abi.QBUF: _queue,
        abi.DQBUF: _dequeue,
        abi.STREAMON: _on,
        abi.STREAMOFF: _off,
        abi.QUERYCTRL: _control,
        abi.S_CTRL: _set_control,
        abi.G_CTRL: _get_control,
    }
