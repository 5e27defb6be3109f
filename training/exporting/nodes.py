"""Which nodes of a graph may be computed with less precision, in groups from input to output.

That are the convolutions that do the work, with the activations and sums between them. Everything else, such as the
normalisation of the input and what makes a score of features, stays float32: it costs little time and rounds badly. But for
one: the matrix product that searches a memory may be one of integers, as the squares beside it stay float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

ACTIVATIONS = ("Clip", "Relu")
SEARCH = "Gemm"
OP_TYPES = ("Conv", *ACTIVATIONS, "Add", SEARCH)
_MIN_WEIGHTS, _MIN_CHANNELS = 256, 8
"""Smaller convolutions are blurs and the like: part of how a map is made, not of the backbone."""
_MAX_GROUPS = 12


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Neighbouring nodes, named from the first convolution to the last."""

    name: str
    nodes: tuple[str, ...]


def node_groups(graph: onnx.GraphProto) -> list[NodeGroup]:
    """Convolutions in groups of about as many each, in the order of the graph; none if there is nothing to gain."""
    weights: dict[str, Sequence[int]] = {tensor.name: tensor.dims for tensor in graph.initializer}
    chains: list[list[str]] = []
    chain_of: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "Conv" and _is_large(node, weights):
            chains.append([node.name])
            chain_of[node.output[0]] = len(chains) - 1
        elif (chain := _continues(node, chain_of, weights)) is not None:
            chains[chain].append(node.name)
            chain_of[node.output[0]] = chain
    if not chains:
        return []
    pieces = np.array_split(np.arange(len(chains)), min(_MAX_GROUPS, len(chains)))
    return [_group([chains[index] for index in piece]) for piece in pieces]


def searches(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The matrix products that search a memory: squares are added to each, and the smallest sum is looked for."""
    makers = {name: node for node in graph.node for name in node.output}
    found = []
    for node in graph.node:
        total = makers.get(node.input[0]) if node.op_type == "ReduceMin" else None
        if total is not None and total.op_type == "Add":
            found += [makers[name] for name in total.input if name in makers and makers[name].op_type == SEARCH]
    return [node for node in found if len(node.input) == 3]


def _is_large(node: Any, weights: Mapping[str, Sequence[int]]) -> bool:
    shape = weights.get(node.input[1], ())
    return len(shape) > 0 and shape[0] >= _MIN_CHANNELS and int(np.prod(shape)) >= _MIN_WEIGHTS


def _continues(node: Any, chain_of: Mapping[str, int], weights: Mapping[str, Sequence[int]]) -> int | None:
    """The chain that an activation, or a sum of two chains, belongs to: the later one."""
    if node.op_type in ACTIVATIONS:
        return chain_of.get(node.input[0])
    if node.op_type == "Add" and all(name in chain_of for name in node.input):
        return max(chain_of[name] for name in node.input)
    return None


def _group(chains: Sequence[Sequence[str]]) -> NodeGroup:
    first, last = chains[0][0], chains[-1][0]
    name = first if first == last else f"{first} to {last}"
    return NodeGroup(name, tuple(node for chain in chains for node in chain))
