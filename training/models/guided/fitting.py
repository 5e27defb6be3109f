"""Fits a memory bank on good parts and, if defects are labelled, heads that tell their cells from good ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from inspector.errors import DataError
from training.backbones import LITE0, bare_backbone, pretrained_backbone, try_backbone
from training.data.training_set import LabelledImages
from training.models.guided.cells import GOOD, Budget, CellPool, Mirrored, look
from training.models.guided.network import Guided, GuidedFeatures, GuidedSpec, Heads
from training.models.guided.perceptrons import Lesson, TrainSettings, train_heads
from training.models.kind import check_classes
from training.models.memory_bank import fitting as memory
from training.models.memory_bank.fitting import PatchPool
from training.models.memory_bank.network import MemoryBank
from training.progress import Progress, silent

_WITNESSES = 4000
_LEAST_SPREAD = 0.02


@dataclass(frozen=True, slots=True)
class FitSettings:
    """`bank_size` and `candidates` as for the memory bank; `good_cells` and `defect_cells` the most that the heads learn
    from, of all good and of all defective images (944 bytes each with EfficientNet-Lite0); `train` how they learn.
    With `mirrored` the heads also learn from pictures turned round, for parts that may lie so: in no other case, as a print or
    a thread the wrong way round may be the defect. `backbone` and `weights` as for the memory bank.
    """

    spec: GuidedSpec = field(default_factory=GuidedSpec)
    bank_size: Annotated[int, Field(ge=1, le=100_000)] = 2000
    candidates: Annotated[int, Field(ge=1, le=1_000_000)] = 40_000
    good_cells: Annotated[int, Field(ge=1, le=2_000_000)] = 80_000
    defect_cells: Annotated[int, Field(ge=2, le=2_000_000)] = 60_000
    train: TrainSettings = field(default_factory=TrainSettings)
    mirrored: Mirrored = "none"
    backbone: str = LITE0
    weights: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        self.spec.bank.check(self.backbone)


class GuidedFitter:
    """Looks at every image, mirrored too if told; each fit then remembers and learns from what was seen of its images."""

    def __init__(self, data: LabelledImages, settings: FitSettings, progress: Progress = silent) -> None:
        """Raises DataError without good parts or for a mask that does not fit its image."""
        self._data = data
        self._settings = settings
        region = data.region_of_interest
        interest = None if region is None else torch.from_numpy(region).float()
        network = pretrained_backbone(settings.backbone, settings.weights)
        features = GuidedFeatures(settings.spec.bank, interest, backbone=settings.backbone, network=network).eval()
        self._channels = features.grid_channels
        budget = Budget(settings.candidates, settings.good_cells, settings.defect_cells)
        self.classes = tuple(
            sorted({label for i in range(len(data)) if not data.is_good(i) for label in self._labels(i)})
        )
        check_classes(self.classes)
        try_backbone(features.trunk, settings.backbone, data.preparation.width_px, data.preparation.height_px)
        self._seen = look(data, features, budget, settings.seed, progress, settings.mirrored)

    def fit(self, images: Sequence[int], progress: Progress = silent) -> Guided:
        """As `Fitter.fit`. Without labelled defects among `images`, or with none in the region of interest, the result judges
        as a memory bank does."""
        settings = self._settings
        pool = self._seen.patches.only(images)
        if not len(pool.patches):
            raise DataError(
                f"none of the {len(images)} images to fit on shows a good part where defects count; add good parts"
            )
        remembering = memory.FitSettings(settings.spec.bank, bank_size=settings.bank_size, seed=settings.seed)
        bank = memory.remember(pool, remembering, progress)
        good_alone = Guided(settings.spec, bank, scale=spread(bank, pool), interest=self._seen.interest)
        return self.teach(good_alone, images, progress)

    def teach(self, network: Guided, images: Sequence[int], progress: Progress = silent) -> Guided:
        """What `network` remembers of good parts, with heads learned anew from `images`: another labelled reject in seconds."""
        heads = self._heads(self._seen.cells.only(images), progress)
        # Nothing tells classes apart where no defect was learned.
        classes = () if heads is None else self.classes
        return Guided(network.spec, network.bank, heads, classes, float(network.scale), self._seen.interest).eval()

    def _heads(self, cells: CellPool, progress: Progress) -> Heads | None:
        if not (cells.shows == GOOD).any() or not (cells.shows != GOOD).any():
            return None
        named = self.classes if len(self.classes) > 1 else ()
        of_image = torch.zeros(len(self._data), len(named))
        for image in set(cells.images[cells.shows != GOOD].tolist()):
            for label in self._labels(image):
                if label in named:
                    of_image[image, named.index(label)] = 1.0
        lesson = Lesson(cells.cells, cells.shows, cells.images, of_image, self._channels)
        return train_heads(lesson, self._settings.spec, self._settings.train, self._settings.seed, progress)

    def _labels(self, image: int) -> tuple[str, ...]:
        return self._data.labels(image)


def rebuild(structure: Mapping[str, Any]) -> Guided:
    """A network of that structure, its tensors yet to be loaded."""
    stored, backbone = structure["spec"], structure["bank"]["backbone"]
    spec = GuidedSpec(**{**stored, "bank": memory.spec_of(stored["bank"])})
    size, dimensions = structure["bank"]["bank"]
    region, network = torch.ones(structure["bank"]["region"]), bare_backbone(backbone)
    features = GuidedFeatures(spec.bank, region, backbone=backbone, network=network)
    bank = MemoryBank(
        features,
        torch.zeros(dimensions),
        torch.zeros(dimensions, dimensions),
        torch.zeros(size, dimensions),
        torch.zeros(size),
        torch.ones(structure["bank"]["cells"]),
    )
    classes = structure["classes"]
    heads = Heads(spec, len(classes), features.grid_channels) if structure["heads"] else None
    return Guided(spec, bank, heads, classes, interest=torch.ones(structure["cells"]))


@torch.no_grad()
def spread(bank: MemoryBank, pool: PatchPool) -> float:
    """Standard deviation of good patches' distances to what the bank remembers of other parts; positive.

    A part's own patches in the bank are passed over, because a part never seen has none there. With one part alone they count.
    """
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(pool.patches), generator=generator)[:_WITNESSES]
    queries = (pool.patches[chosen] - bank.mean) @ bank.whitening
    squared = torch.cdist(queries, bank.bank).square() * bank.weights.square()
    owners = _owners(bank, pool)
    apart = squared.masked_fill(owners == pool.parts[chosen].unsqueeze(1), math.inf).amin(dim=1)
    nearest = (apart if torch.isfinite(apart).all() else squared.amin(dim=1)).sqrt()
    deviation = float(nearest.std()) if len(nearest) > 1 else 0.0
    return max(deviation, _LEAST_SPREAD * float(nearest.mean())) or 1.0


def _owners(bank: MemoryBank, pool: PatchPool) -> Tensor:
    """The part that each patch of the bank comes from: int64 (size,)."""
    whitened = (pool.patches - bank.mean) @ bank.whitening
    blocks = torch.tensor_split(bank.bank, math.ceil(len(bank.bank) / 256))
    return torch.cat([pool.parts[torch.cdist(some, whitened).argmin(dim=1)] for some in blocks])
