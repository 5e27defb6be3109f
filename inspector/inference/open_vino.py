"""Graphs run by OpenVINO's own Python package, which lives beside ONNX Runtime (onnxruntime-openvino would replace it).

Documentation: docs.openvino.ai, "High-level Performance Hints", "Precision Control", "CPU Device".
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import BundleError, EngineError
from inspector.inference.contract import INPUT, OUTPUT_RANKS, RunError, TensorInfo, first_line

# What pybind11 raises for OpenVINO's own exceptions and for arguments it cannot take.
_ERRORS = (RuntimeError, ValueError, TypeError, MemoryError)


class OpenVinoRunner:
    """A graph compiled for the CPU of this machine. Every thread that runs it has an infer request of its own."""

    def __init__(self, onnx_file: bytes, threads: int, source: str) -> None:
        """Compile a graph; `threads` ≥ 1. Raises BundleError if OpenVINO cannot, EngineError if it does not start."""
        openvino = _import()
        properties = {
            "INFERENCE_NUM_THREADS": threads,
            # One part at a time, as fast as it goes; the line never has enough in flight for throughput streams.
            "PERFORMANCE_HINT": "LATENCY",
            # CPUs with AMX would otherwise compute in bfloat16, which is not the model that was validated.
            "INFERENCE_PRECISION_HINT": "f32",
            # The line's cores also decode and answer; pinned workers would wait for a core that others use.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(onnx_file), "CPU", properties)
        except _ERRORS as error:
            raise BundleError(
                f"{source} has a graph that OpenVINO {openvino.__version__} cannot load: {_reason(error)}; "
                "select provider CPU, or export the bundle again"
            ) from error
        self.inputs = [_info(port) for port in compiled.inputs]
        self.outputs = [_info(port) for port in compiled.outputs]
        self._ports = dict(zip((info.name for info in self.outputs), compiled.outputs, strict=True))
        self._compiled = compiled
        self._requests = threading.local()

    def run(self, outputs: Sequence[str], images: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The named outputs for images, uint8 (n, height, width, channels). Raises RunError."""
        try:
            # Shares the pixels with OpenVINO for the time of the run; results are copies.
            results = self._request().infer({INPUT: np.ascontiguousarray(images)}, share_inputs=True)
            return [np.asarray(results[self._ports[name]]) for name in outputs]
        except (*_ERRORS, KeyError) as error:
            raise RunError(_reason(error)) from error

    def _request(self) -> Any:
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        return self._requests.own


def openvino_installed() -> bool:
    """Whether the package `openvino` is here; it is not imported, which takes a while."""
    return importlib.util.find_spec("openvino") is not None


def openvino_version() -> str:
    """Version of the installed package, without importing it; empty if there is none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("openvino")
    except PackageNotFoundError:
        return ""


def _import() -> Any:
    try:
        import openvino
    except (ImportError, OSError) as error:
        raise EngineError(
            f"provider OpenVINO does not start on this machine: {first_line(error)}; install the extra inspector[openvino] "
            "again, or select provider CPU"
        ) from error
    return openvino


def _info(port: Any) -> TensorInfo:
    rank = port.partial_shape.rank
    shape = None
    if rank.is_static:
        shape = tuple(size.get_length() if size.is_static else None for size in port.partial_shape)
    # Tensors that OpenVINO found to be one have all their names; ours is the one that the contract knows.
    names = sorted(port.get_names(), key=lambda name: (name not in (INPUT, *OUTPUT_RANKS), name))
    return TensorInfo(names[0] if names else "", np.dtype(port.element_type.to_dtype()).name, shape)


def _reason(error: Exception) -> str:
    """OpenVINO's messages begin with the places in its source that they passed; what happened comes after them."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (told or [first_line(error)])[0][:300]
