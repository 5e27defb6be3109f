"""The twin of a PLC output for tests and for lines without a PLC: it records what it was told, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inspector.part import Inspection
from inspector.signalling.signal import StationState, always_alive


@dataclass(frozen=True, slots=True)
class Started:
    """`start` was called."""


@dataclass(frozen=True, slots=True)
class Published:
    """`publish` was called."""

    inspection: Inspection


@dataclass(frozen=True, slots=True)
class StationSet:
    """`set_station` was called."""

    station: str
    state: StationState
    recipe: str | None
    bundle: str | None
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """`close` was called."""


Call = Started | Published | StationSet | Closed


class SimulatedSignal:
    """A `Signal` without a network; `calls` is the whole story in order (appending to a list is thread-safe)."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.alive: Callable[[], bool] = always_alive

    def start(self, alive: Callable[[], bool] = always_alive) -> None:
        self.alive = alive
        self.calls.append(Started())

    def publish(self, inspection: Inspection) -> None:
        self.calls.append(Published(inspection))

    def set_station(
        self,
        station: str,
        state: StationState,
        recipe: str | None = None,
        bundle: str | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.calls.append(StationSet(station, state, recipe, bundle, tuple(classes)))

    def close(self) -> None:
        self.calls.append(Closed())

    @property
    def published(self) -> list[Inspection]:
        """The verdicts shown so far, in order."""
        return [call.inspection for call in tuple(self.calls) if isinstance(call, Published)]

    def state(self, station: str) -> StationState:
        """The state of a station, as last told."""
        states = [call.state for call in tuple(self.calls) if isinstance(call, StationSet) and call.station == station]
        return states[-1] if states else StationState.NOT_READY
