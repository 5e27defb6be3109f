"""Fits a fast bank: as a memory bank is fitted, on its own features and with fewer patches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from inspector.errors import ConfigError
from training.data.training_set import LabelledImages
from training.models.fast_bank.network import FastBank, ReducedFeatures
from training.models.memory_bank import fitting as memory_bank
from training.models.memory_bank.network import MemoryBankSpec
from training.progress import Progress, silent

MEASURED = MemoryBankSpec(levels=(4, 5), smoothing=1.0, variety=0.0)
"""What the figures in the README were measured with; another stage costs time."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """`reduction` is how many pixels of the input, along each side, become one; the rest as for the memory bank."""

    reduction: float = 1.75
    spec: MemoryBankSpec = MEASURED
    bank_size: int = 1000
    candidates: int = 40_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.reduction <= 8:
            raise ConfigError(f"got a reduction of {self.reduction:g}: give one from 1 (none) to 8")


class FastBankFitter:
    """Looks at every good image once; each fit then chooses from what was seen of its images."""

    def __init__(self, data: LabelledImages, settings: FitSettings, progress: Progress = silent) -> None:
        """Raises DataError if no image is of a good part, or nothing of them counts."""
        size = (data.preparation.height_px, data.preparation.width_px)
        region = data.region_of_interest
        interest = None if region is None else torch.from_numpy(region.astype(np.float32))
        features = ReducedFeatures(settings.spec, settings.reduction, *size, interest)
        self._settings = memory_bank.FitSettings(settings.spec, settings.bank_size, settings.candidates, settings.seed)
        self._pool = memory_bank.collect_patches(data, self._settings, progress, features)

    def fit(self, images: Sequence[int], progress: Progress = silent) -> FastBank:
        """As `Fitter.fit`; images of defective parts among them teach nothing."""
        bank = memory_bank.remember(self._pool.only(images), self._settings, progress)
        interest = bank.interest if bank.interest.numel() else None
        return FastBank(bank.features, bank.mean, bank.whitening, bank.bank, bank.weights, interest).eval()


def rebuild(structure: Mapping[str, Any]) -> FastBank:
    """A fast bank of that structure, its tensors yet to be loaded."""
    height_px, width_px = structure["height_px"], structure["width_px"]
    region = torch.ones(height_px, width_px) if math.prod(structure["region"]) else None
    empty = memory_bank.rebuild(structure)
    spec = empty.features.spec
    features = ReducedFeatures(spec, structure["reduction"], height_px, width_px, region)
    interest = empty.interest if empty.interest.numel() else None
    return FastBank(features, empty.mean, empty.whitening, empty.bank, empty.weights, interest)
