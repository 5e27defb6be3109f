"""EfficientNet-Lite in 8-bit integers: what it computes when it is fitted is what its graph computes on the line.

Ranges come from the backbone's own batch normalisation, as in Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization
Through Weight Equalization and Bias Correction", ICCV 2019, so that no image decides them: cross-fitting stays clean. Channels
of what flows from block to block, which nothing cuts off, are brought to one spread first; the next convolution undoes that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.backbones import Trunk
from training.integers import add, convolve, dequantise, quantise

_STEPS = 255
_PIXEL_RANGE = 2.4
"""Pixels of a picture of one contrast, 0.4, are kept up to six deviations."""
_SPREADS = 6.0
"""How many deviations, as the backbone's normalisation knows them, 8 bits reach."""
_RELU6 = 6.0
_LARGEST_BIAS = 2.0**22
"""In units of a sum: with the products it stays within what float32 counts exactly, and far within int32."""


@dataclass(frozen=True, slots=True)
class Scale:
    """value = (number - zero) × scale, for numbers 0 to 255."""

    scale: float
    zero: int


def scale_of(low: float, high: float) -> Scale:
    """The scale of a range, which always has 0 in it."""
    low, high = min(low, 0.0), max(high, low + 1e-6, 1e-6)
    scale = float(torch.tensor((high - low) / _STEPS, dtype=torch.float32))
    return Scale(scale, round(-low / scale))


class IntegerConvolution(nn.Module):
    """A convolution with its batch normalisation and, if it has one, its ReLU6: uint8 → uint8."""

    weight: Tensor
    bias: Tensor
    weight_scales: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, before: Scale, after: Scale, like: nn.Conv2d) -> None:
        super().__init__()
        self.before, self.after = before, after
        self.stride, self.groups = like.stride[0], like.groups
        self._padding = None if type(like).__name__ == "Conv2dSame" else int(like.padding[0])
        scales = weight.abs().amax((1, 2, 3)) / 127
        # A channel with hardly any weight, as one of colour on grey pictures, would have a bias beyond its integer.
        scales = torch.maximum(scales, bias.abs() / (before.scale * _LARGEST_BIAS)).clamp_min(1e-12)
        self.register_buffer("weight_scales", scales)
        numbers = (weight / scales.reshape(-1, 1, 1, 1)).round().to(torch.int8)
        self.register_buffer("weight", numbers.to(memory_format=torch.channels_last))
        self.register_buffer("bias", (bias / (scales * before.scale)).round().to(torch.int32))

    def forward(self, numbers: Tensor) -> Tensor:
        scales, zeros = (self.before.scale, self.after.scale), (self.before.zero, self.after.zero)
        pads = self._pads(numbers.shape[2], numbers.shape[3])
        result: Tensor = convolve(
            numbers, self.weight, self.bias, self.weight_scales, scales, zeros, self.stride, pads, self.groups
        )
        return result

    def _pads(self, rows: int, columns: int) -> tuple[int, int, int, int]:
        """Zeros above, left, below and right; TensorFlow's "same" puts an odd one below and right."""
        if self._padding is not None:
            return (self._padding,) * 4
        high, wide = (
            max((math.ceil(size / self.stride) - 1) * self.stride + kernel - size, 0)
            for size, kernel in zip((rows, columns), self.weight.shape[2:], strict=True)
        )
        return high // 2, wide // 2, high - high // 2, wide - wide // 2


class IntegerBlock(nn.Module):
    """An inverted residual block: uint8 → uint8."""

    def __init__(self, convolutions: list[IntegerConvolution], total: Scale | None) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*convolutions)
        self.total = total

    def forward(self, numbers: Tensor) -> Tensor:
        result: Tensor = self.convolutions(numbers)
        if self.total is None:
            return result
        before, after = self.convolutions[0].before, self.convolutions[-1].after
        scales = (before.scale, after.scale, self.total.scale)  # type: ignore[union-attr]
        zeros = (before.zero, after.zero, self.total.zero)  # type: ignore[union-attr]
        summed: Tensor = add(numbers, result, scales, zeros)
        return summed


@dataclass(frozen=True, slots=True)
class _Stream:
    """What flows from block to block: its scale, and mean, deviation and divisor of each channel (channels,)."""

    scale: Scale
    mean: Tensor
    deviation: Tensor
    divisor: Tensor


class IntegerTrunk(nn.Module):
    """As `Trunk`, of which it is made, in 8-bit integers: float32 (n, channels, height, width) in, a list of levels out.

    With `channels` of 1 it takes grey pictures, which the other sees as three equal colours.
    """

    scales: Tensor

    def __init__(self, trunk: Trunk, channels: int) -> None:
        super().__init__()
        self.levels, self.channels, self.made_for_px = trunk.levels, trunk.channels, trunk.made_for_px
        self.planes = channels
        self.pixels = scale_of(-_PIXEL_RANGE, _PIXEL_RANGE)
        relu = scale_of(0.0, _RELU6)
        convolution, normalisation = trunk.stem
        assert isinstance(convolution, nn.Conv2d)  # as `Trunk` has it
        weight, bias = _folded(convolution, normalisation)
        weight = weight.sum(1, keepdim=True) if channels == 1 else weight
        self.stem = IntegerConvolution(weight, bias, self.pixels, relu, convolution)
        none = torch.ones(len(weight))
        stream = _Stream(relu, none, none, none)
        stages = []
        self._streams: list[Scale] = []
        for level, stage in enumerate(trunk.stages):
            blocks, stream = _stage(stage, stream)
            stages.append(nn.Sequential(*blocks))
            self._streams.append(stream.scale)
            self.register_buffer(f"divisor_{level}", stream.divisor.reshape(-1, 1, 1))
        self.stages = nn.ModuleList(stages)
        self.register_buffer("scales", self._all_scales())
        self.register_load_state_dict_post_hook(lambda module, _: module._check_scales())  # type: ignore[no-untyped-call]

    def _all_scales(self) -> Tensor:
        """Scale and zero of everything that is rounded, in order: float32 (n, 2)."""
        found = [self.pixels]
        for module in self.modules():
            if isinstance(module, IntegerConvolution):
                found.append(module.after)
            elif isinstance(module, IntegerBlock) and module.total is not None:
                found.append(module.total)
        return torch.tensor([[each.scale, each.zero] for each in found])

    def _check_scales(self) -> None:
        """Stored weights count in units of stored scales. Raises ValueError if those are not the ones used here."""
        if not torch.equal(self.scales, self._all_scales()):
            raise ValueError("its integers count in other units than this version's")

    def forward(self, images: Tensor) -> list[Tensor]:
        images = images.contiguous(memory_format=torch.channels_last)
        numbers = self.stem(quantise(images, self.pixels.scale, self.pixels.zero))
        outputs = []
        for level, stage in enumerate(self.stages):
            numbers = stage(numbers)
            if level in self.levels:
                values = dequantise(numbers, self._streams[level].scale, self._streams[level].zero)
                outputs.append(values * self.get_buffer(f"divisor_{level}"))
        return outputs


def _stage(stage: Any, stream: _Stream) -> tuple[list[IntegerBlock], _Stream]:
    """The blocks of one stage and what flows out of the last."""
    parts = [_convolutions(block) for block in stage]
    spread = torch.stack([norm.weight.detach() for *_, (_, norm) in parts]).square().sum(0).sqrt().clamp_min(1e-3)
    blocks = []
    for block, layers in zip(stage, parts, strict=True):
        made: list[IntegerConvolution] = []
        before, divisor = stream.scale, stream.divisor
        for convolution, norm in layers[:-1]:
            weight, bias = _folded(convolution, norm)
            if convolution.groups == 1:
                weight = weight * divisor.reshape(1, -1, 1, 1)
            made.append(IntegerConvolution(weight, bias, before, scale_of(0.0, _RELU6), convolution))
            before, divisor = made[-1].after, torch.ones(len(weight))
        convolution, norm = layers[-1]
        weight, bias = _folded(convolution, norm)
        mean, deviation = norm.bias.detach() / spread, norm.weight.detach().abs() / spread
        after = _range(mean, deviation)
        made.append(IntegerConvolution(weight / spread.reshape(-1, 1, 1, 1), bias / spread, before, after, convolution))
        total = None
        if block.has_skip:
            mean, deviation = mean + stream.mean, (deviation.square() + stream.deviation.square()).sqrt()
            total = _range(mean, deviation)
        stream = _Stream(total or after, mean, deviation, spread)
        blocks.append(IntegerBlock(made, total))
    return blocks, stream


def _range(mean: Tensor, deviation: Tensor) -> Scale:
    low, high = mean - _SPREADS * deviation, mean + _SPREADS * deviation
    return scale_of(float(low.min()), float(high.max()))


def _convolutions(block: Any) -> list[tuple[nn.Conv2d, Any]]:
    """Convolutions of a block of timm, each with its normalisation, in order."""
    names = ("conv_pw", "conv_dw", "conv_pwl") if hasattr(block, "conv_pwl") else ("conv_dw", "conv_pw")
    return [(getattr(block, name), getattr(block, f"bn{number}")) for number, name in enumerate(names, 1)]


def _folded(convolution: nn.Conv2d, normalisation: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that does its normalisation too."""
    factor = normalisation.weight / torch.sqrt(normalisation.running_var + normalisation.eps)
    weight = convolution.weight * factor.reshape(-1, 1, 1, 1)
    return weight.detach(), (normalisation.bias - normalisation.running_mean * factor).detach()
