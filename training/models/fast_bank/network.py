"""The fast bank as a pure network: a memory bank whose picture is reduced first and whose patches are freed of their mean.

Sources: Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, for the bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from training.models.memory_bank.network import MemoryBank, MemoryBankSpec, PatchFeatures

NAME = "fast-bank"
_SMALLEST_PX = 32
"""Pictures are not reduced below this side: the backbone's last level would be one cell."""


class ReducedFeatures(PatchFeatures):
    """uint8 images (n, height, width, 1 or 3) → float32 features (n, channels, rows, columns) of patches.

    `reduction` pixels of the input, along each side, become one before the backbone; time falls with its square. From each
    patch the mean of its picture is taken: what all of a part shares, such as its grain, differs from part to part.

    `rows` (reduced height, height) and `columns` (width, reduced width) average pixels by area; `region`, float32
    (height, width) of 1 and 0, is the region of interest, None for everywhere.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self, spec: MemoryBankSpec, reduction: float, height_px: int, width_px: int, region: Tensor | None = None
    ) -> None:
        rows = averaging(height_px, reduced(height_px, reduction))
        columns = averaging(width_px, reduced(width_px, reduction)).T.contiguous()
        super().__init__(spec, None if region is None else (rows @ region @ columns >= 0.5).float())
        self.reduction = reduction
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)

    def prepared(self, images: Tensor) -> Tensor:
        smaller = self.rows @ images.permute(0, 3, 1, 2).float() @ self.columns
        return super().prepared(smaller.permute(0, 2, 3, 1))

    def joined(self, levels: Sequence[Tensor]) -> Tensor:
        features = super().joined(levels)
        if not self.region.numel():
            return features - features.mean((2, 3), keepdim=True)
        share = F.interpolate(self.region[None, None], list(features.shape[-2:]), mode="area")
        return features - (features * share).sum((2, 3), keepdim=True) / share.sum()


class FastBank(MemoryBank):
    """uint8 images (n, height, width, 1 or 3) → score float32 (n,), anomaly_map float32 (n, rows, columns)."""

    kind: ClassVar[str] = NAME

    def structure(self) -> dict[str, Any]:
        features = self.features
        assert isinstance(features, ReducedFeatures)  # as its fitting makes it
        size = {"height_px": features.rows.shape[1], "width_px": features.columns.shape[0]}
        return {**super().structure(), "reduction": features.reduction, **size}


def reduced(side_px: int, reduction: float) -> int:
    """How long a side of the input is to the backbone, px."""
    return max(min(side_px, _SMALLEST_PX), round(side_px / reduction))


def averaging(size: int, smaller: int) -> Tensor:
    """A matrix that averages `size` values in a row to fewer, by the length they share: float32 (smaller, size)."""
    edges = torch.arange(smaller + 1, dtype=torch.float64) * size / smaller
    starts = torch.arange(size, dtype=torch.float64)
    shared = torch.minimum(edges[1:, None], starts + 1) - torch.maximum(edges[:-1, None], starts)
    return (shared.clamp_min(0.0) * smaller / size).float()
