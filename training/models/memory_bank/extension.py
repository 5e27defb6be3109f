"""Adds patches to the memory of an exported graph, or takes them out again, without the data set and without fitting.

What the graph does with its memory is one Gemm, of rows -2 w² b and constants w² b², to which w² q² is added: the smallest sum
is the squared distance of a query q to the nearest patch b of weight w. Only these rows change. With more of them no distance
grows, and neither does any score: whatever passed passes.

An INT8 graph that is changed searches its memory with floats from then on, as what is to be remembered may lie beyond the
range of its integers. That moves its scores, by up to 0.0013 of the limit in a test, up or down.
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
from training.exporting.nodes import searches

_ROWS, _CONSTANTS, _SQUARES = "memory_rows", "memory_constants", "memory_squares"
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
    """An exported memory bank, float or INT8, whose memory can be read and written."""

    def __init__(self, onnx_file: bytes, source: str) -> None:
        """Raises BundleError if the graph has no memory; `source` names it in messages."""
        self._proto = onnx.load_model_from_string(onnx_file)
        self._makers = {name: node for node in self._proto.graph.node for name in node.output}
        found = self._find()
        if found is None:
            raise BundleError(
                f"{source} has a graph whose memory cannot be found, so it cannot be extended: if an earlier version exported "
                "it, export the fitted model again; else fit again with the pictures among the good ones"
            )
        self._gemm, self._product = found
        self._transposed = any(a.name == "transB" and a.i for a in self._gemm.attribute)
        self._queries = self._before_rounding(self._gemm.input[0])
        self._session = self._open()
        blank = np.zeros((1, *self._image_shape()), np.uint8)
        _, _, self._rows, self._constants, *factors = self._run(blank)
        # The squares of the queries come as a column, those of the weights as a row.
        (self._squares,) = (values for values in factors if values.ndim == 1)
        self._squares_at = next(place for place, values in enumerate(factors) if values.ndim == 1)
        if not self._transposed:
            self._rows = np.ascontiguousarray(self._rows.T)
        # What INT8 took off the squared distances, as rounding adds to them: the same is taken off those of further patches.
        self._offset = float(np.median(self._constants / self._squares - np.square(self.memory.points).sum(axis=1)))

    def _find(self) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
        """The Gemm that searches the memory, and the product that is added to it."""
        found = searches(self._proto.graph)
        if len(found) != 1:
            return None
        total = next(node for node in self._proto.graph.node if found[0].output[0] in node.input)
        others = [self._makers[name] for name in total.input if name in self._makers and name != found[0].output[0]]
        return (found[0], others[0]) if [other.op_type for other in others] == ["Mul"] else None

    def _before_rounding(self, name: str) -> str:
        """Where queries stand before they are rounded to 8 bits, if they are."""
        read = self._makers[name]
        return self._makers[read.input[0]].input[0] if read.op_type == "DequantizeLinear" else name

    @property
    def memory(self) -> Memory:
        return Memory(self._rows / (-2.0 * self._squares[:, None]), np.sqrt(self._squares))

    def patches(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Whitened features of each image's patches that count, (patches, dimensions); `images` uint8 (n, h, w, c)."""
        found = []
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            maps, queries, *_ = self._run(batch)
            by_image = queries.reshape(len(batch), -1, queries.shape[1])
            # The map is exactly 0 outside the region of interest, and where it is 0 inside there is nothing to add.
            found += [patches[values.ravel() > 0] for patches, values in zip(by_image, maps, strict=True)]
        return found

    def with_more(self, points: NDArray[np.float32], weights: NDArray[np.float32]) -> bytes:
        """The graph with further patches at the end of its memory."""
        squares = np.square(weights.astype(np.float32))
        rows = -2.0 * squares[:, None] * points
        constants = squares * (np.square(points).sum(axis=1) + self._offset)
        return self._with(
            np.concatenate([self._rows, rows]),
            np.concatenate([self._constants, constants]),
            np.concatenate([self._squares, squares]),
        )

    def without(self, rows: slice) -> bytes:
        """The graph without some rows of its memory."""
        return self._with(*(np.delete(values, rows, axis=0) for values in (self._rows, self._constants, self._squares)))

    def _image_shape(self) -> tuple[int, int, int]:
        _, height, width, channels = self._session.get_inputs()[0].shape
        return height, width, channels

    def _open(self) -> ort.InferenceSession:
        """The graph with what its search reads as further outputs."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        known = {output.name for output in proto.graph.output}
        del proto.graph.value_info[:]
        for name in dict.fromkeys(self._read):
            if name not in known:
                proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        options = ort.SessionOptions()
        options.log_severity_level = 4
        return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])

    @property
    def _read(self) -> list[str]:
        return [self._queries, *self._gemm.input[1:], *self._product.input]

    def _run(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return list(self._session.run(["anomaly_map", *self._read], {"images": images}))

    def _with(self, rows: NDArray[np.float32], constants: NDArray[np.float32], squares: NDArray[np.float32]) -> bytes:
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        graph = proto.graph
        nodes = {node.output[0]: node for node in graph.node}
        gemm, product = nodes[self._gemm.output[0]], nodes[self._product.output[0]]
        gemm.input[:] = [self._queries, _ROWS, _CONSTANTS]
        product.input[self._squares_at] = _SQUARES
        _drop_unused(graph)
        stored = rows if self._transposed else np.ascontiguousarray(rows.T)
        for name, values in ((_ROWS, stored), (_CONSTANTS, constants), (_SQUARES, squares)):
            graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
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
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed - {_ROWS, _CONSTANTS, _SQUARES}]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(initializers)
