"""A float32 graph as an INT8 graph: static, QDQ, weights by channel, ranges measured on images that the model was fitted on.

Sources: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR
2018; "Quantize ONNX models" in ONNX Runtime's documentation; for biases see `biases.py`. Weights keep 8 bits: 7, which
processors without VNNI would need for exact sums, made scores five times as wrong (magnetic tiles, biases uncorrected); the
golden self-test refuses a processor that saturates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from inspector.errors import BundleError
from training.exporting.biases import BiasCorrection, give_biases
from training.exporting.graph import quiet, strip
from training.exporting.nodes import OP_TYPES, SEARCH, NodeGroup, node_groups, searches

# What the quantiser raises for graphs that it cannot take; it has no exceptions of its own, and those of ONNX Runtime no base.
_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    onnx.shape_inference.InferenceError,
    MemoryError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    AssertionError,
    IndexError,
    NotImplementedError,
)
# What it raises for a draft that it could not write whole, as on a full disk.
_UNWRITTEN = (OSError, DecodeError, ort_state.InvalidProtobuf, ort_state.NoSuchFile)
_FOR_BIASES = 16
"""Images on which biases are corrected; with 12 and 24 the error that was left was the same (classifier, magnetic tiles)."""
# ONNX Runtime's general error is of a draft if it says this.
_OF_A_DRAFT = "Load model from"


class Int8:
    """Makes INT8 graphs of one float32 graph, with some groups of nodes left float."""

    def __init__(self, graph: bytes, taught: NDArray[np.uint8], folder: Path) -> None:
        """`taught` are the images that ranges are measured on, uint8 (n, h, w, c), n ≥ 1; `folder` takes drafts.

        Raises BundleError if the graph cannot be prepared or has nothing that INT8 makes faster.
        """
        self._taught = taught
        self._prepared = folder / "prepared.onnx"
        self._ranges = folder / "ranges.json"
        self._draft = folder / "int8.onnx"
        original = folder / "float32.onnx"
        with _drafting(folder):
            original.write_bytes(graph)
            # Folds constants and normalisations into the convolutions, so that these are what is measured.
            quant_pre_process(str(original), str(self._prepared), skip_symbolic_shape=True)
            prepared = onnx.load(self._prepared)
            self.groups: list[NodeGroup] = node_groups(prepared.graph)
        if not self.groups:
            raise BundleError(
                "the model has no convolutions that INT8 would make faster; export it with --precision fp32"
            )
        with _drafting(folder):
            self.groups += [NodeGroup(node.name, (node.name,)) for node in _set_apart(prepared)]
            give_biases(prepared, {node for group in self.groups for node in group.nodes})
            onnx.save(prepared, self._prepared)
            spread = np.linspace(0, len(taught) - 1, min(_FOR_BIASES, len(taught))).round().astype(int)
            self._biases = BiasCorrection(prepared, taught[spread])

    def make(self, groups: Sequence[NodeGroup]) -> bytes:
        """The graph with these groups in INT8, their biases corrected, and all else in float32. Raises BundleError."""
        with _drafting(self._draft.parent), quiet(""):
            quantize_static(
                str(self._prepared),
                str(self._draft),
                None if self._ranges.exists() else _Reader(self._taught),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(OP_TYPES),
                nodes_to_quantize=[node for group in groups for node in group.nodes],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                # What a search finds are distances, far more than 8 bits tell apart.
                extra_options={"OpTypesToExcludeOutputQuantization": [SEARCH]},
                calibration_cache_path=str(self._ranges),
            )
            proto = onnx.load(self._draft)
            self._biases.correct(proto)
        strip(proto)
        return bytes(proto.SerializeToString())


def _set_apart(prepared: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Let searches read from nodes of their own, and name them: what else reads the same, such as squares, then stays float.

    The square of a defect says how far off it is, also beyond the range of 8 bits. With squares of 8 bits a defect that scored
    403 scored 178, and the limit was 262 (drawn by a test).
    """
    constants = {tensor.name for tensor in prepared.graph.initializer}
    found = [node for node in searches(prepared.graph) if node.input[1] in constants]
    nodes = list(prepared.graph.node)
    for search in found:
        name = f"{search.name}_searched"
        place = next(number for number, node in enumerate(nodes) if node.name == search.name)
        nodes.insert(place, onnx.helper.make_node("Identity", [search.input[0]], [name], name))
        search.input[0] = name
    del prepared.graph.node[:]
    prepared.graph.node.extend(nodes)
    return found


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Images one at a time, as ONNX Runtime asks for them."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._images, None)
        return None if image is None else {"images": image[None]}


@contextmanager
def _drafting(folder: Path) -> Iterator[None]:
    """Translates what the quantiser raises while it makes drafts in `folder`. Raises BundleError."""
    try:
        yield
    except _UNWRITTEN as error:
        raise unwritten(folder, error) from error
    except _ERRORS as error:
        if isinstance(error, ort_state.Fail) and _OF_A_DRAFT in str(error):
            raise unwritten(folder, error) from error
        raise BundleError(
            f"the model cannot be converted to INT8 ({type(error).__name__}: {_first_line(error)}). Nothing was written; "
            "export it with --precision fp32, and report this with the kind of model"
        ) from error


def unwritten(folder: Path, error: Exception) -> BundleError:
    """No draft can be made in a folder, or what was written there is not whole."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else _first_line(error)
    return BundleError(
        f"drafts of the INT8 graph cannot be written below {folder.parent}: {reason}. Nothing was written; free space there, "
        "or name a folder on another disk in the environment variable TMPDIR"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]
