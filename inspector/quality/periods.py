"""Hours, shifts, days and weeks of a plant, by the clocks of the plant: what reports group by."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo


class By(enum.Enum):
    """What a report groups inspections by."""

    HOUR = "hour"
    SHIFT = "shift"
    DAY = "day"
    WEEK = "week"
    LOT = "lot"


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A stretch of time with a name; in the order of their beginnings. `begin` is the clock's time, without a zone."""

    begin: datetime
    name: str


@dataclass(frozen=True, slots=True)
class Calendar:
    """When shifts begin, by the clock of `zone`; None is the clock of this machine."""

    shifts: tuple[time, ...]
    zone: tzinfo | None = None

    def local(self, moment: datetime) -> datetime:
        """What the plant's clock shows, without a zone."""
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def moment(self, local: datetime) -> datetime:
        """The moment at which the plant's clock shows this; the first of two when clocks go back."""
        return local.astimezone() if self.zone is None else local.replace(tzinfo=self.zone)

    def shift(self, moment: datetime) -> int:
        """Which shift of the day it is, from 1 by the time of day that they begin at."""
        return self._shift(self.local(moment))[0]

    def period(self, moment: datetime, by: By) -> Period:
        """The stretch that a moment lies in. ValueError for lots, which are no stretches of time."""
        local = self.local(moment)
        midnight = datetime.combine(local.date(), time())
        if by is By.HOUR:
            begin = local.replace(minute=0, second=0, microsecond=0)
            return Period(begin, f"{begin:%Y-%m-%d %H:00}")
        if by is By.SHIFT:
            number, begin = self._shift(local)
            return Period(begin, f"{begin:%Y-%m-%d} {self.shift_name(number)}")
        if by is By.DAY:
            return Period(midnight, f"{midnight:%Y-%m-%d}")
        if by is By.WEEK:
            monday = midnight - timedelta(days=local.weekday())
            return Period(monday, f"{monday:%G-W%V}")
        raise ValueError("a lot is no stretch of time: group by the lot's name")

    def shift_name(self, number: int) -> str:
        """Such as "06:00–14:00"."""
        starts = self._starts
        begin, end = starts[number - 1], starts[number % len(starts)]
        return f"{begin:%H:%M}–{end:%H:%M}"

    @property
    def shift_names(self) -> Sequence[str]:
        """Of the shifts of a day, in their order."""
        return [self.shift_name(number) for number in range(1, len(self.shifts) + 1)]

    @property
    def _starts(self) -> tuple[time, ...]:
        return tuple(sorted(self.shifts))

    def _shift(self, local: datetime) -> tuple[int, datetime]:
        """Number and beginning; before the day's first shift it is still yesterday's last."""
        starts = self._starts
        begun = [start for start in starts if start <= local.time()]
        day = local.date() if begun else local.date() - timedelta(days=1)
        start = begun[-1] if begun else starts[-1]
        return starts.index(start) + 1, datetime.combine(day, start)
