"""What a fitted network says of images, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.inference.contract import CLASS_SCORES, MAP, SCORE
from inspector.inference.tiling import Outputs, Tiles
from training.data.dont_care import lowest
from training.data.training_set import LabelledImages
from training.device import at_work
from training.models.kind import InspectionModel

BATCH = 8
MOST_CELLS = 256
"""A large picture's map may have millions of cells, and all parts' maps are held at once."""


@dataclass(frozen=True, slots=True)
class ImageScores:
    """Of n images: scores (n,), maps (n, rows, columns); (n, classes) if the model tells classes apart, and
    (n, classes, rows, columns) if it outlines them. float32.

    Of pictures that are judged by tiles, maps are thinned to at most `MOST_CELLS` along a side, and class maps are not kept.
    """

    scores: NDArray[np.float32]
    maps: NDArray[np.float32]
    class_scores: NDArray[np.float32] | None = None
    class_maps: NDArray[np.float32] | None = None


def score_images(
    network: InspectionModel, data: LabelledImages, images: Sequence[int], progress: Callable[[int], None]
) -> ImageScores:
    """Score `images`, numbers in `data`; `progress` is told how many are done.

    Areas to ignore do not count: of the ways in which a picture may look without them the one with the lowest score does.
    """
    if data.tiles is not None:
        return _score_by_tiles(network, data, data.tiles, images, progress)
    kept: dict[str, list[NDArray[np.float32]]] = {name: [] for name in network.outputs}
    with at_work(network) as see:
        for start in range(0, len(images), BATCH):
            ways = [data.without_ignored(image) for image in images[start : start + BATCH]]
            batch = np.stack([pixels for image in ways for pixels in image])
            outputs = dict(zip(network.outputs, (values.numpy() for values in see(batch)), strict=True))
            counted = lowest(outputs[SCORE], [len(image) for image in ways])
            for name, values in outputs.items():
                kept[name].append(values if len(counted) == len(batch) else values[counted])
            progress(start + len(ways))
    if not images:
        return ImageScores(np.zeros(0, np.float32), np.zeros((0, 1, 1), np.float32))
    joined = {name: np.concatenate(values) for name, values in kept.items()}
    return ImageScores(joined["score"], joined["anomaly_map"], joined.get("class_scores"), joined.get("class_maps"))


def thinned(anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every so many-th cell of a map, at most `MOST_CELLS` along a side: enough to know how its values are spread."""
    step = -(-max(anomaly_map.shape) // MOST_CELLS)
    return anomaly_map if step == 1 else anomaly_map[::step, ::step].copy()


def _score_by_tiles(
    network: InspectionModel, data: LabelledImages, tiles: Tiles, images: Sequence[int], progress: Callable[[int], None]
) -> ImageScores:
    scores, maps, classes = [], [], []
    with at_work(network) as see:

        def run(seen: NDArray[np.uint8]) -> Outputs:
            return dict(zip(network.outputs, (values.numpy() for values in see(seen)), strict=True))

        for done, image in enumerate(images, start=1):
            ways = [tiles.judge(pixels, run) for pixels in data.without_ignored(image)]
            outputs = ways[lowest(np.concatenate([way[SCORE] for way in ways]), [len(ways)])[0]]
            scores.append(outputs[SCORE])
            maps.append(thinned(outputs[MAP][0])[None])
            classes += [outputs[CLASS_SCORES]] if CLASS_SCORES in outputs else []
            progress(done)
    if not images:
        return ImageScores(np.zeros(0, np.float32), np.zeros((0, 1, 1), np.float32))
    return ImageScores(np.concatenate(scores), np.concatenate(maps), np.concatenate(classes) if classes else None)
