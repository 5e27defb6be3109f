"""What the line file says of a camera's commissioning, opened: for camera health, and for those who report on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from inspector.decision.dimensions import Dimensions
from inspector.errors import ConfigError
from inspector.imaging.calibration.correct import Correction
from inspector.imaging.calibration.file import read_calibration
from inspector.imaging.calibration.flat import read_flat
from inspector.imaging.calibration.lens import Calibration, Scale
from inspector.imaging.calibration.straighten import straightener_of
from inspector.imaging.health.kinds import HealthLimits
from inspector.imaging.reference_set import CALIBRATION, FLAT, ReferenceSet, open_reference_set
from inspector.settings import HealthTable, LineSettings, RecipeTable
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
        reference_set = set_of(settings, camera)
        return Known(Care(reference_set.health(), reference_set.label, limits, table.frames_per_s), reference_set)
    except ConfigError as error:
        return Known(care, None, str(error))


def set_of(settings: LineSettings, camera: str) -> ReferenceSet:
    """The set that the line file names for a camera. Errors: ConfigError, also if it is of another camera or correction."""
    table = settings.file.health.get(camera)
    if table is None or not table.reference:
        raise ConfigError(
            f"there is no [health.{camera}] reference: take one with `inspector camera setup`, and name it"
        )
    reference_set = open_reference_set(settings.resolve(table.reference))
    if reference_set.camera != camera:
        raise ConfigError(
            f"reference {reference_set.path} is of camera {reference_set.camera}, not of {camera}: name its own"
        )
    wanted = corrections_of(settings, camera)
    if camera in settings.file.camera and reference_set.corrected != wanted:
        was, now = (", ".join(some) or "nothing" for some in (reference_set.corrected, wanted))
        raise ConfigError(
            f"reference {reference_set.path} was taken with {was} corrected, and [camera.{camera}] corrects {now}: take it anew"
        )
    return reference_set


def corrections_of(settings: LineSettings, camera: str) -> tuple[str, ...]:
    """What the camera program takes out of the pictures of a camera."""
    table = settings.file.camera.get(camera)
    return () if table is None else tuple(sorted(table.correct))


def correction_of(settings: LineSettings, camera: str) -> Correction | None:
    """How the camera program corrects the frames of a camera, None: not at all. Errors: ConfigError."""
    wanted = corrections_of(settings, camera)
    if not wanted:
        return None
    reference_set = set_of(settings, camera)
    flat = read_flat(reference_set.read(FLAT), str(reference_set.path / FLAT)) if "flat" in wanted else None
    lens = straightener_of(calibration_in(reference_set).lens) if "lens" in wanted else None
    return Correction(flat, lens)


def calibration_in(reference_set: ReferenceSet) -> Calibration:
    """The calibration of a set. Errors: ConfigError."""
    return read_calibration(reference_set.read(CALIBRATION), str(reference_set.path / CALIBRATION))


def scale_of(settings: LineSettings, recipe: str, view: str) -> Scale:
    """The scale of the one camera that takes that view for the recipe. Errors: ConfigError."""
    cameras = sorted(
        {
            station.by_view[view]
            for station in settings.file.station
            if recipe in (station.recipe, *station.recipes) and view in station.by_view
        }
    )
    if len(cameras) != 1:
        raise ConfigError(
            f"recipe {recipe} is used by {', '.join(cameras) or 'no camera'}, and mm_per_px comes from the reference of one: "
            "give mm_per_px, or each station a recipe of its own"
        )
    calibration = calibration_in(set_of(settings, cameras[0]))
    return calibration.straightened if "lens" in corrections_of(settings, cameras[0]) else calibration.as_seen


def with_scales(settings: LineSettings) -> LineSettings:
    """The settings with scale and uncertainty where a recipe leaves them to the reference. Errors: ConfigError."""
    recipes = {}
    for name, table in settings.file.recipe.items():
        recipes[name] = table.model_copy(update=dict(_scaled(settings, name, table)))
    return replace(settings, file=settings.file.model_copy(update={"recipe": recipes}))


def _scaled(settings: LineSettings, name: str, table: RecipeTable) -> Iterator[tuple[str, object]]:
    """What changes of a recipe: its dimensions, or its views with theirs."""
    if table.view:
        views = {
            view: one.model_copy(update={"dimensions": dimensions_of(settings, name, view, one.dimensions)})
            for view, one in table.view.items()
        }
        yield "view", views
    else:
        yield "dimensions", dimensions_of(settings, name, "", table.dimensions)


def dimensions_of(settings: LineSettings, recipe: str, view: str, dimensions: Dimensions | None) -> Dimensions | None:
    """The dimensions with scale and uncertainty of the reference, if they have none of their own. Errors: ConfigError."""
    if dimensions is None or dimensions.mm_per_px > 0:
        return dimensions
    scale = scale_of(settings, recipe, view)
    return replace(
        dimensions, mm_per_px=scale.mm_per_px, uncertainty=max(dimensions.uncertainty, round(scale.uncertainty, 6))
    )
