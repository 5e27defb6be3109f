"""Fits a memory bank: features of good parts, whitening, a coreset that covers them, weights. Memory is bounded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from inspector.errors import DataError
from training.backbones import LITE0, bare_backbone, pretrained_backbone, try_backbone
from training.data.training_set import LabelledImages, cells_of, interest_cells
from training.device import at_work, best_device
from training.models.memory_bank.network import MemoryBank, MemoryBankSpec, PatchFeatures, bank_trunk
from training.models.scoring import BATCH
from training.progress import Progress, point, silent

_COARSE_DIMENSIONS = 64
_WITNESSES = 15_000
"""Patches that tell how far good parts are from each other; more than that changed no figure that was looked at."""
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class FitSettings:
    """`bank_size` is the number of patches kept, `candidates` the most that are chosen from (4 bytes × channels each).

    `dimensions` are those kept of features, in which good parts vary least; 0 for all. `backbone` is timm's name of the
    network that gives them, `weights` a file for what is not packaged.
    """

    spec: MemoryBankSpec = field(default_factory=MemoryBankSpec)
    bank_size: Annotated[int, Field(ge=1, le=100_000)] = 1000
    candidates: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    dimensions: Annotated[int, Field(ge=0)] = 0
    backbone: str = LITE0
    weights: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        self.spec.check(self.backbone)


@dataclass(frozen=True, slots=True)
class PatchPool:
    """Patches to choose from, float32 (patches, channels), with the number of the image and of the part of each.

    `interest` (rows, columns), 1 or 0, is where patches were taken; None for everywhere.
    """

    features: PatchFeatures
    patches: Tensor
    images: Tensor
    parts: Tensor
    interest: Tensor | None = None

    def only(self, images: Sequence[int]) -> PatchPool:
        """The patches of these images."""
        keep = torch.isin(self.images, torch.tensor(list(images), dtype=self.images.dtype))
        return replace(self, patches=self.patches[keep], images=self.images[keep], parts=self.parts[keep])


class MemoryBankFitter:
    """Looks at every good image once; each fit then chooses from what was seen of its images."""

    def __init__(self, data: LabelledImages, settings: FitSettings, progress: Progress = silent) -> None:
        self._data = data
        self._settings = settings
        self._pool = collect_patches(data, settings, progress)

    def fit(self, images: Sequence[int], progress: Progress = silent) -> MemoryBank:
        """As `Fitter.fit`; images of defective parts among them teach nothing."""
        return remember(self._pool.only(images), self._settings, progress)


def rebuild(structure: Mapping[str, Any]) -> MemoryBank:
    """A memory bank of that structure, its tensors yet to be loaded."""
    spec, backbone = spec_of(structure["spec"]), structure["backbone"]
    size, dimensions = structure["bank"]
    trunk = bank_trunk(spec, bare_backbone(backbone), backbone)
    features = PatchFeatures(spec, torch.ones(structure["region"]), backbone=backbone, trunk=trunk)
    empty = (
        torch.zeros(sum(features.trunk.channels)),
        torch.zeros(sum(features.trunk.channels), dimensions),
        torch.zeros(size, dimensions),
        torch.zeros(size),
    )
    return MemoryBank(features, *empty, torch.ones(structure["cells"]))


def spec_of(stored: Mapping[str, Any]) -> MemoryBankSpec:
    """The spec that JSON values tell, as `asdict` makes them."""
    levels = stored["levels"]
    return MemoryBankSpec(**{**stored, "levels": None if levels is None else tuple(levels)})


@torch.no_grad()
def collect_patches(
    data: LabelledImages, settings: FitSettings, progress: Progress = silent, features: PatchFeatures | None = None
) -> PatchPool:
    """At most about `settings.candidates` patches of good parts, equally many of every image, in seeded choice.

    `features` None takes those of the settings. Raises DataError if no image is of a good part.
    """
    images = [image for image in range(len(data)) if data.is_good(image)]
    if not images:
        raise DataError("a memory bank remembers good parts, and none of the images to fit on is good; add some")
    generator = torch.Generator().manual_seed(settings.seed)
    if features is None:
        region = data.region_of_interest
        network = pretrained_backbone(settings.backbone, settings.weights)
        features = PatchFeatures(
            settings.spec,
            None if region is None else torch.from_numpy(region.astype(np.float32)),
            backbone=settings.backbone,
            trunk=bank_trunk(settings.spec, network, settings.backbone),
        )
    try_backbone(features.trunk, settings.backbone, data.preparation.width_px, data.preparation.height_px)
    share = max(1, math.ceil(settings.candidates / len(images)))
    kept: list[Tensor] = []
    interest = _interest(data, features)
    inside = None if interest is None else interest.flatten() > 0
    progress("Learning good parts", 0, len(images))
    with at_work(features) as see:
        for start in range(0, len(images), BATCH):
            batch = np.stack([data.pixels(image) for image in images[start : start + BATCH]])
            seen_by_image = see(batch)[0].permute(0, 2, 3, 1)
            for image, patches in zip(images[start : start + BATCH], seen_by_image, strict=True):
                seen = _that_count(patches, inside, data.ignored(image))
                kept.append(seen[torch.randperm(len(seen), generator=generator)[:share]].clone())
            progress("Learning good parts", start + len(batch), len(images))
    counts = torch.tensor([len(patches) for patches in kept])
    if not counts.any():
        raise DataError("areas to ignore cover all good parts; draw them smaller")
    return PatchPool(
        features,
        torch.cat(kept),
        torch.tensor(images).repeat_interleave(counts),
        torch.tensor([data.part(image) for image in images]).repeat_interleave(counts),
        interest,
    )


def _that_count(patches: Tensor, inside: Tensor | None, ignored: NDArray[np.bool_] | None) -> Tensor:
    """Of (rows, columns, channels) the patches in the region of interest of which less than half is to be ignored."""
    flat = patches.flatten(0, 1)
    counts = torch.ones(len(flat), dtype=torch.bool) if inside is None else inside
    if ignored is not None:
        counts = counts & ~torch.from_numpy(cells_of(ignored, *patches.shape[:2]).flatten())
    return flat[counts]


def _interest(data: LabelledImages, features: PatchFeatures) -> Tensor | None:
    """The region of interest in cells of the map: float32 (rows, columns) of 1 and 0. Raises DataError if it has none."""
    if data.region_of_interest is None:
        return None
    rows, columns = features(torch.from_numpy(data.pixels(0)[None])).shape[-2:]
    cells = interest_cells(data.region_of_interest, rows, columns)
    return None if cells is None else torch.from_numpy(cells)


@torch.no_grad()
def remember(pool: PatchPool, settings: FitSettings, progress: Progress = silent) -> MemoryBank:
    """Fit a memory bank on a pool. The same pool and seed give the same bank on one machine."""
    generator = torch.Generator().manual_seed(settings.seed)
    patches, parts = pool.patches.to(best_device()), pool.parts.to(best_device())
    mean, whitening = whiten(patches)
    whitening = whitening[:, : settings.dimensions or None].contiguous()
    whitened = (patches - mean) @ whitening
    chosen = coreset(whitened, min(settings.bank_size, len(whitened)), generator, progress)
    bank = whitened[chosen].contiguous()
    witnesses = torch.randperm(len(whitened), generator=generator)[:_WITNESSES]
    weights = rarity_weights(bank, parts[chosen], whitened[witnesses], parts[witnesses])
    network = MemoryBank(pool.features, mean.cpu(), whitening.cpu(), bank.cpu(), weights.cpu(), pool.interest)
    return network.eval()


def whiten(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and matrix after which patches have unit covariance, so that distance is Mahalanobis distance.

    Directions that hardly vary are held back by 1 % of the mean variance, as they hold little but rounding.
    Returns float32 (channels,) and (channels, channels), the directions of least variance first.
    """
    mean = patches.mean(dim=0)
    centred = patches - mean
    # In float32 the search for directions does not end where most variances are alike, as those of equal pictures are.
    found, axes = torch.linalg.eigh((centred.T @ centred / len(patches)).double())
    variances, directions = found.float().clamp_min(0.0), axes.float()
    return mean, directions / torch.sqrt(variances + 0.01 * variances.mean() + 1e-12)


def coreset(points: Tensor, size: int, generator: torch.Generator, progress: Progress = silent) -> Tensor:
    """Indices of `size` points that cover the others: each next one is the farthest from those chosen.

    Greedy k-centre (Sener and Savarese 2018) as in PatchCore, with distances after a random projection.
    """
    projection = torch.randn(points.shape[1], _COARSE_DIMENSIONS, generator=generator) / math.sqrt(_COARSE_DIMENSIONS)
    coarse = points @ projection.to(points.device)
    squares = coarse.square().sum(dim=1)
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    nearest = torch.full((len(points),), torch.inf, device=points.device)
    for done in range(1, size):
        last = chosen[-1]
        distances = torch.addmv(squares + squares[last], coarse, coarse[last], alpha=-2.0)
        torch.minimum(nearest, distances, out=nearest)
        nearest[last] = -torch.inf
        chosen.append(int(nearest.argmax()))
        if done % 100 == 99 or done == size - 1:
            progress("Choosing what to remember", done + 1, size)
            point(progress, "farthest from what is remembered", done + 1, float(nearest.max().clamp_min(0.0).sqrt()))
    return torch.tensor(chosen)


def rarity_weights(bank: Tensor, bank_parts: Tensor, witnesses: Tensor, witness_parts: Tensor) -> Tensor:
    """How much a distance to each of the bank counts: float32 (size,), about 1.

    Where the nearest patch of another good part is far, the next good part will be far too, and its distance counts less:
    by the square root of the mean distance over this one. (PatchCore re-weights its score by the neighbourhood of the
    bank; this does so per patch, within the matrix product, and looks at other parts only.) All 1 for a single part.
    """
    lengths = witnesses.square().sum(dim=1)
    reach = []
    for start in range(0, len(bank), _BLOCK):
        points, parts = bank[start : start + _BLOCK], bank_parts[start : start + _BLOCK]
        squared = points.square().sum(dim=1, keepdim=True) + lengths - 2.0 * points @ witnesses.T
        squared[parts.unsqueeze(1) == witness_parts] = torch.inf
        reach.append(squared.amin(dim=1).clamp_min(0.0).sqrt())
    distances = torch.cat(reach)
    if not torch.isfinite(distances).all():
        return torch.ones(len(bank), device=bank.device)
    # Equal patches on many parts (background, clipped pixels) must not get all the weight.
    distances = distances.clamp_min(0.25 * float(distances.mean()) + 1e-6)
    return (distances.mean() / distances).sqrt()
