"""Pixel AUROC and AUPRO against their definitions, computed threshold by threshold."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from inspector.part import Box
from training.pixels import INTEGRATION_LIMIT, PixelMeter

SIDE = 40


def _scene(
    seed: int, blobs: int, shift: float = 1.5, offset: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    mask = np.zeros((SIDE, SIDE), np.bool_)
    for _ in range(blobs):
        x, y, size = (*random.integers(0, SIDE - 8, 2).tolist(), int(random.integers(1, 8)))
        mask[y : y + size, x : x + size] = True
    values = random.normal(offset, 1, (SIDE, SIDE)) + shift * mask
    return values.astype(np.float32), mask


def _by_definition(maps: list[NDArray[np.float32]], masks: list[NDArray[np.bool_]]) -> float:
    """Mean overlap per region and false-positive rate at every threshold, trapezoids up to the limit."""
    thresholds = np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]
    regions = []
    for values, mask in zip(maps, masks, strict=True):
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        regions += [values[labels == label] for label in range(1, count)]
    free = np.concatenate([values[~mask] for values, mask in zip(maps, masks, strict=True)])
    fpr = np.array([0.0, *((free >= t).mean() for t in thresholds)])
    pro = np.array([0.0, *(np.mean([(region >= t).mean() for region in regions]) for t in thresholds)])
    # Steps straight up have several overlaps at one rate: integrate the points themselves, not an interpolation.
    below = fpr <= INTEGRATION_LIMIT
    x, y = np.append(fpr[below], INTEGRATION_LIMIT), np.append(pro[below], np.interp(INTEGRATION_LIMIT, fpr, pro))
    return float(np.trapezoid(y, x)) / INTEGRATION_LIMIT


@pytest.mark.parametrize("offset", [0.0, 1000.0, -50.0, 1e-6], ids=["about zero", "large", "negative", "tiny offset"])
def test_both_figures_are_those_of_the_definition(offset: float) -> None:
    scenes = [_scene(seed, blobs, offset=offset) for seed, blobs in enumerate([3, 1, 0, 5, 0])]
    meter = PixelMeter()
    for values, mask in scenes:
        meter.add(values, Box(0, 0, SIDE, SIDE), mask)
    result = meter.result()
    maps, masks = [values for values, _ in scenes], [mask for _, mask in scenes]
    truth, values = np.concatenate([m.ravel() for m in masks]), np.concatenate([v.ravel() for v in maps])
    # At 1000 a bin is 0.5 wide, half a standard deviation of these maps: what 0.05 % of the value means.
    close = 5e-4 if abs(offset) < 10 else 0.02
    assert result.auroc == pytest.approx(metrics.roc_auc_score(truth, values), abs=close)
    assert result.aupro == pytest.approx(_by_definition(maps, masks), abs=close)
    assert result.images == 5


def test_a_perfect_map_scores_one_and_a_blind_one_the_diagonal() -> None:
    mask = _scene(0, 4)[1]
    perfect, blind = PixelMeter(), PixelMeter()
    perfect.add(mask.astype(np.float32), Box(0, 0, SIDE, SIDE), mask)
    blind.add(np.full((4, 4), 0.5, np.float32), Box(0, 0, SIDE, SIDE), mask)
    assert (perfect.result().auroc, perfect.result().aupro) == pytest.approx((1.0, 1.0))
    assert blind.result().auroc == pytest.approx(0.5)
    assert blind.result().aupro == pytest.approx(INTEGRATION_LIMIT / 2)


def test_a_small_region_weighs_as_much_as_a_large_one() -> None:
    """The large region is found, the pixel beside it is not: half of the regions, nearly all of the pixels."""
    mask, values = np.zeros((SIDE, SIDE), np.bool_), np.zeros((SIDE, SIDE), np.float32)
    mask[:20] = mask[30, 30] = True
    values[:20] = 1.0
    values[30, 30] = -1.0
    meter = PixelMeter()
    meter.add(values, Box(0, 0, SIDE, SIDE), mask)
    assert meter.result().regions == 2
    assert meter.result().aupro == pytest.approx(0.5)
    assert meter.result().auroc > 0.99  # type: ignore[operator]


def test_corners_that_touch_are_one_region() -> None:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[3, 3] = mask[4, 4] = True
    meter = PixelMeter()
    meter.add(mask.astype(np.float32), Box(0, 0, SIDE, SIDE), mask)
    assert meter.result().regions == 1


def test_the_map_lies_over_its_region_and_defects_outside_are_never_found() -> None:
    mask, values = np.zeros((20, 30), np.bool_), np.zeros((10, 10), np.float32)
    mask[6, 8] = True  # in the region, at its row 1 and column 3
    mask[18, 28] = True  # outside
    values[1, 3] = 9.0
    meter = PixelMeter()
    meter.add(values, Box(5, 5, 10, 10), mask)
    result = meter.result()
    assert result.regions == 2
    assert result.aupro == pytest.approx(0.5)


def test_ignored_pixels_count_neither_way() -> None:
    mask, ignored = np.zeros((SIDE, SIDE), np.bool_), np.zeros((SIDE, SIDE), np.bool_)
    mask[:5, :5] = True
    ignored[10:20] = True
    values = mask.astype(np.float32)
    values[10:20] = 5.0  # above every defect, but nobody cares
    meter = PixelMeter()
    meter.add(values, Box(0, 0, SIDE, SIDE), mask, ignored)
    assert meter.result().aupro == pytest.approx(1.0)


@pytest.mark.parametrize("blobs", [0, 1], ids=["no defect", "defect only"])
def test_without_both_kinds_of_pixels_there_is_no_figure(blobs: int) -> None:
    meter = PixelMeter()
    mask = np.full((8, 8), bool(blobs))
    meter.add(np.ones((8, 8), np.float32), Box(0, 0, 8, 8), mask)
    meter.skip()
    result = meter.result()
    assert (result.auroc, result.aupro, result.curve, result.without_mask) == (None, None, (), 1)
