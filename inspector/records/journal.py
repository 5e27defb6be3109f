"""The local journal: what was admitted and decided, kept through the death of the process before anyone is told.

An append is a copy into a preallocated, memory-mapped segment: no system call, no wait for a disk. Death of the process
loses nothing that was appended; death of the machine loses at most the last `sync_interval_s`. A background thread
flushes, prepares the next segments ahead and closes full ones.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from inspector.errors import JournalError
from inspector.part import Inspection
from inspector.records.codec import ALIGNMENT, CodecError, encode, frame_bytes
from inspector.records.entries import (
    Admission,
    Entry,
    Evidence,
    LateScore,
    Position,
    SegmentHeader,
    Settled,
    StationMark,
    StoredImage,
)
from inspector.records.keeper import SegmentKeeper
from inspector.records.ledger import MAX_UNSETTLED_BYTES, RECENT, JournalState, Ledger
from inspector.records.lockfile import acquire
from inspector.records.recovery import Recovered, SegmentInfo, has_journal, recover
from inspector.records.segment import Damage, SegmentWriter, read_segment, scan, segment_path

# Some 10,000 verdicts: few enough to be read back in well under a second at a start.
DEFAULT_SEGMENT_BYTES = 4 << 20
_MAX_DAMAGE_KEPT = 1000

_log = logging.getLogger(__name__)


class Journal:
    """The journal of one line. Thread-safe; one process at a time. Use `open`."""

    def __init__(self, directory: Path, line: str, lock_fd: int, segment_bytes: int, sync_interval_s: float) -> None:
        self._directory = directory
        self._line = line
        self._lock_fd = lock_fd
        self._segment_bytes = segment_bytes
        self._max_unsettled_bytes = min(MAX_UNSETTLED_BYTES, segment_bytes * 3 // 4)
        self._lock = threading.Lock()
        self._closed = False
        self._take_over(recover(directory))
        self._keeper = SegmentKeeper(directory, segment_bytes, sync_interval_s)

    @classmethod
    def open(
        cls,
        directory: Path,
        line: str,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        sync_interval_s: float = 1.0,
        first_sequence: int = 1,
        stations: Mapping[str, StationMark] | None = None,
    ) -> Journal:
        """Recover the journal in `directory`, or begin one, and own it until `close`.

        `first_sequence` and `stations` are lower bounds for the next numbers, from the quality database: they matter when
        the directory is new or lost its newest entries. JournalError if another process has it, it belongs to another
        line, it cannot be read, or the disk has no room for a segment.
        """
        lock_fd = acquire(directory)
        try:
            journal = cls(directory, line, lock_fd, segment_bytes, sync_interval_s)
            journal._begin(first_sequence, stations or {})
        except BaseException:
            os.close(lock_fd)
            raise
        return journal

    # Recovery

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether an earlier run left a journal in `directory`."""
        return has_journal(directory)

    def _take_over(self, found: Recovered) -> None:
        if found.line and found.line != self._line:
            raise JournalError(
                f"journal {self._directory} belongs to line {found.line}, not {self._line}: "
                "give each line a directory of its own"
            )
        self._found = found
        self._id = found.journal or uuid.uuid4().hex
        self._ledger: Ledger = found.ledger
        self._ordinal = found.ordinal
        self._segments: list[SegmentInfo] = found.segments
        self.damage: list[Damage] = found.damage
        for damage in found.damage:
            _log.error("journal damage: %s", damage)

    def _begin(self, first_sequence: int, stations: Mapping[str, StationMark]) -> None:
        raised = self._ledger.raise_to(first_sequence, stations)
        self.state: JournalState = self._ledger.state(self._found.recent)
        try:
            self._active = (None if raised else self._resume()) or self._next_segment()
        except OSError as error:
            raise JournalError(
                f"journal {self._directory} cannot get a segment of {self._segment_bytes >> 10} KiB: {error.strerror}: "
                "free some disk space or choose another directory"
            ) from error
        del self._found
        self._keeper.begin(self._active)

    def _resume(self) -> SegmentWriter | None:
        """The last segment, if it is whole and has its full size; a damaged one is left as it is, as evidence."""
        if not self._found.end:
            return None
        number = self._segments[-1].number
        path = segment_path(self._directory, number)
        if path.stat().st_size != self._segment_bytes:
            return None
        return SegmentWriter.resume(path, number, self._found.end)

    # Appending

    def admit(self, admission: Admission) -> None:
        """Take responsibility for a part. JournalError if it is in flight already, too many are, or it cannot be written."""
        payload = _encoded(admission)
        crc = zlib.crc32(payload)
        with self._lock:
            if (admission.station, admission.trigger) in self._ledger.unsettled:
                raise JournalError(f"trigger {admission.trigger} of station {admission.station} is already in flight")
            if self._ledger.unsettled_bytes + len(payload) > self._max_unsettled_bytes:
                raise JournalError(
                    f"{len(self._ledger.unsettled)} parts are in flight, as many as the journal can carry from one segment "
                    "to the next: set a smaller max_in_flight or max_gap"
                )
            self._append(payload, crc)
            self._ledger.note(admission)

    def settle(self, inspection: Inspection, *, evidence_expected: bool = False) -> None:
        """Write a verdict, before anyone is told. Sequence numbers must follow each other, here and per station.

        `evidence_expected` promises a later call of `evidence` for it. JournalError if it cannot be written; nothing is
        then counted.
        """
        entry = Settled(inspection, evidence_expected)
        if inspection.line != self._line:
            raise JournalError(f"a verdict of line {inspection.line} does not belong in the journal of {self._line}")
        payload = _encoded(entry)
        crc = zlib.crc32(payload)
        with self._lock:
            objection = self._ledger.objection(inspection)
            if objection:
                raise JournalError(f"journal of line {self._line}: {objection}: take the numbers from one counter")
            self._append(payload, crc)
            self._ledger.note(entry)

    def evidence(self, sequence: int, images: Sequence[StoredImage], *, late_view: int = 0) -> None:
        """Write which pictures a settled inspection has; see `Evidence` for `late_view`. JournalError."""
        self._note_after(sequence, Evidence(sequence, tuple(images), datetime.now(UTC), late_view))

    def late_score(self, sequence: int, score: float) -> None:
        """Write the score of an inspection that was settled without it. JournalError."""
        self._note_after(sequence, LateScore(sequence, score))

    def _note_after(self, sequence: int, entry: Evidence | LateScore) -> None:
        payload = _encoded(entry)
        crc = zlib.crc32(payload)
        with self._lock:
            if sequence >= self._ledger.next_sequence:
                raise JournalError(f"verdict {sequence} is not settled, so nothing can be added to it")
            self._append(payload, crc)
            self._ledger.note(entry)

    def _append(self, payload: bytes, crc: int) -> None:
        if self._closed:
            raise JournalError(f"journal {self._directory} is closed")
        if not self._active.has_room(len(payload)):
            self._roll(len(payload))
        self._active.append(payload, crc, self._ordinal)
        self._ordinal += 1
        self._keeper.unsynced = True

    def _roll(self, payload_bytes: int) -> None:
        """Go on in the next segment, which the keeper has normally prepared. JournalError."""
        try:
            successor = self._next_segment(payload_bytes)
        except OSError as error:
            raise JournalError(
                f"journal {self._directory} is full: no next segment: {error.strerror or error}: free some disk space"
            ) from error
        self._active = successor
        self._keeper.succeed(successor)

    def _next_segment(self, payload_bytes: int = 0) -> SegmentWriter:
        """A segment with its header written and room for an entry, in its place. JournalError before one is taken, OSError."""
        number = self._segments[-1].number + 1 if self._segments else 1
        header = _encoded(self._ledger.header(self._id, self._line, number))
        if frame_bytes(len(header)) + frame_bytes(payload_bytes) > self._segment_bytes:
            raise JournalError(
                f"an entry of {payload_bytes} bytes beside a state of {len(header)} bytes does not fit into a segment of "
                f"{self._segment_bytes} bytes: set a larger segment size"
            )
        segment = self._keeper.take()
        try:
            segment.activate(segment_path(self._directory, number), number)
        except OSError:
            with contextlib.suppress(OSError):
                segment.discard()
            raise
        segment.append(header, zlib.crc32(header), self._ordinal)
        self._ordinal += 1
        self._segments.append(SegmentInfo(number, self._ledger.next_sequence))
        return segment

    # Reading

    @property
    def sync_failures(self) -> int:
        """How often the disk failed in the background."""
        return self._keeper.failures

    @property
    def late_segments(self) -> int:
        """How often an append had to make a segment itself, because none was ready."""
        return self._keeper.made_late

    @property
    def id(self) -> str:
        """Identity of this journal; a new directory gets a new one."""
        return self._id

    @property
    def start(self) -> Position:
        """Before the oldest entry still kept."""
        with self._lock:
            return Position(self._id, self._segments[0].number, 0)

    @property
    def end(self) -> Position:
        """After the newest entry."""
        with self._lock:
            return Position(self._id, self._active.number, self._active.end)

    @property
    def next_sequence(self) -> int:
        """The sequence number that the next verdict must have."""
        with self._lock:
            return self._ledger.next_sequence

    @property
    def size_bytes(self) -> int:
        """Disk space of the segments, the prepared ones included."""
        with self._lock:
            files = [segment_path(self._directory, s.number) for s in self._segments]
        total = self._keeper.spare_bytes
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                total += file.stat().st_size
        return total

    def holds(self, position: Position) -> bool:
        """Whether reading can go on from `position`: it is of this journal, and nothing after it was discarded."""
        return self.start <= position <= self.end

    def read(self, position: Position | None = None) -> Iterator[tuple[Position, Entry]]:
        """Entries after `position` up to now, each with the position behind it.

        From the oldest entry kept if `position` is None or not of this journal (see `holds`). Damage on the way is added
        to `damage` and logged. JournalError.
        """
        at = position if position is not None and self.holds(position) else self.start
        number, offset = at.segment, at.offset & -ALIGNMENT
        while True:
            with self._lock:
                is_active = number == self._active.number
                limit = self._active.end if is_active else None
                later = [s.number for s in self._segments if s.number > number]
            size = None if limit is None else limit - offset
            path = segment_path(self._directory, number)
            for item in scan(read_segment(path, offset, size), path.name, offset):
                if isinstance(item, Damage):
                    self._tell(item)
                elif not isinstance(item.entry, SegmentHeader):
                    yield Position(self._id, number, item.end), item.entry
            if is_active or not later:
                return
            number, offset = later[0], 0

    def replay(self, after_sequence: int) -> Iterator[Inspection]:
        """Verdicts after `after_sequence` that are still kept, oldest first. JournalError."""
        with self._lock:
            known = [s for s in self._segments if s.next_sequence is not None and s.next_sequence <= after_sequence + 1]
            number = known[-1].number if known else self._segments[0].number
        for _, entry in self.read(Position(self._id, number, 0)):
            if isinstance(entry, Settled) and entry.inspection.sequence > after_sequence:
                yield entry.inspection

    def _tell(self, damage: Damage) -> None:
        with self._lock:
            if damage in self.damage or len(self.damage) >= _MAX_DAMAGE_KEPT:
                return
            self.damage.append(damage)
        _log.error("journal damage: %s", damage)

    # Upkeep

    def discard_before(self, position: Position) -> int:
        """Delete segments that lie wholly before `position`; returns how many.

        Those that hold any of the newest 4096 verdicts stay, so that a restart knows them for repeated triggers.
        """
        if not self.holds(position):
            return 0
        with self._lock:
            oldest_kept = self._ledger.next_sequence - RECENT
            count = 0
            while self._segments[count].number < position.segment:
                later = (s.next_sequence for s in self._segments[count + 1 :])
                if next(first for first in later if first is not None) > oldest_kept:
                    break
                count += 1
            dropped, self._segments = self._segments[:count], self._segments[count:]
        for info in dropped:
            with contextlib.suppress(FileNotFoundError):
                segment_path(self._directory, info.number).unlink()
        return len(dropped)

    def flush(self) -> None:
        """Wait until everything appended so far is on the disk. JournalError."""
        try:
            self._keeper.flush()
        except OSError as error:
            raise JournalError(
                f"journal {self._directory} cannot be flushed: {error.strerror}: check the disk"
            ) from error

    def close(self) -> None:
        """Flush, and let another process have the journal. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._keeper.close()
        os.close(self._lock_fd)


def _encoded(entry: Entry | SegmentHeader) -> bytes:
    try:
        return encode(entry)
    except CodecError as error:
        raise JournalError(str(error)) from error
