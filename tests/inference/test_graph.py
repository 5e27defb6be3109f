"""A graph that is not whole, or reaches outside its file, is refused before ONNX Runtime sees it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from toys import toy_model

from inspector.errors import BundleError
from inspector.inference.graph import check_graph


def model_of(*nodes: onnx.NodeProto, initializers: tuple[onnx.TensorProto, ...] = (), **more: object) -> bytes:
    graph = helper.make_graph(list(nodes), "g", [], [], list(initializers))
    return helper.make_model(graph, **more).SerializeToString()


def external(location: str) -> onnx.TensorProto:
    tensor = onnx.numpy_helper.from_array(np.zeros(4, np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return tensor


def inside_a_branch(tensor: onnx.TensorProto) -> onnx.NodeProto:
    branch = helper.make_graph([helper.make_node("Constant", [], ["x"], value=tensor)], "b", [], [])
    return helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)


def sparse(tensor: onnx.TensorProto) -> onnx.NodeProto:
    indices = onnx.numpy_helper.from_array(np.zeros(4, np.int64), "i")
    return helper.make_node("Constant", [], ["x"], sparse_value=helper.make_sparse_tensor(tensor, indices, [9]))


def in_a_function(tensor: onnx.TensorProto) -> onnx.FunctionProto:
    node = helper.make_node("Constant", [], ["x"], value=tensor)
    return helper.make_function("own", "f", [], ["x"], [node], [helper.make_opsetid("", 18)])


ENTRIES_ONLY = external("w")
ENTRIES_ONLY.data_location = TensorProto.DEFAULT
LOCATION_ONLY = onnx.numpy_helper.from_array(np.zeros(4, np.float32), "w")
LOCATION_ONLY.data_location = TensorProto.EXTERNAL


@pytest.mark.parametrize(
    ("model", "said"),
    [
        pytest.param(b"", "no graph", id="empty"),
        pytest.param(b"\x00" * 64, "number 0", id="zeros"),
        pytest.param(b"not a graph, only text", "whole", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + b"\x00" * 32, "whole", id="a picture"),
        pytest.param(b"\xff" * 32, "whole", id="number without end"),
        pytest.param(b"\x3a\xff\xff\xff\xff\x7f", "ends early", id="length beyond the file"),
        pytest.param(b"\x08\x09", "no graph", id="version alone"),
        pytest.param(
            model_of(initializers=(external("/etc/passwd"),)), "external data", id="weights at an absolute path"
        ),
        pytest.param(model_of(initializers=(external("../w.bin"),)), "external data", id="weights beside the bundle"),
        pytest.param(model_of(initializers=(ENTRIES_ONLY,)), "external data", id="a location that is not in use"),
        pytest.param(model_of(initializers=(LOCATION_ONLY,)), "external data", id="external without a location"),
        pytest.param(model_of(inside_a_branch(external("w"))), "external data", id="external weights in a branch"),
        pytest.param(model_of(sparse(external("w"))), "external data", id="external sparse weights"),
        pytest.param(model_of(functions=[in_a_function(external("w"))]), "external data", id="external in a function"),
        pytest.param(model_of(helper.make_node("Evil", [], ["x"], domain="my.ops")), "my.ops", id="custom operator"),
        pytest.param(
            model_of(helper.make_node("EPContext", [], ["x"], domain="com.microsoft", ep_cache_context="/tmp/x.so")),
            "EPContext",
            id="compiled engine on disk",
        ),
    ],
)
def test_refused_graphs(model: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said) as caught:
        check_graph(model, "model.onnx")
    assert str(caught.value).startswith("model.onnx ")


def test_endless_nesting_is_refused() -> None:
    message = b""
    for _ in range(200):  # attribute in node in graph in attribute …; each with its length
        for key in (b"\x32", b"\x2a", b"\x0a"):
            message = key + onnx_varint(len(message)) + message
    with pytest.raises(BundleError, match="nested more than"):
        check_graph(b"\x3a" + onnx_varint(len(message)) + message, "model.onnx")


def onnx_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(toy_model(), id="the toy"),
        pytest.param(model_of(helper.make_node("FusedConv", [], ["x"], domain="com.microsoft")), id="contrib operator"),
        pytest.param(
            model_of(
                helper.make_node("f", [], ["x"], domain="own"),
                functions=[in_a_function(onnx.numpy_helper.from_array(np.zeros(4, np.float32), "w"))],
            ),
            id="function of the model's own",
        ),
    ],
)
def test_whole_graphs_pass(model: bytes) -> None:
    check_graph(model, "model.onnx")


@given(st.integers(1, len(toy_model()) - 1))
def test_a_model_cut_anywhere_raises_nothing_but_bundle_errors(length: int) -> None:
    try:
        check_graph(toy_model()[:length], "model.onnx")
    except BundleError:
        return
    # What passes is a whole file without its last fields: a cut between two fields of the outermost message.
    onnx.ModelProto.FromString(toy_model()[:length])


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing_but_bundle_errors(data: bytes) -> None:
    try:
        check_graph(data, "model.onnx")
    except BundleError:
        return
    assert data
