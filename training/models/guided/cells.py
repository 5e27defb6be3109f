"""What looking at the images leaves behind: patches for the bank and labelled cells for the heads, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.errors import DataError
from training.data.training_set import LabelledImages, cells_of, interest_cells
from training.device import at_work
from training.models.guided.network import GuidedFeatures
from training.models.memory_bank.fitting import PatchPool
from training.models.scoring import BATCH
from training.progress import Progress, silent

GOOD, DEFECT, UNKNOWN = 0, 1, 2
"""What a cell shows. Unknown are the cells of a defective part that has no mask: some of them show the defect."""
_MARKED_SHARE = 0.2
"""A cell with this share of its area marked shows the defect; one with less, but some, is left out."""


@dataclass(frozen=True, slots=True)
class CellPool:
    """Cells to learn from: float16 (cells, channels), with what each shows and the number of its image."""

    cells: Tensor
    shows: Tensor
    images: Tensor

    def only(self, images: Sequence[int]) -> CellPool:
        """The cells of these images."""
        keep = torch.isin(self.images, torch.tensor(list(images), dtype=self.images.dtype))
        return CellPool(self.cells[keep], self.shows[keep], self.images[keep])


@dataclass(frozen=True, slots=True)
class Budget:
    """The most patches and cells kept, of all good and of all defective images; a cell takes 2 bytes a channel."""

    patches: int
    good_cells: int
    defect_cells: int


Mirrored = Literal["none", "horizontal", "vertical", "both"]
"""How pictures are seen mirrored as well: left to right, top to bottom, or either and both together."""
_AXES: Mapping[Mirrored, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "horizontal": ((), (1,)),
    "vertical": ((), (0,)),
    "both": ((), (1,), (0,), (0, 1)),
}
"""Of each view, the axes of (rows, columns) that are turned round."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that fitting needs of a set of images. `interest` is the region of interest on the heads' grid, or None."""

    patches: PatchPool
    cells: CellPool
    interest: Tensor | None


class _Sight(nn.Module):
    """uint8 images → what the bank compares, then what the heads see, by one run of the trunk.

    The images are turned round along `axes` of (rows, columns), and so is the region of interest.
    """

    def __init__(self, features: GuidedFeatures) -> None:
        super().__init__()
        self.features = features
        self.axes: tuple[int, ...] = ()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        region = self.features.region
        self.features.region = region.flip(self.axes)
        try:
            levels = self.features.levels(images.flip([1 + axis for axis in self.axes]))
        finally:
            self.features.region = region
        return (self.features.of_bank(levels), *self.features.of_heads(levels))


class _Look:
    def __init__(self, data: LabelledImages, budget: Budget, views: int, seed: int) -> None:
        good = sum(data.is_good(image) for image in range(len(data)))
        self.data = data
        self.patches_each = max(1, math.ceil(budget.patches / max(good, 1)))
        self.good_each = max(1, math.ceil(budget.good_cells / max(good * views, 1)))
        self.defect_each = max(2, math.ceil(budget.defect_cells / max((len(data) - good) * views, 1)))
        self.random = torch.Generator().manual_seed(seed)

    def patches(self, grid: Tensor, counts: Tensor | None) -> Tensor:
        """Some patches of one good image from its features (channels, rows, columns)."""
        patches = grid.flatten(1).T
        return self._some(patches if counts is None else patches[counts], self.patches_each).clone()

    def cells(
        self, image: int, grids: Sequence[Tensor], interest: Tensor | None, axes: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Some cells of one image, (cells, channels) and what they show, from grids (channels, rows, columns) of it.

        They are of the image turned round along `axes`.
        """
        size = _size(grids[0])
        joined = torch.cat([F.interpolate(grid[None], size, mode="bilinear")[0] for grid in grids]).flatten(1).T
        counts = self.counting(image, size, interest).reshape(size).flip(axes).flatten()
        if self.data.is_good(image):
            chosen = self._some(torch.nonzero(counts).flatten(), self.good_each)
            return joined[chosen].half(), torch.full((len(chosen),), GOOD)
        truth = _truth(self.data, image, size)
        if truth is None:
            chosen = self._some(torch.nonzero(counts).flatten(), self.defect_each)
            return joined[chosen].half(), torch.full((len(chosen),), UNKNOWN)
        marked, free = (cells.reshape(size).flip(axes).flatten() for cells in truth)
        defects = self._some(torch.nonzero(marked & counts).flatten(), self.defect_each // 2)
        around = self._some(torch.nonzero(free & counts).flatten(), self.defect_each // 2)
        shows = torch.cat([torch.full((len(defects),), DEFECT), torch.full((len(around),), GOOD)])
        return joined[torch.cat([defects, around])].half(), shows

    def counting(self, image: int, size: tuple[int, int], interest: Tensor | None) -> Tensor:
        counts = torch.ones(size[0] * size[1], dtype=torch.bool) if interest is None else interest.flatten() > 0
        ignored = self.data.ignored(image)
        return counts if ignored is None else counts & ~torch.from_numpy(cells_of(ignored, *size)).flatten()

    def _some(self, items: Tensor, count: int) -> Tensor:
        return items[torch.randperm(len(items), generator=self.random)[:count]]


@torch.no_grad()
def look(
    data: LabelledImages,
    features: GuidedFeatures,
    budget: Budget,
    seed: int,
    progress: Progress = silent,
    mirrored: Mirrored = "none",
) -> Seen:
    """Look at every image, in seeded choice; the bank's patches are of images as they are, cells of mirrored ones too.

    Raises DataError without good parts, and for a mask that does not fit.
    """
    if not any(data.is_good(image) for image in range(len(data))):
        raise DataError("this kind of model starts from good parts, and none of the images to fit on is good; add some")
    views = _AXES[mirrored]
    looking = _Look(data, budget, len(views), seed)
    patches: dict[int, Tensor] = {}
    cells: dict[int, list[tuple[Tensor, Tensor]]] = {}
    coarse = fine = None
    progress("Learning good parts and defects", 0, len(data))
    sight = _Sight(features)
    with at_work(sight) as see:
        for start in range(0, len(data), BATCH):
            batch = range(start, min(start + BATCH, len(data)))
            pictures = np.stack([data.pixels(image) for image in batch])
            for axes in views:
                sight.axes = axes
                banks, *grids = see(pictures)
                if not start and not axes:
                    coarse, fine = (_interest(data, _size(grid)) for grid in (banks, grids[0]))
                for place, image in enumerate(batch):
                    if data.is_good(image) and not axes:
                        inside = looking.counting(image, _size(banks), coarse)
                        patches[image] = looking.patches(banks[place], inside)
                    seen = looking.cells(image, [grid[place] for grid in grids], fine, axes)
                    cells.setdefault(image, []).append(seen)
            progress("Learning good parts and defects", batch.stop, len(data))
    return Seen(_patch_pool(data, features, patches, coarse), _cell_pool(cells), fine)


def _patch_pool(
    data: LabelledImages, features: GuidedFeatures, patches: dict[int, Tensor], interest: Tensor | None
) -> PatchPool:
    counts = torch.tensor([len(some) for some in patches.values()])
    images = torch.tensor(list(patches))
    parts = torch.tensor([data.part(image) for image in patches])
    return PatchPool(
        features,
        torch.cat(list(patches.values())),
        images.repeat_interleave(counts),
        parts.repeat_interleave(counts),
        interest,
    )


def _cell_pool(cells: dict[int, list[tuple[Tensor, Tensor]]]) -> CellPool:
    counts = torch.tensor([sum(len(shows) for _, shows in views) for views in cells.values()])
    every = [view for views in cells.values() for view in views]
    return CellPool(
        torch.cat([some for some, _ in every]),
        torch.cat([shows for _, shows in every]),
        torch.tensor(list(cells)).repeat_interleave(counts),
    )


def _size(grid: Tensor) -> tuple[int, int]:
    return int(grid.shape[-2]), int(grid.shape[-1])


def _interest(data: LabelledImages, size: tuple[int, int]) -> Tensor | None:
    """The region of interest in cells of a grid: float32 (rows, columns) of 1 and 0. Raises DataError if it has none."""
    cells = interest_cells(data.region_of_interest, *size)
    return None if cells is None else torch.from_numpy(cells)


def _truth(data: LabelledImages, image: int, size: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
    """Which cells of a defective image show the defect and which nothing of it, bool (cells,) each; None if not known.

    A mask that marks nothing tells nothing. Raises DataError for one of another size than the image.
    """
    mask = data.mask(image)
    if mask is None or not mask.any():
        return None
    expected = (data.preparation.height_px, data.preparation.width_px)
    if mask.shape != expected:
        raise DataError(
            f"the mask of {data.entries[image].path} is {mask.shape[1]} × {mask.shape[0]} px, its image "
            f"{expected[1]} × {expected[0]} px: draw the mask on this image"
        )
    pixels = torch.from_numpy(mask[None].astype(np.float32) / 255)
    share = F.adaptive_avg_pool2d(pixels, size).flatten()
    touched = F.adaptive_max_pool2d(pixels, size).flatten() > 0
    # Of a defect smaller than that share of any cell, the fullest cells count.
    return (share > min(_MARKED_SHARE, 0.5 * float(share.max()))) & touched, ~touched
