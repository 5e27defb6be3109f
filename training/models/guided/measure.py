"""Measures the learning curve: what each labelled reject adds, against the memory bank and a classifier on the same images.

    python -m training.models.guided.measure DATA --size 320 --examples 1 5 10 25 --seeds 0 1 2 --out CURVE.jsonl
    python -m training.models.guided.plot CURVE.jsonl training/models/guided/learning-curve.svg

Parts are dealt out by group: of the good 80 %, of each defect class 60 % to fit on, of which each row uses as many images as
it says, drawn at random; the rest tests, and is the same for all rows of a seed. Rows are appended to the file as they come,
and those that are in it are not measured again, so that it runs in pieces.

`classifier` is the classifier kind of this project with its own settings.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inspector.part import Box
from training.data.duplicates import group_by_part
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.splits import Role, SplitEntry, SplitShares, make_split
from training.data.survey import Survey, survey
from training.data.training_set import LabelledImages
from training.models.classifier.fitting import ClassifierFitter
from training.models.classifier.settings import ClassifierSettings
from training.models.guided.fitting import FitSettings, GuidedFitter
from training.models.guided.network import Guided, GuidedFeatures
from training.models.scoring import BATCH, score_images
from training.pixels import PixelMeter
from training.statistics import auroc

FALSE_REJECT_RATE = 0.01
DEFECTS_TO_FIT = 0.6
MODELS = ("memory-bank", "guided", "classifier")

Key = tuple[str, str, int, int, int]


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

    @property
    def key(self) -> Key:
        return self.data, self.model, self.seed, self.examples, self.draw


class Log:
    """Rows in a file, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._known = {Row(**json.loads(line)).key for line in lines}

    def has(self, key: Key) -> bool:
        return key in self._known

    def add(self, row: Row) -> None:
        print(row, flush=True)
        self._known.add(row.key)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")


class Bench:
    """One split of one data set: each kind looks at everything once, then models are fitted on ever more defects."""

    def __init__(self, seen: Survey, groups: Sequence[int], preparation: Preparation, seed: int) -> None:
        samples = [replace(image.sample, published_split="") for image in seen.images]
        shares = SplitShares(test=0.2, calibration=0.0, defects_to_fit=DEFECTS_TO_FIT)
        roles = make_split(samples, groups, shares, seed)
        entries = tuple(SplitEntry(s.path, s.label, g, r) for s, g, r in zip(samples, groups, roles, strict=True))
        images = LabelledImages(seen.dataset, entries, preparation)
        self.name, self.seed = seen.dataset.root.name, seed
        self.taught = images.only([i for i, role in enumerate(roles) if role is Role.FIT])
        self.tested = images.only([i for i, role in enumerate(roles) if role is Role.TEST])
        self.good = [i for i in range(len(self.taught)) if self.taught.is_good(i)]
        self.defective = [i for i in range(len(self.taught)) if not self.taught.is_good(i)]

    @cached_property
    def guided(self) -> GuidedFitter:
        return GuidedFitter(self.taught, FitSettings(seed=self.seed))

    @cached_property
    def good_alone(self) -> Guided:
        return self.guided.fit(self.good)

    @cached_property
    def classifier(self) -> ClassifierFitter:
        return ClassifierFitter(self.taught, ClassifierSettings(seed=self.seed))

    @cached_property
    def _levels(self) -> list[Tensor]:
        return features_of(GuidedFeatures(FitSettings().spec.bank).eval(), self.tested)

    def rows(self, log: Log, models: Sequence[str], examples: Sequence[int], draws: int) -> None:
        """Fit and test: the bank, then the others for each number of examples, last with all there are."""
        if "memory-bank" in models:
            self._row(log, "memory-bank", 0, 0)
        for count in [n for n in examples if n < len(self.defective)] + [len(self.defective)]:
            for draw in range(draws if count < len(self.defective) else 1):
                for model in models:
                    if model != "memory-bank":
                        self._row(log, model, count, draw)

    def _row(self, log: Log, model: str, count: int, draw: int) -> None:
        if log.has((self.name, model, self.seed, count, draw)):
            return
        random = np.random.default_rng((self.seed, draw))
        images = [*self.good, *(self.defective[i] for i in random.permutation(len(self.defective))[:count])]
        if model == "classifier":
            network = self.classifier.fit(images)
            scored = score_images(network, self.tested, range(len(self.tested)), lambda done: None)
            scores, maps = scored.scores, scored.maps
        else:
            guided = self.guided.teach(self.good_alone, images) if count else self.good_alone
            scores, maps = self._judged(guided)
        log.add(self._of(model, count, draw, scores, maps))

    @torch.no_grad()
    def _judged(self, network: Guided) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scores, maps = [], []
        for start in range(0, len(self.tested), BATCH):
            score, anomaly_map, *_ = network.judge([level[start : start + BATCH].float() for level in self._levels])
            scores.append(score.numpy())
            maps.append(anomaly_map.numpy())
        return np.concatenate(scores), np.concatenate(maps)

    def _of(self, model: str, examples: int, draw: int, scores: NDArray[np.float32], maps: NDArray[np.float32]) -> Row:
        is_good = np.array([self.tested.is_good(i) for i in range(len(self.tested))])
        limit = np.quantile(scores[is_good], 1 - FALSE_REJECT_RATE, method="higher")
        escapes = float((scores[~is_good] <= limit).mean())
        area = auroc(scores[is_good], scores[~is_good]) or 0.0
        return Row(self.name, model, self.seed, examples, draw, area, escapes, self._aupro(maps))

    def _aupro(self, maps: NDArray[np.float32]) -> float | None:
        """At the resolution of the model's input, which masks are brought to."""
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


def main() -> None:
    """Print and append one row per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--size", type=int, nargs="+", default=[320], metavar="PX", help="width, or width and height")
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 5, 10, 25])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    preparation = Preparation(arguments.size[0], arguments.size[-1], 1)
    seen = survey(open_dataset(arguments.data), preparation)
    if any("colour" in image.mode for image in seen.images):
        preparation = replace(preparation, channels=3)
    groups = group_by_part(seen.images)

    log = Log(arguments.out)
    for seed in arguments.seeds:
        bench = Bench(seen, groups, preparation, seed)
        bench.rows(log, arguments.models, arguments.examples, arguments.draws)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    main()
