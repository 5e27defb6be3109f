"""Hours, shifts, days and weeks by the plant's clock, also around midnight and a change of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from inspector.quality.periods import By, Calendar

THREE = (time(6), time(14), time(22))
BERLIN = Calendar(THREE, ZoneInfo("Europe/Berlin"))

PERIODS = [
    pytest.param("2026-11-29T05:30", By.SHIFT, "2026-11-29 06:00–14:00", id="06:30 in Berlin"),
    pytest.param("2026-11-29T04:59", By.SHIFT, "2026-11-28 22:00–06:00", id="before the first shift it is the night's"),
    pytest.param("2026-11-29T21:00", By.SHIFT, "2026-11-29 22:00–06:00", id="the night begins"),
    pytest.param("2026-11-29T23:30", By.SHIFT, "2026-11-29 22:00–06:00", id="past midnight"),
    pytest.param("2026-11-29T23:30", By.DAY, "2026-11-30", id="the day is the plant's"),
    pytest.param("2026-11-29T22:59", By.WEEK, "2026-W48", id="Sunday is the week's last day"),
    pytest.param("2026-11-29T23:00", By.WEEK, "2026-W49", id="Monday"),
    pytest.param("2025-12-31T12:00", By.WEEK, "2026-W01", id="the week of the turn of the year"),
    pytest.param("2026-07-01T10:59", By.HOUR, "2026-07-01 12:00", id="in summer two hours ahead"),
    pytest.param("2026-10-25T01:30", By.SHIFT, "2026-10-24 22:00–06:00", id="the night that clocks go back"),
]


@pytest.mark.parametrize(("moment", "by", "name"), PERIODS)
def test_periods(moment: str, by: By, name: str) -> None:
    assert BERLIN.period(datetime.fromisoformat(moment).replace(tzinfo=UTC), by).name == name


def test_shifts_of_a_day_follow_each_other() -> None:
    assert BERLIN.shift_names == ["06:00–14:00", "14:00–22:00", "22:00–06:00"]
    start = datetime(2026, 3, 2, 5, tzinfo=UTC)
    assert [BERLIN.shift(start + hours * timedelta(hours=1)) for hours in range(0, 24, 4)] == [1, 1, 2, 2, 3, 3]


def test_one_shift_is_the_whole_day() -> None:
    calendar = Calendar((time(0),), UTC)
    assert calendar.shift_names == ["00:00–00:00"]
    assert calendar.period(datetime(2026, 3, 2, 23, 59, tzinfo=UTC), By.SHIFT).begin == datetime(2026, 3, 2)  # noqa: DTZ001


def test_periods_are_in_the_order_of_time() -> None:
    calendar = Calendar(THREE, timezone(timedelta(hours=5, minutes=45)))
    moments = [datetime(2026, 3, 2, tzinfo=UTC) + number * timedelta(minutes=15) for number in range(400)]
    for by in (By.HOUR, By.SHIFT, By.DAY, By.WEEK):
        periods = [calendar.period(moment, by) for moment in moments]
        assert periods == sorted(periods)
        assert all(p.begin <= calendar.local(m) for p, m in zip(periods, moments, strict=True))


def test_a_lot_is_no_stretch_of_time() -> None:
    with pytest.raises(ValueError, match="no stretch of time"):
        BERLIN.period(datetime(2026, 3, 2, tzinfo=UTC), By.LOT)
