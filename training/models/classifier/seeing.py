"""One look at the images through the pretrained backbone: pooled features of each view, and what late stages start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.augment import Augmentation, augmented
from training.data.training_set import LabelledImages
from training.loop import best_device, processes_here
from training.models.classifier.network import PartFeatures, pooled
from training.models.scoring import BATCH
from training.progress import Progress, silent

KEPT_BYTES = 2 << 30
"""Of features kept in memory, over all processes of a machine: 8,600 tiles of 224 px in 4 views from stride 8 on."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the backbone made of n images, each as it is and then changed in seeded draws.

    `features` are pooled, float32 (n, views, width). `early` are a frozen stage's cells, float16 (n, views or fewer,
    channels, rows, columns), in as many views as memory allows; None if none was asked for or not one view fits.
    """

    features: Tensor
    early: Tensor | None = None


@torch.no_grad()
def see(
    features: PartFeatures,
    data: LabelledImages,
    how: Augmentation,
    views: int,
    seed: int,
    *,
    keep: int | None = None,
    progress: Progress = silent,
) -> Seen:
    """Look at every image. `keep` is the place among the backbone's levels of the one whose cells are kept."""
    device = best_device()
    features = features.to(device)
    generator = torch.Generator().manual_seed(seed)
    kept = []
    early: Tensor | None = None
    progress("Looking at images", 0, len(data))
    for start in range(0, len(data), BATCH):
        pixels = pixels_of(data, range(start, min(start + BATCH, len(data))))
        changed = [pixels, *(augmented(pixels, how, generator) for _ in range(views - 1))]
        cells = [features.of_pixels(view.to(device)) for view in changed]
        kept.append(torch.stack([pooled(levels).cpu() for levels in cells], dim=1))
        if keep is not None:
            if start == 0:
                early = _room(cells[0][keep].shape[1:], len(data), views)
            if early is not None:
                for view in range(early.shape[1]):
                    early[start : start + len(pixels), view] = cells[view][keep].half().cpu()
        progress("Looking at images", start + len(pixels), len(data))
    features.cpu()
    return Seen(torch.cat(kept), early)


def pixels_of(data: LabelledImages, images: Sequence[int]) -> Tensor:
    """float32 (n, channels, height, width) of 0 to 255, areas to ignore as on a good part."""
    return torch.from_numpy(np.stack([data.filled(image) for image in images])).permute(0, 3, 1, 2).float()


def _room(shape: Sequence[int], images: int, views: int) -> Tensor | None:
    """Memory for the cells, of one image (channels, rows, columns), of so many views as fit, or of none."""
    view_bytes = 2 * images * int(np.prod(shape))
    fit = min(views, KEPT_BYTES // processes_here() // view_bytes)
    return torch.empty((images, fit, *shape), dtype=torch.float16) if fit else None
