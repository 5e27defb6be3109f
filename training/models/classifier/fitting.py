"""Fits a classifier: a head on features of a pretrained backbone, or that and the backbone's late stages together."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from inspector.errors import ConfigError, DataError
from training.augment import Augmentation, augmented
from training.backbones import LITE0, bare_backbone, pretrained_backbone
from training.data.samples import GOOD, printable
from training.data.training_set import LabelledImages
from training.loop import LoopSettings, best_device, train
from training.models.classifier.head import (
    Lesson,
    cross_fit,
    doubted,
    fit_head,
    loss_of,
    set_guard,
    standardise,
    temperature,
)
from training.models.classifier.network import UNFAMILIAR, Classifier, ClassifierSpec, Guard, PartFeatures, pooled
from training.models.scoring import BATCH
from training.progress import Progress, silent

_FOLDS = 5


@dataclass(frozen=True, slots=True)
class ClassifierSettings:
    """What a classifier can be told.

    `backbone`, `weights`  timm's name, and a weights file for what is not packaged
    `levels`               the backbone's stages whose features count
    `views`                how many times each image is seen while the backbone is frozen: once as it is, then changed
    `augmentation`         how images may be changed; only what happens to this part on this line
    `labels`               "one" class per part, or "several"; "auto" takes what the data shows
    `balance`              0: every image counts alike; 1: every class does
    `smoothing`            share of each label that is spread over all classes, against wrong labels
    `mixtures`             labels that stand for shares of classes: {"doubtful": {"good": 0.67, "scratch": 0.33}}
    `train_from`           the first stage of the backbone that learns too; -1 leaves it frozen
    `loop`                 how it then learns; `checkpoint` is a folder for its state, so that a kill loses one epoch at most
    """

    backbone: str = LITE0
    weights: str = ""
    levels: tuple[int, ...] = (2, 3, 4)
    views: int = 4
    augmentation: Augmentation = field(default_factory=Augmentation)
    labels: Literal["auto", "one", "several"] = "auto"
    balance: float = 0.5
    smoothing: float = 0.05
    mixtures: dict[str, dict[str, float]] = field(default_factory=dict)
    train_from: int = -1
    loop: LoopSettings = field(default_factory=LoopSettings)
    checkpoint: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.views < 1 or not 0 <= self.balance <= 1 or not 0 <= self.smoothing < 0.5:
            raise ConfigError(
                f"got {self.views} views, balance {self.balance} and smoothing {self.smoothing}: give at least 1, a number "
                "from 0 to 1, and one from 0 to below 0.5"
            )
        for label, shares in self.mixtures.items():
            if abs(sum(shares.values()) - 1) > 0.02 or min(shares.values()) < 0:
                raise ConfigError(f"the shares of the label {label!r} are {shares}: they must add up to 1")


@dataclass(frozen=True, slots=True)
class DoubtedLabel:
    """A training image whose label models fitted without it disagree with."""

    path: str
    label: str
    says: str
    probability: float


class ClassifierFitter:
    """Looks at every image once through the pretrained backbone; each fit then starts from what was seen of its images.

    `doubts` are those of the last fit, the surest disagreement first.
    """

    def __init__(self, data: LabelledImages, settings: ClassifierSettings, progress: Progress = silent) -> None:
        self._data = data
        self._settings = settings
        self.classes = _classes(data, settings)
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
        self._seen = see(self._features, data, range(len(data)), settings, progress)

    def fit(self, images: Sequence[int], progress: Progress = silent) -> Classifier:
        """As `Fitter.fit`. With a frozen backbone every image teaches and, by cross-fitting, calibrates; if the backbone
        learns, a fifth of the parts is held back to calibrate.
        """
        chosen = list(images)
        folds = self._folds(chosen)
        if self._settings.train_from < 0:
            return self._frozen(chosen, folds)
        held_back = [image for image, fold in zip(chosen, folds, strict=True) if fold == 0]
        taught = [image for image, fold in zip(chosen, folds, strict=True) if fold != 0]
        network = self._frozen(taught, self._folds(taught))
        return self._tuned(network, taught, held_back, progress)

    def _frozen(self, images: list[int], folds: Sequence[int]) -> Classifier:
        seen = self._seen[torch.tensor(images)]
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
        settings, device = self._settings, best_device()
        network = copy.deepcopy(network)
        network.features.backbone.train_from(settings.train_from)
        network.head.requires_grad_(True)
        student = _Student(network).to(device)

        def loss(student: nn.Module, batch: Sequence[int], generator: torch.Generator) -> Tensor:
            numbers = [taught[place] for place in batch]
            pixels = augmented(_pixels(self._data, numbers), settings.augmentation, generator)
            targets = self._smoothed(numbers).to(device)
            return loss_of(student(pixels.to(device)), targets, self._several).mean()

        weights = self._weights(taught)
        folder = Path(settings.checkpoint) if settings.checkpoint else None
        train(
            student,
            loss,
            weights,
            settings.loop,
            settings.seed,
            folder=folder,
            task=self._task(taught),
            progress=progress,
        )
        network = network.cpu().eval().requires_grad_(False)
        once = replace(settings, views=1)
        seen = see(network.features, self._data, [*taught, *held_back], once, progress)
        standard = (seen - network.centre) / network.deviation
        lesson = self._lesson(standard[: len(taught)], taught)
        outside = standard[len(taught) :, 0]
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
        """float32 (images, outputs): the share of each output in each image's label."""
        places = {name: place for place, name in enumerate(self._outputs())}
        targets = torch.zeros(len(self._data), len(places))
        for image in range(len(self._data)):
            for label in self._labels(image):
                for name, share in self._settings.mixtures.get(label, {label: 1.0}).items():
                    if name in places:
                        targets[image, places[name]] = max(share, float(targets[image, places[name]]))
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

    def _folds(self, images: Sequence[int]) -> list[int]:
        """A fold for each image, the same for all of a part; each class is dealt out evenly."""
        label_of = {self._data.part(image): self._data.label(image) for image in images}
        random = np.random.default_rng((self._settings.seed, 2))
        order = sorted(label_of)
        shuffled = [order[place] for place in random.permutation(len(order))]
        dealt = sorted(shuffled, key=lambda part: label_of[part])
        if len(dealt) < 2:
            raise DataError("a classifier needs images of at least two parts; add images of more parts")
        fold_of = {part: place % min(_FOLDS, len(dealt)) for place, part in enumerate(dealt)}
        return [fold_of[self._data.part(image)] for image in images]

    def _task(self, images: Sequence[int]) -> str:
        """Names these images and settings, for the state of the loop."""
        known = [(self._data.entries[image].path, self._data.label(image)) for image in images]
        settings = replace(self._settings, checkpoint="")
        return hashlib.sha256(repr((known, settings, self._data.preparation)).encode()).hexdigest()


class _Student(nn.Module):
    """The part of a classifier that learns, with logits as its output, so that several processes can share gradients."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network.logits(pixels)


@torch.no_grad()
def see(
    features: PartFeatures,
    data: LabelledImages,
    images: Sequence[int],
    settings: ClassifierSettings,
    progress: Progress = silent,
) -> Tensor:
    """Pooled features of each image, float32 (images, views, width): as it is, then changed in seeded draws."""
    device = best_device()
    features = features.to(device)
    generator = torch.Generator().manual_seed(settings.seed)
    kept = []
    progress("Looking at images", 0, len(images))
    for start in range(0, len(images), BATCH):
        pixels = _pixels(data, images[start : start + BATCH])
        views = [pixels, *(augmented(pixels, settings.augmentation, generator) for _ in range(settings.views - 1))]
        kept.append(torch.stack([pooled(features.of_pixels(view.to(device))).cpu() for view in views], dim=1))
        progress("Looking at images", start + len(pixels), len(images))
    features.cpu()
    return torch.cat(kept)


def _pixels(data: LabelledImages, images: Sequence[int]) -> Tensor:
    """float32 (n, channels, height, width) of 0 to 255."""
    return torch.from_numpy(np.stack([data.pixels(image) for image in images])).permute(0, 3, 1, 2).float()


def _classes(data: LabelledImages, settings: ClassifierSettings) -> tuple[str, ...]:
    """Defect classes, sorted. Raises DataError for a class that has the guard's name."""
    labels = {label for image in range(len(data)) for label in data.labels(image)}
    labels |= {data.label(image) for image in range(len(data))}
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
