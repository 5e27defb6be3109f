"""What the line file says of a camera's commissioning, opened: for camera health, and for those who report on it."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.errors import ConfigError
from inspector.imaging.health.kinds import HealthLimits
from inspector.imaging.reference_set import ReferenceSet, open_reference_set
from inspector.settings import HealthTable, LineSettings
from inspector.watching import Care


@dataclass(frozen=True, slots=True)
class Known:
    """A camera's care, the set that its reference comes from, and why there is none although the line file names one."""

    care: Care
    reference_set: ReferenceSet | None = None
    fault: str = ""


def known_of(settings: LineSettings, camera: str) -> Known:
    """What is known of a camera. A reference that cannot be used is told in `fault`: the line runs without it."""
    table = settings.file.health.get(camera, HealthTable())
    limits = HealthLimits(**{kind: getattr(table, kind) for kind in HealthLimits.__dataclass_fields__})
    care = Care(None, "", limits, table.frames_per_s)
    if not table.reference:
        return Known(care)
    try:
        reference_set = open_reference_set(settings.resolve(table.reference))
        if reference_set.camera != camera:
            raise ConfigError(
                f"reference {reference_set.path} is of camera {reference_set.camera}, not of {camera}: name its own"
            )
        return Known(Care(reference_set.health(), reference_set.label, limits, table.frames_per_s), reference_set)
    except ConfigError as error:
        return Known(care, None, str(error))
