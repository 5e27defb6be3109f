"""Measures the classifier: accuracy, macro F1, AUROC of good against defective, and what becomes of a class never seen.

    python -m training.models.classifier.measure DATA --seeds 5 [--test 0.3] [--size 224] [--set KEY=VALUE] [--left-out]

Images are dealt out by label at random, as in published results; `--split part` keeps the images of one part together. With
`--left-out` each class in turn is missing from training: how many of its parts the guard calls unfamiliar, and how many of
the test parts that training did show.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from inspector.errors import InspectorError
from training.data.duplicates import group_by_part
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.samples import GOOD
from training.data.splits import Role, SplitEntry
from training.data.survey import survey
from training.data.training_set import LabelledImages
from training.models.classifier import CLASSIFIER
from training.models.classifier.fitting import ClassifierFitter
from training.models.classifier.network import Classifier
from training.models.registry import read_settings
from training.models.scoring import score_images
from training.statistics import auroc


@dataclass(frozen=True, slots=True)
class Told:
    """How one fitted classifier told its test images apart; without good parts there is none of the last three.

    `good_or_not` is the share named good or defective rightly, whichever defect; `auroc` that of good against defective by
    the probability of any defect, as published results have it, `score_auroc` by the score that the line holds against its
    limit, in which the guard has its say.
    """

    accuracy: float
    macro_f1: float
    good_or_not: float | None
    auroc: float | None
    score_auroc: float | None


def deal(data: LabelledImages, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the images to fit on and to test, by part, each label dealt out at the same share."""
    label_of = {data.part(image): data.label(image) for image in range(len(data))}
    random = np.random.default_rng((seed, 3))
    tested: set[int] = set()
    for label in sorted(set(label_of.values())):
        parts = sorted(part for part, of in label_of.items() if of == label)
        chosen = random.permutation(len(parts))[: round(share * len(parts))]
        tested |= {parts[place] for place in chosen}
    test = [image for image in range(len(data)) if data.part(image) in tested]
    return [image for image in range(len(data)) if data.part(image) not in tested], test


def told(network: Classifier, data: LabelledImages, images: Sequence[int]) -> Told:
    """Hold what the network says of `images` against their labels."""
    seen = score_images(network, data, images, lambda done: None)
    assert seen.class_scores is not None  # a classifier has them
    labels = np.array([data.label(image) for image in images])
    named = most_probable(network, seen.class_scores)
    good = labels == GOOD
    defect = _known(seen.class_scores).sum(axis=1)
    return Told(
        float(accuracy_score(labels, named)),
        float(f1_score(labels, named, average="macro")),
        float(((named == GOOD) == good).mean()) if network.knows_good else None,
        auroc(defect[good], defect[~good]) if network.knows_good else None,
        auroc(seen.scores[good], seen.scores[~good]) if network.knows_good else None,
    )


def most_probable(network: Classifier, class_scores: NDArray[np.float32]) -> NDArray[np.str_]:
    """The most probable of the classes that training knows, good among them: text (n,)."""
    known = _known(class_scores)
    good = 1 - known.sum(axis=1, keepdims=True)
    outputs = (*network.classes[:-1], GOOD)
    shares = np.hstack([known, good if network.knows_good else np.full_like(good, -1)])
    return np.asarray([outputs[place] for place in shares.argmax(axis=1)], np.str_)


def _known(class_scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Class scores as they are before the guard takes its share: float32 (n, classes without the guard's)."""
    return np.asarray(class_scores[:, :-1] / np.maximum(1 - class_scores[:, -1:], 1e-9), np.float32)


def unfamiliar(network: Classifier, data: LabelledImages, images: Sequence[int]) -> float:
    """Share of `images` that the guard calls unlike training."""
    seen = score_images(network, data, images, lambda done: None)
    assert seen.class_scores is not None  # a classifier has them
    return float((seen.class_scores[:, -1] > 0.5).mean())


def left_out(fitter: ClassifierFitter, data: LabelledImages, fit_on: Sequence[int], test: Sequence[int]) -> None:
    """Print, for each class, what a classifier that has never seen it makes of it."""
    for name in fitter.classes:
        network = fitter.fit([image for image in fit_on if data.label(image) != name])
        strange = unfamiliar(network, data, [image for image in test if data.label(image) == name])
        known = unfamiliar(network, data, [image for image in test if data.label(image) != name])
        print(f"  never seen: {name}: unfamiliar {strange:.3f}; of the known {known:.3f}", flush=True)


def main() -> None:
    """Print one line per seed, then mean and standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--split", choices=("random", "part"), default="random")
    parser.add_argument("--test", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--left-out", action="store_true")
    arguments = parser.parse_args()
    settings = read_settings(CLASSIFIER, arguments.set)
    preparation = Preparation(arguments.size, arguments.size, 1)
    seen = survey(open_dataset(arguments.data), preparation)
    if any("colour" in image.mode for image in seen.images):
        preparation = replace(preparation, channels=3)
    groups = group_by_part(seen.images) if arguments.split == "part" else range(len(seen.images))
    samples = [image.sample for image in seen.images]
    entries = tuple(SplitEntry(s.path, s.label, g, Role.FIT) for s, g in zip(samples, groups, strict=True))
    data = LabelledImages(seen.dataset, entries, preparation)
    # Features of a frozen backbone depend on nothing but the image: looked at once, for all seeds.
    fitter = ClassifierFitter(data, settings)
    rows = []
    for seed in range(arguments.seeds):
        fit_on, test = deal(data, arguments.test, seed)
        result = told(fitter.fit(fit_on), data, test)
        rows.append([np.nan if value is None else value for value in astuple(result)])
        print(f"seed {seed}: {_line(rows[-1])}; {len(fitter.doubts)} labels doubted", flush=True)
        if arguments.left_out:
            left_out(fitter, data, fit_on, test)
    print(f"mean: {_line(np.mean(rows, axis=0))}; deviation: {_line(np.std(rows, axis=0))}")


def _line(row: Sequence[float] | NDArray[np.float64]) -> str:
    names = ("accuracy", "macro F1", "good or not", "AUROC", "AUROC of the score")
    return ", ".join(f"{name} {value:.4f}" for name, value in zip(names, row, strict=True) if not np.isnan(value))


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        main()
    except InspectorError as error:
        sys.exit(str(error))
