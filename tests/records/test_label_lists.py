"""Lists of parts to label. On both databases."""

from __future__ import annotations

import pytest
from record_samples import LINE, inspection, label

from inspector.part import Box, Reason
from inspector.records.entries import Settled
from inspector.records.label_lists import Which, listed
from inspector.records.labels import Area
from inspector.records.store import Store

LISTS = [
    pytest.param(Which.UNMARKED, [5, 2], id="a defect without an area, the last labelled first"),
    pytest.param(Which.DISAGREED, [4], id="disagreements"),
    pytest.param(Which.UNSURE, [6], id="nobody could tell"),
    pytest.param(Which.LAST, [5, 6, 4, 3, 2, 1], id="the last labelled first"),
    pytest.param(Which.REJECTS, [8, 7], id="the newest rejects"),
]


@pytest.fixture
def parts(store: Store) -> Store:
    for number in range(1, 9):
        store.apply(
            LINE, [Settled(inspection(number, Reason.SCORE_ABOVE_LIMIT if number > 6 else Reason.WITHIN_LIMITS))]
        )
    marked = (Area(Box(1, 1, 4, 4), "dent"),)
    apart = (Area(Box(1, 1, 4, 4)),)
    store.add_labels([label(1), label(2, "dent"), label(3, "dent", areas=marked), label(4, "dent")])
    store.add_labels([label(4, "good", "ben"), label(6, "unsure"), label(5, "dent", areas=apart)])
    return store


@pytest.mark.parametrize(("which", "expected"), LISTS)
def test_what_is_listed(parts: Store, which: Which, expected: list[int]) -> None:
    found = listed(parts.database, LINE, which, 99)
    assert [labelled.stored.inspection.sequence for labelled in found] == expected
    assert [one.stored.inspection.sequence for one in listed(parts.database, LINE, which, 1)] == expected[:1]
    assert listed(parts.database, "other", which, 9) == []
