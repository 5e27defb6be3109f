"""The review queue: what asks for a look, in what order, and that no two people get the same part. On both databases."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from record_samples import LINE, START, inspection, label, picture

from inspector.errors import ClaimLost, EditConflict, NotFound, RecordsError
from inspector.part import Box, Finding, Reason, Verdict
from inspector.records.entries import Evidence, Settled
from inspector.records.labels import Outcome
from inspector.records.looks import looked_at
from inspector.records.review import (
    REPEAT_AFTER,
    Candidate,
    Kind,
    Need,
    Opinion,
    Order,
    asks,
    is_double,
    is_repeated,
    need_of,
    opinions_of,
    queue,
    rival_of,
)
from inspector.records.review_rows import CLAIM_FOR, Holder, ReviewQueue, Wish
from inspector.records.store import Store
from inspector.records.tallies import TallyFilter

ANNA, BEN, CARLA = (Holder(name, f"window of {name}") for name in ("anna", "ben", "carla"))
NOW = START + timedelta(hours=1)
ALONE = Wish(LINE, double_percent=0)


def candidate(sequence: int, score: float | None = 0.9, *said: tuple[str, str], rival: float = 0.0) -> Candidate:
    verdict = Verdict.UNKNOWN if score is None else Verdict.REJECT if score > 0.5 else Verdict.PASS
    at = START + timedelta(seconds=sequence)
    opinions = opinions_of([(author, what, START, False) for author, what in said])
    return Candidate(sequence, verdict, score, None if score is None else 0.5, at, opinions, rival)


NEEDS = [
    pytest.param([], 0, Need.FIRST, id="nobody has looked"),
    pytest.param([("anna", "dent")], 0, Need.NONE, id="one opinion is enough"),
    pytest.param([("anna", "dent")], 100, Need.SECOND, id="but for some it takes two"),
    pytest.param([("anna", "dent"), ("ben", "dent")], 100, Need.NONE, id="two agree"),
    pytest.param([("anna", "unsure")], 0, Need.SECOND, id="one cannot tell"),
    pytest.param([("anna", "unsure"), ("ben", "unsure")], 0, Need.NONE, id="two cannot tell"),
    pytest.param([("anna", "unsure"), ("ben", "dent")], 100, Need.NONE, id="another can tell"),
    pytest.param([("anna", "dent"), ("ben", "good")], 0, Need.THIRD, id="two disagree"),
    pytest.param([("anna", "dent"), ("ben", "good"), ("carla", "good")], 0, Need.NONE, id="a third decides"),
    pytest.param([("anna", "dent"), ("ben", "good"), ("carla", "unsure")], 0, Need.THIRD, id="a third cannot tell"),
    pytest.param([("anna", "dent"), ("ben", "good"), ("carla", "blot")], 0, Need.THIRD, id="three say three things"),
    pytest.param([("anna", "dent"), ("anna", "withdrawn")], 0, Need.FIRST, id="taken back"),
    pytest.param([("anna", "dent"), ("ben", "good"), ("ben", "dent")], 0, Need.NONE, id="one gives in"),
]


@pytest.mark.parametrize(("said", "percent", "need"), NEEDS)
def test_what_a_part_asks_for(said: list[tuple[str, str]], percent: int, need: Need) -> None:
    assert need_of(candidate(1, 0.9, *said), percent) is need


ORDERS = [
    pytest.param(Order.CLOSEST, [4, 2, 1, 5, 3], id="closest to the limit, those without a score last"),
    pytest.param(Order.NEWEST, [5, 4, 3, 2, 1], id="newest"),
    pytest.param(Order.UNCERTAIN, [3, 5, 4, 2, 1], id="not judged, then two classes, then near the limit"),
]


@pytest.mark.parametrize(("order", "expected"), ORDERS)
def test_the_orders(order: Order, expected: list[int]) -> None:
    some = [
        candidate(1, 0.8),
        candidate(2, 0.52),
        candidate(3, None),
        candidate(4, 0.495),
        candidate(5, 0.9, rival=0.97),
    ]
    assert [one.sequence for one, _ in queue(some, order, "anna", 0)] == expected


def test_disagreements_come_first_and_never_to_those_who_disagree() -> None:
    some = [candidate(1, 0.51), candidate(2, 0.9, ("anna", "dent"), ("ben", "good"))]
    assert [one.sequence for one, _ in queue(some, Order.CLOSEST, "carla", 0)] == [2, 1]
    assert [one.sequence for one, _ in queue(some, Order.CLOSEST, "ben", 0)] == [1]


def test_second_opinions_are_spread_evenly() -> None:
    for percent in (0, 1, 10, 37, 100):
        assert sum(is_double(n, percent) for n in range(500, 600)) == percent


def test_a_score_that_is_no_number_is_most_uncertain_and_an_empty_queue_is_empty() -> None:
    assert candidate(1, float("nan")).uncertainty == 1.0
    assert queue([], Order.CLOSEST, "anna", 0) == []
    assert rival_of([]) == rival_of([(1, float("nan"))]) == 0.0
    assert rival_of([(1, 0.8), (1, 0.7), (2, 0.4)]) == 0.5
    assert candidate(1, 0.45).kind is Kind.NEAR
    said = [("anna", "good", START, False), ("anna", "dent", NOW, False), ("ben", "good", START, False)]
    assert opinions_of(said) == (Opinion("anna", "dent", NOW), Opinion("ben", "good", START))
    assert opinions_of([*said, ("ben", "good", NOW, True)])[-1] == Opinion("ben", "good", NOW, looks=2)


def test_some_parts_are_asked_of_the_same_person_again_after_a_while() -> None:
    part = candidate(1, 0.9, ("anna", "dent"))
    soon, late = START + REPEAT_AFTER - timedelta(seconds=1), START + REPEAT_AFTER
    assert asks(part, "anna", 0, 100, soon) is Need.NONE
    assert asks(part, "anna", 0, 100, late) is Need.REPEAT
    assert asks(part, "anna", 0, 0, late) is Need.NONE
    assert asks(part, "ben", 0, 100, late) is Need.NONE, "it is done for others"
    twice = replace(part, opinions=(replace(part.opinions[0], looks=2),))
    assert asks(twice, "anna", 0, 100, late) is Need.NONE, "once is enough"
    for percent in (0, 5, 100):
        assert sum(is_repeated(n, percent) for n in range(500, 600)) == percent


# In the database


@pytest.fixture
def parts(store: Store) -> Store:
    """Parts 1 to 10: 1–4 rejected, 5 and 6 not judged, 7 passed near the limit, 8 well within, 9 rejected without a picture,
    10 rejected at another station.
    """
    scores = {1: 0.9, 2: 0.55, 3: 0.7, 4: 0.6, 7: 0.47, 8: 0.1, 9: 0.5, 10: 0.99}
    for number in range(1, 11):
        reason = Reason.WITHIN_LIMITS if number in (7, 8) else Reason.SCORE_ABOVE_LIMIT
        one = inspection(number, Reason.MODEL_FAILED if number in (5, 6) else reason)
        if number in scores:
            one = replace(one, score=scores[number])
        one = replace(one, station="side" if number == 10 else "top")
        store.apply(LINE, [Settled(one)])
        if number != 9:
            store.apply(LINE, [Evidence(number, (picture(number),), START)])
    return store


@pytest.fixture
def desk(parts: Store) -> ReviewQueue:
    return ReviewQueue(parts.database)


def numbers(desk: ReviewQueue, holder: Holder, count: int = 99, wish: Wish = ALONE, now: datetime = NOW) -> list[int]:
    return [claimed.stored.inspection.sequence for claimed in desk.claim(wish, holder, count, now)]


def say(desk: ReviewQueue, number: int, what: str, holder: Holder, now: datetime = NOW) -> None:
    desk.decide(replace(label(number, what, holder.reviewer), time=now), holder, now)


WISHES = [
    pytest.param(
        ALONE, [7, 2, 4, 3, 1, 10, 6, 5], id="all, closest first; a part without a picture cannot be looked at"
    ),
    pytest.param(replace(ALONE, order=Order.NEWEST), [10, 7, 6, 5, 4, 3, 2, 1], id="newest first"),
    pytest.param(replace(ALONE, kinds=frozenset({Kind.NEAR})), [7], id="passed near the limit"),
    pytest.param(replace(ALONE, kinds=frozenset({Kind.UNKNOWN})), [6, 5], id="not judged"),
    pytest.param(replace(ALONE, kinds=frozenset()), [], id="nothing"),
    pytest.param(replace(ALONE, station="side"), [10], id="a station"),
    pytest.param(replace(ALONE, station="nowhere"), [], id="an unknown station"),
    pytest.param(replace(ALONE, since=START + timedelta(seconds=6)), [7, 10, 6], id="since"),
    pytest.param(replace(ALONE, line="other"), [], id="an unknown line"),
]


@pytest.mark.parametrize(("wish", "expected"), WISHES)
def test_what_is_offered(desk: ReviewQueue, wish: Wish, expected: list[int]) -> None:
    assert numbers(desk, ANNA, wish=wish) == expected


def test_two_reviewers_get_different_parts_until_a_claim_runs_out(desk: ReviewQueue) -> None:
    assert numbers(desk, ANNA, 2) == [7, 2]
    assert numbers(desk, BEN, 2) == [4, 3]
    assert numbers(desk, Holder("anna", "another window"), 2) == [1, 10]
    assert numbers(desk, ANNA, 2) == [7, 2], "what is theirs already"
    later = NOW + CLAIM_FOR
    assert numbers(desk, CARLA, 2, now=later) == [7, 2]
    with pytest.raises(ClaimLost, match="#7 is with carla by now"):
        say(desk, 7, "good", ANNA, later)
    assert desk.release(LINE, CARLA) == 2
    say(desk, 7, "good", ANNA, later)


def test_what_is_at_hand_is_not_given_again_and_held_longer(desk: ReviewQueue) -> None:
    assert numbers(desk, ANNA, 2) == [7, 2]
    later = NOW + CLAIM_FOR - timedelta(seconds=1)
    more = desk.claim(ALONE, ANNA, 2, later, besides=frozenset({7, 2}))
    assert [claimed.stored.inspection.sequence for claimed in more] == [4, 3]
    assert numbers(desk, BEN, now=NOW + CLAIM_FOR) == [1, 10, 6, 5]


def test_what_is_said_is_a_label_and_the_part_is_done(desk: ReviewQueue, parts: Store) -> None:
    assert numbers(desk, ANNA, 2) == [7, 2]
    say(desk, 7, "good", ANNA)
    assert parts.labels(LINE, 7).agreed == replace(label(7), time=NOW)
    assert numbers(desk, BEN) == [4, 3, 1, 10, 6, 5]


def test_a_second_and_a_third_opinion(desk: ReviewQueue, parts: Store) -> None:
    wish = Wish(LINE, double_percent=100)
    (first,) = desk.claim(wish, ANNA, 1, NOW)
    assert (first.stored.inspection.sequence, first.need) == (7, Need.FIRST)
    say(desk, 7, "dent", ANNA)
    assert 7 not in numbers(desk, ANNA, wish=wish)
    desk.release(LINE, ANNA)
    (second,) = desk.claim(wish, BEN, 1, NOW)
    assert (second.stored.inspection.sequence, second.need) == (7, Need.SECOND)
    say(desk, 7, "good", BEN)
    assert parts.labels(LINE, 7).outcome is Outcome.DISAGREED
    assert 7 not in numbers(desk, BEN, wish=wish)
    assert desk.offer(ALONE, CARLA, 0, NOW).waiting[Need.THIRD] == 1
    desk.release(LINE, BEN)
    (third,) = desk.claim(ALONE, CARLA, 1, NOW)
    assert (third.stored.inspection.sequence, third.need) == (7, Need.THIRD)
    say(desk, 7, "good", CARLA)
    agreed = parts.labels(LINE, 7).agreed
    assert agreed is not None
    assert agreed.what == "good"
    assert desk.offer(wish, Holder("dora", "w"), 0, NOW).waiting[Need.THIRD] == 0


def test_the_same_person_looks_again_some_hours_later_and_both_looks_are_kept(desk: ReviewQueue, parts: Store) -> None:
    wish = Wish(LINE, double_percent=0, repeat_percent=100)
    (first,) = desk.claim(wish, ANNA, 1, NOW)
    say(desk, 7, "dent", ANNA)
    say(desk, 7, "dent", ANNA, NOW + timedelta(seconds=1))
    assert len(parts.labels(LINE, 7).history) == 1, "sent twice, it is one look"
    desk.release(LINE, ANNA)
    later = NOW + REPEAT_AFTER
    assert 7 not in numbers(desk, BEN, wish=wish, now=later)
    desk.release(LINE, BEN)
    again = {one.stored.inspection.sequence: one.need for one in desk.claim(wish, ANNA, 9, later)}
    assert again[7] is Need.REPEAT
    say(desk, 7, "dent", ANNA, later)
    assert [one.is_repeat for one in parts.labels(LINE, 7).history] == [False, True]
    (looked,) = looked_at(parts.database, TallyFilter(line=LINE))
    assert looked.looks == {"anna": ("dent", "dent")}
    desk.release(LINE, ANNA)
    assert 7 not in numbers(desk, ANNA, wish=wish, now=later + REPEAT_AFTER)
    assert first.stored.inspection.sequence == 7


def test_labels_that_were_given_elsewhere_count_too(desk: ReviewQueue, parts: Store) -> None:
    parts.add_labels([label(7, "dent", "anna"), label(2, "unsure", "ben")])
    assert numbers(desk, CARLA, 2) == [2, 4], "7 is done; 2 asks for another"
    assert numbers(desk, BEN, 2) == [3, 1], "ben could not tell"


def test_a_count_of_none_holds_what_one_has_longer(desk: ReviewQueue) -> None:
    mine = [one.stored.inspection.sequence for one in desk.claim(Wish(LINE), ANNA, 2, NOW)]
    later = NOW + CLAIM_FOR - timedelta(seconds=10)
    assert desk.claim(Wish(LINE), ANNA, 0, later, frozenset(mine)) == []
    after = later + CLAIM_FOR - timedelta(seconds=10)
    for_ben = [one.stored.inspection.sequence for one in desk.claim(Wish(LINE), BEN, 10, after)]
    assert for_ben
    assert not set(for_ben) & set(mine)


def test_undo_takes_back_and_claims_again(desk: ReviewQueue, parts: Store) -> None:
    numbers(desk, ANNA, 1)
    say(desk, 7, "dent", ANNA)
    undone = desk.undo(LINE, 7, ANNA, NOW)
    assert undone.what == "withdrawn"
    assert parts.labels(LINE, 7).outcome is Outcome.NONE
    assert 7 not in numbers(desk, BEN), "it is anna's again"
    say(desk, 7, "good", ANNA, NOW + timedelta(seconds=1))
    assert [one.what for one in parts.labels(LINE, 7).history] == ["dent", "withdrawn", "good"]
    with pytest.raises(NotFound, match="nothing of #2"):
        desk.undo(LINE, 2, ANNA, NOW)


def test_undo_restores_what_was_said_before(desk: ReviewQueue, parts: Store) -> None:
    parts.add_labels([label(7, "blot", "anna", note="as before"), label(7, "dent", "anna", minute=1)])
    assert desk.undo(LINE, 7, ANNA, NOW).what == "blot"
    (now,) = parts.labels(LINE, 7).current
    assert (now.what, now.note, now.time) == ("blot", "as before", NOW)


def test_undo_of_a_part_that_another_has_by_now(desk: ReviewQueue, parts: Store) -> None:
    parts.add_labels([label(7, "unsure", "anna")])
    assert 7 in numbers(desk, BEN)
    with pytest.raises(ClaimLost, match="with ben"):
        desk.undo(LINE, 7, ANNA, NOW)
    assert parts.labels(LINE, 7).outcome is Outcome.UNSURE


def test_a_part_of_two_near_classes_is_uncertain(store: Store) -> None:
    findings = [Finding("crack", Box(1, 1, 5, 5), 20.0, 0.8), Finding("dent", Box(9, 9, 5, 5), 20.0, 0.79)]
    for number in range(1, 4):
        one = replace(inspection(number, Reason.SCORE_ABOVE_LIMIT), score=0.5 + number / 10)
        store.apply(LINE, [Settled(replace(one, findings=tuple(findings[: 1 + (number == 3)])))])
        store.apply(LINE, [Evidence(number, (picture(number),), START)])
    desk = ReviewQueue(store.database)
    assert numbers(desk, ANNA, wish=replace(ALONE, order=Order.UNCERTAIN)) == [3, 1, 2]


def test_many_who_claim_at_once_never_get_the_same_part(parts: Store, url: str) -> None:
    """Eight people in threads of their own, who claim and judge until nothing is left."""
    for number in range(11, 61):
        parts.apply(LINE, [Settled(inspection(number, Reason.SCORE_ABOVE_LIMIT))])
        parts.apply(LINE, [Evidence(number, (picture(number),), START)])
    errors: list[RecordsError] = []
    got: dict[str, list[int]] = {}
    together = threading.Barrier(8)

    def work(name: str) -> None:
        own = Store(url, busy_timeout_s=60)
        try:
            desk, holder = ReviewQueue(own.database), Holder(name, "w")
            got[name] = []
            together.wait(30)
            while claimed := desk.claim(ALONE, holder, 3, NOW):
                for one in claimed:
                    got[name].append(one.stored.inspection.sequence)
                    say(desk, one.stored.inspection.sequence, "good", holder)
        except RecordsError as error:
            errors.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=work, args=(f"reviewer {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    everything = sorted(number for some in got.values() for number in some)
    assert everything == [1, 2, 3, 4, 5, 6, 7, *range(10, 61)]
    assert all(len(parts.labels(LINE, number).history) == 1 for number in everything)


# Edits of one label


def test_the_second_of_two_who_edit_is_told_and_nothing_is_lost(parts: Store) -> None:
    seen = len(parts.labels(LINE, 1).history)
    parts.add_labels([label(1, "dent", "ben")], {(LINE, 1): seen})
    with pytest.raises(EditConflict, match="ben has labelled #1 as dent"):
        parts.add_labels([label(1, "good", "anna", minute=1)], {(LINE, 1): seen})
    parts.add_labels([label(1, "good", "anna", minute=1)], {(LINE, 1): 1})
    assert [one.author for one in parts.labels(LINE, 1).history] == ["ben", "anna"]


def test_of_many_who_save_at_once_one_is_first(parts: Store, url: str) -> None:
    outcomes: list[str] = []
    together = threading.Barrier(6)

    def save(author: str) -> None:
        own = Store(url, busy_timeout_s=60)
        try:
            together.wait(30)
            own.add_labels([label(9, "dent", author)], {(LINE, 9): 0})
            outcomes.append("saved")
        except EditConflict:
            outcomes.append("told")
        finally:
            own.close()

    threads = [threading.Thread(target=save, args=(f"author {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["saved", *["told"] * 5]
    assert len(parts.labels(LINE, 9).history) == 1
