"""Sets of pictures that people bring, their labels, and that retention leaves them alone."""

from __future__ import annotations

import time
from datetime import timedelta

import numpy as np
import pytest
from record_samples import LINE, START

from inspector.errors import LabelInvalid, NotFound
from inspector.records.descriptors import Descriptors
from inspector.records.image_sets import Added, ImageSets, NewPicture, SetFilter
from inspector.records.labels import Outcome
from inspector.records.store import Store


def picture(number: int, label: str = "", name: str = "") -> NewPicture:
    return NewPicture(f"{number:064x}", "image/png", 9, 8, 6, name or f"{number}.png", f"P{number}", "L1", label)


@pytest.fixture
def sets(store: Store) -> ImageSets:
    return ImageSets(store.database, LINE)


def test_a_picture_is_in_a_set_once_and_labels_add_up(sets: ImageSets) -> None:
    made = sets.make(" tiles ", "anna", START)
    assert (made.name, made.made_by, made.pictures) == ("tiles", "anna", 0)
    assert sets.make("tiles", "ben", START) == made, "a second time it is the same one"
    many = [picture(number, "good" if number % 2 else "") for number in range(1, 5)]
    assert sets.add("tiles", [*many, picture(1, "good", "copy.png")], "anna", START) == Added(4, 0)
    assert sets.add("tiles", [picture(1, "scratch"), picture(9)], "ben", START) == Added(1, 1)
    found = {one.file_name: one for one in sets.page("tiles")}
    both = found["1.png" if "1.png" in found else "copy.png"]
    assert both.outcome is Outcome.DISAGREED
    assert [(label.author, label.what) for label in both.history] == [("anna", "good"), ("ben", "scratch")]
    settled = sets.label(both.id, "good", "ben", START + timedelta(minutes=1), "looked again")
    assert settled.agreed is not None
    assert (settled.agreed.what, settled.agreed.note) == ("good", "looked again")
    assert sets.label(both.id, "good", "ben", START + timedelta(minutes=2), "looked again") == settled
    listed = sets.get("tiles")
    assert (listed.pictures, listed.labelled) == (5, 2)
    assert [one.picture_id for one in sets.of_pictures([both.picture_id])] == [both.picture_id]
    assert len(list(sets.all_of("tiles"))) == 5
    assert [one.id for one in sets.page("tiles", after=both.id, limit=1)] == [both.id + 1]


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "x" * 65, "a|b"])
def test_names_that_no_set_can_have(sets: ImageSets, name: str) -> None:
    with pytest.raises(LabelInvalid, match="cannot name a set"):
        sets.make(name, "anna", START)


def test_what_is_not_there(sets: ImageSets, store: Store) -> None:
    other = ImageSets(store.database, "another line")
    other.make("tiles", "anna", START)
    other.add("tiles", [picture(1)], "anna", START)
    (theirs,) = other.page("tiles")
    with pytest.raises(NotFound, match="no picture"):
        sets.picture(theirs.id)
    with pytest.raises(NotFound, match="no set"):
        sets.add("tiles", [picture(1)], "anna", START)
    with pytest.raises(LabelInvalid):
        other.add("tiles", [picture(2), picture(3, "a/b")], "anna", START)
    assert other.get("tiles").pictures == 1, "all or none"


def test_retention_keeps_pictures_of_sets(sets: ImageSets, store: Store) -> None:
    sets.make("tiles", "anna", START)
    sets.add("tiles", [picture(1)], "anna", START)
    sha256 = picture(1).sha256
    assert sha256 in store.protected_pictures()
    assert store.mark_removed([sha256], "age", START) == frozenset()


def test_the_nearest_and_the_groups_of_pictures(sets: ImageSets, store: Store) -> None:
    sets.make("tiles", "anna", START)
    sets.add("tiles", [picture(number) for number in range(1, 7)], "anna", START)
    descriptors = Descriptors(store.database, 1, 4)
    missing = descriptors.missing(100)
    assert [one.sha256 for one in missing] == [picture(number).sha256 for number in range(6, 0, -1)], "newest first"
    ids = sorted(one.picture_id for one in missing)
    rows = [
        (1, 0, 0, 0),
        (0.999, 0.0447, 0, 0),
        (0, 1, 0, 0),
        (0, 0.999, 0.0447, 0),
        (0, 0.995, 0.0995, 0),
        (0, 0, 0, 0),
    ]
    vectors = [np.asarray(row, np.float16) for row in rows]
    descriptors.add(list(zip(ids[:3], vectors[:3], strict=True)))
    first = descriptors.vector(ids[0])
    assert first is not None
    assert [one.picture_id for one in descriptors.nearest(first, 10)] == ids[:3]
    descriptors.add(list(zip(ids[3:], vectors[3:], strict=True)))
    assert [one.picture_id for one in descriptors.nearest(first, 2)] == ids[:2]
    assert [one.picture_id for one in descriptors.nearest(first, 5, within=ids[2:4])] == ids[2:4]
    assert [one.likeness for one in descriptors.nearest(first, 1)] == pytest.approx([1.0])
    assert descriptors.groups(0.99) == [ids[2:5], ids[:2]], "through others too; the empty one is like nothing"
    assert descriptors.groups(0.99, within=ids[:4]) == [ids[:2], ids[2:4]]
    assert (descriptors.missing(5), descriptors.count(), descriptors.vector(999_999)) == ([], 6, None)
    assert Descriptors(store.database, 2, 4).nearest(first, 3) == [], "another version is not compared"


def test_groups_of_many_pictures_are_those_that_pairs_one_by_one_give(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.records.descriptors._BLOCK", 7)
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(300, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(1000, 1300)
    descriptors = Descriptors(store.database, 1, 3)
    monkeypatch.setattr(descriptors, "_all", lambda: (ids, vectors))
    expected = [{int(one)} for one in ids]
    for row, column in np.argwhere(vectors @ vectors.T >= 0.99):
        one, other = (next(g for g in expected if ids[place] in g) for place in (row, column))
        if one is not other:
            expected.remove(other)
            one |= other
    wanted = sorted((sorted(g) for g in expected if len(g) > 1), key=lambda g: (-len(g), g[0]))
    assert descriptors.groups(0.99) == wanted
    assert 1 < len(wanted) < 100
    monkeypatch.setattr("inspector.records.descriptors.MOST_GROUPED", 10)
    assert {one for group in descriptors.groups(-1.0) for one in group} == set(range(1290, 1300)), "the newest"


def test_that_all_pictures_are_alike_takes_no_time_for_each_pair(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = Descriptors(store.database, 1, 2)
    ids, vectors = np.arange(5000), np.tile(np.asarray([[1, 0]], np.float32), (5000, 1))
    monkeypatch.setattr(descriptors, "_all", lambda: (ids, vectors))
    began_s = time.process_time()
    assert descriptors.groups(0.99) == [ids.tolist()]
    assert time.process_time() - began_s < 5, "12 million pairs"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        pytest.param(SetFilter(), [1, 2, 3, 4, 5, 6], id="everything"),
        pytest.param(SetFilter(label="good"), [1, 3], id="label of now: 5 is a scratch by now"),
        pytest.param(SetFilter(reviewer="ben"), [5], id="reviewer"),
        pytest.param(SetFilter(reviewer="anna", label="scratch"), [], id="label of one person"),
        pytest.param(SetFilter(labelled=False), [2, 4, 6], id="not labelled"),
        pytest.param(SetFilter(labelled=True), [1, 3, 5], id="labelled"),
        pytest.param(SetFilter(begins="P3"), [3], id="how the part begins"),
        pytest.param(SetFilter(begins="4."), [4], id="how the file begins"),
        pytest.param(SetFilter(begins="%"), [], id="a sign that the database means otherwise"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 50])
def test_pages_through_a_filter_have_no_gap(sets: ImageSets, where: SetFilter, expected: list[int], size: int) -> None:
    sets.make("tiles", "anna", START)
    sets.add("tiles", [picture(number, "good" if number % 2 else "") for number in range(1, 7)], "anna", START)
    fifth = next(one for one in sets.page("tiles") if one.part_id == "P5")
    sets.label(fifth.id, "withdrawn", "anna", START + timedelta(minutes=1))
    sets.label(fifth.id, "scratch", "ben", START + timedelta(minutes=1))
    found: list[str] = []
    after: int | None = 0
    while after is not None:
        pictures, after = sets.look("tiles", where, after, size)
        found += [one.part_id for one in pictures]
    assert found == [f"P{number}" for number in expected]
    assert sets.reviewers("tiles") == ["anna", "ben"]
    assert sets.classes() == {"scratch"}
