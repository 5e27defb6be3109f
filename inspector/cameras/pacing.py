"""Ticks at a fixed rate that do not drift: each is due at start + n / rate, however late the one before it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

# A tick later than this share of the period is reported: the parts no longer come evenly.
LATE_SHARE = 0.1


class Pacer:
    """Counts what was late. `wait` sleeps for that many seconds and returns True to end the ticking."""

    def __init__(
        self, rate_hz: float, wait: Callable[[float], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._period_s = 1 / rate_hz
        self._wait = wait
        self._clock = clock
        self.late = 0
        self.worst_late_s = 0.0

    def ticks(self) -> Iterator[int]:
        """0, 1, 2 … each when it is due, or at once if that has passed; no tick is left out."""
        start_s = self._clock()
        number = 0
        while True:
            due_s = start_s + number * self._period_s
            while (left_s := due_s - self._clock()) > 0:
                if self._wait(left_s):
                    return
            if self._wait(0):
                return
            late_s = self._clock() - due_s
            self.late += late_s > LATE_SHARE * self._period_s
            self.worst_late_s = max(self.worst_late_s, late_s)
            yield number
            number += 1
