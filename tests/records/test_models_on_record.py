"""Promotions, proposals, golden results and comparisons in the quality database, on both databases."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from record_samples import LINE, inspection

from inspector.errors import NotFound, PromotionOvertaken, PromotionRefused
from inspector.part import Reason, Verdict
from inspector.records.comparisons import BundleComparison, ComparedImage, Comparisons
from inspector.records.entries import Settled
from inspector.records.model_history import GoldenResult, ModelHistory, PromotionRecord
from inspector.records.requests import CLAIM_ENDS, PromotionRequests, Proposal, RequestState
from inspector.records.store import Store

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
RECORD = PromotionRecord("tiles", "", "b@1", "1" * 64, "/b", "a@0", "0" * 64, "anna", "ben", "better", NOON, False)
PROPOSAL = Proposal("tiles", "", "b@1", "1" * 64, "/b", "0" * 64, "ben", "better", {"comparison": 3})


def test_a_promotion_is_on_record_once_and_the_newest_comes_first(store: Store) -> None:
    history = ModelHistory(store.database, LINE)
    assert history.promotions() == []
    later = replace(RECORD, time=NOON + timedelta(hours=1), is_rollback=True, label="a@0", label_before="b@1")
    for one in (RECORD, later, RECORD):
        history.note_promotion(one)
    assert history.promotions() == [later, RECORD]
    assert ModelHistory(store.database, "other").promotions() == []


def test_the_newest_golden_result_of_a_machine_counts(store: Store) -> None:
    history = ModelHistory(store.database, LINE)
    first = GoldenResult("b@1", "pc7", "CPU", 8, 2, None, NOON)
    second = replace(first, failed=0, difference=0.001, time=NOON + timedelta(hours=1))
    other = replace(first, machine="pc8")
    for one in (first, other, second):
        history.note_golden(one)
    assert history.golden() == [second, other]


def test_it_is_known_which_bundle_judged_when(store: Store) -> None:
    entries = [
        inspection(1, bundle="a@0"),
        inspection(2, bundle="a@0", reason=Reason.SCORE_ABOVE_LIMIT),
        inspection(3, bundle="b@1"),
    ]
    store.apply(LINE, [Settled(one) for one in entries])
    uses = ModelHistory(store.database, LINE).uses()
    assert [(use.label, dict(use.verdicts)) for use in uses] == [
        ("b@1", {Verdict.PASS: 1}),
        ("a@0", {Verdict.PASS: 1, Verdict.REJECT: 1}),
    ]
    assert uses[1].first_time == entries[0].receive_time
    assert uses[1].last_time == entries[1].receive_time


def test_a_proposal_is_decided_once_by_another_person(store: Store) -> None:
    requests = PromotionRequests(store.database, LINE)
    number = requests.propose(PROPOSAL, NOON)
    with pytest.raises(PromotionOvertaken, match=r"ben proposed b@1 for recipe tiles already"):
        requests.propose(replace(PROPOSAL, proposed_by="eve"), NOON)
    with pytest.raises(PromotionRefused, match="wants two persons"):
        requests.claim(number, " Ben", NOON, second_person=True)
    assert requests.claim(number, "anna", NOON, second_person=True).state is RequestState.DECIDING
    with pytest.raises(PromotionOvertaken, match="deciding by anna"):
        requests.claim(number, "eve", NOON, second_person=True)
    with pytest.raises(PromotionOvertaken, match="somebody else"):
        requests.end(number, RequestState.REFUSED, "eve", NOON)
    requests.end(number, RequestState.OPEN, "anna", NOON, "the service refused it: too slow")
    assert requests.get(number).note == "the service refused it: too slow"
    requests.claim(number, "eve", NOON, second_person=True)
    requests.end(number, RequestState.PROMOTED, "eve", NOON)
    (ended,) = requests.list()
    assert (ended.proposal, ended.state, ended.decided_by) == (PROPOSAL, RequestState.PROMOTED, "eve")
    assert requests.list(only_open=True) == []
    with pytest.raises(PromotionOvertaken, match="promoted by eve"):
        requests.claim(number, "anna", NOON, second_person=True)
    assert requests.propose(PROPOSAL, NOON) != number, "what was decided may be proposed again"


def test_who_died_over_a_decision_does_not_keep_others_from_it(store: Store) -> None:
    requests = PromotionRequests(store.database, LINE)
    number = requests.propose(PROPOSAL, NOON)
    requests.claim(number, "anna", NOON, second_person=False)
    later = NOON + CLAIM_ENDS + timedelta(seconds=1)
    assert requests.claim(number, "eve", later, second_person=False).decided_by == "eve"


def test_of_two_who_claim_at_once_one_is_told(store: Store) -> None:
    requests = PromotionRequests(store.database, LINE)
    number = requests.propose(PROPOSAL, NOON)
    told: list[str] = []
    at_once = threading.Barrier(2)

    def claim(by: str) -> None:
        at_once.wait(10)
        try:
            requests.claim(number, by, NOON, second_person=False)
            told.append("won")
        except PromotionOvertaken:
            told.append("told")

    threads = [threading.Thread(target=claim, args=(by,)) for by in ("anna", "eve")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(told) == ["told", "won"]


def test_what_is_not_on_record_is_told(store: Store) -> None:
    with pytest.raises(NotFound):
        PromotionRequests(store.database, LINE).get(7)
    with pytest.raises(NotFound):
        Comparisons(store.database, LINE).get(7)
    number = PromotionRequests(store.database, LINE).propose(PROPOSAL, NOON)
    with pytest.raises(NotFound):
        PromotionRequests(store.database, "other").get(number)


def test_a_comparison_comes_back_as_it_was(store: Store) -> None:
    images = (
        ComparedImage("good/1.png", "good", 0, "L1", 0.25, 0.5, False),
        ComparedImage("cut/2.png", "cut", 1, "", None, 0.75, True),
    )
    made = BundleComparison(
        "a@0", "b@1", (0.5, 0.4), "snapshot march", "B is better", images, {"cut/2.png": "data:,x"}, ("a note",)
    )
    comparisons = Comparisons(store.database, LINE)
    number = comparisons.add(made, "anna", NOON)
    assert comparisons.get(number) == made
    assert [(one.id, one.first, one.made_by, one.time) for one in comparisons.list()] == [(number, "a@0", "anna", NOON)]
    assert Comparisons(store.database, "other").list() == []
