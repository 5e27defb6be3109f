"""What every output to the PLC looks like from the pipeline: start it, tell it verdicts and states, close it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from inspector.part import Inspection
from inspector.signalling.commands import Fault


class StationState(enum.IntEnum):
    """Whether a station judges parts. Anything but READY means: reject. The start state is NOT_READY."""

    NOT_READY = 0
    READY = 1
    STOPPING = 2
    FAULT = 3
    STOPPED = 4


@dataclass(frozen=True, slots=True)
class StationReading:
    """How a station is now: which of its cameras stream, what it shows to the PLC, its parts in flight."""

    name: str
    cameras: Mapping[str, bool]
    state: StationState
    recipe: str
    bundle: str
    in_flight: int


@dataclass(frozen=True, slots=True)
class RecipeReading:
    """A recipe that a station can be changed to; `fault` says why it cannot be judged by, empty if it can."""

    name: str
    bundle: str
    fault: str


@dataclass(frozen=True, slots=True)
class StationReport:
    """A station as those see it who command it."""

    reading: StationReading
    fault: Fault
    recipes: tuple[RecipeReading, ...]


class Signal(Protocol):
    """One output to the PLC (Modbus TCP, a simulated one).

    `publish` and `set_station` are called from any thread, `publish` on the way from frame to verdict and under the
    pipeline's lock: both only touch memory, take microseconds, never block and never raise.
    """

    def start(self, alive: Callable[[], bool] = ...) -> None:
        """Open the output; return once a PLC can reach it.

        `alive` is asked before every heartbeat, from the output's own thread, and must answer at once: True only if the
        side that publishes still works. While it says False the heartbeat stands still and the PLC rejects.

        Raises:
            SignalError: the output cannot start.
        """

    def publish(self, inspection: Inspection) -> None:
        """Show a verdict, called in the order of the station's sequence."""

    def set_station(
        self,
        station: str,
        state: StationState,
        recipe: str | None = None,
        bundle: str | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        """Show the state of a station and, unless None, what it judges by.

        `bundle` is a label ("name@digest12"); `classes` are the defect classes of that bundle, in its order.
        """

    def close(self) -> None:
        """Stop answering and free the port. Safe to call twice, and without `start`."""


def always_alive() -> bool:
    """For outputs with nobody to ask, such as those of tests."""
    return True
