"""Plots of the report pages: labels lie beside what they tell of, not on it."""

from __future__ import annotations

import numpy as np
import pytest

from training.report.curves import Curve
from training.report.plots import LABEL, label_place, precision_recall_plot, roc_plot


def curve(y: np.ndarray, at_limit: tuple[float, float], band: float) -> Curve:
    x = np.linspace(0, 1, len(y))
    low, high = np.clip(y - band, 0, 1), np.clip(y + band, 0, 1)
    return Curve(tuple(x), tuple(y), tuple(x), tuple(low), tuple(high), 0.9, None, at_limit)


X = np.linspace(0, 1, 200)
CURVES = [
    pytest.param(curve(np.sqrt(X), (0.0, 0.4), 0.1), id="ROC, no false rejects"),
    pytest.param(curve(np.minimum(1, 30 * X), (0.05, 0.99), 0.01), id="ROC, nearly perfect"),
    pytest.param(curve(X, (0.5, 0.5), 0.1), id="ROC, guessing"),
    pytest.param(curve(1 - 0.15 * X**3, (0.41, 1.0), 0.08), id="precision, at the top"),
    pytest.param(curve(1 - 0.15 * X**3, (1.0, 0.85), 0.05), id="precision, everything caught"),
    pytest.param(curve(0.9 - 0.8 * X, (0.2, 0.74), 0.05), id="precision, falling to a tenth"),
]


@pytest.mark.parametrize("shown", CURVES)
def test_the_label_of_a_point_hides_neither_curve_nor_band(shown: Curve) -> None:
    left, bottom = label_place(shown)
    assert left >= 0
    assert bottom >= 0
    assert left + LABEL[0] <= 1.001
    assert bottom + LABEL[1] <= 1.001
    inside = (np.array(shown.grid) >= left) & (np.array(shown.grid) <= left + LABEL[0])
    covered = (np.array(shown.high)[inside] > bottom + 1e-6) & (np.array(shown.low)[inside] < bottom + LABEL[1] - 1e-6)
    assert covered.mean() < 0.05
    for plot in (roc_plot, precision_recall_plot):
        assert "the limit" in plot(shown)
