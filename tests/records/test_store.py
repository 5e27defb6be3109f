from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from record_samples import LINE, START, admission, inspection, label, picture

from inspector.errors import NotFound, PageTokenInvalid, RecordRejected, StoreUnavailable
from inspector.part import Box, Finding, ImageKind, Inspection, Millimetres, Reason, Verdict, ViewResult
from inspector.records import applying, schema
from inspector.records.applying import Applied
from inspector.records.entries import Entry, Evidence, LateScore, Position, Settled, StationMark, StoredImage
from inspector.records.evidence import lost_image
from inspector.records.queries import InspectionFilter, StoredInspection
from inspector.records.store import Store

REJECT, RESTARTED = Reason.SCORE_ABOVE_LIMIT, Reason.SERVICE_RESTARTED


def settle(store: Store, *inspections: Inspection, line: str = LINE) -> Applied:
    return store.apply(line, [Settled(i) for i in inspections])


def numbers(found: Sequence[StoredInspection]) -> list[int]:
    return [f.inspection.sequence for f in found]


def at(offset: int) -> Position:
    return Position("journal-id", 1, offset)


@pytest.mark.parametrize("reason", Reason, ids=lambda r: r.name)
def test_an_inspection_comes_back_as_it_went_in(store: Store, reason: Reason) -> None:
    settle(store, inspection(1, reason))
    assert store.get(LINE, 1) == StoredInspection(inspection(1, reason))


@pytest.mark.parametrize("size", [None, Millimetres(2.5, 0.25, 1.6, 1.1)], ids=["without a scale", "in mm"])
def test_a_measured_finding_comes_back_as_it_went_in(store: Store, size: Millimetres | None) -> None:
    crack = Finding("crack", Box(4, 5, 30, 20), 412.5, 0.75, 36.1, (19.0, 15.5), size)
    settle(store, inspection(1, Reason.DIMENSION_ABOVE_LIMIT, findings=(crack, replace(crack, size=None))))
    assert store.get(LINE, 1).inspection.findings == (crack, replace(crack, size=None))


def test_the_views_of_a_part_and_their_pictures_come_back_as_they_went_in(store: Store) -> None:
    top = ViewResult("top", "cam-1", "a@1", Reason.WITHIN_LIMITS, "", 0.25, 0.5)
    side = ViewResult("side", "cam-2", "b@2", Reason.SCORE_ABOVE_LIMIT, "above", 0.75, 0.5)
    dent = Finding("dent", Box(4, 5, 30, 20), 412.5, 0.75, view="side")
    part = inspection(1, Reason.SCORE_ABOVE_LIMIT, findings=(dent,), view="side", views=(top, side), camera="cam-2")
    frame = StoredImage(ImageKind.FRAME, "ab" * 32, "image/png", 9, view="side")
    late = StoredImage(ImageKind.FRAME, "cd" * 32, "image/png", 9, view="top")
    entries = [Settled(part), Evidence(1, (frame,), START), Evidence(1, (late,), START, late_view=1)]
    for _ in range(2):  # a batch may come twice
        store.apply(LINE, entries)
        assert store.get(LINE, 1) == StoredInspection(part, (frame, late))
    lost = Evidence(1, (lost_image(ImageKind.FRAME, "disk full", "top"),), START, late_view=1)
    store.apply(LINE, [lost])
    assert store.get(LINE, 1).images == (frame, *lost.images), "a late view replaces itself alone"


def test_parts_of_several_views_are_found_by_the_bundle_of_each(store: Store) -> None:
    both = "top_a+side@0123456789ab"
    settle(
        store, inspection(1, bundle=both), inspection(2, bundle="side@111111111111"), inspection(3, bundle="topxa@1")
    )
    store.record_bundle(both, "0123456789ab", {"bundles": ["top_a@222222222222", "side@111111111111"]}, START)
    for asked, found in (("side@111111111111", [2, 1]), ("side", [2, 1]), ("top_a", [1]), (both, [1]), ("top", [])):
        page = store.list(InspectionFilter(line=LINE, bundle=asked), 10)
        assert numbers(page.inspections) == found, asked


def test_what_is_missing_comes_back_as_missing(store: Store) -> None:
    bare = inspection(1, part_id="", detail="", score=None, limit=None, capture_time=None, recipe="", bundle="")
    settle(store, bare)
    assert store.get(LINE, 1).inspection == bare


@pytest.mark.parametrize(("line", "sequence"), [(LINE, 2), ("other", 1), ("", 1), (LINE, 0)])
def test_an_unknown_inspection_is_not_found(store: Store, line: str, sequence: int) -> None:
    settle(store, inspection(1))
    with pytest.raises(NotFound, match="is not on record"):
        store.get(line, sequence)


def test_a_batch_is_stored_with_its_position(store: Store) -> None:
    assert store.position(LINE) is None
    assert store.last_sequence(LINE) == 0
    batch: list[Entry] = [
        admission(1),
        Settled(inspection(1, REJECT)),
        Evidence(1, (picture(1), picture(2, ImageKind.HEAT_MAP)), START),
        Settled(inspection(2, Reason.DEADLINE_EXCEEDED)),
        LateScore(2, 0.625),
        Evidence(2, (lost_image(ImageKind.FRAME, "disk full"),), START),
    ]
    assert store.apply(LINE, batch, at(100)) == Applied(stored=2)
    assert store.position(LINE) == at(100)
    assert store.last_sequence(LINE) == 2
    assert store.station_marks(LINE) == {"top": StationMark(3, 3)}
    images = (picture(1), picture(2, ImageKind.HEAT_MAP))
    assert store.get(LINE, 1) == StoredInspection(inspection(1, REJECT), images)
    lost = (lost_image(ImageKind.FRAME, "disk full"),)
    assert store.get(LINE, 2) == StoredInspection(inspection(2, Reason.DEADLINE_EXCEEDED), lost, 0.625)


def test_the_same_batch_twice_is_on_record_once(store: Store) -> None:
    batch: list[Entry] = [
        Settled(inspection(1, REJECT)),
        Evidence(1, (picture(1), picture(1)), START),
        LateScore(1, 0.5),
    ]
    assert store.apply(LINE, batch, at(10)) == Applied(stored=1)
    first = store.get(LINE, 1)
    assert store.apply(LINE, batch * 2, at(10)) == Applied(repeated=2)
    assert store.get(LINE, 1) == first
    assert len(first.images) == 2
    assert len(first.inspection.findings) == 1
    assert store.stats().pictures == 1


def test_another_content_under_a_known_number_is_told_and_dropped(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    settle(store, inspection(1))
    assert settle(store, inspection(1, trigger=77), inspection(2)) == Applied(stored=1, conflicting=1)
    assert store.get(LINE, 1).inspection.trigger == 1
    assert "lines/tiles/inspections/1 is on record with another content" in caplog.text


@pytest.mark.parametrize("step", ["_store_inspections", "_store_evidence", "_store_late_scores", "_raise_marks"])
def test_a_batch_that_fails_halfway_leaves_nothing(store: Store, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(store, inspection(1))
    real: Callable[..., Any] = getattr(applying, step)

    def die_after(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    batch: list[Entry] = [
        Settled(inspection(2, REJECT, station="new", camera="new", recipe="new", bundle="new@1")),
        Evidence(2, (picture(2),), START),
        LateScore(2, 1.0),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(applying, step, die_after)
        with pytest.raises(KeyboardInterrupt):
            store.apply(LINE, batch, at(50))
    assert store.position(LINE) is None
    assert store.last_sequence(LINE) == 1
    assert store.stats().pictures == 0
    # Ids that were made in the failed transaction must not be believed in.
    assert store.apply(LINE, batch, at(50)) == Applied(stored=1)
    assert store.get(LINE, 2).inspection.station == "new"


def test_evidence_may_come_first(store: Store) -> None:
    store.apply(LINE, [Evidence(1, (picture(1),), START), LateScore(1, 0.5)])
    store.apply(LINE, [Settled(inspection(1))])
    assert store.get(LINE, 1) == StoredInspection(inspection(1), (picture(1),), 0.5)


def test_later_evidence_replaces_the_earlier(store: Store) -> None:
    first = Evidence(1, (picture(1), picture(2)), START)
    second = Evidence(1, (lost_image(ImageKind.FRAME, "disk full"),), START)
    store.apply(LINE, [Settled(inspection(1)), first, second])
    assert store.get(LINE, 1).images == second.images
    store.apply(LINE, [first, LateScore(1, 1.0), LateScore(1, 2.0)])
    assert store.get(LINE, 1) == StoredInspection(inspection(1), first.images, 2.0)


@pytest.mark.parametrize(
    ("part_id", "found_as"),
    [
        pytest.param("a\0b", "a\ufffdb", id="nul"),
        pytest.param("a\ud800b", "a?b", id="half-surrogate"),
        pytest.param("部品'; DROP TABLE inspections;--", "部品'; DROP TABLE inspections;--", id="sql"),
        pytest.param("x" * 5000, "x" * 256, id="long"),
        pytest.param("%_\\", "%_\\", id="pattern"),
    ],
)
def test_hostile_names_neither_stop_the_line_nor_get_lost(store: Store, part_id: str, found_as: str) -> None:
    settle(store, inspection(1, part_id=part_id, detail=part_id), inspection(2))
    assert store.get(LINE, 1).inspection.part_id == found_as
    assert numbers(store.list(InspectionFilter(part_id=part_id)).inspections) == [1]


@pytest.mark.parametrize(
    ("score", "stored"), [(math.nan, None), (math.inf, math.inf), (-math.inf, -math.inf), (5e-324, 5e-324)]
)
def test_odd_scores_are_kept_alike_everywhere(store: Store, score: float, stored: float | None) -> None:
    settle(store, inspection(1, Reason.SCORE_INVALID, score=score, limit=score))
    store.apply(LINE, [LateScore(1, score)])
    found = store.get(LINE, 1)
    assert found.inspection.score == found.inspection.limit == found.late_score == stored


def test_a_value_that_no_database_takes_is_told_as_such(store: Store) -> None:
    broken = inspection(1, REJECT)
    crack = broken.findings[0]
    broken = replace(broken, findings=(replace(crack, area_px=None),))  # type: ignore[arg-type]
    with pytest.raises(RecordRejected, match=r"refuses a record: .*: keep the journal"):
        settle(store, broken)


# Lists


def fill(store: Store) -> None:
    """Two lines; on the first, part numbers 1 to 60: every tenth a reject, every fifteenth unknown."""
    verdicts = []
    for n in range(1, 61):
        reason = REJECT if n % 10 == 0 else Reason.QUEUE_FULL if n % 15 == 0 else Reason.WITHIN_LIMITS
        bundle = "tiles-7@0123456789ab" if n <= 30 else "tiles-8@ba9876543210"
        verdicts.append(inspection(n, reason, bundle=bundle, part_id=f"P{n % 20:03d}"))
    settle(store, *verdicts)
    settle(store, *(inspection(n, REJECT, line="screws") for n in range(1, 6)), line="screws")


FILTERS: list[tuple[str, dict[str, Any], Sequence[int]]] = [
    ("all", {}, range(60, 0, -1)),
    ("part", {"part_id": "P005"}, [45, 25, 5]),
    ("part-and-verdict", {"part_id": "P010", "verdicts": frozenset({Verdict.PASS})}, []),
    ("rejects", {"verdicts": frozenset({Verdict.REJECT})}, range(60, 0, -10)),
    ("unknown", {"verdicts": frozenset({Verdict.UNKNOWN})}, [45, 15]),
    (
        "all-that-did-not-pass",
        {"verdicts": frozenset({Verdict.REJECT, Verdict.UNKNOWN})},
        [60, 50, 45, 40, 30, 20, 15, 10],
    ),
    ("passed", {"verdicts": frozenset({Verdict.PASS})}, [n for n in range(60, 0, -1) if n % 10 and n % 15]),
    ("every-verdict", {"verdicts": frozenset(Verdict)}, range(60, 0, -1)),
    ("class", {"defect_class": "crack"}, range(60, 0, -10)),
    ("class-unknown", {"defect_class": "scratch"}, []),
    ("class-and-bundle", {"defect_class": "crack", "bundle": "tiles-7"}, [30, 20, 10]),
    ("bundle-label", {"bundle": "tiles-7@0123456789ab"}, range(30, 0, -1)),
    ("bundle-name", {"bundle": "tiles-8"}, range(60, 30, -1)),
    ("bundle-pattern-is-no-pattern", {"bundle": "tiles-%"}, []),
    ("bundle-prefix-is-no-name", {"bundle": "tiles"}, []),
    ("rejects-of-a-bundle", {"bundle": "tiles-8", "verdicts": frozenset({Verdict.REJECT})}, [60, 50, 40]),
    (
        "time-from-inclusive-to-exclusive",
        {"start_time": START + timedelta(seconds=10), "end_time": START + timedelta(seconds=13)},
        [12, 11, 10],
    ),
    (
        "rejects-since",
        {"start_time": START + timedelta(seconds=21), "verdicts": frozenset({Verdict.REJECT})},
        [60, 50, 40, 30],
    ),
    ("no-time", {"start_time": START, "end_time": START}, []),
]


@pytest.mark.parametrize("page_size", [3, 1000])
def test_lists_come_newest_first_through_every_filter(store: Store, page_size: int, subtests: pytest.Subtests) -> None:
    fill(store)
    for name, fields, expected in FILTERS:
        with subtests.test(name):
            assert all_pages(store, InspectionFilter(line=LINE, **fields), page_size) == list(expected)


def all_pages(store: Store, where: InspectionFilter, page_size: int) -> list[int]:
    found, token = [], ""
    while True:
        page = store.list(where, page_size, token)
        found += numbers(page.inspections)
        token = page.next_page_token
        if not token:
            return found
        assert len(page.inspections) == page_size


def test_all_lines_are_listed_together_by_time(store: Store) -> None:
    fill(store)
    token, found = "", []
    while True:
        page = store.list(InspectionFilter(end_time=START + timedelta(seconds=7)), 4, token)
        found += [(f.inspection.receive_time, f.inspection.line) for f in page.inspections]
        token = page.next_page_token
        if not token:
            break
    assert len(found) == len(set(found)) == 11
    assert [time for time, _ in found] == sorted((time for time, _ in found), reverse=True)


def test_pages_stand_still_while_the_line_runs(store: Store) -> None:
    fill(store)
    first = store.list(InspectionFilter(line=LINE), 5)
    settle(store, inspection(61), inspection(62))
    second = store.list(InspectionFilter(line=LINE), 5, first.next_page_token)
    assert numbers(second.inspections) == [55, 54, 53, 52, 51]


def test_parts_received_at_the_same_time_are_all_listed(store: Store) -> None:
    settle(store, *(inspection(n, receive_time=START) for n in range(1, 8)))
    first = store.list(InspectionFilter(), 4)
    second = store.list(InspectionFilter(), 4, first.next_page_token)
    assert numbers(first.inspections) + numbers(second.inspections) == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "token", ["x", "!!!!", "MS4yLjM", "é", "MS4yLjMuNA", "A" * 10_000, "OTk5OTk5OTk5OTk5OTk5OTk5OTk5LjEuMS4w"]
)
def test_a_made_up_page_token_is_refused(store: Store, token: str) -> None:
    with pytest.raises(PageTokenInvalid, match="the page token is"):
        store.list(InspectionFilter(), 5, token)


def test_a_page_token_goes_with_its_filters(store: Store) -> None:
    fill(store)
    token = store.list(InspectionFilter(line=LINE), 5).next_page_token
    with pytest.raises(PageTokenInvalid, match="of another query: keep all filters"):
        store.list(InspectionFilter(line=LINE, part_id="P005"), 5, token)


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (-5, 1), (10_000, 65)], ids=["zero", "negative", "huge"])
def test_page_sizes_are_held_within_bounds(store: Store, asked: int, given: int) -> None:
    fill(store)
    assert len(store.list(InspectionFilter(), asked).inspections) == given


def test_lists_carry_findings_pictures_and_late_scores(store: Store) -> None:
    store.apply(LINE, [Settled(inspection(1, REJECT)), Evidence(1, (picture(1),), START), LateScore(1, 0.5)])
    assert store.list(InspectionFilter()).inspections == (store.get(LINE, 1),)
    assert store.after(LINE, 0) == [store.get(LINE, 1)]


def test_going_on_from_a_number(store: Store) -> None:
    fill(store)
    assert numbers(store.after(LINE, 57)) == [58, 59, 60]
    assert numbers(store.after(LINE, 0, 2)) == [1, 2]
    assert numbers(store.after(LINE, 0, 3, frozenset({Verdict.REJECT}))) == [10, 20, 30]
    assert numbers(store.after("other", 0)) == []


# Bundles, recipes, labels, figures


def test_a_bundle_is_recorded_before_or_after_its_first_inspection(store: Store) -> None:
    label = "tiles-7@0123456789ab"
    settle(store, inspection(1))
    store.record_bundle(label, "0123456789abcdef", {"name": "tiles-7", "classes": ["crack"]}, START)
    store.record_bundle(label, "0123456789abcdef", {"name": "another"}, START)
    settle(store, inspection(2))
    columns = schema.bundles.c
    with store._database.reading() as connection:
        rows = connection.execute(sa.select(columns.label, columns.digest, columns.manifest)).all()
    assert rows == [(label, "0123456789abcdef", '{"classes": ["crack"], "name": "tiles-7"}')]
    assert numbers(store.list(InspectionFilter(bundle=label)).inspections) == [2, 1]


def test_a_recipe_is_recorded_each_time_it_changes(store: Store) -> None:
    first = store.record_recipe("tiles-a", {"deadline_ms": 100}, START)
    assert store.record_recipe("tiles-a", {"deadline_ms": 100}, START) == first
    assert store.record_recipe("tiles-a", {"deadline_ms": 200}, START) != first


def test_labels_protect_pictures(store: Store) -> None:
    store.apply(LINE, [Settled(inspection(1)), Evidence(1, (picture(1), picture(2)), START)])
    store.apply(LINE, [Settled(inspection(2)), Evidence(2, (picture(2), picture(3)), START)])
    assert store.protected_pictures() == frozenset()
    store.add_labels([label(1)])
    assert store.protected_pictures() == {picture(1).sha256, picture(2).sha256}
    everything = [picture(n).sha256 for n in range(1, 4)]
    assert store.mark_removed(everything, "age", START) == {picture(3).sha256}
    assert store.get(LINE, 1).images == (picture(1), picture(2))
    removed = replace(picture(3), sha256="", lost_reason="removed by retention (age) on 2026-03-02")
    assert store.get(LINE, 2).images == (picture(2), removed)


def test_only_what_is_on_record_can_be_labelled(store: Store) -> None:
    with pytest.raises(NotFound, match="cannot be labelled"):
        store.add_labels([label(1)])


def test_a_picture_stored_anew_is_there_again_but_not_by_an_old_entry(store: Store) -> None:
    old = Evidence(1, (picture(1),), START)
    store.apply(LINE, [Settled(inspection(1)), Settled(inspection(2)), old])
    store.mark_removed([picture(1).sha256], "quota", START + timedelta(hours=1))
    store.apply(LINE, [old])
    assert store.get(LINE, 1).images[0].lost_reason == "removed by retention (quota) on 2026-03-02"
    store.apply(LINE, [Evidence(2, (picture(1),), START + timedelta(hours=2))])
    assert store.get(LINE, 1).images == store.get(LINE, 2).images == (picture(1),)


def test_figures_of_the_database(store: Store) -> None:
    fill(store)
    stats = store.stats()
    assert [line.line for line in stats.lines] == ["screws", LINE]
    tiles = stats.lines[1]
    assert dict(tiles.verdicts) == {Verdict.PASS: 52, Verdict.REJECT: 6, Verdict.UNKNOWN: 2}
    assert (tiles.first_time, tiles.last_time) == (START + timedelta(seconds=1), START + timedelta(seconds=60))
    assert stats.size_bytes > 50_000
    assert (stats.pictures, stats.pictures_removed, stats.labels) == (0, 0, 0)


def test_a_closed_store_opens_again(store: Store) -> None:
    settle(store, inspection(1))
    store.close()
    assert store.last_sequence(LINE) == 1


def test_two_stores_share_a_database(store: Store, url: str) -> None:
    other = Store(url)
    settle(store, inspection(1, station="a"))
    settle(other, inspection(1, station="b", line="screws"), line="screws")
    settle(store, inspection(2, station="b"))
    assert other.get(LINE, 2).inspection.station == "b"
    other.close()


def test_an_unfinished_transaction_of_another_does_not_block_reading(store: Store, url: str) -> None:
    settle(store, inspection(1))
    other = Store(url, busy_timeout_s=0.1)
    with other._database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM late_scores")
        assert store.last_sequence(LINE) == 1
    other.close()


def test_nothing_answers_without_tables(url: str) -> None:
    empty = Store(url)
    assert empty.is_empty()
    with pytest.raises((StoreUnavailable, Exception), match="inspector db upgrade"):
        empty.last_sequence(LINE)
    empty.upgrade()
    assert not empty.is_empty()
    empty.close()
