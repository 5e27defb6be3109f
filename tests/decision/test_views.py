"""A part passes only if every view of it was looked at and passed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.decision.views import ViewState, decide, decide_at_deadline
from inspector.part import Box, Finding, Judgement, Reason, Verdict

PASS = Judgement(Reason.WITHIN_LIMITS, "", 0.2, 0.5)
CLOSE = Judgement(Reason.WITHIN_LIMITS, "", 8.0, 9.0)
REJECT = Judgement(Reason.SCORE_ABOVE_LIMIT, "above", 0.9, 0.5, (Finding("dent", Box(1, 2, 3, 4), 12.0, 0.9),))
DARK = Judgement(Reason.IMAGE_TOO_DARK, "dark")
LATE = Judgement(Reason.OVERLOADED, "no time")
JUDGEMENTS = {"P": PASS, "C": CLOSE, "R": REJECT, "D": DARK, "O": LATE}


def states(text: str) -> list[ViewState]:
    """A letter per view: a judgement, `.` not come, `~` come and not judged, `x` lost."""
    return [
        ViewState(f"view{place}", JUDGEMENTS.get(letter), letter not in ".x", "skipped" if letter == "x" else "")
        for place, letter in enumerate(text)
    ]


@pytest.mark.parametrize(
    ("views", "reason", "place"),
    [
        pytest.param("P", Reason.WITHIN_LIMITS, 0, id="the only view passes"),
        pytest.param("x", Reason.TRIGGER_GAP, 0, id="the only view will not come"),
        pytest.param("D", Reason.IMAGE_TOO_DARK, 0, id="the only view cannot be judged"),
        pytest.param(".", None, 0, id="the only view may still come"),
        pytest.param(
            "PC", Reason.WITHIN_LIMITS, 1, id="all pass; the closest to its limit is shown, each by its own scale"
        ),
        pytest.param("P.", None, 0, id="one has not come"),
        pytest.param("P~", None, 0, id="one is not judged"),
        pytest.param("~R", Reason.SCORE_ABOVE_LIMIT, 1, id="a reject does not wait for the others"),
        pytest.param(".R", Reason.SCORE_ABOVE_LIMIT, 1, id="nor for one that has not come"),
        pytest.param("D.", None, 0, id="an unknown view waits: the other may show a defect"),
        pytest.param("DR", Reason.SCORE_ABOVE_LIMIT, 1, id="and it does"),
        pytest.param("DP", Reason.IMAGE_TOO_DARK, 0, id="and it does not"),
        pytest.param("O.", Reason.OVERLOADED, 0, id="a view without time is told at once"),
        pytest.param("Px", Reason.MISSING_VIEW, 1, id="one passed, the other will not come"),
        pytest.param("x.", None, 0, id="one will not come, the other may show a defect"),
        pytest.param("xx", Reason.TRIGGER_GAP, 0, id="no view will come"),
        pytest.param("xR", Reason.SCORE_ABOVE_LIMIT, 1, id="one will not come, the other rejects"),
        pytest.param("xDP", Reason.MISSING_VIEW, 0, id="what is missing comes before what is dark"),
    ],
)
def test_a_part_is_decided_as_soon_as_it_is_certain(views: str, reason: Reason | None, place: int) -> None:
    decision = decide(states(views))
    if reason is None:
        assert decision is None
    else:
        assert decision is not None
        assert (decision[1].reason, decision[0]) == (reason, place)


@pytest.mark.parametrize(
    ("views", "reason", "place", "words"),
    [
        pytest.param(
            "~",
            Reason.DEADLINE_EXCEEDED,
            0,
            "not judged in time for its deadline, 50 ms",
            id="the only view was not judged",
        ),
        pytest.param("P~", Reason.DEADLINE_EXCEEDED, 1, "view1: not judged", id="one was not judged"),
        pytest.param(
            "P.", Reason.MISSING_VIEW, 1, "view view1 came in time for its deadline of 50 ms", id="one did not come"
        ),
        pytest.param("~.", Reason.MISSING_VIEW, 1, "view1", id="what is missing comes before what is late"),
        pytest.param("x.P", Reason.MISSING_VIEW, 0, "view0, view1 came", id="two did not come"),
        pytest.param("D.", Reason.MISSING_VIEW, 1, "view1", id="one dark, one missing"),
    ],
)
def test_at_the_deadline_a_part_is_unknown(views: str, reason: Reason, place: int, words: str) -> None:
    found, judgement = decide_at_deadline(states(views), 50)
    assert (judgement.reason, found) == (reason, place)
    assert words in judgement.detail


def test_what_a_view_shows_is_told_as_its_own() -> None:
    decision = decide(states("PR"))
    assert decision is not None
    _, judgement = decision
    assert judgement.detail == "view view1: above"
    assert [finding.view for finding in judgement.findings] == ["view1"]
    alone = decide(states("R"))
    assert alone == (0, REJECT)


@given(st.text("PCRDO.~x", min_size=1, max_size=5))
def test_only_all_passes_are_a_pass_and_every_reject_is_a_reject(views: str) -> None:
    decision = decide(states(views))
    if "R" in views and "O" not in views:
        assert decision is not None
        assert decision[1].verdict is Verdict.REJECT
    passes = decision is not None and decision[1].verdict is Verdict.PASS
    assert passes == (set(views) <= {"P", "C"})
    if decision is None:
        assert decide_at_deadline(states(views), 1)[1].verdict is Verdict.UNKNOWN
