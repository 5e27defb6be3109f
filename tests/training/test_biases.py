"""Biases of INT8 graphs: every channel keeps the mean that it has in the float32 graph."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from inspector.errors import BundleError
from training.exporting.biases import BiasCorrection, give_biases
from training.exporting.int8 import Int8

CHANNELS = 16
IMAGES = np.random.default_rng(7).integers(90, 140, (12, 24, 24, 1), dtype=np.uint8)


def graph(*, activation: str = "Clip", first_bias: bool = True) -> bytes:
    """Two convolutions and an activation; channels of the first differ a thousandfold, which 8 bits represent badly."""
    random = np.random.default_rng(3)
    sizes = np.geomspace(1e-3, 1.0, CHANNELS).astype(np.float32)
    tensors = {
        "first": random.normal(size=(CHANNELS, 1, 5, 5)).astype(np.float32) * sizes.reshape(-1, 1, 1, 1) / 100,
        "second": random.normal(size=(CHANNELS, CHANNELS, 1, 1)).astype(np.float32) / sizes.reshape(1, -1, 1, 1),
        "second_bias": random.normal(size=CHANNELS).astype(np.float32),
        "low": np.float32(0),
        "high": np.float32(6),
    }
    if first_bias:
        tensors["first_bias"] = 0.3 * sizes
    bias = ["first_bias"] if first_bias else []
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first", *bias], ["raw"], "one"),
        helper.make_node(activation, ["raw", "low", "high"] if activation == "Clip" else ["raw"], ["active"], "active"),
        helper.make_node("Conv", ["active", "second", "second_bias"], ["linear"], "two"),
        helper.make_node("ReduceMean", ["linear"], ["score"], "mean", keepdims=0),
    ]
    made = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 24, 24, 1])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(proto.SerializeToString())


def means(model: bytes) -> np.ndarray:
    """Of each channel of the last convolution, over the images: float (CHANNELS,)."""
    proto = onnx.load_from_string(model)
    names = {name for node in proto.graph.node for name in node.output}
    value = next(name for name in ("linear_DequantizeLinear_Output", "linear") if name in names)
    del proto.graph.output[:]
    proto.graph.output.append(onnx.ValueInfoProto(name=value))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.mean([session.run(None, {"images": image[None]})[0].mean((0, 2, 3)) for image in IMAGES], axis=0)


def int8(model: bytes, folder: Path, *, corrected: bool = True) -> bytes:
    made = Int8(model, IMAGES, folder)
    if corrected:
        return made.make(made.groups)
    with patch.object(BiasCorrection, "correct", lambda self, proto: None):
        return made.make(made.groups)


@pytest.mark.parametrize(
    ("activation", "first_bias"),
    [
        pytest.param("Clip", True, id="as in EfficientNet-Lite"),
        pytest.param("Relu", True, id="as in ResNet"),
        pytest.param("Clip", False, id="a convolution without a bias gets one"),
    ],
)
def test_channels_keep_their_means(tmp_path: Path, activation: str, first_bias: bool) -> None:
    model = graph(activation=activation, first_bias=first_bias)
    wanted = means(model)
    as_rounded, as_corrected = (np.abs(means(int8(model, tmp_path, corrected=how)) - wanted) for how in (False, True))
    assert as_rounded.max() > 10 * as_corrected.max(), "without the correction they do not"
    assert as_corrected.max() < 0.02 * np.abs(wanted).max()


def test_what_stays_float_is_left_as_it_is(tmp_path: Path) -> None:
    made = Int8(graph(), IMAGES, tmp_path)
    tensors = {one.name: one for one in onnx.load_from_string(made.make(made.groups[:1])).graph.initializer}
    original = {one.name: one for one in onnx.load_from_string(graph()).graph.initializer}
    assert (
        numpy_helper.to_array(tensors["second_bias"]).tolist()
        == numpy_helper.to_array(original["second_bias"]).tolist()
    )
    assert "first_bias_quantized" in tensors


def test_a_bias_stays_within_what_int32_holds(tmp_path: Path) -> None:
    made = Int8(graph(), IMAGES, tmp_path)
    draft = onnx.load_from_string(made.make(made.groups))
    for tensor in draft.graph.initializer:
        if tensor.name == "second_bias_quantized_scale":
            tensor.CopyFrom(numpy_helper.from_array(np.full(CHANNELS, 1e-30, np.float32), tensor.name))
    correction = BiasCorrection(onnx.load_from_string(graph()), IMAGES)
    correction.correct(draft)
    held = next(numpy_helper.to_array(one) for one in draft.graph.initializer if one.name == "second_bias_quantized")
    assert np.abs(held.astype(np.int64)).max() <= 2**30


def test_only_named_convolutions_without_a_bias_get_one() -> None:
    proto = onnx.load_from_string(graph(first_bias=False))
    give_biases(proto, {"two", "active"})
    assert [len(node.input) for node in proto.graph.node if node.op_type == "Conv"] == [2, 3]
    give_biases(proto, {"one", "two"})
    assert [len(node.input) for node in proto.graph.node if node.op_type == "Conv"] == [3, 3]


def test_an_activation_with_a_constant_gets_no_bias() -> None:
    proto = onnx.load_from_string(graph())
    clip = next(node for node in proto.graph.node if node.op_type == "Clip")
    del clip.input[2:]
    give_biases(proto, {"one", "active", "two"})
    assert list(clip.input) == ["raw", "low"]


def test_convolutions_that_share_a_bias_get_one_each(tmp_path: Path) -> None:
    proto = onnx.load_from_string(graph())
    for node in proto.graph.node:
        if node.op_type == "Conv":
            node.input[2] = "first_bias"
    model = proto.SerializeToString()
    wanted = means(model)
    assert np.abs(means(int8(model, tmp_path)) - wanted).max() < 0.02 * np.abs(wanted).max()


def test_a_quantiser_that_names_values_otherwise_is_told(tmp_path: Path) -> None:
    with (
        patch("training.exporting.biases._SCALE", "_another"),
        pytest.raises(BundleError, match="names values otherwise"),
    ):
        int8(graph(), tmp_path)
