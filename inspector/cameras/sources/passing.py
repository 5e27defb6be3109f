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
SILENT_PERIODS, SILENT_S, BEGIN_S = 20, 2.0, 10.0


class Absence:
    """How long nothing was known of a camera's parts; what is told of that time is not told again."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def end(self) -> None:
        """A part is known, shown or lost."""
        self._since_s = time.monotonic()

    def told(self, rate_hz: float | None) -> Iterator[Lost]:
        """What passed since then, of a camera that was opened again; nothing if no part was ever known."""
        since_s, now_s = self._since_s, time.monotonic()
        if since_s is None:
            return
        away_s = now_s - since_s
        count, known = 1, "how many parts passed is not known, at least one is told as lost"
        if rate_hz is not None:
            count = max(1, min(MAX_AWAY, math.floor(away_s * rate_hz)))
            known = f"{rate_hz:.4g} parts passed a second"
        self._since_s = now_s if rate_hz is not None else None
        yield Lost(f"the camera was away for {away_s:.1f} s; {known}", count)


def silent_after_s(rate_hz: float | None, *, has_begun: bool = True) -> float | None:
    """Seconds without a frame after which a camera of that rate is gone; None if its rate is not known.

    Until it `has_begun` it may take longer: some set themselves first.
    """
    if not rate_hz:
        return None
    return max(SILENT_S if has_begun else BEGIN_S, SILENT_PERIODS / rate_hz)


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
