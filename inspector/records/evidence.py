"""Keeps the pictures of inspections, behind the signal: in a background thread, within a bound, never in the way."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from inspector.errors import FrameError, ImageStoreError, JournalError
from inspector.part import ImageKind, Reason
from inspector.records.entries import StoredImage
from inspector.records.images import ImageStore
from inspector.records.journal import Journal

Job = tuple[ImageKind, str, Callable[[], tuple[bytes, str]]]
"""A picture's kind, the view that it shows, and how to get its file's bytes and media type."""

LOST_IN_CRASH = "process died before the picture was stored"
LOST_AT_STOP = "service stopped"
LOST_IN_QUEUE = "too many pictures waiting"
LOST_DISK_FULL = "disk full"
LOST_QUOTA = "disk quota used up"
LOST_OVERWRITTEN = "overwritten by the camera program"
LOST_REASONS = (LOST_IN_CRASH, LOST_AT_STOP, LOST_IN_QUEUE, LOST_DISK_FULL, LOST_QUOTA, LOST_OVERWRITTEN)
"""Those known ahead; an error of the disk or of an encoder gives its own words."""

# Beyond the process', as that of the threads that run models: one that waits with the interpreter's lock holds them all up.
NICENESS = 3
# What a waiting job costs beside its pixels; bounds the number of waiting jobs too.
_OVERHEAD_BYTES = 2048
# A journal without room takes no notes either; they wait for it, with the verdicts that the pipeline holds back.
_MAX_UNNOTED = 10_000
_log = logging.getLogger(__name__)


def is_sampled(sequence: int, share: float) -> bool:
    """Whether the picture of a passed part is kept: the same answer for the same number, spread evenly over numbers.

    `share` is 0 to 1. Finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
    """
    x = (sequence * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (x ^ (x >> 31)) < share * 2**64


def lost_image(kind: ImageKind, reason: str, view: str = "") -> StoredImage:
    """A picture that there is no more, and why."""
    return StoredImage(kind, "", "", 0, reason, view)


def record_missing_evidence(journal: Journal) -> int:
    """Write into the journal that pictures owed by the last run were lost; returns for how many inspections. JournalError.

    To be called once after `Journal.open`.
    """
    owed = journal.state.awaiting_evidence
    for sequence in owed:
        journal.evidence(sequence, [lost_image(ImageKind.FRAME, LOST_IN_CRASH)])
    return len(owed)


@dataclass(frozen=True, slots=True)
class _Waiting:
    sequence: int
    size_bytes: int
    jobs: Sequence[Job]
    late_view: int


class EvidenceWriter:
    """Encodes and stores pictures in one background thread of low priority, and notes each in the journal."""

    def __init__(self, images: ImageStore, journal: Journal, max_bytes: int = 256 << 20) -> None:
        self._images = images
        self._journal = journal
        self._max_bytes = max_bytes
        self._queue: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._condition = threading.Condition()
        self._stopping = False
        self._busy = False
        self._stored = 0
        self._lost: Counter[str] = Counter()
        self._note_lock = threading.Lock()
        self._unnoted: deque[tuple[int, Sequence[StoredImage], int]] = deque()
        self._given_up = 0
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)
        self._thread.start()

    @property
    def stored(self) -> int:
        """Pictures stored since the start."""
        return self._stored

    @property
    def lost(self) -> Mapping[str, int]:
        """Pictures lost since the start, by reason."""
        return dict(self._lost)

    @property
    def journal_failures(self) -> int:
        """Inspections whose pictures the journal has not taken: those that wait to be noted, and those given up."""
        return self._given_up + len(self._unnoted)

    @property
    def waiting_bytes(self) -> int:
        """Pixels that wait to be stored."""
        return self._waiting_bytes

    def submit(self, sequence: int, size_hint: int, jobs: Sequence[Job], late_view: int = 0) -> None:
        """Have the pictures of a settled inspection stored. Never blocks, never raises.

        `size_hint` is how many bytes the jobs keep in memory. What finds no room is noted as lost. See `Evidence` for
        `late_view`.
        """
        size = size_hint + _OVERHEAD_BYTES
        with self._condition:
            reason = LOST_AT_STOP if self._stopping else ""
            if not reason and self._waiting_bytes + size > self._max_bytes:
                reason = LOST_IN_QUEUE
            if not reason:
                self._waiting_bytes += size
                self._queue.append(_Waiting(sequence, size, jobs, late_view))
                self._condition.notify()
                return
        self._lose(sequence, jobs, reason, late_view)

    def stop(self, drain_s: float) -> int:
        """Store what waits for up to `drain_s` seconds, note the rest as lost; returns for how many inspections."""
        deadline = time.monotonic() + drain_s
        with self._condition:
            self._stopping = True
            self._condition.notify()
            self._condition.wait_for(lambda: not self._queue, max(0.0, deadline - time.monotonic()))
            left = list(self._queue)
            self._queue.clear()
            self._condition.notify()
        for waiting in left:
            self._lose(waiting.sequence, waiting.jobs, LOST_AT_STOP, waiting.late_view)
        self._thread.join(max(1.0, deadline - time.monotonic()))
        return len(left)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing waits and nothing is being stored; False if that takes longer."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._queue and not self._busy, timeout_s)

    def _run(self) -> None:
        # On Linux a thread has a priority of its own; those that judge and tell go before this one.
        with contextlib.suppress(OSError):  # a service that was made nicer than this may not come back
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        self._measure()
        while (waiting := self._take()) is not None:
            images = [self._store(*job) for job in waiting.jobs]
            self._note(waiting.sequence, images, waiting.late_view)
            self._done(waiting)

    def _measure(self) -> None:
        try:
            self._images.measure()
        except ImageStoreError as error:
            _log.error("%s", error)

    def _take(self) -> _Waiting | None:
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._stopping)
            if not self._queue:
                return None
            self._busy = True
            return self._queue.popleft()

    def _done(self, waiting: _Waiting) -> None:
        with self._condition:
            self._busy = False
            self._waiting_bytes -= waiting.size_bytes
            self._condition.notify_all()

    def _store(self, kind: ImageKind, view: str, job: Callable[[], tuple[bytes, str]]) -> StoredImage:
        try:
            data, media_type = job()
            image = self._images.put(data, kind, media_type)
        except ImageStoreError as error:
            return self._count_lost(kind, view, _reason(error), error)
        except Exception as error:  # noqa: BLE001 - the edge of the worker: one bad picture must not cost the next
            if isinstance(error, FrameError) and error.reason is Reason.FRAME_OVERWRITTEN:
                return self._count_lost(kind, view, LOST_OVERWRITTEN, error)
            _log.exception("picture could not be encoded")
            return self._count_lost(kind, view, f"could not be encoded: {type(error).__name__}", error)
        self._stored += 1
        return replace(image, view=view) if view else image

    def _count_lost(self, kind: ImageKind, view: str, reason: str, error: Exception) -> StoredImage:
        self._lost[reason] += 1
        if self._lost[reason] & (self._lost[reason] - 1) == 0:
            # The first, second, fourth, eighth … of each kind: a full disk must not fill itself with log lines.
            _log.error("%d pictures lost (%s): %s", self._lost[reason], reason, error)
        return lost_image(kind, reason, view)

    def _lose(self, sequence: int, jobs: Sequence[Job], reason: str, late_view: int) -> None:
        with self._condition:
            self._lost[reason] += len(jobs)
        self._note(sequence, [lost_image(kind, reason, view) for kind, view, _ in jobs], late_view)

    def _note(self, sequence: int, images: Sequence[StoredImage], late_view: int) -> None:
        """Write into the journal; what it does not take now is tried again with the next. Touches memory only."""
        with self._note_lock:
            if self._try_note(sequence, images, late_view):
                while self._unnoted and self._try_note(*self._unnoted[0]):
                    self._unnoted.popleft()
                return
            if len(self._unnoted) == _MAX_UNNOTED:
                self._unnoted.popleft()
                self._given_up += 1
            self._unnoted.append((sequence, images, late_view))

    def _try_note(self, sequence: int, images: Sequence[StoredImage], late_view: int) -> bool:
        try:
            self._journal.evidence(sequence, images, late_view=late_view)
        except JournalError as error:
            if not self._unnoted:
                _log.error("pictures of verdict %d wait for the journal: %s", sequence, error)
            return False
        return True


def _reason(error: ImageStoreError) -> str:
    cause = error.__cause__
    if not isinstance(cause, OSError):
        return "could not be stored"
    short = {errno.ENOSPC: LOST_DISK_FULL, errno.EDQUOT: LOST_QUOTA}
    return short.get(cause.errno or 0, f"could not be written: {cause.strerror}")
