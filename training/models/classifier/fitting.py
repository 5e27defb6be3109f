"""Fits a classifier: a head on features of a pretrained backbone, or that and the backbone's late stages together."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inspector.errors import DataError
from training.backbones import bare_backbone, pretrained_backbone, try_backbone
from training.data.samples import GOOD, printable
from training.data.training_set import LabelledImages
from training.models.classifier.head import (
    Lesson,
    cross_fit,
    doubted,
    fit_head,
    set_guard,
    standardise,
    temperature,
)
from training.models.classifier.network import UNFAMILIAR, Classifier, ClassifierSpec, Guard, PartFeatures
from training.models.classifier.seeing import see
from training.models.classifier.settings import ClassifierSettings
from training.models.classifier.teaching import Course, teach
from training.models.kind import DoubtedLabel, check_classes
from training.progress import Progress, silent

_FOLDS = 5
_HELD_BACK = 200
"""So many parts tell temperature and guard well enough; what is beyond them teaches."""


class ClassifierFitter:
    """Looks at every image once through the pretrained backbone; each fit then starts from what was seen of its images.

    `doubts` are those of the last fit, the surest disagreement first.
    """

    def __init__(self, data: LabelledImages, settings: ClassifierSettings, progress: Progress = silent) -> None:
        self._data = data
        self._settings = settings
        self.classes = _classes(data, settings)
        check_classes((*self.classes, UNFAMILIAR))
        self._knows_good = any(data.is_good(image) for image in range(len(data)))
        self._several = _several(data, settings)
        self._targets = self._labelled()
        if len(self.classes) + self._knows_good < 2:
            raise DataError(
                "a classifier tells classes apart, and the images to fit on show only "
                f"{printable((*self.classes, GOOD)[0])}; add images of defect classes, or choose a kind for good parts only"
            )
        self.doubts: tuple[DoubtedLabel, ...] = ()
        region = data.region_of_interest
        spec = ClassifierSpec(settings.backbone, settings.levels)
        self._features = PartFeatures(
            spec,
            pretrained_backbone(settings.backbone, settings.weights),
            None if region is None else torch.from_numpy(region.astype(np.float32)),
        ).eval()
        size = data.preparation
        try_backbone(self._features.backbone, settings.backbone, size.width_px, size.height_px)
        self._kept = _kept_stage(settings)
        self._seen = see(
            self._features,
            data,
            settings.augmentation,
            settings.views,
            settings.seed,
            keep=None if self._kept is None else settings.levels.index(self._kept),
            progress=progress,
        )

    def fit(self, images: Sequence[int], progress: Progress = silent) -> Classifier:
        """As `Fitter.fit`. With a frozen backbone every image teaches and, by cross-fitting, calibrates; if the backbone
        learns, a fifth of the parts, but hardly more than 200, is held back to calibrate.
        """
        chosen = list(images)
        if self._settings.train_from < 0:
            return self._frozen(chosen, self._folds(chosen))
        folds = self._folds(chosen, most=_HELD_BACK)
        held_back = [image for image, fold in zip(chosen, folds, strict=True) if fold == 0]
        taught = [image for image, fold in zip(chosen, folds, strict=True) if fold != 0]
        network = self._frozen(taught, self._folds(taught))
        return self._tuned(network, taught, held_back, progress)

    def _frozen(self, images: list[int], folds: Sequence[int]) -> Classifier:
        seen = self._seen.features[torch.tensor(images)]
        centre, deviation = standardise(seen)
        lesson = self._lesson((seen - centre) / deviation, images)
        judged = cross_fit(lesson, folds)
        targets = self._targets[torch.tensor(images)]
        warmth = temperature(judged.logits, targets, self._several)
        network = Classifier(
            self._features,
            self.classes,
            (centre, deviation),
            Guard(torch.zeros(1, 1), torch.zeros(4)),
            knows_good=self._knows_good,
            several=self._several,
        )
        ((weight, bias),) = fit_head(lesson, (judged.penalty,))
        network.head.load_state_dict({"weight": weight, "bias": bias})
        logits = judged.logits / warmth
        self._calibrate(network, warmth, (lesson, logits, judged.distances, images))
        self._note(logits, images)
        return network.eval().requires_grad_(False)

    def _tuned(self, network: Classifier, taught: list[int], held_back: list[int], progress: Progress) -> Classifier:
        """The network with its late stages taught, calibrated on what was held back."""
        settings = self._settings
        network = copy.deepcopy(network)
        course = Course(self._data, self._seen, self._kept, self._smoothed(range(len(self._data))), self._several)
        standard = teach(network, course, settings, taught, self._weights(taught), self._task(taught), progress)
        lesson = self._lesson(standard[torch.tensor(taught)].unsqueeze(1), taught)
        outside = standard[torch.tensor(held_back)]
        network.guard_with(set_guard(lesson, torch.zeros(len(taught)), torch.zeros(len(taught)), torch.zeros(0).bool()))
        logits, targets = network.head(outside), self._targets[torch.tensor(held_back)]
        warmth = temperature(logits, targets, self._several)
        self._calibrate(network, warmth, (lesson, logits / warmth, network.distance(outside), held_back))
        self._note(logits / warmth, held_back)
        return network.requires_grad_(False)

    def _calibrate(self, network: Classifier, warmth: float, judged: tuple[Lesson, Tensor, Tensor, list[int]]) -> None:
        """Temperature and guard from calibrated logits and guard distances of images that the network was not taught."""
        lesson, logits, distances, images = judged
        good = torch.tensor([self._data.is_good(image) for image in images])
        odds = network.odds(logits) if self._knows_good else torch.zeros(len(images))
        network.temperature.fill_(warmth)
        network.guard_with(set_guard(lesson, odds, distances, good))

    def _note(self, logits: Tensor, images: list[int]) -> None:
        names = self._outputs()
        self.doubts = tuple(
            DoubtedLabel(
                self._data.entries[images[doubt.image]].path,
                self._data.label(images[doubt.image]),
                names[doubt.says],
                doubt.probability,
            )
            for doubt in doubted(logits, self._targets[torch.tensor(images)], self._several)
        )

    def _outputs(self) -> tuple[str, ...]:
        return (GOOD, *self.classes) if self._knows_good and not self._several else self.classes

    def _labelled(self) -> Tensor:
        """float32 (images, outputs): the share of each output in each image's label.

        What those who labelled it did not agree on is spread over the other outputs of an image of one class.
        """
        places = {name: place for place, name in enumerate(self._outputs())}
        targets = torch.zeros(len(self._data), len(places))
        for image in range(len(self._data)):
            for label in self._labels(image):
                for name, share in self._settings.mixtures.get(label, {label: 1.0}).items():
                    if name in places:
                        targets[image, places[name]] = max(share, float(targets[image, places[name]]))
            agreement = self._data.agreement(image)
            rest = 0.0 if self._several else (1 - agreement) / max(len(places) - 1, 1)
            targets[image] = agreement * targets[image] + rest * (targets[image] == 0)
        return targets

    def _labels(self, image: int) -> tuple[str, ...]:
        return self._data.labels(image) if self._several else (self._data.label(image),)

    def _smoothed(self, images: Sequence[int]) -> Tensor:
        spread = self._settings.smoothing
        targets = self._targets[torch.tensor(list(images))]
        return targets * (1 - spread) + spread / (2 if self._several else targets.shape[1])

    def _lesson(self, standard: Tensor, images: list[int]) -> Lesson:
        channels = self._features.backbone.channels
        return Lesson(standard, self._smoothed(images), self._weights(images), channels, self._several)

    def _weights(self, images: Sequence[int]) -> Tensor:
        """How much each image counts: (number of images of its rarest label) to the power of -balance, on average 1."""
        counts = Counter(label for image in images for label in self._labels(image))
        weights = torch.tensor(
            [min(counts[label] for label in self._labels(image)) ** -self._settings.balance for image in images]
        )
        return weights / weights.mean()

    def _folds(self, images: Sequence[int], most: int = 0) -> list[int]:
        """A fold for each image, the same for all of a part; each class is dealt out evenly.

        They are more if `most` is given and a fold would hold more parts than that.
        """
        label_of = {self._data.part(image): self._data.label(image) for image in images}
        random = np.random.default_rng((self._settings.seed, 2))
        order = sorted(label_of)
        shuffled = [order[place] for place in random.permutation(len(order))]
        dealt = sorted(shuffled, key=lambda part: label_of[part])
        if len(dealt) < 2:
            raise DataError("a classifier needs images of at least two parts; add images of more parts")
        count = max(_FOLDS, len(dealt) // most) if most else _FOLDS
        fold_of = {part: place % min(count, len(dealt)) for place, part in enumerate(dealt)}
        return [fold_of[self._data.part(image)] for image in images]

    def _task(self, images: Sequence[int]) -> str:
        """Names what is learned from, by content, and the settings: a state of other pictures or labels is not gone on with."""
        digest = hashlib.sha256()
        for image in images:
            digest.update(hashlib.sha256(self._data.filled(image).tobytes()).digest())
        digest.update(self._targets[torch.tensor(images)].numpy().tobytes())
        if self._data.region_of_interest is not None:
            digest.update(self._data.region_of_interest.tobytes())
        settings = replace(self._settings, checkpoint="")
        digest.update(repr((self.classes, settings, self._data.preparation)).encode())
        return digest.hexdigest()


def _kept_stage(settings: ClassifierSettings) -> int | None:
    """The last frozen stage, if its cells are among what is looked at anyway and something behind it learns from them."""
    last = settings.train_from - 1
    return last if last in settings.levels and last < max(settings.levels) else None


def _classes(data: LabelledImages, settings: ClassifierSettings) -> tuple[str, ...]:
    """Defect classes, sorted. Raises DataError for a class that has the guard's name, and for mixtures of no label."""
    labels = {label for image in range(len(data)) for label in data.labels(image)}
    labels |= {data.label(image) for image in range(len(data))}
    if unknown := sorted(set(settings.mixtures) - labels):
        raise DataError(
            f"the mixtures name {printable(unknown[0])!r}, a label that no image to fit on has; their labels are "
            f"{', '.join(map(printable, sorted(labels)))}: correct the name, or leave it out"
        )
    plain = (labels - set(settings.mixtures)) | {name for shares in settings.mixtures.values() for name in shares}
    if UNFAMILIAR in plain:
        raise DataError(f"the class {UNFAMILIAR!r} is what the model calls parts unlike all others: rename that folder")
    return tuple(sorted(plain - {GOOD}))


def _several(data: LabelledImages, settings: ClassifierSettings) -> bool:
    if settings.labels == "auto":
        return any(len(data.labels(image)) > 1 for image in range(len(data)))
    return settings.labels == "several"


def rebuild(structure: Mapping[str, Any]) -> Classifier:
    """A classifier of that structure, its tensors yet to be loaded."""
    spec = ClassifierSpec(structure["spec"]["backbone"], tuple(structure["spec"]["levels"]))
    features = PartFeatures(spec, bare_backbone(spec.backbone), torch.ones(structure["region"]))
    return Classifier(
        features,
        tuple(structure["classes"]),
        (torch.zeros(features.width), torch.ones(features.width)),
        Guard(torch.zeros(structure["bank"]), torch.zeros(4)),
        knows_good=structure["knows_good"],
        several=structure["several"],
    )
