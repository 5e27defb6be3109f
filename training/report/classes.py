"""How far the class names and class probabilities of a model can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn import metrics

from inspector.part import Verdict
from training.data.samples import GOOD
from training.evaluate import Judged
from training.statistics import Rate, counted

UNKNOWN = "not judged"
_BINS = 10


@dataclass(frozen=True, slots=True)
class Reliability:
    """One bin of the reliability diagram: mean probability of the class named, and how often it was right."""

    confidence: float
    right: Rate


@dataclass(frozen=True, slots=True)
class Classes:
    """`confusion` counts images by true label (rows) and by what was said (columns), named by `rows` and `columns`.

    A passed image counts as said to be good, a rejected one as its strongest class. `calibrated_on` defective images of the
    bundle's classes give the figures of calibration. `by_cell`: the score of a class is the highest probability of any cell of
    the image, not how likely the image is to show it.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy: Rate
    macro_f1: float
    calibrated_on: int
    reliability: tuple[Reliability, ...]
    expected_calibration_error: float | None
    brier: float | None
    by_cell: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def class_result(judged: Sequence[Judged], classes: Sequence[str], *, by_cell: bool = False) -> Classes | None:
    """Sum up class scores, which are those of cells if `by_cell`; None if the model gives none.

    Expected calibration error: mean over images of |confidence - accuracy| of their bin, ten bins of equal width, for the
    class named (Guo, Pleiss, Sun and Weinberger, ICML 2017). Brier score: mean over images of the squared differences between
    class scores and truth, summed over classes (Brier, Monthly Weather Review 78, 1950): 0 is perfect.
    """
    if not any(image.class_scores for image in judged):
        return None
    truth = [image.label for image in judged]
    said = [_said(image) for image in judged]
    rows = tuple(sorted(set(truth), key=lambda name: (name != GOOD, name)))
    columns = tuple(sorted({*rows, *said}, key=lambda name: (name == UNKNOWN, name != GOOD, name)))
    confusion = np.zeros((len(rows), len(columns)), np.int64)
    for true, named in zip(truth, said, strict=True):
        confusion[rows.index(true), columns.index(named)] += 1
    right = sum(a == b for a, b in zip(truth, said, strict=True))
    known = [image for image in judged if image.class_scores and image.label in classes]
    reliability, error, brier = _calibration(known, classes)
    return Classes(
        rows,
        columns,
        tuple(tuple(row) for row in confusion.tolist()),
        counted(right, len(judged)),
        float(metrics.f1_score(truth, said, labels=list(rows), average="macro", zero_division=0)),
        len(known),
        reliability,
        error,
        brier,
        by_cell,
    )


def _said(image: Judged) -> str:
    if image.verdict is Verdict.PASS:
        return GOOD
    if image.verdict is Verdict.UNKNOWN or not image.class_scores:
        return UNKNOWN
    return max(image.class_scores, key=lambda name: image.class_scores[name])


def _calibration(
    known: Sequence[Judged], classes: Sequence[str]
) -> tuple[tuple[Reliability, ...], float | None, float | None]:
    if not known:
        return (), None, None
    scores = np.array([[image.class_scores.get(name, 0.0) for name in classes] for image in known])
    truth = np.array([[image.label == name for name in classes] for image in known], np.float64)
    confidence, named = scores.max(axis=1), scores.argmax(axis=1)
    right = truth[np.arange(len(known)), named] > 0
    bins = np.clip((confidence * _BINS).astype(int), 0, _BINS - 1)
    reliability, error = [], 0.0
    for number in np.unique(bins):
        here = bins == number
        mean, share = float(confidence[here].mean()), float(right[here].mean())
        reliability.append(Reliability(mean, counted(int(right[here].sum()), int(here.sum()))))
        error += float(here.mean()) * abs(mean - share)
    return tuple(reliability), error, float(((scores - truth) ** 2).sum(axis=1).mean())
