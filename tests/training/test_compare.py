"""Two bundles on the same parts: what counts as better, and what as chance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from training_line import Line

from inspector.inference.bundle import MODEL_FILE, Bundle, write_bundle
from inspector.part import Limits, Verdict
from inspector.quality.comparing import differing, paired, parts_of
from inspector.records.comparisons import Comparisons
from inspector.records.store import Store
from training.evaluate import Judged
from training.report.comparison import Comparison, Paired, areas, compare, find_flips, overall
from training.report.comparison import paired as paired_images
from training.report.page import comparison_page, write_json
from training.report.record import record_of


def _judged(scores: Sequence[float], label: str, first_part: int = 0, images: int = 1) -> list[Judged]:
    return [
        Judged(f"{label}{n}", label, Verdict.PASS if s <= 1 else Verdict.REJECT, s, "", first_part + n // images)
        for n, s in enumerate(scores)
    ]


def _escapes(first: Sequence[Judged], second: Sequence[Judged]) -> Paired:
    return paired_images(first, second, "escapes", lambda image: image.is_escape, draws=200)


TABLES = [
    pytest.param(10, 0, 1, "B is better", id="ten defects that only B finds"),
    pytest.param(0, 10, -1, "B is worse", id="and the other way round"),
    pytest.param(5, 0, 0, "no difference can be shown", id="five to none is p = 0.0625"),
    pytest.param(6, 0, 1, "B is better", id="six to none is p = 0.031"),
    pytest.param(8, 7, 0, "no difference can be shown", id="many flips, no direction"),
    pytest.param(0, 0, 0, "no difference can be shown", id="alike"),
]


@pytest.mark.parametrize(("only_first", "only_second", "outcome", "says"), TABLES)
def test_better_is_what_chance_does_not_explain(only_first: int, only_second: int, outcome: int, says: str) -> None:
    both = 20 - only_first - only_second
    first = _judged([0.5] * only_first + [2.0] * only_second + [2.0] * both, "cut")
    second = _judged([2.0] * only_first + [0.5] * only_second + [2.0] * both, "cut")
    result = _escapes(first, second)
    assert (result.only_first, result.only_second, result.outcome) == (only_first, only_second, outcome)
    assert says in result.statement
    if only_first + only_second == 0:
        assert result.interval is None
        return
    assert result.interval is not None
    assert result.interval[0] <= (only_second - only_first) / 20 <= result.interval[1]


def test_images_of_one_part_flip_once() -> None:
    """Ten images of one part are one flip, which proves nothing; of ten parts they would."""
    one = _escapes(_judged([0.5] * 10, "cut", images=10), _judged([2.0] * 10, "cut", images=10))
    ten = _escapes(_judged([0.5] * 10, "cut"), _judged([2.0] * 10, "cut"))
    assert (one.only_first, one.outcome) == (1, 0)
    assert (ten.only_first, ten.outcome) == (10, 1)


def test_without_such_parts_nothing_is_claimed() -> None:
    good = _judged([0.5] * 4, "good")
    result = _escapes(good, good)
    assert (result.outcome, result.interval) == (0, None)
    assert "no parts to tell by" in result.statement
    assert "needs good and defective" in areas(good, good).statement


def _outcome(name: str, outcome: int) -> Paired:
    return replace(paired_images([], [], name, lambda image: True), outcome=outcome)


OVERALL = [
    pytest.param(0, 0, "No difference", id="neither"),
    pytest.param(1, 0, "B is better: fewer escapes; for false rejects no difference", id="escapes only"),
    pytest.param(0, -1, "B is worse: more false rejects", id="false rejects only"),
    pytest.param(1, 1, "B is better: fewer escapes and false rejects.", id="both"),
    pytest.param(1, -1, "B trades: fewer escapes, more false rejects", id="a trade"),
    pytest.param(-1, 1, "B trades: fewer false rejects, more escapes", id="the other trade"),
]


@pytest.mark.parametrize(("escapes", "false_rejects", "says"), OVERALL)
def test_one_sentence(escapes: int, false_rejects: int, says: str) -> None:
    assert overall(_outcome("escapes", escapes), _outcome("false rejects", false_rejects)).startswith(says)


def test_areas_are_compared_on_the_same_draws() -> None:
    """B orders every part as A does, a little better: alone each interval is wide, their difference is not."""
    good = [0.1 * n for n in range(30)]
    bad = [1.0 + 0.1 * n for n in range(30)]
    first = _judged(good, "good") + _judged(bad, "cut", 100)
    second = _judged(good, "good") + _judged([value + 0.55 for value in bad], "cut", 100)
    result = areas(first, second, draws=300)
    assert result.interval is not None
    assert result.interval[0] > 0
    assert "B is better" in result.statement
    assert areas(first, first, draws=50).interval == pytest.approx((0, 0))


def test_flips_say_who_is_right() -> None:
    first = [*_judged([0.5, 2.0, 2.0], "cut"), *_judged([2.0], "good", 9)]
    second = [*_judged([2.0, 0.5, 2.0], "cut"), *_judged([0.5], "good", 9)]
    assert [(f.first.path, f.better) for f in find_flips(first, second)] == [
        ("cut0", "B"),
        ("good0", "B"),
        ("cut1", "A"),
    ]
    unknown = [replace(first[0], verdict=Verdict.UNKNOWN, score=None)]
    assert [f.better for f in find_flips(first[:1], unknown)] == [""]


def _with_limit(line: Line, folder: Path, limit: float) -> Bundle:
    manifest = line.bundle.manifest
    golden = tuple(
        replace(image, verdict=Verdict.PASS if image.score <= limit else Verdict.REJECT) for image in manifest.golden
    )
    changed = replace(manifest, name="other", limits=Limits(limit, min(limit, manifest.limits.region)), golden=golden)
    files = {image.file: line.bundle.read(image.file) for image in golden}
    other = {manifest.image_list: line.bundle.read(manifest.image_list)}
    return write_bundle(folder, changed, line.bundle.read(MODEL_FILE), files, other=other)


def test_a_bundle_that_lets_everything_pass_is_worse_and_the_page_shows_which(
    fitted_line: Line, tmp_path: Path
) -> None:
    lax = _with_limit(fitted_line, tmp_path / "lax", 1e6)
    result = compare(fitted_line.bundle, lax, fitted_line.dataset, fitted_line.outcome.split, threads=1, draws=50)
    assert result.escapes.outcome == -1
    assert result.statement.startswith("B is worse: more escapes")
    assert {flip.better for flip in result.flips if not flip.first.is_good} == {"A"}
    assert len(result.pictures["Defects that A catches and B passes"]) == 6
    page = comparison_page(result)
    assert "data:image/jpeg" in page
    assert "odd [red]name" in page
    write_json(tmp_path / "c.json", result.to_json())
    read = json.loads((tmp_path / "c.json").read_text())
    assert read["escapes"]["only_second"] == len([flip for flip in result.flips if not flip.first.is_good])
    _is_on_record_as_it_is(result, tmp_path)


def _is_on_record_as_it_is(result: Comparison, tmp_path: Path) -> None:
    """With both scores of every image, and counts that are those of the report."""
    store = Store(f"sqlite:///{tmp_path / 'quality.db'}")
    store.upgrade()
    comparisons = Comparisons(store.database, "l1")
    kept = comparisons.get(comparisons.add(record_of(result, "parts"), "anna", result.created_time))
    store.close()
    assert kept.limits == (result.first.manifest.limits.score, 1e6)
    parts = parts_of((one.part, one.label, one.lot, one.first, one.second) for one in kept.images)
    escapes, false_rejects = paired(parts, kept.limits)
    for ours, theirs in ((escapes, result.escapes), (false_rejects, result.false_rejects)):
        assert (ours.first.count, ours.second.count, ours.p) == (theirs.first.count, theirs.second.count, theirs.p)
    assert {part for part, _ in differing(parts, kept.limits)} == {
        part for part in parts if part.number in {flip.first.part for flip in result.flips}
    }
    assert len(kept.pictures) == sum(len(some) for some in result.pictures.values())
    assert not any(image.known for image in kept.images), "the split's test images are new to both"


def test_a_bundle_against_itself_shows_no_difference(fitted_line: Line) -> None:
    bundle = fitted_line.bundle
    result = compare(bundle, bundle, fitted_line.dataset, fitted_line.outcome.split, threads=1, draws=20)
    assert result.flips == ()
    assert result.statement.startswith("No difference")
    assert "Both judge every image alike" in comparison_page(result)
