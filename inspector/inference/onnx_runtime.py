"""Graphs run by ONNX Runtime, with one of its execution providers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from inspector.errors import BundleError, EngineError
from inspector.inference.contract import INPUT, RunError, TensorInfo, first_line

PROVIDERS = {
    "CPU": "CPUExecutionProvider",
    "CUDA": "CUDAExecutionProvider",
    "TensorRT": "TensorrtExecutionProvider",
    "OpenVINO": "OpenVINOExecutionProvider",
}
"""Our names of ONNX Runtime's execution providers."""

# ONNX Runtime's exceptions have no common base of their own; the others are what its Python layer and pybind11 raise.
_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
    TypeError,
    MemoryError,
)
_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}


class OnnxRuntimeRunner:
    """A session of ONNX Runtime. Several threads may run it; one after the other is as fast, a run uses all its threads."""

    def __init__(self, onnx_file: bytes, provider: str, threads: int, source: str) -> None:
        """Load a graph with a provider of `installed_providers()`; `threads` ≥ 1.

        Raises BundleError if the graph cannot be loaded, EngineError if the provider does not start on this machine.
        """
        self._session = _open_session(onnx_file, provider, threads, source)
        self.inputs = [_info(value) for value in self._session.get_inputs()]
        self.outputs = [_info(value) for value in self._session.get_outputs()]

    def run(self, outputs: Sequence[str], images: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The named outputs for images, uint8 (n, height, width, channels). Raises RunError."""
        try:
            return list(self._session.run(list(outputs), {INPUT: images}))
        except _ERRORS as error:
            raise RunError(first_line(error)) from error


def installed_providers() -> list[str]:
    """Our names of the providers that the installed ONNX Runtime brings."""
    installed = ort.get_available_providers()
    return [name for name, ort_name in PROVIDERS.items() if ort_name in installed]


def _info(value: Any) -> TensorInfo:
    kind = _TYPES.get(value.type, value.type.removeprefix("tensor(").removesuffix(")"))
    # A graph that does not say how many dimensions there are has a shape of none, and so has a scalar.
    shape = tuple(size if isinstance(size, int) else None for size in value.shape) or None
    return TensorInfo(value.name, kind, shape)


def _open_session(onnx_file: bytes, provider: str, threads: int, source: str) -> Any:
    wanted = PROVIDERS[provider]
    try:
        session = ort.InferenceSession(
            onnx_file,
            _session_options(threads),
            # Operators that an accelerator lacks run on the CPU.
            providers=list(dict.fromkeys([wanted, PROVIDERS["CPU"]])),
            # ONNX Runtime would otherwise go on with another provider and print a line about it.
            enable_fallback=0,
        )
    except _ERRORS as error:
        raise BundleError(
            f"{source} has a graph that ONNX Runtime {ort.__version__} cannot load with provider {provider}: "
            f"{first_line(error)}; export the bundle again"
        ) from error
    if session.get_providers()[0] != wanted:
        raise EngineError(
            f"provider {provider} is installed but does not start on this machine (driver or library missing); "
            f"select another of {', '.join(installed_providers())}"
        )
    return session


def _session_options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL  # has no second pool that could spin
    # Workers of the pool that wait for the next operator spin for 20 µs and then sleep; ONNX Runtime's default spins for
    # milliseconds, also when idle. A line's cores also decode, answer cameras and the PLC, and a spinning worker keeps
    # them from the very work that it waits for. Measured on 2 cores (lite0 features at 224 px, one image, interleaved
    # runs, ONNX Runtime 1.32), with both cores free | one busy elsewhere: default 6.2 | 30 ms; 20 µs 6.4 | 15 ms; no
    # spinning at all 7.2 | 16 ms; one thread 11.4 | 14 ms. At 30 parts/s the default burnt a whole core while idle.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    # The arena keeps what the largest batch needed (lite0 at 224 px: 30 MiB for one image, 205 MiB for eight); without
    # it every run asks the system for its memory anew, which doubled the time of a batch of eight.
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = True
    # Nothing but fatal: every error is raised, translated and reported once, not also written to the console.
    options.log_severity_level = 4
    return options
