"""What masks tell: how large each defect is, and how well the anomaly maps outline it. Looks on while images are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from inspector.errors import DataError
from inspector.part import Box, Scores, Verdict
from training.data import marks
from training.data.samples import Dataset, Sample
from training.detection import Detection, defect_weights, probability_of_detection
from training.evaluate import Judged
from training.pixels import PixelMeter, PixelResult


@dataclass(frozen=True, slots=True)
class DefectSize:
    """Of one image, in its pixels: the length of its longest marked region, and the area of all of them."""

    length_px: float
    area_px: float


@dataclass
class MaskWatch:
    """Measures masks and maps of the images that pass by; `problems` are masks that could not be used, with the reason.

    `outlines` says that the model gave maps of classes, which outline findings whose lengths and areas a recipe may limit.
    """

    dataset: Dataset
    meter: PixelMeter = field(default_factory=PixelMeter)
    sizes: dict[str, DefectSize] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    has_maps: bool = False
    outlines: bool = False

    def __call__(self, sample: Sample, width_px: int, height_px: int, region: Box, scores: Scores) -> None:
        self.outlines = self.outlines or scores.class_maps is not None
        try:
            mask = marks.defects(self.dataset, sample, width_px, height_px)
            ignored = marks.ignored(self.dataset, sample, width_px, height_px)
        except DataError as error:
            self.problems[sample.path] = str(error)
            mask = ignored = None
        if mask is None or (not sample.is_good and not mask.any()):
            self.meter.skip()
            return
        counted = mask if ignored is None else mask & ~ignored
        if not sample.is_good and counted.any():
            self.sizes[sample.path] = defect_size(counted)
        if scores.anomaly_map is not None and np.isfinite(scores.anomaly_map).all():
            self.has_maps = True
            self.meter.add(scores.anomaly_map, region, mask, ignored)


@dataclass(frozen=True, slots=True)
class MaskResult:
    """PoD by `length` and by `area`, in `unit` and its square; `pixels` is None if the model has no maps."""

    unit: str
    mm_per_px: float | None
    sizes: dict[str, DefectSize]
    length: Detection
    area: Detection
    pixels: PixelResult | None
    problems: dict[str, str]

    def words(self, path: str) -> str:
        """ "12 px long", or an empty string for an image without a mask."""
        size = self.sizes.get(path)
        return "" if size is None else f"{size.length_px * (self.mm_per_px or 1.0):.3g} {self.unit} long"

    def to_json(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "mm_per_px": self.mm_per_px,
            "model": "logit PoD linear in ln size (MIL-HDBK-1823A), one count per part, 95 % one-sided bounds",
            "sizes_px": {path: [size.length_px, size.area_px] for path, size in self.sizes.items()},
            "length": self.length.to_json(),
            "area": self.area.to_json(),
            "pixels": None if self.pixels is None else self.pixels.to_json(),
            "mask_problems": self.problems,
        }


def mask_result(watch: MaskWatch, judged: Sequence[Judged], mm_per_px: float | None) -> MaskResult:
    """Sum up. A part counts once, however many of its images show the defect; UNKNOWN images are left out.

    With `mm_per_px` sizes are in mm, else in pixels of the image.
    """
    seen = [image for image in judged if image.path in watch.sizes and image.verdict is not Verdict.UNKNOWN]
    scale = mm_per_px or 1.0
    weights = defect_weights([image.part for image in seen]).tolist()
    found = [image.verdict is Verdict.REJECT for image in seen]
    sizes = watch.sizes
    return MaskResult(
        "px" if mm_per_px is None else "mm",
        mm_per_px,
        dict(sorted(sizes.items())),
        probability_of_detection([sizes[image.path].length_px * scale for image in seen], found, weights),
        probability_of_detection([sizes[image.path].area_px * scale**2 for image in seen], found, weights),
        watch.meter.result() if watch.has_maps else None,
        dict(sorted(watch.problems.items())),
    )


def defect_size(mask: NDArray[np.bool_]) -> DefectSize:
    """Of bool (height, width) with at least one True.

    The length is the largest distance between two points of an 8-connected region, pixel corners included: the maximum
    Feret diameter of ISO 13322-1:2014, as the inspector measures findings.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    lengths = (_length(np.asarray(contour, np.int32).reshape(-1, 2)) for contour in contours)
    return DefectSize(max(lengths), float(mask.sum()))


def _length(pixels: NDArray[np.int32]) -> float:
    corners = np.concatenate([pixels + np.array(step, np.int32) for step in ((0, 0), (0, 1), (1, 0), (1, 1))])
    hull = cv2.convexHull(corners.astype(np.int32)).reshape(-1, 2).astype(np.float64)
    return float(pdist(hull).max())
