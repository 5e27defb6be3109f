"""Kappa against published examples, and against scikit-learn and a bootstrap where none says enough."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from inspector.quality.kappa import Kappa, cohen, fleiss


def spread(counts: list[int]) -> list[int]:
    """What judges said of a part, from how many said each thing."""
    return [value for value, times in enumerate(counts) for _ in range(times)]


# Fleiss, Psychological Bulletin 76, 1971: 30 patients, 6 psychiatrists, 5 diagnoses.
FLEISS_1971 = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""
# Fleiss' kappa, Wikipedia: 10 subjects, 14 raters, 5 categories.
FOURTEEN = """
0,0,0,0,14 0,2,6,4,2 0,0,3,5,6 0,3,9,2,0 2,2,8,1,1 7,7,0,0,0 3,2,6,3,0 2,5,3,2,2 6,5,2,1,0 0,2,2,3,7
"""


def test_fleiss_own_example() -> None:
    found = fleiss([spread([int(digit) for digit in row]) for row in FLEISS_1971.split()])
    assert found.value == pytest.approx(0.430, abs=5e-4)
    assert found.parts == 30
    assert found.low < 0.430 < found.high


def test_another_known_example_of_fleiss() -> None:
    found = fleiss([spread([int(number) for number in row.split(",")]) for row in FOURTEEN.split()])
    assert found.value == pytest.approx(0.210, abs=5e-4)


# Fleiss, Cohen and Everitt, Psychological Bulletin 72, 1969, table 1: shares of 200 subjects.
PSYCHIATRISTS = [[106, 10, 4], [22, 28, 10], [2, 12, 6]]


def pairs_of(table: list[list[int]]) -> list[tuple[int, int]]:
    return [(a, b) for a, row in enumerate(table) for b, times in enumerate(row) for _ in range(times)]


def test_cohen_and_its_standard_error_as_published() -> None:
    """0.429 with the variance 0.002885 of equation 13, as statsmodels computes it too."""
    found = cohen(pairs_of(PSYCHIATRISTS))
    assert found.value == pytest.approx(0.4286, abs=5e-4)
    error = (found.high - found.low) / 2 / 1.9720  # t of 199 degrees of freedom
    assert error**2 == pytest.approx(0.002885, abs=2e-5)


@pytest.mark.parametrize("seed", range(5))
def test_cohen_is_that_of_scikit_learn(seed: int) -> None:
    draw = random.Random(seed)
    pairs = [(draw.randrange(4), draw.randrange(4)) for _ in range(30 + 40 * seed)]
    pairs += [(value, value) for value in (0, 1, 2, 3) for _ in range(10 * seed)]
    expected = cohen_kappa_score([a for a, _ in pairs], [b for _, b in pairs])
    assert cohen(pairs).value == pytest.approx(expected, abs=1e-12)


def error_of(kappa: Kappa) -> float:
    return kappa.high - kappa.low


def test_looks_again_at_the_same_parts_do_not_narrow_the_interval() -> None:
    once = pairs_of([[40, 5], [8, 47]])
    thrice = once * 3
    parts = list(range(100)) * 3
    assert cohen(thrice, parts).value == pytest.approx(cohen(once).value)
    assert error_of(cohen(thrice, parts)) == pytest.approx(error_of(cohen(once)))
    assert error_of(cohen(thrice)) < 0.6 * error_of(cohen(once)), "as if they were other parts"


def test_the_interval_of_fleiss_is_as_wide_as_drawing_parts_again_has_it() -> None:
    """Also with different numbers of looks a part."""
    random_ = np.random.default_rng(3)
    truth = random_.random(150) < 0.4
    parts = [
        [int(t) if random_.random() < 0.88 else int(not t) for _ in range(int(random_.integers(1, 5)))] for t in truth
    ]
    drawn = [fleiss([parts[n] for n in random_.integers(0, 150, 150)]).value for _ in range(400)]
    found = fleiss(parts)
    assert (found.high - found.low) / 2 / 1.976 == pytest.approx(float(np.std(drawn)), rel=0.15)


NOTHING = [
    pytest.param(cohen([]), "no part was judged by both", id="cohen of nothing"),
    pytest.param(cohen([("good", "good")] * 9), "nothing to tell apart", id="both always said the same"),
    pytest.param(fleiss([]), "no part was judged twice", id="fleiss of nothing"),
    pytest.param(fleiss([["a"], ["b"]]), "no part was judged twice", id="one look each"),
    pytest.param(fleiss([["a", "a"]] * 4), "nothing to tell apart", id="everyone always said the same"),
]


@pytest.mark.parametrize(("kappa", "why"), NOTHING)
def test_what_cannot_be_told_says_why(kappa: Kappa, why: str) -> None:
    assert math.isnan(kappa.value)
    assert why in kappa.words


def test_agreement_without_exception_is_no_proof() -> None:
    few = fleiss([["a", "a"], ["b", "b"]] * 5)
    many = fleiss([["a", "a"], ["b", "b"]] * 200)
    assert few.value == many.value == 1
    assert few.low < 0.5 < many.low < 1 == many.high
    assert cohen([("a", "a"), ("b", "b")] * 5).low == pytest.approx(few.low)


def test_disagreement_is_below_chance() -> None:
    assert cohen([("a", "b"), ("b", "a")] * 10).value == pytest.approx(-1)
