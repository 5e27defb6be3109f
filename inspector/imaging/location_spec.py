"""The rules of a location as values, and their form in recipes and bundle manifests."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ConfigError, FrameError
from inspector.imaging.archive import unarchive
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.normalise import to_8_bit, to_grey
from inspector.imaging.png import write_png
from inspector.part import Box

_TEMPLATE_LIMITS = DecodeLimits(max_frame_bytes=16 * 1024 * 1024, max_pixels=4_000_000)


@dataclass(frozen=True, slots=True)
class NoLocation:
    """The whole picture is inspected."""


@dataclass(frozen=True, slots=True)
class FixedRegion:
    """The same box of every picture is inspected."""

    box: Box

    def __post_init__(self) -> None:
        _check_box(self.box, "the region")


@dataclass(frozen=True, slots=True)
class BlobLocation:
    """The largest dark or bright area is inspected, with `margin_px` around it.

    `threshold` is on the 8-bit scale; None lets Otsu's method find it, after uneven light is taken away. An area must stand
    out by `min_contrast` grey levels of 255 (not used with a threshold) and have `min_area_px` pixels.
    """

    min_area_px: int
    polarity: Literal["dark", "bright"] = "bright"
    margin_px: int = 0
    threshold: float | None = None
    min_contrast: float = 16.0

    def __post_init__(self) -> None:
        if self.polarity not in ("dark", "bright"):
            raise ConfigError(f"polarity is {self.polarity!r}, expected 'dark' or 'bright'")
        if self.min_area_px < 1 or self.margin_px < 0:
            raise ConfigError(
                f"min_area_px is {self.min_area_px} and margin_px {self.margin_px}, expected at least 1 and 0 pixels"
            )
        for name in ("threshold", "min_contrast"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 255:
                raise ConfigError(f"{name} is {value}, expected 0 to 255 on the 8-bit scale")


@dataclass(frozen=True, slots=True, eq=False)
class TemplateLocation:
    """The place that looks most like a template is inspected.

    `template` is uint8 (height, width), grey. `search` is the part of the picture that is searched (None: all of it);
    `min_score` the correlation needed, above 0 to 1. `region` is what is inspected, relative to the template's top left
    corner, where x and y may be negative (None: the template's own box).
    """

    template: NDArray[np.uint8] = field(repr=False)
    search: Box | None = None
    min_score: float = 0.7
    region: Box | None = None

    def __post_init__(self) -> None:
        if self.template.ndim != 2 or self.template.dtype != np.uint8 or min(self.template.shape) < 4:
            raise ConfigError(
                f"the template is {self.template.dtype} {self.template.shape}, expected grey uint8 of at least 4 × 4 px"
            )
        if float(self.template.std()) < 2.0:
            raise ConfigError(
                "the template has no contrast, so it fits everywhere: cut one with an edge or a mark in it"
            )
        if not 0 < self.min_score <= 1 or math.isnan(self.min_score):
            raise ConfigError(f"min_score is {self.min_score}, expected above 0 and up to 1")
        if self.search is not None:
            _check_box(self.search, "search")
        if self.region is not None and min(self.region.width_px, self.region.height_px) < 1:
            raise ConfigError(
                f"the region is {self.region.width_px} × {self.region.height_px} px, expected at least 1 × 1"
            )


LocationSpec = NoLocation | FixedRegion | BlobLocation | TemplateLocation

_KEYS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "none": (frozenset(), frozenset()),
    "region": (frozenset({"x_px", "y_px", "width_px", "height_px"}), frozenset()),
    "blob": (frozenset({"min_area_px"}), frozenset({"polarity", "margin_px", "threshold", "min_contrast"})),
    "template": (frozenset(), frozenset({"template", "template_png", "search", "min_score", "region"})),
}


def location_from_dict(d: Mapping[str, Any], base: Path) -> LocationSpec:
    """Read a location from a recipe or a bundle's manifest.

    `kind` is "none", "region", "blob" or "template". A template is a JPEG or PNG file (`template`, relative to `base`) or
    a PNG file in base64 (`template_png`, as `location_to_dict` writes it, so that a bundle needs no second file).
    Errors: ConfigError.
    """
    kind = d.get("kind", "none")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise ConfigError(f"location kind is {kind!r}, expected one of {', '.join(_KEYS)}")
    needed, optional = _KEYS[kind]
    given = set(d) - {"kind"}
    if unknown := sorted(map(str, given - needed - optional)):
        known = ", ".join(sorted(needed | optional)) or "no more keys"
        raise ConfigError(f"location of kind {kind!r} has the unknown key {', '.join(unknown)}, expected {known}")
    if missing := sorted(needed - given):
        raise ConfigError(f"location of kind {kind!r} lacks {', '.join(missing)}")
    values = {key: d[key] for key in given}
    if kind == "region":
        return FixedRegion(_box(values, "the region"))
    if kind == "blob":
        return _blob(values)
    return _template(values, base) if kind == "template" else NoLocation()


def location_to_dict(spec: LocationSpec) -> dict[str, Any]:
    """The inverse of `location_from_dict`, of plain JSON values; a template is embedded, so that no file is needed."""
    if isinstance(spec, NoLocation):
        return {"kind": "none"}
    if isinstance(spec, FixedRegion):
        return {"kind": "region", **_box_to_dict(spec.box)}
    if isinstance(spec, BlobLocation):
        blob = {"min_area_px": spec.min_area_px, "polarity": spec.polarity, "margin_px": spec.margin_px}
        threshold = {} if spec.threshold is None else {"threshold": spec.threshold}
        return {"kind": "blob", **blob, "min_contrast": spec.min_contrast, **threshold}
    png = base64.b64encode(write_png(spec.template)).decode("ascii")
    boxes = {"search": spec.search, "region": spec.region}
    given = {name: _box_to_dict(box) for name, box in boxes.items() if box is not None}
    return {"kind": "template", "template_png": png, "min_score": spec.min_score, **given}


def _blob(values: dict[str, Any]) -> BlobLocation:
    polarity = values.get("polarity", "bright")
    if polarity not in ("dark", "bright"):
        raise ConfigError(f"polarity is {polarity!r}, expected 'dark' or 'bright'")
    threshold = values.get("threshold")
    return BlobLocation(
        min_area_px=_whole(values["min_area_px"], "min_area_px"),
        polarity=polarity,
        margin_px=_whole(values.get("margin_px", 0), "margin_px"),
        threshold=None if threshold is None else _number(threshold, "threshold"),
        min_contrast=_number(values.get("min_contrast", 16.0), "min_contrast"),
    )


def _template(values: dict[str, Any], base: Path) -> TemplateLocation:
    search, region = values.get("search"), values.get("region")
    return TemplateLocation(
        template=_template_pixels(values, base),
        search=None if search is None else _box(search, "search"),
        min_score=_number(values.get("min_score", 0.7), "min_score"),
        region=None if region is None else _box(region, "region"),
    )


def _template_pixels(values: dict[str, Any], base: Path) -> NDArray[np.uint8]:
    """Grey uint8 pixels of the template's file or embedded PNG."""
    if ("template" in values) == ("template_png" in values):
        raise ConfigError(
            "location of kind 'template' needs either template (a file) or template_png (base64), not both"
        )
    embedded, file = values.get("template_png"), values.get("template")
    source = "template_png" if file is None else f"the template {str(file)!r}"
    try:
        # Both readers say ValueError: for what is not base64, and for a name with a null byte.
        data = (base / str(file)).read_bytes() if file is not None else base64.b64decode(str(embedded), validate=True)
        image = decode(unarchive(data, _TEMPLATE_LIMITS), _TEMPLATE_LIMITS)
    except OSError as error:
        raise ConfigError(f"{source} cannot be read ({error.strerror}): check the path") from error
    except ValueError as error:
        raise ConfigError(f"{source} cannot be read ({error}): give a file name, or a PNG file in base64") from error
    except FrameError as error:
        raise ConfigError(f"{source} is no usable picture: {error}") from error
    return to_grey(to_8_bit(image.pixels, image.bits))


def _box(value: object, what: str) -> Box:
    names = ("x_px", "y_px", "width_px", "height_px")
    if not isinstance(value, Mapping) or set(value) != set(names):
        raise ConfigError(f"{what} is {value!r}, expected a table of {', '.join(names)}")
    return Box(*(_whole(value[name], f"{what}.{name}") for name in names))


def _box_to_dict(box: Box) -> dict[str, int]:
    return {"x_px": box.x_px, "y_px": box.y_px, "width_px": box.width_px, "height_px": box.height_px}


def _whole(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{what} is {value!r}, expected a whole number of pixels")
    return value


def _number(value: object, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ConfigError(f"{what} is {value!r}, expected a number")
    return float(value)


def _check_box(box: Box, what: str) -> None:
    if box.x_px < 0 or box.y_px < 0 or box.width_px < 1 or box.height_px < 1:
        raise ConfigError(
            f"{what} is x {box.x_px}, y {box.y_px}, {box.width_px} × {box.height_px} px, expected a corner at 0 or more and "
            "at least 1 × 1 px"
        )
