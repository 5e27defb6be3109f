"""A memory bank of good parts and heads that learned defects, as one pure network: uint8 images in, score and map out.

Sources: Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler, "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, for
the bank; Baitieva, Hurych, Besnier, Bernard, "Supervised Anomaly Detection for Complex Industrial Images", CVPR 2024, for
adding what few labelled defects teach to what good parts teach, on the same frozen features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from training.backbones import LITE0, PACKAGED, levels_at, pretrained_backbone, trunk_of
from training.models.kind import InspectionModel
from training.models.memory_bank.network import MemoryBank, MemoryBankSpec, PatchFeatures, bank_levels

NAME = "guided"
_PACKAGED_LEVELS = ((1, 2), (3, 4), (5,))
"""Of an EfficientNet-Lite, what the heads see on each grid: strides 4 and 8, 16 twice, 32."""
_LENIENCE = 2.0
"""Added to the logits for the map: what almost looks like a defect outlines it but does not condemn the part."""


@dataclass(frozen=True, slots=True)
class GuidedSpec:
    """What shapes the network and is not learned.

    `heads` is the number of heads whose logits are averaged, `width` the hidden channels of each, `top_share` the share of
    the map, the highest, whose mean evidence counts beside the maximum.
    """

    bank: MemoryBankSpec = field(default_factory=MemoryBankSpec)
    heads: Annotated[int, Field(ge=1, le=32)] = 3
    width: Annotated[int, Field(ge=1, le=1024)] = 48
    top_share: Annotated[float, Field(gt=0, le=1)] = 0.05


class GuidedFeatures(PatchFeatures):
    """One trunk for both: uint8 images (n, height, width, 1 or 3) → features of the bank, and of the heads on three grids.

    `network` None is the packaged `backbone`. Raises ConfigError for one without stages at strides 4, 8, 16 and 32.
    """

    def __init__(
        self,
        spec: MemoryBankSpec,
        region: Tensor | None = None,
        *,
        backbone: str = LITE0,
        network: nn.Module | None = None,
    ) -> None:
        network = pretrained_backbone(backbone) if network is None else network
        of_heads, of_bank = _head_levels(network, backbone), bank_levels(spec, network, backbone)
        trunk = trunk_of(network, backbone, sorted({*of_bank, *chain(*of_heads)}))
        super().__init__(spec, region, backbone=backbone, trunk=trunk)
        self._of_bank, self._of_heads = of_bank, of_heads

    def forward(self, images: Tensor) -> Tensor:
        return self.of_bank(self.levels(images))

    def levels(self, images: Tensor) -> list[Tensor]:
        """The trunk's stages that either needs, finest first."""
        return list(self.trunk(self.prepared(images)))

    def of_bank(self, levels: Sequence[Tensor]) -> Tensor:
        """What the memory bank compares: (n, channels, rows, columns)."""
        return self.joined([levels[self._place(level)] for level in self._of_bank])

    def of_heads(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """What the heads see: (n, channels, rows, columns) at strides 8, 16 and 32, with `grid_channels`.

        The finest stage is halved by mean and by maximum, so that a defect of a few pixels is not averaged away.
        """
        (finest, *fine), *coarser = [[levels[self._place(level)] for level in grid] for grid in self._of_heads]
        halved = [F.avg_pool2d(finest, 3, 2, 1, count_include_pad=False), F.max_pool2d(finest, 3, 2, 1)]
        size = list(fine[0].shape[-2:])
        if list(halved[0].shape[-2:]) != size:  # of odd sizes some networks drop the last row
            halved = [F.interpolate(grid, size, mode="bilinear") for grid in halved]
        return [torch.cat([*halved, *fine], dim=1), *(torch.cat(grid, dim=1) for grid in coarser)]

    @property
    def grid_channels(self) -> tuple[int, ...]:
        """Channels that the heads see at strides 8, 16 and 32."""
        (finest, *fine), *coarser = [
            [self.trunk.channels[self._place(level)] for level in grid] for grid in self._of_heads
        ]
        return (2 * finest + sum(fine), *map(sum, coarser))

    def _place(self, level: int) -> int:
        return self.trunk.levels.index(level)


def _head_levels(network: nn.Module, backbone: str) -> tuple[tuple[int, ...], ...]:
    """The stages that the heads see on each grid, finest first."""
    if backbone in PACKAGED:
        return _PACKAGED_LEVELS
    finest, fine, middle, coarse = levels_at(network, backbone, (4, 8, 16, 32))
    return (finest, fine), (middle,), (coarse,)


class Heads(nn.Module):
    """Small perceptrons on every cell: grids → mean logits, float32 (n, 1 + classes, rows, columns) on the finest grid.

    Logit 0 is for any defect, the others tell classes apart. The first layer is applied on each grid before it is enlarged,
    which is the same, as both are linear, and cheaper.
    """

    def __init__(self, spec: GuidedSpec, classes: int, channels: Sequence[int]) -> None:
        """`channels` are those of each grid."""
        super().__init__()
        hidden = spec.heads * spec.width
        self.count = spec.heads
        self.first = nn.ModuleList(nn.Conv2d(c, hidden, 1, bias=not i) for i, c in enumerate(channels))
        self.second = nn.Conv2d(hidden, spec.heads * (1 + classes), 1, groups=spec.heads)

    def forward(self, grids: Sequence[Tensor]) -> Tensor:
        hidden: Tensor = self.first[0](grids[0])
        size = list(hidden.shape[-2:])
        for layer, grid in zip(self.first[1:], grids[1:], strict=True):
            hidden = hidden + F.interpolate(layer(grid), size, mode="bilinear")
        logits: Tensor = self.second(F.relu(hidden)).unflatten(1, (self.count, -1)).mean(dim=1)
        return logits


class Guided(InspectionModel):
    """uint8 images (n, height, width, 1 or 3) → score, anomaly_map and, if it learned several, class_scores.

    The evidence of a cell is softplus of the heads' logit: 0 where nothing resembles a labelled defect, so that what they do
    not know leaves the bank's judgement as it is. Map: the bank's distance plus lenient evidence × `scale`. Score: the bank's
    score plus (highest evidence + mean of the top share) × `scale`. Without heads both are the bank's.

    `scale` is the spread of good parts' distances, so that both speak in the same unit; `interest` (rows, columns), 1 or 0, is
    where defects count on the heads' grid; without elements: everywhere.
    """

    kind: ClassVar[str] = NAME
    scale: Tensor
    interest: Tensor

    def __init__(
        self,
        spec: GuidedSpec,
        bank: MemoryBank,
        heads: Heads | None = None,
        classes: Sequence[str] = (),
        scale: float = 1.0,
        interest: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.bank = bank
        self.heads = heads
        if len(classes) > 1:
            self.classes = tuple(classes)
            self.outputs = ("score", "anomaly_map", "class_scores")
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("interest", torch.zeros(0, 0) if interest is None else interest)
        self._counted = 0
        self._count()
        self.register_load_state_dict_post_hook(lambda module, _: module._count())  # type: ignore[no-untyped-call]

    def _count(self) -> None:
        """The number of cells of interest, kept as a plain number: a graph cannot choose how many values to average."""
        self._counted = int(self.interest.sum())

    def structure(self) -> dict[str, Any]:
        return {
            "spec": asdict(self.spec),
            "bank": self.bank.structure(),
            "heads": self.heads is not None,
            "classes": list(self.classes) if len(self.classes) > 1 else [],
            "cells": list(self.interest.shape),
        }

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.bank.features
        assert isinstance(features, GuidedFeatures)  # as `fit` and `rebuild` make it
        return self.judge(features.levels(images))

    def judge(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """As `forward`, from what `GuidedFeatures.levels` gives."""
        features = self.bank.features
        assert isinstance(features, GuidedFeatures)
        score, distances = self.bank.judge(features.of_bank(levels))
        if self.heads is None:
            return score, distances
        logits = self.heads(features.of_heads(levels))
        evidence, lenient = F.softplus(logits[:, 0]), F.softplus(logits[:, 0] + _LENIENCE)
        anomaly_map = F.interpolate(distances.unsqueeze(1), list(evidence.shape[-2:]), mode="bilinear").squeeze(1)
        cells = evidence[0].numel()
        if self.interest.numel():
            evidence, lenient = evidence * self.interest, lenient * self.interest
            anomaly_map = anomaly_map * self.interest
            cells = self._counted
        highest = evidence.flatten(1).topk(max(1, round(self.spec.top_share * cells)), dim=1).values
        score = score + self.scale * (highest[:, 0] + highest.mean(dim=1))
        anomaly_map = anomaly_map + self.scale * lenient
        if len(self.classes) == 1:
            return score, anomaly_map
        return score, anomaly_map, class_scores(logits[:, 1:], evidence)


def class_scores(logits: Tensor, evidence: Tensor) -> Tensor:
    """Probability of each class, float32 (n, classes): that of a defect times that of the class where the evidence is.

    `logits` (n, classes, rows, columns), `evidence` (n, rows, columns).
    """
    attention = evidence.flatten(1) * 4.0
    weights = torch.softmax(attention, dim=1).unsqueeze(1)
    pooled = (logits.flatten(2) * weights).sum(dim=2)
    defect = 1.0 - torch.exp(-evidence.flatten(1).amax(dim=1, keepdim=True))
    return torch.sigmoid(pooled) * defect
