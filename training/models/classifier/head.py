"""What is fitted on features that stay as they are: the linear head, its temperature, the guard, and doubts about labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from training.models.classifier.network import Guard, for_guard

PENALTIES = (0.3, 0.1, 0.03, 0.01)
"""Weights of the squared weights to choose from, the strictest first, so that each starts from the one before."""
_STEPS = 25
_MAX_BANK = 2000
_EDGE, _TYPICAL, _UPPER = 0.95, 0.5, 0.95
"""A known part beyond the edge is still rejected or passed by its score; only the name of its class is withheld."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Features (images, views, width), targets (images, outputs) of 0 to 1, weights (images,).

    Features are standardised; `channels` are those of the levels that they come from.
    """

    features: Tensor
    targets: Tensor
    weights: Tensor
    channels: tuple[int, ...]
    several: bool

    def only(self, images: Sequence[int]) -> Lesson:
        chosen = torch.tensor(list(images))
        return replace(self, features=self.features[chosen], targets=self.targets[chosen], weights=self.weights[chosen])


def loss_of(logits: Tensor, targets: Tensor, several: bool) -> Tensor:
    """Cross-entropy with soft targets, (n,) from (n, outputs); of each output on its own if a part may be of several."""
    if several:
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
    return -(targets * F.log_softmax(logits, 1)).sum(1)


def standardise(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each feature over images and views, (width,); no deviation is below a hundredth of the mean one."""
    flat = features.flatten(0, 1)
    deviation = flat.std(0, unbiased=False)
    return flat.mean(0), deviation.clamp_min(0.01 * float(deviation.mean()) + 1e-6)


def fit_head(lesson: Lesson, penalties: Sequence[float]) -> list[tuple[Tensor, Tensor]]:
    """Weight (outputs, width) and bias (outputs,) for each penalty, on standardised features. Full batch, no chance in it."""
    views = lesson.features.shape[1]
    inputs, targets = lesson.features.flatten(0, 1), lesson.targets.repeat_interleave(views, 0)
    weights = lesson.weights.repeat_interleave(views)
    weights = weights / weights.sum()
    weight = torch.zeros(targets.shape[1], inputs.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    fitted = []
    for penalty in penalties:
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

        def closure(penalty: float = penalty, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = (loss_of(inputs @ weight.T + bias, targets, lesson.several) * weights).sum()
            loss = loss + 0.5 * penalty * weight.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        fitted.append((weight.detach().clone(), bias.detach().clone()))
    return fitted


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """Of every image, from models of the other folds: logits (images, outputs) and guard distances (images,)."""

    penalty: float
    logits: Tensor
    distances: Tensor


def cross_fit(lesson: Lesson, folds: Sequence[int]) -> CrossFitted:
    """Each image judged without its fold; the penalty is the one whose judgements lose least.

    `folds` has a number per image. Features are those of the first view, the image as it is.
    """
    count, outputs = lesson.targets.shape
    logits = torch.zeros(len(PENALTIES), count, outputs)
    distances = torch.zeros(count)
    for fold in sorted(set(folds)):
        out = [image for image in range(count) if folds[image] == fold]
        rest = lesson.only([image for image in range(count) if folds[image] != fold])
        inputs = lesson.features[torch.tensor(out), 0]
        for place, (weight, bias) in enumerate(fit_head(rest, PENALTIES)):
            logits[place, torch.tensor(out)] = inputs @ weight.T + bias
        seen = for_guard(inputs, lesson.channels)
        distances[torch.tensor(out)] = torch.cdist(seen, remember(rest)).amin(1)
    losses = [float((loss_of(tried, lesson.targets, lesson.several) * lesson.weights).sum()) for tried in logits]
    best = losses.index(min(losses))
    return CrossFitted(PENALTIES[best], logits[best], distances)


def temperature(logits: Tensor, targets: Tensor, several: bool) -> float:
    """By what logits must be divided for probabilities to be true (Guo et al. 2017): the least loss from 0.25 to 8."""
    tried = torch.logspace(-2, 3, 101, base=2.0)
    losses = torch.stack([loss_of(logits / value, targets, several).mean() for value in tried])
    return float(tried[losses.argmin()])


def remember(lesson: Lesson) -> Tensor:
    """What the guard keeps of the images as they are: an even choice of them if they are more than a bank may hold."""
    seen = for_guard(lesson.features[:, 0], lesson.channels)
    kept = torch.linspace(0, len(seen) - 1, min(len(seen), _MAX_BANK)).round().long()
    return seen[kept].contiguous()


def set_guard(lesson: Lesson, judged: Tensor, distances: Tensor, good: Tensor) -> Guard:
    """The guard of all of a lesson, its scale from `distances` (images,) that images have when they are left out.

    A good part shall look as odd to the guard as it looks defective to the classifier, `judged` (images,): the middle and
    the upper end of both are brought together, so that neither alone sets the limit. `good` (images,) says which are good;
    without any, a distance counts by its place among all.
    """
    reference = distances[good] if bool(good.any()) else distances
    middle, upper = torch.quantile(reference, torch.tensor([_TYPICAL, _UPPER]))
    spread = (upper - middle).clamp_min(0.02 * float(middle) + 1e-6)
    if bool(good.any()):
        low, high = torch.quantile(judged[good], torch.tensor([_TYPICAL, _UPPER]))
        gain = (high - low).clamp_min(0.1) / spread
        offset = low - gain * middle
    else:
        gain, offset = 1 / spread, -middle / spread
    edge = torch.quantile(distances, _EDGE)
    width = (edge - torch.quantile(distances, _TYPICAL)).clamp_min(float(spread)) / 6
    return Guard(remember(lesson), torch.stack([gain, offset, edge, width]))


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label that models fitted without the image disagree with: the image's number, and what they say, how surely."""

    image: int
    says: int
    probability: float


def doubted(logits: Tensor, targets: Tensor, several: bool) -> list[Doubt]:
    """Labels to look at again, the surest disagreement first.

    Confident learning (Northcutt, Jiang, Chuang, JAIR 2021): an image is doubted if another class is as probable as that
    class is on average for images that bear its label. `logits` (images, outputs) are cross-fitted and calibrated.
    """
    probabilities = torch.sigmoid(logits) if several else torch.softmax(logits, 1)
    found = []
    for says in range(targets.shape[1]):
        labelled = targets[:, says] > 0.5
        if not bool(labelled.any()):
            continue
        usual = max(float(probabilities[labelled, says].mean()), 0.5)
        candidates = (~labelled & (probabilities[:, says] >= usual)).nonzero().flatten().tolist()
        found += [Doubt(image, says, float(probabilities[image, says])) for image in candidates]
    return sorted(found, key=lambda doubt: -doubt.probability)
