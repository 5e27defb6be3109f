"""Trigger numbers of one station: what is new, what was skipped, what comes again. Memory only."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from inspector.decision.views import ViewState
from inspector.errors import TriggerOutOfRange
from inspector.part import Box, Frame, Inspection, Judgement, Reason, Scores, ViewResult
from inspector.station import Setup, View

RECENT_PARTS = 4096
# What is kept of a part's budget for telling that it was not judged: this share, and no more than so many seconds. On a machine
# with more to do than it can, a thread that keeps deadlines waits some milliseconds for a core.
TELLING_SHARE, MOST_TELLING_S = 0.05, 0.005
Reply = Callable[[Inspection], None]


def expiry_s(received_s: float, deadline_s: float) -> float:
    """When a part without a verdict is told UNKNOWN, so that this is known by its deadline. Seconds of the monotonic clock."""
    return deadline_s - min(MOST_TELLING_S, TELLING_SHARE * max(0.0, deadline_s - received_s))


@dataclass(slots=True, eq=False)
class Look:
    """One view of a part between its trigger and its verdict. The pipeline's lock guards all that changes.

    `came` says that its frame is there or was, `lost` why none will come. `frame_size` is (width, height) in pixels once the
    frame is decoded, `region` where the part lies in it. `prepared_s` and `scored_s` say when the model's input and its scores
    were there, 0 before that.
    """

    view: View
    camera: str
    frame: Frame | None = None
    came: bool = False
    lost: str = ""
    frame_size: tuple[int, int] = (0, 0)
    region: Box | None = None
    prepared_s: float = 0.0
    scored_s: float = 0.0
    judgement: Judgement | None = None
    scores: Scores | None = None

    def take(self, frame: Frame | None) -> None:
        """A frame came, or what was meant to be one."""
        self.frame, self.came, self.lost = frame, True, ""

    @property
    def state(self) -> ViewState:
        """What is known of it."""
        return ViewState(self.view.name, self.judgement, self.came, self.lost)

    @property
    def result(self) -> ViewResult | None:
        """What came of it, for the record of a part with several; None while that is open."""
        if self.judgement is not None:
            return self.as_judged(self.judgement)
        return self.as_judged(Judgement(Reason.MISSING_VIEW, self.lost)) if self.lost else None

    def as_judged(self, judgement: Judgement) -> ViewResult:
        """What came of it, by this judgement."""
        about = (judgement.reason, judgement.detail, judgement.score, judgement.limit)
        return ViewResult(self.view.name, self.camera, self.view.bundle, *about)


@dataclass(slots=True, eq=False)
class Part:
    """A part between its trigger and its verdict. The pipeline's lock guards what changes.

    `setup` is what it is judged by, whatever the station changes to meanwhile; `looks` are its views, in the recipe's order.
    `counted` says that the station counts it among those being judged; `late_score` is the highest that came after its verdict.
    """

    trigger: int
    part_id: str
    capture_time: datetime | None
    receive_time: datetime
    received_s: float
    deadline_s: float
    setup: Setup
    looks: tuple[Look, ...]
    replies: list[Reply] = field(default_factory=list)
    inspection: Inspection | None = None
    counted: bool = False
    late_score: float = -math.inf

    def look_of(self, camera: str) -> Look:
        """The view that a camera takes."""
        return next(look for look in self.looks if look.camera == camera)

    @property
    def expiry_s(self) -> float:
        """When it is told UNKNOWN if it has no verdict by then."""
        return expiry_s(self.received_s, self.deadline_s)

    @property
    def came(self) -> bool:
        """Whether a frame of any view came."""
        return any(look.came for look in self.looks)

    @property
    def done(self) -> bool:
        """Whether the part has its verdict."""
        return self.inspection is not None


@dataclass(slots=True)
class Settled:
    """A part that has its verdict, and the cameras whose frame of it has not come."""

    inspection: Inspection
    missing: set[str] = field(default_factory=set)


class TriggerBook:
    """The numbering of one station, which all its cameras share, and the parts it has in flight.

    The caller locks. A trigger below `next_trigger` was announced before, by this camera or by another: its part is in flight,
    or its inspection is among the recent ones. `judging` counts the parts in flight of which a frame came.
    """

    def __init__(
        self, station: str, cameras: Sequence[str], next_trigger: int, max_gap: int, recent: list[Inspection]
    ) -> None:
        self.station = station
        self.next_trigger = next_trigger
        self.max_gap = max_gap
        self.in_flight: dict[int, Part] = {}
        self.judging = 0
        self._seen_to = dict.fromkeys(cameras, next_trigger)
        self._recent = OrderedDict((i.trigger, Settled(i)) for i in recent[-RECENT_PARTS:])

    def begin(self, camera: str) -> int:
        """A camera's stream begins; returns the trigger that it must send next: the first that it has not been past.

        Also if that part has its verdict: a camera that counts for itself would otherwise go on with another part's number.
        """
        return self.next_trigger if len(self._seen_to) == 1 else self._seen_to[camera]

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

    def missed(self, camera: str, trigger: int) -> tuple[list[Part], list[Inspection]]:
        """The parts before `trigger`, announced by others, that this camera was to show and is past: in flight, and settled."""
        seen_to = self._seen_to[camera]
        self._seen_to[camera] = max(seen_to, trigger + 1)
        if trigger <= seen_to or len(self._seen_to) == 1:
            return [], []
        waiting = [part for part in self.in_flight.values() if seen_to <= part.trigger < trigger]
        recent = range(max(seen_to, self.next_trigger - RECENT_PARTS), trigger)
        settled = [self._recent[t].inspection for t in recent if t in self._recent]
        # Those that this camera's own jump has just entered are known as lost already.
        return [part for part in waiting if not part.look_of(camera).came and not part.look_of(camera).lost], settled

    def again(self, trigger: int) -> Part | Settled | None:
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
        self.count(part)

    def count(self, part: Part) -> None:
        """A frame of a part in flight may have come."""
        if part.came and not part.counted:
            part.counted = True
            self.judging += 1

    def discount(self, part: Part) -> None:
        """A part in flight is refused: nothing is judged of it, it only waits for its verdict to be told."""
        self.judging -= part.counted
        part.counted = False

    def restore(self, part: Part) -> None:
        """A part that was in flight when the service died: it has its number and no verdict yet, and is no longer judged."""
        for look in part.looks:
            look.came = True
        self.in_flight[part.trigger] = part

    def leave(self, inspection: Inspection) -> None:
        """The part has its verdict."""
        part = self.in_flight.pop(inspection.trigger, None)
        missing: set[str] = set()
        if part is not None:
            self.judging -= part.counted
            missing = {look.camera for look in part.looks if not look.came}
        self._recent[inspection.trigger] = Settled(inspection, missing)
        if len(self._recent) > RECENT_PARTS:
            self._recent.popitem(last=False)
