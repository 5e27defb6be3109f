"""Camera health beside a line: never in its way, kept in the database, told once, and going on after a restart."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from inspector.errors import StoreUnavailable
from inspector.imaging.health.kinds import Kind
from inspector.imaging.health.measure import measure
from inspector.imaging.health.reference import Reference, build_reference
from inspector.imaging.health.window import summarise
from inspector.part import Image
from inspector.records.camera_health import AlarmRow, HealthRow
from inspector.records.store import Store
from inspector.watching import CHANGES, LEVEL, WAITING_FRAMES, CameraWatch, Care

START = datetime(2026, 3, 3, tzinfo=UTC)
WINDOW_S = 60.0
WAIT_S = 20.0


def frame(seed: int, light: float = 1.0) -> Image:
    rng = np.random.default_rng(seed)
    picture = rng.normal(100, 3, (96, 128))
    picture[30:60, 40:90] = 180 + 10 * rng.standard_normal()
    return Image(np.clip(picture * light, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def reference() -> Reference:
    frames = [measure(frame(seed), probe=True) for seed in range(40)]
    return build_reference(summarise(frames, START, START, len(frames)))


class Clock:
    """Seconds that pass when told to, on both clocks."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s

    def now(self) -> datetime:
        return START + timedelta(seconds=self.s)


class Desk:
    """A watch, fed frame by frame as fast as it measures them."""

    def __init__(self, open_store: Callable[[], Store], care: Care) -> None:
        self.clock = Clock()
        self.noted: list[tuple[str, str, Mapping[str, object]]] = []
        note = lambda *about: self.noted.append(about)  # noqa: E731
        about = (open_store, "line1", {"cam1": care}, note)
        self.watch = CameraWatch(*about, window_s=WINDOW_S, clock=self.clock, now=self.clock.now)
        self._seed = 1000

    def show(self, count: int, light: float = 1.0) -> None:
        for _ in range(count):
            self._seed += 1
            self.clock.s += 1.0
            before = self.watch.readings[0].measured
            self.watch.look("cam1", frame(self._seed, light))
            until(lambda before=before: self.watch.readings[0].measured > before)

    def minutes(self, count: int, light: float = 1.0) -> None:
        for _ in range(count):
            self.show(60, light)


def until(done: Callable[[], bool]) -> None:
    """Wait for a condition that another thread brings about."""
    tick = threading.Event()
    for _ in range(int(WAIT_S / 0.001)):
        if done():
            return
        tick.wait(0.001)
    raise AssertionError("it did not come about in time")


@contextmanager
def watching(tmp_path: Path, care: Care) -> Iterator[tuple[Desk, Store]]:
    url = f"sqlite:///{tmp_path / 'quality.db'}"
    with closing(Store(url)) as store:
        store.create()
        desk = Desk(lambda: Store(url), care)
        try:
            yield desk, store
        finally:
            desk.watch.close()


def test_a_fading_lamp_is_an_alarm_told_once(
    tmp_path: Path, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), watching(tmp_path, Care(reference, "cam1@0123")) as (desk, store):
        desk.minutes(2)
        assert not desk.watch.readings[0].alarms
        desk.minutes(5, light=0.85)
        until(lambda: Kind.LIGHT in desk.watch.readings[0].alarms)
        until(lambda: len(store.camera_alarms("line1", "cam1")) == 1)
        (alarm,) = store.camera_alarms("line1", "cam1")
        assert (alarm.cleared, alarm.words) == (None, "the light has faded by 15% since 3 March 2026")
        desk.minutes(5)
        until(lambda: not desk.watch.readings[0].alarms)
        until(lambda: store.camera_alarms("line1", "cam1")[0].cleared is not None)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "light alarm: the light has faded by 15% since 3 March 2026; clean or replace the lamp" in warnings[0]
    assert [(action, camera) for action, camera, _ in desk.noted] == [
        ("raised a camera alarm", "cam1"),
        ("ended a camera alarm", "cam1"),
    ]


def test_a_row_a_minute_is_kept(tmp_path: Path, reference: Reference) -> None:
    with watching(tmp_path, Care(reference, "cam1@0123")) as (desk, store):
        desk.minutes(3)
        until(lambda: len([r for r in store.camera_health("line1", "cam1", START) if r.measure == LEVEL]) >= 2)
        rows = [row for row in store.camera_health("line1", "cam1", START) if row.measure == LEVEL]
    assert all(WINDOW_S * 0.9 <= (row.end - row.start).total_seconds() <= WINDOW_S * 1.1 for row in rows)
    assert all(50 <= row.frames <= 61 for row in rows)
    assert rows[0].low is not None
    assert rows[0].low <= rows[0].median <= (rows[0].high or 0)


def test_without_a_reference_it_is_measured_and_nothing_is_told(tmp_path: Path) -> None:
    with watching(tmp_path, Care()) as (desk, store):
        desk.minutes(4, light=0.3)
        until(lambda: bool(store.latest_camera_health("line1", "cam1")))
        assert all(row.measure < CHANGES for row in store.camera_health("line1", "cam1", START))
        assert store.camera_alarms("line1", "cam1") == []


def test_a_camera_that_shows_hardly_anything_keeps_no_other_from_being_summed_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'quality.db'}"
    clock = Clock()
    with closing(Store(url)) as store:
        store.create()
        cameras = {"idle": Care(), "busy": Care()}
        watch = CameraWatch(lambda: Store(url), "line1", cameras, print, window_s=WINDOW_S, clock=clock, now=clock.now)
        idle, busy = cameras
        measured = lambda name: {one.camera: one.measured for one in watch.readings}[name]  # noqa: E731
        for number in range(140):
            clock.s += 1.0
            for name in (idle, busy) if number < 5 else (busy,):
                before = measured(name)
                watch.look(name, frame(number))
                until(lambda name=name, before=before: measured(name) > before)
        until(lambda: len([row for row in store.camera_health("line1", busy, START) if row.measure == LEVEL]) == 2)
        watch.close()


def test_an_alarm_that_lasts_goes_on_after_a_restart(tmp_path: Path, reference: Reference) -> None:
    care = Care(reference, "cam1@0123")
    with watching(tmp_path, care) as (desk, store):
        desk.minutes(4, light=0.8)
        until(lambda: bool(store.camera_alarms("line1", "cam1")))
    with watching(tmp_path, care) as (desk, store):
        desk.minutes(5, light=0.8)
        until(lambda: Kind.LIGHT in desk.watch.readings[0].alarms)
        assert not desk.noted, "it was told before the restart"
        assert len(store.camera_alarms("line1", "cam1")) == 1


def test_an_alarm_against_another_reference_is_over(tmp_path: Path, reference: Reference) -> None:
    with watching(tmp_path, Care(reference, "cam1@old")) as (desk, store):
        desk.minutes(4, light=0.8)
        until(lambda: bool(store.camera_alarms("line1", "cam1")))
    with watching(tmp_path, Care(reference, "cam1@new")) as (desk, store):
        desk.minutes(3)
        until(lambda: all(alarm.cleared for alarm in store.camera_alarms("line1", "cam1")))


def test_a_camera_of_another_size_is_told_once_and_not_judged(
    tmp_path: Path, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(tmp_path, Care(reference, "cam1@0123")) as (desk, store):
        for number in range(240):
            desk.clock.s += 1.0
            before = desk.watch.readings[0].measured
            desk.watch.look("cam1", Image(np.full((200, 200), 90 + number % 5, np.uint8)))
            until(lambda before=before: desk.watch.readings[0].measured > before)
        until(lambda: len(store.camera_health("line1", "cam1", START)) >= 4)
        assert not desk.watch.readings[0].alarms
    told = [record for record in caplog.records if "its health is not judged" in record.message]
    assert len(told) == 1


class Absent(Store):
    """A store whose database is away until it is let in."""

    away = True

    def add_camera_health(self, line: str, rows: list[HealthRow], alarms: list[AlarmRow]) -> None:  # type: ignore[override]
        if Absent.away:
            raise StoreUnavailable("the database is away: start it")
        super().add_camera_health(line, rows, alarms)


def test_a_database_that_is_away_gets_all_of_it_later(tmp_path: Path, reference: Reference) -> None:
    url = f"sqlite:///{tmp_path / 'quality.db'}"
    Absent.away = True
    with closing(Store(url)) as store:
        store.create()
        desk = Desk(lambda: Absent(url), Care(reference, "cam1@0123"))
        try:
            desk.minutes(4)
            assert store.camera_health("line1", "cam1", START) == []
            Absent.away = False
            desk.minutes(1)
            until(lambda: len([r for r in store.camera_health("line1", "cam1", START) if r.measure == LEVEL]) >= 4)
        finally:
            desk.watch.close()


def test_looking_never_waits(tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the worker stuck in a frame, the pipeline's thread goes on; what has no room is counted and let go."""
    stuck, entered = threading.Event(), threading.Event()

    def measure_slowly(image: Image) -> object:
        entered.set()
        stuck.wait(WAIT_S)
        return measure(image)

    monkeypatch.setattr("inspector.watching.measure", measure_slowly)
    with watching(tmp_path, Care(reference, "cam1@0123")) as (desk, _):
        for number in range(20):
            desk.clock.s += 1.0
            desk.watch.look("cam1", frame(number))
            if number == 0:
                assert entered.wait(WAIT_S)
        reading = desk.watch.readings[0]
        assert (reading.measured, reading.left_out) == (0, 20 - 1 - WAITING_FRAMES)
        stuck.set()


def test_no_more_frames_a_second_than_allowed(tmp_path: Path) -> None:
    with watching(tmp_path, Care(frames_per_s=5.0)) as (desk, _):
        for number in range(200):
            desk.clock.s += 0.01
            before = desk.watch.readings[0]
            desk.watch.look("cam1", frame(number))
            until(lambda: not desk.watch._cameras["cam1"].queue)
            assert desk.watch.readings[0].left_out == before.left_out == 0
        until(lambda: desk.watch.readings[0].measured >= 10)
        assert desk.watch.readings[0].measured <= 11, "two seconds at five a second"


def test_a_frame_that_cannot_be_measured_ends_nothing(
    tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def fails_first(image: Image) -> object:
        calls.append(image)
        if len(calls) == 1:
            raise ValueError("a fault in the measuring")
        return measure(image)

    monkeypatch.setattr("inspector.watching.measure", fails_first)
    with watching(tmp_path, Care(reference, "cam1@0123")) as (desk, _):
        desk.watch.look("cam1", frame(1))
        until(lambda: len(calls) == 1)
        desk.show(3)
        assert desk.watch.readings[0].measured == 3
    assert any("camera health failed" in record.message for record in caplog.records)
