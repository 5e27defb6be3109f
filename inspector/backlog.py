"""Verdicts of parts that are not judged, told no faster than a polling PLC reads them.

A camera that lost its connection may skip a thousand triggers at once, and one whose service was held up for seconds sends all
frames of that time at once, most of which are refused. Told within a millisecond these verdicts would overrun the PLC's ring of
64 results, and some would never be read.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence

log = logging.getLogger(__name__)

Tell = Callable[[], object]
"""Tells a verdict; False says that it was told before."""

# Two groups in a row and the verdicts of parts with frames still fit into the ring of 64.
GROUP = 24
PAUSE_S = 0.05
# How long a PLC may take to connect again after the service was started.
RECONNECT_S = 1.0


class Backlog:
    """Tells a few verdicts at once and the rest in groups of at most `GROUP` every `pause_s`, from a thread of its own."""

    def __init__(self, clock: Callable[[], float], pause_s: float = PAUSE_S) -> None:
        self._clock = clock
        self._pause_s = pause_s
        self._waiting: deque[Tell] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._told = 0
        self._window_ends_s = clock()
        self._working = self._closing = False
        self._thread = threading.Thread(target=self._work, name="backlog", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many verdicts wait to be told."""
        return len(self._waiting)

    def tell(self, verdicts: Sequence[Tell], pause_s: float | None = None) -> None:
        """Call each of `verdicts`, in order: here and now if they are few, else soon. `pause_s`: another one after
        this group.

        After `close` they are all called here.
        """
        with self._changed:
            now_s = self._clock()
            if now_s >= self._window_ends_s:
                self._told, self._window_ends_s = 0, now_s + (self._pause_s if pause_s is None else pause_s)
            at_once = 0
            if self._closing:
                at_once = len(verdicts)
            elif not self._waiting and not self._working:
                at_once = min(len(verdicts), GROUP - self._told)
                self._told += at_once
            self._waiting.extend(verdicts[at_once:])
            self._changed.notify_all()
        _call(verdicts[:at_once])

    def close(self, patience_s: float) -> None:
        """Go on telling for up to `patience_s`, then tell what still waits at once, and end the thread."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._working, timeout=patience_s)
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        _call(list(self._waiting))
        self._waiting.clear()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                while not self._closing and (left_s := self._window_ends_s - self._clock()) > 0:
                    self._changed.wait(left_s)
                if self._closing:
                    return
                self._told, self._window_ends_s = 0, self._clock() + self._pause_s
                self._working = True
            self._tell_group()
            with self._changed:
                self._working = False
                self._changed.notify_all()

    def _tell_group(self) -> None:
        """What was told meanwhile, because its deadline came, costs the group nothing."""
        while self._told < GROUP:
            with self._changed:
                if not self._waiting:
                    return
                verdict = self._waiting.popleft()
            self._told += _call([verdict])


class Backlogs:
    """A backlog for each station: each has a ring of its own at the PLC."""

    def __init__(self, stations: Collection[str], clock: Callable[[], float], pause_s: float = PAUSE_S) -> None:
        self._by_station = {station: Backlog(clock, pause_s) for station in stations}

    def waiting(self, station: str) -> int:
        """How many verdicts of a station wait to be told."""
        return self._by_station[station].waiting if station in self._by_station else 0

    def tell(self, station: str, verdicts: Sequence[Tell], pause_s: float | None = None) -> None:
        """Call `verdicts` as `Backlog.tell` does; at once if there is no such station any more, as it has no ring either."""
        if station in self._by_station:
            self._by_station[station].tell(verdicts, pause_s)
        else:
            _call(verdicts)

    def close(self, until_s: float, clock: Callable[[], float]) -> None:
        """Go on telling until then, and tell the rest at once."""
        for backlog in self._by_station.values():
            backlog.close(max(0.0, until_s - clock()))


def _call(verdicts: Sequence[Tell]) -> int:
    """Returns how many were told."""
    told = 0
    for verdict in verdicts:
        try:
            told += verdict() is not False
        except Exception:  # the thread's outermost edge: the next part must have its verdict all the same
            log.exception("a verdict was not told to all who asked for it")
    return told
