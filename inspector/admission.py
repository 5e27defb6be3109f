"""Trigger numbers of one station: what is new, what was skipped, what comes again. Memory only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from inspector.errors import TriggerOutOfRange
from inspector.part import Box, Frame, Inspection
from inspector.station import Setup

RECENT_PARTS = 4096
Reply = Callable[[Inspection], None]


@dataclass(slots=True, eq=False)
class Part:
    """A part between its trigger and its verdict. The pipeline's lock guards `inspection` and `replies`.

    `setup` is what it is judged by, whatever the station changes to meanwhile. `frame_size` is (width, height) in pixels once
    the frame is decoded, `region` where the part lies in it. `prepared_s` and `scored_s` say when the model's input and its
    scores were there, 0 before that.
    """

    camera: str
    trigger: int
    part_id: str
    capture_time: datetime | None
    receive_time: datetime
    received_s: float
    deadline_s: float
    frame: Frame | None
    setup: Setup
    replies: list[Reply] = field(default_factory=list)
    has_frame: bool = field(init=False)
    frame_size: tuple[int, int] = (0, 0)
    region: Box | None = None
    inspection: Inspection | None = None
    prepared_s: float = 0.0
    scored_s: float = 0.0

    def __post_init__(self) -> None:
        self.has_frame = self.frame is not None

    @property
    def done(self) -> bool:
        """Whether the part has its verdict."""
        return self.inspection is not None


class TriggerBook:
    """The numbering of one station and the parts it has in flight.

    The caller locks. A trigger below `next_trigger` was announced before: its part is in flight, or its inspection is
    among the recent ones. `judging` counts the parts in flight that have a frame.
    """

    def __init__(self, station: str, next_trigger: int, max_gap: int, recent: list[Inspection]) -> None:
        self.station = station
        self.next_trigger = next_trigger
        self.max_gap = max_gap
        self.in_flight: dict[int, Part] = {}
        self.judging = 0
        self._recent: OrderedDict[int, Inspection] = OrderedDict((i.trigger, i) for i in recent[-RECENT_PARTS:])

    def skipped(self, trigger: int) -> range:
        """The triggers between the expected one and this one; empty for the expected one and for one that comes again.

        Raises TriggerOutOfRange if the gap is larger than a camera can plausibly have lost.
        """
        gap = trigger - self.next_trigger
        if gap > self.max_gap:
            raise TriggerOutOfRange(
                f"trigger {trigger} is {gap} past the expected {self.next_trigger} of station {self.station}, the most "
                f"is {self.max_gap}: the camera's counter is not this station's; start numbering at {self.next_trigger}, "
                "or raise max_gap in the line file"
            )
        return range(self.next_trigger, trigger)

    def again(self, trigger: int) -> Part | Inspection | None:
        """What is known of a trigger that was announced before; None if it is new.

        Raises TriggerOutOfRange if it was judged so long ago that its inspection is no longer in memory.
        """
        if trigger >= self.next_trigger:
            return None
        known = self.in_flight.get(trigger) or self._recent.get(trigger)
        if known is None:
            raise TriggerOutOfRange(
                f"trigger {trigger} of station {self.station} was judged long ago, the next is {self.next_trigger}: "
                "number new parts from there; past verdicts are told by ListInspections"
            )
        return known

    def enter(self, part: Part) -> None:
        """Take a new part in flight; its trigger must be the expected one."""
        assert part.trigger == self.next_trigger
        self.next_trigger += 1
        self.in_flight[part.trigger] = part
        self.judging += part.has_frame

    def restore(self, part: Part) -> None:
        """A part that was in flight when the service died: it has its number and no verdict yet."""
        self.in_flight[part.trigger] = part

    def leave(self, inspection: Inspection) -> None:
        """The part has its verdict."""
        part = self.in_flight.pop(inspection.trigger, None)
        self.judging -= part is not None and part.has_frame
        self._recent[inspection.trigger] = inspection
        if len(self._recent) > RECENT_PARTS:
            self._recent.popitem(last=False)
