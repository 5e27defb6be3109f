"""What the servicers need of the rest of the house, so that tests may put a small twin in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from inspector.part import Frame, Inspection, Reason, Verdict
from inspector.promotions import ViewReading, Wish
from inspector.records.queries import InspectionFilter, Page, StoredInspection
from inspector.signalling.commands import Outcome, Request
from inspector.signalling.signal import StationReport
from inspector.station import SessionInfo

Reply = Callable[[Inspection], None]


class Inspector(Protocol):
    """`inspector.pipeline.Pipeline`, as the servicers use it; the methods are described there."""

    @property
    def line(self) -> str: ...

    def open_session(self, line: str, camera: str, client: str) -> AbstractContextManager[SessionInfo]: ...

    def submit(self, camera: str, frame: Frame, reply: Reply) -> int: ...

    def submit_fault(
        self, camera: str, trigger: int, part_id: str, reason: Reason, detail: str, reply: Reply
    ) -> int: ...

    def subscribe(self, on_inspection: Reply) -> Callable[[], None]: ...

    def replay(self, after_sequence: int) -> Iterator[Inspection]: ...


class Records(Protocol):
    """`inspector.records.store.Store`, as the servicers use it."""

    def get(self, line: str, sequence: int) -> StoredInspection: ...

    def list(self, where: InspectionFilter, page_size: int = 50, page_token: str = "") -> Page: ...

    def after(
        self, line: str, sequence: int, limit: int = 500, verdicts: frozenset[Verdict] = frozenset()
    ) -> Sequence[StoredInspection]: ...

    def last_sequence(self, line: str) -> int: ...


class Pictures(Protocol):
    """`inspector.records.images.ImageStore`, as the servicers use it."""

    def get(self, sha256: str) -> tuple[bytes, str]: ...


class Control(Protocol):
    """`inspector.control.ControlDesk`, as the servicers use it."""

    @property
    def line(self) -> str: ...

    def report(self) -> Sequence[StationReport]: ...

    def alive(self) -> bool: ...

    def submit(self, request: Request, answered: Callable[[Request, Outcome], None]) -> None: ...


class Promotions(Protocol):
    """`inspector.promoting.Promoter`, as the servicers use it."""

    @property
    def line(self) -> str: ...

    def readings(self) -> Sequence[ViewReading]: ...

    def promote(self, wish: Wish) -> ViewReading: ...
