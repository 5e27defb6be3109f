"""The classifier as a pure network: uint8 images in; score, heat map and class scores out, all of it exportable to ONNX.

Sources: class activation maps, Zhou et al., CVPR 2016; distance of features as a guard against what was never seen, Lee et
al., NeurIPS 2018, and its nearest-neighbour form, Sun et al., ICML 2022; temperature scaling, Guo et al., ICML 2017.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.backbones import LITE0, staged
from training.models.kind import InspectionModel

NAME = "classifier"
UNFAMILIAR = "unfamiliar"
"""The class of a part that is unlike everything in training, beside those that training knows."""


@dataclass(frozen=True, slots=True)
class ClassifierSpec:
    """What shapes the network and is not learned: timm's name of the backbone, and the stages whose features count."""

    backbone: str = LITE0
    levels: tuple[int, ...] = (2, 3, 4)


class PartFeatures(nn.Module):
    """uint8 images (n, height, width, 1 or 3) → features of their cells, one float32 (n, channels, rows, columns) per level.

    Outside the region of interest, float32 (height, width) of 1 and 0, the backbone sees its own mean grey.
    """

    region: Tensor

    def __init__(self, spec: ClassifierSpec, network: nn.Module, region: Tensor | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = staged(network, spec.backbone, spec.levels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_buffer("region", torch.zeros(0, 0) if region is None else region)

    @property
    def width(self) -> int:
        """Length of `pooled`."""
        channels: tuple[int, ...] = self.backbone.channels
        return 2 * sum(channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.of_pixels(images.permute(0, 3, 1, 2).float())

    def of_pixels(self, pixels: Tensor) -> list[Tensor]:
        """As `forward`, of float32 (n, 1 or 3, height, width) of 0 to 255."""
        if self.region.numel():
            pixels = pixels * self.region + self.backbone.mean * (1 - self.region)
        cells: list[Tensor] = self.backbone(pixels.expand(-1, 3, -1, -1))
        return cells


def pooled(cells: list[Tensor]) -> Tensor:
    """Mean and maximum of each level's channels: float32 (n, width)."""
    return torch.cat([part for level in cells for part in (level.mean((2, 3)), level.amax((2, 3)))], dim=1)


def for_guard(standard: Tensor, channels: tuple[int, ...]) -> Tensor:
    """Of standardised features (n, width) those that the guard looks at: the means of all levels but the last, (n, fewer).

    The last level knows classes rather than appearance. Each level counts alike, however many channels it has.
    """
    parts, start = [], 0
    for level, count in enumerate(channels):
        if level < len(channels) - 1 or level == 0:
            parts.append(standard[:, start : start + count] / count**0.5)
        start += 2 * count
    return torch.cat(parts, dim=1)


@dataclass(frozen=True, slots=True)
class Guard:
    """What tells that an image is unlike training: `bank` (images, fewer), `for_guard` of the images trained on.

    A distance d to the nearest of them counts as score `gain` × d + `offset`; half of UNFAMILIAR is reached at `edge`, and
    it rises over `spread`.
    """

    bank: Tensor
    scale: Tensor
    """float32 (4,): gain, offset, edge, spread."""


class Classifier(InspectionModel):
    """uint8 images (n, height, width, 1 or 3) → score (n,), anomaly_map (n, rows, columns), class_scores (n, classes).

    score is the calibrated log of the odds that the part is of any defect class, or the guard's, if that is higher.
    anomaly_map is what the score would be if all of the part looked like the cell, shifted so that its peak is the score.
    class_scores are probabilities, each times the share that is left by the last class, UNFAMILIAR.

    `knows_good`: the first output is the class of good parts. `several`: a part may be of several classes; each output is
    then a class's own log-odds, and good is what is none of them.
    """

    kind: ClassVar[str] = NAME
    outputs = ("score", "anomaly_map", "class_scores")
    centre: Tensor
    deviation: Tensor
    temperature: Tensor
    bank: Tensor
    scale: Tensor

    def __init__(
        self,
        features: PartFeatures,
        classes: tuple[str, ...],
        standard: tuple[Tensor, Tensor],
        guard: Guard,
        *,
        knows_good: bool,
        several: bool,
    ) -> None:
        super().__init__()
        self.features = features
        self.classes = (*classes, UNFAMILIAR)
        self.knows_good = knows_good
        self.several = several
        self.head = nn.Linear(features.width, len(classes) + (knows_good and not several))
        self.register_buffer("centre", standard[0])
        self.register_buffer("deviation", standard[1])
        self.register_buffer("temperature", torch.ones(()))
        self.guard_with(guard)

    def guard_with(self, guard: Guard) -> None:
        """Put another guard in the place of the one there is."""
        self.register_buffer("bank", guard.bank)
        self.register_buffer("scale", guard.scale)

    def structure(self) -> dict[str, Any]:
        return {
            "spec": asdict(self.features.spec),
            "classes": list(self.classes[:-1]),
            "knows_good": self.knows_good,
            "several": self.several,
            "region": list(self.features.region.shape),
            "bank": list(self.bank.shape),
        }

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        cells = self.features(images)
        standard = (pooled(cells) - self.centre) / self.deviation
        logits = self.head(standard) / self.temperature
        distance = self.distance(standard)
        gain, offset, edge, spread = self.scale
        strange = gain * distance + offset
        score = torch.maximum(self.odds(logits), strange) if self.knows_good else strange
        unfamiliar = torch.sigmoid((distance - edge) / spread).unsqueeze(1)
        known = torch.cat([self.probabilities(logits) * (1 - unfamiliar), unfamiliar], dim=1)
        return score, self._map(cells, score, strange), known

    def logits(self, pixels: Tensor) -> Tensor:
        """What the head says before calibration, of float32 pixels (n, 1 or 3, height, width) of 0 to 255."""
        standard = (pooled(self.features.of_pixels(pixels)) - self.centre) / self.deviation
        result: Tensor = self.head(standard)
        return result

    def distance(self, standard: Tensor) -> Tensor:
        """To the nearest image trained on: float32 (n,) from standardised features (n, width)."""
        queries = for_guard(standard, self.features.backbone.channels)
        squares = queries.square().sum(1, keepdim=True) + self.bank.square().sum(1)
        nearest = (squares - 2.0 * queries.matmul(self.bank.T)).amin(1)
        return nearest.clamp_min(0.0).sqrt()

    def odds(self, logits: Tensor) -> Tensor:
        """Log of the odds of any defect: float32 (n,) from (n, outputs)."""
        if self.several:
            return torch.logsumexp(logits, 1)
        return torch.logsumexp(logits[:, 1:], 1) - logits[:, 0]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each defect class: float32 (n, classes without UNFAMILIAR)."""
        if self.several:
            return torch.sigmoid(logits)
        return torch.softmax(logits, 1)[:, 1 if self.knows_good else 0 :]

    def _map(self, cells: list[Tensor], score: Tensor, strange: Tensor) -> Tensor:
        size = list(cells[0].shape[-2:])
        weight = self.head.weight / (self.deviation * self.temperature)
        evidence, oddity, start = [], [], 0
        for level in cells:
            count = level.shape[1]
            mean, highest = weight[:, start : start + count], weight[:, start + count : start + 2 * count]
            evidence.append(_on(size, F.conv2d(level, (mean + highest)[..., None, None])))
            typical = self.centre[start : start + count].reshape(1, -1, 1, 1)
            width = self.deviation[start : start + count].reshape(1, -1, 1, 1)
            oddity.append(_on(size, ((level - typical) / width).square().mean(1, keepdim=True)))
            start += 2 * count
        unlike = torch.stack(oddity).sum(0).sqrt().squeeze(1)
        if self.knows_good:
            summed = torch.stack(evidence).sum(0)
            known = self.odds(summed.permute(0, 2, 3, 1).flatten(0, 2)).reshape(-1, *size)
            unlike = torch.where((strange >= score).reshape(-1, 1, 1), unlike, known)
        if self.features.region.numel():
            inside = _on(size, self.features.region.reshape(1, 1, *self.features.region.shape)).squeeze(1) > 0.5
            unlike = torch.where(inside, unlike, unlike.amin((1, 2), keepdim=True))
        return unlike - unlike.amax((1, 2), keepdim=True) + score.reshape(-1, 1, 1)


def _on(size: list[int], values: Tensor) -> Tensor:
    """On the grid of the finest level."""
    return F.interpolate(values, size, mode="bilinear", align_corners=False)
