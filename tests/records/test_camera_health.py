from __future__ import annotations

from datetime import timedelta

import pytest
from record_samples import LINE, START

from inspector.records.camera_health import THIN_AFTER, AlarmRow, HealthRow
from inspector.records.store import Store

MINUTE = timedelta(minutes=1)


def row(minute: int, measure: int = 1, camera: str = "cam1", median: float = 0.5) -> HealthRow:
    start = START + minute * MINUTE
    return HealthRow(camera, measure, start, start + MINUTE, 600, median, 0.25, 0.75)


def alarm(kind: int, minute: int, *, over: int | None = None, value: float = -0.12) -> AlarmRow:
    cleared = None if over is None else START + over * MINUTE
    return AlarmRow("cam1", kind, START + minute * MINUTE, value, 0.1, "the light has faded", "cam1@0123", cleared)


def test_rows_come_back_by_camera_and_time(store: Store) -> None:
    rows = [row(0), row(0, 2), row(1), row(2), row(1, camera="cam2")]
    store.add_camera_health(LINE, rows, [])
    store.add_camera_health("other line", [row(1)], [])
    assert store.camera_health(LINE, "cam1", START) == rows[:4]
    assert store.camera_health(LINE, "cam1", START + MINUTE, START + 2 * MINUTE) == [row(1)]
    assert store.latest_camera_health(LINE, "cam1") == [row(2)]
    assert store.latest_camera_health(LINE, "cam3") == []


def test_a_row_comes_once(store: Store) -> None:
    for median in (0.5, 0.9):
        store.add_camera_health(LINE, [row(0, median=median)], [])
    assert store.camera_health(LINE, "cam1", START) == [row(0)], "a batch that is sent again changes nothing"


def test_alarms_that_last_come_first(store: Store) -> None:
    old, lasting, newer = alarm(4, 0, over=5), alarm(1, 2), alarm(4, 9, over=12)
    store.add_camera_health(LINE, [], [old, lasting, newer])
    assert store.camera_alarms(LINE, "cam1") == [lasting, newer, old]
    assert store.camera_alarms(LINE, "cam1", limit=1) == [lasting]


def test_the_end_of_an_alarm_is_noted_on_it(store: Store) -> None:
    store.add_camera_health(LINE, [], [alarm(1, 2)])
    ended = alarm(1, 2, over=8, value=-0.05)
    store.add_camera_health(LINE, [], [ended])
    assert store.camera_alarms(LINE, "cam1") == [ended]


@pytest.mark.parametrize(
    ("age", "left", "why"),
    [
        (THIN_AFTER - timedelta(hours=1), 40, "young rows stay"),
        (THIN_AFTER + timedelta(hours=1), 4, "of old ones every tenth minute"),
    ],
)
def test_old_rows_are_thinned(store: Store, age: timedelta, left: int, why: str) -> None:
    store.add_camera_health(LINE, [row(minute) for minute in range(40)], [])
    gone = store.thin_camera_health(LINE, START + age)
    assert len(store.camera_health(LINE, "cam1", START)) == left, why
    assert gone == 40 - left


def test_thinning_one_line_leaves_the_others(store: Store) -> None:
    for line in (LINE, "other line"):
        store.add_camera_health(line, [row(minute) for minute in range(10)], [])
    store.thin_camera_health(LINE, START + THIN_AFTER + timedelta(days=1))
    assert len(store.camera_health("other line", "cam1", START)) == 10
