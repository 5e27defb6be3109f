"""Counts, words, curves and class probabilities of evaluations made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn import metrics

from inspector.inference.manifest import CostBasis, LimitBasis
from inspector.part import Verdict
from training.evaluate import Evaluation, Judged
from training.report.classes import UNKNOWN, class_result
from training.report.counts import count
from training.report.curves import curves
from training.report.leaks import DataCheck
from training.report.masks import defect_size
from training.report.page import _rate
from training.report.pictures import worst_escapes, worst_false_rejects
from training.report.words import cost_seen, percent, promise_held, summary, to_sign
from training.statistics import counted

LIMIT = 1.0


def _image(path: str, label: str, score: float | None, part: int, lot: str = "", **classes: float) -> Judged:
    verdict = Verdict.UNKNOWN if score is None else Verdict.PASS if score <= LIMIT else Verdict.REJECT
    return Judged(path, label, verdict, score, "" if score is not None else "dark", part, lot, classes)


LINE = (
    _image("a1", "good", 0.2, 1, "mon"),
    _image("a2", "good", 1.5, 1, "mon"),  # part 1: one exposure of two is rejected
    _image("b", "good", 0.3, 2, "tue"),
    _image("c1", "cut", 3.0, 3, "tue"),
    _image("c2", "cut", 0.9, 3, "tue"),  # part 3: found once, passed once
    _image("d", "cut", 2.0, 4, "tue"),
    _image("e", "hole", 0.1, 5, "tue"),
    _image("f", "hole", None, 6, "mon"),
    _image("g", "good", 0.4, 3),  # an image of part 3 that does not show the cut
)


def test_a_part_is_wrong_if_any_of_its_images_is() -> None:
    counts = count(Evaluation("x", LIMIT, LINE))
    assert (counts.escapes.images, counts.escapes.parts) == (counted(2, 5), counted(2, 4))
    assert (counts.false_rejects.images, counts.false_rejects.parts) == (counted(1, 4), counted(1, 3))
    assert (counts.unknown.images, counts.unknown.parts) == (counted(1, 9), counted(1, 6))
    assert list(counts.verdicts) == ["good", "cut", "hole"]
    assert counts.wrong_by_label["cut"].parts == counted(1, 2)


def test_lots_are_counted_apart_and_images_without_one_left_out() -> None:
    lots = {lot.name: lot for lot in count(Evaluation("x", LIMIT, LINE)).lots}
    assert set(lots) == {"mon", "tue"}
    assert lots["mon"].false_rejects.parts == counted(1, 1)
    assert lots["mon"].escapes.parts == counted(0, 1)
    assert lots["tue"].escapes.parts == counted(2, 3)


def test_wrong_parts_name_their_worst_image_escapes_first() -> None:
    parts = count(Evaluation("x", LIMIT, LINE)).wrong_parts
    assert [(p.part, p.path, p.wrong, p.images) for p in parts] == [(5, "e", 1, 1), (3, "c2", 1, 2), (1, "a2", 1, 2)]


def test_pictures_are_the_worst_one_per_part() -> None:
    more = [*LINE, _image("e2", "hole", 0.05, 5), _image("h", "good", 9.0, 8)]
    assert [image.path for image in worst_escapes(more)] == ["e2", "c2"]
    assert [image.path for image in worst_false_rejects(more)] == ["h", "a2"]
    assert [image.path for image in worst_escapes(more, 1)] == ["e2"]


PROMISES = [
    pytest.param(0, 400, True, "held", id="0 of 400 shows less than 1 %: 3/400"),
    pytest.param(0, 100, None, "too few to confirm", id="0 of 100 shows only 3 %"),
    pytest.param(3, 100, None, "too few to confirm", id="3 of 100 may still be chance"),
    pytest.param(4, 100, False, "did not hold", id="4 of 100 is not chance: P(≥ 4) = 1.8 %"),
    pytest.param(0, 0, None, "no good part was judged", id="no good parts"),
]


@pytest.mark.parametrize(("rejected", "total", "held", "says"), PROMISES)
def test_whether_the_promise_held(rejected: int, total: int, held: bool | None, says: str) -> None:
    basis = LimitBasis("order statistic", 0.01, 0.95, 299, True, "At most 0.01 …")
    told, words = promise_held(counted(rejected, total), basis)
    assert told is held
    assert says in words
    assert "promise" in words


def test_an_estimate_is_not_called_a_promise() -> None:
    basis = LimitBasis("tail", 0.01, 0.95, 30, False, "About 0.01 …", 299)
    assert "promise" not in promise_held(counted(9, 10), basis)[1]


def test_no_line_of_a_page_ends_within_an_interval() -> None:
    assert _rate(counted(13, 14)).split(" ") == [
        "13",
        "of",
        "14",
        "=",
        "92.9\u00a0%",
        "(66.1\u00a0to\u00a099.8\u00a0%)",
    ]
    assert _rate(counted(0, 0)) == "none judged"


def _cost_basis(expected_rate: float) -> LimitBasis:
    cost = CostBasis(1, 50, 0.02, 0.3, 0.1, 0.6, 1, 3, 40)
    return LimitBasis("least expected cost", expected_rate, 0.95, 200, False, "The limit costs least …", cost=cost)


@pytest.mark.parametrize(
    ("rejected", "expected_rate", "says"),
    [
        pytest.param(10, 0.2, "a part costs 0.598", id="0.98 × 10 % + 50 × 2 % × 1/2"),
        pytest.param(60, 0.2, "chance does not explain it", id="more rejected than was thought the most"),
    ],
)
def test_a_limit_by_cost_is_not_held_to_a_promise(rejected: int, expected_rate: float, says: str) -> None:
    images = [_image(f"g{i}", "good", 9.0 if i < rejected else 0.0, i) for i in range(100)]
    images += [_image("hit", "cut", 9.0, 200), _image("missed", "cut", 0.0, 201)]
    basis = _cost_basis(expected_rate)
    data = DataCheck("x", "generic", 102, 102, "", "", "", None, "", (), (), (), ())
    told = summary(count(Evaluation("x", LIMIT, images)), basis, data)
    assert told.promise_held is None
    assert told.question == "Is it worth its cost?"
    assert says in told.held
    assert "no false-reject rate is promised" in told.held


@pytest.mark.parametrize(
    ("images", "held", "new", "says"),
    [
        pytest.param(
            LINE, None, True, "up to 932 of 1,000 defective parts to pass and up to 906 of 1,000 good", id="both"
        ),
        pytest.param(LINE[:3], None, True, "Against it: nothing is known of defective parts.", id="good parts alone"),
        pytest.param(LINE, None, None, "may know the parts", id="no split"),
        pytest.param(LINE, False, False, "knows the parts that it was judged on; the limit did not hold", id="a leak"),
        pytest.param((), None, None, "nothing to sign", id="nothing judged"),
    ],
)
def test_the_sentence_to_sign_says_the_worst_and_what_speaks_against_it(
    images: Sequence[Judged], held: bool | None, new: bool | None, says: str
) -> None:
    assert says in to_sign(count(Evaluation("x", LIMIT, images)), held, new)


def test_without_defects_a_limit_by_cost_cannot_be_weighed() -> None:
    counts = count(Evaluation("x", LIMIT, [_image("a", "good", 0.0, 0)]))
    basis = _cost_basis(0.2)
    assert basis.cost is not None
    assert "is not known" in cost_seen(counts, basis, basis.cost)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.0249, "2.5 %"), (0.00012, "0.012 %"), (0.5, "50 %"), (0.998, "99.8 %")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


def _many(seed: int = 0) -> list[Judged]:
    random = np.random.default_rng(seed)
    good = [_image(f"g{i}", "good", float(s), i // 3) for i, s in enumerate(random.normal(0.5, 0.3, 60))]
    bad = [_image(f"d{i}", "cut", float(s), 100 + i // 3) for i, s in enumerate(random.normal(1.2, 0.4, 45))]
    return good + bad


def test_curves_are_those_of_scikit_learn_and_lie_within_their_bands() -> None:
    judged = _many()
    drawn = curves(judged, LIMIT, draws=100)
    truth, scores = [not i.is_good for i in judged], [i.score for i in judged]
    assert drawn.roc is not None
    assert drawn.precision_recall is not None
    assert drawn.roc.area == pytest.approx(metrics.roc_auc_score(truth, scores))
    assert drawn.precision_recall.area == pytest.approx(metrics.average_precision_score(truth, scores))
    at = np.interp(drawn.roc.grid, drawn.roc.x, drawn.roc.y)
    inside = (np.array(drawn.roc.low) <= at + 1e-9) & (at <= np.array(drawn.roc.high) + 1e-9)
    assert inside.mean() > 0.95
    low, high = drawn.roc.area_interval  # type: ignore[misc]
    assert low < drawn.roc.area < high
    assert drawn.roc.at_limit == pytest.approx(
        (np.mean([s > LIMIT for s in scores[:60]]), np.mean([s > LIMIT for s in scores[60:]]))  # type: ignore[operator]
    )
    assert curves(judged, LIMIT, draws=100) == drawn


def test_rates_at_the_limit_are_those_of_the_counts() -> None:
    judged = _many()
    rates, counts = curves(judged, LIMIT, draws=2).rates, count(Evaluation("x", LIMIT, tuple(judged)))
    assert rates is not None
    nearest = int(np.abs(np.array(rates.limits) - LIMIT).argmin())
    assert rates.false_rejects[nearest] == pytest.approx(counts.false_rejects.parts.value, abs=0.1)
    assert rates.escapes[nearest] == pytest.approx(counts.escapes.parts.value, abs=0.1)
    assert (np.diff(rates.false_rejects) <= 0).all()
    assert (np.diff(rates.escapes) >= 0).all()


def test_no_bar_of_the_histogram_holds_both_passed_and_rejected() -> None:
    judged = [*_many(), _image("at", "good", LIMIT, 900), _image("far", "cut", 50.0, 901)]
    bars = curves(judged, LIMIT, draws=2).histograms
    assert bars is not None
    below = sum(edge < LIMIT - 1e-9 for edge in bars.edges)
    for label in ("good", "cut"):
        passed = sum(image.score <= LIMIT for image in judged if image.label == label)  # type: ignore[operator]
        assert sum(bars.counts[label][:below]) == passed
        assert sum(bars.counts[label]) == sum(image.label == label for image in judged)


@pytest.mark.parametrize(
    ("images", "has"),
    [
        ([], (False, False)),
        ([_image("a", "good", None, 0)], (False, False)),
        ([_image("a", "good", 0.5, 0)], (False, True)),
        ([_image("a", "cut", LIMIT, 0)], (False, True)),
        ([_image("a", "cut", 1.0, 0), _image("b", "good", 1.0, 1)], (True, True)),
    ],
    ids=["nothing", "nothing scored", "one good", "one defect at the limit", "a tie"],
)
def test_curves_of_hardly_anything(images: Sequence[Judged], has: tuple[bool, bool]) -> None:
    drawn = curves(images, LIMIT, draws=5)
    assert (drawn.roc is not None, drawn.rates is not None) == has


def test_class_probabilities() -> None:
    """Two right with 0.9, one wrong with 0.6: ECE = 2/3 · 0.1 + 1/3 · 0.6; Brier = (0.02 + 0.02 + 0.72) / 3."""
    judged = [
        _image("a", "cut", 2.0, 0, cut=0.9, hole=0.1),
        _image("b", "hole", 2.0, 1, cut=0.1, hole=0.9),
        _image("c", "hole", 2.0, 2, cut=0.6, hole=0.4),
        _image("d", "good", 0.1, 3, cut=0.3, hole=0.2),
        _image("e", "dent", 2.0, 4, cut=0.8, hole=0.1),  # a class that the bundle does not know
        _image("f", "cut", None, 5),
    ]
    result = class_result(judged, ("cut", "hole"))
    assert result is not None
    assert result.expected_calibration_error == pytest.approx(2 / 3 * 0.1 + 1 / 3 * 0.6)
    assert result.brier == pytest.approx((0.02 + 0.02 + 0.72) / 3)
    assert result.calibrated_on == 3
    assert result.accuracy == counted(3, 6)
    assert result.rows == ("good", "cut", "dent", "hole")
    assert result.columns == ("good", "cut", "dent", "hole", UNKNOWN)
    assert result.confusion == ((1, 0, 0, 0, 0), (0, 1, 0, 0, 1), (0, 1, 0, 0, 0), (0, 1, 0, 1, 0))
    assert [(b.confidence, b.right.count, b.right.total) for b in result.reliability] == [(0.6, 0, 1), (0.9, 2, 2)]


def test_without_class_scores_there_is_nothing_to_trust() -> None:
    assert class_result(LINE, ("anomaly",)) is None


def test_the_length_of_a_defect_is_that_of_its_longest_region_with_corners() -> None:
    mask = np.zeros((50, 50), np.bool_)
    mask[10, 10:30] = True
    mask[40:43, 40:43] = True
    size = defect_size(mask)
    assert size.length_px == pytest.approx(np.hypot(20, 1))
    assert size.area_px == 29
    mask[:] = False
    mask[7, 7] = True
    assert defect_size(mask).length_px == pytest.approx(np.sqrt(2))
