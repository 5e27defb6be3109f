from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from record_samples import LINE, START, admission, inspection, picture, tiny_disk

from inspector.errors import JournalError
from inspector.part import Inspection, Reason
from inspector.records.entries import Admission, Evidence, LateScore, Position, Settled, StationMark
from inspector.records.journal import DEFAULT_SEGMENT_BYTES, Journal
from inspector.records.keeper import SPARES
from inspector.records.ledger import RECENT
from inspector.records.segment import SegmentWriter

SEGMENT = 64 << 10


@contextmanager
def opened(folder: Path, **options: object) -> Iterator[Journal]:
    with closing(Journal.open(folder, LINE, **{"segment_bytes": SEGMENT} | options)) as journal:  # type: ignore[arg-type]
        yield journal


def settle_many(journal: Journal, count: int, *, evidence_expected: bool = False) -> None:
    first = journal.next_sequence
    for sequence in range(first, first + count):
        journal.settle(inspection(sequence), evidence_expected=evidence_expected)


def admit_many(journal: Journal, count: int) -> None:
    for trigger in range(1, count + 1):
        journal.admit(admission(trigger))


def sequences(inspections: Iterator[Inspection]) -> list[int]:
    return [i.sequence for i in inspections]


def wait_for(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.005)


def test_a_new_journal_begins_at_one(tmp_path: Path) -> None:
    with opened(tmp_path / "deep" / "journal") as journal:
        assert journal.state.next_sequence == 1
        assert journal.state.stations == {}
        assert list(journal.read()) == []
        assert list(journal.replay(0)) == []


def test_what_was_owed_is_known_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for trigger in (1, 2, 3):
            journal.admit(admission(trigger))
        journal.settle(inspection(1), evidence_expected=True)
        journal.settle(inspection(2, Reason.SCORE_ABOVE_LIMIT), evidence_expected=True)
        journal.evidence(1, [picture(1)])
    with opened(tmp_path) as journal:
        state = journal.state
    assert state.next_sequence == 3
    assert state.stations == {"top": StationMark(4, 3)}
    assert state.unsettled == (admission(3),)
    assert state.awaiting_evidence == (2,)
    assert state.recent == (inspection(1), inspection(2, Reason.SCORE_ABOVE_LIMIT))


def test_entries_come_back_in_order_with_the_position_behind_each(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.admit(admission(1))
        journal.settle(inspection(1), evidence_expected=True)
        journal.late_score(1, 0.625)
        journal.evidence(1, [picture(1), picture(2)])
        read = list(journal.read())
        assert [type(entry) for _, entry in read] == [Admission, Settled, LateScore, Evidence]
        for index, (position, _) in enumerate(read):
            assert list(journal.read(position)) == read[index + 1 :]
        assert read[-1][0] == journal.end


def test_segments_follow_each_other_without_a_seam(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.admit(admission(1000, "side"))
        settle_many(journal, 800)
        assert journal.end.segment > 3
        assert sequences(journal.replay(0)) == list(range(1, 801))
        assert sequences(journal.replay(777)) == list(range(778, 801))
    with opened(tmp_path) as journal:
        assert journal.damage == []
        assert journal.state.next_sequence == 801
        assert journal.state.unsettled == (admission(1000, "side"),)
        assert sequences(journal.replay(0)) == list(range(1, 801))


def test_restarts_go_on_in_the_same_segment(tmp_path: Path) -> None:
    for count in range(1, 6):
        with opened(tmp_path) as journal:
            settle_many(journal, 1)
            assert journal.state.next_sequence == count
            assert journal.end.segment == 1


def test_numbers_never_fall_below_what_the_database_knows(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        settle_many(journal, 3)
    with opened(tmp_path, first_sequence=10, stations={"top": StationMark(20, 15)}) as journal:
        assert journal.state.next_sequence == 10
        assert journal.state.stations == {"top": StationMark(20, 15)}
        journal.settle(inspection(10, station_sequence=15, trigger=20))
    with opened(tmp_path, first_sequence=5, stations={"top": StationMark(2, 2)}) as journal:
        assert journal.state.next_sequence == 11
        assert journal.state.stations == {"top": StationMark(21, 16)}
        assert journal.damage == []


@pytest.mark.parametrize(
    ("settled", "message"),
    [
        pytest.param(inspection(2), "verdict 2 does not follow 2", id="twice"),
        pytest.param(inspection(4), "verdict 4 does not follow 2", id="skipped"),
        pytest.param(inspection(3, station_sequence=4), "verdict 4 of station top does not follow 2", id="station"),
        pytest.param(inspection(3, line="other"), "verdict of line other", id="other-line"),
        pytest.param(inspection(3, trigger=1 << 63), "outside 0 to 2", id="trigger-too-large"),
    ],
)
def test_a_verdict_out_of_sequence_is_refused_and_changes_nothing(
    tmp_path: Path, settled: Inspection, message: str
) -> None:
    with opened(tmp_path) as journal:
        settle_many(journal, 2)
        with pytest.raises(JournalError, match=message):
            journal.settle(settled)
        journal.settle(inspection(3))
        assert sequences(journal.replay(0)) == [1, 2, 3]


def test_a_part_is_admitted_once(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.admit(admission(1))
        with pytest.raises(JournalError, match="trigger 1 of station top is already in flight"):
            journal.admit(admission(1))
        journal.admit(admission(1, "side"))


@pytest.mark.parametrize(
    "add",
    [lambda j: j.evidence(1, [picture(1)]), lambda j: j.late_score(1, 0.5)],
    ids=["evidence", "late-score"],
)
def test_nothing_is_added_to_an_unsettled_verdict(tmp_path: Path, add: Callable[[Journal], None]) -> None:
    with opened(tmp_path) as journal, pytest.raises(JournalError, match="verdict 1 is not settled"):
        add(journal)


def test_an_entry_larger_than_a_segment_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        with pytest.raises(JournalError, match="does not fit into a segment"):
            journal.settle(inspection(1, detail="x" * SEGMENT))
        journal.settle(inspection(1))
        assert sequences(journal.replay(0)) == [1]


@pytest.mark.parametrize(("count", "id_length"), [(12_000, 120), (20_000, 40)], ids=["long-part-ids", "most-parts"])
def test_all_parts_in_flight_are_carried_into_the_next_segment(tmp_path: Path, count: int, id_length: int) -> None:
    waiting = tuple(
        replace(admission(trigger, "side"), part_id=f"{trigger:0{id_length}d}", capture_time=START)
        for trigger in range(1, count + 1)
    )
    with opened(tmp_path, segment_bytes=DEFAULT_SEGMENT_BYTES) as journal:
        for one in waiting:
            journal.admit(one)
        before = journal.end.segment
        while journal.end.segment == before:
            settle_many(journal, 100)
        settled = journal.next_sequence - 1
    with opened(tmp_path, segment_bytes=DEFAULT_SEGMENT_BYTES) as journal:
        assert journal.damage == []
        assert journal.state.unsettled == waiting
        assert journal.state.next_sequence == settled + 1


def test_more_parts_than_a_header_carries_are_refused_and_verdicts_go_on(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        with pytest.raises(JournalError, match="parts are in flight, as many as the journal can carry") as caught:
            admit_many(journal, 10_000)
        admitted = int(str(caught.value).split()[0])
        assert admitted > 500
        for trigger in range(1, admitted + 1):
            journal.settle(inspection(trigger))
        journal.admit(admission(10_000))
    with opened(tmp_path) as journal:
        assert journal.state.next_sequence == admitted + 1
        assert journal.state.unsettled == (admission(10_000),)
        assert journal.damage == []


@pytest.mark.parametrize("limit", ["segment", "codec"])
def test_a_state_that_fits_no_header_costs_no_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    if limit == "codec":
        monkeypatch.setattr("inspector.records.codec.MAX_HEADER_BYTES", 1000)
    with opened(tmp_path, segment_bytes=8 << 10, sync_interval_s=60.0) as journal:
        wait_for(lambda: len(journal._keeper._spares) == SPARES)
        with pytest.raises(JournalError, match="SegmentHeader entry of" if limit == "codec" else "beside a state of"):
            settle_many(journal, 10_000, evidence_expected=True)
        wait_for(lambda: len(journal._keeper._spares) == SPARES)
        kept, files = journal.next_sequence - 1, sorted(tmp_path.iterdir())
        for _ in range(5):
            with pytest.raises(JournalError):
                journal.settle(inspection(kept + 1, detail="x" * 7000))
        assert sorted(tmp_path.iterdir()) == files
        assert sequences(journal.replay(0)) == list(range(1, kept + 1))


def test_a_segment_that_cannot_take_its_place_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: SegmentWriter, path: Path, number: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with opened(tmp_path, sync_interval_s=60.0) as journal:
        wait_for(lambda: len(journal._keeper._spares) == SPARES)
        with monkeypatch.context() as broken:
            broken.setattr(SegmentWriter, "activate", refuse)
            with pytest.raises(JournalError, match="no next segment: Input/output error"):
                settle_many(journal, 1000)
        assert len(list(tmp_path.glob("next-*.tmp"))) == SPARES - 1
        settle_many(journal, 1000)
        assert journal.damage == []


def test_two_segments_are_made_ahead(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for _ in range(5):
            wait_for(lambda: len(journal._keeper._spares) == SPARES)
            before = journal.end.segment
            assert journal.size_bytes >= (1 + SPARES) * SEGMENT
            while journal.end.segment < before + SPARES:
                settle_many(journal, 1)
        assert journal.late_segments == 0
    assert list(tmp_path.glob("next-*.tmp")) == []


def test_a_segment_made_late_is_counted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path, sync_interval_s=0.01) as journal:
        wait_for(lambda: len(journal._keeper._spares) == SPARES)
        with monkeypatch.context() as slow:
            slow.setattr("inspector.records.keeper.SPARES", 0)
            while journal.end.segment < 1 + SPARES + 2:
                settle_many(journal, 1)
        assert journal.late_segments == 2
        wait_for(lambda: "segments made while a verdict waited: 2" in caplog.text)
        assert journal.damage == []


def test_stored_segments_go_and_the_newest_verdicts_stay(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        settle_many(journal, 2 * RECENT)
        before = journal.size_bytes
        assert journal.discard_before(journal.start) == 0
        assert journal.discard_before(journal.end) > 10
        assert journal.size_bytes < 0.7 * before
        kept = sequences(journal.replay(0))
        assert kept[0] <= RECENT + 1
        assert kept == list(range(kept[0], 2 * RECENT + 1))
    with opened(tmp_path) as journal:
        assert journal.damage == []
        assert len(journal.state.recent) == RECENT
        assert journal.state.recent[-1].sequence == 2 * RECENT


def test_nothing_goes_for_a_position_of_another_journal(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        settle_many(journal, 2 * RECENT)
        assert journal.discard_before(Position("other", journal.end.segment, 0)) == 0
        foreign = Position("other", 3, 0)
        assert not journal.holds(foreign)
        assert next(journal.read(foreign)) == next(journal.read())


@pytest.mark.parametrize("distance", [1, 10_000], ids=["past-the-end", "far-past-the-end"])
def test_a_position_past_the_end_is_not_held(tmp_path: Path, distance: int) -> None:
    with opened(tmp_path) as journal:
        journal.settle(inspection(1))
        beyond = replace(journal.end, offset=journal.end.offset + distance)
        assert not journal.holds(beyond)
        assert len(list(journal.read(beyond))) == 1


def test_one_process_at_a_time(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from inspector.records.journal import Journal\n"
        f"j = Journal.open(Path({str(tmp_path)!r}), {LINE!r}); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(JournalError, match=f"in use by process {other.pid}: stop that service"):
            Journal.open(tmp_path, LINE)
        other.stdin.close()
    Journal.open(tmp_path, LINE).close()


def test_another_lines_journal_is_refused_and_released(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.settle(inspection(1))
    with pytest.raises(JournalError, match="belongs to line tiles, not screws: give each line"):
        Journal.open(tmp_path, "screws")
    with opened(tmp_path) as journal:
        assert journal.state.next_sequence == 2


@pytest.mark.parametrize("blocked", ["file-in-the-way", "segment-is-a-folder"])
def test_an_unusable_directory_is_told(tmp_path: Path, blocked: str) -> None:
    folder = tmp_path / "journal"
    if blocked == "file-in-the-way":
        folder.write_text("no folder")
    else:
        (folder / "journal-0000000001.seg").mkdir(parents=True)
    with pytest.raises(JournalError, match=r"cannot be (used|read)"):
        Journal.open(folder, LINE)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    from zlib import crc32

    from inspector.records.codec import encode, frame
    from inspector.records.entries import SegmentHeader

    payload = encode(SegmentHeader("id", LINE, 1, 1, {}, (), ())).replace(b'"version":1', b'"version":7')
    (tmp_path / "journal-0000000001.seg").write_bytes(frame(payload, crc32(payload), 0))
    with pytest.raises(JournalError, match="journal format 7, this program writes and reads 1"):
        Journal.open(tmp_path, LINE)


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, LINE, segment_bytes=SEGMENT)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="is closed"):
        journal.settle(inspection(1))


def test_only_a_truly_full_disk_stops_the_journal(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "400k") as disk, opened(disk, sync_interval_s=0.01) as journal:
        with pytest.raises(JournalError, match="is full: no next segment: No space left on device: free some"):
            settle_many(journal, 10_000)
        settled = journal.next_sequence - 1
        # Five of the six segments that the disk holds are full to the last entry; the sixth does not fit beside the lock file.
        assert settled * 400 > 5 * SEGMENT
        assert sequences(journal.replay(0)) == list(range(1, settled + 1))
        os.truncate(disk / "journal-0000000001.seg", 0)
        wait_for(lambda: len(journal._keeper._spares) > 0)
        settle_many(journal, 10)
        assert journal.next_sequence == settled + 11


def test_no_room_for_a_first_segment_is_told(tmp_path: Path) -> None:
    with (
        tiny_disk(tmp_path / "disk", "32k") as disk,
        pytest.raises(JournalError, match="cannot get a segment of 64 KiB: No space left"),
    ):
        Journal.open(disk, LINE, segment_bytes=SEGMENT)


def test_many_threads_append_at_once(tmp_path: Path) -> None:
    counter = threading.Lock()

    with opened(tmp_path) as journal:

        def work(station: str) -> None:
            for number in range(1, 201):
                journal.admit(admission(number, station))
                with counter:
                    sequence = journal.next_sequence
                    journal.settle(inspection(sequence, station=station, station_sequence=number, trigger=number))
                journal.late_score(sequence, 0.5)

        threads = [threading.Thread(target=work, args=(f"s{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            found = sequences(journal.replay(0))
            assert found == list(range(1, len(found) + 1))
        assert sequences(journal.replay(0)) == list(range(1, 801))
        assert journal.damage == []
    with opened(tmp_path) as journal:
        assert journal.state.stations == {f"s{n}": StationMark(201, 201) for n in range(4)}
        assert journal.state.unsettled == ()


def test_flush_and_background_flush_reach_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path, sync_interval_s=0.01) as journal:
        settle_many(journal, 400)
        wait_for(lambda: not journal._keeper.unsynced)
        settle_many(journal, 1)
        journal.flush()
        assert not journal._keeper.unsynced
        assert journal.sync_failures == 0


def test_awaited_evidence_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.records.ledger.MAX_AWAITING", 3)
    with opened(tmp_path) as journal:
        for sequence in range(1, 8):
            journal.settle(inspection(sequence), evidence_expected=True)
    with opened(tmp_path) as journal:
        assert journal.state.awaiting_evidence == (5, 6, 7)


def test_appends_take_microseconds(tmp_path: Path) -> None:
    """A bound that any machine keeps; the benchmark has the figures."""
    with opened(tmp_path, segment_bytes=4 << 20) as journal:
        took = []
        for sequence in range(1, 2001):
            verdict = inspection(sequence)
            begin = time.perf_counter()
            journal.settle(verdict)
            took.append(time.perf_counter() - begin)
    assert sorted(took)[len(took) // 2] < 200e-6


class JournalMachine(RuleBasedStateMachine):
    """The journal against a model that is a few Python containers, through any order of calls and restarts."""

    @initialize(folder=st.uuids())
    def begin(self, folder: object) -> None:
        import tempfile

        self.folder = Path(tempfile.mkdtemp(prefix="inspector-journal-"))
        self.journal = Journal.open(self.folder, LINE, segment_bytes=8 << 10, sync_interval_s=60)
        self.settled: list[Inspection] = []
        self.in_flight: dict[tuple[str, int], Admission] = {}
        self.awaiting: list[int] = []
        self.marks: dict[str, StationMark] = {}

    def teardown(self) -> None:
        import shutil

        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.folder)

    @rule(station=st.sampled_from(["top", "side"]), skip=st.integers(0, 3))
    def admit(self, station: str, skip: int) -> None:
        mark = self.marks.get(station, StationMark())
        new = admission(mark.next_trigger + skip, station)
        self.journal.admit(new)
        self.in_flight[station, new.trigger] = new
        self.marks[station] = replace(mark, next_trigger=new.trigger + 1)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), expected=st.booleans(), length=st.integers(0, 1500))
    def settle(self, data: st.DataObject, expected: bool, length: int) -> None:
        station, trigger = data.draw(st.sampled_from(sorted(self.in_flight)))
        mark, sequence = self.marks[station], len(self.settled) + 1
        verdict = inspection(
            sequence,
            station=station,
            trigger=trigger,
            station_sequence=mark.next_station_sequence,
            detail="x" * length,
        )
        self.journal.settle(verdict, evidence_expected=expected)
        del self.in_flight[station, trigger]
        self.settled.append(verdict)
        self.marks[station] = replace(mark, next_station_sequence=mark.next_station_sequence + 1)
        if expected:
            self.awaiting.append(sequence)

    @precondition(lambda self: self.awaiting)
    @rule(data=st.data())
    def store_evidence(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.awaiting))
        self.journal.evidence(sequence, [picture(sequence)])
        self.awaiting.remove(sequence)

    @rule()
    def discard(self) -> None:
        self.journal.discard_before(self.journal.end)

    @rule()
    def restart(self) -> None:
        self.journal.close()
        self.journal = Journal.open(self.folder, LINE, segment_bytes=8 << 10, sync_interval_s=60)
        state = self.journal.state
        assert list(state.recent) == self.settled
        assert state.next_sequence == len(self.settled) + 1
        assert list(state.awaiting_evidence) == self.awaiting
        assert {(a.station, a.trigger): a for a in state.unsettled} == self.in_flight
        assert state.stations == self.marks

    @invariant()
    def replays_everything(self) -> None:
        if hasattr(self, "journal"):
            assert list(self.journal.replay(0)) == self.settled
            assert self.journal.damage == []


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(
    max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_damage_reads_well() -> None:
    from inspector.records.segment import Damage

    text = str(Damage("journal-0000000001.seg", 64, 128, 2, "damaged entries"))
    assert re.fullmatch(r"journal-0000000001\.seg: damaged entries at byte 64, 128 bytes, 2 entries lost", text)
