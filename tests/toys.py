"""A toy bundle for tests of every room: the score is the mean brightness of the image, the map its pixels.

Bright means defective: an image of value v scores v / 255. Deterministic, 1 KiB, opens and runs in milliseconds.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from inspector.inference.bundle import Bundle, GoldenImage, InputSpec, LimitBasis, Manifest, write_bundle
from inspector.part import Limits, Verdict

TOY_LIMIT = 0.5


def toy_model(
    *,
    size: int = 32,
    channels: int = 1,
    with_map: bool = True,
    classes: int = 0,
    delay_loops: int = 0,
    outlines: bool = False,
) -> bytes:
    """The ONNX file of the toy: uint8 (n, size, size, channels) in, mean / 255 out, with a map of (size, size).

    `classes` > 0 adds class scores: the mean for class 0 and less for the others. `delay_loops` adds that many
    multiplications of 256 × 256 matrices (some 0.2 ms each) and changes no score. `outlines` adds maps of the `classes`: each
    pixel's brightness for class 0, and 0 for the others.
    """
    image_shape = ["n", size, size, channels]
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "white"], ["shares"]),
        helper.make_node("ReduceMean", ["shares", "pixel_axes"], ["raw_score"], keepdims=0),
        helper.make_node("Add", ["raw_score", "nothing"], ["score"]),
    ]
    constants = [
        _constant("white", np.float32(255)),
        _constant("pixel_axes", np.array([1, 2, 3], np.int64)),
    ]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])]
    if with_map:
        nodes.append(helper.make_node("ReduceMean", ["shares", "channel_axis"], ["anomaly_map"], keepdims=0))
        constants.append(_constant("channel_axis", np.array([3], np.int64)))
        outputs.append(helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["n", size, size]))
    if classes:
        nodes.append(helper.make_node("Unsqueeze", ["score", "class_axis"], ["column"]))
        nodes.append(helper.make_node("Div", ["column", "ranks"], ["class_scores"]))
        constants.append(_constant("class_axis", np.array([1], np.int64)))
        constants.append(_constant("ranks", np.arange(1, classes + 1, dtype=np.float32)[None]))
        outputs.append(helper.make_tensor_value_info("class_scores", TensorProto.FLOAT, ["n", classes]))
    if outlines:
        nodes.append(helper.make_node("Unsqueeze", ["anomaly_map", "class_axis"], ["one_map"]))
        nodes.append(helper.make_node("Mul", ["one_map", "first_only"], ["class_maps"]))
        constants.append(_constant("first_only", np.eye(1, classes, dtype=np.float32).reshape(1, classes, 1, 1)))
        outputs.append(helper.make_tensor_value_info("class_maps", TensorProto.FLOAT, ["n", classes, size, size]))
    nodes[3:3], delay_constants = _delay(delay_loops)
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, image_shape)
    graph = helper.make_graph(nodes, "toy", [images], outputs, [*constants, *delay_constants])
    return serialise(graph)


def serialise(graph: Any) -> bytes:
    """ONNX file of a graph, in versions that every supported runtime reads."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def toy_manifest(*, size: int = 32, channels: int = 1, limit: float = TOY_LIMIT, name: str = "toy") -> Manifest:
    """Manifest of a toy bundle with one good (dark) and one defective (bright) golden image."""
    golden = tuple(
        GoldenImage(f"golden/{value:03d}.png", "image/png", value / 255, _verdict(value / 255, limit))
        for value in (20, 240)
    )
    return Manifest(
        name=name,
        model_kind="toy",
        created_time=datetime(2026, 1, 1, tzinfo=UTC),
        input=InputSpec(size, size, channels, {"kind": "none"}),
        classes=("anomaly",),
        limits=Limits(score=limit, region=limit),
        basis=LimitBasis("fixed", 0.0, 0.0, 0, False, "a toy promises nothing"),
        golden=golden,
        score_tolerance=0.001,
    )


def toy_bundle(
    path: Path,
    *,
    size: int = 32,
    channels: int = 1,
    limit: float = TOY_LIMIT,
    name: str = "toy",
    delay_loops: int = 0,
    with_map: bool = True,
    location: Mapping[str, Any] | None = None,
    classes: tuple[str, ...] = (),
    outlines: bool = False,
) -> Bundle:
    """Write and open a toy bundle at `path`. `classes` of more than one name gives the graph class scores.

    With `outlines` (and such `classes`) also class maps.
    """
    manifest = toy_manifest(size=size, channels=channels, limit=limit, name=name)
    if location is not None:
        manifest = replace(manifest, input=replace(manifest.input, location=location))
    if classes:
        manifest = replace(manifest, classes=classes)
    scored = len(classes) if len(classes) > 1 else 0
    model = toy_model(
        size=size, channels=channels, with_map=with_map, classes=scored, delay_loops=delay_loops, outlines=outlines
    )
    return write_bundle(path, manifest, model, toy_golden(size=size, channels=channels))


def toy_golden(*, size: int = 32, channels: int = 1) -> dict[str, bytes]:
    """The toy's golden images, by file name."""
    return {f"golden/{value:03d}.png": toy_png(value, size, channels) for value in (20, 240)}


def toy_png(value: int, size: int = 32, channels: int = 1) -> bytes:
    """A PNG of one value, which the toy scores as value / 255."""
    shape = (size, size) if channels == 1 else (size, size, channels)
    stream = io.BytesIO()
    Image.fromarray(np.full(shape, value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def toy_prepare(data: bytes) -> NDArray[np.uint8]:
    """PNG bytes to model input (h, w, c) without the imaging room; for images that have the model's size already."""
    pixels: NDArray[np.uint8] = np.asarray(Image.open(io.BytesIO(data)), dtype=np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _verdict(score: float, limit: float) -> Verdict:
    return Verdict.REJECT if score > limit else Verdict.PASS


def _constant(name: str, value: Any) -> Any:
    return onnx.numpy_helper.from_array(np.asarray(value), name)


def _delay(loops: int) -> tuple[list[Any], list[Any]]:
    """Nodes that compute `nothing`: 0 at once, or 0 out of a chain of matrix products that depends on the image."""
    if not loops:
        zero = helper.make_node("Constant", [], ["nothing"], value=_constant("zero", np.float32(0)))
        return [zero], []
    nodes = [
        helper.make_node("ReduceMean", ["floats"], ["seed"], keepdims=0),
        helper.make_node("Mul", ["zeros", "seed"], ["product_0"]),
    ]
    nodes += [
        helper.make_node("MatMul", [f"product_{index}", "zeros_too"], [f"product_{index + 1}"])
        for index in range(loops)
    ]
    nodes.append(helper.make_node("ReduceMax", [f"product_{loops}"], ["nothing"], keepdims=0))
    zeros = np.zeros((256, 256), np.float32)
    return nodes, [_constant("zeros", zeros), _constant("zeros_too", zeros)]
