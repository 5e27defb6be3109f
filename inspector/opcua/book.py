"""The results of one station: the newest in memory, so that they are there at once; all of them in the quality database."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from inspector.errors import InvalidRequest, NotFound
from inspector.part import Inspection, Verdict
from inspector.records.queries import InspectionFilter, Page, StoredInspection

KEPT = 1000
PAGE = 500
MAX_LOOKED_AT = 20_000
"""Rows that one question may go through: with several stations on a line, and filters that no index serves."""
# The longest that a recipe lets a part wait (deadline_ms), and some for the journal.
_LATEST_VERDICT = timedelta(seconds=90)
_ID = re.compile(r"lines/([^/]{1,256})/inspections/([0-9]{1,19})", re.ASCII)


class Records(Protocol):
    """`inspector.records.store.Store`, as far as it is asked here."""

    def get(self, line: str, sequence: int) -> StoredInspection: ...

    def list(self, where: InspectionFilter, page_size: int = ..., page_token: str = ...) -> Page: ...

    def after(self, line: str, sequence: int, limit: int = ...) -> Sequence[StoredInspection]: ...

    def first_since(self, line: str, time: datetime) -> int: ...


@dataclass(frozen=True, slots=True)
class Result:
    """An inspection as results are made of it, and the job that it belongs to."""

    inspection: Inspection
    job_id: str = ""
    late_score: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """Which results are asked for; empty fields leave everything in. `meas_id` is a trigger number."""

    meas_id: str = ""
    part_id: str = ""
    recipe: str = ""
    bundle: str = ""
    verdicts: frozenset[Verdict] = frozenset()
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Results in order. `complete` is False if there may be more; `next_sequence` is where they go on, for histories."""

    results: tuple[Result, ...]
    complete: bool
    next_sequence: int = 0


class ResultBook:
    """May be asked from any thread. What the database is asked for raises StoreUnavailable or SchemaOutdated."""

    def __init__(self, line: str, station: str, records: Records, job_of: Callable[[int], str]) -> None:
        """`job_of` gives the job that a sequence number belongs to, empty if none is known."""
        self._line, self._station = line, station
        self._records = records
        self._job_of = job_of
        self._recent: OrderedDict[int, Inspection] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, inspection: Inspection) -> Result:
        """Keep a new result in memory; it is in the database, or on its way there, without this."""
        with self._lock:
            self._recent[inspection.sequence] = inspection
            if len(self._recent) > KEPT:
                self._recent.popitem(last=False)
        return self._result(inspection)

    def get(self, result_id: str) -> Result:
        """One result. InvalidRequest if that is no id, NotFound if this station has no such result."""
        match = _ID.fullmatch(result_id)
        if match is None or int(match[2]) >= 1 << 63:
            raise InvalidRequest(f"{result_id[:80]!r} is no id of a result")
        sequence = int(match[2])
        with self._lock:
            recent = self._recent.get(sequence) if match[1] == self._line else None
        if recent is not None:
            return self._result(recent)
        stored = self._records.get(match[1], sequence)
        if match[1] != self._line or stored.inspection.station != self._station:
            raise NotFound(f"{result_id} is not a result of station {self._station}")
        return self._stored(stored)

    def find(self, question: Question, skip: int, limit: int) -> Found:
        """Newest first, without the first `skip`."""
        found: list[Result] = []
        for looked_at, result in enumerate(self._newest_first(question), start=1):
            if result is not None and self._matches(result, question):
                if len(found) == skip + limit:
                    return Found(tuple(found[skip:]), False)
                found.append(result)
            if looked_at >= MAX_LOOKED_AT:
                return Found(tuple(found[skip:]), False)
        return Found(tuple(found[skip:]), True)

    def since(self, start: datetime, end: datetime, first_sequence: int, limit: int) -> Found:
        """Oldest first: what was decided from `start` to `end`, both included, from `first_sequence` on if that is not 0."""
        sequence = first_sequence or self._records.first_since(self._line, start - _LATEST_VERDICT)
        found: list[Result] = []
        looked_at = 0
        while sequence:
            page = self._records.after(self._line, sequence - 1, PAGE)
            for stored in page:
                inspection = stored.inspection
                if inspection.receive_time > end:
                    return Found(tuple(found), True)
                if inspection.station == self._station and start <= inspection.decide_time <= end:
                    if len(found) == limit:
                        return Found(tuple(found), False, inspection.sequence)
                    found.append(self._stored(stored))
            looked_at += len(page)
            sequence = page[-1].inspection.sequence + 1 if len(page) == PAGE else 0
            if sequence and looked_at >= MAX_LOOKED_AT:
                return Found(tuple(found), False, sequence)
        return Found(tuple(found), True)

    def before(self, start: datetime, end: datetime, skip: int, limit: int) -> Found:
        """Newest first: what was decided from `start` to `end`, both included, without the first `skip`."""
        found: list[Result] = []
        where = InspectionFilter(self._line, start_time=start - _LATEST_VERDICT, end_time=end)
        token, looked_at = "", 0
        while True:
            page = self._records.list(where, PAGE, token)
            for stored in page.inspections:
                inspection = stored.inspection
                if inspection.station == self._station and start <= inspection.decide_time <= end:
                    if len(found) == skip + limit:
                        return Found(tuple(found[skip:]), False, skip + limit)
                    found.append(self._stored(stored))
            looked_at += len(page.inspections)
            token = page.next_page_token
            if not token:
                return Found(tuple(found[skip:]), True)
            if looked_at >= MAX_LOOKED_AT:
                return Found(tuple(found[skip:]), False, len(found))

    def _newest_first(self, question: Question) -> Iterator[Result | None]:
        """None stands for a row that is another station's, or came before."""
        with self._lock:
            recent = dict(reversed(self._recent.items()))
        for inspection in recent.values():
            yield self._result(inspection)
        where = InspectionFilter(self._line, question.part_id, question.verdicts, bundle=question.bundle)
        token = ""
        while True:
            page = self._records.list(where, PAGE, token)
            for stored in page.inspections:
                own = stored.inspection.station == self._station and stored.inspection.sequence not in recent
                yield self._stored(stored) if own else None
            token = page.next_page_token
            if not token:
                return

    @staticmethod
    def _matches(result: Result, question: Question) -> bool:
        inspection = result.inspection
        return (
            question.meas_id in ("", str(inspection.trigger))
            and question.part_id in ("", inspection.part_id)
            and question.recipe in ("", inspection.recipe)
            and question.bundle in ("", inspection.bundle)
            and question.job_id in ("", result.job_id)
            and (not question.verdicts or inspection.verdict in question.verdicts)
        )

    def _result(self, inspection: Inspection) -> Result:
        return Result(inspection, self._job_of(inspection.sequence))

    def _stored(self, stored: StoredInspection) -> Result:
        return Result(stored.inspection, self._job_of(stored.inspection.sequence), stored.late_score)
