"""Measures the memory bank as papers do: AUROC, and escapes where 1 % of the good test images are rejected.

    python -m training.models.memory_bank.measure DATA --split part --seeds 3

`--split random` deals out images instead of parts: comparable with published figures, and flattering where one part has
several images. The limit that a bundle would have plays no role here; `inspector-train fit` and `evaluate` show that.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.data.duplicates import group_by_part
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.splits import Role, SplitEntry, SplitShares, make_split
from training.data.survey import Survey, survey
from training.data.training_set import LabelledImages
from training.models.memory_bank.fitting import FitSettings, MemoryBankFitter
from training.models.scoring import score_images
from training.statistics import auroc

FALSE_REJECT_RATE = 0.01


def measure(
    seen: Survey, groups: Sequence[int], preparation: Preparation, seed: int, published: bool
) -> tuple[float, float, dict[str, float]]:
    """AUROC, escapes at 1 % false rejects, and AUROC by defect class, on the test images of one split."""
    samples = [image.sample for image in seen.images]
    if not published:
        samples = [replace(sample, published_split="") for sample in samples]
    roles = make_split(samples, groups, SplitShares(test=0.2, calibration=0.0), seed)
    entries = tuple(SplitEntry(s.path, s.label, g, r) for s, g, r in zip(samples, groups, roles, strict=True))
    images = LabelledImages(seen.dataset, entries, preparation)
    fit_on = images.only([index for index, role in enumerate(roles) if role is Role.FIT])
    network = MemoryBankFitter(fit_on, FitSettings(seed=seed)).fit(range(len(fit_on)))
    tested = [index for index, role in enumerate(roles) if role is Role.TEST]
    scores = score_images(network, images, tested, lambda done: None).scores
    labels = np.array([samples[index].label for index in tested])
    good, defective = scores[labels == "good"], scores[labels != "good"]
    limit = np.quantile(good, 1 - FALSE_REJECT_RATE, method="higher")
    by_class = {str(name): auroc(good, scores[labels == name]) or 0.0 for name in np.unique(labels) if name != "good"}
    return auroc(good, defective) or 0.0, float((defective <= limit).mean()), by_class


def main() -> None:
    """Print one line per seed, then mean and standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--split", choices=("part", "random", "published"), default="part")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    arguments = parser.parse_args()
    preparation = Preparation(arguments.size, arguments.size, 1)
    seen = survey(open_dataset(arguments.data), preparation)
    if any("colour" in image.mode for image in seen.images):
        preparation = replace(preparation, channels=3)
    groups = group_by_part(seen.images) if arguments.split == "part" else range(len(seen.images))
    rows = []
    for seed in range(arguments.seeds):
        area, escapes, by_class = measure(seen, groups, preparation, seed, arguments.split == "published")
        rows.append((area, escapes))
        classes = ", ".join(f"{name} {value:.3f}" for name, value in by_class.items())
        print(f"seed {seed}: AUROC {area:.4f}, escapes at 1 % false rejects {escapes:.3f} ({classes})", flush=True)
    (area, escapes), spread = np.mean(rows, axis=0), np.std(rows, axis=0)
    print(f"mean: AUROC {area:.4f} ± {spread[0]:.4f}, escapes {escapes:.3f} ± {spread[1]:.3f}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    main()
