"""The answers on their way to one camera: written by any thread, read by the stream's own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from inspector.errors import Overloaded
from inspector.part import Inspection


class Outbox:
    """Counts what is owed to a client, holds what it has not read yet, and knows how the stream will end.

    Writing only takes a short lock and never waits: it runs in the thread that gives verdicts. A client that sends frames
    but reads no answers is cut off at `max_unread`; the verdicts themselves went to the PLC and on record like all others.
    """

    def __init__(self, max_unread: int, on_overflow: Callable[[], None]) -> None:
        self._max_unread = max_unread
        self._on_overflow = on_overflow
        self._items: queue.SimpleQueue[Inspection | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._owed = 0
        self._submitting = False
        self._taking = True
        self._ended = False
        self._error: Exception | None = None

    def begin(self) -> bool:
        """A frame is about to be submitted; False if the stream takes no more. `owe` or `forgive` must follow."""
        with self._lock:
            self._submitting = self._taking
            return self._taking

    def reply(self, inspection: Inspection) -> None:
        """One answer, from any thread; it may come before `owe` says that it will."""
        overflows = False
        with self._lock:
            self._owed -= 1
            if self._ended:
                return
            if self._items.qsize() >= self._max_unread:
                self._taking = False
                self._error = Overloaded(
                    f"{self._max_unread} answers wait unread: read the stream while sending; the verdicts are on record"
                )
                self._end()
                overflows = True
            else:
                self._items.put(inspection)
                self._end_if_even()
        if overflows:
            self._on_overflow()

    def owe(self, answers: int) -> None:
        """The frame was taken in: so many answers come of it, its own and those of the triggers that it skipped."""
        with self._lock:
            self._submitting = False
            self._owed += answers
            self._end_if_even()

    def forgive(self) -> None:
        """The frame was refused: no answer to it will come."""
        self.owe(0)

    def finish(self, error: Exception | None = None) -> None:
        """Take no more frames; end, with `error` if there is one, when everything owed has been answered."""
        with self._lock:
            if self._taking:
                self._taking = False
                self._error = error
                self._end_if_even()

    def abandon(self) -> None:
        """The client is gone: end at once and drop what comes."""
        with self._lock:
            self._taking = False
            self._end()

    def __iter__(self) -> Iterator[Inspection]:
        """Answers in the order of their verdicts. Raises the error that the stream ends with."""
        while (inspection := self._items.get()) is not None:
            if isinstance(self._error, Overloaded):
                break
            yield inspection
        if self._error is not None:
            raise self._error

    def _end_if_even(self) -> None:
        if not self._taking and not self._submitting and self._owed <= 0:
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._items.put(None)
