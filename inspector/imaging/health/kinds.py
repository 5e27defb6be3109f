"""What can go wrong with a camera's picture, in the order in which causes hide each other."""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields

from inspector.errors import ConfigError
from inspector.imaging.health.measure import PROBES_PX


class Kind(enum.IntEnum):
    """A way in which a picture is no longer what it was. The numbers are kept in the quality database: never renumbered."""

    LIGHT = 1
    SATURATION = 2
    FLICKER = 3
    FOCUS = 4
    VIBRATION = 5
    DIRT = 6
    VIGNETTING = 7
    UNEVEN_LIGHT = 8
    COLOUR = 9
    MOVED = 10


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """How far a picture may be from its reference before that is an alarm; 0 switches a kind off.

    light: change of brightness, share. saturation: clipped pixels beyond those of the reference, share of the picture.
    flicker: deviation of brightness from frame to frame beyond that of the reference, share. focus: blur in all directions that
    even the best fifth of the frames has, its deviation in pixels. vibration: blur in one direction beyond the others that the
    worst fifth has, likewise. dirt: what has become darker or brighter in place, share of the picture. vignetting: corners
    against the centre, share. uneven_light: one side against the other, share. colour: red or blue against green, share.
    moved: shift of what stands still, share of the longer side.
    Errors: ConfigError for a limit that no picture could meet or miss.
    """

    light: float = 0.10
    saturation: float = 0.01
    flicker: float = 0.03
    focus: float = 0.8
    vibration: float = 0.8
    dirt: float = 0.0005
    vignetting: float = 0.10
    uneven_light: float = 0.15
    colour: float = 0.05
    moved: float = 0.01

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            most = PROBES_PX[-1] if each.name in ("focus", "vibration") else 1.0
            if not 0 <= value <= most:
                raise ConfigError(f"{each.name} is {value}, expected 0 to {most:g}: 0 switches the alarm off")

    def of(self, kind: Kind) -> float:
        """The limit of one kind."""
        return float(getattr(self, kind.name.lower()))
