"""First pass yield and what the rest was rejected for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a Pareto chart: `share` of everything counted, `cumulative` with all bars before it."""

    name: str
    count: int
    share: float
    cumulative: float


def pareto(counts: Mapping[str, int]) -> tuple[Bar, ...]:
    """Bars by falling count, equal ones by name; what was never counted has no bar."""
    total = sum(counts.values())
    bars, so_far = [], 0
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count:
            so_far += count
            bars.append(Bar(name, count, count / total, so_far / total))
    return tuple(bars)


def vital_few(bars: tuple[Bar, ...], share: float = 0.8) -> tuple[Bar, ...]:
    """The fewest first bars that together hold `share`. Source: Juran's Quality Handbook, 5th ed. 1999, section 5."""
    for number, bar in enumerate(bars, start=1):
        if bar.cumulative >= share:
            return bars[:number]
    return bars
