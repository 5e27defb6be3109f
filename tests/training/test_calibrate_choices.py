"""What a quality manager chooses by: odd parts and what they cost, other promises, and a limit of least cost."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_pictures import write_parts

from inspector.errors import DataError
from inspector.inference.manifest import LimitBasis
from training.calibration.costs import Costs, cost_limit
from training.calibration.limits import good_limit
from training.calibration.outlook import look_out
from training.calibration.scored import PartScore, lots_of, worst_images
from training.calibration.tail import odd_scores, share_above
from training.checkpoint import load_fitted, save_fitted
from training.data.layouts import open_dataset
from training.data.samples import Dataset, Sample
from training.data.splits import Role, Split, SplitEntry
from training.fit import FitPlan, fit
from training.models.memory_bank.fitting import FitSettings
from training.tables import odd_parts_text


def _parts(scores: list[float], label: str = "good", first: int = 0) -> list[PartScore]:
    return [PartScore(first + i, f"{label}/{i}.png", label, score) for i, score in enumerate(scores)]


def _promised(good: Sequence[PartScore]) -> tuple[float, LimitBasis]:
    return good_limit([part.score for part in good])


def _scores(count: int, seed: int = 0) -> list[float]:
    return list(np.random.default_rng(seed).normal(10, 1, count))


@pytest.mark.parametrize(
    ("extra", "odd"),
    [
        pytest.param([], 0, id="none"),
        pytest.param([30.0], 1, id="one"),
        pytest.param([30.0, 31.0, 30.5], 3, id="three alike, which hide each other from a test for one"),
        pytest.param([30.0, 60.0], 2, id="two far apart"),
        pytest.param([13.2], 0, id="high, as the highest of a hundred may be"),
    ],
)
def test_odd_parts_are_those_beyond_the_tail_of_the_others(extra: list[float], odd: int) -> None:
    assert odd_scores(np.sort(np.array(_scores(100) + extra))) == odd


@pytest.mark.parametrize("count", [3, 6, 12])
def test_few_parts_have_no_odd_one_without_ground(count: int) -> None:
    assert odd_scores(np.sort(np.array(_scores(count)))) == 0


def test_equal_scores_have_no_odd_one() -> None:
    assert odd_scores(np.full(100, 4.0)) == 0


def test_good_parts_are_seldom_called_odd() -> None:
    random = np.random.default_rng(1)
    called = sum(odd_scores(np.sort(random.exponential(size=100))) > 0 for _ in range(1000))
    assert called <= 25  # 1 % of a thousand and five standard errors, exponential scores being the worst case


def test_odd_parts_are_named_with_what_they_cost() -> None:
    good = _parts([*_scores(97), 24.0, 25.0, 26.0])
    defects = _parts([float(x) for x in range(12, 32)], "cut", 1000)
    limit, _ = _promised(good)
    outlook = look_out(good, defects, (limit, 0.01, 0.95), _promised, cross_fitted=False)
    assert outlook.odd is not None
    assert [part.path for part in outlook.odd.parts] == ["good/99.png", "good/98.png", "good/97.png"]
    assert outlook.odd.limit_without < 20 < limit
    assert outlook.odd.escapes_without.count < outlook.odd.escapes.count
    text = odd_parts_text(outlook.odd, limit)
    for expected in ("3 score far above", "good/99.png", "relabel", "If they are good"):
        assert expected in text


def test_odd_parts_are_weighed_by_what_chose_the_limit() -> None:
    """Costs chose 16: without the odd part they would choose less, not what the promise would."""
    good, defects = _parts([*_scores(99), 30.0]), _parts([float(x) for x in range(12, 32)], "cut", 1000)
    chose = {100: 16.0, 99: 14.5}
    basis = good_limit(_scores(99))[1]
    outlook = look_out(good, defects, (16.0, 0.01, 0.95), lambda some: (chose[len(some)], basis), cross_fitted=False)
    assert outlook.odd is not None
    assert outlook.odd.limit_without == 14.5
    assert outlook.odd.escapes.count == 5
    assert outlook.odd.escapes_without.count == 3


def test_each_promise_has_its_limit_and_its_escapes() -> None:
    good, defects = _parts(_scores(500)), _parts([11.0, 12.0, 13.0, 14.0], "cut", 1000)
    outlook = look_out(good, defects, (12.5, 0.03, 0.95), _promised, cross_fitted=False)
    assert [option.false_reject_rate for option in outlook.options] == [0.01, 0.02, 0.03, 0.05, 0.1]
    limits = [option.limit for option in outlook.options]
    assert limits == sorted(limits, reverse=True)
    assert all(option.guaranteed for option in outlook.options)
    for option in outlook.options:
        assert option.escapes.count == sum(part.score <= option.limit for part in defects)
    assert json.loads(json.dumps(outlook.to_json()))["odd_parts"] is None


def test_the_limit_of_least_cost_is_where_costs_balance() -> None:
    random = np.random.default_rng(0)
    good, defects = random.normal(0, 1, 4000), random.normal(4, 1, 4000)
    limit, basis = cost_limit(good.tolist(), defects.tolist(), Costs(1, 20, 0.1), 0.95)
    # Two normals of unit deviation: density ratio equals cost ratio at 2 + ln(0.9 · 1 / (0.1 · 20)) / 4.
    assert limit == pytest.approx(2 + math.log(0.9 / 2) / 4, abs=0.15)
    assert basis.cost is not None
    assert basis.cost.limit_low <= limit <= basis.cost.limit_high
    assert basis.cost.cost_low <= basis.cost.cost_per_part <= basis.cost.cost_high
    assert not basis.guaranteed
    assert "an estimate" in basis.statement


def test_a_dearer_escape_lowers_the_limit() -> None:
    good, defects = _scores(200), [score + 2.5 for score in _scores(60, 1)]
    limits = [cost_limit(good, defects, Costs(1, cost, 0.05), 0.95)[0] for cost in (1, 20, 400)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > limits[-1]


def test_the_same_seed_gives_the_same_interval() -> None:
    good, defects = _scores(50), [score + 3 for score in _scores(20, 1)]
    first, second = (cost_limit(good, defects, Costs(1, 10, 0.02), 0.95, seed=5) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("good", "defects", "says"),
    [
        pytest.param(2, 10, "too few to weigh costs", id="two good parts"),
        pytest.param(10, 4, "too few to weigh costs", id="four defects"),
    ],
)
def test_costs_need_parts(good: int, defects: int, says: str) -> None:
    with pytest.raises(DataError, match=says):
        cost_limit(_scores(good), _scores(defects), Costs(1, 1, 0.1), 0.95)


@pytest.mark.parametrize(
    "amounts",
    [(0, 1, 0.1), (1, -2, 0.1), (1, math.nan, 0.1), (1, 1, 0.0), (1, 1, 1.0), (math.inf, 1, 0.5)],
    ids=["free rejects", "negative", "no number", "no defects", "only defects", "infinite"],
)
def test_costs_that_cannot_be_weighed_are_refused(amounts: tuple[float, float, float]) -> None:
    with pytest.raises(DataError, match="no least cost"):
        Costs(*amounts)


def test_the_share_above_is_counted_and_falls_on_beyond_the_highest() -> None:
    values = np.sort(np.random.default_rng(0).exponential(size=2000))
    np.testing.assert_allclose(share_above(values, np.array([0.5, 2.0, 7.0])), np.exp([-0.5, -2.0, -7.0]), rtol=0.5)


def _split(rows: list[tuple[str, str, int]]) -> tuple[Split, Dataset]:
    entries = tuple(SplitEntry(path, label, group, Role.TEST) for path, label, group in rows)
    samples = tuple(Sample(path, label, lot="L1" if label == "good" else "") for path, label, _ in rows)
    return Split(None, 0, "", entries), Dataset(None, "test", samples)  # type: ignore[arg-type]  # nothing is read


def test_a_part_counts_by_the_image_that_is_worst_for_it() -> None:
    rows = [("a", "good", 1), ("b", "good", 1), ("c", "cut", 2), ("d", "cut", 2), ("e", "good", 2)]
    split, dataset = _split(rows + [(f"good {part}", "good", part) for part in (3, 4, 5)])
    parts = worst_images(split, {0: 1.0, 1: 2.0, 2: 9.0, 3: 5.0, 4: 99.0}, dataset)
    assert [(part.path, part.score) for part in parts] == [("d", 5.0), ("b", 2.0)]
    assert lots_of(parts[1:]) == ("L1",)
    assert lots_of(parts) == ("", "L1")  # one without a lot does not make the others unknown


def test_a_fit_by_cost_keeps_defects_to_choose_by_and_others_to_test(tmp_path: Path) -> None:
    data = open_dataset(str(write_parts(tmp_path, good=12, defects={"blot": 8, "cut": 4})))
    settings = FitSettings(bank_size=60, candidates=600)
    outcome = fit(data, FitPlan(width_px=64, height_px=64, settings=settings, costs=Costs(1, 30, 0.02)))
    defects = {role: {e.path for e in outcome.split.of(role) if e.label != "good"} for role in Role}
    assert {role: len(paths) for role, paths in defects.items()} == {Role.FIT: 0, Role.CALIBRATION: 6, Role.TEST: 6}
    basis = outcome.fitted.basis
    assert basis.cost is not None
    assert basis.cost.defective_parts == 6
    assert basis.escapes is not None
    assert basis.escapes.parts == 6  # those that did not choose it
    assert basis.method.startswith("least expected cost")
    save_fitted(outcome.fitted, tmp_path / "kept")
    assert load_fitted(tmp_path / "kept").basis == basis


def test_one_part_without_a_lot_makes_no_promise_of_an_estimate() -> None:
    """Lots that differ are not forgotten because one is not known."""
    random = np.random.default_rng(0)
    parts = [PartScore(n, f"{n}.png", "good", float(random.normal(3 * (n % 2), 1)), "ab"[n % 2]) for n in range(600)]
    parts[0] = replace(parts[0], lot="")
    lots = lots_of(parts)
    _, basis = good_limit([part.score for part in parts], lots=lots)
    assert len(lots) == len(parts)
    assert not basis.guaranteed
