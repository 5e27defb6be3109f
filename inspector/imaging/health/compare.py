"""A window of frames against the reference: how much of each kind of change, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.imaging.health.field import Field, blobs_in, field_of
from inspector.imaging.health.kinds import Kind
from inspector.imaging.health.measure import DIRECTIONS_DEG, PROBES_PX, Floats
from inspector.imaging.health.reference import Reference, colour_of, fifths_of, gains_of, middle_of, step_of
from inspector.imaging.health.window import LEAST_FRAMES, Summary

# Standard error of a median, in deviations of one value.
_MEDIAN = 1.2533
# Parts differ from lot to lot, not only from one to the next: the mean of a lot may be off by this share of the deviation.
_LOT_SHARE = 0.25
# Deviation of the fifth that is lowest, in those of a median.
_FIFTH = 1.2
# A direction in which the middle probe takes less than this (a logarithm) from the detail says nothing of blur.
_LEAST_LOSS = 0.1
# Motion along one direction takes detail across it too, by this share: what it smears has edges both ways (measured on relief
# and on real parts, 0.4 to 0.6).
_LEAK = 0.6
# Blur that is alike in all directions is told apart by direction only so well.
_UNEVEN = 1.4
# Beyond so much of a cell the maps of then and now no longer lie on each other.
_HALF_A_CELL = 0.5
# A shift that can only be told within this share of the picture's longer side cannot be told.
_BLIND = 0.001
_TURN = np.deg2rad(2 * np.array(DIRECTIONS_DEG, np.float32))


@dataclass(frozen=True, slots=True)
class Change:
    """How far the picture is from its reference in one way, in the unit of that kind's limit.

    `value` is signed where there are two ways to go (brighter, redder); `sigma` is the deviation that chance and the parts
    give it. `direction_deg` runs from x to y (y down); `place_px` is (x, y).
    """

    kind: Kind
    value: float
    sigma: float = 0.0
    direction_deg: float | None = None
    place_px: tuple[int, int] | None = None
    channel: str = ""


def comparable(summary: Summary, reference: Reference) -> bool:
    """Whether the frames have the reference's size and channels, and are enough to say anything."""
    alike = summary.size_px == reference.size_px and summary.logs.shape[1:] == reference.middle.shape
    same_colour = (summary.colour is None) == (reference.colour.size == 0)
    return alike and same_colour and summary.held >= LEAST_FRAMES


def compare(summary: Summary, reference: Reference) -> Mapping[Kind, Change]:
    """Every change that these frames can show; the caller has asked `comparable`.

    A kind is absent where the picture cannot show it: colour on a grey camera, focus where there is nothing to focus on, dirt
    and uneven light while the camera has moved.
    """
    gains = gains_of(summary, reference.middle, reference.steady)
    found = [_saturation(summary, reference), _flicker(gains, reference)]
    found += _sharpness(summary, reference)
    blur_px = max((change.value for change in found if change.kind in (Kind.FOCUS, Kind.VIBRATION)), default=0.0)
    field = field_of(middle_of(summary, gains), reference)
    found += [_light(field, gains, reference), *_field(field, summary, reference, blur_px)]
    if reference.colour.size:
        found.append(_colour(summary, reference))
    return {change.kind: change for change in found if math.isfinite(change.value)}


def _light(field: Field, gains: Floats, reference: Reference) -> Change:
    """In the centre of the smooth change: corners that fade, or one side, are kinds of their own."""
    sigma = _of_median(reference.gain_spread, gains.size, by_parts=not reference.has_background)
    return Change(Kind.LIGHT, math.expm1(field.centre), max(sigma, field.centre_sigma))


def _saturation(summary: Summary, reference: Reference) -> Change:
    sigma = _of_median(reference.saturated_spread, summary.held, by_parts=True)
    return Change(Kind.SATURATION, float(np.median(summary.saturated)) - reference.saturated, sigma)


def _flicker(gains: Floats, reference: Reference) -> Change:
    """What is left of the deviation from frame to frame when that of the reference is taken away, as variances add."""
    now = step_of(gains)
    sigma = max(reference.gain_step * _LOT_SHARE, now / math.sqrt(2 * gains.size))
    return Change(Kind.FLICKER, math.sqrt(max(0.0, now**2 - reference.gain_step**2)), sigma)


def _sharpness(summary: Summary, reference: Reference) -> list[Change]:
    """Blur in all directions, which even the best frames have, is the focus; more of it in one direction is motion.

    Losses of detail are told as the deviation in pixels of the blur that would cost as much, which the reference learnt from
    this camera's own frames.
    """
    best, worst = fifths_of(summary.detail[:, reference.measured_by])
    seeing = reference.blur_losses[1] > _LEAST_LOSS
    if seeing.sum() < 2 or not (np.isfinite(best).all() and np.isfinite(reference.detail_best).all()):
        return []
    spread = _of_median(float(reference.detail_spread[seeing].mean()), summary.held, by_parts=True) * _FIFTH
    sigma = PROBES_PX[1] * spread / float(reference.blur_losses[1][seeing].min())
    always = _blurs(reference.detail_best - best, reference, seeing)
    at_times = _blurs(reference.detail_worst - worst, reference, seeing)
    least, most = float(always[seeing].min()), float(always[seeing].max())
    in_all = math.sqrt(max(0.0, least**2 - (_LEAK * most) ** 2) / (1 - _LEAK**2))
    found = [Change(Kind.FOCUS, in_all, sigma)]
    if seeing.all():
        least, most = float(at_times.min()), float(at_times.max())
        # Blurs of independent causes add as squares.
        beyond = math.sqrt(max(0.0, most**2 - (_UNEVEN * least) ** 2))
        x, y = float(at_times @ np.cos(_TURN)), float(at_times @ np.sin(_TURN))
        direction = math.degrees(math.atan2(y, x)) / 2 % 180
        found.append(Change(Kind.VIBRATION, beyond, sigma, direction_deg=direction))
    return found


def _blurs(losses: Floats, reference: Reference, seeing: NDArray[np.bool_]) -> Floats:
    """The blur in pixels, by direction, that takes so much from the detail; no more than the probe that takes most."""
    squares = [0.0, *(probe**2 for probe in PROBES_PX)]
    blurs = np.zeros(losses.size, np.float32)
    for place in np.flatnonzero(seeing):
        # Of fine texture strong blur leaves nothing to lose: beyond the probe that takes most, more cannot be told.
        known = [0.0, *reference.blur_losses[:, place]]
        end = int(np.argmax(known)) + 1
        blurs[place] = math.sqrt(float(np.interp(losses[place], np.maximum.accumulate(known[:end]), squares[:end])))
    return blurs


def _field(field: Field, summary: Summary, reference: Reference, blur_px: float) -> list[Change]:
    x, y = field.shift_px
    longer = max(reference.size_px)
    moved = math.hypot(x, y) / longer
    sigma = field.shift_sigma_px / longer
    found = []
    if sigma <= _BLIND:
        found.append(Change(Kind.MOVED, moved, sigma, math.degrees(math.atan2(y, x))))
    if moved > _HALF_A_CELL / max(reference.middle.shape):
        return found
    found.append(Change(Kind.VIGNETTING, math.expm1(field.corners), field.corners_sigma))
    right, down = field.across
    darker = math.degrees(math.atan2(-down, -right))
    found.append(Change(Kind.UNEVEN_LIGHT, -math.expm1(-math.hypot(right, down)), field.across_sigma, darker))
    blobs = blobs_in(field.left, summary, reference, blur_px)
    share = sum(blob.cells for blob in blobs) / reference.middle.size
    worst = blobs[0] if blobs else None
    place = None if worst is None else (worst.x_px, worst.y_px)
    found.append(
        Change(Kind.DIRT, share, 0.0, place_px=place, channel="brighter" if worst and worst.change > 0 else "darker")
    )
    return found


def _colour(summary: Summary, reference: Reference) -> Change:
    moved = np.median(colour_of(summary, reference.steady), axis=0) - reference.colour
    which = int(np.argmax(np.abs(moved)))
    spread = float(reference.colour_spread[which])
    sigma = _of_median(spread, summary.held, by_parts=not reference.has_background)
    return Change(Kind.COLOUR, math.expm1(float(moved[which])), sigma, channel=("red", "blue")[which])


def _of_median(spread: float, count: int, *, by_parts: bool) -> float:
    """Deviation of the median of `count` values; with `by_parts` it does not vanish with their number."""
    return max(_MEDIAN * spread / math.sqrt(count), spread * _LOT_SHARE if by_parts else 0.0)
