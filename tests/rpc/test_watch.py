"""Watching: past verdicts from database and journal, then live, none missed and none twice, whatever happens meanwhile."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence

import grpc
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rpc_line import Line, Lines, wait_for
from rpc_twin import TwinPipeline, TwinRecords, inspection

from inspector.errors import JournalError, StoreUnavailable
from inspector.part import Inspection, Reason, Verdict
from inspector.rpc.watch import Feed, Watch
from inspector.v1 import inspection_service_pb2 as api

REASONS = (Reason.WITHIN_LIMITS, Reason.SCORE_ABOVE_LIMIT, Reason.TRIGGER_GAP)


def watch(line: Line, **request: object) -> Iterator[api.WatchInspectionsResponse]:
    """A watch that the service has taken up."""
    before = line.pipeline.watchers
    call = line.stub.WatchInspections(api.WatchInspectionsRequest(**request), timeout=30)  # type: ignore[arg-type]
    wait_for(lambda: line.pipeline.watchers > before, "the watch")
    return call


def take(call: Iterator[api.WatchInspectionsResponse], count: int) -> list[int]:
    return [response.inspection.sequence for response in itertools.islice(call, count)]


def test_only_live_verdicts_unless_asked(line: Line) -> None:
    line.pipeline.publish(inspection(1))
    call = watch(line)
    line.pipeline.publish(inspection(2))
    assert take(call, 1) == [2]


def test_database_then_journal_then_live(line: Line) -> None:
    line.records.rows = [inspection(n) for n in range(1, 1201)]
    line.pipeline.journal = [inspection(n) for n in range(1150, 1301)]
    call = watch(line, after_sequence=0)
    assert take(call, 1300) == list(range(1, 1301))
    line.pipeline.publish(inspection(1301))
    assert take(call, 1) == [1301]


def test_only_the_verdicts_asked_for(line: Line) -> None:
    line.records.rows = [inspection(n, reason=REASONS[n % 3]) for n in range(1, 61)]
    line.pipeline.journal = [inspection(n, reason=REASONS[n % 3]) for n in range(50, 91)]
    call = watch(line, after_sequence=10, verdicts=[2, 3])
    assert take(call, 53) == [n for n in range(11, 91) if n % 3]
    line.pipeline.publish(inspection(91))
    line.pipeline.publish(inspection(92, reason=Reason.SCORE_ABOVE_LIMIT))
    line.pipeline.publish(inspection(93))
    line.pipeline.publish(inspection(94, reason=Reason.DEADLINE_EXCEEDED))
    assert take(call, 2) == [92, 94]


def test_the_filter_leaves_out_the_newest_that_are_stored(line: Line) -> None:
    line.records.rows = [inspection(n, reason=REASONS[n <= 20]) for n in range(1, 61)]
    line.pipeline.journal = [inspection(n, reason=REASONS[n > 60]) for n in range(58, 63)]
    assert take(watch(line, after_sequence=15, verdicts=[2]), 7) == [16, 17, 18, 19, 20, 61, 62]


def test_the_database_is_down_and_the_journal_reaches_back(line: Line) -> None:
    line.records.down = True
    line.pipeline.journal = [inspection(n) for n in range(40, 61)]
    call = watch(line, after_sequence=40)
    assert take(call, 20) == list(range(41, 61))
    line.pipeline.publish(inspection(61))
    assert take(call, 1) == [61]


def test_the_database_is_down_and_nothing_has_passed_since(line: Line) -> None:
    line.records.down = True
    line.pipeline.journal = [inspection(n) for n in range(40, 61)]
    call = watch(line, after_sequence=60)
    line.pipeline.publish(inspection(61))
    assert take(call, 1) == [61]


def test_the_database_is_down_and_the_journal_does_not_reach_back(line: Line) -> None:
    line.records.down = True
    line.pipeline.journal = [inspection(n) for n in range(40, 61)]
    call = line.stub.WatchInspections(api.WatchInspectionsRequest(after_sequence=38))
    with pytest.raises(grpc.RpcError) as caught:
        take(call, 1)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "the quality database does not answer" in caught.value.details()
    wait_for(lambda: line.pipeline.watchers == 0, "the end of the watch")


def test_verdicts_that_are_nowhere_are_passed_over(line: Line) -> None:
    line.records.rows = [inspection(n) for n in (1, 2, 3)]
    line.pipeline.journal = [inspection(n) for n in (7, 8)]
    call = watch(line, after_sequence=0)
    assert take(call, 5) == [1, 2, 3, 7, 8]


def test_a_number_that_is_still_to_come_is_waited_for(line: Line) -> None:
    call = watch(line, after_sequence=2)
    for number in (1, 2, 3):
        line.pipeline.publish(inspection(number))
    assert take(call, 1) == [3]


def test_a_watcher_that_was_too_slow_is_sent_to_the_records(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line.server._servicer._watchers, "_max_waiting", 10)
    call = watch(line)
    for number in range(1, 3001):
        line.pipeline.publish(inspection(number))
    assert take(call, 3000) == list(range(1, 3001))


def test_many_watchers_see_the_same(lines: Lines) -> None:
    line = lines.make()
    line.records.rows = [inspection(n) for n in range(1, 21)]
    calls = [watch(line, after_sequence=n) for n in range(20)]
    for number in range(21, 31):
        line.pipeline.publish(inspection(number))
    for start, call in enumerate(calls):
        assert take(call, 30 - start) == list(range(start + 1, 31))


def test_a_watcher_that_leaves_is_forgotten(line: Line) -> None:
    call = watch(line)
    call.cancel()
    wait_for(lambda: line.pipeline.watchers == 0, "the end of the watch")


def test_the_stop_ends_every_watch(line: Line) -> None:
    calls = [watch(line), watch(line, after_sequence=0)]
    line.server.stop()
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            take(call, 1)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "watch again later" in caught.value.details()


@pytest.mark.parametrize(
    ("request_", "fact"),
    [
        pytest.param(api.WatchInspectionsRequest(line="b"), 'line "a"', id="another line"),
        pytest.param(api.WatchInspectionsRequest(verdicts=[7]), "verdict 7", id="unknown verdict"),
        pytest.param(api.WatchInspectionsRequest(after_sequence=2**63), "no sequence number", id="huge number"),
    ],
)
def test_requests_that_are_wrong(line: Line, request_: api.WatchInspectionsRequest, fact: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        take(line.stub.WatchInspections(request_), 1)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fact in caught.value.details()


class Shaken:
    """A line whose verdicts come, are stored, and leave the journal at moments that a seed chooses, also while it is read."""

    line = "a"

    def __init__(self, moves: Sequence[int], total: int) -> None:
        self.pipeline, self.records = TwinPipeline(), TwinRecords()
        self.feed: Feed | None = None
        self.total = total
        self._moves = itertools.cycle(moves or [0])
        self._made = 0
        self._lock = threading.RLock()

    def shake(self) -> None:
        with self._lock:
            for _ in range(next(self._moves) % 7):
                self.step(next(self._moves) % 5)

    def step(self, move: int) -> None:
        with self._lock:
            self._step(move)

    def _step(self, move: int) -> None:
        if move <= 2 and self._made < self.total:
            self._made += 1
            self.pipeline.publish(inspection(self._made, reason=REASONS[self._made % 3]))
        elif move == 3:
            stored = len(self.records.rows)
            self.records.rows += self.pipeline.inspections[stored : stored + 4]
        elif move == 4:
            # As the real one, which keeps its newest verdicts whatever is stored.
            kept = [one for one in self.pipeline.journal if one.sequence > len(self.records.rows)]
            self.pipeline.journal = kept or self.pipeline.journal[-1:]

    def replay(self, after_sequence: int) -> Iterator[Inspection]:
        self.shake()
        asked = after_sequence
        while True:
            found = [one for one in self.pipeline.journal if one.sequence > asked]
            if not found:
                return
            if asked > after_sequence and found[0].sequence > asked + 1 and next(self._moves) % 2:
                raise JournalError("the segment was discarded while it was read: read again")
            asked = found[0].sequence
            yield found[0]
            self.shake()

    def last_sequence(self, line: str) -> int:
        self.shake()
        return self.records.last_sequence(line)

    def after(self, *arguments: object) -> object:
        self.shake()
        return self.records.after(*arguments)  # type: ignore[arg-type]


@given(
    moves=st.lists(st.integers(0, 34), min_size=3, max_size=40),
    lead=st.integers(0, 30),
    after=st.none() | st.integers(0, 12),
    waiting=st.integers(1, 6),
    verdicts=st.sampled_from([frozenset(), frozenset({Verdict.REJECT}), frozenset({Verdict.PASS, Verdict.UNKNOWN})]),
)
@settings(max_examples=300, deadline=None)
def test_none_missed_and_none_twice(
    moves: list[int], lead: int, after: int | None, waiting: int, verdicts: frozenset[Verdict]
) -> None:
    total = 60
    line = Shaken(moves, total)
    for _ in range(lead):
        line.shake()
    already = len(line.pipeline.inspections)
    first = already if after is None else after
    expected = [n for n in range(first + 1, total + 1) if not verdicts or REASONS[n % 3].verdict in verdicts]

    assume(expected)

    def produce() -> None:
        while line._made < total:
            line.step(0)
            line.shake()

    feed = Feed(waiting)
    line.pipeline.subscribe(feed.tell)
    delivered = []
    watcher = iter(Watch(line, line, feed, verdicts, after))  # type: ignore[arg-type]
    producer = threading.Thread(target=produce)
    producer.start()
    watchdog = threading.Timer(20, feed.close)  # a missed verdict must fail, not hang
    watchdog.start()
    for one in watcher:
        delivered.append(one.sequence)
        if len(delivered) == len(expected):
            break
    watchdog.cancel()
    producer.join()
    assert delivered == expected


def test_a_journal_that_fails_and_a_database_that_has_nothing_is_an_error() -> None:
    class Broken(TwinPipeline):
        def replay(self, after_sequence: int) -> Iterator[Inspection]:
            raise JournalError("the journal cannot be read: check the disk")

    with pytest.raises(JournalError):
        list(Watch(Broken(), TwinRecords(), Feed(5), frozenset(), 3))
    records = TwinRecords()
    records.down = True
    with pytest.raises(StoreUnavailable):
        list(Watch(Broken(), records, Feed(5), frozenset(), 3))
