"""A small pipeline in memory, with the surface that the servicers use, for tests of the transport alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from inspector.errors import CameraBusy, NotFound, StoreUnavailable, TriggerOutOfRange, UnknownCamera
from inspector.part import Frame, Inspection, Reason, Verdict
from inspector.records.queries import InspectionFilter, Page, StoredInspection
from inspector.station import SessionInfo

Reply = Callable[[Inspection], None]
TIME = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
MAX_GAP = 200
# Longer than any pause of a busy test machine.
DEADLINE_MS = 30_000


def inspection(sequence: int, trigger: int | None = None, reason: Reason = Reason.WITHIN_LIMITS) -> Inspection:
    """A plain inspection."""
    return Inspection(
        line="a",
        station="s1",
        camera="cam1",
        sequence=sequence,
        station_sequence=sequence,
        trigger=sequence if trigger is None else trigger,
        part_id=f"part-{sequence}",
        verdict=reason.verdict,
        reason=reason,
        detail="",
        score=0.25,
        limit=0.5,
        findings=(),
        recipe="r",
        bundle="b@0123456789ab",
        capture_time=None,
        receive_time=TIME,
        decide_time=TIME,
        latency_ms=4.5,
    )


class TwinPipeline:
    """Judges every frame at once: PASS, or REJECT if its first byte is odd. `hold()` keeps verdicts back until `release()`."""

    line = "a"

    def __init__(self, cameras: Sequence[str] = ("cam1",)) -> None:
        self._lock = threading.RLock()
        self._cameras = cameras
        self.busy: dict[str, str] = {}
        self.next_trigger = dict.fromkeys(cameras, 1)
        self.frames: list[Frame] = []
        self.faults: list[tuple[int, str, Reason, str]] = []
        self.inspections: list[Inspection] = []
        self.journal: list[Inspection] = []
        self._by_trigger: dict[tuple[str, int], Inspection] = {}
        self._waiting: dict[tuple[str, int], list[tuple[Reason, str, Reply]]] | None = None
        self._subscribers: list[Reply] = []
        self.sessions_closed = threading.Semaphore(0)
        self.fault: Exception | None = None
        self.view = ""

    @contextmanager
    def open_session(self, line: str, camera: str, client: str) -> Iterator[SessionInfo]:
        with self._lock:
            if camera not in self._cameras or line != self.line:
                raise UnknownCamera(f'line "a" has no camera "{camera}": correct the name')
            if camera in self.busy:
                raise CameraBusy(f'camera "{camera}" already streams from "{self.busy[camera]}": stop that one first')
            self.busy[camera] = client
            about = ("s1", "r", "b@0123456789ab", DEADLINE_MS, 2_000_000, self.next_trigger[camera])
            session = SessionInfo(*about, self.view)
        try:
            yield session
        finally:
            with self._lock:
                del self.busy[camera]
            self.sessions_closed.release()

    def submit(self, camera: str, frame: Frame, reply: Reply) -> int:
        if self.fault is not None:
            raise self.fault
        self.frames.append(frame)
        if len(frame.data) > 2_000_000:
            reason = Reason.FRAME_TOO_LARGE
        elif not len(frame.data):
            reason = Reason.FRAME_INVALID
        else:
            reason = Reason.SCORE_ABOVE_LIMIT if frame.data[0] % 2 else Reason.WITHIN_LIMITS
        return self._take(camera, frame.trigger, reason, "", reply)

    def submit_fault(self, camera: str, trigger: int, part_id: str, reason: Reason, detail: str, reply: Reply) -> int:
        self.faults.append((trigger, part_id, reason, detail))
        return self._take(camera, trigger, reason, detail, reply)

    def hold(self) -> None:
        """Keep verdicts back."""
        self._waiting = {}

    def release(self) -> None:
        """Give the verdicts that were kept back."""
        with self._lock:
            waiting, self._waiting = self._waiting or {}, None
            for (camera, trigger), asked in waiting.items():
                reason, detail, _ = asked[0]
                self._settle(camera, trigger, reason, detail, [reply for _, _, reply in asked])

    @property
    def held(self) -> int:
        return len(self._waiting or {})

    def _take(self, camera: str, trigger: int, reason: Reason, detail: str, reply: Reply) -> int:
        with self._lock:
            expected = self.next_trigger[camera]
            if (camera, trigger) in self._by_trigger:
                reply(self._by_trigger[camera, trigger])
                return 1
            if self._waiting is not None and (camera, trigger) in self._waiting:
                self._waiting[camera, trigger].append((reason, detail, reply))
                return 1
            if not expected <= trigger <= expected + MAX_GAP:
                raise TriggerOutOfRange(f"trigger {trigger} came, {expected} was expected: number from there")
            self.next_trigger[camera] = trigger + 1
            for skipped in range(expected, trigger):
                self._settle(camera, skipped, Reason.TRIGGER_GAP, "skipped", [reply])
            if self._waiting is not None:
                self._waiting[camera, trigger] = [(reason, detail, reply)]
            else:
                self._settle(camera, trigger, reason, detail, [reply])
            return 1 + trigger - expected

    def _settle(self, camera: str, trigger: int, reason: Reason, detail: str, replies: Sequence[Reply]) -> None:
        made = inspection(len(self.inspections) + 1, trigger, reason)
        self._by_trigger[camera, trigger] = made
        self.publish(made)
        for reply in replies:
            reply(made)

    def publish(self, made: Inspection) -> None:
        """Journal and tell."""
        with self._lock:
            self.inspections.append(made)
            self.journal.append(made)
            for subscriber in list(self._subscribers):
                subscriber(made)

    def subscribe(self, on_inspection: Reply) -> Callable[[], None]:
        with self._lock:
            self._subscribers.append(on_inspection)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers.remove(on_inspection)

        return unsubscribe

    @property
    def watchers(self) -> int:
        return len(self._subscribers)

    def replay(self, after_sequence: int) -> Iterator[Inspection]:
        return iter([one for one in list(self.journal) if one.sequence > after_sequence])


class TwinRecords:
    """A quality database in memory."""

    def __init__(self) -> None:
        self.rows: list[Inspection] = []
        self.down = False
        self.asked: list[tuple[InspectionFilter, int, str]] = []

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("the quality database does not answer: start it; live verdicts go on")

    def get(self, line: str, sequence: int) -> StoredInspection:
        self._check()
        for row in self.rows:
            if (row.line, row.sequence) == (line, sequence):
                return StoredInspection(row, (), None)
        raise NotFound(f"lines/{line}/inspections/{sequence} is not on record: the number is wrong")

    def list(self, where: InspectionFilter, page_size: int = 50, page_token: str = "") -> Page:
        self._check()
        self.asked.append((where, page_size, page_token))
        return Page(tuple(StoredInspection(row, (), None) for row in reversed(self.rows[-page_size:])))

    def after(
        self, line: str, sequence: int, limit: int = 500, verdicts: frozenset[Verdict] = frozenset()
    ) -> Sequence[StoredInspection]:
        self._check()
        found = [r for r in list(self.rows) if r.sequence > sequence and (not verdicts or r.verdict in verdicts)]
        return [StoredInspection(row, (), None) for row in found[:limit]]

    def last_sequence(self, line: str) -> int:
        self._check()
        return self.rows[-1].sequence if self.rows else 0


class TwinPictures:
    """An image store in memory."""

    def __init__(self) -> None:
        self.pictures: dict[str, tuple[bytes, str]] = {}

    def get(self, sha256: str) -> tuple[bytes, str]:
        if sha256 not in self.pictures:
            raise NotFound(f"picture {sha256} was never stored here: check the key")
        return self.pictures[sha256]
