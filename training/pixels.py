"""How well anomaly maps outline defects: pixel AUROC and AUPRO against masks, in memory that does not grow with the images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.part import Box

INTEGRATION_LIMIT = 0.3
"""False-positive rate up to which the PRO curve is integrated, as in MVTec AD's own evaluation."""
_BITS = 20
_BINS = 1 << _BITS
_CURVE_POINTS = 200


@dataclass(frozen=True, slots=True)
class PixelResult:
    """`auroc` over pixels and `aupro` over defect regions.

    `curve` is (false-positive rate, per-region overlap), up to the integration limit. `images` counts those that have pixels
    here, `without_mask` the defective ones left out, whose truth is not known.
    """

    auroc: float | None
    aupro: float | None
    regions: int
    images: int
    without_mask: int
    curve: tuple[tuple[float, float], ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "integration_limit": INTEGRATION_LIMIT}


class PixelMeter:
    """Takes in one map and mask after the other and keeps only counts by map value.

    Values fall into 2^20 bins by the first 20 bits of their float32 form, that is to 0.05 % of themselves. So one pass is
    enough, and no range has to be known before.
    """

    def __init__(self) -> None:
        self._good = np.zeros(_BINS, np.int64)
        self._defective = np.zeros(_BINS, np.int64)
        self._overlap = np.zeros(_BINS, np.float64)
        self._regions = self._images = self._without_mask = 0

    def skip(self) -> None:
        """A defective image without a usable mask."""
        self._without_mask += 1

    def add(
        self,
        anomaly_map: NDArray[np.float32],
        region: Box,
        mask: NDArray[np.bool_],
        ignored: NDArray[np.bool_] | None = None,
    ) -> None:
        """One image: float32 (rows, columns) over `region`; bool (height, width) of the frame, True where defective.

        The map is brought to the mask's resolution linearly. Defective pixels outside the region count as never found, other
        pixels outside it, and all that are `ignored`, bool (height, width), not at all.
        """
        x, y = region.x_px, region.y_px
        inside = (slice(y, y + region.height_px), slice(x, x + region.width_px))
        values = cv2.resize(anomaly_map, (region.width_px, region.height_px), interpolation=cv2.INTER_LINEAR)
        bins = np.zeros(mask.shape, np.int32)  # bin 0 lies below all finite values
        bins[inside] = _bin(np.asarray(values, np.float32))
        free = np.zeros(mask.shape, np.bool_)
        free[inside] = ~mask[inside]
        counted = mask if ignored is None else mask & ~ignored
        if ignored is not None:
            free &= ~ignored
        self._good += np.bincount(bins[free], minlength=_BINS)
        self._images += 1
        if counted.any():
            self._add_regions(bins, counted)

    def _add_regions(self, bins: NDArray[np.int32], mask: NDArray[np.bool_]) -> None:
        """8-connected regions, as MVTec AD's evaluation joins them."""
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        labels_here, bins_here = labels[mask], bins[mask]
        area = np.bincount(labels_here, minlength=count)
        np.add.at(self._defective, bins_here, 1)
        np.add.at(self._overlap, bins_here, 1.0 / area[labels_here])
        self._regions += count - 1

    def result(self) -> PixelResult:
        """What all images together give; None for what needs good or defective pixels that there are none of.

        Sources: AUPRO by Bergmann, Fauser, Sattlegger and Steger, "Uninformed Students", CVPR 2020, section 4.1, and
        "The MVTec Anomaly Detection Dataset", IJCV 129, 2021: the mean share of each connected defect region that is above a
        threshold, against the share of all other pixels above it, integrated up to 0.3 and divided by 0.3.
        """
        negatives, positives = int(self._good.sum()), int(self._defective.sum())
        if not negatives or not positives:
            return PixelResult(None, None, self._regions, self._images, self._without_mask, ())
        filled = np.flatnonzero(self._good + self._defective)[::-1]  # highest values first
        fpr = np.concatenate([[0.0], np.cumsum(self._good[filled]) / negatives])
        tpr = np.concatenate([[0.0], np.cumsum(self._defective[filled]) / positives])
        pro = np.concatenate([[0.0], np.cumsum(self._overlap[filled]) / self._regions])
        grid = np.linspace(0, INTEGRATION_LIMIT, _CURVE_POINTS)
        return PixelResult(
            float(np.trapezoid(tpr, fpr)),
            _area_up_to(fpr, pro, INTEGRATION_LIMIT) / INTEGRATION_LIMIT,
            self._regions,
            self._images,
            self._without_mask,
            tuple(zip(grid.tolist(), np.interp(grid, fpr, pro).tolist(), strict=True)),
        )


def _bin(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Bin numbers in the order of the values, from 1 on."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    # Negative floats count backwards in their bits: turned over, all are in order.
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return np.asarray(np.maximum(ordered >> np.uint32(32 - _BITS), 1), np.int32)


def _area_up_to(x: NDArray[np.float64], y: NDArray[np.float64], limit: float) -> float:
    """Integral of the curve from 0 to `limit` by trapezoids, the last one cut at the limit."""
    last = int(np.searchsorted(x, limit, side="right"))
    xs = np.concatenate([x[:last], [limit]])
    ys = np.concatenate([y[:last], [float(np.interp(limit, x, y))]])
    return float(np.trapezoid(ys, xs))
