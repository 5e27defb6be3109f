"""Adds patches to the memory of an exported graph, or takes them out again, without the data set and without fitting.

What the graph does with its memory is one Gemm: rows of (-2 w² b, w²) and w² b², whose smallest output is the squared
distance to the nearest patch b of weight w. Only these rows change. With more of them no distance grows, and neither does
any score: whatever passed passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper

from inspector.errors import BundleError

_ROWS, _CONSTANTS = "memory_rows", "memory_constants"
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Memory:
    """The patches that a graph remembers: `points` (patches, dimensions) and `weights` (patches,), float32."""

    points: NDArray[np.float32]
    weights: NDArray[np.float32]

    def reach(self) -> float:
        """How far a remembered patch typically is from the next one, which is how densely the memory covers good parts."""
        squared = _squared_distances(self.points, self.points)
        np.fill_diagonal(squared, np.inf)
        return float(np.median(np.sqrt(squared.min(axis=1))))


class MemoryGraph:
    """An exported memory bank, float or with quantised convolutions, whose memory can be read and written."""

    def __init__(self, onnx_file: bytes, source: str) -> None:
        """Raises BundleError if the graph has no memory; `source` names it in messages."""
        self._proto = onnx.load_model_from_string(onnx_file)
        smallest = {node.input[0] for node in self._proto.graph.node if node.op_type == "ReduceMin"}
        nodes = [n for n in self._proto.graph.node if n.op_type == "Gemm" and n.output[0] in smallest]
        if len(nodes) != 1 or len(nodes[0].input) != 3:
            raise BundleError(
                f"{source} has a graph whose memory cannot be found, so it cannot be extended: fit it again with the pictures "
                "among the good ones"
            )
        self._node = nodes[0]
        self._transposed = any(a.name == "transB" and a.i for a in self._node.attribute)
        self._session = self._open()
        blank = np.zeros((1, *self._image_shape()), np.uint8)
        _, _, self._rows, self._constants = self._run(blank)
        if not self._transposed:
            self._rows = np.ascontiguousarray(self._rows.T)

    @property
    def memory(self) -> Memory:
        squares = self._rows[:, -1]
        return Memory(self._rows[:, :-1] / (-2.0 * squares[:, None]), np.sqrt(squares))

    def patches(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Whitened features of each image's patches that count, (patches, dimensions); `images` uint8 (n, h, w, c)."""
        found = []
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            maps, queries, _, _ = self._run(batch)
            by_image = queries[:, :-1].reshape(len(batch), -1, queries.shape[1] - 1)
            # The map is exactly 0 outside the region of interest, and where it is 0 inside there is nothing to add.
            found += [patches[values.ravel() > 0] for patches, values in zip(by_image, maps, strict=True)]
        return found

    def with_more(self, points: NDArray[np.float32], weights: NDArray[np.float32]) -> bytes:
        """The graph with further patches at the end of its memory."""
        squares = np.square(weights.astype(np.float32))
        rows = np.concatenate([-2.0 * squares[:, None] * points, squares[:, None]], axis=1)
        constants = squares * np.square(points).sum(axis=1)
        return self._with(np.concatenate([self._rows, rows]), np.concatenate([self._constants, constants]))

    def without(self, rows: slice) -> bytes:
        """The graph without some rows of its memory."""
        return self._with(np.delete(self._rows, rows, axis=0), np.delete(self._constants, rows))

    def _image_shape(self) -> tuple[int, int, int]:
        _, height, width, channels = self._session.get_inputs()[0].shape
        return height, width, channels

    def _open(self) -> ort.InferenceSession:
        """The graph with what its Gemm reads as further outputs."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        known = {output.name for output in proto.graph.output}
        del proto.graph.value_info[:]
        for name in dict.fromkeys(self._node.input):
            if name not in known:
                proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        options = ort.SessionOptions()
        options.log_severity_level = 4
        return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def _run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return list(self._session.run(["anomaly_map", *self._node.input], {"images": images}))

    def _with(self, rows: NDArray[np.float32], constants: NDArray[np.float32]) -> bytes:
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        graph = proto.graph
        node = next(n for n in graph.node if n.output[0] == self._node.output[0])
        node.input[1], node.input[2] = _ROWS, _CONSTANTS
        _drop_unused(graph)
        stored = rows if self._transposed else np.ascontiguousarray(rows.T)
        graph.initializer.append(numpy_helper.from_array(stored.astype(np.float32), _ROWS))
        graph.initializer.append(numpy_helper.from_array(constants.astype(np.float32), _CONSTANTS))
        del graph.value_info[:]  # states the old shapes; ONNX Runtime finds them by itself
        return bytes(proto.SerializeToString())


def uncovered(memory: Memory, patches: Sequence[NDArray[np.float32]], most: int) -> NDArray[np.float32]:
    """Patches farther from all that is remembered than its reach, until the rest is covered or there are `most`.

    The farthest first, as the memory itself was chosen (greedy k-centre). Returns float32 (patches, dimensions).
    """
    pool = np.concatenate([*patches])
    nearest = np.sqrt(_nearest_squared(pool, memory.points))
    reach = memory.reach()
    chosen: list[int] = []
    while len(chosen) < most and len(pool) and nearest.max() > reach:
        chosen.append(int(nearest.argmax()))
        distances = np.linalg.norm(pool - pool[chosen[-1]], axis=1)
        nearest = np.minimum(nearest, distances)
        nearest[chosen[-1]] = 0.0
    return np.asarray(pool[chosen], np.float32)


def weights_for(memory: Memory, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights of new patches, float32 (n,): as in fitting, lower the farther a patch is from others, within those known."""
    distances = np.sqrt(_nearest_squared(points, memory.points))
    weights = np.sqrt(memory.reach() / np.maximum(distances, 1e-6)) * float(np.median(memory.weights))
    return np.clip(weights, memory.weights.min(), memory.weights.max()).astype(np.float32)


def _nearest_squared(points: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(_squared_distances(points, others).min(axis=1, initial=np.inf))


def _squared_distances(points: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    ours, theirs = points.astype(np.float64), others.astype(np.float64)
    squared = np.square(ours).sum(axis=1)[:, None] + np.square(theirs).sum(axis=1) - 2.0 * ours @ theirs.T
    return np.asarray(np.maximum(squared, 0.0))


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and constants that no output needs any more, and the memory that an earlier change wrote."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed.update(node.input)
    kept.reverse()
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed - {_ROWS, _CONSTANTS}]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(initializers)
