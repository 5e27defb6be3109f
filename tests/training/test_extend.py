"""A memory bank learns that rejects were good without losing a verdict it must keep, says so, and can be taken back."""

from __future__ import annotations

import contextlib
import functools
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from training_line import OTHERS, Line, scores_of
from training_pictures import part, save, stamped, write_parts

from inspector.errors import BundleError, ConfigError, DataError
from inspector.inference.bundle import MODEL_FILE, Bundle, open_bundle, write_bundle
from inspector.inference.engine import Engine, self_test
from inspector.part import Verdict
from inspector.reports import bundle_card
from training import cli
from training import extend as extending
from training.data.layouts import open_dataset
from training.extend import extend, leave_out
from training.models.memory_bank.extension import Memory, MemoryGraph, uncovered, weights_for
from training.successor import decoded_input, preparation_of


def test_rejects_pass_and_so_do_others_like_them(fitted_line: Line, rejects: list[Path], tmp_path: Path) -> None:
    bundle, limit = fitted_line.bundle, fitted_line.bundle.manifest.limits.score
    result = extend(bundle, rejects, tmp_path / "b", "b", reason="new stamp")
    assert all(picture.before > limit >= picture.after for picture in result.pictures)
    alike = np.stack([stamped(seed)[..., None] for seed in range(800, 806)])
    assert (scores_of(bundle, alike) > limit).all()
    assert scores_of(result.bundle, alike).mean() < 0.95 * scores_of(bundle, alike).mean()


def test_no_more_is_added_than_it_takes(fitted_line: Line, rejects: list[Path], tmp_path: Path) -> None:
    bundle = fitted_line.bundle
    limit = bundle.manifest.limits.score
    one = extend(bundle, rejects[:1], tmp_path / "b", "b")
    graph = MemoryGraph(bundle.read(MODEL_FILE), "b")
    available = uncovered(graph.memory, graph.patches(_input(rejects[0])), 37)
    assert 4 <= one.patches <= len(available)
    assert one.pictures[0].after <= 0.9 * limit or one.patches == len(available)


def test_no_score_rises_and_defects_stay_rejected(fitted_line: Line, rejects: list[Path], tmp_path: Path) -> None:
    bundle, limit = fitted_line.bundle, fitted_line.bundle.manifest.limits.score
    before, after = scores_of(bundle, OTHERS), scores_of(extend(bundle, rejects, tmp_path / "b", "b").bundle, OTHERS)
    assert (after <= before + 1e-3 * before).all()
    assert ((after > limit) == (before > limit)).all()


def test_the_bundle_says_what_was_done_and_where_it_came_from(
    fitted_line: Line, rejects: list[Path], tmp_path: Path
) -> None:
    bundle = fitted_line.bundle
    result = extend(bundle, rejects[:2], tmp_path / "b", "b", reason="new stamp")
    manifest = open_bundle(tmp_path / "b").manifest
    (change,) = manifest.history
    assert (change.what, change.parent, change.reason) == ("extended", bundle.digest, "new stamp")
    assert change.details["patches"] == result.patches > 0
    assert [picture["file"] for picture in change.details["pictures"]] == ["700.png", "701.png"]  # type: ignore[index, union-attr, call-overload]
    assert f"{result.patches} patches of 2 pictures that people called good" in manifest.basis.statement
    assert manifest.basis.statement.startswith(bundle.manifest.basis.statement)
    assert manifest.basis.escapes is None  # counted before, and may have grown
    assert manifest.limits == bundle.manifest.limits
    assert [image.file for image in manifest.golden if image.verdict is Verdict.PASS][-2:] == [
        "golden/added-1-1.png",
        "golden/added-1-2.png",
    ]
    assert "new stamp" in str([*bundle_card(result.bundle).columns[1].cells])
    assert open_bundle(bundle.path).digest == bundle.digest
    prepare = functools.partial(decoded_input, preparation_of(result.bundle))
    assert self_test(Engine(result.bundle, threads=1), prepare).passed


def test_an_addition_can_be_left_out_and_the_others_stay(
    fitted_line: Line, rejects: list[Path], tmp_path: Path
) -> None:
    bundle = fitted_line.bundle
    first = extend(bundle, rejects[:1], tmp_path / "1", "b1").bundle
    save(tmp_path / "other.png", np.rot90(stamped(710)).copy() // 2)
    second = extend(first, [tmp_path / "other.png"], tmp_path / "2", "b2")
    assert second.number == 2
    without_first = leave_out(second.bundle, 1, tmp_path / "3", "b3").bundle
    only_second = extend(bundle, [tmp_path / "other.png"], tmp_path / "4", "b4").bundle
    assert [change.what for change in without_first.manifest.history] == ["extended", "extended", "left out"]
    np.testing.assert_allclose(scores_of(without_first, OTHERS), scores_of(only_second, OTHERS), rtol=0.05, atol=1.0)
    neither = leave_out(without_first, 2, tmp_path / "5", "b5").bundle
    np.testing.assert_allclose(scores_of(neither, OTHERS), scores_of(bundle, OTHERS), rtol=1e-6)
    assert neither.manifest.basis.statement == bundle.manifest.basis.statement
    assert neither.manifest.golden == bundle.manifest.golden
    with pytest.raises(DataError, match="has no addition 1; it has none"):
        leave_out(neither, 1, tmp_path / "6", "b6")


def _golden_defect(bundle: Bundle, folder: Path) -> list[Path]:
    golden = next(image for image in bundle.manifest.golden if image.verdict is Verdict.REJECT)
    (folder / "defect.png").write_bytes(bundle.read(golden.file))
    return [folder / "defect.png"]


def test_a_golden_defect_that_would_pass_stops_it(fitted_line: Line, tmp_path: Path) -> None:
    pictures = _golden_defect(fitted_line.bundle, tmp_path)
    with pytest.raises(DataError, match=r"golden images: golden/defective-\d.png \(REJECT so far, PASS with"):
        extend(fitted_line.bundle, pictures, tmp_path / "b", "b")
    assert not (tmp_path / "b").exists()


def test_a_defect_of_the_data_to_check_that_would_pass_stops_it(
    fitted_line: Line, rejects: list[Path], tmp_path: Path
) -> None:
    save(tmp_path / "data" / "stamp" / "a.png", stamped(700))
    save(tmp_path / "data" / "good" / "b.png", part(1))
    with pytest.raises(DataError, match=r"1 of 1 defective pictures .* would pass: stamp/a.png"):
        extend(fitted_line.bundle, rejects, tmp_path / "b", "b", check=open_dataset(str(tmp_path / "data")))
    other = open_dataset(str(write_parts(tmp_path / "other", good=1, defects={"blot": 3})))
    assert extend(fitted_line.bundle, rejects, tmp_path / "b", "b", check=other).checked == 3


def test_a_defect_to_check_that_cannot_be_read_is_named(fitted_line: Line, rejects: list[Path], tmp_path: Path) -> None:
    other = write_parts(tmp_path / "other", good=1, defects={"blot": 2})
    (other / "blot" / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(
        DataError, match=r"blot/broken.jpg of .*other, a defective picture to check, cannot be read: .*JPEG"
    ):
        extend(fitted_line.bundle, rejects, tmp_path / "b", "b", check=open_dataset(str(other)))
    assert not (tmp_path / "b").exists()


def test_nothing_is_added_for_pictures_that_pass(fitted_line: Line, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the 1 pictures is rejected"):
        extend(fitted_line.bundle, [save(tmp_path / "a.png", part(1))], tmp_path / "b", "b")


def test_a_picture_that_cannot_be_read_is_named(fitted_line: Line, rejects: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"broken\.png: the file is empty"):
        extend(fitted_line.bundle, [*rejects, tmp_path / "broken.png"], tmp_path / "b", "b")


def test_the_memory_grows_only_so_far(
    fitted_line: Line, rejects: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extending, "MOST_GROWTH", 0.01)  # one patch of 150
    first = extend(fitted_line.bundle, rejects[:1], tmp_path / "1", "b1")
    assert first.patches == 1
    still = [path for path in rejects if scores_of(first.bundle, _input(path))[0] > first.bundle.manifest.limits.score]
    with pytest.raises(DataError, match="has grown by 1 patches"):
        extend(first.bundle, still or _golden_defect(first.bundle, tmp_path), tmp_path / "2", "b2")


def _input(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)[None, ..., None]


def test_other_kinds_are_refused(fitted_line: Line, rejects: list[Path], tmp_path: Path) -> None:
    bundle = fitted_line.bundle
    other = replace(bundle, manifest=replace(bundle.manifest, model_kind="classifier"))
    with pytest.raises(ConfigError, match="only memory-bank can be extended"):
        extend(other, rejects, tmp_path / "b", "b")


def test_a_graph_without_memory_is_refused(fitted_line: Line) -> None:
    graph = fitted_line.bundle.read(MODEL_FILE)
    with pytest.raises(BundleError, match="whose memory cannot be found"):
        MemoryGraph(graph.replace(b"ReduceMin", b"ReduceMax"), "bundle x")


def test_the_graph_holds_the_memory_that_was_fitted(fitted_line: Line) -> None:
    memory = MemoryGraph(fitted_line.bundle.read(MODEL_FILE), "b").memory
    network = fitted_line.outcome.fitted.network
    np.testing.assert_allclose(memory.points, network.bank.numpy(), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(memory.weights, network.weights.numpy(), rtol=1e-5)


def test_only_uncovered_patches_are_taken_the_farthest_first() -> None:
    memory = Memory(np.array([[0, 0], [1, 0], [0, 1]], np.float32), np.array([1, 1.2, 0.8], np.float32))
    assert memory.reach() == 1.0
    patches = [np.array([[0.2, 0.2], [9, 0], [9.5, 0], [0, 5]], np.float32)]
    np.testing.assert_array_equal(uncovered(memory, patches, 10), [[9.5, 0], [0, 5]])  # 9 is within reach of 9.5
    np.testing.assert_array_equal(uncovered(memory, patches, 1), [[9.5, 0]])
    assert not len(uncovered(memory, [patches[0][:1]], 10))
    near, far = weights_for(memory, np.array([[1.5, 0], [50, 0]], np.float32))
    assert memory.weights.min() <= far < near <= memory.weights.max()


def test_extend_and_recalibrate_as_they_are_typed(
    fitted_line: Line,
    rejects: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["inspector-train", *map(str, arguments)])
        monkeypatch.setattr("training.cli.signal.signal", lambda *_: None)
        with contextlib.suppress(SystemExit):
            cli.main()
        captured = capsys.readouterr()
        return " ".join((captured.out + captured.err).split())

    bundle = fitted_line.bundle.path
    assert "700.png" in run("extend", bundle, *rejects, "--out", tmp_path / "b1", "--reason", "stamp")
    assert "left out with addition 1" in run("extend", tmp_path / "b1", "--without", 1, "--out", tmp_path / "b2")
    assert "not both" in run("extend", bundle, "--out", tmp_path / "b3")
    assert "exists already" in run("extend", bundle, *rejects, "--out", tmp_path / "b1")
    data = tmp_path / "data"
    for number in range(20):
        save(data / "good" / f"{number}.png", part(8000 + number))
    shown = run("recalibrate", bundle, data, "--out", tmp_path / "b4", "--false-reject-rate", "0.2")
    assert "Promises to choose from" in shown
    assert "before" in shown
    assert "cannot be promised" in run("recalibrate", bundle, data, "--out", tmp_path / "b5", "--confidence", "1")
    assert sorted(path.name for path in tmp_path.glob("b*")) == ["b1", "b2", "b4"]


def test_a_bundle_keeps_its_history_when_it_is_read(fitted_line: Line, rejects: list[Path], tmp_path: Path) -> None:
    bundle = extend(fitted_line.bundle, rejects, tmp_path / "b", "b").bundle
    golden = {image.file: bundle.read(image.file) for image in bundle.manifest.golden}
    other = {bundle.manifest.image_list: bundle.read(bundle.manifest.image_list)}
    copy = write_bundle(tmp_path / "copy", bundle.manifest, bundle.read(MODEL_FILE), golden, other=other)
    assert copy.manifest.history == bundle.manifest.history
    assert copy.digest == bundle.digest
