"""Inference servers: a real MLServer runs the graph, and one that is dead, slow or of another model never blocks the line."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from mlserver_env import free_port, mlserver, mlserver_python
from toys import toy_bundle, toy_model

from inspector.errors import BundleError, ConfigError, EngineError, GoldenMismatch
from inspector.inference.batching import Batcher
from inspector.inference.bundle import Bundle
from inspector.inference.remote import RemoteEngine
from inspector.inference.triton import write_repository
from inspector.inference.v2.open_inference_pb2 import (
    InferTensor,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    TensorContents,
    TensorMetadata,
)
from inspector.models import prove_remote
from inspector.part import Scores
from inspector.settings import load_line_file


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return toy_bundle(tmp_path / "bundle")


def grey(value: int, count: int = 1) -> np.ndarray:
    return np.full((count, 32, 32, 1), value, np.uint8)


@pytest.mark.slow
@pytest.mark.timeout(700)  # the first one installs MLServer
def test_mlserver_runs_a_bundle(tmp_path: Path, bundle: Bundle) -> None:
    with mlserver(tmp_path / "server", "toy", toy_model()) as port:
        engine, test = prove_remote(bundle, f"127.0.0.1:{port}", 10_000)
        assert test.passed
        assert test.provider == f"OIP 127.0.0.1:{port}"
        first, second = engine.infer(np.concatenate([grey(51), grey(204)]))
        assert (first.score, second.score) == pytest.approx((0.2, 0.8))
        assert first.anomaly_map is not None
        np.testing.assert_allclose(first.anomaly_map, 0.2, atol=1e-6)
        with pytest.raises(EngineError, match="serves a model named other"):
            RemoteEngine(bundle, f"127.0.0.1:{port}", "other", 1000)
    with pytest.raises(EngineError, match="cannot be reached"):
        engine.infer(grey(51))


@pytest.mark.slow
@pytest.mark.timeout(700)  # the first one installs MLServer
def test_triton_reads_the_repository(tmp_path: Path, bundle: Bundle) -> None:
    """Parsed by Triton's own schema, from the client that comes with MLServer."""
    path = write_repository(toy_bundle(tmp_path / "b", classes=("dent", "scratch")), tmp_path / "models")
    code = (
        "import sys\nfrom google.protobuf import text_format\nfrom tritonclient.grpc.model_config_pb2 import ModelConfig\n"
        "c = text_format.Parse(open(sys.argv[1]).read(), ModelConfig())\n"
        "print(c.name, c.backend, c.max_batch_size, c.HasField('dynamic_batching'))\n"
        "for t in [*c.input, *c.output]: print(t.name, t.data_type, list(t.dims), t.HasField('reshape'))\n"
    )
    run = subprocess.run(
        [str(mlserver_python()), "-c", code, str(path / "config.pbtxt")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "toy onnxruntime 8 True",
        "images 2 [32, 32, 1] False",
        "score 11 [1] True",
        "anomaly_map 11 [32, 32] False",
        "class_scores 11 [2] False",
    ]
    assert (path / "1" / "model.onnx").read_bytes() == toy_model(classes=2)


def test_a_repository_is_never_overwritten_and_appears_whole(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_repository(bundle, tmp_path / "models")
    with pytest.raises(BundleError, match="exists already"):
        write_repository(bundle, tmp_path / "models")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(BundleError, match="No space left on device; free space"):
        write_repository(bundle, tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


class Server:
    """An Open Inference Protocol server that answers as told: `answer` is asked for the score of each request."""

    def __init__(self, port: int = 0) -> None:
        self.answer: Callable[[np.ndarray], float] = lambda images: float(images.mean()) / 255
        self.version = "1"
        self.score_shape: tuple[int, ...] = (-1,)
        self.raw = True
        self.change: Callable[[ModelInferResponse], None] = lambda response: None
        self.asked = 0
        self._grpc = grpc.server(futures.ThreadPoolExecutor(4))
        handlers = {
            "ModelMetadata": grpc.unary_unary_rpc_method_handler(
                self._metadata, ModelMetadataRequest.FromString, ModelMetadataResponse.SerializeToString
            ),
            "ModelInfer": grpc.unary_unary_rpc_method_handler(
                self._infer, ModelInferRequest.FromString, ModelInferResponse.SerializeToString
            ),
        }
        self._grpc.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
        )
        self.port = self._grpc.add_insecure_port(f"127.0.0.1:{port}")
        self._grpc.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._grpc.stop(0).wait()

    def _metadata(self, request: Any, _: Any) -> ModelMetadataResponse:
        return ModelMetadataResponse(
            name=request.name,
            inputs=[TensorMetadata(name="images", datatype="UINT8", shape=[-1, 32, 32, 1])],
            outputs=[TensorMetadata(name="score", datatype="FP32", shape=self.score_shape)],
        )

    def _infer(self, request: Any, _: Any) -> ModelInferResponse:
        self.asked += 1
        shape = tuple(request.inputs[0].shape)
        images = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(shape)
        scores = np.array([self.answer(image) for image in images], np.float32)
        tensor = InferTensor(name="score", datatype="FP32", shape=(len(scores), *self.score_shape[1:]))
        response = ModelInferResponse(model_name=request.model_name, model_version=self.version)
        if self.raw:
            response.raw_output_contents.append(scores.tobytes())
        else:
            tensor.contents.CopyFrom(TensorContents(fp32_contents=scores))
        response.outputs.append(tensor)
        self.change(response)
        return response


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.mark.parametrize("raw", [pytest.param(True, id="raw contents"), pytest.param(False, id="typed contents")])
@pytest.mark.parametrize("shape", [pytest.param((-1,), id="scores"), pytest.param((-1, 1), id="as Triton shapes them")])
def test_both_ways_of_answering(server: Server, bundle: Bundle, raw: bool, shape: tuple[int, ...]) -> None:
    server.raw, server.score_shape = raw, shape
    engine, test = prove_remote(bundle, server.host, 5000)
    assert test.passed
    assert [s.score for s in engine.infer(np.concatenate([grey(51), grey(102)]))] == pytest.approx([0.2, 0.4])


def test_a_server_that_scores_otherwise_fails_the_golden_check(server: Server, bundle: Bundle) -> None:
    server.answer = lambda images: 0.3
    with pytest.raises(GoldenMismatch, match="OIP 127"):
        prove_remote(bundle, server.host, 5000)


def test_a_model_of_another_shape_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"input images is uint8 \(n, 32, 32, 1\).*has another model named toy"):
        prove_remote(toy_bundle(tmp_path / "b", channels=3), server.host, 5000)


def test_nobody_there(bundle: Bundle) -> None:
    port = free_port()
    with pytest.raises(EngineError, match=rf"127.0.0.1:{port}: it cannot be reached. Check that it is started"):
        prove_remote(bundle, f"127.0.0.1:{port}", 500)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda r: r.ClearField("outputs"), "another number of contents", id="contents without outputs"),
        pytest.param(lambda r: setattr(r.outputs[0], "name", "x"), "left out score", id="another output"),
        pytest.param(lambda r: r.outputs[0].shape.append(7), "1 values for score of shape", id="too few values"),
        pytest.param(lambda r: setattr(r.outputs[0], "datatype", "INT8"), "left out score", id="another type"),
    ],
)
def test_answers_that_make_no_sense(server: Server, bundle: Bundle, change: Callable[[Any], None], said: str) -> None:
    engine, _ = prove_remote(bundle, server.host, 5000)
    server.change = change
    with pytest.raises(EngineError, match=said):
        engine.infer(grey(10))


def test_a_server_that_hangs_costs_its_time_and_no_more(server: Server, bundle: Bundle) -> None:
    engine, _ = prove_remote(bundle, server.host, 100)
    release = threading.Event()

    def hang(images: np.ndarray) -> float:
        release.wait(60)
        return 0.0

    server.answer = hang
    batcher = Batcher(engine, max_batch=1, max_waiting=4)
    results: list[Scores | EngineError] = []
    done = threading.Event()
    try:
        begin = time.monotonic()
        assert batcher.submit(grey(10)[0], lambda result: (results.append(result), done.set())[0], lambda: False)
        assert done.wait(30)
        assert time.monotonic() - begin < 20  # not the minute that the server takes
    finally:
        release.set()
        batcher.close()
    assert isinstance(results[0], EngineError)
    assert "did not answer in time" in str(results[0])


def test_after_an_outage_the_model_is_proved_again(bundle: Bundle) -> None:
    server = Server()
    engine, _ = prove_remote(bundle, server.host, 5000)
    server.stop()
    with pytest.raises(EngineError, match="cannot be reached"):
        engine.infer(grey(51))
    second = Server(server.port)
    try:
        second.answer = lambda images: float(images.mean()) / 128  # another model under the same name
        with pytest.raises(EngineError, match=r"runs another model now|cannot be reached"):
            _first_answer(engine)
        with pytest.raises(EngineError, match="runs another model now"):
            engine.infer(grey(51))
        second.answer = lambda images: float(images.mean()) / 255
        assert engine.infer(grey(51))[0].score == pytest.approx(0.2)
        asked = second.asked
        engine.infer(grey(51))
        assert second.asked == asked + 1  # proved once, not every time
    finally:
        second.stop()


def _first_answer(engine: Any) -> None:
    """Ask until the connection is there again: gRPC tries anew every second at most."""
    deadline = time.monotonic() + 30
    while True:
        try:
            engine.infer(grey(51))
            return
        except EngineError as error:
            if "cannot be reached" not in str(error) or time.monotonic() > deadline:
                raise


def test_a_new_version_of_the_model_is_proved_before_its_scores_count(server: Server, bundle: Bundle) -> None:
    engine, _ = prove_remote(bundle, server.host, 5000)
    server.version, server.answer = "2", lambda images: 0.1
    with pytest.raises(EngineError, match="runs another model now"):
        engine.infer(grey(240))


def test_an_address_with_two_versions_behind_it_gives_no_scores(server: Server, bundle: Bundle) -> None:
    """The proof may reach one version and the part the other."""
    engine, _ = prove_remote(bundle, server.host, 5000)
    asked = iter(range(1000))

    def alternate(response: ModelInferResponse) -> None:
        response.model_version = "2" if next(asked) % 2 == 0 else "1"

    server.change = alternate
    for _ in range(4):
        with pytest.raises(EngineError, match="more than one version"):
            engine.infer(grey(240))


def test_a_model_swapped_under_the_same_version_is_noticed_by_the_next_proof(
    server: Server, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = prove_remote(bundle, server.host, 5000)
    server.answer = lambda images: 0.1
    monkeypatch.setattr("inspector.inference.remote.PROOF_EVERY_S", 0.0)
    with pytest.raises(EngineError, match="runs another model now"):
        engine.infer(grey(240))


def test_while_one_worker_proves_a_changed_server_another_takes_no_score_of_it(server: Server, bundle: Bundle) -> None:
    """One is held in its proof of the new version while the other asks, and then sees that it is the wrong model."""
    engine, _ = prove_remote(bundle, server.host, 20_000)
    proving, open_, told = threading.Event(), threading.Event(), threading.Event()
    part = 100

    def other_model(images: np.ndarray) -> float:
        if images.flat[0] != part and not open_.is_set():
            proving.set()
            assert open_.wait(20)
        return 0.1

    server.version, server.answer = "2", other_model
    answers: list[Any] = []

    def work() -> None:
        try:
            answers.extend(engine.infer(grey(part)))
        except EngineError as error:
            answers.append(error)
        told.set()

    workers = [threading.Thread(target=work) for _ in range(2)]
    try:
        workers[0].start()
        assert proving.wait(20)
        workers[1].start()
        assert not told.wait(0.5), answers
    finally:
        open_.set()
        for worker in workers:
            worker.join(20)
    assert ["runs another model now" in str(answer) for answer in answers] == [True, True]


@pytest.mark.parametrize(
    ("oip", "said"),
    [
        pytest.param("nowhere", "expected .host:port.", id="no port"),
        pytest.param("host:99999", "expected .host:port.", id="no such port"),
    ],
)
def test_an_address_that_is_none(tmp_path: Path, oip: str, said: str) -> None:
    file = tmp_path / "line.toml"
    text = (
        '[line]\nname = "l"\n[[station]]\nname = "s"\ncamera = "c"\nunit = 1\nrecipe = "r"\n[recipe.r]\nbundle = "b"\n'
    )
    file.write_text(text + f'[inference]\noip = "{oip}"\n')
    with pytest.raises(ConfigError, match=said):
        load_line_file(file)
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_line_file(file).with_oip(oip)
    assert load_line_file(file).with_oip("127.0.0.1:8001").warnings() == ()
    assert "without encryption" in load_line_file(file).with_oip("gpu.plant:8001").warnings()[0]
