"""Which of the parts that a PLC counts a frame shows. Pure.

    counts    5        6             7        8
    time   ───┼────────┼─────────────┼────────┼──────────▶
                └delay─┬─late  frame?              frame  of 8; 7 was counted and no frame came: announced as lost

The PLC's count says what is a part. A frame was exposed `delay_s` after its part was counted, `late_s` more or less. When a
part was counted is known within two reads of the PLC, which may take long: it may have been at any moment between them. A frame
is matched when every count that may be its own has been read, and against all of them, also those whose part is settled:

- one count there: it is that part, also if the count comes after the frame (a late trigger, waited for);
- none, or one whose part is settled: a second frame of a part (a double trigger), or no part at all: not shown, and counted;
- two: which of them it shows cannot be told: both are announced as lost;
- a count without a frame when `frame_s` more has passed: its part is announced as lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

# A larger step is no run of parts that were missed but a counter that was set.
MAX_STEP = 1000
# How long a count is remembered when its frame can come no more, so that a frame of it is taken for no other part.
_KEPT_S = 10.0


@dataclass(frozen=True, slots=True)
class Count:
    """The PLC counted a part, not before `from_s` and not after `to_s` (s, monotonic): its number, its id if it has one."""

    number: int
    part_id: str
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Missed:
    """Parts without a frame: `count` of them, `number` and `part_id` are those of the last."""

    why: str
    count: int
    number: int
    part_id: str = ""


class PartCount:
    """The parts that were counted and have no frame yet, and those of late whose frame is settled."""

    def __init__(self, delay_s: float, late_s: float, frame_s: float) -> None:
        self._delay_s, self._late_s, self._frame_s = delay_s, late_s, frame_s
        self._open: deque[Count] = deque()
        self._recent: deque[Count] = deque()
        self._last: int | None = None
        self.doubles = 0

    def counted(self, count: Count) -> Iterator[Missed]:
        """The number that stands there now. The first ever is of a part that was there before."""
        last = self._last
        if last == count.number:
            return
        self._last = count.number
        self._remember(count)
        step = 1 if last is None else count.number - last
        if last is None:
            return
        if not 0 < step <= MAX_STEP:
            yield from self._all_missed(f"the PLC's count went from {last} to {count.number}: it was set anew")
            self._open.append(count)
            return
        # All counted between the same two reads: a frame of one may as well be of another.
        if step > 1:
            yield from self._all_missed(f"the PLC counted {count.number} next")
            why = f"the PLC's count went from {last} to {count.number} at once: it counts faster than it is read"
            yield Missed(why, step, count.number, count.part_id)
            return
        self._open.append(count)

    def settled_s(self, exposed_s: float) -> float:
        """A read of the PLC that begins then, or later, finds counted whatever part a frame may show."""
        return exposed_s - self._delay_s + self._late_s

    def match(self, exposed_s: float) -> tuple[list[Missed], Count | None]:
        """The part that a frame shows, if it can be told, and the parts before it that have no frame.

        To be asked when a read that began at `settled_s` or later has ended, and what was counted by then was told.
        """
        near = self._near(exposed_s)
        waiting = [one for one in near if one in self._open]
        if not waiting:
            self.doubles += 1
            return [], None
        missed = []
        while self._open[0] is not waiting[0]:
            missed.append(
                _missed(self._open.popleft(), "the PLC counted it, and the next frame is of a part behind it")
            )
        if len(near) > 1:
            known_ms = 1000 * max(one.to_s - one.from_s for one in waiting)
            why = (
                f"a frame may show any of parts {near[0].number} to {near[-1].number}, as the PLC's answers tell within "
                f"{known_ms:.0f} ms when it counted: lower late_ms, or make the PLC answer faster"
            )
            missed += [_missed(self._open.popleft(), why) for _ in waiting]
            return missed, None
        return missed, self._open.popleft()

    def overdue(self, now_s: float, why: str = "") -> list[Missed]:
        """Parts whose frame has not come in time; `why` is what the camera says of that."""
        missed = []
        patience_s = self._delay_s + self._late_s + self._frame_s
        while self._open and now_s > self._open[0].to_s + patience_s:
            told = why or f"the PLC counted it, and no frame came within {1000 * patience_s:.0f} ms"
            missed.append(_missed(self._open.popleft(), told))
        return missed

    def _near(self, exposed_s: float) -> list[Count]:
        counted_s, late_s = exposed_s - self._delay_s, self._late_s
        return [one for one in self._recent if one.from_s - late_s <= counted_s <= one.to_s + late_s]

    def _remember(self, count: Count) -> None:
        kept_s = self._delay_s + self._late_s + self._frame_s + _KEPT_S
        while self._recent and count.to_s > self._recent[0].to_s + kept_s:
            self._recent.popleft()
        self._recent.append(count)

    def _all_missed(self, why: str) -> Iterator[Missed]:
        while self._open:
            yield _missed(self._open.popleft(), why)


def _missed(count: Count, why: str) -> Missed:
    return Missed(why, 1, count.number, count.part_id)
