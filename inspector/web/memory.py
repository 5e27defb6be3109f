"""Reminds the live line of what was judged before this program began, and begins its counts anew with every shift."""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime

from inspector.errors import InspectorError
from inspector.part import Verdict
from inspector.records.queries import InspectionFilter
from inspector.records.shift_counts import count_since
from inspector.web.desk import Desk
from inspector.web.live import LAST_REJECTS, STRIP

log = logging.getLogger(__name__)

LOOK_S, RETRY_S = 1.0, 5.0
FIRST_RECOUNT_S, RECOUNT_S = 5.0, 60.0
"""Verdicts from before the line was followed may reach the records a little later: they are counted then."""


class Memory:
    """A thread of its own, from `start` to `close`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._stop = threading.Event()
        self._shift: datetime | None = None
        self._monotonic = time.monotonic
        self._recount_s = 0.0
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stop.wait(wait_s):
            try:
                self._look()
                wait_s = LOOK_S
            except InspectorError as error:
                log.warning("the shift cannot be counted: %s", error)
                wait_s = RETRY_S

    def _look(self) -> None:
        desk = self._desk
        begins = desk.shift_start(desk.clock())
        if begins == self._shift and self._monotonic() < self._recount_s:
            return
        if self._shift is None:
            last = desk.store.list(InspectionFilter(desk.line), STRIP).inspections
            stopped = frozenset({Verdict.REJECT, Verdict.UNKNOWN})
            rejects = desk.store.list(InspectionFilter(desk.line, verdicts=stopped), LAST_REJECTS).inspections
            desk.live.remind([one.inspection for one in last[::-1]], [one.inspection for one in rejects[::-1]])
        counted = count_since(desk.database, desk.line, begins)
        desk.live.seed(begins, counted.upto, counted.by_station)
        self._recount_s = self._monotonic() + (FIRST_RECOUNT_S if self._shift is None else RECOUNT_S)
        self._shift = begins
