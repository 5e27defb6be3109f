"""The class book: what a class means, what the book refuses, and that of two edits the second is told. On both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from record_samples import LINE, START, inspection, picture

from inspector.errors import EditConflict, LabelInvalid, NotFound
from inspector.part import Reason
from inspector.records.class_book import PALETTE, ClassEntry, Example, class_book, completed, remove_class, save_class
from inspector.records.entries import Evidence, Settled
from inspector.records.store import Store

NOW = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
DENT = ClassEntry("dent", "A hollow that can be felt.", "#0072B2", 1)


@pytest.fixture
def parts(store: Store) -> Store:
    store.apply(LINE, [Settled(inspection(1, Reason.SCORE_ABOVE_LIMIT)), Evidence(1, (picture(1),), START)])
    return store


def example(number: int = 1, **changes: Any) -> Example:
    return replace(Example(LINE, number, picture(number).sha256, "at the rim"), **changes)


def test_an_entry_with_an_example_is_kept_and_changed(parts: Store) -> None:
    saved = save_class(parts.database, replace(DENT, examples=(example(),)), "anna", NOW)
    assert saved.version == 1
    assert class_book(parts.database) == [saved]
    changed = save_class(parts.database, replace(saved, definition="Deeper than 0.1 mm.", examples=()), "ben", NOW)
    assert class_book(parts.database) == [changed]
    assert changed.version == 2


def test_of_two_edits_the_second_is_told(parts: Store) -> None:
    saved = save_class(parts.database, DENT, "anna", NOW)
    save_class(parts.database, replace(saved, colour="#D55E00"), "ben", NOW)
    for version in (0, 1):
        with pytest.raises(EditConflict, match="changed by ben"):
            save_class(parts.database, replace(saved, version=version, definition="x"), "anna", NOW)
    with pytest.raises(EditConflict):
        remove_class(parts.database, "dent", 1)
    remove_class(parts.database, "dent", 2)
    assert class_book(parts.database) == []
    with pytest.raises(NotFound):
        remove_class(parts.database, "dent", 2)


WRONG = [
    pytest.param({"name": "good"}, "no name of a class", id="a word of labels"),
    pytest.param({"name": "a/b"}, "cannot name", id="path parts"),
    pytest.param({"name": " dent"}, "no name of a class", id="not as it is kept"),
    pytest.param({"colour": "red"}, "no colour", id="a colour in words"),
    pytest.param({"colour": "#12345g"}, "no colour", id="a digit that is none"),
    pytest.param({"hot_key": 0}, "none of 1 to 9", id="a key that is none"),
    pytest.param({"hot_key": 2}, "key 2 is that of class 'scratch'", id="a key that is taken"),
    pytest.param({"definition": "x" * 5000}, "shorten it", id="a book of its own"),
    pytest.param({"examples": (example(),) * 25}, "more than the 24", id="too many examples"),
    pytest.param({"examples": (example(sha256="../x"),)}, "is no picture", id="an example that is a path"),
]


@pytest.mark.parametrize(("changes", "says"), WRONG)
def test_what_the_book_refuses(parts: Store, changes: dict[str, Any], says: str) -> None:
    save_class(parts.database, ClassEntry("scratch", "", "#000000", 2), "anna", NOW)
    with pytest.raises(LabelInvalid, match=says):
        save_class(parts.database, replace(DENT, **changes), "anna", NOW)
    assert [entry.name for entry in class_book(parts.database)] == ["scratch"]


def test_an_example_must_be_on_record(parts: Store) -> None:
    for wrong in (example(2), example(1, sha256="f" * 64), example(1, line="other")):
        with pytest.raises(NotFound, match="choose another example"):
            save_class(parts.database, replace(DENT, examples=(wrong,)), "anna", NOW)
    assert class_book(parts.database) == []


def test_retention_keeps_examples(parts: Store) -> None:
    sha256 = picture(1).sha256
    assert sha256 not in parts.protected_pictures()
    save_class(parts.database, replace(DENT, examples=(example(),)), "anna", NOW)
    assert sha256 in parts.protected_pictures()
    assert parts.mark_removed([sha256], "age", NOW) == frozenset()


def test_classes_in_use_get_a_colour_and_a_free_key() -> None:
    book = completed([DENT], ["scratch", "dent", "blot", "good", "unsure"])
    assert [(entry.name, entry.hot_key) for entry in book] == [("dent", 1), ("blot", 2), ("scratch", 3)]
    assert len({entry.colour for entry in book}) == 3
    many = completed([], [f"class {n:02}" for n in range(20)])
    assert [entry.hot_key for entry in many] == [*range(1, 10), *[None] * 11]
    assert all(entry.colour in PALETTE for entry in many)
    assert completed([], []) == []
