"""What the small model of tests/training is made of."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.inference.bundle import Bundle
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
