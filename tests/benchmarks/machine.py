"""Whether the machine was busy with something else while something was measured."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import psutil


class OthersUse:
    """How much of the machine other programs took: what a reader must know before believing a time.

    A program that is no child of this process, such as PostgreSQL's own server, counts as another.
    """

    def __init__(self) -> None:
        self._begin = self._now()

    def cores(self) -> float:
        """Processor seconds per second since the start, of all processes but this one and its ended children."""
        (begin_s, begin_busy_s, begin_own_s), (end_s, busy_s, own_s) = self._begin, self._now()
        return max(0.0, (busy_s - begin_busy_s) - (own_s - begin_own_s)) / (end_s - begin_s)

    @staticmethod
    def _now() -> tuple[float, float, float]:
        machine, own = psutil.cpu_times(), os.times()
        idle_s = machine.idle + getattr(machine, "iowait", 0.0)
        return time.monotonic(), sum(machine) - idle_s, sum(own[:4])


class Stalls:
    """The moments in which the machine ran nothing of ours at all, as a virtual machine does that must wait for its host.

    A process of its own sleeps for a few milliseconds again and again, ahead of all others if this user may say so
    (SCHED_FIFO, root may), and tells each time that it was woken much too late. Where it may not, it also counts when
    others were in its way.
    """

    def __enter__(self) -> Stalls:
        self._told = tempfile.TemporaryFile("w+")
        command = [sys.executable, "-c", _WATCH, str(_STALL_S)]
        self._process = subprocess.Popen(command, stdout=self._told, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._told.close()

    def seen(self) -> list[tuple[float, float]]:
        """Begin and end of each stall so far (time.perf_counter, s)."""
        self._told.seek(0)
        return [(float(begin), float(end)) for begin, end in (line.split() for line in self._told.readlines())]


@contextlib.contextmanager
def as_another_machine() -> Iterator[bool]:
    """This thread, and the threads and programs that it starts meanwhile, come before all others, as if they ran elsewhere.

    Cameras and PLCs are no programs of the line's machine, and must not wait for its processor. Says whether they do not: root
    may do that. The RPC library's own threads come along.
    """
    python = {thread.native_id for thread in threading.enumerate()} - {threading.get_native_id()}
    ours = [int(name) for name in os.listdir("/proc/self/task") if int(name) not in python]
    try:
        for thread in ours:
            os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(1))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        for thread in ours:
            with contextlib.suppress(OSError):  # it has ended
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


_STALL_S = 0.02
_WATCH = """
import os, sys, time
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
except (AttributeError, OSError):
    pass
before = time.perf_counter()
while True:
    time.sleep(0.004)
    now = time.perf_counter()
    if now - before > float(sys.argv[1]):
        print(before, now, flush=True)
    before = now
"""
