"""Scores of parts by models that were not fitted on them: of parts held out, or cross-fitted so that every part serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.samples import GOOD, Dataset
from training.data.splits import MIN_GROUPS, Role, Split
from training.data.training_set import LabelledImages
from training.models.kind import Fitter, InspectionModel
from training.models.scoring import score_images
from training.progress import Progress, stage

FOLDS = 5
_WITNESSES = 40
"""Test images of good parts that tell how the models of the folds differ from the final one."""


@dataclass(frozen=True, slots=True)
class PartScore:
    """A part's score: that of the image which is worst for it, the highest of a good part, the lowest of a defective one.

    `lot` is what it was made with, nothing if the data set does not say.
    """

    part: int
    path: str
    label: str
    score: float
    lot: str = ""


@dataclass(frozen=True, slots=True)
class ScoredParts:
    """What sets the limit: scores by models that were not fitted on those parts.

    `images` (numbers in the split), `scores` (n,) and `maps` (n, rows, columns) are of good parts. `defects` are
    defective parts held out with them or cross-fitted; test parts are not among them. `fold_shift` says how much higher
    the final model scores good test images than the models of the folds do, in units of the score, as a median; None if
    nothing was cross-fitted or there is no such image. `of_spoilt_parts` says that hardly a part is all good, so that good
    images of parts with a defective one are among these.
    """

    images: list[int]
    scores: NDArray[np.float32]
    maps: NDArray[np.float32]
    good: tuple[PartScore, ...]
    defects: tuple[PartScore, ...]
    cross_fitted: bool
    fold_shift: float | None = None
    of_spoilt_parts: bool = False


def score_parts(
    split: Split,
    images: LabelledImages,
    taught: LabelledImages,
    fitter: Fitter,
    network: InspectionModel,
    seed: int,
    progress: Progress,
    unlearned: Sequence[int] = (),
) -> ScoredParts:
    """Score the parts that set the limit. `images` are those of the split, `taught` those of them to fit on, in order.

    `unlearned` are defective images among the latter that taught the model nothing: they count as if they were held out.
    Good parts of their lot did teach it, which can only bring them nearer to good ones.
    """
    free = {*unlearned, *(index for index, entry in enumerate(split.entries) if entry.role is Role.CALIBRATION)}
    calibration = [index for index in sorted(free) if images.shows_what_counts(index)]
    scored = score_images(network, images, calibration, stage(progress, "Setting the limit", len(calibration)))
    held_out = dict(zip(calibration, scored.scores.tolist(), strict=True))
    good = good_images(split, calibration)
    if good:
        maps = np.stack([scored.maps[calibration.index(index)] for index in good])
        return _scored(split, images.dataset, good, held_out, maps, cross_fitted=False)
    numbers = [
        index for index, entry in enumerate(split.entries) if entry.role is Role.FIT and images.shows_what_counts(index)
    ]
    witnesses = images.only(good_images(split, range(len(split.entries)), Role.TEST)[:_WITNESSES])
    crossed, crossed_maps, shift = _cross_fit(taught, fitter, network, witnesses, seed, progress)
    scores = held_out | {numbers[image]: score for image, score in crossed.items()}
    good = good_images(split, [numbers[image] for image in sorted(crossed_maps)])
    by_number = {numbers[image]: values for image, values in crossed_maps.items()}
    maps = np.stack([by_number[index] for index in good])
    return _scored(split, images.dataset, good, scores, maps, cross_fitted=True, fold_shift=shift)


def good_images(split: Split, indices: Sequence[int], role: Role | None = None) -> list[int]:
    """Those of `indices` that stand for good parts. With a role, only those of it.

    Good images of a part that also has a defective one do not count, unless hardly a part is all good: see `spoilt_parts`.
    """
    spoilt, entries = spoilt_parts(split), split.entries
    return [
        i
        for i in indices
        if entries[i].label == GOOD and entries[i].part not in spoilt and role in (None, entries[i].role)
    ]


def spoilt_parts(split: Split) -> frozenset[int]:
    """Parts with a defective image, whose good images therefore do not count.

    None, if fewer parts are all good than a split needs, because every item has a bad surface or every lot a bad part: a
    model is then fitted on the good images of parts that have both (see `make_split`), and theirs are the scores there are.
    """
    defective = defective_parts(split)
    all_good = {entry.part for entry in split.entries} - defective
    return defective if len(all_good) >= MIN_GROUPS else frozenset()


def defective_parts(split: Split) -> frozenset[int]:
    """Parts with a defective image."""
    return frozenset(entry.part for entry in split.entries if entry.label != GOOD)


def lots_of(parts: Sequence[PartScore]) -> tuple[str, ...]:
    """The lot of each part, or nothing if that is known of none. Parts without one count as a lot of their own kind."""
    lots = tuple(part.lot for part in parts)
    return lots if any(lots) else ()


def worst_images(split: Split, scores: Mapping[int, float], dataset: Dataset) -> tuple[PartScore, ...]:
    """One score per part of the images in `scores`, {number in the split: score}, highest first.

    Of a defective part its defective images count, and the lowest score: it escapes if any of them passes. Its good images
    do not count, unless hardly a part is all good: then it has a score as a good part as well, see `spoilt_parts`.
    """
    spoilt = spoilt_parts(split)
    worst: dict[tuple[int, bool], PartScore] = {}
    for index, score in scores.items():
        entry = split.entries[index]
        is_good = entry.label == GOOD
        if is_good and entry.part in spoilt:
            continue
        known = worst.get((entry.part, is_good))
        if known is None or (score > known.score if is_good else score < known.score):
            worst[entry.part, is_good] = PartScore(
                entry.part, entry.path, entry.label, float(score), dataset.sample(entry.path).lot
            )
    return tuple(sorted(worst.values(), key=lambda part: -part.score))


def _scored(
    split: Split,
    dataset: Dataset,
    good: list[int],
    scores: dict[int, float],
    maps: NDArray[np.float32],
    *,
    cross_fitted: bool,
    fold_shift: float | None = None,
) -> ScoredParts:
    parts = worst_images(split, scores, dataset)
    return ScoredParts(
        good,
        np.array([scores[index] for index in good], np.float32),
        maps,
        tuple(part for part in parts if part.label == GOOD),
        tuple(part for part in parts if part.label != GOOD),
        cross_fitted,
        fold_shift,
        bool({split.entries[index].part for index in good} & defective_parts(split)),
    )


def _cross_fit(
    taught: LabelledImages,
    fitter: Fitter,
    network: InspectionModel,
    witnesses: LabelledImages,
    seed: int,
    progress: Progress,
) -> tuple[dict[int, float], dict[int, NDArray[np.float32]], float | None]:
    """Score each image to fit on by a model fitted on the parts of the other folds.

    Returns scores, and maps of good images, by number in `taught`, and how much higher the final model scores `witnesses`.
    """
    fold_of = folds(taught, seed)
    everything = range(len(taught))
    scores: dict[int, float] = {}
    maps: dict[int, NDArray[np.float32]] = {}
    seen: list[NDArray[np.float32]] = []
    report = stage(progress, "Setting the limit", len(taught))
    for fold in sorted(set(fold_of.values())):
        left_out = [image for image in everything if fold_of[taught.part(image)] == fold]
        model = fitter.fit([image for image in everything if fold_of[taught.part(image)] != fold])
        scored = score_images(model, taught, left_out, _from(report, len(scores)))
        scores.update(zip(left_out, scored.scores.tolist(), strict=True))
        maps.update({i: m for i, m in zip(left_out, scored.maps, strict=True) if taught.is_good(i)})
        seen.append(score_images(model, witnesses, range(len(witnesses)), lambda done: None).scores)
    if not len(witnesses):
        return scores, maps, None
    final = score_images(network, witnesses, range(len(witnesses)), lambda done: None).scores
    return scores, maps, float(np.median(final - np.mean(seen, axis=0)))


def folds(taught: LabelledImages, seed: int) -> dict[int, int]:
    """A fold for each part, or lot where lots are kept together; those with a defective image are dealt after the others,
    so that every fold has its share."""
    defective = {taught.part(image) for image in range(len(taught)) if not taught.is_good(image)}
    teaching = {taught.part(image) for image in range(len(taught)) if taught.is_good(image)}
    good = sorted(teaching - defective)
    random = np.random.default_rng((seed, 1))
    order = [good[index] for index in random.permutation(len(good))]
    order += [sorted(defective)[index] for index in random.permutation(len(defective))]
    # Items that all have a bad surface, and lots that have a bad part, teach by their good ones: no fold may have them all.
    if len(good) < FOLDS:
        order.sort(key=lambda part: part not in teaching)
    count = min(FOLDS, len(teaching))
    return {part: position % count for position, part in enumerate(order)}


def _from(report: Callable[[int], None], start: int) -> Callable[[int], None]:
    return lambda done: report(start + done)
