"""Small graphs that break the engine's contract in one way each, and one that fails while running."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from toys import serialise


def contract_model(
    *,
    input_name: str = "images",
    input_type: int = TensorProto.UINT8,
    input_shape: tuple[Any, ...] = ("n", 8, 8, 1),
    outputs: dict[str, tuple[int, tuple[Any, ...]]] | None = None,
    second_input: bool = False,
) -> bytes:
    """A graph that declares the given inputs and outputs; each output is a reshaped copy of the input's mean."""
    outputs = {"score": (TensorProto.FLOAT, ("n",))} if outputs is None else outputs
    inputs = [helper.make_tensor_value_info(input_name, input_type, list(input_shape))]
    if second_input:
        inputs.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["n"]))
    nodes = [
        helper.make_node("Cast", [input_name], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["mean"], keepdims=0),
    ]
    constants = [onnx.numpy_helper.from_array(np.arange(1, len(input_shape)), "axes")]
    declared = []
    for name, (kind, shape) in outputs.items():
        target = [-1] + [size if isinstance(size, int) else 1 for size in shape[1:]]
        constants.append(onnx.numpy_helper.from_array(np.array(target, np.int64), f"{name}_shape"))
        nodes.append(helper.make_node("Reshape", ["mean", f"{name}_shape"], [f"{name}_float"]))
        nodes.append(helper.make_node("Cast", [f"{name}_float"], [name], to=kind))
        declared.append(helper.make_tensor_value_info(name, kind, list(shape)))
    return serialise(helper.make_graph(nodes, "contract", inputs, declared, constants))


def nan_model() -> bytes:
    """Scores mean / mean: NaN for a black image, 1 for any other."""
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "mean"], ["score"]),
    ]
    return _score_graph(nodes, [onnx.numpy_helper.from_array(np.array([1, 2, 3]), "axes")])


def failing_model() -> bytes:
    """Raises in ONNX Runtime for batches that hold an image whose first pixel is above 200: an index out of range."""
    nodes = [
        helper.make_node("Cast", ["images"], ["numbers"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["numbers", "flat"], ["rows"]),
        helper.make_node("Gather", ["rows", "zero"], ["first"], axis=1),
        helper.make_node("Gather", ["table", "first"], ["score"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([-1, 64], np.int64), "flat"),
        onnx.numpy_helper.from_array(np.array(0, np.int64), "zero"),
        onnx.numpy_helper.from_array(np.arange(201, dtype=np.float32), "table"),
    ]
    return _score_graph(nodes, constants)


def free_classes_model() -> bytes:
    """Gives as many class scores as its brightest pixel says, which no one can know before it runs."""
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["score"], keepdims=0),
        helper.make_node("Unsqueeze", ["score", "one"], ["column"]),
        helper.make_node("ReduceMax", ["floats"], ["brightest"], keepdims=0),
        helper.make_node("Cast", ["brightest"], ["count"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["count", "one"], ["counts"]),
        helper.make_node("Concat", ["one", "counts"], ["repeats"], axis=0),
        helper.make_node("Tile", ["column", "repeats"], ["class_scores"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
        onnx.numpy_helper.from_array(np.array([1]), "one"),
    ]
    class_scores = helper.make_tensor_value_info("class_scores", TensorProto.FLOAT, ["n", "k"])
    return _score_graph(nodes, constants, class_scores)


def _score_graph(nodes: list[Any], constants: list[Any], *more_outputs: Any) -> bytes:
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 8, 8, 1])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])
    return serialise(helper.make_graph(nodes, "score", [images], [score, *more_outputs], constants))
