"""Which images a fitted model keeps for its export: to hold graphs against each other, and to measure INT8's ranges on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.inference.tiling import Tiles
from training.data.samples import printable
from training.data.training_set import LabelledImages

_JUDGED, _TAUGHT = 400, 64
_JUDGED_BYTES, _TAUGHT_BYTES = 96 << 20, 24 << 20
_LEAST, _LEAST_TILED = 16, 6
_STRIDE = 7


@dataclass(frozen=True, slots=True)
class KeptImages:
    """Inputs of the model, uint8 (n, height, width, channels).

    `judged` are to be judged alike by all graphs, and are called `names`; if `held_out` they fitted nothing. The last
    `limit_images` of them are all those that set the limit (0 if they are not all here, or were fitted on). `scores` (n,)
    are what the fit gave them, which set the limit and tested it; NaN where that was another network or another look.
    `taught` are some that it was fitted on; of pictures that are judged by tiles one tile each, as the graph takes them.
    """

    judged: NDArray[np.uint8]
    names: tuple[str, ...]
    limit_images: int
    taught: NDArray[np.uint8]
    scores: NDArray[np.float32]
    held_out: bool = True


def keep_images(
    images: LabelledImages,
    tested: Sequence[int],
    setting: Sequence[int],
    fitted: Sequence[int],
    scores: Mapping[int, float],
    *,
    cross_fitted: bool,
) -> KeptImages:
    """Choose among the numbers of images that tested, set the limit and were fitted on; evenly, within bounds of memory.

    If the limit was set by cross-fitting, `setting` was fitted on too and serves only where nothing was tested. `scores` are
    the final network's, by number.
    """
    size_bytes = max(1, images.pixels(fitted[0]).nbytes)
    most = max(_LEAST if images.tiles is None else _LEAST_TILED, min(_JUDGED, _JUDGED_BYTES // size_bytes))
    last: list[int] = []
    if cross_fitted:
        chosen = spread(tested or setting, most)
    elif len(setting) <= most // 2:
        last = list(setting)
        chosen = spread(tested, most - len(last)) + last
    else:
        chosen = spread(tested, most // 2) + spread(setting, most // 2)
    taught_bytes = math.prod(images.preparation.input_spec().graph_shape)
    taught = spread(fitted, max(8, min(_TAUGHT, _TAUGHT_BYTES // taught_bytes)))
    return KeptImages(
        judged=np.stack([images.pixels(index) for index in chosen]),
        names=tuple(printable(images.entries[index].path) for index in chosen),
        limit_images=len(last),
        taught=graph_inputs((images.pixels(index) for index in taught), images.tiles),
        # Without areas to ignore a picture was shown otherwise than it is kept.
        scores=np.array(
            [math.nan if images.ignored(index) is not None else scores.get(index, math.nan) for index in chosen],
            np.float32,
        ),
        held_out=bool(tested) or not cross_fitted,
    )


def graph_inputs(pictures: Iterable[NDArray[np.uint8]], tiles: Tiles | None) -> NDArray[np.uint8]:
    """Inputs as a graph takes them, uint8 (n, height, width, channels): pictures as they are, or one tile of each.

    Of each picture another tile, so that few pictures show most of what tiles look like.
    """
    if tiles is None:
        return np.stack(list(pictures))
    count = len(tiles.boxes)
    return np.stack([tiles.cut(picture, (number * _STRIDE) % count) for number, picture in enumerate(pictures)])


def spread(items: Sequence[int], most: int) -> list[int]:
    """At most that many, evenly over the sequence."""
    if len(items) <= most:
        return list(items)
    return [items[position] for position in np.linspace(0, len(items) - 1, most).round().astype(int)]
