"""Counts verdicts and how long each stage of a part took. Memory only; a reader takes a copy."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from inspector.admission import Part
from inspector.part import Inspection, Reason, Verdict

# Upper bounds in seconds: close together where a line's budget lies, up to what only a stuck line takes.
BOUNDS_S = (
    *(0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05),
    *(0.065, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0),
)
PREPARE, MODEL, SETTLE, TOTAL = "prepare", "model", "settle", "total"
MARGIN = "margin"


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values were at most each of `BOUNDS_S`, and above all of them; not cumulated. `total_s` is their sum."""

    counts: tuple[int, ...]
    total_s: float


class _Building:
    """A histogram that grows; the meter's lock guards it."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, value_s: float) -> None:
        self.counts[bisect_left(BOUNDS_S, value_s)] += 1
        self.total_s += value_s


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted since the start: verdicts by station, verdict and reason; seconds by station and stage.

    Stages of judged parts, of the view that was judged last: `prepare` from receipt of the part's first frame to the model's
    input, `model` from there to its scores, waiting included, `settle` from there to the verdict on every output, `total` from
    receipt to that, of every part. `margin` is the time left to the deadline of judged parts.
    """

    verdicts: Mapping[tuple[str, Verdict, Reason], int]
    stages: Mapping[tuple[str, str], Histogram]


class Meter:
    """What the pipeline tells of each part that it settles; some 3 µs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._verdicts: dict[tuple[str, Verdict, Reason], int] = {}
        self._stages: dict[tuple[str, str], _Building] = {}

    def settled(self, part: Part, inspection: Inspection, now_s: float) -> None:
        """A part has its verdict; `now_s` on the pipeline's clock."""
        station = inspection.station
        times = [(TOTAL, now_s - part.received_s)]
        last = max(part.looks, key=lambda look: look.scored_s)
        if inspection.verdict is not Verdict.UNKNOWN and last.scored_s:
            times += [
                (PREPARE, last.prepared_s - part.received_s),
                (MODEL, last.scored_s - last.prepared_s),
                (SETTLE, now_s - last.scored_s),
                (MARGIN, max(0.0, part.expiry_s - now_s)),
            ]
        key = (station, inspection.verdict, inspection.reason)
        with self._lock:
            self._verdicts[key] = self._verdicts.get(key, 0) + 1
            for stage, seconds in times:
                building = self._stages.get((station, stage))
                if building is None:
                    building = self._stages[station, stage] = _Building()
                building.add(seconds)

    def read(self) -> Reading:
        """A copy of what was counted."""
        with self._lock:
            stages = {key: Histogram(tuple(one.counts), one.total_s) for key, one in self._stages.items()}
            return Reading(dict(self._verdicts), stages)
