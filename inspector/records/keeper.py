"""Looks after the journal's segments in the background: makes the next ones ahead, flushes, closes full ones."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from inspector.records.segment import SegmentWriter

# Two: the second is there while the first one's successor is made, so that an append meets no disk but for a rename.
SPARES = 2

_log = logging.getLogger(__name__)


class SegmentKeeper:
    """Owns the thread beside a journal's appends. `begin` and `succeed` are called under the journal's lock."""

    def __init__(self, directory: Path, segment_bytes: int, sync_interval_s: float) -> None:
        """Removes what an earlier run prepared and did not come to use. OSError."""
        self.failures = 0
        self.unsynced = False
        self.made_late = 0
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._sync_interval_s = sync_interval_s
        self._active: SegmentWriter | None = None
        self._retired: list[SegmentWriter] = []
        self._spares: deque[SegmentWriter] = deque()
        self._error: OSError | None = None
        self._closing = False
        self._spare_lock = threading.Lock()
        # Held while a segment is flushed or closed, never by an append.
        self._disk_lock = threading.Lock()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-keeper", daemon=True)
        self._names = itertools.count(1)
        for leftover in directory.glob("next-*.tmp"):
            leftover.unlink(missing_ok=True)

    @property
    def spare_bytes(self) -> int:
        """Disk space of the segments made ahead."""
        return len(self._spares) * self._segment_bytes

    def begin(self, active: SegmentWriter) -> None:
        """Look after `active` from now on."""
        self._active = active
        self._thread.start()

    def take(self) -> SegmentWriter:
        """A segment made ahead; if there is none, one made now and counted. OSError, at once while the disk is full."""
        with self._spare_lock:
            if self._spares:
                return self._spares.popleft()
            error = self._error
        if error is not None:
            self._wake.set()
            raise error
        try:
            segment = self._create()
        except OSError as failure:
            self._error = failure
            raise
        # A journal's first segment is always made here, before there is an active one.
        self.made_late += self._active is not None
        return segment

    def succeed(self, active: SegmentWriter) -> None:
        """`active` takes the place of the one before, which is closed in the background."""
        if self._active is not None:
            self._retired.append(self._active)
        self._active = active
        self._wake.set()

    def flush(self) -> None:
        """Everything written so far is on the disk when this returns. OSError."""
        self._seal_retired()
        self._sync()

    def close(self) -> None:
        """Flush and close everything."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._seal_retired()
        self._try(self._sync)
        if self._active is not None:
            self._active.close()
        while self._spares:
            self._try(self._spares.popleft().discard)

    def _run(self) -> None:
        told = 0
        while not self._closing:
            # Before anything else that may wait for the disk.
            self._prepare_spares()
            if self.made_late > told:
                told = self.made_late
                _log.warning(
                    "journal %s: segments made while a verdict waited: %d: the disk is too slow for this line",
                    self._directory,
                    told,
                )
            self._seal_retired()
            self._try(self._sync)
            self._wake.wait(self._sync_interval_s)
            self._wake.clear()

    def _create(self) -> SegmentWriter:
        # A name of its own each time: the one before may be taken and not yet renamed, and must not be touched any more.
        return SegmentWriter.create(self._directory / f"next-{next(self._names)}.tmp", self._segment_bytes)

    def _prepare_spares(self) -> None:
        while len(self._spares) < SPARES and not self._closing:
            try:
                spare = self._create()
            except OSError as error:
                if self._error is None:
                    _log.error("journal %s: no next segment: %s: free some disk space", self._directory, error.strerror)
                self._error = error
                return
            with self._spare_lock:
                self._spares.append(spare)
                self._error = None

    def _seal_retired(self) -> None:
        with self._disk_lock:
            while self._retired:
                self._try(self._retired.pop(0).seal)

    def _sync(self) -> None:
        with self._disk_lock:
            if self.unsynced and self._active is not None:
                self.unsynced = False
                self._active.sync()

    def _try(self, action: Callable[[], object]) -> None:
        """Upkeep goes on after a disk error; the count and the log tell of it."""
        try:
            action()
        except OSError as error:
            self.failures += 1
            _log.error("journal %s: %s: check the disk", self._directory, error)
