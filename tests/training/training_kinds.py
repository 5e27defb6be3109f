"""Settings of every kind of model that are small enough for a test: a fit of pictures of 64 px takes about a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.models.classifier.fitting import ClassifierSettings
from training.models.fast_bank.fitting import FitSettings as FastSettings
from training.models.guided.fitting import FitSettings as GuidedSettings
from training.models.guided.network import GuidedSpec
from training.models.guided.perceptrons import TrainSettings
from training.models.memory_bank.fitting import FitSettings as BankSettings
from training.models.segmentation.fitting import FitSettings as SegmentationSettings

SMALL: Mapping[str, Any] = {
    "memory-bank": BankSettings(bank_size=100, candidates=600),
    "fast-bank": FastSettings(bank_size=100, candidates=600),
    "guided": GuidedSettings(
        spec=GuidedSpec(heads=2, width=8),
        bank_size=100,
        candidates=600,
        good_cells=2000,
        defect_cells=1000,
        train=TrainSettings(least_steps=80),
    ),
    "segmentation": SegmentationSettings(views=24, steps=60),
    "classifier": ClassifierSettings(views=1),
}
