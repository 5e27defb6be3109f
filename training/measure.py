"""Measures a kind of model as papers do: AUROC, escapes where 1 % of the good test images are rejected, AUPRO from masks.

    python -m training.measure KIND DATA --split part --seeds 3 [--size 224x224] [--set KEY=VALUE]

`--split random` deals out images instead of parts: comparable with published figures, and flattering where one part has
several images. `published` keeps the split that the data set comes with. A kind that learns from defects is given the share
of them that it asks for. The limit that a bundle would have plays no role here; `inspector-train fit` and `evaluate` show that.
Without `--size` the model's input is as large as `fit` would choose.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DataError, InspectorError
from inspector.part import Box
from training.data.duplicates import group_by_part
from training.data.input_size import AUTO, InputSize, asked_size, parse_size, size_for
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.samples import GOOD
from training.data.splits import Role, SplitEntry, SplitShares, make_split
from training.data.survey import Survey, survey
from training.data.training_set import LabelledImages
from training.models.kind import LearnsFrom, ModelKind
from training.models.registry import KINDS, model_kind, read_settings
from training.models.scoring import score_images
from training.pixels import PixelMeter
from training.statistics import auroc

FALSE_REJECT_RATE = 0.01
SPLITS = ("part", "random", "published")


@dataclass(frozen=True, slots=True)
class Measured:
    """One fit on the test images of one split; `escapes` is the share of the defective ones at 1 % false rejects.

    `aupro` is at the resolution of the model's input, None without masks.
    """

    auroc: float
    escapes: float
    auroc_by_class: dict[str, float]
    aupro: float | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all seeds and kinds share: the images looked at and the part that each shows."""

    seen: Survey
    groups: Sequence[int]
    published: bool

    def size(self, asked: str, kind: ModelKind) -> InputSize:
        """What `--size` is to this kind: WxH, or auto. Raises ConfigError, DataError."""
        sides = parse_size(asked)
        return size_for(self.seen.images, kind.input_pixels) if sides is None else asked_size(*sides)

    def preparation(self, asked: str, kind: ModelKind) -> Preparation:
        """How images become the input of that size."""
        size = self.size(asked, kind)
        return Preparation(size.width_px, size.height_px, self.seen.channels)


def look_at(data: str, split: str) -> Surroundings:
    """Survey a data set for a split named in SPLITS. Raises DataError."""
    seen = survey(open_dataset(data), Preparation(1, 1, 1))
    groups = group_by_part(seen.images) if split == "part" else range(len(seen.images))
    return Surroundings(seen, groups, split == "published")


def measure(kind: ModelKind, settings: Any, around: Surroundings, seed: int, size: str = AUTO) -> Measured:
    """Deal out the images, fit on one share and score another, all by `seed`; `size` is WxH or auto.

    Raises DataError if none is left to test.
    """
    samples = [image.sample for image in around.seen.images]
    if not around.published:
        samples = [replace(sample, published_split="") for sample in samples]
    to_fit = 0.0 if kind.learns_from is LearnsFrom.GOOD else kind.defects_to_fit
    roles = make_split(samples, around.groups, SplitShares(test=0.2, calibration=0.0, defects_to_fit=to_fit), seed)
    entries = tuple(SplitEntry(s.path, s.label, g, r) for s, g, r in zip(samples, around.groups, roles, strict=True))
    images = LabelledImages(around.seen.dataset, entries, around.preparation(size, kind))
    taught = images.only([index for index, role in enumerate(roles) if role is Role.FIT])
    fitter = kind.begin(taught, replace(settings, seed=seed), lambda stage, done, total: None)
    network = fitter.fit(range(len(taught)))
    tested = [index for index, role in enumerate(roles) if role is Role.TEST]
    scored = score_images(network, images, tested, lambda done: None)
    scores = scored.scores
    labels = np.array([samples[index].label for index in tested])
    good, defective = scores[labels == GOOD], scores[labels != GOOD]
    area = auroc(good, defective)
    if area is None:
        raise DataError("there are no good or no defective images to test on: AUROC needs both")
    limit = np.quantile(good, 1 - FALSE_REJECT_RATE, method="higher")
    by_class = {str(name): auroc(good, scores[labels == name]) or 0.0 for name in np.unique(labels) if name != GOOD}
    aupro = _aupro(images, tested, scored.maps)
    return Measured(area, float((defective <= limit).mean()), by_class, aupro)


def _aupro(images: LabelledImages, tested: Sequence[int], maps: NDArray[np.float32]) -> float | None:
    meter = PixelMeter()
    for image, anomaly_map in zip(tested, maps, strict=True):
        mask = images.mask(image)
        if mask is None:
            meter.skip()
        else:
            meter.add(anomaly_map, Box(0, 0, mask.shape[1], mask.shape[0]), mask >= 128, images.ignored(image))
    return meter.result().aupro


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per seed, then mean and standard deviation. 1 with a message if it cannot be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("data")
    parser.add_argument("--split", choices=SPLITS, default="part")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default=AUTO, metavar="WxH")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the kind")
    given = parser.parse_args(arguments)
    try:
        kind = model_kind(given.kind)
        settings = read_settings(kind, given.set)
        around = look_at(given.data, given.split)
        print(f"input {around.size(given.size, kind)}", flush=True)
        rows = []
        for seed in range(given.seeds):
            row = measure(kind, settings, around, seed, given.size)
            rows.append((row.auroc, row.escapes))
            classes = ", ".join(f"{name} {value:.3f}" for name, value in row.auroc_by_class.items())
            outlines = "" if row.aupro is None else f", AUPRO {row.aupro:.3f}"
            escapes = f"escapes at 1 % false rejects {row.escapes:.3f}"
            print(f"seed {seed}: AUROC {row.auroc:.4f}, {escapes}{outlines} ({classes})", flush=True)
    except InspectorError as error:
        print(error, file=sys.stderr)
        return 1
    (area, escapes), spread = np.mean(rows, axis=0), np.std(rows, axis=0)
    print(f"mean: AUROC {area:.4f} ± {spread[0]:.4f}, escapes {escapes:.3f} ± {spread[1]:.3f}")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(main())
