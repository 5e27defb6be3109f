"""A folder or network share that something writes pictures into: each whole file is one part, in order, never the same twice.

The folder is looked at again and again, because no notification comes from a share that another machine writes to. A file is
whole when two looks found it with the same size and time, and it ends as its kind does (the last chunk of a PNG, the end mark
of a JPEG) or has stood still for `settle_ms`. One that is not, or that is locked, holds up those after it for `patience_ms`;
then its part is announced as lost and the next is shown.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inspector.cameras.sources.folder import FORMATS, natural, part_id_of, picture_format
from inspector.cameras.sources.shown_files import NOT_READ, Look, ShownFiles
from inspector.cameras.sources.source import LOOK_S, Grab, Lost, Taken
from inspector.errors import SourceError
from inspector.part import Frame, PixelFormat

log = logging.getLogger(__name__)

# Between two looks at least this many times as long passes as a look takes: a share with many files is not kept busy.
_REST = 5
_MAX_BYTES = 1 << 30
_ENDS = {PixelFormat.PNG: b"IEND\xaeB`\x82", PixelFormat.JPEG: b"\xff\xd9"}


@dataclass(slots=True)
class _Waiting:
    """A file that was seen and not shown yet: how it was found last, since when so, and since when those after it wait."""

    name: str
    found: os.stat_result
    same_since_s: float
    looks: int = 1
    holds_up_since_s: float | None = None
    trouble: str = ""


class WatchedFolder:
    """Shows what is written into a folder; of what is there at the first start nothing if `existing` is "skip"."""

    waits = True
    rate_hz: float | None = None

    def __init__(
        self,
        folder: Path,
        memory: Path,
        *,
        order: str = "name",
        existing: str = "show",
        poll_ms: int = 100,
        settle_ms: int = 1000,
        patience_ms: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        read: Callable[[Path], bytes] = Path.read_bytes,
    ) -> None:
        """`memory` is the file in which is written down what was shown. `order` is "name" or "time" (when it was written)."""
        self._folder = folder
        self._shown = ShownFiles(memory)
        self._by_time = order == "time"
        self._skips_existing = existing == "skip"
        self._poll_s, self._settle_s, self._patience_s = poll_ms / 1000, settle_ms / 1000, patience_ms / 1000
        self._clock, self._sleep, self._read = clock, sleep, read
        self._waiting: dict[str, _Waiting] = {}
        # Parts of which nothing can be read any more, and what is to be remembered of them if it is not yet.
        self._untold: list[tuple[Look | None, Lost]] = []

    def open(self) -> None:
        """Read what was shown. Raises SourceError if the folder cannot be listed, or that cannot be remembered."""
        found = self._list()
        first = self._shown.is_new
        for name in self._shown.open():
            why = f"the camera program died while it showed {name}: it may have its verdict already"
            self._untold.append((None, Lost(why, origin=name)))
        if first and self._skips_existing:
            for name, one in found.items():
                self._shown.sent(name, Look(one.st_size, one.st_mtime_ns, NOT_READ))

    def close(self) -> None:
        """Let another program watch."""
        self._shown.close()
        self._waiting.clear()

    def describe(self) -> str:
        order = "the times they were written" if self._by_time else "their names"
        return f"pictures that come into {self._folder}, in the order of {order}; {self._shown.path} remembers them"

    def grabs(self) -> Iterator[Grab | None]:
        """A part for each whole file; never ends. Raises SourceError if the folder goes away."""
        while True:
            began_s = self._clock()
            self._untold += self._gone(self._update(self._list()))
            yield from self._tell()
            idle = True
            for one in self._in_order():
                outcome = self._try(one)
                if outcome is None:
                    if self._shown.was_given_up(one.name):
                        continue
                    break
                idle = False
                del self._waiting[one.name]
                look, grab = outcome
                if grab is not None:
                    yield from self._show(one.name, look, grab)
            if idle:
                yield from self._rest(began_s)

    def _tell(self) -> Iterator[Grab]:
        """Announce what cannot be read; each stays until it is on its way."""
        while self._untold:
            look, lost = self._untold[0]
            if look is None:
                yield lost
            else:
                yield from self._show(lost.origin, look, lost)
            del self._untold[0]

    def _show(self, name: str, look: Look, grab: Grab) -> Iterator[Grab]:
        self._shown.begin(name, look)
        try:
            yield grab
        except GeneratorExit:
            # The program was told to end, or turned away by the service, before it could send this.
            self._shown.undo(name, look)
            raise
        # It asks for the next part when this one is on its way.
        self._shown.sent(name, look)

    def _rest(self, began_s: float) -> Iterator[None]:
        until_s = self._clock() + max(self._poll_s, _REST * (self._clock() - began_s))
        while (left_s := until_s - self._clock()) > 0:
            self._sleep(min(left_s, LOOK_S))
            yield None

    # Looking

    def _list(self) -> dict[str, os.stat_result]:
        """The picture files that are there and not known as shown, by their paths in the folder. Raises SourceError."""
        found = {}

        def fail(error: OSError) -> None:
            raise SourceError(
                f"{error.filename} cannot be listed ({error.strerror}): is the share mounted, and may this user read it?"
            ) from error

        for folder, below, files in os.walk(self._folder, onerror=fail):
            below[:] = [one for one in below if not one.startswith(".")]
            for file in files:
                path = Path(folder, file)
                if file.startswith(".") or path.suffix.lower() not in FORMATS:
                    continue
                try:
                    one = path.lstat()
                except OSError:  # gone between listing and looking
                    continue
                name = str(path.relative_to(self._folder))
                if stat.S_ISREG(one.st_mode) and not self._shown.is_known(name, one.st_size, one.st_mtime_ns):
                    found[name] = one
        return found

    def _update(self, found: dict[str, os.stat_result]) -> list[_Waiting]:
        """Take in a look at the folder; returns what was seen before and is gone."""
        now_s = self._clock()
        gone = [one for name, one in self._waiting.items() if name not in found]
        for name, one in found.items():
            before = self._waiting.get(name)
            if before is None:
                self._waiting[name] = _Waiting(name, one, now_s)
            elif (before.found.st_size, before.found.st_mtime_ns) == (one.st_size, one.st_mtime_ns):
                before.looks += 1
            else:
                before.found, before.same_since_s, before.looks = one, now_s, 1
        for one_gone in gone:
            del self._waiting[one_gone.name]
        # Renamed since, as programs do that write under a passing name: it waits under its new one.
        inodes = {one.st_ino for one in found.values()}
        return [one for one in gone if one.found.st_ino not in inodes]

    def _gone(self, gone: list[_Waiting]) -> Iterator[tuple[Look, Lost]]:
        for one in gone:
            if self._shown.was_given_up(one.name):
                continue
            why = f"{one.name} vanished before it could be read: whoever takes pictures away must wait for them to be shown"
            look = Look(one.found.st_size, one.found.st_mtime_ns, NOT_READ)
            yield look, Lost(why, origin=one.name)

    def _in_order(self) -> list[_Waiting]:
        if self._by_time:
            return sorted(self._waiting.values(), key=lambda one: (one.found.st_mtime_ns, natural(Path(one.name))))
        return sorted(self._waiting.values(), key=lambda one: natural(Path(one.name)))

    # One file

    def _try(self, one: _Waiting) -> tuple[Look, Grab | None] | None:
        """What is to be remembered of a file, and its part unless it is one that was shown; None if it is not yet whole."""
        now_s = self._clock()
        data = self._whole(one, now_s)
        if data is None:
            if one.holds_up_since_s is None:
                one.holds_up_since_s = now_s
            if self._shown.was_given_up(one.name) or now_s - one.holds_up_since_s < self._patience_s:
                return None
            why = f"{one.name} {one.trouble} after {self._patience_s:g} s: its part is lost, and those after it go on"
            lost = Lost(why, origin=one.name, part_id=part_id_of(Path(one.name)))
            return Look(one.found.st_size, one.found.st_mtime_ns), lost
        look = Look(one.found.st_size, one.found.st_mtime_ns, hashlib.blake2b(data, digest_size=16).hexdigest())
        if self._shown.was_given_up(one.name):
            log.warning("%s is whole now, and its part was announced as lost: it is not shown", one.name)
            self._shown.sent(one.name, look)
            return look, None
        if self._shown.is_again(one.name, look):
            log.info("%s was shown already, before it was renamed or touched", one.name)
            return look, None
        path = self._folder / one.name
        pixel_format = picture_format(data) or FORMATS[path.suffix.lower()]
        frame = Frame(0, pixel_format, 0, 0, 0, data, part_id=part_id_of(path))
        return look, Taken(frame, str(path))

    def _whole(self, one: _Waiting, now_s: float) -> bytes | None:
        """The file's content once it is whole; else None, and `trouble` says why not."""
        size = one.found.st_size
        if one.looks < 2:
            one.trouble = "is still being written"
            return None
        if not 0 < size <= _MAX_BYTES:
            one.trouble = "is empty" if not size else f"has {size} bytes, more than any picture,"
            return None
        path = self._folder / one.name
        try:
            data = self._read(path)
            after = path.lstat()
        except OSError as error:
            one.trouble = f"cannot be read ({error.strerror})"
            return None
        if (after.st_size, after.st_mtime_ns) != (size, one.found.st_mtime_ns) or len(data) != size:
            one.trouble = "is still being written"
            one.found, one.same_since_s, one.looks = after, now_s, 1
            return None
        kind = picture_format(data)
        if (kind is None or not data.endswith(_ENDS[kind])) and now_s - one.same_since_s < self._settle_s:
            one.trouble = "is still being written"
            return None
        return data
