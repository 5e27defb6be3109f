"""Labels: what counts, what is kept, who disagrees, and what no label can say. On both databases."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from record_samples import LINE, START, inspection, label, picture

from inspector.errors import LabelInvalid, NotFound, RecordsError
from inspector.part import Box, Reason, Verdict
from inspector.records import schema
from inspector.records.entries import Evidence, Settled
from inspector.records.images import ImageStore
from inspector.records.label_rows import LabelledFilter
from inspector.records.labels import Area, Mask, Outcome, Polygon, label_name
from inspector.records.retention import Sweep, sweep
from inspector.records.store import Store

MASK = Mask("ab" * 32, 512)
SHAPES = (Box(1, 2, 30, 4), Polygon(((0.0, 0.5), (10.0, 0.0), (5.25, 9.0))), MASK)


@pytest.fixture
def parts(store: Store) -> Store:
    """Three inspections; the first two have a picture each."""
    store.apply(
        LINE, [Settled(inspection(1)), Settled(inspection(2, Reason.SCORE_ABOVE_LIMIT)), Settled(inspection(3))]
    )
    store.apply(LINE, [Evidence(n, (picture(n),), START) for n in (1, 2)])
    return store


def test_a_label_comes_back_as_it_was_given(parts: Store) -> None:
    areas = (*(Area(shape, "scratch") for shape in SHAPES), Area(SHAPES[0]), Area(SHAPES[2], "deep dent"))
    given = label(2, "scratch", areas=areas, note="seen twice\nunder the lamp", image=picture(2).sha256)
    assert parts.add_labels([given]) == 1
    found = parts.labels(LINE, 2)
    assert found.history == (given,)
    assert found.stored == parts.get(LINE, 2)
    assert parts.label_classes() == {"scratch", "deep dent"}


def test_every_change_is_a_new_row_and_the_newest_of_an_author_counts(parts: Store) -> None:
    said = [label(1, what, minute=minute) for minute, what in enumerate(("scratch", "good", "unsure", "dent"))]
    for one in said:
        assert parts.add_labels([one]) == 1
    found = parts.labels(LINE, 1)
    assert found.history == tuple(said)
    assert found.current == (said[-1],)


def test_saying_it_again_adds_nothing_and_going_back_does(parts: Store) -> None:
    assert parts.add_labels([label(1, "scratch"), label(1, "scratch", minute=1)]) == 1
    assert parts.add_labels([label(1, "scratch", minute=2)]) == 0
    assert parts.add_labels([label(1, "scratch", minute=3, note="now with a reason")]) == 1
    assert parts.add_labels([label(1, "good", minute=4), label(1, "scratch", minute=5)]) == 2


def test_a_second_look_is_kept_even_if_it_says_the_same(parts: Store) -> None:
    first, again = label(1, "scratch"), label(1, "scratch", minute=1, is_repeat=True)
    assert parts.add_labels([first, again]) == 2
    assert parts.add_labels([again]) == 0, "the same look, sent twice"
    assert parts.labels(LINE, 1).history == (first, again)
    assert parts.labels(LINE, 1).current == (again,)


OUTCOMES = [
    pytest.param([], Outcome.NONE, None, id="nobody said anything"),
    pytest.param([("anna", "good")], Outcome.AGREED, "good", id="one author"),
    pytest.param([("anna", "dent"), ("ben", "dent")], Outcome.AGREED, "dent", id="two agree"),
    pytest.param([("anna", "dent"), ("ben", "good")], Outcome.DISAGREED, None, id="two disagree"),
    pytest.param([("anna", "dent"), ("ben", "good"), ("ben", "dent")], Outcome.AGREED, "dent", id="one gives in"),
    pytest.param([("anna", "dent"), ("ben", "scratch")], Outcome.DISAGREED, None, id="two classes"),
    pytest.param(
        [("anna", "dent"), ("ben", "good"), ("carla", "dent")], Outcome.AGREED, "dent", id="a third settles it"
    ),
    pytest.param([("anna", "dent"), ("ben", "good"), ("carla", "blot")], Outcome.DISAGREED, None, id="all disagree"),
    pytest.param([("anna", "unsure")], Outcome.UNSURE, None, id="cannot be told"),
    pytest.param([("anna", "unsure"), ("ben", "dent")], Outcome.AGREED, "dent", id="another can tell"),
    pytest.param([("anna", "dent"), ("anna", "withdrawn")], Outcome.NONE, None, id="taken back"),
    pytest.param([("anna", "dent"), ("ben", "good"), ("ben", "withdrawn")], Outcome.AGREED, "dent", id="one took back"),
]


@pytest.mark.parametrize(("said", "outcome", "what"), OUTCOMES)
def test_what_labels_come_to(parts: Store, said: list[tuple[str, str]], outcome: Outcome, what: str | None) -> None:
    parts.add_labels([label(1, word, author, minute=minute) for minute, (author, word) in enumerate(said)])
    found = parts.labels(LINE, 1)
    assert found.outcome is outcome
    assert (found.agreed.what if found.agreed else None) == what


def test_of_those_who_agree_the_one_who_drew_counts(parts: Store) -> None:
    drawn = label(2, "dent", "anna", areas=(Area(Box(0, 0, 4, 4), "dent"),), image=picture(2).sha256)
    parts.add_labels([drawn, label(2, "dent", "ben", minute=1)])
    assert parts.labels(LINE, 2).agreed == drawn


def test_only_the_named_authors_count(parts: Store) -> None:
    parts.add_labels([label(1, "dent", "anna"), label(1, "good", "referee")])
    found = parts.labels(LINE, 1)
    assert found.by(()).outcome is Outcome.DISAGREED
    assert (found.by(["referee"]).agreed or label(0)).what == "good"
    assert found.by(["nobody"]).outcome is Outcome.NONE


FILTERS = [
    pytest.param({}, [1, 2, 3], id="everything"),
    pytest.param({"line": LINE}, [1, 2, 3], id="the line"),
    pytest.param({"line": "other"}, [], id="another line"),
    pytest.param({"recipe": "tiles-a"}, [1, 2, 3], id="the recipe"),
    pytest.param({"recipe": "b"}, [], id="another recipe"),
    pytest.param({"bundle": "tiles-7"}, [1, 2, 3], id="every bundle of the name"),
    pytest.param({"bundle": "tiles-7@ffffffffffff"}, [], id="another digest"),
    pytest.param({"verdicts": frozenset({Verdict.REJECT})}, [2], id="rejects"),
    pytest.param({"start_time": START + timedelta(seconds=2)}, [2, 3], id="from then on, inclusive"),
    pytest.param({"end_time": START + timedelta(seconds=2)}, [1], id="until then, exclusive"),
]


@pytest.mark.parametrize(("where", "expected"), FILTERS)
def test_filters(parts: Store, where: dict[str, Any], expected: list[int]) -> None:
    parts.add_labels([label(n) for n in (3, 1, 2)])
    assert numbers(parts, LabelledFilter(**where)) == expected


def numbers(store: Store, where: LabelledFilter) -> list[int]:
    return [labelled.stored.inspection.sequence for labelled in store.labelled(where)]


def test_what_is_said_while_someone_reads_is_for_the_next_reading(
    parts: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.records.label_rows._PAGE", 1)
    parts.add_labels([label(1), label(2)])
    reading = parts.labelled(LabelledFilter())
    first = next(reading)
    parts.add_labels([label(2, "dent", minute=1), label(3)])
    rest = list(reading)
    assert [found.stored.inspection.sequence for found in (first, *rest)] == [1, 2]
    assert rest[0].history == (label(2),)
    assert numbers(parts, LabelledFilter()) == [1, 2, 3]


WRONG = [
    pytest.param({"what": ""}, "names nothing", id="no class"),
    pytest.param({"what": "x" * 65}, "names nothing", id="a class name too long"),
    pytest.param({"what": "../etc/passwd"}, "cannot name", id="a class name with path parts"),
    pytest.param({"what": "a\\b"}, "cannot name", id="a class name with a backslash"),
    pytest.param({"what": ".hidden"}, "cannot name", id="a class name that hides"),
    pytest.param({"what": "a|b"}, "cannot name", id="two classes in one"),
    pytest.param({"what": "bell\a"}, "cannot name", id="a class name with a control character"),
    pytest.param({"what": "a\nb"}, "cannot name", id="a class name of two lines"),
    pytest.param({"what": "Ignore"}, "something else", id="a reserved name"),
    pytest.param({"what": "Good"}, "to be written 'good'", id="not as it is kept"),
    pytest.param({"author": " "}, "no author", id="no author"),
    pytest.param({"author": "a\x1b[31m"}, "no author", id="an author that moves the cursor"),
    pytest.param({"author": "x" * 129}, "no author", id="an author too long"),
    pytest.param({"time": datetime(2026, 1, 1)}, "no time zone", id="a naive time"),  # noqa: DTZ001
    pytest.param({"note": "x" * 4097}, "shorten it", id="a note too long"),
    pytest.param({"image": "../../x"}, "no picture", id="a picture that is a path"),
    pytest.param({"image": "0" * 64}, "is none of", id="a picture of another part"),
    pytest.param({"areas": (Area(MASK, ""),) * 257}, "draw a mask", id="too many areas"),
    pytest.param({"areas": (Area(Box(0, 0, 0, 5), "dent"),)}, "at least one pixel", id="an empty box"),
    pytest.param({"areas": (Area(Box(-1, 0, 5, 5), "dent"),)}, "outside", id="a box before the picture"),
    pytest.param({"areas": (Area(Box(0, 0, 10**7, 5), "dent"),)}, "outside", id="a box beyond any picture"),
    pytest.param({"areas": (Area(Polygon(((0, 0), (1, 1))), "dent"),)}, "3 to", id="a polygon of two points"),
    pytest.param({"areas": (Area(Polygon(((0, 0),) * 10_001), "dent"),)}, "3 to", id="a polygon of very many points"),
    pytest.param({"areas": (Area(Polygon(((0, 0), (1, float("nan")), (2, 2))), "dent"),)}, "outside", id="NaN"),
    pytest.param({"areas": (Area(Mask("no", 3), "dent"),)}, "no mask", id="a mask that is no hash"),
    pytest.param({"areas": (Area(MASK, "a/b"),)}, "cannot name", id="an area's class with path parts"),
    pytest.param({"areas": (Area(MASK, "good"),)}, "no class that an area", id="a good area"),
    pytest.param({"what": "good", "areas": (Area(MASK, "dent"),)}, "decide on one", id="a defect on a good part"),
]


@pytest.mark.parametrize(("changes", "says"), WRONG)
def test_what_no_label_can_say(parts: Store, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(LabelInvalid, match=says):
        parts.add_labels([label(2), replace(label(1, "dent"), **changes)])
    assert numbers(parts, LabelledFilter()) == [], "all or none"


def test_what_is_not_on_record_cannot_be_labelled(parts: Store) -> None:
    for wrong in (label(9), replace(label(1), line="other"), label(2**63 - 1)):
        with pytest.raises(NotFound, match="cannot be labelled"):
            parts.add_labels([label(1), wrong])
    assert numbers(parts, LabelledFilter()) == []
    with pytest.raises(NotFound, match="not on record"):
        parts.labels(LINE, 9)


@pytest.mark.parametrize("name", ["<img onerror=x>", "缺陷", "[red]", "a' OR 1=1 --", "x" * 64])
def test_class_names_are_text_and_nothing_else(parts: Store, name: str) -> None:
    assert label_name(f"  {name} ") == name
    parts.add_labels([label(1, name)])
    assert [found.agreed.what for found in parts.labelled(LabelledFilter()) if found.agreed] == [name]


def test_rows_are_only_ever_added(parts: Store) -> None:
    parts.add_labels([label(1, "scratch")])
    with parts._database.reading() as connection:
        before = connection.execute(sa.select(schema.labels)).all()
    parts.add_labels([label(1, "withdrawn", minute=1), label(1, "dent", "ben")])
    with parts._database.reading() as connection:
        assert connection.execute(sa.select(schema.labels).order_by(schema.labels.c.id)).all()[:1] == before


def test_many_who_label_at_once_lose_nothing(parts: Store, url: str) -> None:
    """Ten processes' worth of stores, all on the same two pictures."""
    errors: list[RecordsError] = []

    def work(author: str) -> None:
        own = Store(url, busy_timeout_s=60)
        try:
            for minute, what in enumerate(("dent", "good", "dent")):
                areas = (Area(MASK, "dent"),) if what == "dent" else ()
                own.add_labels([label(n, what, author, minute=minute, areas=areas) for n in (2, 1)])
        except RecordsError as error:
            errors.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=work, args=(f"author {n}",)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    for number in (1, 2):
        found = parts.labels(LINE, number)
        assert len(found.history) == 30
        assert {one.author: one.what for one in found.current} == {f"author {n}": "dent" for n in range(10)}


def test_masks_of_labels_are_kept_like_the_pictures(store: Store, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    images = ImageStore(tmp_path / "images", max_age_days=30)
    mask, stray = (images.keep(os.urandom(100), "image/png") for _ in range(2))
    for sha256 in (mask, stray):
        os.utime(images.path(sha256)[0], (0, 0))
    store.apply(LINE, [Settled(inspection(1))])
    store.add_labels([label(1, "dent", areas=(Area(Mask(mask, 100), "dent"),))])
    store.add_labels([label(1, "withdrawn", minute=1)])
    assert mask in store.protected_pictures()
    assert sweep(images, store, now) == Sweep(1, 100)
    assert images.get(mask)[0]
    assert store.mark_removed([mask], "age", now) == frozenset(), "also if the sweep had listed it before"


def test_a_mask_that_was_removed_and_drawn_again_is_there(store: Store) -> None:
    store.apply(LINE, [Settled(inspection(1)), Evidence(1, (replace(picture(1), sha256=MASK.sha256),), START)])
    store.mark_removed([MASK.sha256], "age", START)
    store.add_labels([label(1, "dent", areas=(Area(MASK, "dent"),))])
    assert store.get(LINE, 1).images[0].sha256 == MASK.sha256


def test_a_page_boundary_loses_and_doubles_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.records.label_rows._PAGE", 3)
    store.apply(LINE, [Settled(inspection(n)) for n in range(1, 9)])
    store.apply("screws", [Settled(inspection(n, line="screws")) for n in range(1, 3)])
    store.add_labels([label(n) for n in range(1, 9)])
    store.add_labels([replace(label(n), line="screws") for n in range(1, 3)])
    found = [(f.stored.inspection.line, f.stored.inspection.sequence) for f in store.labelled(LabelledFilter())]
    assert sorted(found) == sorted([(LINE, n) for n in range(1, 9)] + [("screws", n) for n in range(1, 3)])
    assert len(found) == 10
