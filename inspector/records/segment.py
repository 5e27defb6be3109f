"""Segment files of the journal: preallocated, memory-mapped, read back with every damage found and told.

A segment is written front to back and holds zeros after its last entry. A copy into the mapping survives the death of the
process, because the pages belong to the kernel's page cache; `fsync` in the background makes it survive the machine.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inspector.errors import JournalError
from inspector.records.codec import (
    ALIGNMENT,
    MARKER,
    MAX_HEADER_BYTES,
    PREFIX_BYTES,
    CodecError,
    FormatTooNew,
    decode,
    frame,
    frame_bytes,
    unframe,
)
from inspector.records.entries import Entry, SegmentHeader

_ZEROS = bytes(1 << 20)
_NAME = re.compile(r"journal-(\d{10})\.seg")


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a journal that could not be read, or numbers that do not follow each other.

    `entries_lost` is known when whole entries follow; None at the end of a segment. A torn tail after a killed process is
    the one entry that was being copied: nobody was told of it yet.
    """

    file: str
    offset: int
    size_bytes: int
    entries_lost: int | None
    what: str

    def __str__(self) -> str:
        lost = "" if self.entries_lost is None else f", {self.entries_lost} entries lost"
        return f"{self.file}: {self.what} at byte {self.offset}, {self.size_bytes} bytes{lost}"


@dataclass(frozen=True, slots=True)
class Record:
    """One entry and where it lies: bytes `offset` to `end` of its segment."""

    offset: int
    end: int
    ordinal: int
    entry: Entry | SegmentHeader


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"journal-{number:010d}.seg"


def segment_numbers(directory: Path) -> list[int]:
    """Numbers of the segment files in a directory, ascending."""
    matches = (_NAME.fullmatch(name) for name in os.listdir(directory))
    return sorted(int(match[1]) for match in matches if match)


def scan(data: bytes, file: str, base: int = 0) -> Iterator[Record | Damage]:
    """Every entry in `data`, in order, and every stretch between them that is not an entry.

    `data` begins at byte `base` of the file, a multiple of the alignment; offsets are those of the file. After damage the
    next frame with a right checksum is looked for, so that one bad page costs only its own entries. FormatTooNew.
    """
    position, last_ordinal = 0, None
    while position < len(data):
        record = _record_at(data, position, base)
        if record is None:
            record = _next_record(data, position, base)
            yield from _damage(data, file, position, base, record, last_ordinal)
            if record is None:
                return
        elif last_ordinal is not None and record.ordinal != last_ordinal + 1:
            yield Damage(file, record.offset, 0, record.ordinal - last_ordinal - 1, "entries out of order")
        yield record
        position, last_ordinal = record.end - base, record.ordinal


def _damage(
    data: bytes, file: str, position: int, base: int, record: Record | None, last_ordinal: int | None
) -> Iterator[Damage]:
    """What lies between `position` and the next whole entry (None: the end). Zeros up to the end are no damage."""
    if record is not None:
        lost = None if last_ordinal is None else record.ordinal - last_ordinal - 1
        yield Damage(file, base + position, record.offset - base - position, lost, "damaged entries")
        return
    tail = len(data[position:].rstrip(b"\0"))
    if tail:
        yield Damage(file, base + position, tail, None, "torn or damaged end")


def _record_at(data: bytes, position: int, base: int) -> Record | None:
    found = unframe(data, position)
    if found is None:
        return None
    payload, ordinal = found
    try:
        entry = decode(payload)
    except FormatTooNew:
        raise
    except CodecError:
        return None
    return Record(base + position, base + position + frame_bytes(len(payload)), ordinal, entry)


def _next_record(data: bytes, position: int, base: int) -> Record | None:
    while (position := data.find(MARKER, position + 1)) >= 0:
        record = _record_at(data, position, base) if position % ALIGNMENT == 0 else None
        if record is not None:
            return record
    return None


def read_segment(path: Path, start: int = 0, size_bytes: int | None = None) -> bytes:
    """Bytes of a segment from `start`, to its end or `size_bytes` of them; empty if the file is gone. JournalError."""
    try:
        with path.open("rb", buffering=0) as file:
            wanted = max(0, os.fstat(file.fileno()).st_size - start) if size_bytes is None else size_bytes
            return os.pread(file.fileno(), wanted, start)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise JournalError(f"journal segment {path} cannot be read: {error.strerror}: check its permissions") from error


def read_header(path: Path) -> SegmentHeader | None:
    """First entry of a segment, or None if it is damaged or missing. JournalError, FormatTooNew."""
    head = read_segment(path, 0, PREFIX_BYTES)
    if len(head) < PREFIX_BYTES:
        return None
    length = min(int.from_bytes(head[4:8], "little"), MAX_HEADER_BYTES)
    record = _record_at(read_segment(path, 0, PREFIX_BYTES + length), 0, 0)
    return record.entry if record is not None and isinstance(record.entry, SegmentHeader) else None


class SegmentWriter:
    """A segment open for writing. Not thread-safe: the journal's lock guards it."""

    def __init__(self, path: Path, fd: int, size_bytes: int, number: int = 0, end: int = 0) -> None:
        self.path = path
        self.number = number
        self.size_bytes = size_bytes
        self.end = end
        self._fd = fd
        self._map = mmap.mmap(fd, size_bytes)

    @classmethod
    def create(cls, path: Path, size_bytes: int) -> SegmentWriter:
        """A new segment with all its blocks reserved, so that no later write can meet a full disk. OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            os.posix_fallocate(fd, 0, size_bytes)
            # Brings the pages into memory, so that an append does not wait for the filesystem to find them.
            for offset in range(0, size_bytes, len(_ZEROS)):
                os.pwrite(fd, _ZEROS[: size_bytes - offset], offset)
            return cls(path, fd, size_bytes)
        except OSError:
            os.close(fd)
            with contextlib.suppress(OSError):
                path.unlink()
            raise

    @classmethod
    def resume(cls, path: Path, number: int, end: int) -> SegmentWriter:
        """An existing segment, to be continued at `end`. OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            return cls(path, fd, os.fstat(fd).st_size, number, end)
        except OSError:
            os.close(fd)
            raise

    def activate(self, path: Path, number: int) -> None:
        """Take the place of segment `number`. OSError."""
        os.rename(self.path, path)
        self.path, self.number = path, number

    def has_room(self, payload_bytes: int) -> bool:
        return self.end + frame_bytes(payload_bytes) <= self.size_bytes

    def append(self, payload: bytes, payload_crc: int, ordinal: int) -> None:
        """Copy one framed entry into the mapping; the caller has checked the room."""
        data = frame(payload, payload_crc, ordinal)
        self._map[self.end : self.end + len(data)] = data
        self.end += frame_bytes(len(payload))

    def sync(self) -> None:
        """Flush to the disk; releases the interpreter lock, which `mmap.flush` does not. OSError."""
        os.fdatasync(self._fd)

    def seal(self) -> None:
        """Give back the unused rest, flush and close. OSError."""
        try:
            self._map.close()
            os.ftruncate(self._fd, self.end)
            os.fsync(self._fd)
        finally:
            os.close(self._fd)

    def discard(self) -> None:
        """Close and delete. OSError."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close without changing the file's size."""
        self._map.close()
        os.close(self._fd)
