"""Graphs run by an Open Inference Protocol server: Triton, OpenVINO Model Server, KServe, MLServer and others.

gRPC and not REST: pixels go as they are instead of as decimal numbers (about four times as many bytes, and as much to parse),
every call carries its deadline, and grpcio is here already. Source: Open Inference Protocol version 2, gRPC API.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from inspector.errors import BundleError, EngineError
from inspector.inference.bundle import Bundle
from inspector.inference.contract import INPUT, SCORE, RunError, TensorInfo
from inspector.inference.engine import Engine
from inspector.inference.v2.open_inference_pb2 import (
    InferTensor,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    RequestedOutput,
)

PROVIDER = "OIP"
_SERVICE = "/inference.GRPCInferenceService"
_TYPES = {"UINT8": "uint8", "FP32": "float32", "FP64": "float64", "FP16": "float16"}
_MAX_MESSAGE_BYTES = 256 << 20
_METADATA_TIMEOUT_S = 3.0
PROOF_EVERY_S = 30.0
"""How long a proof counts: two golden images in so many seconds cost a line's server next to nothing."""
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # A server that comes back is found within a second; gRPC's default waits up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # The address is of the machine network; a proxy for the web must not see parts.
    ("grpc.enable_http_proxy", 0),
)


class RemoteRunner:
    """A model on another server. Several threads may run it. No call takes longer than its deadline.

    `changes` counts failures, and answers as another version of the model than the one before: what answers after one may be
    another model than the one that was proved.
    """

    def __init__(self, host: str, model: str, timeout_ms: int, source: str) -> None:
        """Ask the server at `host` ("name:port") for `model`'s inputs and outputs. Raises EngineError if it does not answer."""
        self.host, self.model, self.changes = host, model, 0
        self._timeout_s = timeout_ms / 1e3
        self._version = ""
        self._lock = threading.Lock()
        self._channel = grpc.insecure_channel(host, options=_OPTIONS)
        self._infer = self._channel.unary_unary(
            f"{_SERVICE}/ModelInfer", ModelInferRequest.SerializeToString, ModelInferResponse.FromString
        )
        metadata = self._metadata(source)
        self.inputs = [_info(tensor) for tensor in metadata.inputs]
        self.outputs = [_info(tensor) for tensor in metadata.outputs]

    def run(self, outputs: Sequence[str], images: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The named outputs for images, uint8 (n, height, width, channels). Raises RunError."""
        request = ModelInferRequest(
            model_name=self.model,
            inputs=[InferTensor(name=INPUT, datatype="UINT8", shape=images.shape)],
            outputs=[RequestedOutput(name=name) for name in outputs],
            raw_input_contents=[np.ascontiguousarray(images).tobytes()],
        )
        try:
            response = self._infer(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            self.doubt()
            raise RunError(f"the server {self.host} {_reason(error)}") from error
        with self._lock:
            if response.model_version != self._version:
                self._version = response.model_version
                self.changes += 1
        tensors = _tensors(response)
        if missing := [name for name in outputs if name not in tensors]:
            raise RunError(f"the server {self.host} left out {', '.join(missing)}")
        return [tensors[name] for name in outputs]

    def doubt(self) -> None:
        """Count a change: what answers may be another model now."""
        with self._lock:
            self.changes += 1

    def close(self) -> None:
        self._channel.close()

    def _metadata(self, source: str) -> ModelMetadataResponse:
        call = self._channel.unary_unary(
            f"{_SERVICE}/ModelMetadata", ModelMetadataRequest.SerializeToString, ModelMetadataResponse.FromString
        )
        try:
            return call(ModelMetadataRequest(name=self.model), timeout=_METADATA_TIMEOUT_S)
        except grpc.RpcError as error:
            self._channel.close()
            raise EngineError(
                f"{source} cannot run on the inference server {self.host}: it {_reason(error)}. Check that it is started, that "
                f"its gRPC port is {self.host.rpartition(':')[2]} and that it serves a model named {self.model}; "
                "`inspector bundle export --triton` writes a repository for it"
            ) from error


Witness = tuple[NDArray[np.uint8], float]
"""A golden image's input, uint8 (h, w, c), and its recorded score."""


class RemoteEngine(Engine):
    """A bundle whose graph an inference server runs. Scores count only while the server is known to run this very graph.

    The golden self-test at the start proves it. After any failure, when the server's version of the model changes, and every
    `PROOF_EVERY_S`, golden images must give their recorded scores again before the next part is scored. A server that puts
    another model in the place of this one under the same version is noticed only by then. Several threads may run it: one
    proves, the others wait for that, and a score counts only if nothing changed from its proof to its answer.
    """

    def __init__(self, bundle: Bundle, host: str, model: str, timeout_ms: int) -> None:
        """Raises EngineError if the server does not answer or has no such model, or the bundle judges by tiles; BundleError if
        the model is another one.
        """
        if bundle.manifest.input.tiling is not None:
            raise EngineError(
                f"bundle {bundle.label} judges large pictures by tiles, and many calls for one part would keep neither its "
                "deadline nor the proof that they are of one model: remove oip from [inference] and run it on this machine"
            )
        self._remote = RemoteRunner(host, model, timeout_ms, f"bundle {bundle.label}")
        self._witnesses: tuple[Witness, ...] = ()
        self._proved_s = time.monotonic()
        self._proved_changes = 0
        self._proving = threading.Lock()
        self._patience_s = timeout_ms / 1e3
        try:
            super().__init__(bundle, f"{PROVIDER} {host}", 1, runner=self._remote)
        except BundleError as error:
            self._remote.close()
            raise BundleError(f"{error}: the server {host} has another model named {model}") from error

    def prove_with(self, witnesses: Sequence[Witness]) -> None:
        """Keep golden images' inputs with their recorded scores; the self-test has passed."""
        self._proved(self._remote.changes)
        self._witnesses = tuple(witnesses)

    def infer(self, batch: NDArray[np.uint8]) -> list[Any]:
        """As `Model.infer`; raises EngineError also if the server runs another model than the one that was proved."""
        if not self._witnesses:
            return super().infer(batch)
        for _ in range(2):
            changes = self._prove_if_due()
            results = super().infer(batch)
            if self._remote.changes == changes:
                return results
            # What was answered may be the other model's.
        raise self._restless()

    def _proved(self, changes: int) -> None:
        self._proved_changes, self._proved_s = changes, time.monotonic()

    def _prove_if_due(self) -> int:
        """Prove the model unless its proof counts still; returns up to which of the `changes` it does."""
        if not self._proving.acquire(timeout=self._patience_s):
            raise EngineError(
                f"the inference server {self._remote.host} did not prove bundle {self.bundle.label} in time: see that it "
                "answers golden images as fast as parts"
            )
        try:
            changes = self._proved_changes
            if self._remote.changes == changes and time.monotonic() - self._proved_s < PROOF_EVERY_S:
                return changes
            for _ in range(2):
                changes = self._remote.changes
                self._prove()
                if self._remote.changes == changes:
                    self._proved(changes)
                    return changes
        finally:
            self._proving.release()
        raise self._restless()

    def _prove(self) -> None:
        for image, recorded in self._witnesses:
            (measured,) = super().infer(image[None])
            if not abs(measured.score - recorded) <= self.bundle.manifest.score_tolerance:
                self._remote.doubt()
                raise EngineError(
                    f"the inference server {self._remote.host} scores a golden image of bundle {self.bundle.label} as "
                    f"{measured.score:.4g}, recorded {recorded:.4g}: it runs another model now; load the bundle's graph there "
                    "again"
                )

    def _restless(self) -> EngineError:
        """A proof holds for one version: behind an address that answers with several, nobody knows whose score this is."""
        return EngineError(
            f"the inference server {self._remote.host} answers with more than one version of {self._remote.model}, or fails "
            "time and again: let it serve the one that the bundle came with, and see why calls fail"
        )


def _info(tensor: Any) -> TensorInfo:
    # Servers that know no shapes give an empty one. Triton wants a dimension beside the batch: a score becomes (n, 1).
    shape = tuple(None if size < 0 else int(size) for size in tensor.shape) or None
    if tensor.name == SCORE and shape is not None and shape[1:] == (1,):
        shape = shape[:1]
    return TensorInfo(tensor.name, _TYPES.get(tensor.datatype, tensor.datatype), shape)


def _tensors(response: Any) -> dict[str, NDArray[Any]]:
    """Float32 outputs by name; raises RunError if what came is not what its shape says."""
    tensors: dict[str, NDArray[Any]] = {}
    raw = list(response.raw_output_contents)
    if raw and len(raw) != len(response.outputs):
        raise RunError("the server answered another number of contents than outputs")
    for index, tensor in enumerate(response.outputs):
        if tensor.datatype != "FP32":
            continue
        values = np.frombuffer(raw[index], "<f4") if raw else np.array(tensor.contents.fp32_contents, np.float32)
        shape = tuple(tensor.shape)
        if min(shape, default=0) < 0 or values.size != int(np.prod(shape)):
            raise RunError(f"the server answered {values.size} values for {tensor.name} of shape {shape}")
        tensors[tensor.name] = values.reshape(shape[:1] if tensor.name == SCORE and shape[1:] == (1,) else shape)
    return tensors


def _reason(error: grpc.RpcError) -> str:
    """A call's failure in a few words."""
    code = error.code() if isinstance(error, grpc.Call) else None
    details: list[str] = (error.details() or "").strip().splitlines() if isinstance(error, grpc.Call) else []
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "did not answer in time"
    if code is grpc.StatusCode.UNAVAILABLE:
        return "cannot be reached"
    return f"answered {code.name if code else 'nothing'}" + (f" ({details[0][:200]})" if details else "")
