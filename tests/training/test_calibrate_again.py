"""A bundle gets another limit from parts that it was not fitted on, with the same grounds and no verdict lost unseen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from training_line import Line
from training_pictures import exposure, part, save

from inspector.errors import DataError, GoldenMismatch
from inspector.inference.bundle import Bundle, open_bundle
from inspector.part import Verdict
from training.calibration.recalibrate import Recalibration, recalibrate
from training.data.layouts import open_dataset
from training.data.samples import Dataset
from training.extend import extend, leave_out


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """45 good parts that the line collected, one of them twice, and three with defects."""
    root = tmp_path_factory.mktemp("collected")
    for index in range(45):
        save(root / "good" / f"{index:03d}.png", part(3000 + index))
    save(root / "good" / "000-again.png", exposure(part(3000), 0.95, 0))
    for index in range(3):
        save(root / "blot" / f"{index}.png", part(4000 + index, defect=True))
    return open_dataset(str(root))


def _recalibrate(bundle: Bundle, data: Dataset, out: Path, rate: float = 0.1, accept: str = "") -> Recalibration:
    return recalibrate(
        bundle, data, out, "again", false_reject_rate=rate, confidence=0.95, accept=accept, reason="lot 7"
    )


def test_the_limit_is_proven_by_the_parts_collected(fitted_line: Line, collected: Dataset, tmp_path: Path) -> None:
    bundle = fitted_line.bundle
    result = _recalibrate(bundle, collected, tmp_path / "b")
    manifest = open_bundle(tmp_path / "b").manifest
    assert manifest.basis == result.basis
    assert manifest.basis.guaranteed
    assert manifest.basis.good_parts == 45  # two pictures of one part count once
    assert manifest.basis.escapes is not None
    assert manifest.basis.escapes.parts == 3
    assert "fitted on none of these pictures" in manifest.basis.assumes
    (change,) = manifest.history
    assert (change.what, change.parent, change.reason) == ("recalibrated", bundle.digest, "lot 7")
    assert change.details["old_limit"] == bundle.manifest.limits.score
    assert change.details["new_limit"] == manifest.limits.score != bundle.manifest.limits.score
    assert [option.false_reject_rate for option in result.outlook.options] == [0.01, 0.02, 0.05, 0.1]
    assert not result.flipped


def test_the_images_it_was_fitted_on_set_no_limit(fitted_line: Line, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was fitted on these very images"):
        _recalibrate(fitted_line.bundle, fitted_line.dataset, tmp_path / "b")


def _bright(root: Path) -> Dataset:
    """Good parts that look like defects to the model: their limit lets golden defects pass."""
    for index in range(30):
        pixels = part(5000 + index).copy()
        y, x = np.random.default_rng(index).integers(4, 30, 2)
        pixels[y : y + 28, x : x + 28] = 10
        save(root / "good" / f"{index}.png", pixels)
    return open_dataset(str(root))


def test_golden_images_that_would_flip_stop_it_unless_accepted(fitted_line: Line, tmp_path: Path) -> None:
    data = _bright(tmp_path / "bright")
    with pytest.raises(DataError, match=r"golden/defective-\d.png \(REJECT so far, PASS with .*--accept"):
        _recalibrate(fitted_line.bundle, data, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    result = _recalibrate(fitted_line.bundle, data, tmp_path / "b", accept="dark marks are allowed now")
    assert result.flipped
    manifest = result.bundle.manifest
    assert manifest.history[0].details["accepted_because"] == "dark marks are allowed now"
    verdicts = {image.file: image.verdict for image in manifest.golden}
    assert all(verdicts[flip.file] is Verdict.PASS for flip in result.flipped)


def test_a_machine_that_scores_otherwise_sets_no_limit(fitted_line: Line, collected: Dataset, tmp_path: Path) -> None:
    manifest = fitted_line.bundle.manifest
    shifted = tuple(replace(image, score=image.score * 1.5) for image in manifest.golden)
    other = replace(fitted_line.bundle, manifest=replace(manifest, golden=shifted))
    with pytest.raises(GoldenMismatch):
        _recalibrate(other, collected, tmp_path / "b")


def test_what_was_in_the_memory_when_the_limit_was_set_stays_there(
    fitted_line: Line, collected: Dataset, tmp_path: Path
) -> None:
    stamped = part(700).copy()
    cv2.circle(stamped, (32, 32), 9, 250, 2)
    extended = extend(fitted_line.bundle, [save(tmp_path / "a.png", stamped)], tmp_path / "1", "b1").bundle
    again = _recalibrate(extended, collected, tmp_path / "2").bundle
    assert "Since the limit was set" not in again.manifest.basis.statement
    with pytest.raises(DataError, match="was set with addition 1 in the memory"):
        leave_out(again, 1, tmp_path / "3", "b3")
