"""OpenVINO by its own package gives the scores of ONNX Runtime, from several threads, and says what it cannot do."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from models import contract_model, failing_model
from requires import require
from toys import toy_bundle, toy_prepare

from inspector.errors import BundleError, EngineError
from inspector.inference import open_vino
from inspector.inference.bundle import InputSpec
from inspector.inference.engine import Engine, Model, available_providers, self_test

SPEC = InputSpec(8, 8, 1)
# Loads and runs a bundle with every connection forbidden: OpenVINO's package brings a module that sends statistics.
OFFLINE = """
import socket, sys
def refuse(*_, **__): raise AssertionError("a connection was opened")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = refuse
import numpy as np
from inspector.inference.bundle import open_bundle
from inspector.inference.engine import Engine
print(Engine(open_bundle(sys.argv[1]), "OpenVINO").infer(np.full((1, 32, 32, 1), 51, np.uint8))[0].score)
"""


@pytest.fixture(autouse=True)
def _installed() -> None:
    require(open_vino.openvino_installed(), "the package openvino is not installed; pip install inspector[openvino]")


def images(count: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 32, 32, channels), dtype=np.uint8)


def test_it_is_listed_and_passes_the_self_test(tmp_path: Path) -> None:
    assert "OpenVINO" in available_providers()
    test = self_test(Engine(toy_bundle(tmp_path / "toy"), "OpenVINO", threads=1), toy_prepare)
    assert test.passed
    assert test.provider == "OpenVINO"


@pytest.mark.parametrize("count", [pytest.param(1, id="one image"), pytest.param(5, id="a batch")])
def test_all_outputs_are_those_of_onnx_runtime(tmp_path: Path, count: int) -> None:
    bundle = toy_bundle(tmp_path / "toy", channels=3, classes=("dent", "scratch"))
    batch = images(count, 3)
    for ours, theirs in zip(
        Engine(bundle, "OpenVINO", 1).infer(batch), Engine(bundle, "CPU", 1).infer(batch), strict=True
    ):
        assert ours.score == pytest.approx(theirs.score, abs=1e-6)
        assert ours.class_scores == pytest.approx(theirs.class_scores, abs=1e-6)
        np.testing.assert_allclose(ours.anomaly_map, theirs.anomaly_map, atol=1e-6)


def test_batches_of_changing_size_and_results_that_are_kept(tmp_path: Path) -> None:
    engine = Engine(toy_bundle(tmp_path / "toy"), "OpenVINO", 1)
    batch = images(4)
    (first,) = engine.infer(batch[:1])
    kept = first.anomaly_map
    assert kept is not None
    before = kept.copy()
    for count in (3, 1, 4):
        assert [s.score for s in engine.infer(batch[:count])] == pytest.approx(batch[:count].mean((1, 2, 3)) / 255)
    np.testing.assert_array_equal(kept, before)  # no view of what the next run writes


def test_a_strided_view_scores_as_its_copy(tmp_path: Path) -> None:
    engine = Engine(toy_bundle(tmp_path / "toy"), "OpenVINO", 1)
    view = np.random.default_rng(2).integers(0, 256, (2, 64, 32, 1), dtype=np.uint8)[:, ::2]
    assert engine.infer(view)[0].score == engine.infer(view.copy())[0].score


def test_several_threads_get_their_own_scores(tmp_path: Path) -> None:
    engine = Engine(toy_bundle(tmp_path / "toy", delay_loops=3), "OpenVINO", 1)
    wrong: list[tuple[int, float]] = []

    def work(value: int) -> None:
        for _ in range(20):
            score = engine.infer(np.full((1, 32, 32, 1), value, np.uint8))[0].score
            if abs(score - value / 255) > 1e-5:
                wrong.append((value, score))

    threads = [threading.Thread(target=work, args=(value,)) for value in (10, 90, 170, 250)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_failure_inside_the_model_is_an_engine_error() -> None:
    model = Model(failing_model(), SPEC, ("a",), provider="OpenVINO", threads=1, source="bundle x")
    with pytest.raises(EngineError, match="bundle x got images of float32"):
        model.infer(np.zeros((1, 8, 8, 1), np.float32))  # type: ignore[arg-type]
    assert model.infer(np.full((1, 8, 8, 1), 3, np.uint8))[0].score == 3


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        pytest.param(contract_model(input_name="x"), "inputs x, expected images", id="input of another name"),
        pytest.param(contract_model(input_shape=("n", 1, 8, 8)), r"expected uint8 \(n, 8, 8, 1\)", id="NCHW input"),
        pytest.param(
            contract_model(outputs={"score": (11, ("n",))}), "score is float64 .*expected float32", id="double score"
        ),
        pytest.param(b"\x08\x09\x3a\x00", "cannot load|has inputs none", id="a graph with nothing in it"),
        pytest.param(b"no model", "no whole ONNX file", id="the same checks as for every runner"),
    ],
)
def test_what_it_refuses(graph: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Model(graph, SPEC, ("a",), provider="OpenVINO", threads=1, source="bundle x")


def test_without_the_package_it_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.inference.engine.openvino_installed", lambda: False)
    with pytest.raises(EngineError, match="OpenVINO is not installed; available here: CPU"):
        Engine(toy_bundle(tmp_path / "toy"), "OpenVINO")


def test_a_package_that_does_not_load_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.inference.engine.openvino_installed", lambda: True)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"OpenVINO does not start .*inspector\[openvino\]"):
        Engine(toy_bundle(tmp_path / "toy"), "OpenVINO")


def test_it_opens_no_connection(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "toy")
    run = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(bundle.path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(0.2, abs=1e-5)
