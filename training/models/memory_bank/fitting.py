"""Fits a memory bank: features of good parts, whitening, and a coreset that covers them. Memory is bounded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.models.memory_bank.network import MemoryBank, MemoryBankSpec, PatchFeatures
from training.progress import Progress, silent

BATCH = 8
_COARSE_DIMENSIONS = 64


@dataclass(frozen=True, slots=True)
class FitSettings:
    """`bank_size` is the number of patches kept, `candidates` the most that are chosen from (4 bytes × channels each)."""

    spec: MemoryBankSpec = field(default_factory=MemoryBankSpec)
    bank_size: int = 3000
    candidates: int = 40_000
    seed: int = 0


@torch.no_grad()
def fit_memory_bank(
    count: int,
    read: Callable[[int], NDArray[np.uint8]],
    settings: FitSettings,
    progress: Progress = silent,
) -> MemoryBank:
    """Fit on `count` images of good parts; `read(i)` gives the i-th model input, uint8 (height, width, channels).

    The same images in the same order with the same seed give the same bank on one machine.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    features = PatchFeatures(settings.spec)
    patches = _collect(features, count, read, settings.candidates, generator, progress)
    mean, whitening = whiten(patches)
    whitened = (patches - mean) @ whitening
    chosen = coreset(whitened, min(settings.bank_size, len(whitened)), generator, progress)
    return MemoryBank(features, mean, whitening, whitened[chosen].contiguous()).eval()


def _collect(
    features: PatchFeatures,
    count: int,
    read: Callable[[int], NDArray[np.uint8]],
    candidates: int,
    generator: torch.Generator,
    progress: Progress,
) -> Tensor:
    """At most about `candidates` patches, equally many of every image, float32 (patches, channels)."""
    kept: list[Tensor] = []
    progress("Learning good parts", 0, count)
    for start in range(0, count, BATCH):
        indices = range(start, min(start + BATCH, count))
        maps = features(torch.from_numpy(np.stack([read(index) for index in indices])))
        for patches in maps.permute(0, 2, 3, 1).flatten(1, 2):
            share = min(len(patches), max(1, math.ceil(candidates / count)))
            order = torch.randperm(len(patches), generator=generator)[:share]
            kept.append(patches[order].clone())
        progress("Learning good parts", indices[-1] + 1, count)
    return torch.cat(kept)


def whiten(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and matrix after which patches have unit covariance, so that distance is Mahalanobis distance.

    Directions that hardly vary are held back by 1 % of the mean variance, as they hold little but rounding.
    Returns float32 (channels,) and (channels, channels).
    """
    mean = patches.mean(dim=0)
    centred = patches - mean
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(patches))
    variances = variances.clamp_min(0.0)
    return mean, directions / torch.sqrt(variances + 0.01 * variances.mean() + 1e-12)


def coreset(points: Tensor, size: int, generator: torch.Generator, progress: Progress = silent) -> Tensor:
    """Indices of `size` points that cover the others: each next one is the farthest from those chosen.

    Greedy k-centre (Sener and Savarese 2018) as in PatchCore, with distances after a random projection.
    """
    projection = torch.randn(points.shape[1], _COARSE_DIMENSIONS, generator=generator) / math.sqrt(_COARSE_DIMENSIONS)
    coarse = points @ projection
    squares = coarse.square().sum(dim=1)
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    nearest = torch.full((len(points),), torch.inf)
    for done in range(1, size):
        last = chosen[-1]
        distances = torch.addmv(squares + squares[last], coarse, coarse[last], alpha=-2.0)
        torch.minimum(nearest, distances, out=nearest)
        nearest[last] = -torch.inf
        chosen.append(int(nearest.argmax()))
        if done % 100 == 99 or done == size - 1:
            progress("Choosing what to remember", done + 1, size)
    return torch.tensor(chosen)


@torch.no_grad()
def score_images(
    network: MemoryBank,
    images: Sequence[int],
    read: Callable[[int], NDArray[np.uint8]],
    stage: str,
    progress: Progress = silent,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores (n,) and anomaly maps (n, rows, columns), float32, of the images numbered in `images`."""
    scores: list[NDArray[np.float32]] = []
    maps: list[NDArray[np.float32]] = []
    progress(stage, 0, len(images))
    for start in range(0, len(images), BATCH):
        batch = np.stack([read(index) for index in images[start : start + BATCH]])
        score, anomaly_map = network(torch.from_numpy(batch))
        scores.append(score.numpy())
        maps.append(anomaly_map.numpy())
        progress(stage, min(start + BATCH, len(images)), len(images))
    if not scores:
        return np.zeros(0, np.float32), np.zeros((0, 1, 1), np.float32)
    return np.concatenate(scores), np.concatenate(maps)
