"""What reports count: every inspection once, by quarter of an hour, and first passes apart from parts seen again."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from record_samples import LINE, START, inspection, label

from inspector.part import Reason, Verdict
from inspector.records.entries import Settled
from inspector.records.labels import Outcome
from inspector.records.looks import agreed, looked_at
from inspector.records.store import Store
from inspector.records.tallies import Tally, TallyFilter, tallies

REJECT, LATE = Reason.SCORE_ABOVE_LIMIT, Reason.DEADLINE_EXCEEDED
MINUTE = timedelta(minutes=1)


def received(sequence: int, minute: float, reason: Reason = Reason.WITHIN_LIMITS, **changes: Any) -> Settled:
    at = START + minute * MINUTE
    return Settled(inspection(sequence, reason, receive_time=at, decide_time=at, capture_time=at, **changes))


@pytest.fixture
def shift(store: Store) -> Store:
    """Eight inspections of two stations within half an hour; part "again" three times, twice at one station."""
    store.apply(
        LINE,
        [
            received(1, 0),
            received(2, 1),
            received(3, 14.9, REJECT),
            received(4, 15, REJECT, part_id="L2-again"),
            received(5, 16, part_id="L2-again"),
            received(6, 17, part_id="L2-again", station="side"),
            received(7, 18, LATE, part_id="", recipe="tiles-b"),
            received(8, 19, bundle="screws-1@ffffffffffff", part_id="L2-7"),
        ],
    )
    store.apply("other", [Settled(inspection(1, line="other"))])
    return store


def total(found: list[Tally] | Any) -> tuple[int, int]:
    return sum(tally.count for tally in found), sum(tally.again for tally in found)


def test_quarters_of_an_hour_hold_what_came_out_alike(shift: Store) -> None:
    found = tallies(shift.database, TallyFilter(line=LINE))
    assert total(found) == (8, 1)
    assert [(t.time, t.verdict, t.count) for t in found if t.time == START] == [
        (START, Verdict.PASS, 2),
        (START, Verdict.REJECT, 1),
    ]
    assert {(t.defect_class, t.reason) for t in found if t.verdict is Verdict.REJECT} == {("crack", REJECT)}
    assert found == sorted(found, key=lambda tally: tally.time)


def test_more_names_than_fit_into_one_number_are_counted_alike(shift: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Counter(tallies(shift.database, TallyFilter()))
    monkeypatch.setattr("inspector.records.tallies._SLOTS", 1 << 62)
    assert Counter(tallies(shift.database, TallyFilter())) == found
    assert total(list(found)) == (9, 1)


def test_only_the_same_station_sees_a_part_again(shift: Store) -> None:
    again = [t for t in tallies(shift.database, TallyFilter(line=LINE)) if t.again]
    assert [(t.station, t.verdict, t.again) for t in again] == [("top", Verdict.PASS, 1)]


def test_a_part_seen_before_the_report_begins_is_seen_again(shift: Store) -> None:
    found = tallies(shift.database, TallyFilter(line=LINE, start_time=START + 15.5 * MINUTE))
    assert total(found) == (4, 1)


FILTERS = [
    pytest.param({}, 9, id="everything"),
    pytest.param({"line": LINE}, 8, id="line"),
    pytest.param({"line": "nowhere"}, 0, id="a line that is not"),
    pytest.param({"station": "side"}, 1, id="station"),
    pytest.param({"recipe": "tiles-b"}, 1, id="recipe"),
    pytest.param({"bundle": "screws-1"}, 1, id="every bundle of the name"),
    pytest.param({"bundle": "screws-1@ffffffffffff"}, 1, id="bundle"),
    pytest.param({"bundle": "screws"}, 0, id="a name is not a beginning"),
    pytest.param({"line": LINE, "start_time": START + 15 * MINUTE}, 5, id="from then on, inclusive"),
    pytest.param({"line": LINE, "end_time": START + 15 * MINUTE}, 3, id="until then, exclusive"),
]


@pytest.mark.parametrize(("where", "count"), FILTERS)
def test_filters(shift: Store, where: dict[str, Any], count: int) -> None:
    assert total(tallies(shift.database, TallyFilter(**where)))[0] == count


def lot_of(part_id: str) -> str:
    found = re.match(r"L\d+|P\d", part_id)
    return found.group() if found else ""


def test_lots_are_what_part_ids_say(shift: Store) -> None:
    by_lot: Counter[str] = Counter()
    again: Counter[str] = Counter()
    for tally in tallies(shift.database, TallyFilter(line=LINE), lot_of):
        by_lot[tally.lot] += tally.count
        again[tally.lot] += tally.again
    assert by_lot == {"P0": 3, "L2": 4, "": 1}
    assert again["L2"] == 1
    assert total(tallies(shift.database, TallyFilter(line=LINE, lot="L2"), lot_of)) == (4, 1)


def test_lots_do_not_change_what_is_counted(shift: Store) -> None:
    plain, lots = (tallies(shift.database, TallyFilter(), how) for how in (None, lot_of))
    assert total(plain) == total(lots)


def said(shift: Store, *labels: tuple[int, str, str, bool]) -> None:
    shift.add_labels([label(n, what, who, minute=m, is_repeat=r) for m, (n, what, who, r) in enumerate(labels)])


def test_looks_are_told_from_corrections(shift: Store) -> None:
    said(
        shift,
        (3, "crack", "anna", False),
        (3, "good", "anna", False),
        (3, "good", "anna", True),
        (3, "dent", "ben", False),
        (4, "good", "ben", False),
        (4, "withdrawn", "ben", False),
    )
    third, fourth = looked_at(shift.database, TallyFilter(line=LINE))
    assert third.looks == {"anna": ("good", "good"), "ben": ("dent",)}
    assert (third.outcome, third.agreed) == (Outcome.DISAGREED, "")
    assert (third.verdict, third.defect_class, third.bundle) == (Verdict.REJECT, "crack", "tiles-7@0123456789ab")
    assert fourth.looks == {}
    assert (fourth.outcome, fourth.agreed) == (Outcome.NONE, "")


def test_a_withdrawn_second_look_leaves_the_first(shift: Store) -> None:
    said(shift, (3, "crack", "anna", False), (3, "good", "anna", True), (3, "withdrawn", "anna", False))
    (found,) = looked_at(shift.database, TallyFilter())
    assert found.looks == {"anna": ("crack",)}


def test_what_labels_come_to_is_what_the_labels_say_elsewhere(shift: Store) -> None:
    said(shift, (1, "good", "anna", False), (2, "unsure", "anna", False), (5, "dent", "ben", False))
    found = looked_at(shift.database, TallyFilter(line=LINE))
    for one in found:
        whole = shift.labels(LINE, one.sequence)
        assert (one.outcome, one.agreed) == (whole.outcome, whole.agreed.what if whole.agreed else "")
    assert [one.sequence for one in found] == [1, 2, 5]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"station": "side"}, [6]),
        ({"recipe": "tiles-b"}, [7]),
        ({"bundle": "screws-1"}, [8]),
        ({"lot": "L2"}, [4, 6, 8]),
        ({"start_time": START + 16 * MINUTE, "end_time": START + 18 * MINUTE}, [6]),
    ],
)
def test_filters_of_what_people_said(shift: Store, where: dict[str, Any], expected: list[int]) -> None:
    said(shift, *((n, "dent", "anna", False) for n in (1, 3, 4, 6, 7, 8)))
    assert [one.sequence for one in looked_at(shift.database, TallyFilter(**where), lot_of)] == expected


@pytest.mark.parametrize(
    "where", [{}, {"station": "side"}, {"recipe": "tiles-a"}, {"lot": "L2"}, {"start_time": START + 5 * MINUTE}]
)
def test_what_people_agree_on_is_counted_as_the_looks_say(shift: Store, where: dict[str, Any]) -> None:
    said(
        shift,
        *((n, "dent", "anna", False) for n in (1, 3, 4, 6, 7, 8)),
        *((n, "good", "anna", True) for n in (3, 4)),
        *((n, what, "ben", False) for n, what in ((3, "good"), (5, "unsure"), (6, "unsure"), (7, "good"), (8, "dent"))),
        (8, "withdrawn", "anna", False),
    )
    expected: Counter[tuple[str, Verdict, str, int]] = Counter()
    for one in looked_at(shift.database, TallyFilter(**where), lot_of):
        if one.agreed:
            expected[one.recipe, one.verdict, one.agreed, int(one.time.timestamp()) // 900] += 1
    counted: Counter[tuple[str, Verdict, str, int]] = Counter()
    for some in agreed(shift.database, TallyFilter(**where), lot_of):
        counted[some.recipe, some.verdict, some.what, int(some.time.timestamp()) // 900] += some.count
    assert counted == expected
    assert counted


def test_what_people_said_is_read_from_the_labels(shift: Store, url: str) -> None:
    """SQLite would else walk through all inspections of the line."""
    if not url.startswith("sqlite"):
        pytest.skip("PostgreSQL chooses by statistics")
    from inspector.records.looks import _SEEN, _query

    with shift.database.reading() as connection:
        query = _query(connection, TallyFilter(line=LINE, start_time=START, end_time=datetime.now(START.tzinfo)), _SEEN)
        text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        plan = "\n".join(str(row[-1]) for row in connection.execute(sa.text("EXPLAIN QUERY PLAN " + text)))
    assert "SEARCH inspections USING PRIMARY KEY (line_id=? AND sequence=?)" in plan, plan
