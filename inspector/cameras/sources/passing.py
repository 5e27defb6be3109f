"""Parts that pass a camera that runs freely: those that nobody saw while it was away, and those that are to be shown."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from inspector.cameras.sources.source import Grab, Lost

# Of a source that says None while nothing comes, or of one that waits for its frames.
_Grab = TypeVar("_Grab", Grab, Grab | None)
# What is told after an outage is bounded: the station takes no larger gap than its max_gap.
MAX_AWAY = 1000
# A camera that runs freely is gone if nothing came for so many periods, but no less than so long.
SILENT_PERIODS, SILENT_S = 20, 2.0


def missed_while_away(since_s: float | None, rate_hz: float | None) -> Iterator[Lost]:
    """What passed since the last frame (monotonic) before the camera was lost; nothing if there was none."""
    if since_s is None:
        return
    away_s = time.monotonic() - since_s
    count, known = 1, "how many parts passed is not known, at least one is told as lost"
    if rate_hz is not None:
        count = max(1, min(MAX_AWAY, math.floor(away_s * rate_hz)))
        known = f"{rate_hz:.4g} parts passed a second"
    yield Lost(f"the camera was away for {away_s:.1f} s; {known}", count)


def silent_after_s(rate_hz: float | None) -> float | None:
    """Seconds without a frame after which a camera of that rate is gone; None if its rate is not known."""
    return max(SILENT_S, SILENT_PERIODS / rate_hz) if rate_hz else None


def one_of(every: int, grabs: Iterator[_Grab]) -> Iterator[_Grab]:
    """The first of `every` frames, sound or lost, and None as it comes; a loss of several counts those to be shown."""
    number = 0
    for grab in grabs:
        if grab is None:
            yield grab
            continue
        count = grab.count if isinstance(grab, Lost) else 1
        first = -number % every
        parts = 0 if first >= count else 1 + (count - 1 - first) // every
        number += count
        if isinstance(grab, Lost) and parts:
            yield replace(grab, count=parts)
        elif parts:
            yield grab
