"""Teaches the late stages of a classifier: from kept features where it can, from pixels where it must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from training.augment import NONE, augmented
from training.data.training_set import LabelledImages
from training.loop import best_device, train
from training.models.classifier.head import loss_of
from training.models.classifier.late import LateStages, learns_alike
from training.models.classifier.network import Classifier
from training.models.classifier.seeing import Seen, pixels_of, see
from training.models.classifier.settings import ClassifierSettings
from training.models.scoring import BATCH
from training.progress import Progress


@dataclass(frozen=True, slots=True)
class Course:
    """What is taught: images by number, what was seen of them, the stage whose cells are kept, and smoothed targets.

    `targets` float32 (images, outputs); `several` as in `Classifier`.
    """

    data: LabelledImages
    seen: Seen
    kept: int | None
    targets: Tensor
    several: bool


def teach(
    network: Classifier,
    course: Course,
    settings: ClassifierSettings,
    images: Sequence[int],
    weights: Tensor,
    task: str,
    progress: Progress,
) -> Tensor:
    """Teach the late stages and the head in place; gives what the network then makes of each image of the course.

    That is standardised features of the image as it is, float32 (images, width). Raises as `training.loop.train`.
    """
    device = best_device()
    network.features.backbone.train_from(settings.train_from)
    network.head.requires_grad_(True)
    late = _late_stages(network, course)
    student: nn.Module = (_Student(network) if late is None else late).to(device)
    levels = [] if late is None else [level for level in settings.levels if level <= (course.kept or 0)]
    width = _width_before(network, len(levels))

    def from_kept(student: nn.Module, batch: Sequence[int], generator: torch.Generator) -> Tensor:
        chosen = torch.tensor([images[place] for place in batch])
        assert course.seen.early is not None  # or there are no late stages on their own
        views = torch.randint(course.seen.early.shape[1], (len(chosen),), generator=generator)
        cells = course.seen.early[chosen, views].float()
        before = course.seen.features[chosen, views, :width]
        targets = course.targets[chosen]
        cells, before, targets = _mixed((cells, before, targets), settings.mixup, generator)
        logits = student(cells.to(device, memory_format=torch.channels_last), before.to(device))
        return loss_of(logits, targets.to(device), course.several).mean()

    def from_pixels(student: nn.Module, batch: Sequence[int], generator: torch.Generator) -> Tensor:
        numbers = [images[place] for place in batch]
        pixels = augmented(pixels_of(course.data, numbers), settings.augmentation, generator)
        pixels, targets = _mixed((pixels, course.targets[torch.tensor(numbers)]), settings.mixup, generator)
        return loss_of(student(pixels.to(device)), targets.to(device), course.several).mean()

    train(
        student,
        from_pixels if late is None else from_kept,
        weights,
        settings.loop,
        settings.seed,
        folder=Path(settings.checkpoint) if settings.checkpoint else None,
        task=task,
        progress=progress,
    )
    network.cpu().eval().requires_grad_(False)
    if late is None:
        seen = see(network.features, course.data, NONE, 1, settings.seed, progress=progress).features[:, 0]
        return (seen - network.centre) / network.deviation
    return _again(late.cpu().eval(), course.seen, width)


class _Student(nn.Module):
    """The part of a classifier that learns, with logits as its output, so that several processes can share gradients."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network.logits(pixels)


def _late_stages(network: Classifier, course: Course) -> LateStages | None:
    """The late stages on their own, if the cells are kept and this backbone runs one stage after the other."""
    if course.kept is None or course.seen.early is None:
        return None
    late = LateStages(network, course.kept)
    few = course.seen.features[:BATCH, 0]
    before = few[:, : _width_before(network, len(network.features.backbone.levels) - len(late.levels))]
    return late if learns_alike(late, course.seen.early[:BATCH, 0], before, few) else None


def _width_before(network: Classifier, levels: int) -> int:
    """Length of the pooled features of the first so many levels."""
    channels: tuple[int, ...] = network.features.backbone.channels
    return 2 * sum(channels[:levels])


@torch.no_grad()
def _again(late: LateStages, seen: Seen, width: int) -> Tensor:
    """Standardised features of the first view of every image, float32 (images, width)."""
    assert seen.early is not None  # or there are no late stages on their own
    parts = [
        late.standard(seen.early[start : start + BATCH, 0].float(), seen.features[start : start + BATCH, 0, :width])
        for start in range(0, len(seen.features), BATCH)
    ]
    return torch.cat(parts)


def _mixed(values: tuple[Tensor, ...], strength: float, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Each of a batch mixed with another of it, by one share for the batch, Beta(strength, strength), at least a half.

    Mixup, Zhang et al., ICLR 2018; on features, Verma et al., ICML 2019. With strength 0 nothing is mixed.
    """
    if not strength:
        return values
    share = _beta(strength, generator)
    share = max(share, 1 - share)
    other = torch.randperm(len(values[0]), generator=generator)
    return tuple(share * value + (1 - share) * value[other] for value in values)


def _beta(strength: float, generator: torch.Generator) -> float:
    """A draw of Beta(strength, strength) by Jöhnk's method (1964), as torch's own takes no generator; strength below 1."""
    while True:
        first, second = torch.rand(2, dtype=torch.float64, generator=generator).pow(1 / strength).tolist()
        if 0 < first + second <= 1:
            return float(first / (first + second))
