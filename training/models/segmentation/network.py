"""Segmentation as a pure network: uint8 images in, evidence and probabilities per class out, all of it exportable to ONNX.

Sources: Lin, Dollár, Girshick, He, Hariharan, Belongie, "Feature Pyramid Networks for Object Detection", CVPR 2017, for the
decoder; Kirillov, Girshick, He, Dollár, "Panoptic Feature Pyramid Networks", CVPR 2019, for its use on masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from training.backbones import LITE0, PACKAGED, Staged, levels_at, pretrained_backbone, trunk_of
from training.models.kind import InspectionModel

NAME = "segmentation"

EVEN_ODDS = 10.0
"""Evidence at which a class is as likely as background. An offset, so that evidence starts at 0 and limits are positive."""
STRIDES = (4, 8, 16, 32)
_PACKAGED_LEVELS = (1, 2, 4, 5)
"""Of an EfficientNet-Lite, at these strides."""


@dataclass(frozen=True, slots=True)
class SegmentationSpec:
    """What shapes the network and is not learned.

    `width` is the number of channels of the decoder, `smoothing` the side of the window, in cells, that evidence is
    averaged over before its maximum is taken; odd.
    """

    width: Annotated[int, Field(ge=1, le=512)] = 32
    smoothing: Literal[1, 3, 5, 7, 9, 11] = 3


class Decoder(nn.Module):
    """Features at strides 4, 8, 16 and 32 → logits float32 (n, 1 + classes, rows, columns) at stride 4; 0 is background.

    Convolutions, ReLU, additions and nearest-neighbour enlargement only, so that the exported graph quantises well.
    """

    def __init__(self, classes: int, width: int, channels: Sequence[int]) -> None:
        """`channels` are those of each of the features."""
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.merge = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels[:-1])
        self.head = nn.Conv2d(width, 1 + classes, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        laterals = [layer(features) for layer, features in zip(self.lateral, levels, strict=True)]
        merged = laterals[-1]
        for finer, layer in zip(laterals[-2::-1], reversed(self.merge), strict=True):
            grown = F.interpolate(F.relu(merged), size=list(finer.shape[-2:]), mode="nearest")
            merged = layer(F.relu(finer + grown))
        logits: Tensor = self.head(F.relu(merged))
        return logits


class Features(nn.Module):
    """uint8 images (n, height, width, 1 or 3) → the trunk's outputs at strides 4, 8, 16 and 32.

    Each image is first brought to one mean and contrast, so that exposure and lamp ageing matter less. With a region of
    interest, float32 (height, width) of 1 and 0, both are those of the region, and what lies outside is even grey.

    `network` None is the packaged `backbone`. Raises ConfigError for one without stages at these strides.
    """

    region: Tensor
    trunk: Staged

    CONTRAST = 0.4
    """Standard deviation the backbone sees, about that of photographs on its scale of -1 to 1."""
    NOISE = 8.0
    """Grey levels of 255 added to the contrast before dividing by it, so that a blank image does not become noise."""

    def __init__(
        self, region: Tensor | None = None, *, backbone: str = LITE0, network: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("region", torch.zeros(0, 0) if region is None else region)
        network = pretrained_backbone(backbone) if network is None else network
        levels = _PACKAGED_LEVELS if backbone in PACKAGED else levels_at(network, backbone, STRIDES)
        self.trunk = trunk_of(network, backbone, levels)

    def forward(self, images: Tensor) -> list[Tensor]:
        pixels = images.permute(0, 3, 1, 2).float()
        pixels = pixels - self._mean(pixels)
        if self.region.numel():
            pixels = pixels * self.region
        contrast = self._mean(pixels.square()).sqrt()
        pixels = pixels * (self.CONTRAST / (contrast + self.NOISE))
        return list(self.trunk(pixels.expand(-1, 3, -1, -1)))

    def _mean(self, pixels: Tensor) -> Tensor:
        """Mean over the region of interest: (n, 1, 1, 1)."""
        if not self.region.numel():
            return pixels.mean((1, 2, 3), keepdim=True)
        return (pixels.mean(1, keepdim=True) * (self.region / self.region.sum())).sum((2, 3), keepdim=True)


class Segmenter(InspectionModel):
    """uint8 images (n, height, width, 1 or 3) → score, anomaly_map, class_scores, class_maps, as `InspectionModel` says.

    The evidence of a cell is the log-odds of its strongest class against background, plus `EVEN_ODDS` and not below 0,
    averaged over a small window: the map. The score is its maximum. Class maps are probabilities, unsmoothed; what a cell
    lacks to 1 is background. `interest` (rows, columns), 1 or 0, is where defects count; without elements: everywhere.
    """

    kind: ClassVar[str] = NAME
    outputs = ("score", "anomaly_map", "class_scores", "class_maps")
    interest: Tensor

    def __init__(
        self,
        spec: SegmentationSpec,
        classes: Sequence[str],
        features: Features,
        decoder: Decoder,
        interest: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.classes = tuple(classes)
        self.features = features
        self.decoder = decoder
        self.register_buffer("interest", torch.zeros(0, 0) if interest is None else interest)

    def structure(self) -> dict[str, Any]:
        return {
            "spec": asdict(self.spec),
            "backbone": self.features.backbone,
            "classes": list(self.classes),
            "region": list(self.features.region.shape),
            "cells": list(self.interest.shape),
        }

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits = self.decoder(self.features(images))
        class_maps = logits.softmax(dim=1)[:, 1:]
        anomaly_map = self.evidence(logits)
        if self.interest.numel():
            anomaly_map = anomaly_map * self.interest
            class_maps = class_maps * self.interest
        return anomaly_map.amax((1, 2)), anomaly_map, class_maps.amax((2, 3)), class_maps

    def evidence(self, logits: Tensor) -> Tensor:
        """Smoothed evidence of any defect, float32 (n, rows, columns), from logits (n, 1 + classes, rows, columns)."""
        odds = F.relu(logits[:, 1:].amax(dim=1, keepdim=True) - logits[:, :1] + EVEN_ODDS)
        window = self.spec.smoothing
        smooth = F.avg_pool2d(odds, window, 1, window // 2, count_include_pad=False)
        return smooth.squeeze(1)
