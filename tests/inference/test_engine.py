"""The engine scores as the graph says, whatever the batch, and translates every failure of ONNX Runtime."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import contract_model, failing_model, free_classes_model, nan_model
from onnx import TensorProto
from toys import toy_bundle, toy_golden, toy_manifest, toy_model, toy_prepare

from inspector.errors import BundleError, BundleTampered, EngineError, FrameError, GoldenMismatch
from inspector.inference.bundle import MODEL_FILE, Bundle, InputSpec, write_bundle
from inspector.inference.cores import own_cores, share_cores, usable_cores
from inspector.inference.engine import Engine, Model, available_providers, self_test
from inspector.part import Reason, Scores, Verdict

SPEC = InputSpec(8, 8, 1)
FLOAT = TensorProto.FLOAT


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return toy_bundle(tmp_path / "toy")


def images(count: int, shape: tuple[int, int, int] = (32, 32, 1), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_score_and_map_are_what_the_graph_says(bundle: Bundle) -> None:
    batch = images(1)
    (scores,) = Engine(bundle, threads=1).infer(batch)
    assert scores.score == pytest.approx(batch.mean() / 255, abs=1e-5)
    assert scores.anomaly_map is not None
    np.testing.assert_allclose(scores.anomaly_map, batch[0, :, :, 0] / 255, atol=1e-6)
    assert scores.anomaly_map.dtype == np.float32
    assert scores.class_scores == {}


@pytest.mark.parametrize("threads", [pytest.param(1, id="one thread"), pytest.param(0, id="all cores")])
def test_a_batch_scores_as_its_images_alone(tmp_path: Path, threads: int) -> None:
    engine = Engine(toy_bundle(tmp_path / "toy", channels=3, classes=("dent", "scratch")), threads=threads)
    batch = images(5, (32, 32, 3))
    together = engine.infer(batch)
    for image, scores in zip(batch, together, strict=True):
        (alone,) = engine.infer(image[None])
        assert alone.score == pytest.approx(scores.score, abs=1e-6)
        assert alone.class_scores == pytest.approx(scores.class_scores, abs=1e-6)
        np.testing.assert_allclose(alone.anomaly_map, scores.anomaly_map, atol=1e-6)


def test_class_scores_bear_the_names_of_the_manifest(tmp_path: Path) -> None:
    engine = Engine(toy_bundle(tmp_path / "toy", classes=("dent", "scratch")), threads=1)
    (scores,) = engine.infer(np.full((1, 32, 32, 1), 102, np.uint8))
    assert scores.class_scores == pytest.approx({"dent": 0.4, "scratch": 0.2}, abs=1e-5)


def test_a_model_without_map_gives_none(tmp_path: Path) -> None:
    (scores,) = Engine(toy_bundle(tmp_path / "toy", with_map=False), threads=1).infer(images(1))
    assert scores.anomaly_map is None


def test_an_image_that_is_a_strided_view_scores_as_its_copy(bundle: Bundle) -> None:
    engine = Engine(bundle, threads=1)
    view = images(2, (64, 32, 1))[:, ::2]
    assert engine.infer(view)[0].score == engine.infer(view.copy())[0].score


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(np.zeros((0, 32, 32, 1), np.uint8), id="no image"),
        pytest.param(np.zeros((32, 32, 1), np.uint8), id="no batch axis"),
        pytest.param(np.zeros((1, 1, 32, 32), np.uint8), id="channels first"),
        pytest.param(np.zeros((1, 32, 32, 3), np.uint8), id="colour for a grey model"),
        pytest.param(np.zeros((1, 31, 32, 1), np.uint8), id="another size"),
        pytest.param(np.zeros((1, 32, 32, 1), np.float32), id="floats"),
    ],
)
def test_another_input_is_refused_with_both_shapes(bundle: Bundle, batch: Any) -> None:
    with pytest.raises(EngineError, match=r"expected uint8 \(n, 32, 32, 1\)"):
        Engine(bundle, threads=1).infer(batch)


def test_warm_up_leaves_scores_unchanged(bundle: Bundle) -> None:
    engine = Engine(bundle, threads=1)
    before = engine.infer(images(1))[0].score
    engine.warm_up(max_batch=4)
    assert engine.infer(images(1))[0].score == before


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        pytest.param("CUDA", "provider CUDA is not installed; available here: CPU", id="not installed"),
        pytest.param("cpu", "provider cpu is unknown; available here: CPU", id="unknown"),
        pytest.param("", "provider  is unknown", id="empty"),
    ],
)
def test_a_missing_provider_lists_what_is_there(bundle: Bundle, provider: str, said: str) -> None:
    if provider in available_providers():
        pytest.skip(f"{provider} is available here")
    with pytest.raises(EngineError, match=said):
        Engine(bundle, provider=provider)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        pytest.param(contract_model(input_name="x"), "inputs x, expected images", id="input of another name"),
        pytest.param(contract_model(second_input=True), "inputs images, more", id="two inputs"),
        pytest.param(contract_model(input_type=FLOAT), r"images is float32 .*expected uint8", id="float input"),
        pytest.param(contract_model(input_shape=("n", 1, 8, 8)), r"expected uint8 \(n, 8, 8, 1\)", id="NCHW input"),
        pytest.param(contract_model(input_shape=("n", 64)), "expected uint8", id="flat input"),
        pytest.param(contract_model(input_shape=(1, 8, 8, 1)), r"uint8 \(1, 8, 8, 1\)", id="batch fixed at 1"),
        pytest.param(contract_model(outputs={"out": (FLOAT, ("n",))}), "outputs out, expected score", id="no score"),
        pytest.param(
            contract_model(outputs={"score": (TensorProto.DOUBLE, ("n",))}), "score is float64", id="double score"
        ),
        pytest.param(contract_model(outputs={"score": (FLOAT, ("n", 1))}), "1 dimensions", id="score of rank 2"),
        pytest.param(
            contract_model(outputs={"score": (FLOAT, ("n",)), "anomaly_map": (FLOAT, ("n", 1, 1, 1))}),
            "anomaly_map.*3 dimensions",
            id="map of rank 4",
        ),
        pytest.param(
            contract_model(outputs={"score": (FLOAT, ("n",)), "class_scores": (FLOAT, ("n", 1))}),
            "1 columns for 2 classes",
            id="fewer class scores than classes",
        ),
        pytest.param(b"\x08\x09\x3a\x00", "cannot load", id="a graph with nothing in it"),
    ],
)
def test_a_graph_that_breaks_the_contract_is_refused(model: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Model(model, SPEC, ("dent", "scratch"), threads=1, source="bundle x")


def test_a_graph_of_free_sizes_is_accepted() -> None:
    model = contract_model(input_shape=("n", "h", "w", "c"))
    assert Model(model, SPEC, ("a",), threads=1).infer(np.full((2, 8, 8, 1), 7, np.uint8))[1].score == 7


def test_class_scores_of_free_width_are_checked_at_run_time() -> None:
    model = Model(free_classes_model(), SPEC, ("a", "b"), threads=1)
    assert model.infer(np.full((1, 8, 8, 1), 2, np.uint8))[0].class_scores == {"a": 2, "b": 2}
    with pytest.raises(EngineError, match="3 class scores for 2 classes"):
        model.infer(np.full((1, 8, 8, 1), 3, np.uint8))


def test_a_failure_inside_the_model_is_an_engine_error(capfd: pytest.CaptureFixture[str]) -> None:
    model = Model(failing_model(), SPEC, ("a",), threads=1, source="bundle x")
    with pytest.raises(EngineError, match=r"bundle x failed on 1 images with provider CPU: .*Gather"):
        model.infer(np.full((1, 8, 8, 1), 255, np.uint8))
    assert model.infer(np.full((1, 8, 8, 1), 3, np.uint8))[0].score == 3
    assert capfd.readouterr() == ("", "")


def test_threads_that_wait_for_work_use_no_cpu(tmp_path: Path) -> None:
    engine = Engine(toy_bundle(tmp_path / "toy", delay_loops=5), threads=4)

    def cpu_after_a_run_s() -> float:
        engine.infer(images(1))
        begin = time.process_time()
        threading.Event().wait(0.1)  # long enough for ONNX Runtime's default to burn some 25 ms in each thread
        return time.process_time() - begin

    # The smallest of several: other threads of the test process may have work of their own.
    assert min(cpu_after_a_run_s() for _ in range(5)) < 0.005


def test_the_model_is_held_against_its_hash_once_more(bundle: Bundle) -> None:
    (bundle.path / MODEL_FILE).write_bytes(toy_model(with_map=False))
    with pytest.raises(BundleTampered, match="hash of model"):
        Engine(bundle)


# --- golden self-test -------------------------------------------------------------------------------------------


def test_self_test_shows_recorded_and_measured(bundle: Bundle) -> None:
    outcome = self_test(Engine(bundle, threads=1), toy_prepare)
    assert outcome.passed
    assert (outcome.bundle, outcome.provider) == (bundle.label, "CPU")
    assert [check.measured_verdict for check in outcome.checks] == [Verdict.PASS, Verdict.REJECT]
    assert outcome.largest_difference < 1e-5
    lines = outcome.table().splitlines()
    assert lines[0].split() == ["image", "recorded", "measured", "difference", "tolerance", "verdict"]
    assert lines[2].split() == ["golden/240.png", "0.9412", "0.9412", "+0.0000", "±0.001", "REJECT"]


def test_other_preprocessing_is_refused_with_the_difference(bundle: Bundle) -> None:
    with pytest.raises(GoldenMismatch) as caught:
        self_test(Engine(bundle, threads=1), lambda data: toy_prepare(data) // 2)
    message, *table = str(caught.value).splitlines()
    assert message == (
        f"bundle {bundle.label} scores golden image golden/240.png as 0.4706, recorded 0.9412 ±0.001 (PASS instead of "
        "REJECT), on this machine with provider CPU; 2 of 2 golden images differ: export the bundle again here, or "
        "select another provider"
    )
    assert "✗" in table[1]
    assert table[2].split()[4:] == ["±0.001", "REJECT", "recorded,", "PASS", "here", "✗"]


class OtherMachine:
    """An engine whose scores are those of another machine."""

    provider = "CPU"

    def __init__(self, bundle: Bundle, *scores: float) -> None:
        self.bundle = bundle
        self._scores = list(scores)

    def infer(self, batch: np.ndarray) -> list[Scores]:
        return [Scores(self._scores.pop(0))]


@pytest.mark.parametrize(
    ("scores", "holds"),
    [
        pytest.param((20 / 255, 240 / 255), True, id="the recorded scores"),
        pytest.param((20 / 255 + 0.0009, 240 / 255), True, id="within tolerance"),
        pytest.param((20 / 255 + 0.0011, 240 / 255), False, id="beyond tolerance"),
        pytest.param((20 / 255, 240 / 255 - 0.0011), False, id="below tolerance"),
        pytest.param((float("nan"), 240 / 255), False, id="NaN differs from everything"),
        pytest.param((20 / 255, float("inf")), False, id="infinity"),
    ],
)
def test_tolerance(bundle: Bundle, scores: tuple[float, float], holds: bool) -> None:
    engine = OtherMachine(bundle, *scores)
    if holds:
        assert self_test(engine, toy_prepare).passed
        return
    with pytest.raises(GoldenMismatch, match=r"1 of 2 golden images differ"):
        self_test(engine, toy_prepare)


def test_a_verdict_that_changes_within_tolerance_is_refused(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "toy", limit=240 / 255 - 0.0005)
    with pytest.raises(GoldenMismatch, match="PASS instead of REJECT"):
        self_test(OtherMachine(bundle, 20 / 255, 240 / 255 - 0.0007), toy_prepare)


def test_no_golden_image_proves_nothing(bundle: Bundle) -> None:
    without = replace(bundle, manifest=replace(bundle.manifest, golden=()))
    with pytest.raises(BundleError, match="no golden images"):
        self_test(OtherMachine(without), toy_prepare)


def test_a_golden_image_that_cannot_be_judged(bundle: Bundle) -> None:
    def prepare(_: bytes) -> np.ndarray:
        raise FrameError(Reason.PART_NOT_FOUND, "no part in the search box")

    with pytest.raises(BundleError, match=r"golden/020\.png .*cannot be judged: no part in the search box"):
        self_test(Engine(bundle, threads=1), prepare)


def test_a_model_that_gives_nan_fails_its_self_test(tmp_path: Path) -> None:
    manifest = replace(toy_manifest(size=8), limits=toy_manifest(limit=2).limits)
    golden = tuple(replace(image, verdict=Verdict.PASS) for image in manifest.golden)
    bundle = write_bundle(tmp_path / "nan", replace(manifest, golden=golden), nan_model(), toy_golden(size=8))
    with pytest.raises(GoldenMismatch, match=r"as nan, recorded .* \(UNKNOWN instead of PASS\)"):
        self_test(Engine(bundle, threads=1), lambda data: toy_prepare(data) * 0)


# --- cores ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "quota", "expected"),
    [
        pytest.param([(0, 0), (0, 1), (0, 2), (0, 3)], None, 4, id="four cores"),
        pytest.param([(0, 0), (0, 1), (0, 0), (0, 1)], None, 2, id="two cores of two threads"),
        pytest.param([(0, 0), (1, 0)], None, 2, id="two sockets number their cores alike"),
        pytest.param([(0, 0), (0, 1), (0, 2), (0, 3)], "200000 100000", 2, id="container quota of two"),
        pytest.param([(0, 0), (0, 1)], "50000 100000", 1, id="quota of half a core"),
        pytest.param([(0, 0), (0, 1)], "max 100000", 2, id="no quota"),
        pytest.param([(0, 0), (0, 1)], "", 2, id="empty quota file"),
        pytest.param(None, None, 4, id="no topology: hardware threads"),
    ],
)
def test_usable_cores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cores: list[tuple[int, int]] | None,
    quota: str | None,
    expected: int,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4 if cores is None else len(cores))))
    for index, (package, core) in enumerate(cores or []):
        topology = tmp_path / f"cpu{index}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{package}\n")
        (topology / "core_id").write_text(f"{core}\n")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert usable_cores(tmp_path, tmp_path / "cpu.max") == expected


@pytest.mark.parametrize(
    ("workers", "quota", "expected"),
    [
        pytest.param(2, None, [{0, 2}, {1, 3}], id="a core each, with its hardware threads"),
        pytest.param(2, "max 100000", [{0, 2}, {1, 3}], id="no quota"),
        pytest.param(1, None, [], id="fewer than cores: they go where there is room"),
        pytest.param(3, None, [], id="more than cores"),
        pytest.param(2, "150000 100000", [], id="a quota is of no core"),
    ],
)
def test_workers_that_have_all_cores_between_them_have_one_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, quota: str | None, expected: list[set[int]]
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    for index in range(4):
        topology = tmp_path / f"cpu{index}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text("0\n")
        (topology / "core_id").write_text(f"{index % 2}\n")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert own_cores(workers, tmp_path, tmp_path / "cpu.max") == expected


@pytest.mark.parametrize(
    ("cameras", "workers", "threads", "cores", "expected"),
    [
        pytest.param(1, 0, 0, 4, (1, 4), id="a lone camera has all cores for each part"),
        pytest.param(2, 0, 0, 2, (2, 1), id="a core for each camera"),
        pytest.param(3, 0, 0, 8, (3, 2), id="whole cores only"),
        pytest.param(6, 0, 0, 4, (4, 1), id="no more runs than cores"),
        pytest.param(6, 0, 0, 1, (1, 1), id="one core"),
        pytest.param(4, 1, 0, 4, (1, 4), id="told workers"),
        pytest.param(4, 0, 4, 8, (2, 4), id="told threads"),
        pytest.param(4, 0, 16, 8, (1, 16), id="more threads than cores"),
        pytest.param(4, 3, 5, 2, (3, 5), id="both told"),
    ],
)
def test_cores_are_shared_out(cameras: int, workers: int, threads: int, cores: int, expected: tuple[int, int]) -> None:
    assert share_cores(cameras, workers, threads, cores) == expected
