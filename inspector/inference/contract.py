"""What a bundle's graph takes and gives, whoever runs it, and what an engine needs of its runner.

Input `images` uint8 (n, height, width, channels); outputs as in `OUTPUT_RANKS`, all float32, `score` at least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.errors import BundleError

INPUT = "images"
SCORE, MAP, CLASS_SCORES, CLASS_MAPS = "score", "anomaly_map", "class_scores", "class_maps"
OUTPUT_RANKS: Mapping[str, int] = {SCORE: 1, MAP: 3, CLASS_SCORES: 2, CLASS_MAPS: 4}
"""Dimensions of each output that the line knows: (n,), (n, rows, columns), (n, classes), (n, classes, rows, columns). Others
are not asked for."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output as a graph declares it: `type` as numpy names it, None in `shape` where a size is free.

    `shape` of None means that the graph does not say even how many dimensions there are.
    """

    name: str
    type: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.type} of any shape"
        return f"{self.type} ({', '.join('n' if size is None else str(size) for size in self.shape)})"


class RunError(Exception):
    """A runner could not run its graph; the engine says for which bundle, and translates it into EngineError."""


class Runner(Protocol):
    """A graph that is ready to run. `run` may be called from several threads."""

    @property
    def inputs(self) -> Sequence[TensorInfo]: ...

    @property
    def outputs(self) -> Sequence[TensorInfo]: ...

    def run(self, outputs: Sequence[str], images: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The named outputs for images, uint8 (n, height, width, channels). Raises RunError."""
        ...


def check_contract(runner: Runner, image_shape: tuple[int, int, int], classes: int, source: str) -> list[str]:
    """Names of the outputs to ask for; raises BundleError with every difference from the graph contract."""
    problems = _input_problems(runner.inputs, image_shape)
    outputs = {output.name: output for output in runner.outputs}
    if SCORE not in outputs:
        problems.append(f"it has outputs {', '.join(outputs) or 'none'}, expected {SCORE}")
    for name, rank in OUTPUT_RANKS.items():
        output = outputs.get(name)
        if output is None:
            continue
        if output.type != "float32" or (output.shape is not None and len(output.shape) != rank):
            problems.append(f"output {name} is {output}, expected float32 of {rank} dimensions")
        elif name in (CLASS_SCORES, CLASS_MAPS) and output.shape is not None and output.shape[1] not in (None, classes):
            problems.append(f"output {name} has {output.shape[1]} columns for {classes} classes")
    if problems:
        raise BundleError(f"{source} breaks the graph contract: {'; '.join(problems)}. Export the bundle again")
    return [name for name in OUTPUT_RANKS if name in outputs]


def _input_problems(inputs: Sequence[TensorInfo], image_shape: tuple[int, int, int]) -> list[str]:
    if [value.name for value in inputs] != [INPUT]:
        return [f"it has inputs {', '.join(value.name for value in inputs) or 'none'}, expected {INPUT} alone"]
    images = inputs[0]
    wanted = (None, *image_shape)
    fits = images.shape is None or (
        len(images.shape) == 4
        and all(size is None or size == expected for size, expected in zip(images.shape, wanted, strict=True))
    )
    if images.type != "uint8" or not fits:
        return [f"input {INPUT} is {images}, expected {TensorInfo(INPUT, 'uint8', wanted)}"]
    return []


def first_line(error: Exception) -> str:
    """Messages of runtimes run over many lines and name their build's paths; the first says it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
