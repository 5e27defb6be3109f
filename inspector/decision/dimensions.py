"""Limits that are dimensions: how long, how large, how many and where a defect of a class may be.

A recipe gives the scale and the limits; `measure.py` gives the findings; here the one is held against the other. Nothing
passes by accident: a finding is excused only where limits of every class that it may be cover all of it, and whatever else
raises the score above its limit still rejects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter

from inspector.decision.measure import Measured, Measurement
from inspector.errors import ConfigError

REACH_CELLS = 2
"""How far evidence may spill over the outline of the finding that it belongs to: the model's smoothing, and the slope from
even odds down to the limit."""

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)
_Positive = Annotated[float, Field(strict=True, gt=0, le=1e6)]
_Coordinate = Annotated[float, Field(strict=True, ge=0, le=1e6)]


@dataclass(frozen=True, slots=True)
class Zone:
    """A rectangle on the part, in mm from the top left corner of the located region."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    x_mm: _Coordinate
    y_mm: _Coordinate
    width_mm: _Positive
    height_mm: _Positive

    def touches(self, x_mm: float, y_mm: float, width_mm: float, height_mm: float) -> bool:
        """Whether a rectangle shares any of this one's area."""
        return (
            x_mm < self.x_mm + self.width_mm
            and self.x_mm < x_mm + width_mm
            and y_mm < self.y_mm + self.height_mm
            and self.y_mm < y_mm + height_mm
        )

    def holds(self, x_mm: float, y_mm: float, width_mm: float, height_mm: float) -> bool:
        """Whether a rectangle lies inside this one."""
        return (
            self.x_mm <= x_mm
            and x_mm + width_mm <= self.x_mm + self.width_mm
            and self.y_mm <= y_mm
            and y_mm + height_mm <= self.y_mm + self.height_mm
        )


@dataclass(frozen=True, slots=True)
class DimensionLimit:
    """What findings of one class may be, on the whole part or, with a `zone`, where they touch it.

    `max_count` counts findings of at least `min_area_mm2`. Lengths are the largest distance between two points of a finding.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    defect_class: Annotated[str, Field(min_length=1, max_length=64)]
    max_length_mm: _Positive | None = None
    max_area_mm2: _Positive | None = None
    max_count: Annotated[int, Field(strict=True, ge=0, le=10_000)] | None = None
    min_area_mm2: _Positive | None = None
    zone: Zone | None = None

    def __post_init__(self) -> None:
        if self.max_length_mm is None and self.max_area_mm2 is None and self.max_count is None:
            raise ValueError("it limits nothing: give max_length_mm, max_area_mm2 or max_count")
        if self.min_area_mm2 is not None and self.max_count is None:
            raise ValueError("min_area_mm2 says what max_count counts: give max_count, or remove it")
        if self.min_area_mm2 is not None and self.max_area_mm2 is not None and self.min_area_mm2 > self.max_area_mm2:
            raise ValueError(
                f"min_area_mm2 {self.min_area_mm2:g} is above max_area_mm2 {self.max_area_mm2:g}: nothing could be counted "
                "that is not rejected by its area already"
            )

    @property
    def bounds_size(self) -> bool:
        return self.max_length_mm is not None or self.max_area_mm2 is not None

    def covers(self, finding: Measured) -> bool:
        """Whether this limit bounds the size of all of that finding."""
        return self.bounds_size and (self.zone is None or self.zone.holds(*finding.box_mm))

    def applies_to(self, finding: Measured) -> bool:
        """Whether this limit has a say on that finding: it may be of its class, and it touches its zone."""
        return self.defect_class in finding.may_be and (self.zone is None or self.zone.touches(*finding.box_mm))


@dataclass(frozen=True, slots=True)
class Dimensions:
    """A recipe's scale and its dimension limits.

    `mm_per_px` is of the frame as received (0: that of the camera's commissioning, which is put in before parts are judged),
    `uncertainty` the share by which the true scale may be larger: dimensions are held against limits enlarged by it. A defect's
    outline is where classes together are as likely as `outline`. A finding beyond a limit rejects, whatever the score. With
    `overrule_score`, a part above the score limit passes if all of what raises it belongs to findings whose limits hold.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    mm_per_px: Annotated[float, Field(strict=True, gt=0, le=1000)] = 0.0
    uncertainty: Annotated[float, Field(strict=True, ge=0, le=0.5)] = 0.0
    outline: Annotated[float, Field(strict=True, ge=0.1, le=0.9)] = 0.5
    overrule_score: Annotated[bool, Field(strict=True)] = False
    limit: Annotated[tuple[DimensionLimit, ...], Field(max_length=256)] = ()

    def __post_init__(self) -> None:
        if self.overrule_score and not self.limit:
            raise ValueError("overrule_score needs limits that hold instead: add [[…dimensions.limit]], or remove it")
        seen: set[tuple[str, Zone | None]] = set()
        for limit in self.limit:
            if (limit.defect_class, limit.zone) in seen:
                raise ValueError(
                    f'two limits are for class "{limit.defect_class}" in the same place: make one of them, or give zones'
                )
            seen.add((limit.defect_class, limit.zone))
            if self.overrule_score and not limit.bounds_size:
                raise ValueError(
                    f'the limit of class "{limit.defect_class}" bounds no size, so with overrule_score it would pass any '
                    "number of defects of any size up to its count: give max_length_mm or max_area_mm2"
                )


def read_dimensions(table: Dimensions | Mapping[str, Any] | None) -> Dimensions | None:
    """The dimensions that a recipe's table, found sound, gives."""
    return TypeAdapter(Dimensions).validate_python(table) if isinstance(table, Mapping) else table


def check_dimensions(dimensions: Dimensions, classes: Sequence[str], outlines_classes: bool) -> None:
    """Raise ConfigError unless a model of these `classes` can be held against the limits; names every problem."""
    problems = []
    if not dimensions.mm_per_px > 0:
        problems.append("the scale is not known: give mm_per_px, or a reference with a calibration in [health.CAMERA]")
    if not outlines_classes:
        problems.append(
            "the bundle's model outlines no classes, so nothing can be measured: use a bundle of the kind segmentation, or "
            "remove the table"
        )
    if unknown := sorted({limit.defect_class for limit in dimensions.limit} - set(classes)):
        problems.append(
            f"no class of the bundle is called {', '.join(unknown)}: its classes are {', '.join(classes)}; correct defect_class"
        )
    if problems:
        raise ConfigError("; ".join(problems))


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that does not hold: which findings break it, by their place in the measurement, and the words for it."""

    findings: tuple[int, ...]
    words: str


def breaches(measurement: Measurement, dimensions: Dimensions) -> list[Breach]:
    """Every limit that does not hold, in the recipe's order."""
    found: list[Breach] = []
    longer, larger = 1 + dimensions.uncertainty, (1 + dimensions.uncertainty) ** 2
    for limit in dimensions.limit:
        concerned = [(n, m) for n, m in enumerate(measurement.found) if limit.applies_to(m)]
        for number, one in concerned:
            # `not <=`: what is no number breaks the limit.
            if limit.max_length_mm is not None and not one.size.length_mm * longer <= limit.max_length_mm:
                words = (
                    f"{_name(one, limit)} is {one.size.length_mm:.3g} mm long, the limit is {limit.max_length_mm:g} mm"
                )
                found.append(Breach((number,), words + _at(one)))
            if limit.max_area_mm2 is not None and not one.size.area_mm2 * larger <= limit.max_area_mm2:
                words = f"{_name(one, limit)} has {one.size.area_mm2:.3g} mm², the limit is {limit.max_area_mm2:g} mm²"
                found.append(Breach((number,), words + _at(one)))
        least = limit.min_area_mm2 or 0.0
        counted = tuple(
            number
            for number, one in concerned
            if one.finding.defect_class == limit.defect_class and not one.size.area_mm2 * larger < least
        )
        if limit.max_count is not None and len(counted) > limit.max_count:
            found.append(
                Breach(counted, f"{len(counted)} findings of {limit.defect_class}, the limit is {limit.max_count}")
            )
    if measurement.too_many and dimensions.limit:
        found.append(Breach((), f"more than {len(measurement.found)} findings: too many to measure"))
    return found


def is_excused(
    measurement: Measurement, dimensions: Dimensions, anomaly_map: NDArray[np.float32] | None, score_limit: float
) -> bool:
    """Whether all evidence above the score limit lies on findings that limits cover; `breaches` must be empty for a PASS.

    False if any finding is not covered, wherever it is: it may hold some of the evidence that lies beside a covered one.
    `anomaly_map` is float32 (rows, columns) of the same cells as the measurement. False without a map, or where the score is
    above its limit and no cell of the map is: then nothing shows what raised it.
    """
    if not dimensions.overrule_score or anomaly_map is None:
        return False
    evidence = ~(anomaly_map <= np.float64(score_limit))
    if not evidence.any() or not measurement.found:
        return False
    if not all(_is_covered(one, dimensions.limit) for one in measurement.found):
        return False
    mask = (measurement.labels > 0).astype(np.uint8)
    window = np.ones((2 * REACH_CELLS + 1, 2 * REACH_CELLS + 1), np.uint8)
    return not (evidence & (cv2.dilate(mask, window) == 0)).any()


def _is_covered(finding: Measured, limits: Sequence[DimensionLimit]) -> bool:
    """Whether each class that the finding may be has a limit that covers it."""
    return all(any(limit.defect_class == name and limit.covers(finding) for limit in limits) for name in finding.may_be)


def _name(one: Measured, limit: DimensionLimit) -> str:
    own = one.finding.defect_class
    return own if own == limit.defect_class else f"{own}, which may be {limit.defect_class},"


def _at(one: Measured) -> str:
    return f" (at x {one.size.x_mm:.3g}, y {one.size.y_mm:.3g} mm)"
