"""What a camera client has numbered and not yet been told about. Memory only; the caller locks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inspector.part import Frame
from inspector.wire import encode_loss

# Parts without an answer that are remembered during an outage: a day at one part per second. Past it the oldest are given up.
MAX_UNANSWERED = 86_400
NO_CONNECTION = "it passed while the service could not be reached"
_LOST_ON_THE_WAY = "its frame was sent before the connection broke, and did not arrive"


@dataclass(slots=True, eq=False)
class Shown:
    """A part that passed the camera. `frame` is None once its pixels are too old to be worth sending.

    `is_given` says that its number came from a counter elsewhere, `lost` why there never was a frame to send.
    """

    trigger: int
    part_id: str
    shown_ns: int
    frame: Frame | None
    sent_on: object = None
    is_given: bool = False
    lost: str = ""

    def announcement(self) -> bytes:
        """Says that this part passed and no frame of it will come, and asks again for the verdict of one that is known."""
        why = self.lost or (NO_CONNECTION if self.sent_on is None else _LOST_ON_THE_WAY)
        return encode_loss(self.trigger, self.part_id, why)


class Ledger:
    """The numbering of the parts and the parts without an answer, in the order of their triggers.

    `is_begun` says that a service told where the numbers stand.
    """

    def __init__(self) -> None:
        self.is_begun = False
        self.next_trigger = 1
        self.highest_answered = 0
        self.frames_held = 0
        self._unanswered: dict[int, Shown] = {}

    def __len__(self) -> int:
        return len(self._unanswered)

    def __iter__(self) -> Iterator[Shown]:
        return iter(list(self._unanswered.values()))

    def enter(self, part_id: str, shown_ns: int, trigger: int | None = None) -> Shown:
        """Give the next number to a part that passes now, or a later one that something else counted."""
        number = self.next_trigger if trigger is None else trigger
        shown = Shown(number, part_id, shown_ns, None, is_given=trigger is not None)
        self._unanswered[shown.trigger] = shown
        self.next_trigger = shown.trigger + 1
        return shown

    def hold(self, shown: Shown, frame: Frame) -> None:
        """Keep the part's pixels until it is answered."""
        shown.frame = frame
        self.frames_held += 1

    def drop_frame(self, shown: Shown) -> None:
        """Its pixels are no longer worth sending."""
        if shown.frame is not None:
            shown.frame = None
            self.frames_held -= 1

    def answer(self, trigger: int) -> Shown | None:
        """Take out a part that was answered; None if nobody waits for it."""
        shown = self._unanswered.get(trigger)
        if shown is not None:
            self.take(shown)
            self.highest_answered = max(self.highest_answered, trigger)
        return shown

    def take(self, shown: Shown) -> None:
        """Take out a part that will never be answered."""
        self.drop_frame(shown)
        del self._unanswered[shown.trigger]

    def clear(self) -> list[Shown]:
        """Take out all, which will never be answered, and number anew from where the service stands next."""
        left = list(self)
        for shown in left:
            self.take(shown)
        self.is_begun = False
        return left

    def overdue(self) -> list[Shown]:
        """Take out what is beyond the bound, oldest first."""
        count = len(self._unanswered) - MAX_UNANSWERED
        given_up = (
            [shown for shown, _ in zip(self._unanswered.values(), range(count), strict=False)] if count > 0 else []
        )
        for shown in given_up:
            self.take(shown)
        return given_up
