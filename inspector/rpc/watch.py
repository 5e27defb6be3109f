"""Following the verdicts of the line: past ones from the database and the journal, then live, none missed and none twice.

Verdicts are numbered without gaps, and that is what every step is checked by: what has the next number is delivered, what has
an earlier one is dropped, and a later one means that something lies between, which journal or database then tell.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Generator, Iterator

from inspector.errors import JournalError, ServiceStopping
from inspector.part import Inspection, Verdict
from inspector.rpc.ports import Inspector, Records

log = logging.getLogger(__name__)

PAGE = 500


class Feed:
    """What one watcher has been told live and has not taken yet; bounded, so that a slow one costs nobody anything."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._items: queue.SimpleQueue[Inspection | None] = queue.SimpleQueue()
        self._missed = threading.Event()
        self._closed = threading.Event()

    def tell(self, inspection: Inspection) -> None:
        """Called with every verdict, in the thread that gives it."""
        if self._items.qsize() < self._max_waiting:
            self._items.put(inspection)
        else:
            self._missed.set()

    def close(self) -> None:
        """End the watch; may be called from any thread."""
        self._closed.set()
        self._items.put(None)

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def next(self) -> Inspection | None:
        """The next live verdict; None if the feed was closed, or if verdicts were left out since the last call."""
        if self._missed.is_set() and self._items.empty():
            self._missed.clear()
            return None
        return self._items.get()


class Watch:
    """One watcher's way through the verdicts. `cursor` is the number that it stands at; None is "from now on"."""

    def __init__(
        self,
        inspector: Inspector,
        records: Records,
        feed: Feed,
        verdicts: frozenset[Verdict],
        cursor: int | None,
    ) -> None:
        self._inspector = inspector
        self._records = records
        self._feed = feed
        self._verdicts = verdicts
        self._cursor = cursor

    def __iter__(self) -> Iterator[Inspection]:
        """Until the feed is closed. The feed must already be told live verdicts. Raises StoreUnavailable."""
        yield from self._catch_up()
        while not self._feed.closed:
            inspection = self._feed.next()
            if inspection is None:
                yield from self._catch_up()
                continue
            if self._cursor is not None and inspection.sequence > self._cursor + 1:
                yield from self._catch_up()
            yield from self._deliver(inspection)

    def _deliver(self, inspection: Inspection) -> Iterator[Inspection]:
        if self._cursor is not None and inspection.sequence <= self._cursor:
            return
        self._cursor = inspection.sequence
        if not self._verdicts or inspection.verdict in self._verdicts:
            yield inspection

    def _catch_up(self) -> Iterator[Inspection]:
        """Everything after the cursor that journal or database have."""
        while self._cursor is not None and not self._feed.closed:
            before = self._cursor
            hole, failure = None, None
            try:
                hole = yield from self._journalled()
                if hole is None:
                    return
            except JournalError as error:  # its files are discarded once they are stored, also while they are read
                failure = error
            if (yield from self._stored()) or self._cursor > before:
                continue
            if failure is not None:
                raise failure
            if not hole:
                return
            # The database was asked after the journal, so what lies between was not merely on its way from one to the other.
            log.warning("verdicts %d to %d are nowhere on record", before + 1, hole - 1)
            self._cursor = hole - 1

    def _journalled(self) -> Generator[Inspection, None, int | None]:
        """What the journal has after the cursor, up to the first hole.

        Returns the number behind the hole, 0 if the journal does not reach the cursor at all, None if there was no hole.
        """
        assert self._cursor is not None
        reaches = False
        # From the cursor's own verdict on: if the journal has it, then nothing lies between.
        for inspection in self._inspector.replay(max(self._cursor - 1, 0)):
            if inspection.sequence > self._cursor + 1:
                return inspection.sequence
            reaches = True
            yield from self._deliver(inspection)
        return None if reaches else 0

    def _stored(self) -> Generator[Inspection, None, bool]:
        """What the database has after the cursor; False if that is nothing."""
        assert self._cursor is not None
        line = self._inspector.line
        # Asked first: all verdicts up to here are stored, also those that the filter leaves out of the pages.
        head = self._records.last_sequence(line)
        if head <= self._cursor:
            return False
        place = self._cursor
        while not self._feed.closed:
            page = self._records.after(line, place, PAGE, self._verdicts)
            for stored in page:
                yield from self._deliver(stored.inspection)
            if len(page) < PAGE:
                self._cursor = max(self._cursor, head)
                break
            place = page[-1].inspection.sequence
        return True


class Watchers:
    """Serves the `WatchInspections` call and knows the watchers that are there."""

    def __init__(self, inspector: Inspector, records: Records, max_waiting: int) -> None:
        self._inspector = inspector
        self._records = records
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._feeds: set[Feed] = set()
        self._stopping = False

    def serve(
        self,
        verdicts: frozenset[Verdict],
        after: int | None,
        on_gone: Callable[[Callable[[], None]], bool],
        on_watching: Callable[[], None],
    ) -> Iterator[Inspection]:
        """Verdicts until the watcher is gone. `on_gone` takes what to call then, `on_watching` is called when none is missed.

        Raises ServiceStopping at the stop.
        """
        feed = Feed(self._max_waiting)
        with self._lock:
            if self._stopping:
                raise ServiceStopping("the service is being stopped: watch again later, after the last sequence number")
            self._feeds.add(feed)
        unsubscribe = self._inspector.subscribe(feed.tell)
        try:
            if on_gone(feed.close):
                on_watching()
                yield from Watch(self._inspector, self._records, feed, verdicts, after)
        finally:
            unsubscribe()
            with self._lock:
                self._feeds.discard(feed)
        if self._stopping:
            raise ServiceStopping("the service is being stopped: watch again later, after the last sequence number")

    def stop(self) -> None:
        """End every watch."""
        with self._lock:
            self._stopping = True
            feeds = list(self._feeds)
        for feed in feeds:
            feed.close()
