"""What came of a camera, and what the pipeline finds it to be: values on the way from a frame to a part in flight."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from inspector.admission import Look, Part, Reply, Settled
from inspector.part import Frame, Inspection, Judgement
from inspector.station import Setup, Station


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame that came, or what was meant to be one; when, on the clock of records and on the monotonic one."""

    camera: str
    trigger: int
    part_id: str
    capture_time: datetime | None
    frame: Frame | None
    reply: Reply
    receive_time: datetime
    received_s: float

    def part(self, station: Station, setup: Setup, number: int) -> Part:
        """A new part: the one that it shows, or one that it skipped."""
        is_shown = number == self.trigger
        about = (self.part_id, self.capture_time) if is_shown else ("", None)
        deadline_s = self.received_s + setup.recipe.deadline_ms / 1000
        looks = looks_of(station, setup)
        part = Part(number, *about, self.receive_time, self.received_s, deadline_s, setup, looks, [self.reply])
        look = part.look_of(self.camera)
        if is_shown:
            look.take(self.frame)
        else:
            look.lost = skipped_by(self.trigger, number)
        return part


@dataclass(slots=True)
class Found:
    """What a trigger is: of a part known before, or of a new one, which may be refused.

    `skipped` are new parts before it that its camera did not show, `missed` those that others announced, `told` those of them
    that have their verdict.
    """

    known: Part | Settled | None = None
    part: Part | None = None
    refusal: Judgement | None = None
    skipped: list[Part] = field(default_factory=list)
    missed: list[Part] = field(default_factory=list)
    told: list[Inspection] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Joined:
    """A frame of a part that was announced before: the view that it is, and what decides that view already, if anything.

    With `of_part` the judgement is the part's; `late`: the part has its verdict. Without a view nothing is to be judged.
    """

    look: Look | None = None
    judgement: Judgement | None = None
    of_part: bool = False
    late: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """A part and the view of it that is to be judged now, if any; `answers` as of `submit`."""

    part: Part | None
    look: Look | None
    answers: int


def looks_of(station: Station, setup: Setup) -> tuple[Look, ...]:
    """The views of a part as `setup` judges them, none of which has come yet."""
    return tuple(Look(view, station.cameras[view.name]) for view in setup.recipe.views)


def skipped_by(trigger: int, number: int) -> str:
    """Why part `number` has no frame: its camera came with `trigger` next."""
    return f"trigger {number} was skipped: trigger {trigger} came next, so this part passed without a frame"
