"""Fits a fast bank: as a memory bank is fitted, on features that 8-bit integers gave, and with fewer patches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from training.data.training_set import LabelledImages
from training.models.fast_bank.network import FastBank, IntegerFeatures
from training.models.memory_bank import fitting as memory_bank
from training.models.memory_bank.network import MemoryBank, MemoryBankSpec
from training.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class FitSettings:
    """As for the memory bank, with fewer dimensions, so that whitening and search are faster, and on packaged weights."""

    spec: MemoryBankSpec = field(default_factory=MemoryBankSpec)
    bank_size: Annotated[int, Field(ge=1, le=100_000)] = 1000
    candidates: Annotated[int, Field(ge=1, le=1_000_000)] = 40_000
    dimensions: Annotated[int, Field(ge=0)] = 256
    backbone: Literal["tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"] = (
        "tf_efficientnet_lite0"
    )
    seed: int = 0

    def __post_init__(self) -> None:
        self.spec.check(self.backbone)


class FastBankFitter:
    """Looks at every good image once; each fit then chooses from what was seen of its images."""

    def __init__(self, data: LabelledImages, settings: FitSettings, progress: Progress = silent) -> None:
        """Raises DataError if no image is of a good part, or nothing of them counts."""
        region = data.region_of_interest
        interest = None if region is None else torch.from_numpy(region.astype(np.float32))
        features = IntegerFeatures(settings.spec, data.preparation.channels, interest, settings.backbone)
        self._settings = memory_bank.FitSettings(
            **{each.name: getattr(settings, each.name) for each in fields(settings)}
        )
        self._pool = memory_bank.collect_patches(data, self._settings, progress, features)

    def fit(self, images: Sequence[int], progress: Progress = silent) -> FastBank:
        """As `Fitter.fit`; images of defective parts among them teach nothing."""
        bank = memory_bank.remember(self._pool.only(images), self._settings, progress)
        return _fast(bank, bank.features).eval()


def rebuild(structure: Mapping[str, Any]) -> FastBank:
    """A fast bank of that structure, its tensors yet to be loaded."""
    empty = memory_bank.rebuild(structure)
    region = torch.ones(structure["region"]) if math.prod(structure["region"]) else None
    features = IntegerFeatures(empty.features.spec, structure["channels"], region, empty.features.backbone)
    return _fast(empty, features)


def _fast(bank: MemoryBank, features: Any) -> FastBank:
    interest = bank.interest if bank.interest.numel() else None
    return FastBank(features, bank.mean, bank.whitening, bank.bank, bank.weights, interest)
