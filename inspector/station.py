"""What the pipeline knows of its stations: the recipe, the model that serves it, and the bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inspector.decision.dimensions import Dimensions
from inspector.imaging.check import CheckSpec
from inspector.imaging.locate import LocationSpec
from inspector.inference.batching import Batcher
from inspector.part import Limits


@dataclass(frozen=True, slots=True)
class View:
    """How a recipe judges one view. Sizes in pixels of the model's input; `channels` is 1 or 3. The only view has no name."""

    name: str
    bundle: str
    classes: tuple[str, ...]
    limits: Limits
    width_px: int
    height_px: int
    channels: int
    location: LocationSpec
    check: CheckSpec
    dimensions: Dimensions | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a station inspects and how: all views of a part, within one budget."""

    name: str
    deadline_ms: int
    views: tuple[View, ...]

    @property
    def bundle(self) -> str:
        """What judges the part: the bundle of the only view, or a label of its own for the bundles of all."""
        labels = [view.bundle for view in self.views]
        return labels[0] if len(labels) == 1 else bundles_label(labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """Defect classes of all views, each once, in their order."""
        return tuple(dict.fromkeys(name for view in self.views for name in view.classes))


def bundles_label(labels: Sequence[str]) -> str:
    """The label of several bundles that judge together: their names, and a digest of their labels. Empty if one is missing."""
    if not all(labels):
        return ""
    names = "+".join(label.rpartition("@")[0] for label in labels)
    return f"{names}@{hashlib.sha256(' '.join(labels).encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Setup:
    """A recipe and the models that serve it, by view. Without them parts are UNKNOWN/NOT_READY for `fault`."""

    recipe: Recipe
    batchers: Mapping[str, Batcher]
    fault: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether every view has its model."""
        return bool(self.batchers)


@dataclass(frozen=True, slots=True)
class Station:
    """A place on the line, with a camera for each view of its recipes.

    `cameras` are by view. It judges by one of `setups`, first by that of the recipe `first`, unless `stopped`.
    """

    name: str
    cameras: Mapping[str, str]
    setups: Mapping[str, Setup]
    first: str
    max_in_flight: int = 64
    max_gap: int = 1000
    stopped: bool = False

    def view_of(self, camera: str) -> str:
        """Which view a camera takes."""
        return next(view for view, name in self.cameras.items() if name == camera)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a camera is told when its stream opens."""

    station: str
    recipe: str
    bundle: str
    deadline_ms: int
    max_frame_bytes: int
    next_trigger: int
    view: str = ""
