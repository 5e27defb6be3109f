"""Frames of some minutes, summed up: what stays when the parts change."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from inspector.imaging.health.measure import Floats, FrameHealth

KEPT_FRAMES = 128
"""Most frames of a window that are held and summed up; of more every second, fourth, eighth … is."""
LEAST_FRAMES = 20
"""Fewer frames say nothing: their medians are those of the parts that happened to come."""
_DARKEST_LEVEL, _BRIGHTEST_LEVEL = 4.0, 250.0


@dataclass(frozen=True, slots=True)
class Spread:
    """A tenth of the frames lie below `low`, a tenth above `high`."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """The frames of a window. All of them have one size and one number of channels.

    `frames` counts all that were measured. `logs` is float32 (frames held, rows, columns): natural logarithms of the green or
    only channel's levels; `usable` bool (rows, columns) says which cells are neither black nor clipped. `colour` is float32
    (frames held, 2, rows, columns): logarithms of red by green and blue by green, None for grey pictures. `detail` is float32
    (frames held, 2, 4), the logarithm of `FrameHealth.detail`, NaN where a frame holds nothing; `probes` float32
    (frames held, 3, 2, 4) likewise, None unless every frame was probed.
    """

    size_px: tuple[int, int]
    start: datetime
    end: datetime
    frames: int
    logs: Floats
    usable: np.typing.NDArray[np.bool_]
    colour: Floats | None
    saturated: Floats
    detail: Floats
    probes: Floats | None = None

    @property
    def held(self) -> int:
        return int(self.logs.shape[0])

    @property
    def middle(self) -> Floats:
        """The median frame: float32 (rows, columns), logarithms of levels."""
        return np.asarray(np.median(self.logs, axis=0), np.float32)

    def level(self) -> Spread:
        """Of the mean levels of the frames, 0…255."""
        return spread_of(np.exp(self.logs).mean(axis=(1, 2)))

    def saturation(self) -> Spread:
        """Of the shares of clipped pixels, 0…1."""
        return spread_of(self.saturated)

    def fineness(self) -> Spread | None:
        """Of how much of the contrast is fine, over all directions; None if hardly a frame holds anything to focus on."""
        values = np.exp(self.detail[:, 0].mean(axis=1))
        found = values[np.isfinite(values)]
        return spread_of(found) if found.size >= LEAST_FRAMES else None

    def colours(self) -> tuple[Spread, Spread] | None:
        """Of red by green and of blue by green."""
        if self.colour is None:
            return None
        whole = np.exp(np.median(self.colour, axis=(2, 3)))
        return spread_of(whole[:, 0]), spread_of(whole[:, 1])


@dataclass(slots=True)
class Window:
    """Collects frames until they are summed up. Holds at most `KEPT_FRAMES` of them, spread evenly over the window."""

    start: datetime
    frames: int = 0
    end: datetime | None = None
    _kept: list[FrameHealth] = field(default_factory=list)
    _every: int = 1

    def fits(self, frame: FrameHealth) -> bool:
        """Whether the frame has the size and the channels of those before it."""
        if not self._kept:
            return True
        first = self._kept[0]
        return first.size_px == frame.size_px and first.cells.shape == frame.cells.shape

    def add(self, frame: FrameHealth, time: datetime) -> None:
        """Take in a frame that `fits`."""
        if self.frames % self._every == 0:
            self._kept.append(frame)
        self.frames += 1
        self.end = time
        if len(self._kept) >= KEPT_FRAMES:
            del self._kept[1::2]
            self._every *= 2

    def summary(self) -> Summary:
        """What the window holds; at least one frame."""
        return summarise(self._kept, self.start, self.end or self.start, self.frames)


def summarise(kept: list[FrameHealth], start: datetime, end: datetime, frames: int) -> Summary:
    """Sum up frames of one size."""
    levels = np.stack([frame.cells for frame in kept])
    main = levels[..., min(1, levels.shape[-1] - 1)]
    logs = np.log(np.maximum(levels, 1.0), dtype=np.float32)
    middle = np.median(main, axis=0)
    colour = None
    if levels.shape[-1] == 3:
        colour = np.stack([logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]], axis=1)
    probes = [frame.probes for frame in kept if frame.probes is not None]
    return Summary(
        size_px=kept[0].size_px,
        start=start,
        end=end,
        frames=frames,
        logs=logs[..., min(1, levels.shape[-1] - 1)],
        usable=(middle > _DARKEST_LEVEL) & (middle < _BRIGHTEST_LEVEL),
        colour=colour,
        saturated=np.array([frame.saturated for frame in kept], np.float32),
        detail=_logs([frame.detail for frame in kept]),
        probes=_logs(probes) if len(probes) == len(kept) else None,
    )


def _logs(details: list[Floats]) -> Floats:
    """NaN for what has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.stack(details))
    return np.where(np.isfinite(logs), logs, np.nan).astype(np.float32)


def spread_of(values: Floats) -> Spread:
    low, middle, high = np.percentile(values, (10, 50, 90))
    return Spread(float(low), float(middle), float(high))
