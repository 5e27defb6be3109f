"""Looking through frames: filters, pages without gaps or repeats, and labels that the model contradicts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from record_samples import LINE, START, inspection, label

from inspector.part import ImageKind, Reason, Verdict
from inspector.records.browsing import BrowseFilter, Browsing, Judged, Position, doubts_of
from inspector.records.entries import Evidence, Settled, StoredImage
from inspector.records.store import Store

COUNT = 12


@pytest.fixture
def browsing(store: Store) -> Browsing:
    """Twelve parts, every third a reject; 4 and 8 have lost their picture, 9 shows what 10 shows, 6 has two views."""
    for number in range(1, COUNT + 1):
        reason = Reason.SCORE_ABOVE_LIMIT if number % 3 == 0 else Reason.WITHIN_LIMITS
        seen = inspection(number, reason, part_id=f"L{number % 2}-{number}" if number != 5 else "50%_x")
        frame = StoredImage(ImageKind.FRAME, f"{10 if number == 9 else number:064x}", "image/png", 9)
        images: tuple[StoredImage, ...] = (frame,)
        if number in (4, 8):
            images = (StoredImage(ImageKind.FRAME, "", "", 0, "disk full"),)
        if number == 3:
            images = (frame, StoredImage(ImageKind.HEAT_MAP, "ff" * 32, "image/png", 9))
        if number == 6:
            images = (frame, StoredImage(ImageKind.FRAME, "ee" * 32, "image/png", 9))
        store.apply(LINE, [Settled(seen), Evidence(number, images, START)])
    store.add_labels([
        label(3, "crack"), label(6, "crack"), label(6, "good", "ben", minute=1), label(7), label(7, "dent", minute=2),
        label(9, "good", "ben"), label(9, "withdrawn", "ben", minute=3), label(12),
    ])  # fmt: skip
    return Browsing(store.database, LINE)


def numbers(browsing: Browsing, **where: Any) -> list[int]:
    frames, _ = browsing.page(BrowseFilter(**where), limit=100)
    return [frame.sequence for frame in frames]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        pytest.param({}, [12, 11, 10, 9, 7, 6, 6, 5, 3, 2, 1], id="everything, newest first, both frames of 6"),
        pytest.param({"verdicts": frozenset({Verdict.REJECT})}, [12, 9, 6, 6, 3], id="verdict"),
        pytest.param({"label": "crack"}, [6, 6, 3], id="label"),
        pytest.param({"label": "good"}, [12, 6, 6], id="label of now: 7 is a dent by now, and 9 was taken back"),
        pytest.param({"reviewer": "ben"}, [6, 6], id="reviewer"),
        pytest.param({"reviewer": "ben", "label": "crack"}, [], id="of one person"),
        pytest.param({"labelled": True}, [12, 7, 6, 6, 3], id="labelled"),
        pytest.param({"labelled": False}, [11, 10, 5, 2, 1], id="never labelled"),
        pytest.param({"part": "L1-"}, [11, 9, 7, 3, 1], id="how the part begins"),
        pytest.param({"part": "50%_"}, [5], id="signs that the database means otherwise"),
        pytest.param({"found_class": "crack"}, [12, 9, 6, 6, 3], id="what the model found"),
        pytest.param({"found_class": "nothing"}, [], id="a class that nothing is"),
        pytest.param(
            {"start_time": START + timedelta(seconds=5), "end_time": START + timedelta(seconds=7)}, [6, 6, 5], id="time"
        ),
    ],
)
def test_filters(browsing: Browsing, where: dict[str, Any], expected: list[int]) -> None:
    assert numbers(browsing, **where) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("where", [BrowseFilter(), BrowseFilter(label="good"), BrowseFilter(labelled=True)])
def test_pages_have_no_gap_and_nothing_twice(browsing: Browsing, size: int, where: BrowseFilter) -> None:
    whole, _ = browsing.page(where, limit=100)
    found: list[Any] = []
    after: Position | None = None
    while True:
        frames, after = browsing.page(where, after, size)
        found += frames
        if after is None:
            break
    assert found == list(whole)


def test_what_a_frame_tells(browsing: Browsing) -> None:
    by_place = {(frame.sequence, frame.place): frame for frame in browsing.page(BrowseFilter(), limit=100)[0]}
    assert {key for key in by_place if key[0] == 6} == {(6, 0), (6, 1)}
    frame = by_place[6, 0]
    assert (frame.said, frame.verdict, frame.part_id) == ((("anna", "crack"), ("ben", "good")), Verdict.REJECT, "L0-6")
    shown = browsing.of_pictures([by_place[10, 0].picture_id])
    assert {one.sequence for one in shown} == {9, 10}
    assert [one.sequence for one in browsing.of_sequences([7, 12, 3])] == [7, 12, 3]
    assert browsing.reviewers() == ["anna", "ben"]
    assert Browsing(browsing._database, "another line").page(BrowseFilter()) == ([], None)


def test_labels_that_the_model_contradicts(browsing: Browsing) -> None:
    found = [(doubt.sequence, doubt.label) for doubt in browsing.doubts()]
    assert sorted(found) == [(7, "dent"), (12, "good")], "6 is in dispute, and 3 is as the model says"


def test_the_strongest_contradiction_comes_first() -> None:
    good = [Judged(number, "good", 0.1 * number, 0.5, 1) for number in range(1, 5)]
    defects = [Judged(number, "crack", 0.1 * number, 0.5, 1) for number in range(6, 10)]
    wrong = [
        Judged(20, "good", 0.95, 0.5, 1),  # above every defect
        Judged(21, "good", 0.55, 0.5, 1),  # just above the limit
        Judged(22, "crack", 0.08, 0.5, 1),  # below every good part
        Judged(23, "crack", 0.6, 0.5, 2),  # of another bundle, and as it says
    ]
    found = doubts_of([*good, *defects, *wrong])
    assert [doubt.sequence for doubt in found] == [20, 22, 21]
    assert [doubt.share for doubt in found] == pytest.approx([1.0, 1.0, 0.2])
    assert doubts_of([Judged(1, "good", 0.9, 0.5, 1)])[0].share == 0.5, "nothing to compare with"
