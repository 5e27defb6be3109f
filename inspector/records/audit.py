"""The audit log: who did what, appended and never changed. Each entry holds the hash of the one before it.

One JSON object a line: number, time, actor, action, subject, details, previous, hash. `hash` is SHA-256 over the rest of the
object, so that a change, a removal or an insertion breaks the chain from there on. Whoever may write the file can also write
a whole new chain: that shows only against a head (number and hash) noted elsewhere. The service therefore logs the head.

Several processes append; a lock on the file orders them. Every entry is on the disk before `append` returns, so this is
not for the way from frame to verdict: see `inspector/records/auditing.py` for the service.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspector.errors import AuditError

AUDIT_FILE = "audit.jsonl"
MAX_ENTRY_BYTES = 64 << 10
MAX_TEXT = 512
MAX_ITEMS = 64
GENESIS = "0" * 64


class EntryRefused(AuditError):
    """An entry that can never be written; trying again will not help."""


_KEYS = ("number", "time", "actor", "action", "subject", "details", "previous", "hash")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did. `time` is UTC in ISO 8601 with microseconds; `details` is JSON."""

    number: int
    time: str
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of a log; number 0 and zeros for an empty one."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


class AuditLog:
    """The log in one file, made when it is first written."""

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path = path
        self._now = now

    def append(
        self, actor: str, action: str, subject: str = "", details: Mapping[str, Any] | None = None
    ) -> AuditEntry:
        """Add an entry and bring it to the disk. Texts are cut at 512 characters.

        An unfinished last line, as a power cut leaves it, is taken off first, and its length goes on record. Raises AuditError
        if the log cannot be written or its last entry is not one.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise AuditError(f"the audit log {self.path} cannot be opened: {error.strerror}; check the path") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            head, torn_bytes = self._mend(descriptor)
            if torn_bytes:
                details = {**(details or {}), "torn_bytes_before": torn_bytes}
            entry = self._entry(head, actor, action, subject, details or {})
            line = json.dumps(asdict(entry), ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"
            if len(line) > MAX_ENTRY_BYTES:
                raise EntryRefused(f"an audit entry of {len(line)} bytes is too large, the most is {MAX_ENTRY_BYTES}")
            _write_all(descriptor, line)
            os.fsync(descriptor)
            return entry
        except OSError as error:
            raise AuditError(
                f"the audit log {self.path} cannot be written: {error.strerror}; free space on its disk"
            ) from error
        except (TypeError, ValueError) as error:
            raise EntryRefused(f"an audit entry is not plain JSON: {error}") from error
        finally:
            os.close(descriptor)

    def entries(self) -> Iterator[AuditEntry]:
        """Every entry, oldest first, each held against the chain. Raises AuditError at the first that does not fit."""
        head = Head(0, GENESIS)
        try:
            with self.path.open("rb") as stream:
                while line := stream.readline(MAX_ENTRY_BYTES + 1):
                    entry = self._checked(line, head)
                    head = Head(entry.number, entry.hash)
                    yield entry
        except FileNotFoundError:
            return
        except OSError as error:
            raise AuditError(
                f"the audit log {self.path} cannot be read: {error.strerror}; check permissions"
            ) from error

    def verify(self, noted: Head | None = None) -> Head:
        """Check the whole chain; returns its newest entry. Raises AuditError that says where it breaks.

        `noted` is a head that was written down earlier: the log must still hold it, or its end was cut off or replaced.
        """
        head = Head(0, GENESIS)
        met = noted is None or noted.number == 0
        for entry in self.entries():
            head = Head(entry.number, entry.hash)
            met = met or head == noted
        if not met:
            raise AuditError(
                f"the audit log {self.path} no longer holds entry {noted}: it was cut off or written anew since; look for a "
                "copy from that time"
            )
        return head

    def set_aside(self, why: AuditError) -> Path | None:
        """Keep a broken log under another name and begin a new one that says so. Returns that name, None if there was none.

        Raises AuditError if it cannot be renamed.
        """
        aside = self.path.with_name(f"{self.path.stem}.broken-{self._now():%Y%m%dT%H%M%S%f}{self.path.suffix}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuditError(f"the audit log {self.path} cannot be set aside: {error.strerror}; {why}") from error
        self.append("service", "began a new audit log", aside.name, {"why": str(why)})
        return aside

    def _entry(self, head: Head, actor: str, action: str, subject: str, details: Mapping[str, Any]) -> AuditEntry:
        fields: dict[str, Any] = {
            "number": head.number + 1,
            "time": self._now().astimezone(UTC).isoformat(timespec="microseconds"),
            "actor": actor[:MAX_TEXT],
            "action": action[:MAX_TEXT],
            "subject": subject[:MAX_TEXT],
            "details": {key: _cut(value) for key, value in details.items()},
            "previous": head.hash,
        }
        return AuditEntry(**fields, hash=_hash(fields))

    def _mend(self, descriptor: int) -> tuple[Head, int]:
        """The newest whole entry, and how many bytes of an unfinished line behind it were taken off."""
        size = os.fstat(descriptor).st_size
        tail = os.pread(descriptor, 2 * MAX_ENTRY_BYTES, max(0, size - 2 * MAX_ENTRY_BYTES))
        whole = tail[: tail.rfind(b"\n") + 1]
        if size > len(tail) and not whole:
            raise AuditError(f"the audit log {self.path} ends in what is no entry: move it aside and look at it")
        torn_bytes = len(tail) - len(whole)
        if torn_bytes:
            os.ftruncate(descriptor, size - torn_bytes)
        if not whole:
            return Head(0, GENESIS), torn_bytes
        last = _parse(whole[whole.rfind(b"\n", 0, len(whole) - 1) + 1 :])
        if last is None or last.hash != _hash_of(last):
            raise AuditError(
                f"the last entry of the audit log {self.path} was changed: run `inspector audit verify` and keep a copy; "
                "move the file aside to begin a new one"
            )
        return Head(last.number, last.hash), torn_bytes

    def _checked(self, line: bytes, head: Head) -> AuditEntry:
        entry = _parse(line)
        after = f"after entry {head.number}" if head.number else "at its beginning"
        if entry is None:
            what = "an unfinished line" if not line.endswith(b"\n") else "a line that is no entry"
            raise AuditError(f"the audit log {self.path} has {what} {after}: what follows cannot be believed")
        if entry.hash != _hash_of(entry):
            raise AuditError(
                f"entry {entry.number} of the audit log {self.path} was changed: its hash is not that of its content"
            )
        if (entry.number, entry.previous) != (head.number + 1, head.hash):
            raise AuditError(
                f"the audit log {self.path} is broken {after}: entry {entry.number} does not follow it; entries were removed, "
                "inserted or exchanged"
            )
        return entry


def parse_head(text: str) -> Head:
    """A head as it is printed, "number:hash". Raises AuditError."""
    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise AuditError(f'{text!r:.100} is no head of an audit log: give it as printed, "number:hash"')
    return Head(int(number), digest)


def _parse(line: bytes) -> AuditEntry | None:
    """An entry, None if the line is none."""
    if not line.endswith(b"\n"):
        return None
    with contextlib.suppress(ValueError, RecursionError, TypeError):
        found = json.loads(line)
        if isinstance(found, dict) and tuple(found) == _KEYS and isinstance(found["details"], dict):
            texts = (found[key] for key in _KEYS if key not in ("number", "details"))
            if type(found["number"]) is int and all(isinstance(text, str) for text in texts):
                return AuditEntry(**found)
    return None


def _cut(value: Any) -> Any:
    """Long texts from outside are cut, so that every entry can be written; what is nested is kept while it is short."""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, Mapping):
        return {str(key)[:MAX_TEXT]: _cut(one) for key, one in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, list | tuple):
        return [_cut(one) for one in value[:MAX_ITEMS]]
    return value


def _hash_of(entry: AuditEntry) -> str:
    fields = asdict(entry)
    del fields["hash"]
    return _hash(fields)


def _hash(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _write_all(descriptor: int, data: bytes) -> None:
    """All of it, or none: what a full disk let through is taken back."""
    size = os.fstat(descriptor).st_size
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
