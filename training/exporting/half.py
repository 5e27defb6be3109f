"""A float32 graph with its convolutions in float16, for GPUs. CPUs compute them in float32 all the same.

Only the convolutions: sums of squared pixels and distances between features leave float16's range or its three digits. The
converters of ONNX Runtime and onnxconverter-common round what flows between blocked nodes to float16 as well, which made
squares of pixels infinite; so the few nodes are converted here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from inspector.errors import BundleError
from training.exporting.graph import strip
from training.exporting.nodes import node_groups

_LARGEST = float(np.finfo(np.float16).max)


def to_half(graph: bytes) -> bytes:
    """The graph with large convolutions, and what is between them, in float16; inputs and outputs stay as they are.

    Raises BundleError if it cannot be converted or has nothing to convert.
    """
    proto = onnx.load_model_from_string(graph)
    halved = {node for group in node_groups(proto.graph) for node in group.nodes}
    if not halved:
        raise BundleError(
            "the model has no convolutions that float16 would make faster; export it with --precision fp32"
        )
    try:
        _convert(proto.graph, halved)
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [""])[0][:300]
        raise BundleError(
            f"the model cannot be converted to float16 ({type(error).__name__}: {reason}). Nothing was written; export it "
            "with --precision fp32, and report this with the kind of model"
        ) from error
    strip(proto)
    return bytes(proto.SerializeToString())


def _convert(graph: onnx.GraphProto, halved: set[str]) -> None:
    outside = {name for node in graph.node if node.name not in halved for name in node.input}
    outside |= {output.name for output in graph.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    known: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    for node in list(graph.node):
        if node.name in halved:
            nodes += _half_inputs(graph, node, weights, known)
            kept = list(node.output)
            node.output[:] = [_half(name) for name in kept]
            known.update(kept)
            nodes.append(node)
            nodes += [_cast(_half(name), name, TensorProto.FLOAT) for name in kept if name in outside]
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    for tensor in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(tensor)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # types of tensors that changed


def _half_inputs(
    graph: onnx.GraphProto, node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], known: set[str]
) -> Iterator[onnx.NodeProto]:
    """Let a node read halves; gives the casts that make those which are not `known` yet."""
    for position, name in enumerate(node.input):
        if not name:  # an optional input that is left out
            continue
        if name in weights and name not in known:
            values = np.clip(numpy_helper.to_array(weights[name]), -_LARGEST, _LARGEST).astype(np.float16)
            graph.initializer.append(numpy_helper.from_array(values, _half(name)))
        elif name not in known:
            yield _cast(name, _half(name), TensorProto.FLOAT16)
        known.add(name)
        node.input[position] = _half(name)


def _half(name: str) -> str:
    return f"{name}/half"


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=kind)
