"""The limit is of the fit's scores, and the exported graph is held against it: what is promised is proved of both, or said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_line import Line
from training_pictures import Pictures, part

from inspector.errors import BundleError
from inspector.inference.bundle import Bundle
from inspector.inference.manifest import LimitBasis
from inspector.part import Limits
from training.calibration.limits import part_count
from training.checkpoint import load_fitted, save_fitted
from training.data.training_set import LabelledImages
from training.export import export_bundle
from training.exporting.kept import KeptImages, keep_images
from training.fit import Fitted

pytestmark = pytest.mark.usefixtures("exported")


def promised(line: Line, changed: dict[int, float], limit: float = 0.0) -> Fitted:
    """The line's fit as one that promises; scores of kept images are as `changed` says, in units of what they were."""
    fitted = line.outcome.fitted
    scores = fitted.kept.scores.copy()
    for image, factor in changed.items():
        scores[image] *= factor
    basis = replace(
        fitted.basis, guaranteed=True, tested=part_count(0, 10, 0.95), escapes=part_count(0, 8, 0.95), statement="Said."
    )
    limits = Limits(limit, limit) if limit else fitted.limits
    return replace(fitted, basis=basis, kept=replace(fitted.kept, scores=scores), limits=limits)


def basis_of(fitted: Fitted, path: Path) -> LimitBasis:
    bundle: Bundle = export_bundle(fitted, path, "b")[0]
    return bundle.manifest.basis


def middle(line: Line) -> int:
    """The kept image of the median score, of which a thousandth is the tolerance."""
    scores = line.outcome.fitted.kept.scores
    return int(np.argsort(scores)[len(scores) // 2])


def test_a_fit_keeps_the_scores_that_it_gave_and_the_graph_gives_them_too(fitted_line: Line, tmp_path: Path) -> None:
    kept = fitted_line.outcome.fitted.kept
    assert np.isfinite(kept.scores).all()
    assert kept.scores.shape == (len(kept.judged),)
    save_fitted(fitted_line.outcome.fitted, tmp_path / "fitted")
    np.testing.assert_array_equal(load_fitted(tmp_path / "fitted").kept.scores, kept.scores)
    basis = basis_of(promised(fitted_line, {}), tmp_path / "b")
    assert basis.guaranteed
    assert basis.statement == "Said."


@pytest.mark.parametrize(
    ("fits_score", "limit", "guaranteed", "told", "tested", "escapes"),
    [
        pytest.param(1 - 5e-5, 1 - 2e-5, True, "", True, True, id="the limit lies within the rounding"),
        pytest.param(
            1 - 5e-4,
            1 - 2e-4,
            False,
            "another verdict .*: 1 more rejected, 0 more passed",
            False,
            True,
            id="rejected now",
        ),
        pytest.param(
            1 + 5e-4,
            1 + 2e-4,
            False,
            "another verdict .*: 0 more rejected, 1 more passed",
            True,
            False,
            id="passed now",
        ),
        pytest.param(1 - 5e-4, 1.5, True, "", True, True, id="far from the limit a difference changes no verdict"),
    ],
)
def test_a_verdict_that_the_graph_gives_otherwise_takes_the_promise_away(
    fitted_line: Line,
    tmp_path: Path,
    fits_score: float,
    limit: float,
    guaranteed: bool,
    told: str,
    tested: bool,
    escapes: bool,
) -> None:
    image = middle(fitted_line)
    score = float(fitted_line.outcome.fitted.kept.scores[image])
    basis = basis_of(promised(fitted_line, {image: fits_score}, limit * score), tmp_path / "b")
    assert basis.guaranteed is guaranteed
    assert (basis.tested is not None, basis.escapes is not None) == (tested, escapes)
    assert np.all([words in basis.statement for words in told.split(" .*: ")])


@pytest.mark.parametrize(("factor", "refused"), [(1.02, False), (1.04, True)], ids=["a grey level", "more than that"])
def test_a_network_of_integers_may_differ_as_much_as_a_line_allows(
    fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float, refused: bool
) -> None:
    """The exact score of one picture of hundreds falls to the next grey level elsewhere; no bundle was written then."""
    monkeypatch.setattr(type(fitted_line.outcome.fitted.network), "integers", True)
    fitted = promised(fitted_line, {middle(fitted_line): factor})
    if refused:
        with pytest.raises(BundleError, match=r"differ by up to 0\.04 of the median score, allowed is 0\.03"):
            export_bundle(fitted, tmp_path / "b", "b")
    else:
        assert basis_of(fitted, tmp_path / "b").guaranteed


def test_a_network_of_integers_may_not_differ_in_all_pictures(
    fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by as much as one may: that is no grey level, but another graph."""
    monkeypatch.setattr(type(fitted_line.outcome.fitted.network), "integers", True)
    scores = fitted_line.outcome.fitted.kept.scores
    shift = 0.02 * float(np.median(scores))
    fitted = promised(fitted_line, {image: 1 + shift / float(score) for image, score in enumerate(scores)})
    with pytest.raises(BundleError, match=r"by 0\.0(2|19\d|20\d) rms, allowed is 0\.01\. Nothing was written"):
        export_bundle(fitted, tmp_path / "b", "b")


def test_scores_beyond_what_rounding_and_integers_do_are_refused(fitted_line: Line, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"than the fit did: .* Nothing was written; .*--device cpu"):
        export_bundle(promised(fitted_line, {middle(fitted_line): 1.01}), tmp_path / "b", "b")
    assert list(tmp_path.iterdir()) == []


class _DontCare(Pictures):
    def ignored(self, image: int) -> np.ndarray | None:
        return np.ones((64, 64), np.bool_) if image == 7 else None


def kept_of(pictures: LabelledImages, scores: dict[int, float], *, cross_fitted: bool) -> KeptImages:
    return keep_images(pictures, [6, 7], [3, 4, 5], [0, 1, 2], scores, cross_fitted=cross_fitted)


def test_scores_of_other_networks_or_other_looks_are_not_kept() -> None:
    pictures = _DontCare(np.stack([part(seed)[..., None] for seed in range(8)]))
    held_out = kept_of(pictures, {3: 1.0, 4: 2.0, 5: 3.0, 6: 4.0, 7: 5.0}, cross_fitted=False)
    np.testing.assert_array_equal(held_out.scores, np.array([4, np.nan, 1, 2, 3], np.float32))
    np.testing.assert_array_equal(
        kept_of(pictures, {6: 4.0}, cross_fitted=True).scores, np.array([4, np.nan], np.float32)
    )
