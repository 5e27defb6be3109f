"""From folder to bundle: what is promised, recorded, repeated and refused; and that the export judges like the fit."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from requires import require_data
from training_line import Line
from training_pictures import part, png_header_of, save, write_parts

from inspector.errors import BundleError, DataError, InspectorError
from inspector.imaging.locate import FixedRegion
from inspector.inference.bundle import MODEL_FILE, open_bundle
from inspector.inference.engine import Engine, Model, self_test
from inspector.part import Box, Limits, Scores, Verdict
from training.calibration.costs import Costs
from training.checkpoint import load_fitted, save_fitted
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.splits import Role, SplitShares
from training.evaluate import Evaluation, Judged, evaluate
from training.export import check_parity, export_bundle, golden_input, to_onnx
from training.fit import FitPlan, GoldenFrame, fit
from training.models.memory_bank.fitting import FitSettings

SMALL = FitSettings(bank_size=60, candidates=600)
PLAN = FitPlan(width_px=64, height_px=64, settings=SMALL)


def test_the_bundle_says_what_it_is(fitted_line: Line) -> None:
    manifest = fitted_line.bundle.manifest
    assert (manifest.name, manifest.model_kind, manifest.classes) == ("blots-1", "memory-bank", ("anomaly",))
    assert (manifest.input.width_px, manifest.input.height_px, manifest.input.channels) == (64, 64, 1)
    assert manifest.dataset_digest == fitted_line.outcome.survey.digest
    assert manifest.basis == fitted_line.outcome.fitted.basis
    assert manifest.provenance["images"] == fitted_line.outcome.split.counts()
    assert {image.verdict for image in manifest.golden} == {Verdict.PASS, Verdict.REJECT}
    assert "Clopper" in manifest.metrics["test"]["interval"]  # type: ignore[index, call-overload, operator]


def test_defects_of_the_test_set_are_found(fitted_line: Line) -> None:
    test = fitted_line.outcome.test
    assert test.auroc == 1.0
    assert test.escapes.count == 0
    assert set(test.escapes_by_class) == {"blot", "odd [red]name"}


def test_the_bundle_passes_its_self_test(fitted_line: Line) -> None:
    bundle = open_bundle(fitted_line.bundle.path)
    preparation = fitted_line.outcome.fitted.preparation

    def prepare(data: bytes) -> np.ndarray:
        return golden_input(GoldenFrame("x", "image/png", data), preparation)

    assert self_test(Engine(bundle, threads=1), prepare).passed


def test_torch_and_the_bundle_agree_on_images_that_neither_fit_nor_export_saw(fitted_line: Line) -> None:
    images = np.stack([part(seed, defect=seed % 2 == 0)[..., None] for seed in range(900, 912)])
    with torch.no_grad():
        expected, maps = fitted_line.outcome.fitted.network(torch.from_numpy(images))
    engine = Engine(fitted_line.bundle, threads=1)
    for results in (engine.infer(images), [engine.infer(image[None])[0] for image in images]):
        np.testing.assert_allclose([scores.score for scores in results], expected.numpy(), rtol=1e-4)
        np.testing.assert_allclose(
            np.stack([scores.anomaly_map for scores in results]), maps.numpy(), rtol=1e-3, atol=1e-2
        )
    assert fitted_line.parity.images > 8
    assert fitted_line.parity.score < 1e-4


def test_a_graph_that_judges_otherwise_does_not_become_a_bundle(fitted_line: Line, tmp_path: Path) -> None:
    fitted = fitted_line.outcome.fitted
    model = Model(fitted_line.bundle.read(MODEL_FILE), fitted_line.bundle.manifest.input, ("anomaly",))
    other = load_of(fitted_line, tmp_path)
    other.network.bank.mul_(1.3)
    with pytest.raises(BundleError, match="does not judge like the fitted model"):
        check_parity(other, model, fitted.kept.judged)
    other.network.bank.fill_(torch.nan)
    with pytest.raises(BundleError, match="does not judge like the fitted model"):
        check_parity(other, model, fitted.kept.judged)


class Moved(Model):
    """A graph whose scores and maps are off, by shares of the median score."""

    score, anomaly_map, median = 0.0, 0.0, 1.0

    def infer(self, batch: np.ndarray) -> list[Scores]:
        found = super().infer(batch)
        for each in found:
            assert each.anomaly_map is not None
        return [
            replace(
                each,
                score=each.score + self.score * self.median,
                anomaly_map=each.anomaly_map + np.float32(self.anomaly_map * self.median),
            )
            for each in found
        ]


@pytest.mark.parametrize(
    ("integers", "score", "anomaly_map", "holds"),
    [
        pytest.param(False, 0.0, 0.0, True, id="nothing"),
        pytest.param(False, 0.0, 0.05, False, id="floats: a map"),
        pytest.param(True, 0.0, 0.05, True, id="integers: a grey level falls to the other side"),
        pytest.param(True, 0.0, 0.3, False, id="integers: another map"),
        pytest.param(True, 0.03, 0.0, False, id="integers: a score"),
    ],
)
def test_a_map_of_integers_may_move_and_a_score_may_not(
    fitted_line: Line, monkeypatch: pytest.MonkeyPatch, integers: bool, score: float, anomaly_map: float, holds: bool
) -> None:
    fitted, bundle = fitted_line.outcome.fitted, fitted_line.bundle
    monkeypatch.setattr(type(fitted.network), "integers", integers)
    images = fitted.kept.judged[:3]
    model = Moved(bundle.read(MODEL_FILE), bundle.manifest.input, ("anomaly",))
    model.median = float(np.median([scores.score for scores in model.infer(images)]))
    model.score, model.anomaly_map = score, anomaly_map
    with nullcontext() if holds else pytest.raises(BundleError, match="Nothing was written"):
        check_parity(fitted, model, images)


def load_of(line: Line, folder: Path):  # type: ignore[no-untyped-def]
    save_fitted(line.outcome.fitted, folder / "fitted")
    return load_fitted(folder / "fitted")


def test_the_export_names_no_machine_and_has_a_free_batch(fitted_line: Line) -> None:
    graph = fitted_line.bundle.read(MODEL_FILE)
    assert b"/site-packages/" not in graph
    assert b".py" not in graph
    proto = onnx.load_from_string(graph)
    (images,) = proto.graph.input
    assert [d.dim_value for d in images.type.tensor_type.shape.dim] == [0, 64, 64, 1]
    assert {output.name for output in proto.graph.output} == {"score", "anomaly_map"}


def test_exporting_again_gives_the_same_graph(fitted_line: Line) -> None:
    assert to_onnx(fitted_line.outcome.fitted.network, (64, 64, 1)) == fitted_line.bundle.read(MODEL_FILE)


def test_the_same_seed_gives_the_same_split_limit_and_scores(fitted_line: Line) -> None:
    again = fit(fitted_line.dataset, fitted_line.plan)
    assert again.split == fitted_line.outcome.split
    assert again.fitted.limits == fitted_line.outcome.fitted.limits
    assert torch.equal(again.fitted.network.bank, fitted_line.outcome.fitted.network.bank)
    assert again.fitted.golden == fitted_line.outcome.fitted.golden


def test_the_good_parts_that_set_the_limit_are_named(fitted_line: Line) -> None:
    oddest = fitted_line.outcome.oddest
    scores = [score for _, score in oddest]
    assert scores == sorted(scores, reverse=True)
    assert len({path for path, _ in oddest}) == len(oddest) == 5
    assert scores[0] <= fitted_line.outcome.fitted.limits.score


def test_another_seed_gives_another_split(fitted_line: Line) -> None:
    other = fit(fitted_line.dataset, replace(fitted_line.plan, seed=4))
    assert other.split.entries != fitted_line.outcome.split.entries


@pytest.mark.usefixtures("exported")
def test_a_fitted_model_comes_back_from_disk_and_exports_the_same(fitted_line: Line, tmp_path: Path) -> None:
    loaded = load_of(fitted_line, tmp_path)
    bundle, _ = export_bundle(loaded, tmp_path / "bundle", "blots-1")
    ours, theirs = bundle.manifest, fitted_line.bundle.manifest
    assert replace(ours, created_time=theirs.created_time) == theirs
    assert {path.name for path in tmp_path.iterdir()} == {"fitted", "bundle"}


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        pytest.param("fitted.json", lambda data: data[: len(data) // 2], id="half a document"),
        pytest.param("fitted.json", lambda data: data.replace(b'"version": ', b'"version": 9'), id="another version"),
        pytest.param("fitted.json", lambda data: b"[]", id="another document"),
        pytest.param("network.safetensors", lambda data: data[:-10], id="cut tensors"),
        pytest.param("network.safetensors", lambda data: b"\xff" * 20, id="no tensors"),
    ],
)
def test_a_damaged_fitted_model_is_refused(fitted_line: Line, tmp_path: Path, file: str, damage) -> None:  # type: ignore[no-untyped-def]
    save_fitted(fitted_line.outcome.fitted, tmp_path / "fitted")
    path = tmp_path / "fitted" / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="damaged or of another version"):
        load_fitted(tmp_path / "fitted")


def test_a_fitted_model_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no fitted model"):
        load_fitted(tmp_path)


@pytest.mark.usefixtures("exported")
def test_nothing_is_overwritten(fitted_line: Line) -> None:
    fitted = fitted_line.outcome.fitted
    with pytest.raises(DataError, match="exists already"):
        save_fitted(fitted, fitted_line.bundle.path)
    with pytest.raises(BundleError, match="exists already"):
        export_bundle(fitted, fitted_line.bundle.path, "x")


@pytest.mark.usefixtures("exported")
def test_a_bundle_that_cannot_be_written_leaves_nothing(fitted_line: Line, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleError, match="cannot be written"):
        export_bundle(fitted_line.outcome.fitted, tmp_path / "file" / "bundle", "x")
    with pytest.raises(BundleError):
        export_bundle(replace(fitted_line.outcome.fitted, limits=Limits(float("nan"), 0.0)), tmp_path / "bundle", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_evaluation_judges_as_the_fit_did(fitted_line: Line) -> None:
    result = evaluate(fitted_line.bundle, fitted_line.dataset, fitted_line.outcome.split, threads=1)
    test = fitted_line.outcome.test
    assert (result.escapes, result.false_rejects, result.auroc) == (test.escapes, test.false_rejects, test.auroc)
    assert {i.path for i in result.judged} == {e.path for e in fitted_line.outcome.split.of(Role.TEST)}
    assert json.loads(json.dumps(result.to_json()))["classes"]["blot"] == {"REJECT": 5}


def test_evaluation_without_a_split_judges_everything(fitted_line: Line) -> None:
    assert len(evaluate(fitted_line.bundle, fitted_line.dataset, threads=1).judged) == 32


def test_an_unreadable_image_is_unknown_and_no_escape(fitted_line: Line, tmp_path: Path) -> None:
    save(tmp_path / "good" / "a.png", part(1))
    (tmp_path / "good").joinpath("huge.png").write_bytes(png_header_of(60_000, 60_000))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "broken.png").write_bytes(b"")
    result = evaluate(fitted_line.bundle, open_dataset(str(tmp_path)), threads=1)
    assert [(i.path, i.verdict) for i in result.judged if i.reason] == [
        ("cut/broken.png", Verdict.UNKNOWN),
        ("good/huge.png", Verdict.UNKNOWN),
    ]
    assert (result.escapes.count, result.escapes.total, result.false_rejects.count) == (0, 1, 0)


def test_a_split_of_other_images_is_refused(fitted_line: Line, tmp_path: Path) -> None:
    other = open_dataset(str(write_parts(tmp_path, good=2)))
    with pytest.raises(DataError, match="the split is of another data set"):
        evaluate(fitted_line.bundle, other, fitted_line.outcome.split)


def test_unknown_counts_neither_as_escape_nor_as_false_reject() -> None:
    judged = (
        Judged("a", "good", Verdict.UNKNOWN, None, "dark"),
        Judged("b", "cut", Verdict.UNKNOWN, None, "dark"),
        Judged("c", "cut", Verdict.PASS, 0.1),
    )
    result = Evaluation("x", 0.5, judged)
    assert (result.escapes.count, result.escapes.total) == (1, 2)
    assert (result.false_rejects.count, result.false_rejects.total) == (0, 1)
    assert result.auroc is None
    assert list(result.verdicts()) == ["good", "cut"]


def _hold_out(folder: Path) -> Path:
    return write_parts(folder, good=40)


def test_enough_held_out_parts_give_a_guarantee(tmp_path: Path) -> None:
    plan = replace(PLAN, false_reject_rate=0.2, confidence=0.9, shares=SplitShares(0.2, 0.4))
    outcome = fit(open_dataset(str(_hold_out(tmp_path))), plan)
    assert outcome.fitted.basis.guaranteed
    assert outcome.fitted.basis.good_parts == len(outcome.split.of(Role.CALIBRATION)) == 16
    assert outcome.test.auroc is None


def test_pictures_that_may_all_show_one_part_are_in_what_the_limit_assumes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(100):
        noisy = part(number % 4) + random.normal(0, 4, (64, 64))
        save(tmp_path / "good" / f"{number}.png", np.clip(noisy, 0, 255).astype(np.uint8))
    basis = fit(open_dataset(str(tmp_path)), PLAN).fitted.basis
    assert "No two of the 100 pictures that look like twenty others or more show one part." in basis.assumes


def test_defects_of_a_published_test_set_that_set_the_limit_are_told(tmp_path: Path) -> None:
    """As in MVTec AD, where the test set has all of them."""
    write_parts(tmp_path / "train", good=8)
    write_parts(tmp_path / "test", good=4, defects={"blot": 12})
    for number in range(4):
        save(tmp_path / "test" / "good" / f"{number:03d}.png", part(500 + number))
    outcome = fit(open_dataset(str(tmp_path)), replace(PLAN, costs=Costs(1, 30, 0.02)))
    assert outcome.split.counts()["calibration"] == {"blot": 6}
    assert "6 pictures of the published test set fitted the model or set the limit" in outcome.fitted.basis.assumes


def _mixed_sizes(root: Path) -> Path:
    write_parts(root, good=8)
    for index in range(8):
        save(root / "good" / f"wide{index}.png", np.hstack([part(100 + index), part(200 + index)]))
    return root


def _odd_modes(root: Path) -> Path:
    write_parts(root, good=8)
    for index in range(4):
        save(root / "good" / f"deep{index}.png", part(300 + index).astype(np.uint16) * 257)
        save(root / "good" / f"colour{index}.jpg", part(400 + index, colour=True))
    (root / "good" / "broken.png").write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("make", "channels", "unreadable"),
    [
        pytest.param(_mixed_sizes, 1, 0, id="mixed sizes"),
        pytest.param(_odd_modes, 3, 1, id="16-bit, colour and unreadable among grey"),
        pytest.param(lambda root: write_parts(root, good=6), 1, 0, id="six images"),
    ],
)
def test_odd_data_sets_can_be_fitted(tmp_path: Path, make, channels: int, unreadable: int) -> None:  # type: ignore[no-untyped-def]
    outcome = fit(open_dataset(str(make(tmp_path))), PLAN)
    assert outcome.fitted.preparation.channels == channels
    assert len(outcome.survey.unreadable) == unreadable == outcome.fitted.provenance["unreadable"]
    assert np.isfinite(outcome.fitted.limits.score)
    assert not outcome.fitted.basis.guaranteed


def test_equal_images_cannot_be_fitted(tmp_path: Path) -> None:
    for index in range(20):
        save(tmp_path / "good" / f"{index}.png", part(1))
    with pytest.raises(DataError, match="20 good images show 1 different parts"):
        fit(open_dataset(str(tmp_path)), PLAN)


def test_the_part_is_looked_for_where_the_recipe_says(tmp_path: Path) -> None:
    for index in range(8):
        frame = np.random.default_rng(index).integers(0, 255, (128, 160)).astype(np.uint8)
        frame[32:96, 48:112] = part(index)
        save(tmp_path / "good" / f"{index}.png", frame)
    save(tmp_path / "good" / "small.png", part(9))
    plan = replace(PLAN, width_px=0, height_px=0, location=FixedRegion(Box(48, 32, 64, 64)))
    outcome = fit(open_dataset(str(tmp_path)), plan)
    assert (outcome.size.width_px, outcome.size.height_px) == (64, 64)  # as the region, not as the frames
    assert [item.sample.path for item in outcome.survey.unreadable] == ["good/small.png"]
    np.testing.assert_array_equal(outcome.fitted.preparation.read(tmp_path / "good" / "3.png")[..., 0], part(3))


@pytest.mark.parametrize(
    "change",
    [{"width_px": 8}, {"height_px": 100_000}, {"channels": 2}],
    ids=["tiny input", "huge input", "two channels"],
)
def test_plans_that_cannot_be_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(InspectorError, match="give"):
        FitPlan(**change)  # type: ignore[arg-type]


def test_reading_is_what_the_line_does(tmp_path: Path) -> None:
    """One preprocessing for both: the same functions, called here by hand."""
    from inspector.imaging.decode import DecodeLimits, decode
    from inspector.imaging.locate import NoLocation, locate
    from inspector.imaging.normalise import normalise
    from inspector.part import Frame, PixelFormat

    path = save(tmp_path / "a.jpg", np.hstack([part(1, colour=True)] * 3))
    image = decode(Frame(0, PixelFormat.JPEG, 0, 0, 0, path.read_bytes()), DecodeLimits())
    expected = normalise(image, locate(image, NoLocation()), 64, 48, 3)
    np.testing.assert_array_equal(Preparation(64, 48, 3).read(path), expected)


@pytest.mark.realdata
def test_a_few_magnetic_tiles_are_told_from_defects(tmp_path: Path) -> None:
    tiles = require_data("magnetic-tile")
    for label, count in (("MT_Free", 60), ("MT_Fray", 12), ("MT_Break", 12)):
        target = tmp_path / label / "Imgs"
        target.mkdir(parents=True)
        for image in sorted((tiles / label / "Imgs").glob("exp*.jpg"))[:count]:
            shutil.copy(image, target)
    outcome = fit(open_dataset(str(tmp_path)), FitPlan(width_px=128, height_px=128))
    assert outcome.test.auroc is not None
    assert outcome.test.auroc > 0.85
    assert outcome.test.false_rejects.low < 0.05
