"""Reads back what an earlier run left in a journal directory, and says what of it is damaged."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from inspector.errors import JournalError
from inspector.part import Inspection
from inspector.records.codec import FormatTooNew
from inspector.records.entries import SegmentHeader, Settled
from inspector.records.ledger import RECENT, Ledger
from inspector.records.segment import (
    Damage,
    Record,
    read_header,
    read_segment,
    scan,
    segment_numbers,
    segment_path,
)


@dataclass(slots=True)
class SegmentInfo:
    """A segment on disk. `next_sequence` is the state it began with; None if its header is damaged."""

    number: int
    next_sequence: int | None


@dataclass
class Recovered:
    """What was found. `end` is where the last segment can be continued, or None if it must not be."""

    ledger: Ledger
    recent: deque[Inspection]
    segments: list[SegmentInfo]
    journal: str = ""
    line: str = ""
    ordinal: int = 0
    end: int | None = None
    damage: list[Damage] = field(default_factory=list)


def recover(directory: Path) -> Recovered:
    """State of the journal in `directory` after its last whole entry.

    Decodes from the newest segment backwards only as far as the state and the newest verdicts need it, so that a start
    stays quick with weeks of segments; older damage is told when those segments are read. JournalError.
    """
    try:
        segments = _segments(directory)
        found = Recovered(Ledger(), deque(maxlen=RECENT), segments)
        for index in range(_first_needed(segments), len(segments)):
            _read_into(found, directory, segments[index].number, last=index == len(segments) - 1)
    except FormatTooNew as error:
        raise JournalError(
            f"journal {directory} cannot be used: {error}: let the version that wrote it store what is left in it"
        ) from error
    _check_numbers(found, directory)
    return found


def _segments(directory: Path) -> list[SegmentInfo]:
    infos = []
    for number in segment_numbers(directory):
        header = read_header(segment_path(directory, number))
        infos.append(SegmentInfo(number, header.next_sequence if header else None))
    return infos


def _first_needed(segments: list[SegmentInfo]) -> int:
    """Index of the newest segment with a whole header that has RECENT verdicts after it; 0 if there is none."""
    known = [(index, info.next_sequence) for index, info in enumerate(segments) if info.next_sequence is not None]
    if not known:
        return 0
    newest = known[-1][1]
    assert newest is not None
    enough = [index for index, first in known if first is not None and first <= newest - RECENT]
    return enough[-1] if enough else 0


def _read_into(found: Recovered, directory: Path, number: int, *, last: bool) -> None:
    path = segment_path(directory, number)
    data = read_segment(path)
    end: int | None = 0
    for item in scan(data, path.name):
        if isinstance(item, Damage):
            found.damage.append(item)
            end = None
            continue
        _note(found, item, path.name)
        end = None if end is None else item.end
    if last:
        found.end = end


def _note(found: Recovered, record: Record, file: str) -> None:
    if record.offset == 0 and found.ordinal and record.ordinal != found.ordinal:
        lost = record.ordinal - found.ordinal
        found.damage.append(Damage(file, 0, 0, lost, "entries missing before this segment"))
    found.ordinal = record.ordinal + 1
    entry = record.entry
    if isinstance(entry, SegmentHeader):
        if found.journal and found.ledger.is_ahead_of(entry) and not found.damage:
            found.damage.append(Damage(file, 0, 0, None, "header that contradicts the entries before it"))
        found.journal, found.line = entry.journal, entry.line
        found.ledger.load(entry)
        return
    if isinstance(entry, Settled):
        objection = found.ledger.objection(entry.inspection)
        if objection and not found.damage:
            found.damage.append(Damage(file, record.offset, record.end - record.offset, None, objection))
        found.line = found.line or entry.inspection.line
        found.recent.append(entry.inspection)
    found.ledger.note(entry)


def _check_numbers(found: Recovered, directory: Path) -> None:
    numbers = [info.number for info in found.segments]
    for before, after in itertools.pairwise(numbers):
        if after != before + 1:
            file = segment_path(directory, before + 1).name
            found.damage.append(Damage(file, 0, 0, None, f"{after - before - 1} segment files missing"))


def has_journal(directory: Path) -> bool:
    """Whether an earlier run left a journal in `directory`."""
    return directory.is_dir() and bool(segment_numbers(directory))
