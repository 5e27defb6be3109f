"""Trains the heads on labelled cells: perceptrons side by side, from few defects, with and without masks."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from training.models.guided.cells import DEFECT, GOOD, UNKNOWN
from training.models.guided.network import GuidedSpec, Heads
from training.models.memory_bank.fitting import whiten
from training.progress import Curve, Progress, silent

_BATCH = 2048
_ROUNDS = 3
_WITNESS_SHARE = 0.03
"""Of a defective image without mask, the share of cells, the most suspicious, that stand for the defect."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How the heads learn: so many `epochs`, more where few cells would make fewer than `least_steps` of the optimiser.

    `defect_weight` is the weight of all defective cells together as a share of that of all good ones. `transplanted` is the
    share of defective cells that are seen, each time anew, on the background of another image.
    """

    epochs: Annotated[int, Field(ge=1, le=1000)] = 6
    least_steps: Annotated[int, Field(ge=0, le=100_000)] = 240
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 2e-2
    input_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    defect_weight: Annotated[float, Field(gt=0, le=100)] = 0.3
    transplanted: Annotated[float, Field(ge=0, le=1)] = 0.5


@dataclass(frozen=True, slots=True)
class Lesson:
    """Cells float16 (cells, channels), what each shows, its image, and the classes of each image, float32 (images, classes).

    `channels` are those of each grid, which a cell has one after another.
    """

    cells: Tensor
    shows: Tensor
    images: Tensor
    classes: Tensor
    channels: tuple[int, ...]


class _Perceptrons(nn.Module):
    """The heads on single cells, (cells, channels) → (cells, heads, 1 + classes), each with a dropout of its own."""

    def __init__(self, spec: GuidedSpec, lesson: Lesson, settings: TrainSettings) -> None:
        super().__init__()
        self.spec, self.settings, self.channels = spec, settings, lesson.channels
        classes = lesson.classes.shape[1]
        hidden = spec.heads * spec.width
        self.first = nn.Linear(sum(self.channels), hidden)
        self.second = nn.Conv1d(hidden, spec.heads * (1 + classes), 1, groups=spec.heads)

    def forward(self, cells: Tensor) -> Tensor:
        seen = F.dropout(cells, self.settings.input_dropout, self.training)
        hidden = F.dropout(F.relu(self.first(seen)), self.settings.dropout, self.training)
        logits: Tensor = self.second(hidden.unsqueeze(2)).squeeze(2).unflatten(1, (self.spec.heads, -1))
        return logits

    def as_heads(self, mean: Tensor, deviation: Tensor) -> Heads:
        """The same function of cells that are not standardised."""
        classes = self.second.out_channels // self.spec.heads - 1
        heads = Heads(self.spec, classes, self.channels)
        weight = self.first.weight / deviation
        parts = torch.split(weight, list(self.channels), dim=1)
        with torch.no_grad():
            for layer, part in zip(heads.first, parts, strict=True):
                layer.weight.copy_(part[:, :, None, None])  # type: ignore[operator]
            heads.first[0].bias.copy_(self.first.bias - weight @ mean)  # type: ignore[operator]
            heads.second.weight.copy_(self.second.weight.unsqueeze(3))
            heads.second.bias.copy_(self.second.bias)  # type: ignore[union-attr, arg-type]
        return heads.eval().requires_grad_(False)


def train_heads(
    lesson: Lesson, spec: GuidedSpec, settings: TrainSettings, seed: int, progress: Progress = silent
) -> Heads:
    """Heads that tell defective cells from good ones; the same lesson and seed give the same heads on one machine.

    Images without mask are learned by alternation, as in MI-SVM (Andrews, Tsochantaridis, Hofmann, NIPS 2002): the cells of
    each that are least like good ones stand for its defect, then, twice, those that the heads themselves find most suspicious.
    """
    good = lesson.cells[lesson.shows == GOOD].float()
    mean, deviation = good.mean(dim=0), good.std(dim=0, correction=0) + 1e-3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Perceptrons(spec, lesson, settings)
        unknown = lesson.shows == UNKNOWN
        rounds = _ROUNDS if unknown.any() else 1
        suspicion = _unlikeness(good, lesson.cells[unknown].float()) if unknown.any() else torch.zeros(0)
        for number in range(rounds):
            shows = lesson.shows.clone()
            shows[unknown] = _witnesses(suspicion, lesson.images[unknown])
            progress("Learning defects", number, rounds)
            _train(network, replace(lesson, shows=shows), mean, deviation, settings, progress)
            if number < rounds - 1:
                suspicion = _suspicion(network, (lesson.cells[unknown].float() - mean) / deviation)
        progress("Learning defects", rounds, rounds)
        return network.as_heads(mean, deviation)


def _train(
    network: _Perceptrons, lesson: Lesson, mean: Tensor, deviation: Tensor, settings: TrainSettings, progress: Progress
) -> None:
    taught = torch.nonzero(lesson.shows != UNKNOWN).flatten()
    weights = _weights(lesson, settings.defect_weight)
    background = _backgrounds(lesson)
    good = torch.nonzero(lesson.shows == GOOD).flatten()
    batches = math.ceil(len(taught) / _BATCH)
    epochs = max(settings.epochs, math.ceil(settings.least_steps / batches))
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=epochs * batches + 1)
    curve = Curve(progress, "loss", epochs * batches)
    steps = itertools.count(1)
    network.train()
    for _ in range(epochs):
        for batch in torch.split(taught[torch.randperm(len(taught))], _BATCH):
            cells = lesson.cells[batch].float()
            defective = lesson.shows[batch] == DEFECT
            moved = defective & (torch.rand(len(batch)) < settings.transplanted)
            if moved.any():
                others = lesson.cells[good[torch.randint(len(good), (int(moved.sum()),))]].float()
                cells[moved] += others - background[lesson.images[batch[moved]]]
            logits = network((cells - mean) / deviation)
            loss = _loss(logits, defective, lesson.classes[lesson.images[batch]], weights[batch])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            curve.add(next(steps), float(loss.detach()))
    network.eval()


def _loss(logits: Tensor, defective: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of defect against good and, on defective cells, of each class; each head for itself."""
    wanted = defective.float().unsqueeze(1).expand(-1, logits.shape[1])
    loss = F.binary_cross_entropy_with_logits(logits[..., 0], wanted, reduction="none").mean(dim=1)
    if classes.shape[1]:
        named = classes.unsqueeze(1).expand(-1, logits.shape[1], -1)
        of_classes = F.binary_cross_entropy_with_logits(logits[..., 1:], named, reduction="none").mean(dim=(1, 2))
        loss = loss + of_classes * defective
    return (loss * weights).mean()


def _weights(lesson: Lesson, defect_weight: float) -> Tensor:
    """Weight of each cell: 1 if good; of defective ones each image together has the root of their number, so that a large
    defect counts for more than a small one but not for all."""
    defective = lesson.shows == DEFECT
    counts = torch.bincount(lesson.images[defective], minlength=int(lesson.images.max()) + 1)
    weights = torch.ones(len(lesson.shows))
    shares = counts[lesson.images[defective]].float().rsqrt()
    weights[defective] = shares / shares.sum() * int((lesson.shows == GOOD).sum()) * defect_weight
    return weights


def _backgrounds(lesson: Lesson) -> Tensor:
    """What good cells of each image are like on average, float32 (images, channels); of all, where an image shows none."""
    good = lesson.shows == GOOD
    cells, images = lesson.cells[good].float(), lesson.images[good]
    count = len(lesson.classes)
    sums = torch.zeros(count, cells.shape[1]).index_add_(0, images, cells)
    numbers = torch.bincount(images, minlength=count).unsqueeze(1)
    return torch.where(numbers > 0, sums / numbers.clamp_min(1), cells.mean(dim=0))


def _unlikeness(good: Tensor, cells: Tensor) -> Tensor:
    """Mahalanobis distance from good cells: (cells,)."""
    mean, whitening = whiten(good)
    return ((cells - mean) @ whitening).square().sum(dim=1)


@torch.no_grad()
def _suspicion(network: _Perceptrons, cells: Tensor) -> Tensor:
    logits: Tensor = network(cells)
    return logits[..., 0].mean(dim=1)


def _witnesses(suspicion: Tensor, images: Tensor) -> Tensor:
    """DEFECT for the most suspicious cells of each image, UNKNOWN for its others."""
    shows = torch.full((len(images),), UNKNOWN)
    for image in sorted(set(images.tolist())):
        of_image = torch.nonzero(images == image).flatten()
        count = max(1, round(_WITNESS_SHARE * len(of_image)))
        shows[of_image[suspicion[of_image].topk(count).indices]] = DEFECT
    return shows
