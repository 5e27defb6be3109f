"""Measures segmentation against the number of labelled regions: AUROC, escapes, pixel IoU per class, AUPRO.

    python -m training.models.segmentation.measure DATA --regions 1 5 10 25 --seeds 3

Parts are dealt out by group: 80 % of the good parts and half of the defective ones of each class to fit on, of which each row
uses as many marked images per class as it says; the rest tests, and is the same for all rows of a seed.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.part import Box
from training.data.duplicates import group_by_part
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.samples import GOOD
from training.data.splits import Role, SplitEntry, SplitShares, make_split
from training.data.survey import Survey, survey
from training.data.training_set import LabelledImages
from training.models.registry import read_settings
from training.models.scoring import score_images
from training.models.segmentation import SEGMENTATION
from training.models.segmentation.fitting import FitSettings, SegmentationFitter
from training.models.segmentation.views import example_of
from training.pixels import PixelMeter
from training.statistics import auroc

FALSE_REJECT_RATE = 0.01


@dataclass(frozen=True, slots=True)
class Row:
    """One fit: image AUROC, escapes at 1 % false rejects, AUPRO up to 30 % false positives, IoU by class; shares."""

    auroc: float
    escapes: float
    aupro: float
    iou: dict[str, float]


def prepared(
    seen: Survey, groups: Sequence[int], preparation: Preparation, seed: int
) -> tuple[LabelledImages, list[int], list[int]]:
    """All images, the numbers of those that may be fitted on, and of those to test."""
    samples = [replace(image.sample, published_split="") for image in seen.images]
    shares = SplitShares(test=0.2, calibration=0.0, defects_to_fit=0.5)
    roles = make_split(samples, groups, shares, seed)
    entries = tuple(SplitEntry(s.path, s.label, g, r) for s, g, r in zip(samples, groups, roles, strict=True))
    images = LabelledImages(seen.dataset, entries, preparation)
    fit_on = [index for index, role in enumerate(roles) if role is Role.FIT]
    return images, fit_on, [index for index, role in enumerate(roles) if role is Role.TEST]


def chosen(images: LabelledImages, fit_on: Sequence[int], regions: int, seed: int) -> list[int]:
    """The good images of `fit_on`, and of each class as many as `regions` that can be seen, of different parts first."""
    random = np.random.default_rng((seed, 4))
    kept = [image for image in fit_on if images.is_good(image)]
    classes = sorted({images.label(image) for image in fit_on} - {GOOD})
    for name in classes:
        of_class = [image for image in fit_on if images.label(image) == name]
        order = [of_class[index] for index in random.permutation(len(of_class))]
        turn: dict[int, int] = {}
        ranked = []
        for image in order:
            turn[images.part(image)] = turn.get(images.part(image), 0) + 1
            ranked.append((turn[images.part(image)], image))
        ranked.sort(key=lambda pair: pair[0])
        visible = (image for _, image in ranked if example_of(images, image, classes, "background") is not None)
        kept += itertools.islice(visible, regions)
    return kept


def measure(images: LabelledImages, fit_on: Sequence[int], tested: Sequence[int], settings: FitSettings) -> Row:
    """Fit on some images and test on others."""
    taught = images.only(fit_on)
    network = SegmentationFitter(taught, settings).fit(range(len(taught)))
    found = score_images(network, images, tested, lambda done: None)
    assert found.class_maps is not None
    labels = np.array([images.label(image) for image in tested])
    good, defective = found.scores[labels == GOOD], found.scores[labels != GOOD]
    limit = np.quantile(good, 1 - FALSE_REJECT_RATE, method="higher")
    masked = [number for number, image in enumerate(tested) if images.mask(image) is not None]
    truth = [np.asarray(images.mask(tested[number])) >= 128 for number in masked]
    classes = network.classes
    shown = [_pixels(found.class_maps[number], *mask.shape) for number, mask in zip(masked, truth, strict=True)]
    iou = {}
    for index, name in enumerate(classes):
        both = either = 0
        for number, mask, classed in zip(masked, truth, shown, strict=True):
            is_class = mask if labels[number] == name else np.zeros_like(mask)
            both += int((is_class & (classed == index + 1)).sum())
            either += int((is_class | (classed == index + 1)).sum())
        iou[name] = both / either if either else float("nan")
    meter = PixelMeter()
    for number, mask in zip(masked, truth, strict=True):
        meter.add(found.maps[number], Box(0, 0, mask.shape[1], mask.shape[0]), mask)
    overlap = meter.result().aupro or 0.0
    return Row(auroc(good, defective) or 0.0, float((defective <= limit).mean()), overlap, iou)


def _pixels(class_maps: NDArray[np.float32], height: int, width: int) -> NDArray[np.intp]:
    """The class of each pixel, 0 where background is at least as likely as any defect: (height, width)."""
    grown = np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in class_maps])
    return np.where(grown.sum(axis=0) > 0.5, grown.argmax(axis=0) + 1, 0)


def main() -> None:
    """Print one line per row and seed, then mean and standard deviation over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--regions", type=int, nargs="+", default=[1, 5, 10, 25])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default="224x224")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    preparation = Preparation(width, height, 1)
    seen = survey(open_dataset(arguments.data), preparation)
    if any("colour" in image.mode for image in seen.images):
        preparation = replace(preparation, channels=3)
    groups = group_by_part(seen.images)
    settings = read_settings(SEGMENTATION, arguments.set)
    for regions in arguments.regions:
        rows = []
        for seed in range(arguments.seeds):
            images, fit_on, tested = prepared(seen, groups, preparation, seed)
            row = measure(images, chosen(images, fit_on, regions, seed), tested, replace(settings, seed=seed))
            rows.append(row)
            classes = ", ".join(f"{name} {value:.2f}" for name, value in row.iou.items())
            print(
                f"{regions} regions, seed {seed}: AUROC {row.auroc:.3f}, escapes {row.escapes:.2f}, AUPRO {row.aupro:.3f}, "
                f"IoU {np.nanmean(list(row.iou.values())):.3f} ({classes})",
                flush=True,
            )
        values = np.array([(row.auroc, row.escapes, row.aupro, np.nanmean(list(row.iou.values()))) for row in rows])
        told = ", ".join(
            f"{name} {mean:.3f} ± {spread:.3f}"
            for name, mean, spread in zip(
                ("AUROC", "escapes", "AUPRO", "IoU"), values.mean(axis=0), values.std(axis=0), strict=True
            )
        )
        print(f"{regions} regions, {len(rows)} seeds: {told}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    main()
