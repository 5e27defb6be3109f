"""Tells the log who sends what no client should, without letting him fill it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

MAX_KINDS = 256
TOLD_EVERY_S = 60.0


class Strangers:
    """The first of a kind is told at once, repetitions at most once a minute with their number. Thread-safe."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._told_s: dict[tuple[str, str], float] = {}
        self._untold: dict[tuple[str, str], int] = {}

    def tell(self, who: str, kind: str, what: str) -> None:
        """`who`, an address without its port, sent `what`. A kind of the same sender is told once a minute."""
        key, now_s = (who, kind), self._clock()
        with self._lock:
            told_s = self._told_s.get(key)
            if told_s is not None and now_s - told_s < TOLD_EVERY_S:
                self._untold[key] = self._untold.get(key, 0) + 1
                return
            if len(self._told_s) >= MAX_KINDS:
                self._forget(now_s)
            if len(self._told_s) >= MAX_KINDS:
                return
            self._told_s[key] = now_s
            repeated = self._untold.pop(key, 0)
        more = f" ({repeated} more of these in the meantime)" if repeated else ""
        self._log.warning("%s: %s%s", who, what, more)

    def _forget(self, now_s: float) -> None:
        """Make room by the kinds that were told long ago. Caller holds the lock."""
        for key in [key for key, told_s in self._told_s.items() if now_s - told_s >= TOLD_EVERY_S]:
            del self._told_s[key]
            self._untold.pop(key, None)
