"""Runs a bundle's graph with ONNX Runtime: images in, scores out, nothing in between that training does not do too.

Graph contract: input `images` uint8 (n, height, width, channels); outputs `score` float32 (n,), and if the model has
them `anomaly_map` float32 (n, rows, columns) and `class_scores` float32 (n, classes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from inspector.errors import BundleError, EngineError
from inspector.inference.bundle import MODEL_FILE, Bundle, InputSpec
from inspector.inference.cores import usable_cores
from inspector.inference.graph import check_graph
from inspector.inference.self_test import GoldenCheck, SelfTest, self_test
from inspector.part import Scores

__all__ = ["PROVIDERS", "Engine", "GoldenCheck", "Model", "SelfTest", "available_providers", "self_test"]

PROVIDERS = {
    "CPU": "CPUExecutionProvider",
    "CUDA": "CUDAExecutionProvider",
    "TensorRT": "TensorrtExecutionProvider",
    "OpenVINO": "OpenVINOExecutionProvider",
}
"""Our names of ONNX Runtime's execution providers."""

_INPUT = "images"
_SCORE, _MAP, _CLASS_SCORES = "score", "anomaly_map", "class_scores"
_RANKS = {_SCORE: 1, _MAP: 3, _CLASS_SCORES: 2}

# ONNX Runtime's exceptions have no common base of their own; the others are what its Python layer and pybind11 raise.
_ORT_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    RuntimeError,
    ValueError,
    TypeError,
    MemoryError,
)


class Model:
    """A graph ready to score images. Training scores with it before there is a bundle; the line uses `Engine`.

    Safe to call from several threads, though one after the other is as fast: a run uses all its threads.
    """

    def __init__(
        self,
        onnx_file: bytes,
        input_spec: InputSpec,
        classes: Sequence[str],
        *,
        provider: str = "CPU",
        threads: int = 0,
        source: str = "model",
    ) -> None:
        """Load a graph; `threads` of 0 means one per physical core that this process may use.

        Raises BundleError if the graph is not as the contract and `input_spec` say, EngineError if the provider is
        missing here; `source` names the model in messages.
        """
        self.provider = provider
        self.threads = threads or usable_cores()
        self._source = source
        self._classes = tuple(classes)
        self._image_shape = (input_spec.height_px, input_spec.width_px, input_spec.channels)
        check_graph(onnx_file, source)
        self._session = _open_session(onnx_file, provider, self.threads, source)
        self._outputs = _check_contract(self._session, self._image_shape, len(self._classes), source)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one model input."""
        return self._image_shape

    def infer(self, batch: NDArray[np.uint8]) -> list[Scores]:
        """Score images, uint8 (n, height, width, channels), n ≥ 1, as `image_shape` says; one `Scores` for each.

        Scores do not depend on the batch beyond float rounding. Anomaly maps are views of one array for the batch.
        Raises EngineError if the input has another shape or dtype, or the model fails.
        """
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != self._image_shape or not len(batch):
            expected = "(n, {}, {}, {})".format(*self._image_shape)
            raise EngineError(
                f"{self._source} got images of {batch.dtype} {batch.shape}, expected uint8 {expected}: "
                "normalise frames to the bundle's input"
            )
        try:
            results = self._session.run(self._outputs, {_INPUT: batch})
        except _ORT_ERRORS as error:
            raise EngineError(
                f"{self._source} failed on {len(batch)} images with provider {self.provider}: {_first_line(error)}; "
                "run the bundle's self-test, then export it again or select another provider"
            ) from error
        return self._to_scores(dict(zip(self._outputs, results, strict=True)), len(batch))

    def warm_up(self, max_batch: int = 1) -> None:
        """Run blank images alone and as a full batch, so that the first part finds memory and kernels ready."""
        for count in sorted({1, max_batch}):
            for _ in range(2):
                self.infer(np.zeros((count, *self._image_shape), np.uint8))

    def _to_scores(self, results: dict[str, NDArray[np.float32]], count: int) -> list[Scores]:
        for name, values in results.items():
            if values.shape[:1] != (count,) or values.ndim != _RANKS[name]:
                raise EngineError(
                    f"{self._source} gave {name} of shape {values.shape} for {count} images: export the bundle again"
                )
        maps = results.get(_MAP)
        class_scores = results.get(_CLASS_SCORES)
        return [
            Scores(
                score=float(results[_SCORE][i]),
                anomaly_map=None if maps is None else maps[i],
                class_scores={} if class_scores is None else self._by_class(class_scores[i]),
            )
            for i in range(count)
        ]

    def _by_class(self, values: NDArray[np.float32]) -> dict[str, float]:
        if len(values) != len(self._classes):
            raise EngineError(
                f"{self._source} gave {len(values)} class scores for {len(self._classes)} classes: export the bundle again"
            )
        return dict(zip(self._classes, values.tolist(), strict=True))


class Engine(Model):
    """A bundle on this machine: its graph with its input and classes. Run `self_test` before it judges parts."""

    def __init__(self, bundle: Bundle, provider: str = "CPU", threads: int = 0) -> None:
        """Load the graph of `bundle`, held against its hash once more: what runs is what was checked.

        Raises BundleError or BundleTampered if the graph is not what it should be, EngineError if `provider` is not
        available here.
        """
        self.bundle = bundle
        super().__init__(
            bundle.read(MODEL_FILE),
            bundle.manifest.input,
            bundle.manifest.classes,
            provider=provider,
            threads=threads,
            source=f"bundle {bundle.label}",
        )


def available_providers() -> list[str]:
    """Our names of the providers that the installed ONNX Runtime brings."""
    installed = ort.get_available_providers()
    return [name for name, ort_name in PROVIDERS.items() if ort_name in installed]


def _open_session(onnx_file: bytes, provider: str, threads: int, source: str) -> Any:
    if provider not in available_providers():
        known = "is not installed" if provider in PROVIDERS else "is unknown"
        raise EngineError(
            f"provider {provider} {known}; available here: {', '.join(available_providers())}. "
            "Select one of these, or install the ONNX Runtime build that has it"
        )
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
    except _ORT_ERRORS as error:
        raise BundleError(
            f"{source} has a graph that ONNX Runtime {ort.__version__} cannot load with provider {provider}: "
            f"{_first_line(error)}; export the bundle again"
        ) from error
    if session.get_providers()[0] != wanted:
        raise EngineError(
            f"provider {provider} is installed but does not start on this machine (driver or library missing); "
            f"select another of {', '.join(available_providers())}"
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


def _check_contract(session: Any, image_shape: tuple[int, int, int], classes: int, source: str) -> list[str]:
    """Names of the outputs to ask for; raises BundleError with every difference from the graph contract."""
    problems = _input_problems(session.get_inputs(), image_shape)
    outputs = {output.name: output for output in session.get_outputs()}
    if _SCORE not in outputs:
        problems.append(f"it has outputs {', '.join(outputs)}, expected {_SCORE}")
    for name, rank in _RANKS.items():
        output = outputs.get(name)
        if output is not None and (output.type != "tensor(float)" or len(output.shape) not in (0, rank)):
            problems.append(f"output {name} is {output.type} {output.shape}, expected float of {rank} dimensions")
    if _CLASS_SCORES in outputs and outputs[_CLASS_SCORES].shape[1:] not in ([], [classes]):
        columns = outputs[_CLASS_SCORES].shape[1]
        if isinstance(columns, int):
            problems.append(f"output {_CLASS_SCORES} has {columns} columns for {classes} classes")
    if problems:
        raise BundleError(f"{source} breaks the graph contract: {'; '.join(problems)}. Export the bundle again")
    return [name for name in _RANKS if name in outputs]


def _input_problems(inputs: Sequence[Any], image_shape: tuple[int, int, int]) -> list[str]:
    if [value.name for value in inputs] != [_INPUT]:
        return [f"it has inputs {', '.join(value.name for value in inputs) or 'none'}, expected {_INPUT} alone"]
    images = inputs[0]
    expected = [None, *image_shape]
    fits = len(images.shape) == 4 and all(
        not isinstance(size, int) or size == wanted for size, wanted in zip(images.shape, expected, strict=True)
    )
    if images.type != "tensor(uint8)" or not fits:
        return [f"input {_INPUT} is {images.type} {images.shape}, expected uint8 {['n', *image_shape]}"]
    return []


def _first_line(error: Exception) -> str:
    """ONNX Runtime's messages run over many lines and name its build's paths; the first says it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
