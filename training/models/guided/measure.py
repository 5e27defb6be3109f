"""Measures the learning curve: what each labelled reject adds, against the memory bank and a classifier on the same images.

    python -m training.models.guided.measure DATA --size 320 --examples 1 5 10 25 --seeds 0 1 2 --out curve.json
    python -m training.models.guided.plot curve.json training/models/guided/learning-curve.svg

Parts are dealt out by group: of the good 80 %, of each defect class 60 % to fit on, of which each row uses as many images as
it says, drawn at random; the rest tests, and is the same for all rows of a seed. Rows are appended to the JSON as they come.

`classifier` is a logistic regression on mean and maximum of the same frozen features, whole images, balanced classes.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from inspector.part import Box
from training.data.duplicates import group_by_part
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.splits import Role, SplitEntry, SplitShares, make_split
from training.data.survey import Survey, survey
from training.data.training_set import LabelledImages
from training.models.guided.fitting import FitSettings, GuidedFitter
from training.models.guided.network import Guided, GuidedFeatures, grids_of
from training.models.scoring import BATCH
from training.pixels import PixelMeter
from training.statistics import auroc

FALSE_REJECT_RATE = 0.01
DEFECTS_TO_FIT = 0.6


@dataclass(frozen=True, slots=True)
class Row:
    """One model on the test images of one seed. `examples` is the number of defective images it learned from, in `draw`."""

    data: str
    model: str
    seed: int
    examples: int
    draw: int
    auroc: float
    escapes: float
    aupro: float | None


class Bench:
    """One split of one data set: everything is looked at once, then models are fitted on ever more defects."""

    def __init__(self, seen: Survey, groups: Sequence[int], preparation: Preparation, seed: int) -> None:
        samples = [replace(image.sample, published_split="") for image in seen.images]
        shares = SplitShares(test=0.2, calibration=0.0, defects_to_fit=DEFECTS_TO_FIT)
        roles = make_split(samples, groups, shares, seed)
        entries = tuple(SplitEntry(s.path, s.label, g, r) for s, g, r in zip(samples, groups, roles, strict=True))
        images = LabelledImages(seen.dataset, entries, preparation)
        self.name, self.seed = seen.dataset.root.name, seed
        self.taught = images.only([i for i, role in enumerate(roles) if role is Role.FIT])
        self.tested = images.only([i for i, role in enumerate(roles) if role is Role.TEST])
        self.fitter = GuidedFitter(self.taught, FitSettings(seed=seed))
        self.good = [i for i in range(len(self.taught)) if self.taught.is_good(i)]
        self.defective = [i for i in range(len(self.taught)) if not self.taught.is_good(i)]
        features = GuidedFeatures(FitSettings().spec.bank).eval()
        self._levels = features_of(features, self.tested)
        self._pooled = pooled(features_of(features, self.taught)), pooled(self._levels)

    def rows(self, examples: Sequence[int], draws: int, tell: Callable[[Row], None]) -> None:
        """Fit and test: the bank, then guided and classifier for each number of examples, last with all there are."""
        good_alone = self.fitter.fit(self.good)
        tell(self._row("memory-bank", 0, 0, *self._judged(good_alone)))
        for count in [n for n in examples if n < len(self.defective)] + [len(self.defective)]:
            for draw in range(draws if count < len(self.defective) else 1):
                random = np.random.default_rng((self.seed, draw))
                chosen = [self.defective[i] for i in random.permutation(len(self.defective))[:count]]
                guided = self.fitter.teach(good_alone, [*self.good, *chosen])
                tell(self._row("guided", count, draw, *self._judged(guided)))
                tell(self._row("classifier", count, draw, self._classified(chosen)))

    @torch.no_grad()
    def _judged(self, network: Guided) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scores, maps = [], []
        for start in range(0, len(self.tested), BATCH):
            score, anomaly_map, *_ = network.judge([level[start : start + BATCH].float() for level in self._levels])
            scores.append(score.numpy())
            maps.append(anomaly_map.numpy())
        return np.concatenate(scores), np.concatenate(maps)

    def _classified(self, chosen: Sequence[int]) -> NDArray[np.float32]:
        taught, tested = self._pooled
        images = [*self.good, *chosen]
        labels = [0] * len(self.good) + [1] * len(chosen)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=500))
        model.fit(taught[images], labels)
        return np.asarray(model.decision_function(tested), np.float32)

    def _row(
        self,
        model: str,
        examples: int,
        draw: int,
        scores: NDArray[np.float32],
        maps: NDArray[np.float32] | None = None,
    ) -> Row:
        is_good = np.array([self.tested.is_good(i) for i in range(len(self.tested))])
        limit = np.quantile(scores[is_good], 1 - FALSE_REJECT_RATE, method="higher")
        escapes = float((scores[~is_good] <= limit).mean())
        area = auroc(scores[is_good], scores[~is_good]) or 0.0
        return Row(self.name, model, self.seed, examples, draw, area, escapes, self._aupro(maps))

    def _aupro(self, maps: NDArray[np.float32] | None) -> float | None:
        """At the resolution of the model's input, which masks are brought to."""
        if maps is None:
            return None
        meter = PixelMeter()
        for image, anomaly_map in enumerate(maps):
            mask = self.tested.mask(image)
            if mask is None:
                meter.skip()
            else:
                meter.add(anomaly_map, Box(0, 0, mask.shape[1], mask.shape[0]), mask >= 128)
        return meter.result().aupro


@torch.no_grad()
def features_of(features: GuidedFeatures, data: LabelledImages) -> list[Tensor]:
    """The trunk's levels of all images, float16 (n, channels, rows, columns) each."""
    kept: list[list[Tensor]] = []
    for start in range(0, len(data), BATCH):
        batch = np.stack([data.pixels(image) for image in range(start, min(start + BATCH, len(data)))])
        kept.append([level.half() for level in features.levels(torch.from_numpy(batch))])
    return [torch.cat(level) for level in zip(*kept, strict=True)]


def pooled(levels: Sequence[Tensor]) -> NDArray[np.float32]:
    """Mean and maximum over each image of what the heads see: float32 (n, 2 × channels)."""
    rows = []
    for start in range(0, len(levels[0]), BATCH):
        grids = grids_of([level[start : start + BATCH].float() for level in levels])
        rows.append(torch.cat([*(g.mean((2, 3)) for g in grids), *(g.amax((2, 3)) for g in grids)], dim=1))
    return np.asarray(torch.cat(rows).numpy(), np.float32)


def main() -> None:
    """Print and append one row per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--size", type=int, nargs="+", default=[320], metavar="PX", help="width, or width and height")
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 5, 10, 25])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    preparation = Preparation(arguments.size[0], arguments.size[-1], 1)
    seen = survey(open_dataset(arguments.data), preparation)
    if any("colour" in image.mode for image in seen.images):
        preparation = replace(preparation, channels=3)
    groups = group_by_part(seen.images)

    def tell(row: Row) -> None:
        print(row, flush=True)
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")

    for seed in arguments.seeds:
        Bench(seen, groups, preparation, seed).rows(arguments.examples, arguments.draws, tell)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    main()
