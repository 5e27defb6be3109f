"""A source that plays a script, for tests of the camera program."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from inspector.cameras.sources.source import Grab, Taken
from inspector.errors import SourceError
from inspector.part import Frame, PixelFormat

GOOD, BAD = b"\0", b"\1"


def taken(data: bytes = GOOD, origin: str = "") -> Taken:
    """One part and its frame."""
    return Taken(Frame(0, PixelFormat.MONO8, 1, 1, 0, data), origin)


class ScriptedSource:
    """Gives what each of its acts says, one act per opening; an error in it is raised. After the last act it ends."""

    waits = False
    rate_hz = None

    def __init__(self, *acts: Sequence[Grab | SourceError | Exception | threading.Event | None]) -> None:
        self._acts = list(acts)
        self._act: Sequence[Grab | Exception | threading.Event | None] = ()
        self.opened = self.closed = 0

    def open(self) -> None:
        self.opened += 1
        self._act = self._acts.pop(0) if self._acts else ()
        if self._act and isinstance(self._act[0], SourceError) and self._act[0].args[0].startswith("open"):
            raise self._act[0]

    def grabs(self) -> Iterator[Grab | None]:
        for one in self._act:
            if isinstance(one, Exception):
                raise one
            if isinstance(one, threading.Event):
                while not one.wait(0.01):
                    yield None
            else:
                yield one

    def close(self) -> None:
        self.closed += 1

    def describe(self) -> str:
        return "a script"
