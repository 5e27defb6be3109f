"""MLServer in an environment of its own: its protobuf and FastAPI are older than ours. Made once, under build/."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from requires import require

ROOT = Path(__file__).resolve().parents[1]
_FOLDER = ROOT / "build" / "mlserver"
_PACKAGES = ("mlserver==1.7.1", "onnxruntime==1.32.0")

# A graph of ours in ten lines of MLServer's own interface: it has no ONNX runtime of its own on PyPI.
_RUNTIME = """
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Graph(MLModel):
    async def load(self):
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        images = NumpyCodec.decode_input(payload.inputs[0])
        names = [output.name for output in payload.outputs or self.session.get_outputs()]
        results = self.session.run(names, {payload.inputs[0].name: images})
        outputs = [NumpyCodec.encode_output(name, values) for name, values in zip(names, results)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
"""

_ASK = """
import grpc, sys
from mlserver.grpc.dataplane_pb2 import ModelReadyRequest
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
channel = grpc.insecure_channel("127.0.0.1:" + sys.argv[1])
grpc.channel_ready_future(channel).result(100)
call = GRPCInferenceServiceStub(channel).ModelReady
while not call(ModelReadyRequest(name=sys.argv[2]), timeout=10, wait_for_ready=True).ready: pass
"""


def mlserver_python() -> Path:
    """Python of an environment with MLServer, made if need be; skips the test if it cannot be."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    python, stamp = _FOLDER / "venv" / "bin" / "python", _FOLDER / "installed"
    with open(_FOLDER / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != " ".join(_PACKAGES):
            venv.create(_FOLDER / "venv", clear=True, with_pip=True)
            command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_PACKAGES]
            run = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
            require(run.returncode == 0, f"MLServer cannot be installed: {run.stderr[-300:]}")
            stamp.write_text(" ".join(_PACKAGES))
    return python


@contextmanager
def mlserver(folder: Path, name: str, graph: bytes, port: int = 0, version: str = "v1") -> Iterator[int]:
    """MLServer serving `graph`, whose image is 32 × 32 × 1, as `name`; gives its gRPC port on loopback."""
    python = mlserver_python()
    folder.mkdir()
    (folder / "graph.py").write_text(_RUNTIME)
    (folder / "model.onnx").write_bytes(graph)
    ports = [port or free_port(), free_port(), free_port()]
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, "load_models_at_startup": True}
    settings |= dict(zip(("grpc_port", "http_port", "metrics_port"), ports, strict=True))
    (folder / "settings.json").write_text(json.dumps(settings))
    tensors = {
        "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, 32, 32, 1]}],
        "outputs": [
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "anomaly_map", "datatype": "FP32", "shape": [-1, 32, 32]},
        ],
    }
    model = {"name": name, "implementation": "graph.Graph", "parameters": {"uri": "./model.onnx", "version": version}}
    (folder / "model-settings.json").write_text(json.dumps(model | tensors))
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [str(python.with_name("mlserver")), "start", str(folder)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_ready(process, ports[0], name, folder / "log")
        yield ports[0]
    finally:
        process.kill()
        process.wait()


def _wait_ready(process: subprocess.Popen[bytes], port: int, name: str, log: Path) -> None:
    """Until the model can be asked: asks with MLServer's own client."""
    command = [str(mlserver_python()), "-c", _ASK, str(port), name]
    run = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    if run.returncode or process.poll() is not None:
        raise RuntimeError(f"MLServer did not start:\n{log.read_text()[-2000:]}\n{run.stderr[-1000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
