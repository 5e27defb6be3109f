"""Where in the picture is the part? Driven by the recipe: everywhere, in a fixed region, a blob, or like a template.

The rules of a location are values; `location_from_dict` and `location_to_dict` in `location_spec` read and write them.
"""

from __future__ import annotations

from typing import assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import FrameError
from inspector.imaging.guard import check_inside
from inspector.imaging.location_spec import (
    BlobLocation,
    FixedRegion,
    LocationSpec,
    NoLocation,
    TemplateLocation,
    location_from_dict,
    location_to_dict,
)
from inspector.imaging.normalise import resize, to_8_bit, to_grey
from inspector.imaging.pixels import Pixels, as_uint8
from inspector.part import Box, Image, Reason

__all__ = [
    "BlobLocation",
    "FixedRegion",
    "LocationSpec",
    "NoLocation",
    "TemplateLocation",
    "locate",
    "location_from_dict",
    "location_to_dict",
]

# A blob is looked for in a picture of at most this many pixels along its longer side, and light is estimated on a grid.
_BLOB_SIDE_PX = 400
_LIGHT_GRID = 32
_GRID_V, _GRID_U = np.mgrid[-1 : 1 : _LIGHT_GRID * 1j, -1 : 1 : _LIGHT_GRID * 1j].reshape(2, -1)
_GRID_TERMS = np.stack([_GRID_U**0, _GRID_U, _GRID_V, _GRID_U**2, _GRID_U * _GRID_V, _GRID_V**2], axis=-1)
_GRID_EDGE = np.maximum(np.abs(_GRID_U), np.abs(_GRID_V)) > 1 - 3 / _LIGHT_GRID
_EVERYWHERE = np.ones_like(_GRID_EDGE)
# A template is first looked for where its shorter side still has this many pixels.
_TEMPLATE_SIDE_PX = 12
_CANDIDATES = 3


def locate(image: Image, spec: LocationSpec) -> Box:
    """The box to inspect, in pixels of the picture and inside it.

    Errors: FrameError PART_NOT_FOUND, which says what was measured and what to do.
    """
    match spec:
        case NoLocation():
            return Box(0, 0, image.width_px, image.height_px)
        case FixedRegion():
            check_inside(spec.box, image, "the region")
            return spec.box
        case BlobLocation():
            return _locate_blob(image, spec)
        case TemplateLocation():
            return _locate_template(image, spec)
        case _:
            assert_never(spec)


def _not_found(message: str) -> FrameError:
    return FrameError(Reason.PART_NOT_FOUND, message)


# ---- blob


def _locate_blob(image: Image, spec: BlobLocation) -> Box:
    """Box of the largest connected area that is darker or brighter than its surroundings, with margin, cut to the picture."""
    size = (image.width_px, image.height_px)
    while max(size) > _BLOB_SIDE_PX:
        size = (max(1, size[0] // 2), max(1, size[1] // 2))
    grey = to_grey(to_8_bit(resize(image.pixels, *size), image.bits))
    mask = _above_background(grey, spec) if spec.threshold is None else _beyond(grey, spec.threshold, spec.polarity)
    # Joins what a scratch or a specular spot cuts apart, and drops single pixels.
    kernel = np.ones((3, 3), np.uint8)
    mask = np.asarray(
        cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel), cv2.MORPH_CLOSE, kernel), np.uint8
    )
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    per_pixel = (image.width_px / size[0]) * (image.height_px / size[1])
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])) if count > 1 else 0
    area = float(stats[largest, cv2.CC_STAT_AREA]) * per_pixel if largest else 0.0
    if area < spec.min_area_px or not largest:
        raise _not_found(
            f"the largest {spec.polarity} area has {area:.0f} px, needed {spec.min_area_px}: check that the part is in view, "
            "or lower min_area_px in the recipe"
        )
    x, y, width, height = (int(value) for value in stats[largest, :4])
    across, down = image.width_px / size[0], image.height_px / size[1]
    left = max(0, int(x * across) - spec.margin_px)
    top = max(0, int(y * down) - spec.margin_px)
    right = min(image.width_px, int(np.ceil((x + width) * across)) + spec.margin_px)
    bottom = min(image.height_px, int(np.ceil((y + height) * down)) + spec.margin_px)
    return Box(left, top, right - left, bottom - top)


def _beyond(grey: NDArray[np.uint8], threshold: float, polarity: str) -> NDArray[np.uint8]:
    """Mask, 0 or 1, of pixels beyond the recipe's own threshold."""
    return (grey < threshold if polarity == "dark" else grey > threshold).astype(np.uint8)


def _above_background(grey: NDArray[np.uint8], spec: BlobLocation) -> NDArray[np.uint8]:
    """Mask, 0 or 1, of pixels that stand out of the background by Otsu's threshold (IEEE Trans. SMC 9, 1979).

    Uneven light would split the background, so a smooth surface is fitted to it and taken away first.
    Errors: FrameError PART_NOT_FOUND if nothing stands out by `spec.min_contrast`.
    """
    difference = grey.astype(np.float32) - _background(grey)
    if spec.polarity == "dark":
        difference = -difference
    standing_out = np.rint(np.clip(difference, 0, 255)).astype(np.uint8)
    _, mask = cv2.threshold(standing_out, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    part = mask.astype(bool)
    inside = float(difference[part].mean()) if part.any() else 0.0
    outside = float(difference[~part].mean()) if not part.all() else 0.0
    if inside - outside < spec.min_contrast:
        raise _not_found(
            f"no {spec.polarity} area stands out: its contrast is {inside - outside:.1f} grey levels of 255, needed "
            f"{spec.min_contrast:g}: check the light and that the part is in view, or lower min_contrast in the recipe"
        )
    return np.asarray(mask, np.uint8)


def _background(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The background's brightness behind the part, float32 (height, width): a quadratic surface fitted to what is not part.

    It starts from the picture's edge, where a part seldom is all around, and drops what does not fit; then it takes in
    what proves to be background elsewhere.
    """
    height, width = grey.shape
    values = resize(grey, _LIGHT_GRID, _LIGHT_GRID).reshape(-1).astype(np.float64)
    kept, surface = _GRID_EDGE, values
    # A plane first: a curved surface could bend to a part that touches the edge.
    for allowed, count in ((_GRID_EDGE, 3), (_GRID_EDGE, 3), (_GRID_EDGE, 6), (_EVERYWHERE, 6), (_EVERYWHERE, 6)):
        terms = _GRID_TERMS[kept, :count]
        # The ridge is far below any real term: it only keeps a fit to few cells solvable.
        factors = np.linalg.solve(terms.T @ terms + 1e-6 * np.eye(count), terms.T @ values[kept])
        surface = _GRID_TERMS[:, :count] @ factors
        misfit = np.abs(values - surface)
        # The median deviation times 1.4826 is the standard deviation of normal noise; one grey level for rounding.
        kept = allowed & (misfit < 2.5 * (1.4826 * float(np.median(misfit[kept])) + 1.0))
    smooth = surface.reshape(_LIGHT_GRID, _LIGHT_GRID).astype(np.float32)
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


# ---- template


def _locate_template(image: Image, spec: TemplateLocation) -> Box:
    """Box where the template fits best, by normalised correlation from coarse to fine.

    Score: zero-mean normalised cross-correlation, −1…1, independent of brightness and contrast (Lewis, "Fast Normalized
    Cross-Correlation", 1995). Rotation and scale are not searched.
    """
    search = spec.search or Box(0, 0, image.width_px, image.height_px)
    check_inside(search, image, "the search region")
    template = spec.template
    if template.shape[0] > search.height_px or template.shape[1] > search.width_px:
        raise _not_found(
            f"the template of {template.shape[1]} × {template.shape[0]} px is larger than the searched "
            f"{search.width_px} × {search.height_px} px: enlarge the search region, or cut a smaller template"
        )
    crop = image.pixels[search.y_px : search.y_px + search.height_px, search.x_px : search.x_px + search.width_px]
    score, x, y = _best_match(_pyramid(_grey(crop, image.bits), template))
    if score < spec.min_score:
        raise _not_found(
            f"the template fits best with {score:.2f} at x {search.x_px + x}, y {search.y_px + y} px, needed "
            f"{spec.min_score:g}: check that the part is in view and lit as in the template, or lower min_score in the recipe"
        )
    found = Box(search.x_px + x, search.y_px + y, template.shape[1], template.shape[0])
    if spec.region is None:
        return found
    region = Box(
        found.x_px + spec.region.x_px, found.y_px + spec.region.y_px, spec.region.width_px, spec.region.height_px
    )
    check_inside(region, image, "the region beside the found template")
    return region


def _grey(pixels: Pixels, bits: int) -> NDArray[np.uint8]:
    return to_grey(to_8_bit(pixels, bits))


Level = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def _pyramid(picture: NDArray[np.uint8], template: NDArray[np.uint8]) -> list[Level]:
    """(picture, template) pairs, finest first, each half the size of the one before."""
    levels = [(picture, template)]
    while min(levels[-1][1].shape) >= 2 * _TEMPLATE_SIDE_PX:
        fine = levels[-1]
        levels.append((_halve(fine[0]), _halve(fine[1])))
    return levels


def _halve(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return as_uint8(resize(pixels, max(1, pixels.shape[1] // 2), max(1, pixels.shape[0] // 2)))


def _best_match(levels: list[Level]) -> tuple[float, int, int]:
    """Score and top left corner of the best match: the best few of the coarsest level, followed down."""
    coarse, small = levels[-1]
    scores = _correlate(coarse, small)
    candidates: list[tuple[float, int, int]] = []
    for _ in range(_CANDIDATES):
        _, score, _, (x, y) = cv2.minMaxLoc(scores)
        candidates.append((score, x, y))
        scores[
            max(0, y - small.shape[0] // 2) : y + small.shape[0] // 2 + 1,
            max(0, x - small.shape[1] // 2) : x + small.shape[1] // 2 + 1,
        ] = -1.0
    for picture, template in reversed(levels[:-1]):
        candidates = [_refine(picture, template, 2 * x, 2 * y) for _, x, y in candidates]
    return max(candidates)


def _refine(picture: NDArray[np.uint8], template: NDArray[np.uint8], x: int, y: int) -> tuple[float, int, int]:
    """Best match within two pixels of (x, y)."""
    height, width = template.shape
    left = min(max(0, x - 2), picture.shape[1] - width)
    top = min(max(0, y - 2), picture.shape[0] - height)
    scores = _correlate(picture[top : y + 3 + height, left : x + 3 + width], template)
    _, score, _, (dx, dy) = cv2.minMaxLoc(scores)
    return score, left + dx, top + dy


def _correlate(picture: NDArray[np.uint8], template: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Normalised correlation at every position of the template; OpenCV answers 0 where the picture is flat."""
    return np.asarray(cv2.matchTemplate(picture, template, cv2.TM_CCOEFF_NORMED), np.float32)
