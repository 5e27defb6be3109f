"""Looking for pictures that are alike: by one at a time, and not again for every picture that comes."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from web_desk import LINE, prepare

from inspector.errors import Overloaded
from inspector.records.fit_wish import FIT
from inspector.records.job import Wanted
from inspector.web.workroom import Workroom


def test_pictures_that_are_alike_are_looked_for_once_and_by_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare(tmp_path, 0)
    with closing(made.store):
        room = Workroom(made.store.database, LINE, made.images, tmp_path / "web", lambda: datetime.now(UTC))
        looked: list[float] = []

        def look(least: float) -> list[list[int]]:
            looked.append(least)
            with pytest.raises(Overloaded, match="looked for already: try again in a minute"):
                room.groups(least)
            return [[1, 2]]

        monkeypatch.setattr(room.descriptors, "groups", look)
        monkeypatch.setattr(room.descriptors, "count", lambda: len(looked))  # pictures come all the time
        assert [room.groups(least) for least in (0.9, 0.9, 0.8)] == [[[1, 2]]] * 3
        assert looked == [0.9, 0.8]
        monkeypatch.setattr("inspector.web.workroom._GROUPS_KEPT_S", -1.0)
        room.groups(0.8)
        assert looked == [0.9, 0.8, 0.8]


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (
            {"fit": {"good": 60}, "validation": {}, "calibration": {"good": 40, "dent": 20}},
            "the last fit of this kind here",
        ),
        ({"fit": {}}, "a rule for two cores"),
        (None, "a rule for two cores"),
        ({"fit": "many"}, "a rule for two cores"),
    ],
    ids=["as bundles have it", "of nothing", "not said", "nonsense"],
)
def test_how_long_a_fit_takes_is_told_from_those_that_were_done(tmp_path: Path, images: object, told: str) -> None:
    made = prepare(tmp_path, 0)
    with closing(made.store):
        room = Workroom(made.store.database, LINE, made.images, tmp_path / "web", lambda: datetime.now(UTC))
        room.jobs.ask(Wanted(FIT, "tiles-2", {"kind": "memory-bank"}, "memory-bank", "sha256:1"), "erna")
        job = room.jobs.take("w1")
        assert job is not None
        time.sleep(0.01)
        assert room.jobs.finish(job, {"bundle": "tiles-2@1", "images": images})
        assert room.estimate("memory-bank", 240).basis.startswith(told)
