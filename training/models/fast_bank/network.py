"""The fast bank as a pure network: a memory bank whose backbone and search compute in 8-bit integers, from fitting to the line.

Sources: Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, for the bank; for the integers see
`trunk.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from training.backbones import LITE0, Trunk, pretrained_backbone
from training.integers import multiply, quantise
from training.models.fast_bank.trunk import IntegerTrunk
from training.models.memory_bank.network import MemoryBank, MemoryBankSpec, PatchFeatures, bank_levels

NAME = "fast-bank"


class IntegerFeatures(PatchFeatures):
    """uint8 images (n, height, width, `channels`) → float32 features (n, channels, rows, columns) of patches."""

    LAST_BLOCKS = 2
    """Of the last stage, whichever that is. The other two of stage 5 cost a tenth of the time and told no more."""

    def __init__(
        self, spec: MemoryBankSpec, channels: int, region: Tensor | None = None, backbone: str = LITE0
    ) -> None:
        network = pretrained_backbone(backbone)
        trunk = Trunk(network, bank_levels(spec, network, backbone))
        trunk.stages[-1] = trunk.stages[-1][: self.LAST_BLOCKS]  # type: ignore[index]
        super().__init__(spec, region, backbone=backbone, trunk=IntegerTrunk(trunk, channels))
        self.channels = channels

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
    """uint8 images (n, height, width, 1 or 3) → score float32 (n,), anomaly_map float32 (n, rows, columns).

    As a memory bank, in integers up to whitening and in the search.
    """

    kind: ClassVar[str] = NAME
    integers: ClassVar[bool] = True

    STEP, ZERO = 0.1875, 128
    """Whitened features, whose deviation is 1, are rounded to this for the product and reach 24 deviations."""

    def search(self, queries: Tensor) -> Tensor:
        """As in a memory bank, the product of features and patches being one of 8-bit integers.

        The square of the features is not: far beyond the range of 8 bits a patch is still far, if not by as much to the digit.
        """
        numbers = quantise(queries, self.STEP, self.ZERO)
        weight = self.weights.square()
        coefficients = self.bank * (-2.0 * weight.unsqueeze(1))
        scales = coefficients.abs().amax(1).clamp_min(1e-12) / 127.0
        rows = torch.round(coefficients / scales.unsqueeze(1))
        patches = rows * (scales / (-2.0 * weight)).unsqueeze(1)
        totals = torch.round(weight * patches.square().sum(1) / (scales * self.STEP))
        products = multiply(numbers, rows.to(torch.int8), totals.to(torch.int32), scales, self.STEP, self.ZERO)
        distances: Tensor = products + (queries * queries).sum(1, keepdim=True) * weight
        return distances

    def structure(self) -> dict[str, Any]:
        features = self.features
        assert isinstance(features, IntegerFeatures)  # as its fitting makes it
        return {**super().structure(), "channels": features.channels}
