"""Pictures without what does not count in them: areas to ignore as they might look on a good part.

A model's score is of the whole picture, and what lies in an area to ignore may have raised it. So the area is replaced, in
several ways, and the lowest score is what the rest of the picture is worth: a filling can only take evidence away. It is done
before the model, so that it holds alike for every kind, for the fitted network and for the exported graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

MOST_EXAMPLES = 3
_REACHES_PX = (4, 16, 64)
_FEW = 1e-3


def fillings(
    pixels: NDArray[np.uint8], ignored: NDArray[np.bool_], examples: Sequence[NDArray[np.uint8]]
) -> list[NDArray[np.uint8]]:
    """The picture with its area filled from each example, and evenly from around the area; no other pixel is changed.

    `pixels` and `examples`, of good parts located alike, are uint8 (height, width, channels), `ignored` bool (height, width).
    A filling is brought to the light that the picture has around the area.
    """
    if ignored.all():
        return [example.copy() for example in examples]
    window = _around(ignored)
    here, area = pixels[window].astype(np.float32), ignored[window]
    filled = []
    for example in [*(example[window].astype(np.float32) for example in examples), np.zeros_like(here)]:
        inside = example + _continued(here - example, area)
        whole = pixels.copy()
        whole[window][area] = np.clip(np.rint(inside[area]), 0, 255).astype(np.uint8)
        filled.append(whole)
    return filled


def lowest(scores: NDArray[np.float32], counts: Sequence[int]) -> list[int]:
    """Places of the lowest score of each image, whose `counts` scores stand in a row; of what is no number, the first."""
    ends = np.cumsum(counts)
    return [int(end - count + scores[end - count : end].argmin()) for end, count in zip(ends, counts, strict=True)]


def _around(ignored: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The area's bounding box and what is near it."""
    rows, columns = np.flatnonzero(ignored.any(axis=1)), np.flatnonzero(ignored.any(axis=0))
    margin = _REACHES_PX[-1]
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )


def _continued(values: NDArray[np.float32], area: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What lies around the area, continued into it: near its rim from what is near, farther in from farther away."""
    known = (~area).astype(np.float32)
    result = np.broadcast_to(values[~area].mean(axis=0), values.shape).astype(np.float32)
    for reach in reversed(_REACHES_PX):
        weight = cv2.GaussianBlur(known, (0, 0), reach)[..., None]
        blurred = cv2.GaussianBlur(values * known[..., None], (0, 0), reach).reshape(values.shape)
        share = np.clip(weight / 0.25, 0, 1)
        result = result * (1 - share) + share * blurred / np.maximum(weight, _FEW)
    return np.asarray(result, np.float32)
