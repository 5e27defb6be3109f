"""What a fitted network says of images, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.training_set import LabelledImages
from training.device import at_work
from training.models.kind import InspectionModel

BATCH = 8


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Of n images: scores (n,), maps (n, rows, columns); (n, classes) if the model tells classes apart, and
    (n, classes, rows, columns) if it outlines them. float32.
    """

    scores: NDArray[np.float32]
    maps: NDArray[np.float32]
    class_scores: NDArray[np.float32] | None = None
    class_maps: NDArray[np.float32] | None = None


def score_images(
    network: InspectionModel, data: LabelledImages, images: Sequence[int], progress: Callable[[int], None]
) -> ImageScores:
    """Score `images`, numbers in `data`; `progress` is told how many are done."""
    kept: dict[str, list[NDArray[np.float32]]] = {name: [] for name in network.outputs}
    with at_work(network) as see:
        for start in range(0, len(images), BATCH):
            batch = np.stack([data.pixels(image) for image in images[start : start + BATCH]])
            for name, values in zip(network.outputs, see(batch), strict=True):
                kept[name].append(values.numpy())
            progress(start + len(batch))
    if not images:
        return ImageScores(np.zeros(0, np.float32), np.zeros((0, 1, 1), np.float32))
    joined = {name: np.concatenate(values) for name, values in kept.items()}
    return ImageScores(joined["score"], joined["anomaly_map"], joined.get("class_scores"), joined.get("class_maps"))
