"""What the small model of tests/training is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from training_pictures import part

from inspector.inference.bundle import Bundle
from inspector.inference.engine import Engine
from training.data.samples import Dataset
from training.export import Parity
from training.fit import FitOutcome, FitPlan


@dataclass(frozen=True)
class Line:
    """A data set, how it was fitted, and the bundle of it."""

    dataset: Dataset
    plan: FitPlan
    outcome: FitOutcome
    bundle: Bundle
    parity: Parity


OTHERS = np.stack([part(seed, defect=seed % 2 == 0)[..., None] for seed in range(500, 516)])
"""Parts that nothing was fitted on, every second one defective: uint8 (16, 64, 64, 1)."""


def scores_of(bundle: Bundle, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What a bundle gives for images (n, height, width, channels): float64 (n,)."""
    return np.array([scores.score for scores in Engine(bundle, threads=1).infer(images)])
