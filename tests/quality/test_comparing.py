"""Two bundles on the same parts, by hand-made scores whose answers are known, and against the reports of training."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.part import Verdict
from inspector.quality import comparing
from inspector.quality.comparing import ComparedPart, curve, differing, errors, flipped, groups, parts_of
from inspector.quality.rates import rate
from training.evaluate import Judged
from training.report import comparison
from training.statistics import mcnemar_exact


def part(number: int, label: str, first: float | None, second: float | None, lot: str = "") -> ComparedPart:
    return ComparedPart(number, label, lot, (first, second))


IMAGES = [
    pytest.param([], [], id="no image"),
    pytest.param(
        [(0, "good", "L1", 0.2, 0.3), (0, "good", "L1", 0.4, 0.1)], [(0.4, 0.3)], id="the worst of a good part"
    ),
    pytest.param(
        [(0, "cut", "", 0.9, 0.8), (0, "cut", "", 0.6, 0.95)], [(0.6, 0.8)], id="the best look of a defective one"
    ),
    pytest.param(
        [(0, "good", "", 0.1, 0.1), (0, "cut", "", 0.7, 0.6)], [(0.7, 0.6)], id="one picture shows the defect"
    ),
    pytest.param(
        [(0, "cut", "", None, 0.6), (0, "cut", "", 0.7, 0.5)], [(0.7, 0.5)], id="one picture could not be judged"
    ),
    pytest.param([(0, "cut", "", None, 0.6)], [(None, 0.6)], id="none could"),
    pytest.param([(3, "good", "", 1, 1), (1, "good", "", 0, 0)], [(0.0, 0.0), (1.0, 1.0)], id="two parts"),
]


@pytest.mark.parametrize(("images", "scores"), IMAGES)
def test_parts_count_by_the_score_that_decides(
    images: list[tuple[int, str, str, float, float]], scores: object
) -> None:
    assert [one.scores for one in parts_of(images)] == scores


PARTS = [
    part(0, "good", 0.1, 0.1, "L1"),
    part(1, "good", 0.6, 0.2, "L1"),
    part(2, "good", None, 0.7, "L2"),
    part(3, "cut", 0.3, 0.9, "L1"),
    part(4, "cut", 0.9, 0.4, "L2"),
    part(5, "dent", 0.5, 0.5, "L2"),
]


def test_errors_are_counted_with_bounds_and_unknown_is_none() -> None:
    found = errors(PARTS, 0, 0.5)
    assert (found.escapes, found.false_rejects) == (rate(2, 3), rate(1, 3))
    both = comparing.paired(PARTS, (0.5, 0.5))
    assert [(one.name, one.only_first, one.only_second, one.p) for one in both] == [
        ("escapes", 1, 1, 1.0),
        ("false rejects", 1, 1, 1.0),
    ]
    assert "no difference can be shown" in both[0].words
    assert "no parts to tell by" in comparing.paired([], (0.5, 0.5))[0].words


def test_a_difference_that_chance_does_not_explain_is_said_with_its_direction() -> None:
    six = [part(n, "cut", 0.1, 0.9) for n in range(6)]
    assert "p = 0.0312: B is better" in comparing.paired(six, (0.5, 0.5))[0].words
    assert "B is worse" in comparing.paired([part(n, "cut", 0.9, 0.1) for n in range(6)], (0.5, 0.5))[0].words


def test_flips_say_who_is_right_and_what_a_moved_limit_changes() -> None:
    assert [(one.number, who) for one, who in differing(PARTS, (0.5, 0.5))] == [(3, "B"), (1, "B"), (4, "A")]
    assert [one.number for one in flipped(PARTS, 0, 0.5, 0.6)] == [1], "0.6 is rejected above 0.5 and passes at 0.6"
    assert [one.number for one in flipped(PARTS, 0, 0.6, 0.2)] == [1, 5, 3]
    assert flipped(PARTS, 1, 0.5, 0.5) == []


def test_a_limit_moves_from_part_to_part() -> None:
    assert comparing.next_limit(PARTS, 0, 0.5, up=True) == 0.6
    assert comparing.next_limit(PARTS, 0, 0.5, up=False) == 0.3
    assert comparing.next_limit(PARTS, 0, 0.9, up=True) is None
    lowest = comparing.next_limit(PARTS, 0, 0.1, up=False)
    assert lowest is not None
    assert [one.number for one in flipped(PARTS, 0, 0.1, lowest)] == [0]
    assert comparing.next_limit(PARTS, 0, lowest, up=False) is None


def test_groups_begin_with_good_ones() -> None:
    assert list(groups(PARTS, lambda one: one.label)) == ["good", "cut", "dent"]
    assert {lot: len(some) for lot, some in groups(PARTS, lambda one: one.lot).items()} == {"L1": 3, "L2": 3}


scores = st.one_of(st.none(), st.floats(-5, 5))


@given(st.lists(st.tuples(st.sampled_from(["good", "cut"]), scores, scores), max_size=40), st.floats(-6, 6))
def test_a_curve_has_at_every_limit_what_is_counted_there(some: list[tuple[str, float, float]], at: float) -> None:
    parts = [part(number, *one) for number, one in enumerate(some)]
    for side in (0, 1):
        drawn = curve(parts, side, points=9, at=[at])
        assert at in drawn.limits
        for place, limit in enumerate(drawn.limits):
            counted = errors(parts, side, limit)
            for name, told in (("escapes", counted.escapes), ("false_rejects", counted.false_rejects)):
                got = [getattr(drawn, name + end)[place] for end in ("", "_low", "_high")]
                assert np.allclose(got, [told.value, told.low, told.high], equal_nan=True, atol=1e-9)


def test_a_curve_of_nothing_is_empty_and_an_infinite_limit_is_left_out() -> None:
    assert curve([], 0, at=[math.inf]).limits.size == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["good", "cut"]), scores, scores), max_size=40))
def test_counts_are_those_of_the_reports_of_training(some: list[tuple[int, str, float | None, float | None]]) -> None:
    """Of parts all of whose images have one label, as parts on a line do."""
    label_of = {number: label for number, label, _, _ in some}
    images = [(number, label_of[number], "", first, second) for number, _, first, second in some]

    def judged(side: int) -> list[Judged]:
        found = []
        for place, (number, label, _, *both) in enumerate(images):
            score = both[side]
            verdict = Verdict.UNKNOWN if score is None else Verdict.REJECT if score > 0.5 else Verdict.PASS
            found.append(Judged(str(place), label, verdict, score, "", number))
        return found

    ours = comparing.paired(parts_of(images), (0.5, 0.5))
    wrong = {"escapes": lambda image: image.is_escape, "false rejects": lambda image: image.is_false_reject}
    for mine in ours:
        theirs = comparison.paired(judged(0), judged(1), mine.name, wrong[mine.name], draws=1)
        assert (mine.first.count, mine.second.count, mine.first.total) == (
            theirs.first.count,
            theirs.second.count,
            theirs.first.total,
        )
        assert (mine.only_first, mine.only_second) == (theirs.only_first, theirs.only_second)
        assert mine.p == pytest.approx(theirs.p)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (6, 0), (5, 2), (40, 41), (300, 200)])
def test_the_test_is_that_of_training(first: int, second: int) -> None:
    assert comparing.mcnemar_exact(first, second) == pytest.approx(mcnemar_exact(first, second))


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="expected counts from 0"):
        comparing.mcnemar_exact(-1, 0)
