"""Camera health beside a running line: frames are looked at by a thread of its own, and no verdict waits for it.

    pipeline ──look──▶ queue of two per camera ──▶ measure ──▶ window of a minute ──▶ compare ──▶ alarms ──▶ log, database
                       (full: the frame is left out and counted)

Decisions are those of `inspector.imaging.health`; this module has the thread, the clock and what is kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from inspector.errors import InspectorError
from inspector.imaging.health.alarms import Alarm, Event, Watch, step
from inspector.imaging.health.compare import Change, comparable, compare
from inspector.imaging.health.kinds import HealthLimits, Kind
from inspector.imaging.health.measure import is_measurable, measure
from inspector.imaging.health.reference import Reference
from inspector.imaging.health.window import LEAST_FRAMES, Spread, Summary, Window
from inspector.imaging.health.words import NAMES, NEXT_STEPS, words_of
from inspector.imaging.lent import is_as_sent
from inspector.part import Image
from inspector.records.camera_health import AlarmRow, HealthRow
from inspector.records.store import Store

log = logging.getLogger(__name__)

WINDOW_S = 60.0
CLOSING_EVERY_S = 0.5
"""One window at a time: summing up takes some hundredths of a second of a core, and all begin at the same time."""
WAITING_FRAMES = 2
"""Frames of one camera that may wait to be measured."""
MAX_WAITING_ROWS = 20_000
RETRY_S = 10.0
THIN_EVERY_S = 24 * 3600.0
# Numbers of measures in the database, beside those of changes, which are `CHANGES` more than their kind. Never renumbered.
LEVEL, SATURATED, FINENESS, RED, BLUE = 1, 2, 3, 4, 5
CHANGES = 100

Note = Callable[[str, str, Mapping[str, object]], None]


@dataclass(frozen=True, slots=True)
class Care:
    """What is known of a camera before its first frame. `name` says which reference it is; without one there are no alarms."""

    reference: Reference | None = None
    name: str = ""
    limits: HealthLimits = field(default_factory=HealthLimits)
    frames_per_s: float = 4.0


@dataclass(frozen=True, slots=True)
class CameraReading:
    """How a camera is, for metrics. `latest` are the changes of the newest window, `level` its mean grey level."""

    camera: str
    measured: int
    left_out: int
    has_reference: bool
    level: float | None
    saturated: float | None
    latest: Mapping[Kind, Change]
    alarms: Mapping[Kind, Alarm]


class _Camera:
    """One camera's queue and window. The queue is shared; the rest belongs to the worker."""

    def __init__(self, name: str, care: Care) -> None:
        self.name, self.care = name, care
        self.queue: deque[tuple[Image, datetime]] = deque()
        self.next_s = 0.0
        self.measured = self.left_out = 0
        self.window: Window | None = None
        self.window_end_s = 0.0
        self.watch = Watch()
        self.latest: Mapping[Kind, Change] = {}
        self.level: float | None = None
        self.saturated: float | None = None
        self.told_unlike = False

    def reading(self) -> CameraReading:
        return CameraReading(
            self.name,
            self.measured,
            self.left_out,
            self.care.reference is not None,
            self.level,
            self.saturated,
            dict(self.latest),
            dict(self.watch.alarms),
        )


class CameraWatch:
    """Watches the cameras of a line from a thread of its own."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        line: str,
        cameras: Mapping[str, Care],
        note: Note,
        *,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`note` puts alarms on the audit log: action, subject, details."""
        self._open_store = open_store
        self._line = line
        self._cameras = {name: _Camera(name, care) for name, care in cameras.items()}
        self._note = note
        self._window_s = window_s
        self._clock, self._now = clock, now
        self._store: Store | None = None
        self._rows: deque[HealthRow] = deque(maxlen=MAX_WAITING_ROWS)
        self._alarms: deque[AlarmRow] = deque(maxlen=MAX_WAITING_ROWS)
        self._thin_s = self._retry_s = self._restore_s = self._next_close_s = clock()
        self._restored = False
        self._faults = 0
        self._changed = threading.Condition(threading.Lock())
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="camera-health", daemon=True)
        self._thread.start()

    def look(self, camera: str, image: Image) -> None:
        """Take a frame to be measured, if there is room. Never waits, never raises; the image is only read."""
        one = self._cameras.get(camera)
        if one is None:
            return
        now_s = self._clock()
        with self._changed:
            if now_s < one.next_s or self._stopping:
                return
            one.next_s = max(one.next_s, now_s - 1 / one.care.frames_per_s) + 1 / one.care.frames_per_s
            if len(one.queue) >= WAITING_FRAMES:
                one.left_out += 1
                return
            one.queue.append((image, self._now()))
            self._changed.notify()

    @property
    def readings(self) -> Sequence[CameraReading]:
        """How the cameras are, by name."""
        return [self._cameras[name].reading() for name in sorted(self._cameras)]

    def close(self, patience_s: float = 2.0) -> None:
        """End the thread. What the last window holds is kept if it is enough to say anything."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(patience_s)

    # ------------------------------------------------------------------------------------------------------ the thread

    def _work(self) -> None:
        try:
            while True:
                # Soon, and not when the first window is summed up: both at once would be felt by the parts of that moment.
                self._guarded(self._restore)
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping or any(c.queue for c in self._cameras.values()), 1.0)
                    stopping = self._stopping
                    taken = [(one, *one.queue.popleft()) for one in self._cameras.values() if one.queue]
                while taken:
                    # No name here outlives it: the picture may hold all of a camera's shared memory.
                    self._guarded(self._measure, *taken.pop(0))
                for one in self._cameras.values():
                    due = self._clock() >= max(one.window_end_s, self._next_close_s)
                    if one.window is not None and (due or stopping):
                        self._guarded(self._close_window, one)
                        if one.window is None:  # one with too few frames goes on, and keeps nobody waiting
                            self._next_close_s = self._clock() + CLOSING_EVERY_S
                self._keep()
                if stopping:
                    return
        finally:
            if self._store is not None:
                self._store.close()

    def _guarded(self, what: Callable[..., None], *about: object) -> None:
        """Camera health must not end because of one odd frame."""
        try:
            what(*about)
        except Exception:  # the worker's outermost edge: told with its traceback at the first, second, fourth, … time
            self._faults += 1
            if self._faults & (self._faults - 1) == 0:
                log.exception("camera health failed (fault %d)", self._faults)

    def _measure(self, one: _Camera, image: Image, time_: datetime) -> None:
        if not is_measurable(image):
            return
        frame = measure(image)
        if not is_as_sent(image):
            one.left_out += 1
            return
        one.measured += 1
        if one.window is not None and not one.window.fits(frame):
            self._close_window(one)
        if one.window is None:
            one.window = Window(time_)
            one.window_end_s = self._clock() + self._window_s
        one.window.add(frame, time_)

    def _restore(self) -> None:
        """Alarms that lasted when the service was stopped go on; those against another reference are over."""
        if self._restored or self._clock() < self._restore_s:
            return
        self._restore_s = self._clock() + RETRY_S
        over: list[AlarmRow] = []
        try:
            store = self._opened()
            for one in self._cameras.values():
                going_on = dict(one.watch.alarms)
                for row in store.camera_alarms(self._line, one.name):
                    if row.cleared is not None:
                        break
                    if row.reference == one.care.name and one.care.reference is not None and row.kind not in going_on:
                        kind = Kind(row.kind)
                        going_on[kind] = Alarm(Change(kind, row.value), row.limit, row.raised)
                    else:
                        over.append(replace(row, cleared=self._now()))
                one.watch = replace(one.watch, alarms=going_on)
        except InspectorError as error:
            log.debug("alarms of cameras are not restored yet: %s", error)
            return
        self._alarms.extend(over)
        self._restored = True

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def _close_window(self, one: _Camera) -> None:
        """Sum the window up, unless it holds too few frames and may go on."""
        assert one.window is not None
        if one.window.frames < LEAST_FRAMES:
            if self._stopping:
                one.window = None
            return
        window, one.window = one.window, None
        summary = window.summary()
        self._rows.extend(_rows(one.name, summary))
        one.level, one.saturated = summary.level().median, summary.saturation().median
        reference = one.care.reference
        if reference is None:
            return
        if not comparable(summary, reference):
            self._tell_unlike(one, summary, reference)
            return
        one.told_unlike = False
        changes = compare(summary, reference)
        one.watch, events = step(one.watch, changes, one.care.limits, summary.end)
        one.latest = changes
        for change in changes.values():
            self._rows.append(
                _row(one.name, summary, CHANGES + change.kind, Spread(change.value, change.value, change.value))
            )
        for event in events:
            self._tell(one, event, reference)

    def _tell_unlike(self, one: _Camera, summary: Summary, reference: Reference) -> None:
        one.latest = {}
        if one.told_unlike:
            return
        one.told_unlike = True
        (width, height), (was_width, was_height) = summary.size_px, reference.size_px
        log.warning(
            "camera %s sends %d × %d px, its reference %s has %d × %d px%s: its health is not judged; set it as it was, "
            "or take a new reference with `inspector camera setup`",
            *(one.name, width, height, one.care.name, was_width, was_height),
            "" if (width, height) != (was_width, was_height) else " and other colours",
        )

    def _tell(self, one: _Camera, event: Event, reference: Reference) -> None:
        """Log, audit log, database."""
        alarm, kind = event.alarm, event.alarm.change.kind
        words = words_of(alarm.change, reference.start)
        if event.is_raised:
            log.warning("camera %s, %s alarm: %s; %s", one.name, NAMES[kind], words, NEXT_STEPS[kind])
        else:
            log.info("camera %s, %s alarm is over: %s", one.name, NAMES[kind], words)
        action = "raised a camera alarm" if event.is_raised else "ended a camera alarm"
        about = {"kind": NAMES[kind], "value": alarm.change.value, "limit": alarm.limit, "words": words}
        self._note(action, one.name, {**about, "reference": one.care.name})
        self._alarms.append(
            AlarmRow(
                camera=one.name,
                kind=int(kind),
                raised=alarm.since,
                value=alarm.change.value,
                limit=alarm.limit,
                words=words,
                reference=one.care.name,
                cleared=None if event.is_raised else event.time,
            )
        )

    def _keep(self) -> None:
        """Bring what waits into the quality database. While that is away it waits, and the oldest is left out in the end."""
        if (not self._rows and not self._alarms) or (self._clock() < self._retry_s and not self._stopping):
            return
        rows, alarms = list(self._rows), list(self._alarms)
        try:
            self._opened().add_camera_health(self._line, rows, alarms)
            if self._clock() - self._thin_s >= THIN_EVERY_S:
                self._thin_s = self._clock()
                self._opened().thin_camera_health(self._line, self._now())
        except InspectorError as error:
            self._retry_s = self._clock() + RETRY_S
            log.debug("camera health waits for the database: %s", error)
            return
        for queue, kept in ((self._rows, rows), (self._alarms, alarms)):
            for _ in kept:
                queue.popleft()


def _rows(camera: str, summary: Summary) -> list[HealthRow]:
    """What a window says by itself, with or without a reference."""
    spreads = {LEVEL: summary.level(), SATURATED: summary.saturation()}
    if (fineness := summary.fineness()) is not None:
        spreads[FINENESS] = fineness
    if (colours := summary.colours()) is not None:
        spreads[RED], spreads[BLUE] = colours
    return [_row(camera, summary, measured, spread) for measured, spread in spreads.items()]


def _row(camera: str, summary: Summary, measured: int, spread: Spread) -> HealthRow:
    low, high = (None, None) if spread.low == spread.high == spread.median else (spread.low, spread.high)
    return HealthRow(
        camera=camera,
        measure=measured,
        start=summary.start,
        end=summary.end,
        frames=summary.frames,
        median=spread.median,
        low=low,
        high=high,
    )
