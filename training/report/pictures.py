"""Pictures of judged images with their heat map and the drawn mask, as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import DataError
from inspector.imaging.normalise import to_8_bit
from inspector.inference.engine import Engine
from inspector.part import Box, Image, Scores
from training.data import marks
from training.data.reading import read_frame
from training.data.samples import Dataset, Sample
from training.evaluate import Judged
from training.progress import Progress, silent, track
from training.successor import preparation_of

SHOWN = 8
_LONG_SIDE_PX = 300
_GAP_PX = 4
_STRENGTH = 0.6
_QUALITY = 82


@dataclass(frozen=True, slots=True)
class Picture:
    """`uri` shows the image with its mask's outline and, beside it, the same under the heat map if the model has one."""

    image: Judged
    uri: str


def worst_escapes(judged: Sequence[Judged], count: int = SHOWN) -> list[Judged]:
    """Those that looked best to the model first, one image per part."""
    return _one_per_part(sorted((i for i in judged if i.is_escape), key=lambda i: (i.score or 0.0, i.path)), count)


def worst_false_rejects(judged: Sequence[Judged], count: int = SHOWN) -> list[Judged]:
    """Those that looked worst to the model first, one image per part."""
    return _one_per_part(
        sorted((i for i in judged if i.is_false_reject), key=lambda i: (-(i.score or 0.0), i.path)), count
    )


def pictures(
    engines: Sequence[Engine], dataset: Dataset, images: Sequence[Judged], progress: Progress = silent
) -> list[Picture]:
    """Draw `images`, each judged again for the map of every engine. One that can no longer be read is left out."""
    drawn = []
    for image in track(images, "Drawing pictures", progress):
        try:
            drawn.append(Picture(image, _draw(engines, dataset, image)))
        except DataError:
            continue  # it was readable a minute ago; the table still names it
    return drawn


def _one_per_part(images: Sequence[Judged], count: int) -> list[Judged]:
    seen: dict[int, Judged] = {}
    for image in images:
        seen.setdefault(image.part, image)
    return list(seen.values())[:count]


def _draw(engines: Sequence[Engine], dataset: Dataset, judged: Judged) -> str:
    sample = dataset.sample(judged.path)
    preparation = preparation_of(engines[0].bundle)
    image = preparation.image(read_frame(dataset.root / sample.path, preparation.limits))
    pixels = to_8_bit(image.pixels, image.bits)
    colour = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR if pixels.ndim == 2 else cv2.COLOR_RGB2BGR)
    scale = _LONG_SIDE_PX / max(image.width_px, image.height_px)
    size = (max(round(image.width_px * scale), 1), max(round(image.height_px * scale), 1))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    plain = np.asarray(cv2.resize(colour, size, interpolation=how), np.uint8)
    panels = [plain]
    for engine in engines:
        prepared = preparation_of(engine.bundle)
        region = prepared.region(image)
        scores = engine.infer(prepared.model_input(image, region)[None])[0]
        if scores.anomaly_map is not None and np.isfinite(scores.anomaly_map).all():
            panels.append(_heated(plain, scores, region, scale, engine.bundle.manifest.limits.region))
    mask = _mask(dataset, sample, image)
    if mask is not None and mask.any():
        outline = _outline(mask, size)
        panels = [_outlined(panel, outline) for panel in panels]
    gap = np.full((size[1], _GAP_PX, 3), 255, np.uint8)
    joined = np.hstack([part for panel in panels for part in (panel, gap)][:-1])
    data = cv2.imencode(".jpg", joined, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _mask(dataset: Dataset, sample: Sample, image: Image) -> NDArray[np.bool_] | None:
    if sample.is_good:
        return None
    try:
        return marks.defects(dataset, sample, image.width_px, image.height_px)
    except DataError:
        return None  # the data report has it


def _heated(plain: NDArray[np.uint8], scores: Scores, region: Box, scale: float, limit: float) -> NDArray[np.uint8]:
    """The map over the picture: clear where it is usual for this image, strongest from the limit of findings on."""
    assert scores.anomaly_map is not None
    usual = float(np.median(scores.anomaly_map))
    top = max(limit, usual + 1e-9)
    left, upper = round(region.x_px * scale), round(region.y_px * scale)
    width = max(min(round(region.width_px * scale), plain.shape[1] - left), 1)
    height = max(min(round(region.height_px * scale), plain.shape[0] - upper), 1)
    values = cv2.resize(scores.anomaly_map, (width, height), interpolation=cv2.INTER_LINEAR)
    heat = np.sqrt(np.clip((values - usual) / (top - usual), 0, 1))  # so that weak traces are seen too
    colours = cv2.applyColorMap((80 + 175 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
    share = (_STRENGTH * heat)[..., None]
    result = plain.copy()
    below = result[upper : upper + height, left : left + width]
    below[:] = (below * (1 - share) + colours * share).astype(np.uint8)
    return result


def _outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> Sequence[NDArray[np.int32]]:
    # Reduced by its maximum, so that a fine scratch does not vanish from the picture.
    shrunk = cv2.resize(mask.astype(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 0
    grown = cv2.dilate(shrunk.astype(np.uint8), np.ones((5, 5), np.uint8))
    contours, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [np.asarray(contour, np.int32) for contour in contours]


def _outlined(panel: NDArray[np.uint8], outline: Sequence[NDArray[np.int32]]) -> NDArray[np.uint8]:
    """White on black, which shows on any picture and in any print."""
    result = panel.copy()
    cv2.drawContours(result, outline, -1, (0, 0, 0), 3)
    cv2.drawContours(result, outline, -1, (255, 255, 255), 1)
    return result
