"""Convolutions, sums and products of 8-bit integers: exact in torch, and in ONNX the nodes that runtimes compute with integers.

Activations travel as uint8; a value is (number - zero) × scale. In an ONNX graph each of these is dequantise, compute, quantise
(QDQ), which ONNX Runtime and OpenVINO fuse to integer kernels. Here the same is computed with whole numbers held in float32,
which are exact below 2²⁴, and rounded where ONNX Runtime's kernels round, so that a network is fitted on what its graph gives.

Sources: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR
2018; the ONNX operators QuantizeLinear, DequantizeLinear and QLinearConv.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import torch
import torch.nn.functional as F
from onnxscript import opset18 as op
from torch import Tensor


@torch.library.custom_op("inspector::quantise", mutates_args=())
def quantise(values: Tensor, scale: float, zero: int) -> Tensor:
    """float32 → uint8: values / scale + zero, rounded half to even and held within 0 to 255."""
    return (values / torch.tensor(scale, dtype=torch.float32)).round().add(zero).clamp(0, 255).to(torch.uint8)


@torch.library.custom_op("inspector::dequantise", mutates_args=())
def dequantise(numbers: Tensor, scale: float, zero: int) -> Tensor:
    """uint8 → float32: (numbers - zero) × scale."""
    return numbers.float().sub(zero).mul(scale)


@torch.library.custom_op("inspector::convolve", mutates_args=())
def convolve(
    numbers: Tensor,
    weight: Tensor,
    bias: Tensor,
    weight_scales: Tensor,
    scales: Sequence[float],
    zeros: Sequence[int],
    stride: int,
    pads: Sequence[int],
    groups: int,
) -> Tensor:
    """A convolution of uint8 (n, channels, rows, columns) with an int8 weight, scaled by output channel: uint8.

    `scales` and `zeros` are those of input and output; `bias` int32 counts in input scale × weight scale; `pads` are zeros
    added above, left, below and right. What falls outside the output's 0 to 255 is held there: that is also its ReLU.
    """
    top, left, bottom, right = pads
    values = numbers.float().sub_(zeros[0])
    if (top, left) == (bottom, right):
        sums = F.conv2d(values, weight.float(), None, stride, (top, left), 1, groups)
    else:
        sums = F.conv2d(F.pad(values, (left, right, top, bottom)), weight.float(), None, stride, 0, 1, groups)
    factors = weight_scales * scales[0] / torch.tensor(scales[1], dtype=torch.float32)
    sums.add_(bias.float().reshape(-1, 1, 1)).mul_(factors.reshape(-1, 1, 1))
    return sums.round_().add_(zeros[1]).clamp_(0, 255).to(torch.uint8)


@torch.library.custom_op("inspector::add", mutates_args=())
def add(first: Tensor, second: Tensor, scales: Sequence[float], zeros: Sequence[int]) -> Tensor:
    """The sum of two uint8 tensors of one shape as uint8; `scales` and `zeros` are those of both and of the sum."""
    numbers = torch.tensor(scales, dtype=torch.float32)
    one, other = (numbers[0] / numbers[2]), (numbers[1] / numbers[2])
    rest = zeros[2] - (one * zeros[0] + other * zeros[1])
    return (first.float() * one + (second.float() * other + rest)).round().clamp(0, 255).to(torch.uint8)


@torch.library.custom_op("inspector::multiply", mutates_args=())
def multiply(numbers: Tensor, rows: Tensor, totals: Tensor, scales: Tensor, step: float, zero: int) -> Tensor:
    """Matrix product of uint8 (n, width) with the int8 rows (m, width), and `totals` int32 (m,) added: float32 (n, m).

    `step` and `zero` are those of `numbers`, `scales` float32 (m,) those of the rows; totals count in both together. Exact as
    long as width is below 1,000.
    """
    products = numbers.float().sub_(zero) @ rows.float().T
    return (products.double() + totals).float() * (scales * torch.tensor(step, dtype=torch.float32))


@quantise.register_fake
def _(values: Tensor, scale: float, zero: int) -> Tensor:
    return torch.empty_like(values, dtype=torch.uint8)


@dequantise.register_fake
def _(numbers: Tensor, scale: float, zero: int) -> Tensor:
    return torch.empty_like(numbers, dtype=torch.float32)


@convolve.register_fake
def _(
    numbers: Tensor,
    weight: Tensor,
    bias: Tensor,
    weight_scales: Tensor,
    scales: Sequence[float],
    zeros: Sequence[int],
    stride: int,
    pads: Sequence[int],
    groups: int,
) -> Tensor:
    rows = (numbers.shape[2] + pads[0] + pads[2] - weight.shape[2]) // stride + 1
    columns = (numbers.shape[3] + pads[1] + pads[3] - weight.shape[3]) // stride + 1
    return numbers.new_empty((numbers.shape[0], weight.shape[0], rows, columns), dtype=torch.uint8)


@multiply.register_fake
def _(numbers: Tensor, rows: Tensor, totals: Tensor, scales: Tensor, step: float, zero: int) -> Tensor:
    return scales.new_empty((numbers.shape[0], rows.shape[0]))


@add.register_fake
def _(first: Tensor, second: Tensor, scales: Sequence[float], zeros: Sequence[int]) -> Tensor:
    return torch.empty_like(first)


def _quantise(values: Any, scale: float, zero: int) -> Any:
    return op.QuantizeLinear(values, *_constants(scale, zero))


def _dequantise(numbers: Any, scale: float, zero: int) -> Any:
    return op.DequantizeLinear(numbers, *_constants(scale, zero))


def _convolve(
    numbers: Any,
    weight: Any,
    bias: Any,
    weight_scales: Any,
    scales: Sequence[float],
    zeros: Sequence[int],
    stride: int,
    pads: Sequence[int],
    groups: int,
) -> Any:
    bias_scales = op.Mul(weight_scales, op.Constant(value=_scalar(onnx.TensorProto.FLOAT, scales[0])))
    values = op.Conv(
        _dequantise(numbers, scales[0], zeros[0]),
        op.DequantizeLinear(weight, weight_scales, axis=0),
        op.DequantizeLinear(bias, bias_scales, axis=0),
        strides=[stride, stride],
        pads=list(pads),
        group=groups,
    )
    return _quantise(values, scales[1], zeros[1])


def _add(first: Any, second: Any, scales: Sequence[float], zeros: Sequence[int]) -> Any:
    values = op.Add(_dequantise(first, scales[0], zeros[0]), _dequantise(second, scales[1], zeros[1]))
    return _quantise(values, scales[2], zeros[2])


def _multiply(numbers: Any, rows: Any, totals: Any, scales: Any, step: float, zero: int) -> Any:
    total_scales = op.Mul(scales, op.Constant(value=_scalar(onnx.TensorProto.FLOAT, step)))
    # Zeros that could be left out, but without them ONNX Runtime computes with floats.
    nothing = op.Sub(scales, scales)
    return op.Gemm(
        _dequantise(numbers, step, zero),
        op.DequantizeLinear(rows, scales, op.CastLike(nothing, rows), axis=0),
        op.DequantizeLinear(totals, total_scales, op.CastLike(nothing, totals), axis=0),
        transB=1,
    )


def _constants(scale: float, zero: int) -> tuple[Any, Any]:
    return (
        op.Constant(value=_scalar(onnx.TensorProto.FLOAT, scale)),
        op.Constant(value=_scalar(onnx.TensorProto.UINT8, zero)),
    )


def _scalar(kind: int, value: float) -> onnx.TensorProto:
    return onnx.helper.make_tensor("", kind, [], [value])


TRANSLATIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.inspector.quantise.default: _quantise,
    torch.ops.inspector.dequantise.default: _dequantise,
    torch.ops.inspector.convolve.default: _convolve,
    torch.ops.inspector.add.default: _add,
    torch.ops.inspector.multiply.default: _multiply,
}
"""How `torch.onnx.export` writes these operations."""
