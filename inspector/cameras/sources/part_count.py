"""Which of the parts that a PLC counts a frame shows. Pure.

    counts    5        6             7        8
    time   ───┼────────┼─────────────┼────────┼──────────▶
                └delay─┬─late  frame?              frame  of 8; 7 was counted and no frame came: announced as lost

The PLC's count says what is a part. A frame was exposed `delay_s` after its part was counted, `late_s` more or less:

- one count there: it is that part, also if the count comes after the frame (a late trigger, waited for);
- none: a second frame of a part (a double trigger), or no part at all: it is not shown, and counted;
- two: which of them it shows cannot be told: both are announced as lost;
- a count without a frame when `frame_s` more has passed: its part is announced as lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

# A larger step is no run of parts that were missed but a counter that was set.
MAX_STEP = 1000


@dataclass(frozen=True, slots=True)
class Count:
    """The PLC counted a part: its number, its id if it has one, and when that was seen (s, monotonic)."""

    number: int
    part_id: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Missed:
    """Parts without a frame: `count` of them, `number` and `part_id` are those of the last."""

    why: str
    count: int
    number: int
    part_id: str = ""


class PartCount:
    """The parts that were counted and have no frame yet."""

    def __init__(self, delay_s: float, late_s: float, frame_s: float) -> None:
        self._delay_s, self._late_s, self._frame_s = delay_s, late_s, frame_s
        self._open: deque[Count] = deque()
        self._last: int | None = None
        self.doubles = 0

    def counted(self, count: Count) -> Iterator[Missed]:
        """The number that stands there now. The first ever is of a part that was there before."""
        last = self._last
        if last == count.number:
            return
        self._last = count.number
        step = 1 if last is None else count.number - last
        if last is None:
            return
        if not 0 < step <= MAX_STEP:
            yield from self._all_missed(f"the PLC's count went from {last} to {count.number}: it was set anew")
            self._open.append(count)
            return
        # Counted between two looks, so that their time and id are not known.
        if step > 1:
            yield from self._all_missed(f"the PLC counted {count.number} next")
            why = f"the PLC's count went from {last} to {count.number} at once: it counts faster than it is read"
            yield Missed(why, step - 1, count.number - 1)
        self._open.append(count)

    def patience_s(self, exposed_s: float, now_s: float) -> float:
        """How long the count of a frame may still take to come; 0 if it is there, or comes no more."""
        return 0.0 if self._near(exposed_s) else max(0.0, exposed_s - self._delay_s + self._late_s - now_s)

    def match(self, exposed_s: float) -> tuple[list[Missed], Count | None]:
        """The part that a frame shows, if it can be told, and the parts before it that have no frame."""
        near = self._near(exposed_s)
        if not near:
            self.doubles += 1
            return [], None
        missed = []
        while self._open and self._open[0] is not near[0]:
            missed.append(
                _missed(self._open.popleft(), "the PLC counted it, and the next frame is of a part behind it")
            )
        if len(near) > 1:
            pitch_ms = 1000 * (near[-1].at_s - near[0].at_s)
            why = f"{len(near)} parts were counted within {pitch_ms:.0f} ms, and a frame may show any of them: lower late_ms"
            missed += [_missed(self._open.popleft(), why) for _ in near]
            return missed, None
        return missed, self._open.popleft()

    def overdue(self, now_s: float, why: str = "") -> list[Missed]:
        """Parts whose frame has not come in time; `why` is what the camera says of that."""
        missed = []
        patience_s = self._delay_s + self._late_s + self._frame_s
        while self._open and now_s > self._open[0].at_s + patience_s:
            told = why or f"the PLC counted it, and no frame came within {1000 * patience_s:.0f} ms"
            missed.append(_missed(self._open.popleft(), told))
        return missed

    def _near(self, exposed_s: float) -> list[Count]:
        return [one for one in self._open if abs(one.at_s + self._delay_s - exposed_s) <= self._late_s]

    def _all_missed(self, why: str) -> Iterator[Missed]:
        while self._open:
            yield _missed(self._open.popleft(), why)


def _missed(count: Count, why: str) -> Missed:
    return Missed(why, 1, count.number, count.part_id)
