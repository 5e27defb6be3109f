"""Biases of an INT8 graph, each moved by what the means of its channels differ from those in the float32 graph.

Rounding weights and activations shifts channels by more than it scatters them: of the classifier's pooled features on magnetic
tiles the shift was 0.56 of their deviation, the rest 0.14. A shift costs nothing to take back: it goes into the bias. The
mean of a search's squared distances is treated alike.

Means are over all of a picture: with a small region of interest they are mostly of the even grey around it, and less is gained.

Source: "empirical bias correction" in Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019, and Nagel et al., "A White Paper on Neural Network Quantization", 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from inspector.errors import BundleError
from training.exporting.nodes import ACTIVATIONS, SEARCH

_QUANTISED, _SCALE, _DEQUANTISED = "_quantized", "_quantized_scale", "_DequantizeLinear_Output"
"""What ONNX Runtime's quantiser appends to the names of biases, of their scales, and of values read back from 8 bits."""
_MOVES = {"Conv": ACTIVATIONS, SEARCH: ("Add",)}
"""What has a bias, and what of it follows before the mean is taken: an activation, or the squares that make it a distance."""
_LARGEST = 2**30
"""A bias is held in int32 and must leave room for the sum that it is added to."""


def give_biases(proto: onnx.ModelProto, nodes: set[str]) -> None:
    """Give each named convolution and search a bias of its own: one of 0 if it has none, a copy of one that it shares."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    taken: set[str] = set()
    for node in proto.graph.node:
        if node.name not in nodes or node.op_type not in _MOVES or node.input[1] not in tensors:
            continue
        if len(node.input) < 3:
            values = np.zeros(tensors[node.input[1]].dims[0], np.float32)
        elif node.input[2] in taken:
            values = numpy_helper.to_array(tensors[node.input[2]])
        else:
            taken.add(node.input[2])
            continue
        name = f"{node.output[0]}_bias"
        proto.graph.initializer.append(numpy_helper.from_array(values, name))
        del node.input[2:]
        node.input.append(name)


class BiasCorrection:
    """Knows the means of a float32 graph, and moves the biases of INT8 graphs of it."""

    def __init__(self, original: onnx.ModelProto, images: NDArray[np.uint8]) -> None:
        """Means are those of `images`, uint8 (n, h, w, c), as the graph takes them, n ≥ 1, over all their pixels."""
        self._images = images
        self._values = _values(original)
        self._wanted = _means(original, list(self._values.values()), images)

    def correct(self, rounded: onnx.ModelProto) -> None:
        """Move the biases of an INT8 graph in place, from input to output: later ones are measured with earlier ones moved.

        Raises BundleError if a bias in 8 bits has nothing to be measured by.
        """
        tensors = {tensor.name: tensor for tensor in rounded.graph.initializer}
        names = {name for node in rounded.graph.node for name in node.output}
        for bias, value in self._values.items():
            if bias + _QUANTISED not in tensors:
                continue  # it stays float
            name = value + _DEQUANTISED if value + _DEQUANTISED in names else value
            if name not in names or bias + _SCALE not in tensors:
                raise BundleError(
                    f"the INT8 graph has nothing to correct its bias {bias} by: ONNX Runtime's quantiser names values "
                    "otherwise than it did. Install the pinned version of onnxruntime, or export with --precision fp32"
                )
            shift = _means(rounded, [name], self._images)[name] - self._wanted[value]
            numbers, scales = (numpy_helper.to_array(tensors[bias + part]) for part in (_QUANTISED, _SCALE))
            moved = np.clip(numbers - np.round(shift / scales), -_LARGEST, _LARGEST).astype(np.int32)
            tensors[bias + _QUANTISED].CopyFrom(numpy_helper.from_array(moved, bias + _QUANTISED))


def _values(original: onnx.ModelProto) -> dict[str, str]:
    """By the bias of each convolution and search, in the order of the graph: the value that it moves."""
    takers: dict[str, list[onnx.NodeProto]] = {}
    for node in original.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    found = {}
    for node in original.graph.node:
        if node.op_type not in _MOVES or len(node.input) < 3:
            continue
        value = node.output[0]
        after = takers.get(value, [])
        if len(after) == 1 and after[0].op_type in _MOVES[node.op_type]:
            value = after[0].output[0]
        found[node.input[2]] = value
    return found


def _means(proto: onnx.ModelProto, values: Sequence[str], images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """The mean of each channel of each value (n, channels, …), over all images and places."""
    cut = onnx.ModelProto()
    cut.CopyFrom(proto)
    del cut.graph.output[:]
    cut.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Integers computed with floats: not with what sums of this machine's processor saturate at.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(cut.SerializeToString(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    sums: dict[str, NDArray[np.float64]] = {}
    for image in images:
        for name, found in zip(values, session.run(list(values), {source: image[None]}), strict=True):
            others = tuple(axis for axis in range(found.ndim) if axis != 1)
            sums[name] = sums.get(name, np.zeros(found.shape[1])) + found.mean(others, dtype=np.float64)
    return {name: total / len(images) for name, total in sums.items()}
