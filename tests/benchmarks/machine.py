"""Whether the machine was busy with something else while something was measured."""

from __future__ import annotations

import os
import time

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
