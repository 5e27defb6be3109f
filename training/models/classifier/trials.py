"""Tries the classifier on harder data than it was measured on: wrong labels, and two defects on one picture.

    python -m training.models.classifier.trials DATA [--size 128] [--seed 0] [--set KEY=VALUE]

DATA has defect classes, such as X-SDD; 70 % of each label are fitted on, at random, the rest is tested with its true labels.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from inspector.errors import InspectorError
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.splits import Role, SplitEntry
from training.data.survey import survey
from training.data.training_set import LabelledImages
from training.models.classifier import CLASSIFIER
from training.models.classifier.fitting import ClassifierFitter
from training.models.classifier.measure import deal, told
from training.models.classifier.settings import ClassifierSettings
from training.models.registry import read_settings
from training.models.scoring import score_images

_TEST = 0.3
_WRONG = 0.1
_PAIRS = 200


class Pairs(LabelledImages):
    """Pictures of `data` two by two: the left half of one beside the right half of another, with both labels."""

    def __init__(self, data: LabelledImages, images: Sequence[int], seed: int) -> None:
        random = np.random.default_rng((seed, 5))
        chosen = [tuple(random.choice(images, 2, replace=False).tolist()) for _ in range(_PAIRS)]
        entries = tuple(SplitEntry(f"{a} | {b}", data.label(a), n, Role.FIT) for n, (a, b) in enumerate(chosen))
        super().__init__(data.dataset, entries, data.preparation)
        object.__setattr__(self, "_data", data)
        object.__setattr__(self, "_chosen", chosen)

    def pixels(self, image: int) -> NDArray[np.uint8]:
        first, second = (self._data.pixels(one) for one in self._chosen[image])
        half = first.shape[1] // 2
        return np.ascontiguousarray(np.concatenate([first[:, :half], second[:, half:]], axis=1))

    def labels(self, image: int) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._data.label(one) for one in self._chosen[image]))

    def agreement(self, image: int) -> float:
        return 1.0

    _data: LabelledImages
    _chosen: list[tuple[int, int]]


def wrong_labels(data: LabelledImages, settings: ClassifierSettings, seed: int) -> str:
    """A tenth of the labels to fit on changed at random: what is reached all the same, and how many are named."""
    fit_on, test = deal(data, _TEST, seed)
    random = np.random.default_rng((seed, 4))
    changed = set(random.choice(fit_on, round(_WRONG * len(fit_on)), replace=False).tolist())
    names = sorted({data.label(image) for image in fit_on})
    entries = list(data.entries)
    for image in sorted(changed):
        others = [name for name in names if name != data.label(image)]
        entries[image] = replace(entries[image], label=str(random.choice(others)))
    wrong = LabelledImages(data.dataset, tuple(entries), data.preparation).only(fit_on)
    fitter = ClassifierFitter(wrong, settings)
    network = fitter.fit(range(len(wrong)))
    result = told(network, data, test)
    paths = {data.entries[image].path for image in changed}
    found = sum(doubt.path in paths for doubt in fitter.doubts)
    return (
        f"{len(changed)} of {len(fit_on)} labels wrong: accuracy {result.accuracy:.4f}, macro F1 {result.macro_f1:.4f}; "
        f"{len(fitter.doubts)} labels doubted, {found} of the wrong ones among them"
    )


def two_on_one(data: LabelledImages, settings: ClassifierSettings, seed: int) -> str:
    """Halves of two pictures side by side: how often exactly the right classes are named, and F1 over the labels."""
    fit_on, test = deal(data, _TEST, seed)
    taught, asked = Pairs(data, fit_on, seed), Pairs(data, test, seed + 1)
    network = ClassifierFitter(taught, replace(settings, labels="several")).fit(range(len(taught)))
    seen = score_images(network, asked, range(len(asked)), lambda done: None)
    assert seen.class_scores is not None  # a classifier has them
    known = seen.class_scores[:, :-1] / np.maximum(1 - seen.class_scores[:, -1:], 1e-9)
    truth = np.array([[name in asked.labels(image) for name in network.classes[:-1]] for image in range(len(asked))])
    right = ((known > 0.5) == truth).all(axis=1).mean()
    return f"two halves: classes exactly right {right:.3f}, F1 {f1_score(truth, known > 0.5, average='macro'):.3f}"


def main() -> None:
    """Print a line per trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    settings = replace(read_settings(CLASSIFIER, arguments.set), seed=arguments.seed)
    preparation = Preparation(arguments.size, arguments.size, 1)
    seen = survey(open_dataset(arguments.data), preparation)
    if any("colour" in image.mode for image in seen.images):
        preparation = replace(preparation, channels=3)
    entries = (SplitEntry(i.sample.path, i.sample.label, n, Role.FIT) for n, i in enumerate(seen.images))
    data = LabelledImages(seen.dataset, tuple(entries), preparation)
    print(two_on_one(data, settings, arguments.seed), flush=True)
    print(wrong_labels(data, settings, arguments.seed), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        main()
    except InspectorError as error:
        sys.exit(str(error))
