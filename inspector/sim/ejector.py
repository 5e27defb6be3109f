"""What a PLC program decides: which results are new, whether the inspector lives, which parts to eject. Pure, no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from inspector.part import Verdict
from inspector.signalling.registers import SEQUENCE_MODULUS, StationBlock


@dataclass(frozen=True, slots=True)
class News:
    """The results that a look at the station block announces: `count` of them from sequence `first` on.

    `lost` more were overwritten in the ring before this look. `restarted` means that the inspector counts anew.
    """

    first: int
    count: int
    lost: int = 0
    restarted: bool = False


class Follower:
    """Follows the sequence numbers of a station, so that every result is taken once.

    With `backlog`, the first look takes what the ring already holds; without, only what comes after it.
    """

    def __init__(self, backlog: bool = False) -> None:
        self._backlog = backlog
        self._last: int | None = None

    def look(self, block: StationBlock) -> News | None:
        """What is new in this station block, or None."""
        if block.verdict == 0:
            # Nothing judged yet: whatever comes is new. After a restart without history the count goes on.
            self._backlog = True
            return None
        last, self._last = self._last, block.sequence
        if last is None:
            return self._newest(block, block.ring_count) if self._backlog else None
        new = (block.sequence - last) % SEQUENCE_MODULUS
        if new == 0:
            return None
        if new > SEQUENCE_MODULUS // 2:
            return self._newest(block, block.ring_count, restarted=True)
        count = min(new, block.ring_count)
        return self._newest(block, count, lost=new - count)

    def _newest(self, block: StationBlock, count: int, lost: int = 0, restarted: bool = False) -> News:
        return News((block.sequence - count + 1) % SEQUENCE_MODULUS, count, lost, restarted)


class HeartbeatWatch:
    """Tells a living inspector from a dead or stuck one. Until the heartbeat was seen to move it counts as stale."""

    def __init__(self, stale_ns: int) -> None:
        self._stale_ns = stale_ns
        self._value: int | None = None
        self._moved_ns: int | None = None

    def see(self, value: int, now_ns: int) -> None:
        """Take in the heartbeat register as just read."""
        if self._value is not None and value != self._value:
            self._moved_ns = now_ns
        self._value = value

    def stale(self, now_ns: int) -> bool:
        """Whether parts must be rejected because nobody vouches for them."""
        return self._moved_ns is None or now_ns - self._moved_ns > self._stale_ns


@dataclass(frozen=True, slots=True)
class Ejection:
    """What the ejector did with one part. `cause` is "verdict", "stale heartbeat" or "" for a part let through."""

    sequence: int
    ejected: bool
    cause: str


class Ejector:
    """A reject output some way down the belt: parts reach it in order, `delay_ns` after their verdict was read."""

    def __init__(self, delay_ns: int) -> None:
        self._delay_ns = delay_ns
        self._parts: deque[tuple[int, int, int]] = deque()

    def add(self, sequence: int, verdict: int, now_ns: int) -> None:
        """A part on its way to the ejector."""
        self._parts.append((now_ns + self._delay_ns, sequence, verdict))

    @property
    def next_due_ns(self) -> int | None:
        """When the next part reaches the ejector."""
        return self._parts[0][0] if self._parts else None

    def act(self, now_ns: int, stale: bool) -> list[Ejection]:
        """Handle the parts that are there by now: anything but PASS is ejected, with a stale heartbeat everything."""
        done = []
        while self._parts and self._parts[0][0] <= now_ns:
            _, sequence, verdict = self._parts.popleft()
            cause = "verdict" if verdict != Verdict.PASS else "stale heartbeat" if stale else ""
            done.append(Ejection(sequence, bool(cause), cause))
        return done
