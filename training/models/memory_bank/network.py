"""The memory bank as a pure network: uint8 images in, score and anomaly map out, all of it exportable to ONNX.

Source: Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler, "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from inspector.errors import ConfigError
from training.backbones import (
    LITE0,
    PACKAGED,
    PACKAGED_STAGES,
    Staged,
    check_levels,
    levels_at,
    pretrained_backbone,
    trunk_of,
)
from training.models.kind import InspectionModel

NAME = "memory-bank"
_PACKAGED_LEVELS = (3, 4, 5)
"""Of an EfficientNet-Lite: strides 16, 16 and 32."""
_STRIDES = (8, 16)
"""Of any other backbone, as in the paper."""


@dataclass(frozen=True, slots=True)
class MemoryBankSpec:
    """What shapes the network and is not learned.

    `levels` are the backbone's stages, None for 3, 4 and 5 of an EfficientNet-Lite, which has seven, and of any other the last
    ones of strides 8 and 16; `neighbourhood` the window of local averaging,
    `smoothing` the standard deviation of the map's blur, both in cells of the map; `top_share` the share of the map, the
    highest, that the score averages. `variety` is the power of the picture's own variety that distances are divided by, 0 for
    none.
    """

    levels: tuple[int, ...] | None = None
    neighbourhood: Literal[1, 3, 5, 7] = 3
    smoothing: Annotated[float, Field(gt=0, le=8)] = 0.5
    top_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    variety: Annotated[float, Field(ge=0, le=1)] = 0.25

    def __post_init__(self) -> None:
        if self.levels is not None and (not self.levels or sorted(set(self.levels)) != list(self.levels)):
            raise ConfigError(
                f"got the levels {list(self.levels)}: give some of the backbone's stages, in rising order"
            )

    def check(self, backbone: str) -> None:
        """Raises ConfigError for levels that a packaged backbone of that name has not; of others only the network knows."""
        if self.levels is not None and backbone in PACKAGED:
            check_levels(self.levels, PACKAGED_STAGES)


def bank_levels(spec: MemoryBankSpec, network: nn.Module, backbone: str) -> tuple[int, ...]:
    """The stages that a memory bank on the network of that name looks at. Raises ConfigError if it has no such."""
    if spec.levels is not None:
        return spec.levels
    if backbone in PACKAGED:
        return _PACKAGED_LEVELS
    return levels_at(network, backbone, _STRIDES, """, or name its stages: --set 'spec={"levels": [1, 2]}'""")


def bank_trunk(spec: MemoryBankSpec, network: nn.Module, backbone: str) -> Staged:
    """Those stages of the network of that name. Raises ConfigError if it has no such."""
    return trunk_of(network, backbone, bank_levels(spec, network, backbone))


class PatchFeatures(nn.Module):
    """uint8 images (n, height, width, 1 or 3) → float32 features (n, channels, rows, columns) of patches.

    Each image is first brought to one mean and contrast, so that exposure and lamp ageing matter less. With a region of
    interest, float32 (height, width) of 1 and 0, both are those of the region, and what lies outside is even grey.

    `trunk` None is made of the packaged `backbone`.
    """

    region: Tensor
    trunk: Staged

    CONTRAST = 0.4
    """Standard deviation the backbone sees, about that of photographs on its scale of -1 to 1."""
    NOISE = 8.0
    """Grey levels of 255 added to the contrast before dividing by it, so that a blank image does not become noise."""

    def __init__(
        self,
        spec: MemoryBankSpec,
        region: Tensor | None = None,
        *,
        backbone: str = LITE0,
        trunk: Staged | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.backbone = spec, backbone
        self.register_buffer("region", torch.zeros(0, 0) if region is None else region)
        self.trunk = bank_trunk(spec, pretrained_backbone(backbone), backbone) if trunk is None else trunk

    def forward(self, images: Tensor) -> Tensor:
        return self.joined(self.trunk(self.prepared(images)))

    def prepared(self, images: Tensor) -> Tensor:
        """What the trunk sees: float32 (n, 3, height, width) of one mean and contrast."""
        pixels = images.permute(0, 3, 1, 2).float()
        pixels = pixels - self._mean(pixels)
        if self.region.numel():
            pixels = pixels * self.region
        contrast = self._mean(pixels * pixels).sqrt()
        pixels = pixels * (self.CONTRAST / (contrast + self.NOISE))
        return pixels.expand(-1, 3, -1, -1)

    def joined(self, levels: Sequence[Tensor]) -> Tensor:
        """The trunk's levels, each averaged over the neighbourhood, on the grid of the first: (n, channels, rows, columns)."""
        window = self.spec.neighbourhood
        pooled = [F.avg_pool2d(x, window, 1, window // 2, count_include_pad=False) for x in levels]
        size = list(pooled[0].shape[-2:])
        return torch.cat([pooled[0], *(F.interpolate(x, size, mode="bilinear") for x in pooled[1:])], dim=1)

    def _mean(self, pixels: Tensor) -> Tensor:
        """Mean over the region of interest: (n, 1, 1, 1)."""
        if not self.region.numel():
            return pixels.mean((1, 2, 3), keepdim=True)
        return (pixels.mean(1, keepdim=True) * (self.region / self.region.sum())).sum((2, 3), keepdim=True)


class MemoryBank(InspectionModel):
    """uint8 images (n, height, width, 1 or 3) → score float32 (n,), anomaly_map float32 (n, rows, columns).

    A map value is the distance from the patch's whitened features q to the nearest b in the bank, times that b's weight w,
    blurred, over a power of how much the picture varies by itself: parts of rougher grain are farther from all that is known,
    good or not. All squared distances w²(q² - 2q·b + b²) are one matrix product and a sum, so that what is multiplied may be
    rounded to 8 bits without the difference of the squares.

    `interest` (rows, columns), 1 or 0, is where defects count; without elements: everywhere. `mean` (channels,) and
    `whitening` (channels, dimensions) map features to the space in which `bank` (size, dimensions) lies; `weights` (size,)
    are about 1, lower where good parts differ much from each other.
    """

    kind: ClassVar[str] = NAME
    mean: Tensor
    whitening: Tensor
    bank: Tensor
    weights: Tensor
    blur: Tensor
    interest: Tensor

    def __init__(
        self,
        features: PatchFeatures,
        mean: Tensor,
        whitening: Tensor,
        bank: Tensor,
        weights: Tensor,
        interest: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", whitening)
        self.register_buffer("bank", bank)
        self.register_buffer("weights", weights)
        self.register_buffer("interest", torch.zeros(0, 0) if interest is None else interest)
        self.register_buffer("blur", gaussian(features.spec.smoothing))
        self._counted = 0
        self._count()
        self.register_load_state_dict_post_hook(lambda module, _: module._count())  # type: ignore[no-untyped-call]

    def _count(self) -> None:
        """The number of cells of interest, kept as a plain number: a graph cannot choose how many values to average."""
        self._counted = int(self.interest.sum())

    def structure(self) -> dict[str, Any]:
        return {
            "spec": asdict(self.features.spec),
            "backbone": self.features.backbone,
            "bank": list(self.bank.shape),
            "region": list(self.features.region.shape),
            "cells": list(self.interest.shape),
        }

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.judge(self.features(images))

    def judge(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Score (n,) and map (n, rows, columns) of features (n, channels, rows, columns), as `PatchFeatures` gives them."""
        rows, columns = features.shape[-2:]
        queries = self.whitened(features.permute(0, 2, 3, 1).flatten(0, 2))
        nearest = self.search(queries).amin(dim=1)
        distances = nearest.clamp_min(0.0).sqrt().reshape(-1, 1, rows, columns)
        if self.features.spec.variety and rows * columns > 1:
            variety = self.variety(queries.reshape(-1, rows, columns, queries.shape[1]))
            distances = distances / variety.pow(self.features.spec.variety).reshape(-1, 1, 1, 1)
        anomaly_map = self.blurred(distances).squeeze(1)
        cells = rows * columns
        if self.interest.numel():
            anomaly_map = anomaly_map * self.interest
            cells = self._counted
        highest = max(1, round(self.features.spec.top_share * cells))
        score = anomaly_map.flatten(1).topk(highest, dim=1).values.mean(dim=1)
        return score, anomaly_map

    def whitened(self, patches: Tensor) -> Tensor:
        """Features of patches (n, channels) in the space of the bank (n, dimensions)."""
        return (patches - self.mean).matmul(self.whitening)

    def search(self, queries: Tensor) -> Tensor:
        """Squared distance of each query (n, dimensions) to each patch of the bank, times its squared weight: (n, size)."""
        weight = self.weights.square()
        coefficients = self.bank * (-2.0 * weight.unsqueeze(1))
        constants = weight * self.bank.square().sum(dim=1)
        squares = (queries * queries).sum(dim=1, keepdim=True)
        return F.linear(queries, coefficients, constants) + squares * weight

    def variety(self, queries: Tensor) -> Tensor:
        """How far apart patches beside each other are, on average, where defects count: (n,) from (n, rows, columns, d).

        1 is the distance of any two patches of good parts; at least 0.1, so that of a blank picture something is left.
        """
        steps = (queries[:, 1:] - queries[:, :-1], queries[:, :, 1:] - queries[:, :, :-1])
        # `square` would be exported as a power, which takes runtimes several times as long.
        apart = torch.cat([(step * step).sum(dim=3).sqrt().flatten(1) for step in steps], dim=1)
        if self.interest.numel():
            counts = [self.interest[1:] * self.interest[:-1], self.interest[:, 1:] * self.interest[:, :-1]]
            inside = torch.cat([pair.flatten() for pair in counts])
            mean = (apart * inside).sum(dim=1) / inside.sum().clamp_min(1.0)
        else:
            mean = apart.mean(dim=1)
        return (mean / math.sqrt(2 * queries.shape[3])).clamp_min(0.1)

    def blurred(self, maps: Tensor) -> Tensor:
        """Gaussian blur of float32 (n, 1, rows, columns), axis by axis; edges are continued."""
        reach = self.blur.numel() // 2
        maps = F.conv2d(F.pad(maps, (0, 0, reach, reach), mode="replicate"), self.blur.reshape(1, 1, -1, 1))
        return F.conv2d(F.pad(maps, (reach, reach, 0, 0), mode="replicate"), self.blur.reshape(1, 1, 1, -1))


def gaussian(sigma: float) -> Tensor:
    """Weights of a Gaussian over ± 3 sigma, summing to 1: float32 (odd,)."""
    reach = max(1, math.ceil(3 * sigma))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float32) / sigma).square())
    return weights / weights.sum()
