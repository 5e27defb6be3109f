"""How large the model's input is where nobody says: as the parts are, within the pixels that the kind has time for."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inspector.errors import ConfigError, DataError
from training.data.survey import Surveyed

MIN_SIDE_PX, MAX_SIDE_PX = 32, 2048
STEP_PX = 32
"""What the backbones shrink a picture by: with sides of whole steps no cell of their last stage hangs over the edge."""
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class InputSize:
    """The model's input in pixels, and why it is that large, in words."""

    width_px: int
    height_px: int
    reason: str

    def __str__(self) -> str:
        return f"{self.width_px} × {self.height_px} px: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        return {"width_px": self.width_px, "height_px": self.height_px, "reason": self.reason}


def asked_size(width_px: int, height_px: int, largest_px: int = MAX_SIDE_PX) -> InputSize:
    """The size that somebody asked for. Raises DataError if it is none that a model can have."""
    if not all(MIN_SIDE_PX <= side <= largest_px for side in (width_px, height_px)):
        more = ", or more with --tile" if largest_px == MAX_SIDE_PX else ""
        raise DataError(
            f"the model's input would be {width_px} × {height_px} px: give sides from {MIN_SIDE_PX} to {largest_px}{more}"
        )
    return InputSize(width_px, height_px, "as asked for")


def size_for(images: Sequence[Surveyed], pixels: int) -> InputSize:
    """The size for these images' located regions: of their median width and height, with at most `pixels` pixels.

    Sides are whole steps and not longer than the region's, unless that is shorter than one step. Of what is left the size is
    taken whose more reduced side is reduced least, which keeps the proportions as far as steps allow; of equals the largest.
    """
    width = int(np.median([image.region.width_px for image in images]))
    height = int(np.median([image.region.height_px for image in images]))
    sides = [(w, h) for w in _steps(width) for h in _steps(height) if w * h <= max(pixels, STEP_PX * STEP_PX)]
    chosen = max(sides, key=lambda size: (min(size[0] / width, size[1] / height), size[0] * size[1]))
    whole = chosen == (_steps(width)[-1], _steps(height)[-1])
    why = f"at most {pixels:,} pixels"
    if whole:
        why = "nothing is enlarged" if min(width, height) >= STEP_PX else "a side has one step at least"
    reason = f"the parts are {width} × {height} px, by the median, and sides are steps of {STEP_PX} px; {why}"
    return InputSize(*chosen, reason)


def parse_size(text: str) -> tuple[int, int] | None:
    """Width and height of WxH, None for `auto`. Raises ConfigError."""
    if text.lower() == AUTO:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,5}x[1-9][0-9]{0,5}", text.lower()):
        raise ConfigError(f"--size is {text!r}, expected {AUTO}, or width x height in pixels, such as 224x224")
    width, _, height = text.lower().partition("x")
    return int(width), int(height)


def _steps(side_px: int) -> list[int]:
    """Sides that do not enlarge this one, in whole steps; one step if it is shorter."""
    most = min(max(side_px, STEP_PX), MAX_SIDE_PX)
    return [STEP_PX * count for count in range(1, math.floor(most / STEP_PX) + 1)]
