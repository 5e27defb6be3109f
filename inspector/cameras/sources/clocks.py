"""From a camera's clock to this computer's, with a stated uncertainty. Pure: nanoseconds go in and out.

This computer's is the monotonic one: its wall clock is set while the line runs, by NTP or by hand, and what was learned before
would then be wrong by as much. The time of day is made of it at the end, for records.

With a latch the camera tells its time at a moment that lies between asking and answer: the offset is right within half of that
round trip. Without, the frame that took least time from exposure to arrival is taken for one that took none: what every frame
takes alike is then not seen, which the stated uncertainty covers by what the program knows of exposure and transmission.
Before some frames have come nothing is said.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

# Quartz clocks of cameras and computers together drift no more than this (100 ppm).
DRIFT = 1e-4
_LATCHES, _BINS, _RECENT = 32, 60, 64
_FEWEST_ARRIVALS, _FEWEST_BINS = 8, 5
_BIN_NS = 1_000_000_000
_NS_PER_MS = 1e6
# Between two looks, some 100 ms apart, clocks that NTP only slows or hastens (500 ppm) differ by less than this.
_STEP_NS = 1_000_000
# After the wall clock was set, stamps of so long may still be from before.
_DOUBT_NS = 10_000_000_000


@dataclass(frozen=True, slots=True)
class HostTime:
    """A moment by the host's monotonic clock, right within `uncertainty_ms`."""

    at_ns: int
    uncertainty_ms: float


@dataclass(frozen=True, slots=True)
class _Fix:
    """At `camera_ns` the host's clock was ahead by `offset_ns`, within `error_ns`."""

    camera_ns: int
    offset_ns: int
    error_ns: float

    def error_at(self, camera_ns: int) -> float:
        return self.error_ns + DRIFT * abs(camera_ns - self.camera_ns)


class CameraClock:
    """The clock of one camera. `unseen_ms` is what every frame takes alike: exposure, readout, transmission."""

    def __init__(self, unseen_ms: float = 0.0) -> None:
        self._unseen_ns = unseen_ms * _NS_PER_MS
        self._latches: deque[_Fix] = deque(maxlen=_LATCHES)
        self._bins: deque[_Fix] = deque(maxlen=_BINS)
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._last_ns: int | None = None

    def latch(self, camera_ns: int, asked_ns: int, answered_ns: int) -> None:
        """The camera's clock stood at `camera_ns` at some moment between asking and answer, both by the monotonic clock."""
        middle_ns, half_ns = (asked_ns + answered_ns) // 2, (answered_ns - asked_ns) / 2
        self._latches.append(_Fix(camera_ns, middle_ns - camera_ns, half_ns))

    def arrival(self, camera_ns: int, arrived_ns: int) -> str:
        """A frame came, by the monotonic clock. Returns what is wrong with the camera's clock, if it is.

        Then all that was known of it is forgotten.
        """
        last_ns, self._last_ns = self._last_ns, camera_ns
        fault = ""
        if last_ns is not None and camera_ns < last_ns:
            fault = f"the camera's clock went back by {(last_ns - camera_ns) / 1e9:.3f} s: it was restarted or set"
            self._latches.clear()
            self._bins.clear()
            self._recent.clear()
        delay = _Fix(camera_ns, arrived_ns - camera_ns, 0.0)
        self._recent.append(delay.offset_ns)
        if self._bins and camera_ns // _BIN_NS == self._bins[-1].camera_ns // _BIN_NS:
            if delay.offset_ns < self._bins[-1].offset_ns:
                self._bins[-1] = delay
        else:
            self._bins.append(delay)
        return fault

    def to_host(self, camera_ns: int) -> HostTime | None:
        """When that was by the monotonic clock; None before anything is known."""
        if self._latches:
            best = min(self._latches, key=lambda fix: fix.error_at(camera_ns))
            return HostTime(camera_ns + best.offset_ns, best.error_at(camera_ns) / _NS_PER_MS)
        if len(self._recent) < _FEWEST_ARRIVALS:
            return None
        best = min(self._bins, key=lambda fix: fix.offset_ns)
        # How much even the quickest frame of each second differs shows what one of them may be wrong by.
        few = len(self._bins) < _FEWEST_BINS
        spread_ns = (max(self._recent) if few else max(fix.offset_ns for fix in self._bins)) - best.offset_ns
        error_ns = spread_ns + self._unseen_ns + DRIFT * abs(camera_ns - best.camera_ns)
        return HostTime(camera_ns + best.offset_ns, error_ns / _NS_PER_MS)


class WallClock:
    """This computer's wall clock beside its monotonic one."""

    def __init__(self) -> None:
        self._ahead_ns: int | None = None
        self._doubted_until_ns: int | None = None

    def look(self, now_ns: int, wall_ns: int) -> None:
        """What both clocks show now; to be told again and again, so that it is noticed when the wall clock is set."""
        before_ns, self._ahead_ns = self._ahead_ns, wall_ns - now_ns
        if before_ns is not None and abs(self._ahead_ns - before_ns) > _STEP_NS:
            self._doubted_until_ns = now_ns + _DOUBT_NS

    def to_monotonic(self, stamp_ns: int, now_ns: int, wall_ns: int) -> int:
        """When a moment not long ago was; now, which is later, while its stamp may be from before the wall clock was set."""
        self.look(now_ns, wall_ns)
        if self._doubted_until_ns is not None and now_ns < self._doubted_until_ns:
            return now_ns
        return min(now_ns, stamp_ns - (wall_ns - now_ns))


def time_of_day(at_ns: int, now_ns: int, wall_ns: int) -> datetime:
    """A moment of the monotonic clock by the wall clock as it stands now."""
    return datetime.fromtimestamp((wall_ns - (now_ns - at_ns)) / 1e9, UTC)
