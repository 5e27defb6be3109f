"""What the pipeline knows of its stations: the recipe, the model that serves it, and the bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inspector.decision.dimensions import Dimensions
from inspector.imaging.check import CheckSpec
from inspector.imaging.locate import LocationSpec
from inspector.inference.batching import Batcher
from inspector.part import Limits


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a station inspects and how. Sizes in pixels of the model's input; `channels` is 1 or 3."""

    name: str
    bundle: str
    classes: tuple[str, ...]
    limits: Limits
    width_px: int
    height_px: int
    channels: int
    deadline_ms: int
    location: LocationSpec
    check: CheckSpec
    dimensions: Dimensions | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """A recipe and the model that serves it. Without a `batcher` (no usable bundle) parts are UNKNOWN/NOT_READY for `fault`."""

    recipe: Recipe
    batcher: Batcher | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Station:
    """One camera's place on the line. It judges by one of `setups`, first by that of the recipe `first`, unless `stopped`."""

    name: str
    camera: str
    setups: Mapping[str, Setup]
    first: str
    max_in_flight: int = 64
    max_gap: int = 1000
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a camera is told when its stream opens."""

    station: str
    recipe: str
    bundle: str
    deadline_ms: int
    max_frame_bytes: int
    next_trigger: int
