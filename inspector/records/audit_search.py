"""Finds entries of an audit log, newest first, without reading all of it; whether the log is whole says `AuditLog.verify`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inspector.errors import AuditError
from inspector.records.audit import AuditEntry

BLOCK_BYTES = 1 << 18
MAX_LINE_BYTES = 1 << 17


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries to find; empty fields leave everything in. Texts match any part, whatever the case.

    `text` is looked for in actor, action, subject and details; `subjects` are exact, any of them. `before` leaves out entries
    from that number on, for the next page. `since` and `until` are ISO 8601 in UTC, until exclusive.
    """

    actor: str = ""
    action: str = ""
    text: str = ""
    subjects: frozenset[str] = frozenset()
    since: str = ""
    until: str = ""
    before: int = 0

    def takes(self, entry: AuditEntry) -> bool:
        """Whether an entry is meant."""
        if self.before and entry.number >= self.before:
            return False
        if (self.since and entry.time < self.since) or (self.until and entry.time >= self.until):
            return False
        if self.subjects and entry.subject not in self.subjects:
            return False
        if self.actor.casefold() not in entry.actor.casefold() or self.action.casefold() not in entry.action.casefold():
            return False
        if not self.text:
            return True
        details = json.dumps(entry.details, ensure_ascii=False)
        return self.text.casefold() in f"{entry.actor} {entry.action} {entry.subject} {details}".casefold()


def find_entries(
    path: Path, where: AuditFilter, limit: int, over: Callable[[], bool] = lambda: False
) -> tuple[AuditEntry, ...]:
    """Up to `limit` entries, newest first; what is no entry is left out. AuditError if the log cannot be read.

    `over` is asked now and then whether to give up.
    """
    found: list[AuditEntry] = []
    # As they stand in the file, so that lines without any need not be read as JSON.
    needles = tuple(json.dumps(subject).encode() for subject in where.subjects)
    for line in _lines_backwards(path, over):
        if needles and not any(needle in line for needle in needles):
            continue
        entry = _entry(line)
        if entry is None:
            continue
        if where.since and entry.time < where.since:
            break
        if where.takes(entry):
            found.append(entry)
            if len(found) >= limit:
                break
    return tuple(found)


def _lines_backwards(path: Path, over: Callable[[], bool]) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            place = stream.seek(0, os.SEEK_END)
            rest = b""
            while place > 0 and not over():
                size = min(BLOCK_BYTES, place)
                place -= size
                stream.seek(place)
                lines = (stream.read(size) + rest).split(b"\n")
                rest = lines[0][-MAX_LINE_BYTES:]
                yield from reversed(lines[1:])
            if place == 0:
                yield rest
    except FileNotFoundError:
        return
    except OSError as error:
        raise AuditError(f"the audit log {path} cannot be read: {error.strerror}; check permissions") from error


def _entry(line: bytes) -> AuditEntry | None:
    try:
        found = json.loads(line)
        return AuditEntry(**found) if isinstance(found, dict) else None
    except (ValueError, TypeError, RecursionError):
        return None
