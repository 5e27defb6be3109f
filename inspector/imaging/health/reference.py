"""What a camera's picture was when it was commissioned, and how much of it varied even then."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ConfigError
from inspector.imaging.health.measure import PROBES_PX, Floats
from inspector.imaging.health.window import LEAST_FRAMES, Summary

_FORMAT = 1
_STEADY_SHARE = 0.25
_STEADY_SPREAD = 0.05
_LEAST_STEADY_SHARE = 0.02
# The median absolute deviation of a normal distribution, times this, is its standard deviation.
TO_SIGMA = 1.4826
# As many deviations of a normal distribution lie between its outer tenths.
_OUTER_TENTHS = 2.563
_MASKS = ("usable", "steady")
_ARRAYS = (
    "middle", "spread", "detail_best", "detail_worst", "detail_spread", "blur_losses", "colour", "colour_spread",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The picture at commissioning. Logarithms are natural, of levels on the 8-bit scale.

    `middle` and `spread` are float32 (rows, columns): the median of each cell over the frames, and the deviation of a frame
    from it once its own brightness is taken away. `usable` cells are neither black nor clipped; `steady` are those of them
    that vary least with the parts, by which the light is judged; all usable ones if nothing is steady. `gain_spread` and
    `gain_step` are the deviation of a frame's brightness over them, and of its change from frame to frame.
    `measured_by` says which way of `FrameHealth.detail` tells blur from parts best here. By that way `detail_best` and
    `detail_worst` are (4,), by direction: what the best and the worst fifth of the frames have; `detail_spread` is what one
    frame differs by, `blur_losses` (3, 4) what blur by each of `PROBES_PX` takes from the detail.
    `colour` and `colour_spread` are (2,), red and blue by green, empty for grey.
    """

    size_px: tuple[int, int]
    start: datetime
    end: datetime
    frames: int
    middle: Floats
    spread: Floats
    usable: NDArray[np.bool_]
    steady: NDArray[np.bool_]
    gain_spread: float
    gain_step: float
    saturated: float
    saturated_spread: float
    measured_by: int
    detail_best: Floats
    detail_worst: Floats
    detail_spread: Floats
    blur_losses: Floats
    colour: Floats
    colour_spread: Floats

    @property
    def has_background(self) -> bool:
        """Whether the light is judged by what stands still, not by the parts themselves."""
        return float(np.median(self.spread[self.steady])) <= _STEADY_SPREAD

    @property
    def level(self) -> float:
        """Mean level of the median picture, 0…255."""
        return float(np.exp(self.middle).mean())


def build_reference(summary: Summary) -> Reference:
    """The reference that these frames make. Errors: ConfigError if they are too few or hold nothing to see."""
    if summary.probes is None:
        raise ConfigError("a reference is made of frames that were measured with probe=True")
    if summary.held < LEAST_FRAMES:
        raise ConfigError(
            f"a reference needs {LEAST_FRAMES} frames or more, got {summary.held}: let more parts pass the camera"
        )
    usable = summary.usable
    if usable.mean() < _LEAST_STEADY_SHARE:
        raise ConfigError(
            f"{1 - usable.mean():.0%} of the picture is black or clipped: set exposure and lamp before taking a reference"
        )
    middle = summary.middle
    rough = np.median((summary.logs - middle)[:, usable], axis=1)
    middle = middle_of(summary, rough)
    spread = _deviation(summary.logs - middle - rough[:, None, None])
    steady = usable & (spread <= max(float(np.quantile(spread[usable], _STEADY_SHARE)), 1e-3))
    if np.median(spread[steady]) > _STEADY_SPREAD:
        steady = usable
    gains = gains_of(summary, middle, steady)
    losses = summary.detail[:, None] - summary.probes
    way = _way(summary.detail, losses)
    detail = summary.detail[:, way]
    colour = colour_of(summary, steady)
    return Reference(
        size_px=summary.size_px,
        start=summary.start,
        end=summary.end,
        frames=summary.frames,
        middle=middle,
        spread=spread,
        usable=usable,
        steady=steady,
        gain_spread=sigma(gains),
        gain_step=step_of(gains),
        saturated=float(np.median(summary.saturated)),
        saturated_spread=sigma(summary.saturated),
        measured_by=way,
        detail_best=fifths_of(detail)[0],
        detail_worst=fifths_of(detail)[1],
        detail_spread=np.array([sigma(column) for column in detail.T], np.float32),
        blur_losses=np.stack([_column_medians(losses[:, n, way]) for n in range(len(PROBES_PX))]),
        colour=_column_medians(colour),
        colour_spread=np.array([sigma(column) for column in colour.T], np.float32),
    )


def _way(detail: Floats, losses: Floats) -> int:
    """Which way to measure detail: that in which blur stands out most, in the direction that shows it least."""
    told = []
    for way in range(detail.shape[1]):
        spreads = np.array([sigma(column) for column in detail[:, way].T])
        # What strong blur takes again from the quotient, it has not lost: the lesser of the two counts.
        lost = np.minimum(_column_medians(losses[:, 1, way]), _column_medians(losses[:, 2, way]))
        told.append(float(np.min(lost / np.maximum(spreads, 1e-3))))
    return int(np.nanargmax(told)) if np.isfinite(told).any() else 0


def middle_of(summary: Summary, gains: Floats) -> Floats:
    """The median frame, float32 (rows, columns), if all had the median brightness: light that flickers leaves no pattern."""
    even = summary.logs - (gains - np.median(gains))[:, None, None]
    return np.asarray(np.median(even, axis=0), np.float32)


def gains_of(summary: Summary, middle: Floats, steady: NDArray[np.bool_]) -> Floats:
    """How much brighter each frame is than `middle`, as a logarithm, by the steady cells."""
    return np.asarray(np.median((summary.logs - middle)[:, steady], axis=1), np.float32)


def colour_of(summary: Summary, steady: NDArray[np.bool_]) -> Floats:
    """Logarithms of red by green and blue by green of each frame, by the steady cells; (frames, 2), or (frames, 0) for grey."""
    if summary.colour is None:
        return np.zeros((summary.held, 0), np.float32)
    return np.asarray(np.median(summary.colour[:, :, steady], axis=2), np.float32)


def step_of(gains: Floats) -> float:
    """Deviation of a frame's brightness from that of the frame before: what drifts slowly has no part in it."""
    return sigma(np.diff(gains)) / float(np.sqrt(2))


def fifths_of(detail: Floats) -> tuple[Floats, Floats]:
    """What the best and the worst fifth of the frames have, by direction; NaN if hardly a frame holds anything to focus on."""
    seen = detail[np.isfinite(detail).all(axis=1)]
    if seen.shape[0] < LEAST_FRAMES:
        nothing = np.full(detail.shape[1], np.nan, np.float32)
        return nothing, nothing
    return tuple(np.quantile(seen, share, axis=0).astype(np.float32) for share in (0.8, 0.2))  # type: ignore[return-value]


def sigma(values: Floats) -> float:
    """Standard deviation of a normal distribution with the median absolute deviation of the values; 0 without values."""
    found = values[np.isfinite(values)]
    return float(TO_SIGMA * np.median(np.abs(found - np.median(found)))) if found.size else 0.0


def write_reference(reference: Reference) -> bytes:
    """As a file: numpy's .npz of plain arrays, and JSON beside them."""
    about = {
        "format": _FORMAT,
        "size_px": list(reference.size_px),
        "start": reference.start.isoformat(),
        "end": reference.end.isoformat(),
        "frames": reference.frames,
        **{key: getattr(reference, key) for key in _NUMBERS},
    }
    arrays: dict[str, Any] = {key: getattr(reference, key) for key in (*_ARRAYS, *_MASKS)}
    target = io.BytesIO()
    np.savez_compressed(target, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
    return target.getvalue()


_NUMBERS = ("gain_spread", "gain_step", "saturated", "saturated_spread", "measured_by")


def read_reference(data: bytes, name: str) -> Reference:
    """The inverse of `write_reference`. `name` is for the message. Errors: ConfigError."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            about = json.loads(bytes(file["about"]))
            if about["format"] != _FORMAT:
                raise ConfigError(f"{name} has format {about['format']}, this program reads {_FORMAT}: take it anew")
            arrays: dict[str, Any] = {key: file[key].astype(np.float32) for key in _ARRAYS}
            arrays |= {key: file[key].astype(np.bool_) for key in _MASKS}
        width, height = about["size_px"]
        start, end = (datetime.fromisoformat(about[key]) for key in ("start", "end"))
        numbers: dict[str, Any] = {key: float(about[key]) for key in _NUMBERS}
        numbers["measured_by"] = int(numbers["measured_by"])
        reference = Reference((width, height), start, end, int(about["frames"]), **arrays, **numbers)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(f"{name} is no reference of a camera ({error}): take it anew") from error
    shape = reference.middle.shape
    if len(shape) != 2 or any(getattr(reference, key).shape != shape for key in ("spread", *_MASKS)):
        raise ConfigError(f"{name} contradicts itself: its maps differ in size; take it anew")
    return reference


def _deviation(values: Floats) -> Floats:
    """`sigma` of each cell over the frames, or what the outer tenths say if that is more: parts that lie here now and there
    then leave most frames of a cell alike, and would move its median by chance."""
    middle = TO_SIGMA * np.median(np.abs(values - np.median(values, axis=0)), axis=0)
    low, high = np.quantile(values, (0.1, 0.9), axis=0)
    return np.asarray(np.maximum(middle, (high - low) / _OUTER_TENTHS), np.float32)


def _column_medians(values: Floats) -> Floats:
    """Median of each column without what is no number; NaN for a column of nothing else."""
    columns = [column[np.isfinite(column)] for column in values.T]
    return np.array([np.median(column) if column.size else np.nan for column in columns], np.float32)
