from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from postgres import PostgresServer
from record_samples import LINE, inspection, picture

from inspector.errors import StoreUnavailable
from inspector.part import Reason
from inspector.records.entries import Position, Settled
from inspector.records.forwarding import Forwarder
from inspector.records.journal import Journal
from inspector.records.ledger import RECENT
from inspector.records.queries import InspectionFilter
from inspector.records.store import Store

SEGMENT = 64 << 10


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal.open(tmp_path / "journal", LINE, segment_bytes=SEGMENT)) as journal:
        yield journal


def settle_many(journal: Journal, count: int, reason: Reason = Reason.WITHIN_LIMITS) -> None:
    first = journal.next_sequence
    for sequence in range(first, first + count):
        journal.settle(inspection(sequence, reason))


def wait_for(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.005)


def on_record(store: Store) -> list[int]:
    found, last = [], 0
    while page := store.after(LINE, last, 1000):
        found += [f.inspection.sequence for f in page]
        last = found[-1]
    return found


def test_everything_reaches_the_database_while_the_line_runs(store: Store, url: str, journal: Journal) -> None:
    forwarder = Forwarder(journal, lambda: Store(url), LINE, batch_entries=50, interval_s=0.01)
    for _ in range(5):
        settle_many(journal, 100, Reason.SCORE_ABOVE_LIMIT)
        journal.evidence(journal.next_sequence - 1, [picture(1)])
        assert forwarder.wait_idle(20)
    assert forwarder.lag == 0
    assert forwarder.lag_s == 0.0
    assert forwarder.stop(5)
    assert on_record(store) == list(range(1, 501))
    assert store.get(LINE, 500).images == (picture(1),)
    assert store.position(LINE) == journal.end
    assert (forwarder.rejected, forwarder.conflicting, forwarder.error) == (0, 0, "")


def test_a_restart_goes_on_where_the_database_stands(store: Store, url: str, tmp_path: Path) -> None:
    for start in (0, 30, 60):
        with closing(Journal.open(tmp_path / "journal", LINE, segment_bytes=SEGMENT)) as journal:
            assert journal.next_sequence == start + 1
            settle_many(journal, 30)
            assert Forwarder(journal, lambda: Store(url), LINE).stop(20)
    assert on_record(store) == list(range(1, 91))


def test_a_process_that_died_before_storing_loses_nothing(store: Store, url: str, tmp_path: Path) -> None:
    with closing(Journal.open(tmp_path / "journal", LINE, segment_bytes=SEGMENT)) as journal:
        settle_many(journal, 300)
    with closing(Journal.open(tmp_path / "journal", LINE, segment_bytes=SEGMENT)) as journal:
        assert Forwarder(journal, lambda: Store(url), LINE).stop(20)
    assert on_record(store) == list(range(1, 301))


def test_what_was_noted_while_the_last_batch_was_stored_is_stored_at_the_stop(
    store: Store, url: str, journal: Journal
) -> None:
    """A service is stopped right after its last part: the pictures of it are noted while its verdict is being stored."""
    storing, may_go_on = threading.Event(), threading.Event()

    class Slow(Store):
        def apply(self, line: str, entries: object, position: Position | None = None) -> object:  # type: ignore[override]
            storing.set()
            assert may_go_on.wait(20)
            return super().apply(line, entries, position)  # type: ignore[arg-type]

    settle_many(journal, 1, Reason.SCORE_ABOVE_LIMIT)
    forwarder = Forwarder(journal, lambda: Slow(url), LINE)
    assert storing.wait(20)
    journal.evidence(1, [picture(1)])
    stopped: list[bool] = []
    stopping = threading.Thread(target=lambda: stopped.append(forwarder.stop(20)))
    stopping.start()
    wait_for(lambda: forwarder._stop_at)
    may_go_on.set()
    stopping.join()
    assert stopped == [True]
    assert store.get(LINE, 1).images == (picture(1),)


class Dying(Store):
    """A store whose connection breaks after the commit of every third batch, or before it."""

    calls = 0

    def __init__(self, url: str, *, after: bool) -> None:
        super().__init__(url)
        self._after = after

    def apply(self, line: str, entries: object, position: Position | None = None) -> object:  # type: ignore[override]
        Dying.calls += 1
        dies = Dying.calls % 3 == 0
        if dies and not self._after:
            raise StoreUnavailable("broken before the commit")
        done = super().apply(line, entries, position)  # type: ignore[arg-type]
        if dies:
            raise StoreUnavailable("broken after the commit")
        return done


@pytest.mark.parametrize("after", [False, True], ids=["before-the-commit", "after-the-commit"])
def test_a_break_around_the_commit_neither_loses_nor_doubles(
    store: Store, url: str, journal: Journal, after: bool
) -> None:
    settle_many(journal, 200, Reason.SCORE_ABOVE_LIMIT)
    forwarder = Forwarder(journal, lambda: Dying(url, after=after), LINE, batch_entries=40)
    assert forwarder.wait_idle(30)
    forwarder.stop(5)
    assert on_record(store) == list(range(1, 201))
    assert all(len(f.inspection.findings) == 1 for f in store.after(LINE, 0, 1000))


def test_the_database_stops_and_starts_and_the_line_does_not_notice(
    own_postgres: PostgresServer, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    url = own_postgres.create()
    with closing(Store(url)) as store:
        store.upgrade()
    caplog.set_level(logging.WARNING)
    forwarder = Forwarder(journal, lambda: Store(url), LINE, interval_s=0.01)
    settle_many(journal, 50)
    assert forwarder.wait_idle(20)
    for mode in ("fast", "immediate"):
        own_postgres.stop(mode)
        settle_many(journal, 50)
        wait_for(lambda: forwarder.error)
        assert forwarder.lag == 50
        assert forwarder.lag_s > 0
        settle_many(journal, 50)
        own_postgres.start()
        assert forwarder.wait_idle(30)
        assert forwarder.error == ""
        assert forwarder.lag_s == 0.0
    assert forwarder.stop(5)
    with closing(Store(url)) as store:
        assert on_record(store) == list(range(1, 251))
    assert "records wait in the journal, next try in 0.1 s: database postgresql+psycopg://inspector:***@" in caplog.text


def test_a_database_that_is_not_there_yet_is_waited_for(url: str, journal: Journal) -> None:
    settle_many(journal, 20)
    forwarder = Forwarder(journal, lambda: Store(url), LINE)
    wait_for(lambda: "inspector db upgrade" in forwarder.error)
    assert forwarder.lag == 20
    with closing(Store(url)) as store:
        store.upgrade()
        assert forwarder.wait_idle(20)
        assert on_record(store) == list(range(1, 21))
    forwarder.stop(5)


def test_stopping_without_a_database_ends_and_keeps_the_journal(tmp_path: Path, journal: Journal) -> None:
    settle_many(journal, 20)
    forwarder = Forwarder(journal, lambda: Store(f"sqlite:///{tmp_path / 'none.db'}"), LINE)
    wait_for(lambda: forwarder.error)
    begin = time.monotonic()
    assert not forwarder.stop(0.2)
    assert time.monotonic() - begin < 5
    assert len(list(journal.replay(0))) == 20


def test_a_value_that_the_database_refuses_does_not_hold_up_the_others(
    store: Store, url: str, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    settle_many(journal, 10)
    poison = inspection(11, Reason.SCORE_ABOVE_LIMIT)
    box = replace(poison.findings[0].box, x_px=1 << 62)
    journal.settle(replace(poison, findings=(replace(poison.findings[0], box=box),)))
    settle_many(journal, 10)
    forwarder = Forwarder(journal, lambda: Store(url), LINE)
    assert forwarder.stop(20)
    expected = list(range(1, 22))
    if not url.startswith("sqlite"):
        # SQLite keeps the number; PostgreSQL's integers end at 2^31.
        expected.remove(11)
        assert forwarder.rejected == 1
        assert "is not stored" in caplog.text
    assert on_record(store) == expected


def test_stored_segments_are_deleted(store: Store, url: str, journal: Journal) -> None:
    settle_many(journal, 3 * RECENT)
    before = journal.size_bytes
    assert Forwarder(journal, lambda: Store(url), LINE).stop(60)
    assert journal.size_bytes < 0.6 * before
    assert store.last_sequence(LINE) == 3 * RECENT
    assert len(list(journal.replay(0))) >= RECENT


def test_a_new_journal_on_an_old_database_is_stored_from_its_beginning(
    store: Store, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.apply(LINE, [Settled(inspection(n)) for n in range(1, 6)], Position("lost-journal", 7, 4096))
    first, marks = store.last_sequence(LINE) + 1, store.station_marks(LINE)
    with closing(Journal.open(tmp_path / "new", LINE, first_sequence=first, stations=marks)) as journal:
        settle_many(journal, 3)
        assert Forwarder(journal, lambda: Store(url), LINE).stop(20)
    assert on_record(store) == list(range(1, 9))
    assert "was last fed from journal lost-journal, segment 7, which is not here" in caplog.text


def test_numbers_given_twice_are_counted(store: Store, url: str, journal: Journal) -> None:
    store.apply(LINE, [Settled(inspection(1, trigger=500))])
    settle_many(journal, 3)
    forwarder = Forwarder(journal, lambda: Store(url), LINE)
    assert forwarder.stop(20)
    assert forwarder.conflicting == 1
    assert on_record(store) == [1, 2, 3]


def test_a_fault_in_the_forwarder_is_told_and_tried_again(
    store: Store, url: str, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    settle_many(journal, 3)
    errors = [ZeroDivisionError("odd")]

    def open_store() -> Store:
        if errors:
            raise errors.pop()
        return Store(url)

    forwarder = Forwarder(journal, open_store, LINE)
    assert forwarder.wait_idle(20)
    forwarder.stop(5)
    assert "ZeroDivisionError" in caplog.text
    assert store.list(InspectionFilter()).inspections[0].inspection.sequence == 3
