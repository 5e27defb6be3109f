"""The clock that no part escapes: a thread that calls `expire` for every part without a verdict, in time for its deadline."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

TICK_S = 0.25


class Expiring(Protocol):
    """What expires at some time of the monotonic clock, unless it is done before."""

    @property
    def expiry_s(self) -> float: ...

    @property
    def done(self) -> bool: ...


T = TypeVar("T", bound=Expiring)


class Deadlines(Generic[T]):
    """Watches parts until they are done or expire.

    `expire` runs in the watching thread and must not raise: a part without a verdict would be silence, so the thread then ends
    and the heartbeat to the PLC with it. The thread ticks at least every `TICK_S`, so `last_tick_s` tells whether it lives.
    """

    def __init__(self, expire: Callable[[T], None], clock: Callable[[], float]) -> None:
        self._expire = expire
        self._clock = clock
        self._order = itertools.count()
        self._heap: list[tuple[float, int, T]] = []
        self._changed = threading.Condition(threading.Lock())
        self._closing = False
        self.last_tick_s = clock()
        self._asleep_until_s = 0.0
        self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
        self._thread.start()

    def add(self, item: T) -> None:
        """Watch `item`. Wakes the thread only if it would sleep past its expiry: mostly its next tick comes before."""
        with self._changed:
            heapq.heappush(self._heap, (item.expiry_s, next(self._order), item))
            if item.expiry_s < self._asleep_until_s:
                self._changed.notify()

    def close(self) -> None:
        """Stop watching; parts not yet done keep no deadline."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._closing:
                    return
                due = self._due()
                if not due:
                    pause_s = self._pause_s()
                    self._asleep_until_s = self.last_tick_s + pause_s
                    self._changed.wait(pause_s)
            for item in due:
                self._expire(item)

    def _due(self) -> list[T]:
        """Take off the heap what is done or due; return what is due. Caller holds the lock."""
        now_s = self.last_tick_s = self._clock()
        due = []
        while self._heap and (self._heap[0][2].done or self._heap[0][0] <= now_s):
            item = heapq.heappop(self._heap)[2]
            if not item.done:
                due.append(item)
        return due

    def _pause_s(self) -> float:
        if not self._heap:
            return TICK_S
        return min(TICK_S, max(0.0, self._heap[0][0] - self._clock()))
