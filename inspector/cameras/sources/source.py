"""What every source of frames gives, and how it is asked. A new kind: its class here, a line in `registry.py`, its table in
`inspector/settings/cameras.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from inspector.part import Frame

# A source that has nothing says so at least this often, so that the program can look about.
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Taken:
    """A part and its frame, whose own trigger is still 0. Its `capture_time` is right within `uncertainty_ms`, if known.

    `exposed_s` is when it was exposed on the monotonic clock, which nobody sets, if that is known: parts are told apart by it.
    `trigger` is the part's number where something counts for the whole station; without it the next one is given.
    `origin` says where it came from: a file, the camera's own number of the frame.
    """

    frame: Frame
    origin: str = ""
    trigger: int | None = None
    uncertainty_ms: float | None = None
    exposed_s: float | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Parts that passed and of which there is no frame: `count` in a row; `trigger` and `part_id` are those of the last."""

    why: str
    count: int = 1
    origin: str = ""
    trigger: int | None = None
    part_id: str = ""


Grab = Taken | Lost
# What is done with each grab before it is sent: give it a part id or a number, measure it. Must not raise.
Stage = Callable[[Grab], Grab]


class Source(Protocol):
    """A camera, a folder, a stream. Used by one thread; may be opened again after `close`, and then remembers its counting.

    `waits`: its parts wait until the service has room (files), and one that was not sent is given again after the next `open`.
    Else they pass like those on a belt.
    """

    waits: bool

    @property
    def rate_hz(self) -> float | None:
        """Parts per second, if that is known."""

    def open(self) -> None:
        """Make ready. Raises SourceError, which says what to do."""

    def grabs(self) -> Iterator[Grab | None]:
        """Parts as they pass, None after `LOOK_S` without one. Ends when nothing more can come.

        Raises SourceError when it cannot go on; the program then closes it, and opens it again after a while.
        """

    def close(self) -> None:
        """Free what it holds. Never raises; nothing happens if it is not open."""

    def describe(self) -> str:
        """What it is and how it is set, in one line for the log."""


@dataclass(frozen=True, slots=True)
class Found:
    """A camera that was discovered: what to write as `device` in the line file, and what it says of itself."""

    kind: str
    device: str
    model: str
    address: str = ""
