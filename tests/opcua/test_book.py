"""Results from memory and from the quality database: found once, in order, in bounded steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rpc_twin import TIME, TwinRecords, inspection

from inspector.errors import InvalidRequest, NotFound, StoreUnavailable
from inspector.opcua.book import KEPT, Question, ResultBook
from inspector.part import Inspection, Reason, Verdict
from inspector.records.queries import InspectionFilter, Page, StoredInspection

END = datetime(2100, 1, 1, tzinfo=UTC)


def at(sequence: int, station: str = "s1", reason: Reason = Reason.WITHIN_LIMITS, **more: object) -> Inspection:
    """One second apart from the one before."""
    time = TIME + timedelta(seconds=sequence)
    made = replace(inspection(sequence, reason=reason), station=station, receive_time=time, decide_time=time)
    return replace(made, **more)  # type: ignore[arg-type]


class Records(TwinRecords):
    """In memory, in pages of three."""

    def list(self, where: InspectionFilter, page_size: int = 50, page_token: str = "") -> Page:
        self._check()
        rows = [
            row
            for row in reversed(self.rows)
            if (not where.part_id or row.part_id == where.part_id)
            and (not where.verdicts or row.verdict in where.verdicts)
            and (where.start_time is None or row.receive_time >= where.start_time)
            and (where.end_time is None or row.receive_time < where.end_time)
        ]
        skip = int(page_token or 0)
        token = str(skip + 3) if len(rows) > skip + 3 else ""
        return Page(tuple(StoredInspection(row) for row in rows[skip : skip + 3]), token)

    def first_since(self, line: str, time: datetime) -> int:
        self._check()
        return next((row.sequence for row in self.rows if row.receive_time >= time), 0)


@pytest.fixture
def records() -> Records:
    made = Records()
    made.rows = [at(n, "s2" if n % 4 == 0 else "s1", part_id=f"P{n % 3}") for n in range(1, 13)]
    made.rows[4] = at(5, reason=Reason.QUEUE_FULL)
    return made


@pytest.fixture
def book(records: Records) -> ResultBook:
    return ResultBook("a", "s1", records, lambda sequence: "job" if sequence > 9 else "")


def numbers(results: Sequence[object]) -> list[int]:
    return [one.inspection.sequence for one in results]  # type: ignore[attr-defined]


def test_a_result_is_found_in_memory_and_in_the_database_and_only_its_own_stations(
    book: ResultBook, records: Records
) -> None:
    assert book.get("lines/a/inspections/3").inspection == records.rows[2]
    book.add(at(77))
    records.down = True
    assert book.get("lines/a/inspections/77").job_id == "job"
    with pytest.raises(StoreUnavailable):
        book.get("lines/a/inspections/3")
    records.down = False
    for wrong, kind in (
        ("lines/a/inspections/4", NotFound),
        ("lines/b/inspections/77", NotFound),
        ("x", InvalidRequest),
    ):
        with pytest.raises(kind):
            book.get(wrong)


QUESTIONS = [
    pytest.param(Question(), 0, 100, [20, 11, 10, 9, 7, 6, 5, 3, 2, 1], True, id="all, newest first, none twice"),
    pytest.param(Question(), 0, 4, [20, 11, 10, 9], False, id="the first page"),
    pytest.param(Question(), 4, 4, [7, 6, 5, 3], False, id="the next"),
    pytest.param(Question(), 8, 4, [2, 1], True, id="the last"),
    pytest.param(Question(), 100, 4, [], True, id="beyond the end"),
    pytest.param(Question(part_id="P1"), 0, 9, [10, 7, 1], True, id="a part"),
    pytest.param(Question(verdicts=frozenset({Verdict.UNKNOWN})), 0, 9, [5], True, id="not judged"),
    pytest.param(Question(job_id="job"), 0, 9, [20, 11, 10], True, id="a job"),
    pytest.param(Question(meas_id="6"), 0, 9, [6], True, id="a trigger"),
    pytest.param(Question(recipe="other"), 0, 9, [], True, id="another recipe"),
    pytest.param(Question(bundle="b@0123456789ab"), 0, 2, [20, 11], False, id="a bundle"),
]


@pytest.mark.parametrize(("question", "skip", "limit", "found", "complete"), QUESTIONS)
def test_questions(
    book: ResultBook, question: Question, skip: int, limit: int, found: list[int], complete: bool
) -> None:
    book.add(at(11, part_id="P2"))  # is in the database too
    book.add(at(20, part_id="P9"))  # is not yet
    answer = book.find(question, skip, limit)
    assert (numbers(answer.results), answer.complete) == (found, complete)


def test_a_question_stops_looking_after_many_rows(book: ResultBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.opcua.book.MAX_LOOKED_AT", 4)
    assert not book.find(Question(part_id="P0", recipe="none"), 0, 9).complete


@pytest.mark.parametrize("page", [2, 3, 500])
def test_history_goes_on_where_it_stopped_in_both_directions(
    book: ResultBook, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("inspector.opcua.book.PAGE", page)
    start, end = TIME + timedelta(seconds=2), TIME + timedelta(seconds=10)
    wanted = [2, 3, 5, 6, 7, 9, 10]
    oldest, point = list[int](), 0
    while True:
        found = book.since(start, end, point, 3)
        oldest += numbers(found.results)
        if found.complete:
            break
        point = found.next_sequence
    assert oldest == wanted
    newest, point = list[int](), 0
    while True:
        found = book.before(start, end + timedelta(microseconds=1), point, 3)
        newest += numbers(found.results)
        if found.complete:
            break
        point = found.next_sequence
    assert newest == wanted[::-1]


def test_history_of_a_time_with_nothing_in_it_is_empty_and_complete(book: ResultBook) -> None:
    assert book.since(END, END, 0, 9) == book.before(END, END, 0, 9)
    assert book.since(END, END, 0, 9).complete


def test_memory_is_bounded(book: ResultBook, records: Records) -> None:
    records.rows = []
    for number in range(1, KEPT + 100):
        book.add(at(number))
    assert len(book.find(Question(), 0, 10_000).results) == KEPT
