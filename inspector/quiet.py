"""Giving way to the line: processor time, and the disk, that nobody else wants."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from pathlib import Path

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
"""Number of the system call, which the C library has no function for (linux/include/uapi/asm-generic/unistd.h)."""
_WHO_PROCESS, _IDLE_CLASS, _CLASS_SHIFT = 1, 3, 13
_AUTOGROUP = Path("/proc/self/autogroup")
LAST = 19


def be_quiet(nice: int = LAST) -> None:
    """Give way to all others, in this process and those it starts: `nice` for the processor (19: only what is left over), and
    the disk only when it is idle; on a machine that cannot, as far as it can.
    """
    give_way(nice)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).syscall(number, _WHO_PROCESS, 0, _IDLE_CLASS << _CLASS_SHIFT)


def give_way(nice: int) -> None:
    """Leave processor time to others; one who was told to give way more already stays so."""
    os.nice(max(0, nice - os.nice(0)))
    quiet_session()


def quiet_session() -> None:
    """Give a session of our own the niceness of this process, where Linux shares the cores out between sessions first: there
    niceness alone counts only among processes of one session (sched(7), "The autogroup feature").
    """
    if os.name == "posix" and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text(str(os.nice(0)), "ascii")
