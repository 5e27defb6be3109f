"""The path of one part: every trigger ends in exactly one verdict, the same in reply, signal and journal."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from toy_line import SIZE, Line, check_agreement, open_line
from toys import toy_png

from inspector.admission import MOST_TELLING_S, TELLING_SHARE
from inspector.backlog import PAUSE_S, Backlogs
from inspector.errors import CameraBusy, JournalError, SessionError, TriggerOutOfRange, UnknownCamera
from inspector.inference.batching import Batcher
from inspector.part import Frame, Inspection, PixelFormat, Reason, Verdict
from inspector.records.entries import Admission
from inspector.records.journal import Journal
from inspector.settlement import Settlement
from inspector.signalling.signal import StationState


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with open_line(tmp_path) as opened:
        opened.pipeline.start()
        yield opened


def test_dark_parts_pass_and_bright_ones_are_rejected_with_finding_and_evidence(line: Line) -> None:
    line.send(1, value=20)
    line.send(2, value=240, part_id="P-2")
    passed, rejected = sorted(line.wait_replies(2), key=lambda i: i.trigger)
    assert (passed.verdict, passed.reason, passed.findings) == (Verdict.PASS, Reason.WITHIN_LIMITS, ())
    assert (rejected.verdict, rejected.part_id, rejected.defect_class) == (Verdict.REJECT, "P-2", "anomaly")
    assert rejected.score == pytest.approx(240 / 255)
    assert rejected.findings[0].box.width_px == SIZE
    check_agreement(line, [1, 2])
    assert line.evidence.wait_idle(10)
    assert line.evidence.stored == 2, "frame and heat map of the reject, nothing of the pass"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"data": b""}, Reason.FRAME_INVALID, id="no bytes"),
        pytest.param({"data": toy_png(20, SIZE)[:60]}, Reason.FRAME_INVALID, id="truncated"),
        pytest.param({"data": b"\x89PNG\r\n\x1a\n" + bytes(100)}, Reason.FRAME_INVALID, id="corrupt"),
        pytest.param({"data": bytes(2 << 20)}, Reason.FRAME_TOO_LARGE, id="too many bytes"),
        pytest.param({"data": toy_png(3, SIZE)}, Reason.IMAGE_TOO_DARK, id="lens cap"),
        pytest.param(
            {"pixel_format": PixelFormat.MONO8, "width_px": 2**31, "height_px": 2**31},
            Reason.FRAME_TOO_LARGE,
            id="bomb",
        ),
    ],
)
def test_a_frame_that_cannot_be_judged_is_unknown_with_its_reason(
    line: Line, changes: dict[str, object], reason: Reason
) -> None:
    line.send(1, **changes)
    line.send(2)
    unknown, passed = sorted(line.wait_replies(2), key=lambda i: i.trigger)
    assert (unknown.verdict, unknown.reason) == (Verdict.UNKNOWN, reason)
    assert unknown.detail
    assert passed.verdict is Verdict.PASS
    check_agreement(line, [1, 2])


def test_skipped_triggers_are_unknown_at_once_and_told_before_the_frame_that_skipped_them(line: Line) -> None:
    line.send(1)
    line.wait_replies(1)
    line.send(4)
    replies = line.wait_replies(4)
    assert [i.trigger for i in replies] == [1, 2, 3, 4]
    assert [i.reason for i in replies[1:3]] == [Reason.TRIGGER_GAP] * 2
    check_agreement(line, [1, 2, 3, 4])


def test_a_gap_larger_than_the_plc_ring_is_told_no_faster_than_it_can_be_read(line: Line) -> None:
    times: list[float] = []
    line.pipeline.subscribe(lambda inspection: times.append(time.monotonic()))
    line.send(91)
    line.wait_replies(91)
    check_agreement(line, list(range(1, 92)))
    first = {inspection.trigger: number for number, inspection in enumerate(line.published())}
    assert first[91] < 60, "the part with a frame does not wait for those without"
    for start in range(len(times) - 64):
        assert times[start + 64] - times[start] > PAUSE_S / 2


def test_a_frame_that_was_overtaken_is_not_judged_even_if_its_gap_is_not_told_yet(line: Line) -> None:
    line.send(91)
    for trigger in range(1, 91):
        line.send(trigger, value=20)
    line.wait_replies(181)
    reasons = {inspection.trigger: inspection.reason for inspection in line.published()}
    assert set(reasons.values()) == {Reason.TRIGGER_GAP, Reason.WITHIN_LIMITS}
    assert [trigger for trigger, reason in reasons.items() if reason is Reason.WITHIN_LIMITS] == [91]
    check_agreement(line, list(range(1, 92)))


def test_a_journal_that_fills_up_within_a_gap_leaves_no_part_without_its_verdict(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = iter([False, True, True, True])
    monkeypatch.setattr(Settlement, "full", property(lambda _: next(full)))
    line.send(91)
    assert sorted(i.trigger for i in line.wait_replies(91)) == list(range(1, 92))
    with pytest.raises(JournalError, match="takes no more verdicts"):
        line.send(92)


def test_a_repeated_trigger_gets_its_first_verdict_again(line: Line) -> None:
    line.send(1, value=240)
    first = line.wait_replies(1)[0]
    line.send(1, value=20)
    assert line.wait_replies(2)[1] is first
    check_agreement(line, [1])


def test_a_trigger_repeated_in_flight_is_answered_twice_and_judged_once(line: Line) -> None:
    line.engine.open.clear()
    line.send(1)
    line.send(1)
    line.engine.open.set()
    first, second = line.wait_replies(2)
    assert first is second
    check_agreement(line, [1])


def test_a_counter_of_another_world_ends_the_stream_and_invents_no_part(line: Line) -> None:
    with pytest.raises(TriggerOutOfRange, match="start numbering at 1"):
        line.send(2**40)
    line.send(1)
    line.wait_replies(1)
    check_agreement(line, [1])


def test_a_failing_model_gives_unknown(line: Line) -> None:
    line.engine.fails = True
    line.send(1)
    assert line.wait_replies(1)[0].reason is Reason.MODEL_FAILED
    line.engine.fails, line.engine.broken_score = False, True
    line.send(2)
    assert line.wait_replies(2)[1].reason is Reason.SCORE_INVALID
    check_agreement(line, [1, 2])


def test_the_deadline_comes_first_and_the_late_score_changes_nothing(tmp_path: Path) -> None:
    with open_line(tmp_path, deadline_ms=30) as line:
        line.pipeline.start()
        line.engine.open.clear()
        line.send(1, value=20)
        late = line.wait_replies(1)[0]
        assert (late.verdict, late.reason) == (Verdict.UNKNOWN, Reason.DEADLINE_EXCEEDED)
        assert late.latency_ms >= 30 * (1 - TELLING_SHARE)
        line.engine.open.set()
        line.engine.entered.clear()
        line.send(2)
        line.wait_replies(2)
        check_agreement(line, [1, 2])
        entries = [entry for _, entry in line.journal.read()]
    scores = [entry for entry in entries if type(entry).__name__ == "LateScore"]
    assert [(s.sequence, round(s.score * 255)) for s in scores] == [(1, 20)]


def test_the_model_knows_by_when_a_part_must_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it scores later helps nobody: that part is UNKNOWN already."""
    asked: list[float] = []
    submit = Batcher.submit

    def spy(self: Batcher, *arguments: Any) -> bool:
        asked.append(arguments[3])
        return submit(self, *arguments)

    def has_time(self: Batcher, deadline_s: float) -> bool:
        asked.append(deadline_s)
        return True

    monkeypatch.setattr(Batcher, "submit", spy)
    monkeypatch.setattr(Batcher, "has_time", has_time)
    with open_line(tmp_path, deadline_ms=60_000) as line:
        line.pipeline.start()
        before_s = time.monotonic()
        line.send(1)
        line.wait_replies(1)
        after_s = time.monotonic()
    first, second = asked
    assert first == second
    assert before_s + 60 - MOST_TELLING_S <= first <= after_s + 60 - MOST_TELLING_S


def test_more_parts_than_the_station_holds_are_unknown_at_once(line: Line) -> None:
    line.engine.open.clear()
    for trigger in range(1, 12):
        line.send(trigger)
    refused = line.wait_replies(3)
    assert [i.reason for i in refused] == [Reason.QUEUE_FULL] * 3
    assert [i.trigger for i in refused] == [9, 10, 11]
    line.engine.open.set()
    line.wait_replies(11)
    check_agreement(line, list(range(1, 12)))


@pytest.fixture
def patient_line(tmp_path: Path) -> Iterator[Line]:
    """No part is past its deadline, however slow this machine is."""
    with open_line(tmp_path, deadline_ms=60_000) as line:
        line.pipeline.start()
        yield line


def test_a_flood_of_refused_parts_is_told_no_faster_than_a_plc_reads(patient_line: Line) -> None:
    """As after a pause of seconds: the model takes eight, and all others come within a moment."""
    line = patient_line
    line.engine.open.clear()
    for trigger in range(1, 201):
        line.send(trigger)
    refused = [i for i in line.wait_replies(192) if i.reason is Reason.QUEUE_FULL]
    times = sorted(i.decide_time.timestamp() for i in refused)
    windows = Counter(int((moment - times[0]) / PAUSE_S) for moment in times)
    assert max(windows.values()) <= 64
    line.engine.open.set()
    line.wait_replies(200)
    check_agreement(line, list(range(1, 201)))


def test_refused_parts_that_wait_to_be_told_take_no_room_from_others(patient_line: Line) -> None:
    line = patient_line
    line.engine.open.clear()
    for trigger in range(1, 101):
        line.send(trigger)
    line.engine.open.set()
    replies = line.wait_replies(1)
    while sum(i.verdict is Verdict.PASS for i in replies) < 8:
        replies = line.wait_replies(len(replies) + 1)
    line.send(101)
    told = {i.trigger: i.verdict for i in line.wait_replies(101)}
    assert told[101] is Verdict.PASS


def test_of_many_that_wait_to_be_told_not_all_pictures_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.pipeline.Backlogs", partial(Backlogs, pause_s=60.0))
    monkeypatch.setattr("inspector.pipeline.MOST_WAITING_FRAMES", 10)
    with open_line(tmp_path, deadline_ms=60_000) as line:
        line.pipeline.start()
        line.engine.open.clear()
        for trigger in range(1, 61):
            line.send(trigger)
        line.engine.open.set()
        line.pipeline.stop(0.0)
        dropped = [i for i in line.wait_replies(60) if "its picture was not kept" in i.detail]
    assert len(dropped) == 60 - 8 - 24 - 11


def test_no_refused_part_waits_past_its_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.pipeline.Backlogs", partial(Backlogs, pause_s=60.0))
    with open_line(tmp_path, deadline_ms=2000) as line:
        line.pipeline.start()
        line.engine.open.clear()
        for trigger in range(1, 61):
            line.send(trigger)
        told = Counter(i.reason for i in line.wait_replies(60))
        line.engine.open.set()
    assert told == {Reason.QUEUE_FULL: 52, Reason.DEADLINE_EXCEEDED: 8}


def test_stopping_gives_every_part_in_flight_its_verdict(tmp_path: Path) -> None:
    with open_line(tmp_path) as line:
        line.pipeline.start()
        line.engine.open.clear()
        line.send(1)
        line.pipeline.stop(0.01)
        assert line.wait_replies(1)[0].reason is Reason.SERVICE_STOPPING
        line.send(2)
        assert line.wait_replies(2)[1].reason is Reason.SERVICE_STOPPING
        assert line.states()[-1] is StationState.STOPPING
        check_agreement(line, [1, 2])


def test_parts_in_flight_at_a_death_are_unknown_after_it_and_numbering_goes_on(tmp_path: Path) -> None:
    with open_line(tmp_path) as line:
        line.pipeline.start()
        line.send(1)
        line.wait_replies(1)
        line.engine.open.clear()
        line.send(2)
        # As a killed process leaves it: the journal as it is now.
        line.journal.flush()
        copy = tmp_path / "copy" / "journal"
        copy.mkdir(parents=True)
        for file in (tmp_path / "journal").iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
    with open_line(tmp_path / "copy") as again:
        again.pipeline.start()
        assert [(i.trigger, i.reason) for i in again.published()] == [(2, Reason.SERVICE_RESTARTED)]
        with again.pipeline.open_session("line", "cam", "test") as session:
            assert session.next_trigger == 3
        assert [i.sequence for i in again.journal.replay(0)] == [1, 2]
        assert again.states()[-1] is StationState.READY


def admitted(folder: Path, count: int, station: str = "s") -> None:
    """A journal as a killed process leaves it: `count` parts in flight."""
    journal = Journal.open(folder / "journal", "line", segment_bytes=1 << 16)
    for trigger in range(1, count + 1):
        journal.admit(Admission(station, "cam", trigger, "", datetime.now(UTC)))
    journal.close()


def test_a_camera_that_repeats_what_is_still_owed_after_a_death_gets_that_verdict(tmp_path: Path) -> None:
    admitted(tmp_path, 40)
    with open_line(tmp_path) as line:
        line.pipeline.start()
        for trigger in range(1, 41):
            line.send(trigger)
        replies = line.wait_replies(40)
        assert {(i.trigger, i.reason) for i in replies} == {(t, Reason.SERVICE_RESTARTED) for t in range(1, 41)}
        check_agreement(line, list(range(1, 41)))


def test_a_part_of_a_station_that_was_renamed_gets_one_verdict_over_all_restarts(tmp_path: Path) -> None:
    admitted(tmp_path, 1, station="old name")
    for _ in range(3):
        with open_line(tmp_path) as line:
            line.pipeline.start()
            recorded = [(i.sequence, i.station, i.trigger) for i in line.journal.replay(0)]
    assert recorded == [(1, "old name", 1)]


def test_a_reply_that_raises_costs_no_other_part_its_verdict(line: Line) -> None:
    def broken(_: Inspection) -> None:
        raise RuntimeError("thread limit")

    frame = Frame(60, PixelFormat.PNG, 0, 0, 0, toy_png(20, SIZE))
    assert line.pipeline.submit("cam", frame, broken) == 60
    line.send(61)
    line.wait_replies(1)
    line.pipeline.stop(10)
    assert sorted(i.trigger for i in line.published()) == list(range(1, 62))


def test_a_journal_that_fails_at_the_start_shows_fault_and_at_the_stop_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise JournalError("no space")

    admitted(tmp_path, 1)
    with open_line(tmp_path) as line:
        with monkeypatch.context() as broken:
            broken.setattr(line.journal, "settle", full)
            line.pipeline.start()
            assert line.states()[-1] is StationState.FAULT
            line.engine.open.clear()
            line.send(2)
        line.engine.open.set()
        line.pipeline.stop(10)
        assert line.states()[-1] is StationState.STOPPING
        assert [i.trigger for i in line.journal.replay(0)] == [1, 2]


def test_without_a_bundle_every_part_is_unknown_and_the_station_says_fault(tmp_path: Path) -> None:
    with open_line(tmp_path, batchers={}, fault="bundle tiles-7 is refused") as line:
        line.pipeline.start()
        line.send(1)
        told = line.wait_replies(1)[0]
        assert (told.reason, told.detail) == (Reason.NOT_READY, "bundle tiles-7 is refused")
        assert line.states()[-1] is StationState.FAULT


def test_a_journal_that_cannot_be_written_never_gives_a_pass(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise JournalError("no space")

    with monkeypatch.context() as broken:
        broken.setattr(line.journal, "settle", full)
        for trigger in (1, 2):
            line.send(trigger)
        told = line.wait_replies(2)
        assert {(i.verdict, i.reason) for i in told} == {(Verdict.UNKNOWN, Reason.JOURNAL_FAILED)}
        assert line.states()[-1] is StationState.FAULT
    line.send(3)
    assert line.wait_replies(3)[2].verdict is Verdict.PASS
    assert line.states()[-1] is StationState.READY
    check_agreement(line, [1, 2, 3])


@pytest.mark.parametrize(
    ("line_name", "camera", "error"),
    [
        pytest.param("line", "cam9", UnknownCamera, id="no such camera"),
        pytest.param("other", "cam", SessionError, id="another line"),
    ],
)
def test_a_session_that_does_not_belong_here_is_refused(
    line: Line, line_name: str, camera: str, error: type[Exception]
) -> None:
    with pytest.raises(error), line.pipeline.open_session(line_name, camera, "test"):
        pass


def test_one_stream_per_camera(line: Line) -> None:
    with (
        line.pipeline.open_session("line", "cam", "first"),
        pytest.raises(CameraBusy, match='client "first"'),
        line.pipeline.open_session("line", "cam", "second"),
    ):
        pass
    with line.pipeline.open_session("line", "cam", "second") as session:
        assert (session.station, session.recipe, session.next_trigger) == ("s", "toy", 1)


def test_subscribers_see_the_sequence_without_gaps(line: Line) -> None:
    seen: list[int] = []
    unsubscribe = line.pipeline.subscribe(lambda inspection: seen.append(inspection.sequence))
    for trigger in range(1, 7):
        line.send(trigger)
    line.wait_replies(6)
    unsubscribe()
    line.send(7)
    line.wait_replies(7)
    assert seen == [1, 2, 3, 4, 5, 6]


def test_many_threads_repeating_and_skipping_triggers_get_one_verdict_each(line: Line) -> None:
    def camera(offset: int) -> None:
        for trigger in range(1 + offset, 41, 2):
            line.send(trigger)

    threads = [threading.Thread(target=camera, args=(n % 2,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    line.pipeline.stop(5)
    assert sorted(i.trigger for i in line.published()) == list(range(1, 41))
    assert len(list(line.journal.replay(0))) == 40
