"""A part seen by several cameras: one verdict, when every view was judged, one rejects, or the time is over."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_line import Line, check_agreement, open_line

from inspector.admission import TELLING_SHARE
from inspector.errors import Overloaded
from inspector.part import ImageKind, Judgement, Reason, Verdict
from inspector.records.entries import Evidence

VIEWS = ("top", "side")


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with open_line(tmp_path, VIEWS) as opened:
        opened.pipeline.start()
        yield opened


def evidence_of(line: Line) -> list[tuple[int, int, list[tuple[str, ImageKind]]]]:
    assert line.evidence.wait_idle(10)
    entries = [entry for _, entry in line.journal.read() if isinstance(entry, Evidence)]
    return [(e.sequence, e.late_view, [(i.view, i.kind) for i in e.images]) for e in entries]


@pytest.mark.parametrize("order", [VIEWS, VIEWS[::-1]], ids=["top first", "side first"])
def test_a_part_passes_when_all_its_views_do_and_each_camera_is_told(line: Line, order: tuple[str, str]) -> None:
    first, second = order
    line.send(1, value=20, camera=first)
    assert not line.replies, "one view is not the part"
    line.send(1, value=30, camera=second, part_id="P-1")
    one, other = line.wait_replies(2)
    assert one is other
    assert (one.verdict, one.part_id, one.view, one.camera) == (Verdict.PASS, "P-1", second, second)
    assert one.score == pytest.approx(30 / 255), "the view closest to its limit is shown"
    assert {(v.view, v.reason, round(v.score * 255)) for v in one.views if v.score is not None} == {
        (first, Reason.WITHIN_LIMITS, 20),
        (second, Reason.WITHIN_LIMITS, 30),
    }
    assert one.bundle.startswith("toy+toy@")
    check_agreement(line, [1])


def test_a_reject_waits_for_no_other_view_which_is_kept_when_it_comes(line: Line) -> None:
    line.send(1, value=240, camera="side")
    (rejected,) = line.wait_replies(1)
    assert (rejected.verdict, rejected.view, rejected.detail[:10]) == (Verdict.REJECT, "side", "view side:")
    assert [finding.view for finding in rejected.findings] == ["side"]
    line.send(1, value=20, camera="top")
    line.send(1, value=20, camera="top")
    assert line.wait_replies(3)[1:] == [rejected, rejected]
    frame, heat_map = ImageKind.FRAME, ImageKind.HEAT_MAP
    assert evidence_of(line) == [(1, 0, [("side", frame), ("side", heat_map)]), (1, 1, [("top", frame)])]
    check_agreement(line, [1])


def test_a_view_that_does_not_come_leaves_the_part_unknown_at_the_deadline(tmp_path: Path) -> None:
    with open_line(tmp_path, VIEWS, deadline_ms=60) as line:
        line.pipeline.start()
        line.send(1, camera="top")
        (unknown,) = line.wait_replies(1)
        assert (unknown.reason, unknown.view) == (Reason.MISSING_VIEW, "side")
        assert "no frame of view side came in time for its deadline of 60 ms" in unknown.detail
        assert unknown.latency_ms >= 60 * (1 - TELLING_SHARE)
        assert [(v.view, v.reason) for v in unknown.views] == [
            ("top", Reason.WITHIN_LIMITS),
            ("side", Reason.MISSING_VIEW),
        ]
        check_agreement(line, [1])


def test_a_view_whose_camera_went_on_is_missing_at_once(line: Line) -> None:
    line.send(1, camera="top")
    assert line.send(2, camera="side") == 2, "side owes its camera the part that it did not show"
    missing = line.wait_replies(2)
    assert [(i.trigger, i.reason, i.view) for i in missing] == [(1, Reason.MISSING_VIEW, "side")] * 2
    line.send(2, camera="top")
    assert {i.trigger: i.verdict for i in line.wait_replies(4)}[2] is Verdict.PASS
    check_agreement(line, [1, 2])


def test_a_view_may_come_out_of_its_order_as_long_as_the_part_has_time(line: Line) -> None:
    line.send(2, camera="top")
    line.send(1, camera="top")
    line.send(1, camera="side")
    line.send(2, camera="side")
    assert {i.trigger: i.verdict for i in line.wait_replies(5)} == {1: Verdict.PASS, 2: Verdict.PASS}
    check_agreement(line, [1, 2])


def test_a_part_that_no_camera_showed_is_a_gap(line: Line) -> None:
    line.send(3, camera="top")
    line.send(3, camera="side")
    reasons = {i.trigger: i.reason for i in line.wait_replies(6)}
    assert reasons == {1: Reason.TRIGGER_GAP, 2: Reason.TRIGGER_GAP, 3: Reason.WITHIN_LIMITS}
    check_agreement(line, [1, 2, 3])


def test_part_ids_that_differ_show_that_cameras_count_differently(line: Line) -> None:
    line.send(1, camera="top", part_id="A")
    line.send(1, camera="side", part_id="B")
    unknown = line.wait_replies(2)[0]
    assert unknown.reason is Reason.FRAME_INVALID
    assert "view side is of part B" in unknown.detail
    check_agreement(line, [1])


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        pytest.param("top", Reason.WITHIN_LIMITS, id="its own"),
        pytest.param("", Reason.WITHIN_LIMITS, id="unsaid"),
        pytest.param("side", Reason.FRAME_INVALID, id="another's"),
        pytest.param("below", Reason.FRAME_INVALID, id="nobody's"),
    ],
)
def test_a_camera_shows_its_own_view_only(line: Line, view: str, reason: Reason) -> None:
    line.send(1, camera="top", view=view)
    line.send(1, camera="side")
    assert line.wait_replies(2)[0].reason is reason
    check_agreement(line, [1])


def test_a_view_that_cannot_be_judged_still_lets_another_show_the_defect(line: Line) -> None:
    line.send(1, value=3, camera="top")
    line.send(1, value=240, camera="side")
    line.send(2, value=3, camera="top")
    line.send(2, value=20, camera="side")
    told = {i.trigger: (i.reason, i.view) for i in line.wait_replies(4)}
    assert told == {1: (Reason.SCORE_ABOVE_LIMIT, "side"), 2: (Reason.IMAGE_TOO_DARK, "top")}
    check_agreement(line, [1, 2])


def test_the_other_views_of_a_rejected_part_are_not_judged_in_vain(line: Line) -> None:
    line.engine.open.clear()
    line.send(1, value=240, camera="top")
    assert line.engine.entered.wait(10)
    line.send(1, value=20, camera="side")
    line.engine.open.set()
    assert line.wait_replies(2)[0].verdict is Verdict.REJECT
    line.send(2, camera="top")
    line.send(2, camera="side")
    line.wait_replies(4)
    assert line.batcher.counts.skipped == 1


def test_a_stuck_camera_costs_its_station_only_its_own_parts(tmp_path: Path) -> None:
    """Beyond what may be in flight parts are unknown at once; those before are so at their deadline."""
    with open_line(tmp_path, VIEWS, deadline_ms=150, max_in_flight=8) as line:
        line.pipeline.start()
        for trigger in range(1, 21):
            line.send(trigger, camera="top")
        reasons = [i.reason for i in sorted(line.wait_replies(20), key=lambda i: i.trigger)]
        assert reasons == [Reason.MISSING_VIEW] * 8 + [Reason.QUEUE_FULL] * 12
        line.send(21, camera="top")
        assert line.send(21, camera="side") == 21, "it hears of those that it did not show, and of this one"
        line.wait_replies(20 + 1 + 21)
        assert line.published()[-1].verdict is Verdict.PASS
        check_agreement(line, list(range(1, 22)))


@pytest.mark.parametrize("views", [("",), VIEWS], ids=["one view", "two views"])
def test_a_camera_that_counts_faster_than_verdicts_can_be_told_is_stopped(
    tmp_path: Path, views: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.reception.MAX_OWED", 500)
    with open_line(tmp_path, views, deadline_ms=60_000, max_gap=100) as line:
        line.pipeline.start()

        def run_wild() -> None:
            for trigger in range(100, 10_000, 100):
                line.send(trigger, camera=views[0] or "cam", data=b"")

        with pytest.raises(Overloaded, match="number every part"):
            run_wild()
        (station,) = line.pipeline.stations
        assert station.in_flight <= 600


def test_a_camera_that_comes_back_is_told_the_first_part_that_it_has_not_shown(line: Line) -> None:
    """Also if that part has its verdict: a camera that counts must not go on with another part's number."""
    for trigger, value in ((1, 20), (2, 240), (3, 20)):
        line.send(trigger, value=value, camera="top")
    line.send(1, camera="side")
    line.wait_replies(3)
    with line.pipeline.open_session("line", "side", "test") as session:
        assert (session.next_trigger, session.view) == (2, "side")
    with line.pipeline.open_session("line", "top", "test") as session:
        assert session.next_trigger == 4


def test_views_of_before_a_death_are_not_judged_after_it(tmp_path: Path) -> None:
    with open_line(tmp_path, VIEWS) as line:
        line.pipeline.start()
        line.send(1, camera="top")
        line.journal.flush()
        copy = tmp_path / "copy" / "journal"
        copy.mkdir(parents=True)
        for file in (tmp_path / "journal").iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
    with open_line(tmp_path / "copy", VIEWS) as again:
        again.pipeline.start()
        again.send(1, camera="side")
        assert again.wait_replies(1)[0].reason is Reason.SERVICE_RESTARTED
        again.send(2, camera="side")
        again.send(2, camera="top")
        assert again.wait_replies(3)[-1].verdict is Verdict.PASS


def test_a_station_of_several_views_judges_hundreds_of_parts_in_any_order(tmp_path: Path) -> None:
    """Three cameras at their own pace, with frames lost and doubled: one verdict a part, and no defect passes."""
    views, parts = ("top", "side", "back"), 300
    with open_line(tmp_path, views, deadline_ms=3000, max_in_flight=1000) as line:
        line.pipeline.start()
        shown: dict[int, list[bool]] = {trigger: [] for trigger in range(1, parts + 1)}
        lock = threading.Lock()

        def camera(name: str) -> None:
            chance = random.Random(name)
            for trigger in range(1, parts + 1):
                if chance.random() < 0.05 and trigger < parts:
                    continue
                defective = chance.random() < 0.05
                with lock:
                    shown[trigger].append(defective)
                for _ in range(1 + (chance.random() < 0.05)):
                    line.send(trigger, value=240 if defective else 20, camera=name)

        cameras = [threading.Thread(target=camera, args=(name,)) for name in views]
        for thread in cameras:
            thread.start()
        for thread in cameras:
            thread.join()
        with line.arrived:
            assert line.arrived.wait_for(lambda: len(line.published()) == parts, 30)
        check_agreement(line, list(range(1, parts + 1)))
        for inspection in line.published():
            seen = shown[inspection.trigger]
            may_pass = len(seen) == len(views) and not any(seen)
            assert (inspection.verdict is Verdict.PASS) == may_pass, (
                inspection.reason,
                inspection.detail,
                inspection.views,
            )
        kinds = {inspection.reason for inspection in line.published()}
        assert kinds >= {Reason.WITHIN_LIMITS, Reason.SCORE_ABOVE_LIMIT, Reason.MISSING_VIEW}


def test_every_order_of_three_views_gives_one_verdict(line: Line, tmp_path: Path) -> None:
    del line
    with open_line(tmp_path / "three", ("a", "b", "c")) as three:
        three.pipeline.start()
        for trigger, order in enumerate(itertools.permutations("abc"), start=1):
            for camera in order:
                three.send(trigger, camera=camera)
        three.wait_replies(18)
        assert [i.verdict for i in three.published()] == [Verdict.PASS] * 6
        check_agreement(three, list(range(1, 7)))


def test_what_a_stopped_station_was_not_shown_before_is_not_judged(line: Line) -> None:
    line.send(1, camera="top")
    line.pipeline.run_station("s", False)
    line.send(1, camera="side")
    assert {i.reason for i in line.wait_replies(2)} == {Reason.WITHIN_LIMITS}, "in flight before the stop"
    line.send(3, camera="top")
    line.send(2, camera="side")
    reasons = {i.trigger: i.reason for i in line.wait_replies(5)}
    assert reasons[3] is Reason.STATION_STOPPED
    assert reasons[2] is not Reason.WITHIN_LIMITS
    check_agreement(line, [1, 2, 3])


def test_without_its_models_no_view_is_judged(tmp_path: Path) -> None:
    with open_line(tmp_path, VIEWS, batchers={}, fault="bundle top-7 is refused") as line:
        line.pipeline.start()
        line.send(2, camera="top")
        line.send(1, camera="side")
        line.send(1, camera="top")
        line.send(2, camera="side")
        reasons = {i.trigger: i.reason for i in line.wait_replies(5)}
        assert reasons == {1: Reason.MISSING_VIEW, 2: Reason.NOT_READY}
        check_agreement(line, [1, 2])


def test_a_gap_of_many_rounds_leaves_no_part_of_another_camera_waiting(line: Line) -> None:
    """Top skips a hundred parts of which side has announced some, and is done with them."""
    line.send(40, camera="side")
    assert line.send(100, camera="top") == 100
    with line.arrived:
        assert line.arrived.wait_for(lambda: any(i.trigger == 40 for i in line.replies), 10)
    told = next(i for i in line.replies if i.trigger == 40)
    assert (told.reason, told.view) == (Reason.MISSING_VIEW, "top")
    assert "trigger 40 was skipped" in told.detail


@pytest.mark.parametrize(("over", "reason"), [(False, Reason.WITHIN_LIMITS), (True, Reason.DEADLINE_EXCEEDED)])
@pytest.mark.parametrize("views", [("",), VIEWS], ids=["one view", "two views"])
def test_a_judgement_not_yet_settled_as_the_part_expires_counts_before_its_deadline(
    tmp_path: Path, views: tuple[str, ...], over: bool, reason: Reason
) -> None:
    with open_line(tmp_path, views, deadline_ms=60_000) as line:
        line.pipeline.start()
        cameras = [view or "cam" for view in views]
        line.engine.open.clear()
        for camera in cameras:
            line.send(1, camera=camera)
        part = line.pipeline._reception._books["s"].in_flight[1]
        for look in part.looks:
            look.judgement = Judgement(Reason.WITHIN_LIMITS, "", 0.1, 0.5)
        if over:
            part.deadline_s = 0.0
        line.pipeline._expire(part)
        assert line.wait_replies(len(cameras))[0].reason is reason
        assert line.pipeline.alive()
