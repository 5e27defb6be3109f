"""Carries the journal into the quality database, in a thread of its own: late if it must, never lost, never twice."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import islice

from inspector.errors import JournalError, RecordRejected, RecordsError
from inspector.records.entries import Entry, Position, Settled
from inspector.records.journal import Journal
from inspector.records.store import Store

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_log = logging.getLogger(__name__)

Batch = list[tuple[Position, Entry]]


class Forwarder:
    """Applies a journal to a store until `stop`. The position is kept in the store, with what was applied."""

    def __init__(
        self,
        journal: Journal,
        open_store: Callable[[], Store],
        line: str,
        *,
        batch_entries: int = 500,
        interval_s: float = 0.2,
    ) -> None:
        """Every `interval_s` seconds, or at once while there is more, up to `batch_entries` entries are stored.

        `open_store` is called in the forwarder's thread, also if the database is not there yet.
        """
        self._journal = journal
        self._open_store = open_store
        self._line = line
        self._batch_entries = batch_entries
        self._interval_s = interval_s
        self._wake = threading.Event()
        self._stop_at: float | None = None
        self._position: Position | None = None
        self._oldest_waiting: float | None = None
        self._stored_sequence = 0
        self._error = ""
        self._rejected = 0
        self._conflicting = 0
        self._idle = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)
        self._thread.start()

    @property
    def lag(self) -> int:
        """Verdicts in the journal that are not in the database yet."""
        return max(0, self._journal.next_sequence - 1 - self._stored_sequence)

    @property
    def lag_s(self) -> float:
        """Seconds since when there has been something to store; 0 if everything is stored."""
        oldest = self._oldest_waiting
        return 0.0 if oldest is None else time.monotonic() - oldest

    @property
    def error(self) -> str:
        """Why nothing can be stored at the moment, or an empty string."""
        return self._error

    @property
    def rejected(self) -> int:
        """Entries that the database refused, each logged and passed over."""
        return self._rejected

    @property
    def conflicting(self) -> int:
        """Verdicts whose number was on record with another content."""
        return self._conflicting

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until all that is now in the journal is stored; False if that takes longer."""
        end = self._journal.end
        self._wake.set()
        with self._idle:
            return self._idle.wait_for(lambda: self._position is not None and self._position >= end, timeout_s)

    def stop(self, drain_s: float) -> bool:
        """Store what is left for up to `drain_s` seconds; True if all of it was. The rest stays in the journal."""
        end = self._journal.end
        self._stop_at = time.monotonic() + drain_s
        self._wake.set()
        self._thread.join(drain_s + _LONGEST_PAUSE_S)
        return self._position is not None and (self._position >= end or self._nothing_after(self._position))

    def _nothing_after(self, position: Position) -> bool:
        """No position lies behind the head of a segment that nothing was written to yet."""
        try:
            return next(self._journal.read(position), None) is None
        except JournalError:
            return False

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._is_over():
            try:
                self._forward()
            except RecordsError as error:
                self._failed(error, pause_s)
            except Exception as error:  # noqa: BLE001 - the edge of the worker: later verdicts must still be stored
                _log.exception("forwarder failed")
                self._failed(error, pause_s)
            else:
                return
            self._wake.wait(pause_s)
            self._wake.clear()
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _is_over(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def _failed(self, error: Exception, pause_s: float) -> None:
        text = str(error) or type(error).__name__
        level = logging.DEBUG if text == self._error else logging.WARNING
        _log.log(level, "records wait in the journal, next try in %.1f s: %s", pause_s, text)
        self._error = text
        self._oldest_waiting = self._oldest_waiting or time.monotonic()

    def _forward(self) -> None:
        """Store until told to stop. Any error ends it; the next call begins where the database stands.

        A store is opened anew each time: what it remembers of the database may not be true of a restored one.
        """
        store = self._open_store()
        try:
            store.check_schema()
            position = self._start(store)
            while True:
                # Asked before reading: what was noted before the stop, while the last batch was stored, is read too.
                last = self._stop_at is not None
                entries = self._journal.read(position)
                while (batch := list(islice(entries, self._batch_entries))) and not self._is_over():
                    self._oldest_waiting = self._oldest_waiting or time.monotonic()
                    self._store(store, batch)
                    position = self._stored_to(batch)
                self._caught_up(position)
                if last or self._is_over():
                    return
                self._wake.wait(self._interval_s)
                self._wake.clear()
        finally:
            store.close()

    def _start(self, store: Store) -> Position:
        """Where the database stands in this journal; its beginning if the database knows another one."""
        position = store.position(self._line)
        self._stored_sequence = store.last_sequence(self._line)
        if position is not None and self._journal.holds(position):
            return position
        if position is not None:
            _log.warning(
                "%s was last fed from journal %s, segment %d, which is not here: storing all that this journal holds",
                store.name,
                position.journal,
                position.segment,
            )
        return self._journal.start

    def _store(self, store: Store, batch: Batch) -> None:
        position = batch[-1][0]
        try:
            applied = store.apply(self._line, [entry for _, entry in batch], position)
        except RecordRejected as error:
            if len(batch) == 1:
                self._rejected += 1
                _log.error("entry at %s is not stored: %s: %s", position, error, batch[0][1])
                store.apply(self._line, [], position)
                return
            # One bad value must not hold up the others.
            for one in batch:
                self._store(store, [one])
            return
        self._conflicting += applied.conflicting

    def _stored_to(self, batch: Batch) -> Position:
        settled = [entry.inspection.sequence for _, entry in batch if isinstance(entry, Settled)]
        self._stored_sequence = max([self._stored_sequence, *settled])
        position = batch[-1][0]
        self._journal.discard_before(position)
        self._error = ""
        return position

    def _caught_up(self, position: Position) -> None:
        self._error = ""
        with self._idle:
            self._position = position
            self._idle.notify_all()
        self._oldest_waiting = None
