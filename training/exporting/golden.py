"""The golden images of a bundle: a few frames that every machine must judge as they were judged when it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.data.reading import MEDIA_TYPES, Preparation, read_frame
from training.data.samples import GOOD
from training.data.splits import Split
from training.exporting.kept import spread

_GOOD, _DEFECTIVE = 4, 8
_PIXELS = 100_000_000
"""The self-test judges all golden images at every start: of pictures that take many runs there are fewer."""
_MARGIN = 0.02
"""Golden images are at least this share of the limit away from it: other CPUs round otherwise."""


@dataclass(frozen=True, slots=True)
class GoldenFrame:
    """A frame that the bundle brings along, as received."""

    file: str
    media_type: str
    data: bytes


def golden_frames(
    split: Split, scored: Sequence[tuple[int, np.float32]], limit: float, preparation: Preparation
) -> tuple[GoldenFrame, ...]:
    """A few good and defective frames, spread over classes and over scores, clear of the limit if any are."""
    clear = [pair for pair in scored if abs(pair[1] - limit) > _MARGIN * abs(limit)] or list(scored)
    by_label: dict[str, list[int]] = {}
    for index, _ in sorted(clear, key=lambda pair: float(pair[1])):
        by_label.setdefault(split.entries[index].label, []).append(index)
    affordable = max(2, _PIXELS // (preparation.width_px * preparation.height_px))
    good = spread(by_label.pop(GOOD, []), min(_GOOD, affordable // 2))
    most = min(_DEFECTIVE, affordable - len(good))
    per_class = max(1, most // max(len(by_label), 1))
    defective = [index for name in sorted(by_label) for index in spread(by_label[name], per_class)]
    chosen = [("good", index) for index in good]
    chosen += [("defective", index) for index in spread(defective, most)]
    numbers: Counter[str] = Counter()
    frames = []
    for kind, index in chosen:
        frame = read_frame(split.root / split.entries[index].path, preparation.limits)
        media_type = MEDIA_TYPES[frame.pixel_format]
        numbers[kind] += 1
        file = f"golden/{kind}-{numbers[kind]}.{'jpg' if media_type == 'image/jpeg' else 'png'}"
        frames.append(GoldenFrame(file, media_type, frame.data))
    return tuple(frames)
