"""What a station's state is in the words of OPC 40100-1, and by which transitions one gets from one state to the next. Pure.

Preoperational ⇄ Operational: Initialized ⇄ Ready ⇄ SingleExecution | ContinuousExecution
  ⇅        │          ⇅  │
Halted ◀───┼──────────┼──┘
  ▲        ▼          ▼
  └────── Error ◀─────┘
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

from inspector.signalling.signal import StationReport, StationState


class Vision(enum.Enum):
    """States of the vision state machine, by their names in the standard; those of the automatic mode lie in Operational."""

    PREOPERATIONAL = "Preoperational"
    HALTED = "Halted"
    ERROR = "Error"
    INITIALIZED = "Initialized"
    READY = "Ready"
    SINGLE_EXECUTION = "SingleExecution"
    CONTINUOUS_EXECUTION = "ContinuousExecution"

    @property
    def is_operational(self) -> bool:
        """Whether this is a state of the automatic mode."""
        return self in _AUTOMATIC

    @property
    def is_executing(self) -> bool:
        """Whether parts are judged."""
        return self in (Vision.SINGLE_EXECUTION, Vision.CONTINUOUS_EXECUTION)

    @property
    def top(self) -> str:
        """Name of the state that the outer machine is in."""
        return "Operational" if self.is_operational else self.value


_AUTOMATIC = (Vision.INITIALIZED, Vision.READY, Vision.SINGLE_EXECUTION, Vision.CONTINUOUS_EXECUTION)
_OUTER = (Vision.PREOPERATIONAL, Vision.HALTED, Vision.ERROR)
_NEXT: dict[Vision, tuple[Vision, ...]] = {
    Vision.PREOPERATIONAL: (Vision.INITIALIZED, Vision.HALTED, Vision.ERROR),
    Vision.HALTED: (Vision.PREOPERATIONAL,),
    Vision.ERROR: (Vision.INITIALIZED, Vision.PREOPERATIONAL, Vision.HALTED),
    Vision.INITIALIZED: (Vision.READY, *_OUTER),
    Vision.READY: (Vision.SINGLE_EXECUTION, Vision.CONTINUOUS_EXECUTION, Vision.INITIALIZED, *_OUTER),
    Vision.SINGLE_EXECUTION: (Vision.READY, *_OUTER),
    Vision.CONTINUOUS_EXECUTION: (Vision.READY, *_OUTER),
}
"""OPC 40100-1:2019, 8.2.3 and 8.3.3."""


class Link(enum.Enum):
    """Whether the service can be heard."""

    NEVER = "not heard of yet"
    UP = ""
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client of OPC UA asked for that the service has no word for."""

    halted: bool = False
    unprepared: bool = False
    single: bool = False


def vision_state(link: Link, report: StationReport | None, alive: bool, wish: Wish) -> Vision:
    """The state to show. Never one that says parts are judged unless the service says so now."""
    if link is Link.NEVER:
        return Vision.PREOPERATIONAL
    if link is Link.LOST or report is None or not alive or report.reading.state is StationState.FAULT:
        return Vision.ERROR
    state = report.reading.state
    if state is StationState.NOT_READY:
        return Vision.PREOPERATIONAL
    if state is StationState.STOPPING:
        return Vision.HALTED
    if state is StationState.READY:
        return Vision.SINGLE_EXECUTION if wish.single else Vision.CONTINUOUS_EXECUTION
    if wish.halted:
        return Vision.HALTED
    return Vision.INITIALIZED if wish.unprepared else Vision.READY


def way(start: Vision, end: Vision) -> list[Vision]:
    """The states passed through from `start`, which is left out, to `end`; the fewest that the standard allows."""
    before: dict[Vision, Vision] = {}
    waiting = deque([start])
    while waiting and end not in before:
        here = waiting.popleft()
        for there in _NEXT[here]:
            if there not in before and there is not start:
                before[there] = here
                waiting.append(there)
    found: list[Vision] = []
    while end is not start:
        found.insert(0, end)
        end = before[end]
    return found


def transition_names(start: Vision, end: Vision, by_method: str) -> tuple[str, ...]:
    """Names of the transition in the nodeset, the best first. `by_method` names the method that caused it, empty for none."""
    source = start.value if start.is_operational and end.is_operational else start.top
    target = end.value if start.is_operational and end.is_operational else end.top
    plain = f"{source}To{target}"
    special = {
        ("ReadyToInitialized", "UnprepareRecipe"): "ReadyToInitializedRecipe",
        ("InitializedToReady", "PrepareRecipe"): "InitializedToReadyRecipe",
        ("SingleExecutionToReady", "Abort"): "SingleExecutionToReadyAbort",
        ("SingleExecutionToReady", "Stop"): "SingleExecutionToReadyStop",
        ("ContinuousExecutionToReady", "Abort"): "ContinuousExecutionToReadyAbort",
        ("ContinuousExecutionToReady", "Stop"): "ContinuousExecutionToReadyStop",
    }
    if (found := special.get((plain, by_method))) is not None:
        return (found,)
    return (plain, f"{plain}Auto") if by_method else (f"{plain}Auto", plain)
