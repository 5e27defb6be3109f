"""What does not count counts nowhere: not in the score that sets a limit, not in a verdict on a picture of known truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from training_kinds import SMALL
from training_line import Line
from training_pictures import Pictures, part, save

from inspector.part import Verdict
from training.calibration.recalibrate import recalibrate
from training.data.dont_care import fillings, lowest
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.samples import Dataset
from training.data.splits import Role, SplitEntry
from training.data.training_set import LabelledImages
from training.evaluate import evaluate
from training.fit import fit
from training.models.registry import model_kind
from training.models.scoring import score_images
from training.report.masks import MaskWatch
from training.ways import good_golden

AREA = (slice(18, 44), slice(30, 58))
"""An area to ignore, and where stains lie in it."""


def stained(seed: int) -> NDArray[np.uint8]:
    pixels = part(seed)
    pixels[22:40, 34:54] = 15
    return pixels


def area() -> NDArray[np.bool_]:
    ignored = np.zeros((64, 64), np.bool_)
    ignored[AREA] = True
    return ignored


# ------------------------------------------------------------------------------------------------------------- fillings


@given(seed=st.integers(0, 2**31), colour=st.booleans(), examples=st.integers(0, 3))
def test_no_pixel_that_counts_is_changed(seed: int, colour: bool, examples: int) -> None:
    random = np.random.default_rng(seed)
    shape = (24, 30, 3 if colour else 1)
    pixels = random.integers(0, 256, shape, dtype=np.uint8)
    ignored = random.random(shape[:2]) < random.choice([0.01, 0.5, 0.99])
    ignored[random.integers(24), random.integers(30)] = True
    before = pixels.copy()
    ways = fillings(pixels, ignored, [random.integers(0, 256, shape, dtype=np.uint8) for _ in range(examples)])
    assert len(ways) == examples + (not ignored.all())
    np.testing.assert_array_equal(pixels, before)
    for way in ways:
        assert way.dtype == np.uint8
        np.testing.assert_array_equal(way[~ignored], pixels[~ignored])


def test_a_filling_is_of_the_example_in_the_pictures_own_light() -> None:
    dark, light = part(1)[..., None], np.clip(part(1).astype(int) + 40, 0, 255).astype(np.uint8)[..., None]
    spoilt = light.copy()
    spoilt[AREA] = 0
    from_example, even = fillings(spoilt, area(), [dark])
    assert np.abs(from_example[AREA].astype(int) - light[AREA]).mean() < 6
    assert abs(float(even[AREA].mean()) - float(light.mean())) < 25


def test_a_picture_of_which_nothing_counts_is_an_example() -> None:
    example = part(2)[..., None]
    (way,) = fillings(part(1)[..., None], np.ones((64, 64), np.bool_), [example])
    np.testing.assert_array_equal(way, example)


@pytest.mark.parametrize(
    ("scores", "counts", "places"),
    [
        pytest.param([1.0, 2.0], [1, 1], [0, 1], id="one way each"),
        pytest.param([3.0, 1.0, 2.0, 5.0], [3, 1], [1, 3], id="the lowest of each"),
        pytest.param([1.0, float("nan")], [2], [1], id="what is no number is not passed over"),
        pytest.param([], [], [], id="none"),
    ],
)
def test_the_lowest_of_each(scores: list[float], counts: list[int], places: list[int]) -> None:
    assert lowest(np.array(scores, np.float32), counts) == places


# ------------------------------------------------------------------------------------------------------------- per kind


def taught(*, region: NDArray[np.bool_] | None = None) -> Pictures:
    drawn = [part(seed) for seed in range(10)] + [part(1000 + seed, defect=True) for seed in range(6)]
    masks = [np.zeros((64, 64), np.uint8)] * 10 + [
        np.where(pixels == 15, 255, 0).astype(np.uint8) for pixels in drawn[10:]
    ]
    data = Pictures(np.stack(drawn)[..., None], ["good"] * 10 + ["blot"] * 6, np.stack(masks))
    object.__setattr__(data, "region_of_interest", region)
    return data


@pytest.mark.parametrize("kind", list(SMALL))
def test_neither_an_ignored_stain_nor_what_lies_outside_the_region_counts(tmp_path: Path, kind: str) -> None:
    region = np.ones((64, 64), np.bool_)
    region[:, :16] = False
    network = model_kind(kind).begin(taught(region=region), SMALL[kind], lambda *told: None).fit(range(16))
    random = np.random.default_rng(0)
    outside = part(5000)
    outside[:, :16] = random.integers(0, 256, (64, 16))
    dataset = write(tmp_path, good=4, ignored=1, defects=0)
    entries = tuple(SplitEntry(sample.path, sample.label, i, Role.TEST) for i, sample in enumerate(dataset.samples))
    partly = LabelledImages(dataset, entries, Preparation(64, 64, 1), region, tuple(e.path for e in entries[1:]))
    filled = score_images(network, partly, [0], lambda done: None)
    shown = np.stack([part(5000), stained(5000), outside])[..., None]
    whole = score_images(network, Pictures(shown), range(3), lambda done: None)
    assert whole.scores[2] == pytest.approx(whole.scores[0], abs=1e-4)
    np.testing.assert_allclose(whole.maps[2], whole.maps[0], atol=1e-3)
    raised = whole.scores[1] - whole.scores[0]
    assert raised > 0.5
    # Filled, the stained picture is worth about as much as the one without a stain, and its map is no higher either.
    assert filled.scores[0] - whole.scores[0] < 0.4 * raised
    assert filled.maps[0].max() < whole.maps[1].max()


# ------------------------------------------------------------------------------- fit, evaluation, recalibration


def write(root: Path, *, good: int, ignored: int, defects: int, hidden: int = 0) -> Dataset:
    """Good parts, `ignored` of which have a stain that does not count; defective ones, `hidden` of them only there."""
    rows = ["image,label,mask,ignore"]
    save(root / "areas" / "area.png", area().astype(np.uint8) * np.uint8(255))
    for index in range(good):
        is_stained = index < ignored
        save(root / f"good-{index:02d}.png", stained(5000 + index) if is_stained else part(5000 + index))
        rows.append(f"good-{index:02d}.png,good,,{'areas/area.png' if is_stained else ''}")
    for index in range(defects):
        is_hidden = index < hidden
        pixels = stained(6000 + index) if is_hidden else part(6000 + index, defect=True)
        save(root / f"blot-{index:02d}.png", pixels)
        save(root / "areas" / f"mask-{index}.png", np.where(pixels == 15, 255, 0).astype(np.uint8))
        rows.append(f"blot-{index:02d}.png,blot,areas/mask-{index}.png,{'areas/area.png' if is_hidden else ''}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return open_dataset(str(root / "labels.csv"))


def test_a_good_part_with_an_ignored_stain_does_not_set_the_limit(tmp_path: Path, fitted_line: Line) -> None:
    outcome = fit(write(tmp_path, good=24, ignored=5, defects=4), fitted_line.plan)
    assert outcome.test.auroc == 1.0
    assert outcome.fitted.limits.score < 1.3 * fitted_line.outcome.fitted.limits.score
    assert outcome.test.false_rejects.count == 0
    stains = {(tmp_path / f"good-{index:02d}.png").read_bytes() for index in range(5)}
    assert not stains & {frame.data for frame in outcome.fitted.golden}


def test_what_lies_in_ignored_areas_is_no_false_reject_and_no_escape(tmp_path: Path, fitted_line: Line) -> None:
    dataset = write(tmp_path, good=6, ignored=3, defects=4, hidden=2)
    watch = MaskWatch(dataset)
    judged = {image.path: image for image in evaluate(fitted_line.bundle, dataset, watch=watch).judged}
    for index in range(3):
        assert judged[f"good-{index:02d}.png"].verdict is Verdict.PASS
    for index in range(2):  # nothing that counts is marked on them
        assert judged[f"blot-{index:02d}.png"].verdict is Verdict.UNKNOWN
        assert "areas to ignore" in judged[f"blot-{index:02d}.png"].reason
    assert judged["blot-02.png"].verdict is Verdict.REJECT
    assert set(watch.sizes) == {"blot-02.png", "blot-03.png"}
    plain = replace(dataset, samples=tuple(replace(sample, ignore="") for sample in dataset.samples))
    whole = {image.path: image for image in evaluate(fitted_line.bundle, plain).judged}
    assert whole["good-00.png"].verdict is Verdict.REJECT  # it is the area that makes the difference


def test_what_fills_an_area_is_of_good_golden_images_whatever_their_verdict(fitted_line: Line) -> None:
    bundle = fitted_line.bundle
    turned = tuple(
        replace(image, verdict=Verdict.PASS if image.verdict is Verdict.REJECT else Verdict.REJECT)
        for image in bundle.manifest.golden
    )
    of_good = [image.file for image in bundle.manifest.golden if image.verdict is Verdict.PASS]
    for golden in (bundle.manifest.golden, turned):
        assert [image.file for image in good_golden(golden)] == of_good


def test_nor_does_it_set_a_new_limit(tmp_path: Path, fitted_line: Line) -> None:
    dataset = write(tmp_path / "data", good=8, ignored=3, defects=2, hidden=1)
    promise = {"false_reject_rate": 0.1, "confidence": 0.9}
    old = fitted_line.bundle.manifest.limits.score
    result = recalibrate(fitted_line.bundle, dataset, tmp_path / "new", "new", accept="test", **promise)  # type: ignore[arg-type]
    assert result.bundle.manifest.limits.score < 1.3 * old
    assert result.basis.escapes is not None
    assert result.basis.escapes.parts == 1


def test_parts_enough_to_prove_a_limit_do_not_if_some_have_ignored_areas(tmp_path: Path, fitted_line: Line) -> None:
    """The line judges those areas too; neither the words nor the table of promises may claim more."""
    dataset = write(tmp_path / "data", good=24, ignored=1, defects=1)
    promise = {"false_reject_rate": 0.1, "confidence": 0.9}
    result = recalibrate(fitted_line.bundle, dataset, tmp_path / "new", "new", accept="test", **promise)  # type: ignore[arg-type]
    assert not result.basis.guaranteed
    assert result.basis.statement.startswith("An estimate, not a promise")
    assert "1 of 24 pictures" in result.basis.assumes
    assert not any(option.guaranteed for option in result.outlook.options)


def test_an_area_that_does_not_fit_its_picture_is_not_believed(tmp_path: Path, fitted_line: Line) -> None:
    dataset = write(tmp_path, good=2, ignored=1, defects=1)
    save(tmp_path / "areas" / "area.png", np.full((10, 10), 255, np.uint8))
    judged = {image.path: image for image in evaluate(fitted_line.bundle, dataset).judged}
    assert judged["good-00.png"].verdict is Verdict.REJECT
