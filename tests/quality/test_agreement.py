"""Agreement against the published study of AIAG, and what labels of a real plant look like: gaps, doubts, few parts."""

from __future__ import annotations

import math

import pytest
from aiag import RATINGS, REFERENCE

from inspector.quality.agreement import (
    DEFECTIVE,
    GOOD,
    UNSURE,
    Grade,
    Looks,
    Reference,
    agreement_between,
    agreement_within,
    decision,
    decisions,
    held_against,
    reference_by,
    reference_by_others,
    study,
)
from inspector.quality.rates import rate
from inspector.quality.verdict_on_labels import conclusion

PUBLISHED = [
    # AIAG's own figures: effectiveness, misses of 16 × 3 looks, false alarms of 34 × 3 looks, kappa against the reference.
    pytest.param("A", 42, 3, 5, 0.88, (Grade.MARGINAL, Grade.UNACCEPTABLE, Grade.ACCEPTABLE), id="A"),
    pytest.param("B", 45, 3, 2, 0.92, (Grade.ACCEPTABLE, Grade.UNACCEPTABLE, Grade.ACCEPTABLE), id="B"),
    pytest.param("C", 40, 6, 9, 0.77, (Grade.MARGINAL, Grade.UNACCEPTABLE, Grade.MARGINAL), id="C"),
]


@pytest.mark.parametrize(("name", "right", "misses", "alarms", "kappa", "grades"), PUBLISHED)
def test_appraisers_against_the_reference_are_as_published(
    name: str, right: int, misses: int, alarms: int, kappa: float, grades: tuple[Grade, ...]
) -> None:
    found = held_against(name, RATINGS[name], REFERENCE)
    assert (found.effectiveness, found.misses, found.false_alarms) == (
        rate(right, 50),
        rate(misses, 48),
        rate(alarms, 102),
    )
    assert round(found.kappa.value, 2) == kappa
    assert found.grades == grades
    assert found.grade is Grade.UNACCEPTABLE


@pytest.mark.parametrize(("pair", "kappa"), [("AB", 0.86), ("AC", 0.78), ("BC", 0.79)])
def test_kappa_between_appraisers_is_as_published(pair: str, kappa: float) -> None:
    found = agreement_between(pair[0], RATINGS[pair[0]], pair[1], RATINGS[pair[1]])
    assert round(found.kappa.value, 2) == kappa
    assert found.kappa.low < kappa < found.kappa.high


@pytest.mark.parametrize(("name", "matched"), [("A", 42), ("B", 45), ("C", 40)])
def test_agreement_with_oneself_is_as_published(name: str, matched: int) -> None:
    assert agreement_within(name, RATINGS[name]).matched == rate(matched, 50)


def test_the_whole_study_is_as_published() -> None:
    found = study(RATINGS, dict.fromkeys("ABC", REFERENCE))
    assert found.parts == 50
    assert (found.all_agree, found.all_right) == (rate(39, 50), rate(39, 50))
    assert found.appraisers == ("A", "B", "C")
    assert len(found.pairs) == 3
    said = conclusion(found, "the standard of the study")
    assert said[0] == (
        "A fails on 50 parts: effectiveness 84 % (71–92.8 %), 42 of 50: marginally acceptable (≥ 80 %); "
        "misses 6.2 % (1.3–17 %), 3 of 48: unacceptable (≤ 5 %); "
        "false alarms 4.9 % (1.6–11 %), 5 of 102: acceptable (≤ 5 %)."
    )
    assert "Reference: the standard of the study." in said


A: Looks = {1: (GOOD,), 2: ("dent",), 3: (UNSURE,), 4: ("scratch", "dent")}


def test_who_cannot_tell_is_not_right_and_neither_misses_nor_alarms() -> None:
    found = held_against("anna", decisions(A), {1: GOOD, 2: DEFECTIVE, 3: DEFECTIVE, 9: GOOD})
    assert found.effectiveness == rate(2, 3)
    assert (found.misses, found.false_alarms, found.unsure) == (rate(0, 2), rate(0, 1), 1)


def test_classes_count_where_they_are_asked_for() -> None:
    truth = {2: "dent", 4: "dent"}
    assert held_against("anna", A, truth).effectiveness == rate(1, 2), "it was not always called a dent"
    bare = {part: decision(word) for part, word in truth.items()}
    assert held_against("anna", decisions(A), bare).effectiveness == rate(2, 2), "it was always called defective"


REFERENCES = [
    pytest.param([], {}, id="no experts"),
    pytest.param([{1: (GOOD,)}], {1: GOOD}, id="one expert"),
    pytest.param([{1: (GOOD, "dent")}], {1: "dent"}, id="the last look of an expert"),
    pytest.param([{1: (GOOD,)}, {1: ("dent",), 2: ("dent",)}], {2: "dent"}, id="experts who disagree say nothing"),
    pytest.param([{1: (UNSURE,)}, {1: ("dent",)}], {1: "dent"}, id="doubt does not outvote"),
]


@pytest.mark.parametrize(("experts", "expected"), REFERENCES)
def test_experts_say_what_parts_are(experts: list[Looks], expected: Reference) -> None:
    assert reference_by(experts) == expected


def test_nobody_is_held_against_themselves() -> None:
    ratings: dict[str, Looks] = {
        "a": {1: (GOOD,), 2: (GOOD,)},
        "b": {1: ("dent",)},
        "c": {1: ("dent",)},
        "d": {1: (GOOD,)},
    }
    assert reference_by_others(ratings, "a") == {1: "dent"}, "two of three, and of part 2 nobody else said anything"
    assert reference_by_others(ratings, "b") == {1: GOOD, 2: GOOD}, "without b it is two of three"
    assert reference_by_others({"a": {1: (GOOD,)}, "b": {1: ("dent",)}, "c": {1: (GOOD,)}}, "a") == {}, (
        "a tie says nothing"
    )


def test_of_nothing_there_is_nothing_to_say() -> None:
    empty = study({}, {})
    assert conclusion(empty, "") == ("Nobody has labelled anything here: there is nothing to compare.",)
    alone = study({"anna": {1: (GOOD,)}}, {})
    assert "let a second person label" in conclusion(alone, "what the others say")[0]
    assert math.isnan(alone.together.value)


def test_few_parts_are_said_to_be_few() -> None:
    looks = {number: (GOOD if number % 2 else DEFECTIVE,) for number in range(10)}
    truth: Reference = {part: said[0] for part, said in looks.items()}
    found = study({"anna": looks}, {"anna": truth})
    assert found.against[0].grade is Grade.ACCEPTABLE
    text = conclusion(found, "the expert")[0]
    assert text.startswith("anna passes on 10 parts: effectiveness 100 % (69–100 %)")
    assert "10 parts are few to judge by: AIAG's study has 50." in text


def test_figures_that_meet_a_bar_by_luck_are_said_to_be_unsettled() -> None:
    looks = {number: (GOOD if number % 2 else DEFECTIVE,) for number in range(100)}
    found = study({"anna": looks}, {"anna": {part: said[0] for part, said in looks.items()}})
    assert "more parts would settle it" in conclusion(found, "x")[0], "0 misses of 50 may still be 7 %"
    many = {number: (GOOD if number % 2 else DEFECTIVE,) for number in range(1000)}
    shown = study({"anna": many}, {"anna": {part: said[0] for part, said in many.items()}})
    assert "settle" not in conclusion(shown, "x")[0]


def test_good_parts_alone_say_nothing_of_misses() -> None:
    looks = {number: (GOOD,) for number in range(60)}
    found = study({"anna": looks}, {"anna": {part: GOOD for part in looks}})
    assert found.against[0].grade is Grade.UNKNOWN
    assert "misses not known, no defective part among them" in conclusion(found, "x")[0]
