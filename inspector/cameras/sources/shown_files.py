"""Which files of a watched folder were shown, across restarts: a line of JSON for each, in a file beside the program.

Two lines a picture, one before it is sent and one after (or that it was not, when the program was told to end). A program that
died between them finds the first without the second: whether the picture was sent is then not known, and its part is announced
as lost. So no picture is shown twice, and none vanishes.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from inspector.errors import SourceError

# Pictures remembered; older ones are taken for new if they come again, which a share that keeps more of them must not.
MOST = 200_000
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
        self._file.seek(0)
        text = self._file.read()
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                entry = json.loads(line)
                name, look = (
                    str(entry["file"]),
                    Look(int(entry["size"]), int(entry["written_ns"]), str(entry["digest"])),
                )
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):  # torn by a crash, and of a picture that was not sent yet
                    self._file.truncate(len(text.encode()) - len(line.encode()))
                    break
                raise SourceError(
                    f"line {number} of {self.path} is not what this program writes there ({error}): repair it, or move the "
                    "file away to have all pictures of the folder shown again"
                ) from error
            begun.pop(name, None)
            if entry.get("state") == _SENT:
                self._note(name, look)
            elif entry.get("state") == _BEGUN:
                begun[name] = look
        for name, look in begun.items():
            self.sent(name, look)
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

    def _write(self, name: str, look: Look, state: str) -> None:
        assert self._file is not None, "open it first"
        entry = {"file": name, "size": look.size, "written_ns": look.written_ns, "digest": look.digest, "state": state}
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            if state == _BEGUN:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise SourceError(
                f"what was shown cannot be remembered in {self.path} ({error.strerror}): make room there; nothing more is "
                "shown until then, so that nothing is shown twice"
            ) from error
