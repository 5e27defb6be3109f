"""Trigger numbering and the deadline clock."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.admission import RECENT_PARTS, Look, Part, Settled, TriggerBook
from inspector.deadlines import Deadlines
from inspector.errors import TriggerOutOfRange
from inspector.imaging.check import CheckSpec
from inspector.imaging.locate import NoLocation
from inspector.part import Inspection, Limits, Reason, Verdict
from inspector.station import Recipe, Setup, View

NOW = datetime(2026, 1, 1, tzinfo=UTC)


VIEW = View("", "b@0", (), Limits(0.5, 0.5), 1, 1, 1, NoLocation(), CheckSpec())
SETUP = Setup(Recipe("r", 10, (VIEW,)), {})


def part(trigger: int) -> Part:
    return Part(trigger, "", None, NOW, 0.0, 1.0, SETUP, (Look(VIEW, "c"),))


def inspection(trigger: int) -> Inspection:
    return Inspection(
        line="l",
        station="s",
        camera="c",
        sequence=trigger,
        station_sequence=trigger,
        trigger=trigger,
        part_id="",
        verdict=Verdict.PASS,
        reason=Reason.WITHIN_LIMITS,
        detail="",
        score=0.1,
        limit=0.5,
        findings=(),
        recipe="r",
        bundle="b@0",
        capture_time=None,
        receive_time=NOW,
        decide_time=NOW,
        latency_ms=1.0,
    )


@given(st.lists(st.integers(1, 40), max_size=60))
def test_every_trigger_up_to_the_highest_is_entered_exactly_once(arrivals: list[int]) -> None:
    book, entered = TriggerBook("s", ["c"], 1, 1000, []), []
    for trigger in arrivals:
        if book.again(trigger) is not None:
            continue
        for number in [*book.skipped(trigger), trigger]:
            book.enter(part(number))
            entered.append(number)
    assert entered == list(range(1, max(arrivals, default=0) + 1))


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        pytest.param(12, "12 is 11 past", id="a gap beyond the bound"),
        pytest.param(2**64 - 1, "start numbering at 1", id="a counter of another world"),
    ],
)
def test_an_implausible_gap_is_refused(trigger: int, reason: str) -> None:
    with pytest.raises(TriggerOutOfRange, match=reason):
        TriggerBook("s", ["c"], 1, 10, []).skipped(trigger)


def test_a_repeated_trigger_finds_its_part_then_its_inspection_then_is_too_old() -> None:
    book = TriggerBook("s", ["c"], 1, 10, [])
    first = part(1)
    book.enter(first)
    assert book.again(1) is first
    book.leave(inspection(1))
    found = book.again(1)
    assert isinstance(found, Settled)
    assert (found.inspection.trigger, found.missing) == (1, {"c"})  # no frame of it came
    for trigger in range(2, RECENT_PARTS + 2):
        book.enter(part(trigger))
        book.leave(inspection(trigger))
    with pytest.raises(TriggerOutOfRange, match="judged long ago"):
        book.again(1)


def test_recent_inspections_of_an_earlier_run_are_known() -> None:
    book = TriggerBook("s", ["c"], 6, 10, [inspection(4), inspection(5)])
    found = book.again(5)
    assert isinstance(found, Settled)
    assert not found.missing  # what came of it before the restart is not known: nothing is kept twice


@pytest.mark.parametrize(("budget_ms", "kept_ms"), [(1, 0.05), (20, 1.0), (100, 5.0), (500, 5.0), (60_000, 5.0)])
def test_a_little_of_the_budget_is_kept_for_telling_that_a_part_was_not_judged(budget_ms: int, kept_ms: float) -> None:
    one = replace(part(1), received_s=7.0, deadline_s=7.0 + budget_ms / 1000)
    assert one.expiry_s == pytest.approx(one.deadline_s - kept_ms / 1000, abs=1e-9)


def test_a_part_whose_deadline_was_over_before_it_came_expires_then() -> None:
    assert replace(part(1), received_s=7.0, deadline_s=6.0).expiry_s == 6.0


@dataclass
class Item:
    expiry_s: float
    done: bool = False


def test_only_items_not_done_expire_and_in_the_order_in_which_they_do() -> None:
    expired: list[Item] = []
    all_told = threading.Event()
    now = time.monotonic()
    late, early, done = Item(now + 0.06), Item(now + 0.02), Item(now + 0.04, done=True)

    def expire(item: Item) -> None:
        expired.append(item)
        if len(expired) == 2:
            all_told.set()

    deadlines = Deadlines(expire, time.monotonic)
    for item in (late, early, done):
        deadlines.add(item)
    assert all_told.wait(5)
    deadlines.close()
    assert expired == [early, late]
    assert time.monotonic() >= late.expiry_s
