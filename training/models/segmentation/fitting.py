"""Fits the decoder of a segmentation on features that the frozen trunk gave once: many fits cost little more than one."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from inspector.errors import DataError
from training.backbones import LITE0, bare_backbone, pretrained_backbone, try_backbone
from training.data.samples import GOOD as GOOD_LABEL
from training.data.samples import printable
from training.data.training_set import LabelledImages, interest_cells
from training.device import best_device
from training.models.kind import check_classes
from training.models.segmentation.network import STRIDES, Decoder, Features, SegmentationSpec, Segmenter
from training.models.segmentation.views import (
    DEFECTIVE,
    GOOD,
    IGNORED,
    PASTED,
    Augmentation,
    Example,
    Views,
    augmented,
    example_of,
    look,
    pasted,
)
from training.progress import Curve, Progress, point, silent
from training.statistics import auroc

_BATCH = 16
_DROPPED = 0.2
"""Share of the trunk's channels left out at each step: few regions must not lean on a few channels."""
_VALIDATE_EVERY = 25
_PATIENCE = 5
_LEAST_PARTS_TO_VALIDATE = 10
_VALIDATION_SHARE = 0.2
_HARDEST = 0.02
"""Share of a batch's cells whose loss counts once more: a part is judged by its worst cell."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """`unmarked` says what the rest of a defective image is: "background", or "unknown" if not all its defects are marked.

    `views` is the most views of good parts, of marked images and of pasted regions, each; fewer where `cache_mib` of features
    would not hold them. `steps` is the most optimiser steps; with parts enough, a fifth of them says when to stop. `backbone`
    is timm's name of the network below the decoder, `weights` a file for what is not packaged.
    """

    spec: SegmentationSpec = field(default_factory=SegmentationSpec)
    augmentation: Augmentation = field(default_factory=Augmentation)
    unmarked: Literal["background", "unknown"] = "background"
    views: Annotated[int, Field(ge=8, le=20_000)] = 320
    cache_mib: Annotated[int, Field(ge=16, le=65_536)] = 512
    steps: Annotated[int, Field(ge=1, le=100_000)] = 300
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-3
    backbone: str = LITE0
    weights: str = ""
    seed: int = 0


class SegmentationFitter:
    """Looks at views of all labelled images once; each fit then trains a decoder on those of its images."""

    def __init__(self, data: LabelledImages, settings: FitSettings, progress: Progress = silent) -> None:
        """Raises DataError if no good part is there, or a class has no marked region."""
        self._data = data
        self._settings = settings
        self.classes = _classes(data)
        check_classes(self.classes)
        region = data.region_of_interest
        self._features = Features(
            None if region is None else torch.from_numpy(region.astype(np.float32)),
            backbone=settings.backbone,
            network=pretrained_backbone(settings.backbone, settings.weights),
        ).eval()
        try_backbone(self._features.trunk, settings.backbone, data.preparation.width_px, data.preparation.height_px)
        good, marked = _labelled(data, self.classes, settings)
        plan = _plan(data, good, marked, settings, self._features.trunk.channels)
        make = _maker(plan, lambda image: _example(data, image, self.classes, settings), settings)
        self._views = look(self._features, make, len(plan), progress)
        rows, columns = self._views.targets.shape[1:]
        cells = interest_cells(region, rows, columns)
        self._interest = None if cells is None else torch.from_numpy(cells)

    def fit(self, images: Sequence[int], progress: Progress = silent) -> Segmenter:
        """As `Fitter.fit`; images of defective parts without a marked region among them teach nothing."""
        usable = self._views.only(images)
        kinds = self._views.kinds[usable]
        if not (kinds == GOOD).any() or not (kinds == DEFECTIVE).any():
            raise DataError(
                f"the {len(images)} images to fit on do not hold both good parts and marked regions; add good parts, or mark "
                "regions on at least two parts, because the limit is set by models that leave parts out"
            )
        taught, held_back = self._hold_back(usable)
        decoder = train(self._views, taught, held_back, len(self.classes), self._settings, progress)
        return Segmenter(self._settings.spec, self.classes, self._features, decoder, self._interest).eval()

    def _hold_back(self, usable: Tensor) -> tuple[Tensor, Tensor]:
        """Views to learn from, and those of other parts that say when to stop (none if parts are few)."""
        parts = torch.tensor([self._data.part(image) for image in range(len(self._data))])[self._views.sources]
        kinds = self._views.kinds[usable]
        random = np.random.default_rng((self._settings.seed, 3))
        held: list[int] = []
        for kind in (GOOD, DEFECTIVE):
            found = sorted(set(parts[usable][kinds == kind, 0].tolist()) - set(held))
            if len(found) < _LEAST_PARTS_TO_VALIDATE:
                return usable, usable[:0]
            count = math.ceil(_VALIDATION_SHARE * len(found))
            held += [found[index] for index in random.permutation(len(found))[:count]]
        is_held = torch.isin(parts[usable], torch.tensor(held))
        return usable[~is_held.any(dim=1)], usable[is_held.all(dim=1) & (kinds != PASTED)]


def rebuild(structure: Mapping[str, Any]) -> Segmenter:
    """A segmenter of that structure, its tensors yet to be loaded."""
    spec = SegmentationSpec(**structure["spec"])
    classes = tuple(structure["classes"])
    backbone = structure["backbone"]
    features = Features(torch.ones(structure["region"]), backbone=backbone, network=bare_backbone(backbone))
    decoder = Decoder(len(classes), spec.width, features.trunk.channels)
    return Segmenter(spec, classes, features, decoder, torch.ones(structure["cells"]))


def _classes(data: LabelledImages) -> tuple[str, ...]:
    return tuple(sorted({data.label(image) for image in range(len(data))} - {GOOD_LABEL}))


def _example(data: LabelledImages, image: int, classes: Sequence[str], settings: FitSettings) -> Example:
    example = example_of(data, image, classes, settings.unmarked)
    assert example is not None  # only such images are planned
    return example


def _labelled(
    data: LabelledImages, classes: Sequence[str], settings: FitSettings
) -> tuple[list[int], dict[str, list[int]]]:
    """Good images, and those with a mark by class. Raises DataError."""
    good = [image for image in range(len(data)) if data.is_good(image)]
    if not good:
        raise DataError("none of the images to fit on is of a good part; add some, as background and to set the limit")
    marked: dict[str, list[int]] = {name: [] for name in classes}
    counts = Counter(data.label(image) for image in range(len(data)))
    for image in range(len(data)):
        if not data.is_good(image) and example_of(data, image, classes, settings.unmarked) is not None:
            marked[data.label(image)].append(image)
    if without := [f"{printable(name)} ({counts[name]} images)" for name, images in marked.items() if not images]:
        raise DataError(
            f"no region is marked of {', '.join(without)}, among the images to fit on, that is large enough to be seen at "
            f"{data.preparation.width_px} × {data.preparation.height_px} px: mark at least one of each class in a mask, fit "
            "with a larger --size, or leave these classes out; a model of whole images needs no masks"
        )
    if not marked:
        raise DataError(
            "none of the images to fit on shows a defect, and a segmentation learns from marked regions: add parts with marked "
            "regions, two of each class at least, as some are kept for the test"
        )
    return good, marked


def _plan(
    data: LabelledImages,
    good: Sequence[int],
    marked: Mapping[str, Sequence[int]],
    settings: FitSettings,
    channels: Sequence[int],
) -> list[tuple[int, int, int]]:
    """What to look at: (kind, image, image of the region pasted on it or the same), in seeded choice.

    `channels` are those of the features kept. Classes are seen equally often however many regions of each there are.
    """
    random = np.random.default_rng((settings.seed, 2))
    pixels = data.preparation.width_px * data.preparation.height_px
    bytes_each = 2 * pixels * sum(c / stride**2 for c, stride in zip(channels, STRIDES, strict=True))
    most = int(settings.cache_mib * 2**20 / (3 * bytes_each))
    count = max(8, min(settings.views, most))
    backgrounds = [good[index] for index in random.permutation(len(good))]
    plan = [(GOOD, image, image) for image in (backgrounds * math.ceil(count / len(good)))[:count]]
    share = max(1, count // len(marked))
    for images in marked.values():
        order = [images[index] for index in random.permutation(len(images))]
        turns = (order * math.ceil(share / len(order)))[:share]
        plan += [(DEFECTIVE, image, image) for image in turns]
        plan += [(PASTED, backgrounds[int(random.integers(len(good)))], image) for image in turns]
    return plan


def _maker(
    plan: Sequence[tuple[int, int, int]], read: Callable[[int], Example], settings: FitSettings
) -> Callable[[int], Example]:
    """Makes the planned example of a number: read, pasted, augmented; the first of a marked image is left as it is."""
    transform = settings.augmentation.transform()
    seen: set[int] = set()

    def make(number: int) -> Example:
        kind, image, region = plan[number]
        if kind == PASTED:
            example = pasted(read(image), read(region), np.random.default_rng((settings.seed, number)))
            return augmented(example, transform, _seed_of(settings, number))
        example = read(image)
        if image not in seen:
            seen.add(image)
            return example
        return augmented(example, transform, _seed_of(settings, number))

    return make


def _seed_of(settings: FitSettings, number: int) -> int:
    """Of a view, within the bits that torch takes."""
    return (settings.seed * 1_000_003 + number) % 2**63


def train(
    views: Views, taught: Tensor, held_back: Tensor, classes: int, settings: FitSettings, progress: Progress = silent
) -> Decoder:
    """A decoder trained on views `taught`, stopped by views `held_back` if there are any. Seeded."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return _trained(views, taught, held_back, classes, settings, progress)


def _trained(
    views: Views, taught: Tensor, held_back: Tensor, classes: int, settings: FitSettings, progress: Progress
) -> Decoder:
    """As `train`, by torch's global generator."""
    means, scales = _statistics(views, taught)
    device = best_device()
    decoder = Decoder(classes, settings.spec.width, [level.shape[1] for level in views.levels]).to(device)
    assert decoder.head.bias is not None
    decoder.head.bias.data[0] += 3.0  # begin with the belief that most of a part is good
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=settings.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    weights = _turns(views, taught)
    best, best_merit, waited = decoder.state_dict(), -math.inf, 0
    progress("Learning regions", 0, settings.steps)
    curve = Curve(progress, "loss", settings.steps)
    for step in range(1, settings.steps + 1):
        batch = taught[torch.multinomial(weights, _BATCH, replacement=True)]
        optimiser.zero_grad()
        features = [F.dropout2d(level, _DROPPED) for level in _batch(views, batch, means, scales)]
        loss = loss_of(decoder(features), views.targets[batch].to(device).long())
        loss.backward()  # type: ignore[no-untyped-call]
        curve.add(step, float(loss.detach()))
        optimiser.step()
        schedule.step()
        if len(held_back) and step % _VALIDATE_EVERY == 0:
            merit = merit_of(decoder, _batch_of(views, means, scales), views, held_back)
            point(progress, "merit on parts held back", step, merit)
            waited = 0 if merit > best_merit else waited + 1
            if not waited:
                best, best_merit = copy.deepcopy(decoder.state_dict()), merit
            if waited >= _PATIENCE:
                break
        progress("Learning regions", step, settings.steps)
    progress("Learning regions", settings.steps, settings.steps)
    if len(held_back):
        decoder.load_state_dict(best)
    return folded(decoder.cpu(), means, scales).eval().requires_grad_(False)


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, that of the hardest cells once more, and soft Dice of the classes present (Milletari et al. 2016).

    `logits` float32 (n, 1 + classes, rows, columns), `targets` int64 (n, rows, columns) with IGNORED cells.
    """
    each = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none").flatten()
    taught = (targets != IGNORED).flatten()
    each = each[taught]
    if not each.numel():
        return logits.sum() * 0.0
    hardest = each.topk(max(1, int(_HARDEST * each.numel()))).values.mean()
    kept = (targets != IGNORED).unsqueeze(1)
    probabilities = logits.softmax(dim=1)[:, 1:] * kept
    truth = F.one_hot(targets.where(targets != IGNORED, 0), logits.shape[1]).permute(0, 3, 1, 2)[:, 1:] * kept
    overlap = (probabilities * truth).sum((0, 2, 3))
    sizes = probabilities.sum((0, 2, 3)) + truth.sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0
    dice = 1.0 - (2.0 * overlap + 1.0) / (sizes + 1.0)
    return each.mean() + hardest + (dice[present].mean() if present.any() else 0.0)


def folded(decoder: Decoder, means: Sequence[Tensor], scales: Sequence[Tensor]) -> Decoder:
    """The same decoder for features as the trunk gives them: standardising becomes part of its first convolutions."""
    result = copy.deepcopy(decoder)
    for layer, mean, scale in zip(result.lateral, means, scales, strict=True):
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        weight = layer.weight.data * scale.view(1, -1, 1, 1)
        layer.bias.data -= (weight * mean.view(1, -1, 1, 1)).sum((1, 2, 3))
        layer.weight.data = weight
    return result


def _statistics(views: Views, taught: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Mean and 1 / deviation of each channel of each level, over at most 64 of the views."""
    some = taught[:: max(1, len(taught) // 64)]
    means, scales = [], []
    for level in views.levels:
        values = level[some].float()
        means.append(values.mean((0, 2, 3)))
        scales.append(1.0 / (values.std((0, 2, 3)) + 1e-3))
    return means, scales


def _turns(views: Views, taught: Tensor) -> Tensor:
    """How often each view is drawn: good, marked and pasted alike, and classes alike within those."""
    groups = views.kinds[taught] * 1000 + views.labels[taught]
    names, numbers, counts = np.unique(groups.numpy(), return_inverse=True, return_counts=True)
    of_kind = [int((names // 1000 == name // 1000).sum()) for name in names]
    return torch.from_numpy((1.0 / counts / of_kind)[numbers])


def _batch(views: Views, chosen: Tensor, means: Sequence[Tensor], scales: Sequence[Tensor]) -> list[Tensor]:
    """On the device that learns, standardised there; the views stay on the CPU."""
    device = best_device()
    return [
        (level[chosen].to(device).float() - mean.to(device).view(1, -1, 1, 1)) * scale.to(device).view(1, -1, 1, 1)
        for level, mean, scale in zip(views.levels, means, scales, strict=True)
    ]


def _batch_of(views: Views, means: Sequence[Tensor], scales: Sequence[Tensor]) -> Callable[[Tensor], list[Tensor]]:
    return lambda chosen: _batch(views, chosen, means, scales)


@torch.no_grad()
def merit_of(decoder: Decoder, batch: Callable[[Tensor], list[Tensor]], views: Views, held_back: Tensor) -> float:
    """How well views of parts not learnt from are judged: overlap of marks (Dice, 0 to 1) plus AUROC of the strongest cell.

    Not their loss: that grows with confidence while outlines still get better.
    """
    strongest: dict[int, list[float]] = {GOOD: [], DEFECTIVE: []}
    overlap = sizes = 0.0
    for kind in (GOOD, DEFECTIVE):
        chosen = held_back[views.kinds[held_back] == kind]
        for part in torch.split(chosen[:: max(1, len(chosen) // 64)], _BATCH):
            logits = decoder(batch(part)).cpu()
            taught = views.targets[part] != IGNORED
            marked = (views.targets[part] > 0) & taught
            odds = logits[:, 1:].amax(dim=1) - logits[:, 0]
            strongest[kind] += odds.where(taught, -math.inf).amax((1, 2)).tolist()
            likely = (1.0 - logits.softmax(dim=1)[:, 0]) * taught
            overlap += float((likely * marked).sum())
            sizes += float(likely.sum() + marked.sum())
    return 2.0 * overlap / max(sizes, 1.0) + (auroc(strongest[GOOD], strongest[DEFECTIVE]) or 0.0)
