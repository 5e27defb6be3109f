"""The fast bank as a pure network: a memory bank whose backbone computes in 8-bit integers, from fitting to the line.

Sources: Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, for the bank; for the integers see
`trunk.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from training.backbones import efficientnet_lite0
from training.models.fast_bank.trunk import IntegerTrunk
from training.models.memory_bank.network import MemoryBank, MemoryBankSpec, PatchFeatures

NAME = "fast-bank"


class IntegerFeatures(PatchFeatures):
    """uint8 images (n, height, width, `channels`) → float32 features (n, channels, rows, columns) of patches."""

    def __init__(self, spec: MemoryBankSpec, channels: int, region: Tensor | None = None) -> None:
        super().__init__(spec, region)
        self.channels = channels
        self.trunk = IntegerTrunk(efficientnet_lite0(spec.levels), channels)

    def prepared(self, images: Tensor) -> Tensor:
        """What the trunk sees: float32 (n, `channels`, height, width) of one mean and contrast.

        Both are rounded to a 64th of a grey level: runtimes add pixels in other orders, and the last digit would decide
        to which integer a whole grey level goes.
        """
        pixels = images.permute(0, 3, 1, 2).float()
        pixels = pixels - _rounded(self._mean(pixels))
        if self.region.numel():
            pixels = pixels * self.region
        contrast = _rounded(self._mean(pixels * pixels).sqrt())
        return pixels * (self.CONTRAST / (contrast + self.NOISE))


def _rounded(grey: Tensor) -> Tensor:
    return torch.round(grey * 64.0) / 64.0


class FastBank(MemoryBank):
    """uint8 images (n, height, width, 1 or 3) → score float32 (n,), anomaly_map float32 (n, rows, columns)."""

    kind: ClassVar[str] = NAME
    integers: ClassVar[bool] = True

    def structure(self) -> dict[str, Any]:
        features = self.features
        assert isinstance(features, IntegerFeatures)  # as its fitting makes it
        return {**super().structure(), "channels": features.channels}
