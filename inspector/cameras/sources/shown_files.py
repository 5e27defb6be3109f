"""Which files of a watched folder were shown, across restarts: a line of JSON for each, in a file beside the program.

Two lines a picture, one before it is sent and one after (or that it was not, when the program was told to end). A program that
died between them finds the first without the second: whether the picture was sent is then not known, and its part is announced
as lost. So no picture is shown twice, and none vanishes. When most lines no longer count the file is written anew without them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from inspector.errors import SourceError

log = logging.getLogger(__name__)

# Pictures remembered; older ones are taken for new if they come again, which a share that keeps more of them must not.
MOST = 200_000
# A picture has two lines. So many more than these are borne before the file is written anew.
_SPARE_LINES = 1000
_BEGUN, _SENT, _NOT_SENT = "begun", "sent", "not sent"
# Instead of a digest, of files that were never read. An empty one: given up before it was whole.
NOT_READ = "not read"


@dataclass(frozen=True, slots=True)
class Look:
    """A file as it was found: its size in bytes, when it was last written (ns), and a digest of its content once read."""

    size: int
    written_ns: int
    digest: str = ""


class ShownFiles:
    """The memory of one watched folder. One program at a time may have it open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        self._by_name: OrderedDict[str, Look] = OrderedDict()
        self._contents: set[Look] = set()
        self._lines = self._rewrite_at = 0

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever written down."""
        return not self.path.exists()

    def open(self) -> list[str]:
        """Read what was shown; returns the files of which it is not known. Raises SourceError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(self._file.fileno()), self.path.stat()):
                raise BlockingIOError  # written anew by another program, just now
        except BlockingIOError as error:
            self.close()
            raise SourceError(
                f"{self.path} is in use by another program that shows the same folder: stop one"
            ) from error
        except OSError as error:
            self.close()
            raise SourceError(
                f"what was shown cannot be remembered in {self.path} ({error.strerror}): name another file as `memory`"
            ) from error
        return self._read()

    def close(self) -> None:
        """Let another program have it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> list[str]:
        assert self._file is not None
        self._by_name.clear()
        self._contents.clear()
        begun: OrderedDict[str, Look] = OrderedDict()
        self._lines, place = 0, 0
        with self.path.open("rb") as lines:
            for self._lines, line in enumerate(lines, 1):
                if line == b"\n":
                    place += 1
                    continue
                is_torn = not line.endswith(b"\n")
                try:
                    name, look, state = _parsed(line)
                except (ValueError, KeyError, TypeError) as error:
                    if is_torn:  # by a crash, and of a picture that was not sent yet
                        self._file.truncate(place)
                        break
                    raise SourceError(
                        f"line {self._lines} of {self.path} is not what this program writes there ({error}): repair it, or "
                        "move the file away to have all pictures of the folder shown again"
                    ) from error
                if is_torn:  # before its very end
                    self._file.write("\n")
                place += len(line)
                begun.pop(name, None)
                if state == _SENT:
                    self._note(name, look)
                elif state == _BEGUN:
                    begun[name] = look
        for name, look in begun.items():
            self._write(name, look, _SENT)
            self._note(name, look)
        self._rewrite_at = _rewrite_at(len(self._by_name))
        self._shorten()
        return list(begun)

    def _note(self, name: str, look: Look) -> None:
        before = self._by_name.pop(name, None)
        if before is not None:
            self._contents.discard(before)
        self._by_name[name] = look
        self._contents.add(look)
        if len(self._by_name) > MOST:
            _, oldest = self._by_name.popitem(last=False)
            self._contents.discard(oldest)

    def is_known(self, name: str, size: int, written_ns: int) -> bool:
        """Whether a file stands there as it did when it was shown; it need not be read then."""
        known = self._by_name.get(name)
        return known is not None and (known.size, known.written_ns) == (size, written_ns)

    def is_again(self, name: str, look: Look) -> bool:
        """Whether a file that was read is one that was shown: touched since, or renamed. It is then known as it is now."""
        before = self._by_name.get(name)
        again = look in self._contents or (before is not None and before.digest == look.digest)
        if again:
            self._write(name, look, _SENT)
            self._note(name, look)
        return again

    def was_given_up(self, name: str) -> bool:
        """Whether the part of a file was announced as lost before it was whole."""
        known = self._by_name.get(name)
        return known is not None and not known.digest

    def begin(self, name: str, look: Look) -> None:
        """Before its part is told of. Raises SourceError if that cannot be written down."""
        self._write(name, look, _BEGUN)

    def undo(self, name: str, look: Look) -> None:
        """Its part was not told of after all: it is shown again."""
        if self._file is not None:
            self._write(name, look, _NOT_SENT)

    def sent(self, name: str, look: Look) -> None:
        """Its part was told of."""
        self._write(name, look, _SENT)
        self._note(name, look)
        self._shorten()

    def _shorten(self) -> None:
        """Write the file anew if it has many more lines than pictures that count; a power cut leaves the old one or the new."""
        self._rewrite_at = max(self._rewrite_at, _rewrite_at(len(self._by_name)))
        if self._lines <= self._rewrite_at:
            return
        path = self.path.resolve()
        passing = path.with_name(f"{path.name}.new")
        try:
            new = passing.open("w", encoding="utf-8")
        except OSError as error:
            self._stays_long(error)
            return
        try:
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.writelines(_line(name, look, _SENT) for name, look in self._by_name.items())
            new.flush()
            os.fsync(new.fileno())
            passing.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.close()
            with contextlib.suppress(OSError):
                passing.unlink()
            self._stays_long(error)
            return
        _sync_folder(path.parent)
        old, self._file = self._file, new
        if old is not None:
            old.close()
        self._lines = len(self._by_name)
        self._rewrite_at = _rewrite_at(self._lines)

    def _stays_long(self, error: OSError) -> None:
        self._rewrite_at = 2 * self._lines
        log.warning(
            "%s has %d lines for %d pictures and cannot be written anew (%s): it grows on, and this is tried again later; "
            "make room there, and let this user write its folder",
            self.path,
            self._lines,
            len(self._by_name),
            error.strerror,
        )

    def _write(self, name: str, look: Look, state: str) -> None:
        assert self._file is not None, "open it first"
        self._lines += 1
        try:
            self._file.write(_line(name, look, state))
            self._file.flush()
            if state == _BEGUN:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise SourceError(
                f"what was shown cannot be remembered in {self.path} ({error.strerror}): make room there; nothing more is "
                "shown until then, so that nothing is shown twice"
            ) from error


def _line(name: str, look: Look, state: str) -> str:
    entry = {"file": name, "size": look.size, "written_ns": look.written_ns, "digest": look.digest, "state": state}
    return json.dumps(entry) + "\n"


def _parsed(line: bytes) -> tuple[str, Look, str]:
    """Raises ValueError, KeyError or TypeError."""
    entry = json.loads(line)
    look = Look(int(entry["size"]), int(entry["written_ns"]), str(entry["digest"]))
    return str(entry["file"]), look, str(entry.get("state"))


def _rewrite_at(pictures: int) -> int:
    return 2 * pictures + _SPARE_LINES


def _sync_folder(folder: Path) -> None:
    """So that a power cut does not bring the old file back, where the file system can promise that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
