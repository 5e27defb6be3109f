"""When a change is an alarm: beyond its limit and beyond chance, for some windows on end; and when it is over again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from inspector.imaging.health.compare import Change
from inspector.imaging.health.kinds import HealthLimits, Kind

RAISE_AFTER = 2
CLEAR_AFTER = 3
CLEAR_SHARE = 0.7
"""Of the limit: an alarm is over when the change is below that, so that one at its limit does not come and go."""
SURE_SIGMAS = 4.0

_ONE_WAY = frozenset({Kind.SATURATION, Kind.FLICKER, Kind.FOCUS, Kind.VIBRATION, Kind.DIRT, Kind.MOVED})


@dataclass(frozen=True, slots=True)
class Alarm:
    """A change that is an alarm since `since`; `change` is the newest."""

    change: Change
    limit: float
    since: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """An alarm that came or went."""

    alarm: Alarm
    time: datetime
    is_raised: bool


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of one camera: its alarms, and how many windows on end each kind was beyond its limit or well below it."""

    alarms: Mapping[Kind, Alarm] = field(default_factory=dict)
    beyond: Mapping[Kind, int] = field(default_factory=dict)
    below: Mapping[Kind, int] = field(default_factory=dict)


def limit_here(change: Change, limit: float) -> float:
    """What the change is held against: the limit, or more where chance and the parts make more by themselves; inf: off."""
    return max(limit, SURE_SIGMAS * change.sigma) if limit > 0 else float("inf")


def size_of(change: Change) -> float:
    """The change without its sign where both ways are bad; what is better than the reference counts as none."""
    return max(0.0, change.value) if change.kind in _ONE_WAY else abs(change.value)


def step(
    watch: Watch, changes: Mapping[Kind, Change], limits: HealthLimits, time: datetime
) -> tuple[Watch, list[Event]]:
    """Take in the changes of a window that ended at `time`. Kinds that it could not show stay as they are."""
    alarms, beyond, below = dict(watch.alarms), dict(watch.beyond), dict(watch.below)
    events = []
    for kind, change in changes.items():
        limit, size = limit_here(change, limits.of(kind)), size_of(change)
        beyond[kind] = beyond.get(kind, 0) + 1 if size > limit else 0
        below[kind] = below.get(kind, 0) + 1 if size < CLEAR_SHARE * limit else 0
        known = alarms.get(kind)
        if known is None and beyond[kind] >= RAISE_AFTER:
            alarms[kind] = Alarm(change, limit, time)
            events.append(Event(alarms[kind], time, is_raised=True))
        elif known is not None and below[kind] >= CLEAR_AFTER:
            del alarms[kind]
            events.append(Event(replace(known, change=change), time, is_raised=False))
        elif known is not None:
            alarms[kind] = replace(known, change=change, limit=limit)
    return Watch(alarms, beyond, below), events
