"""Giving way to the line: processor time, and the disk, that nobody else wants."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import time
from pathlib import Path

_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
"""Number of the system call, which the C library has no function for (linux/include/uapi/asm-generic/unistd.h)."""
_WHO_PROCESS, _IDLE_CLASS, _CLASS_SHIFT = 1, 3, 13
_AUTOGROUP = Path("/proc/self/autogroup")
_TRIES, _PAUSE_S = 10, 0.15
LAST = 19


def be_quiet(nice: int = LAST) -> None:
    """Give way to all others, in this process and those it starts: `nice` for the processor (19: only what is left over), and
    the disk only when it is idle; on a machine that cannot, as far as it can.

    What is left over is SCHED_IDLE on Linux: a thread of the line that wakes up has the processor at once, where one that is
    merely nice may end its turn of some milliseconds first (sched(7)).
    """
    give_way(nice)
    if nice >= LAST and hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).syscall(number, _WHO_PROCESS, 0, _IDLE_CLASS << _CLASS_SHIFT)


def give_way(nice: int) -> None:
    """Leave processor time to others; one who was told to give way more already stays so."""
    if hasattr(os, "nice"):
        os.nice(max(0, nice - os.nice(0)))
        quiet_session()


def quiet_session() -> None:
    """Give a session of our own the niceness of this process, where Linux shares the cores out between sessions first: there
    niceness alone counts only among processes of one session (sched(7), "The autogroup feature"). A process that others share
    its session with, as at a terminal, leaves that alone.
    """
    if os.name != "posix" or os.getsid(0) != os.getpid():
        return
    for _ in range(_TRIES):
        try:
            _AUTOGROUP.write_text(str(os.nice(0)), "ascii")
        except BlockingIOError:  # the kernel takes one such wish a tenth of a second from all users but root
            time.sleep(_PAUSE_S)
        except OSError:  # no such kernel
            return
        else:
            return
