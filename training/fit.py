"""From a data set to a fitted model with its limit: survey, split by part, fit, calibrate, test."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import inspector
from inspector.errors import DataError
from inspector.imaging.locate import LocationSpec, NoLocation
from inspector.inference.manifest import LimitBasis, TilingSpec
from inspector.part import Limits
from training.calibration.costs import Costs, cost_limit
from training.calibration.limits import (
    check_promise,
    good_limit,
    lots_differ,
    of_pictures_with_areas_to_ignore,
    part_count,
    parts_needed,
    region_limit,
    with_counts,
)
from training.calibration.outlook import Outlook, look_out
from training.calibration.scored import PartScore, ScoredParts, good_images, lots_of, score_parts, worst_images
from training.data.dont_care import MOST_EXAMPLES
from training.data.duplicates import GroupBy, Parts, find_parts, group_images, label_conflicts
from training.data.image_list import ImageList, KnownImage, image_list
from training.data.input_size import MAX_SIDE_PX, InputSize, asked_size, size_for
from training.data.marks import has_ignored
from training.data.published import marks_in_a_split
from training.data.reading import Preparation
from training.data.samples import GOOD, Dataset, printable
from training.data.splits import Role, Split, SplitEntry, SplitShares, make_split
from training.data.survey import Survey, survey
from training.data.tiles import check_tiling
from training.data.training_set import LabelledImages, region_of_interest
from training.exporting.golden import GoldenFrame as GoldenFrame
from training.exporting.golden import golden_frames
from training.exporting.kept import KeptImages, keep_images
from training.models.kind import DoubtedLabel, Doubting, InspectionModel, LearnsFrom
from training.models.registry import DEFAULT_KIND, model_kind
from training.models.scoring import score_images
from training.models.tiled import begin
from training.progress import Progress, silent, stage
from training.statistics import Rate, auroc, counted

log = logging.getLogger(__name__)

MAX_TILED_SIDE_PX = 8192
MAX_SEED = 2**63 - 1
"""What torch's generators and a database column both take."""
_ODDEST = 5
_DOUBTED = 20
_DEFECTS_TO_WEIGH = 0.5
"""Share of the defective parts that fit no model and choose a limit by cost; the others test it."""
_OF_SPOILT_PARTS = (
    "Hardly a part is good in all of its images: good images of parts that have a defective one stand for good parts."
)


@dataclass(frozen=True, slots=True)
class FitPlan:
    """What the caller decides. `seed` decides every random choice. With `costs` these choose the limit instead of the rate.

    `kind` is a name in the registry, `settings` what that kind takes, None for its defaults. `region_of_interest` is uint8
    grey of any size, bright where defects count, None for everywhere. With `tiling` the model sees tiles of pictures of that
    size, which must then be given.
    """

    width_px: int = 0
    height_px: int = 0
    """Of the model's input; 0 and 0 let the images and the kind decide."""
    channels: int = 0
    """1 or 3; 0 takes 1 if all images are grey, else 3."""
    location: LocationSpec = field(default_factory=NoLocation)
    seed: int = 0
    false_reject_rate: float = 0.01
    confidence: float = 0.95
    costs: Costs | None = None
    shares: SplitShares = field(default_factory=SplitShares)
    group_by: GroupBy = GroupBy.PART
    kind: str = DEFAULT_KIND
    settings: Any = None
    region_of_interest: NDArray[np.uint8] | None = None
    tiling: TilingSpec | None = None

    def __post_init__(self) -> None:
        check_promise(self.false_reject_rate, self.confidence)
        if not 0 <= self.seed <= MAX_SEED:
            raise DataError(f"got a seed of {self.seed}: give a whole number from 0 to {MAX_SEED}")
        if self.is_sized:
            asked_size(self.width_px, self.height_px, self.longest_side_px)
        if self.tiling is not None:
            if not self.is_sized:
                raise DataError("pictures are judged by tiles at a size that somebody gives: give --size with --tile")
            check_tiling(self.width_px, self.height_px, self.tiling)
        if self.channels not in (0, 1, 3):
            raise DataError(f"got {self.channels} channels: give 1 (grey), 3 (colour) or 0 (as the images are)")

    @property
    def longest_side_px(self) -> int:
        """How long a side of what is judged may be."""
        return MAX_SIDE_PX if self.tiling is None else MAX_TILED_SIDE_PX

    @property
    def is_sized(self) -> bool:
        return bool(self.width_px or self.height_px)


@dataclass(frozen=True, slots=True)
class TestResult:
    """How the limit judged the parts that neither fitted the model nor set the limit. Counts are of images."""

    auroc: float | None
    escapes: Rate
    false_rejects: Rate
    escapes_by_class: dict[str, Rate]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted model with all that a bundle needs; `kept` are images for the gate of its export, `images` all that it knows."""

    network: InspectionModel
    preparation: Preparation
    limits: Limits
    basis: LimitBasis
    golden: tuple[GoldenFrame, ...]
    kept: KeptImages
    images: ImageList
    dataset_digest: str
    provenance: dict[str, object]
    metrics: dict[str, object]
    region: NDArray[np.bool_] | None = None
    """Where defects count, bool (height_px, width_px), if pictures are judged by tiles; else the network itself knows."""


@dataclass(frozen=True, slots=True)
class FitOutcome:
    """A fitted model, the split it was fitted by and what was seen on the way.

    `oddest` are the good parts that the limit had to make room for, highest score first: (path, score) of the worst image
    of each. If one of them is not good, the limit is too high. `outlook` is what else could be promised, `size` the model's
    input. `doubts` are labels to look at again, where the kind tells any and sees whole pictures. `marks` says what a
    published split kept from the test, if it did.
    """

    fitted: Fitted
    survey: Survey
    split: Split
    test: TestResult
    oddest: tuple[tuple[str, float], ...]
    outlook: Outlook
    size: InputSize
    doubts: tuple[DoubtedLabel, ...] = ()
    marks: str = ""


def fit(dataset: Dataset, plan: FitPlan, progress: Progress = silent) -> FitOutcome:
    """Fit a model of the plan's kind, set its limit on good parts and test it. Raises DataError, ConfigError."""
    kind = model_kind(plan.kind)
    seen = survey(dataset, Preparation(plan.width_px, plan.height_px, 1, plan.location, tiling=plan.tiling), progress)
    _refuse_blank(seen)
    size = _input_size(seen, plan, kind.input_pixels)
    channels = plan.channels or seen.channels
    preparation = Preparation(size.width_px, size.height_px, channels, plan.location, tiling=plan.tiling)
    drawn = plan.region_of_interest
    counts = None if drawn is None else region_of_interest(drawn, preparation)
    found = find_parts(seen.images, progress)
    shares = _shares(plan, kind.learns_from, kind.defects_to_fit)
    split = split_survey(seen, shares, plan.seed, found, plan.group_by)
    marks = _marks(seen, split) if shares.defects_to_fit or shares.defects_to_calibrate else ""
    # The kind is handed the images to fit on, and no others.
    bare = LabelledImages(seen.dataset, split.entries, preparation, counts)
    to_fit = [index for index in _indices(split, Role.FIT) if bare.shows_what_counts(index)]
    examples = _examples(split, to_fit, seen.dataset)
    images = LabelledImages(seen.dataset, split.entries, preparation, counts, examples)
    taught = images.only(to_fit)
    settings = replace(kind.settings() if plan.settings is None else plan.settings, seed=plan.seed)
    fitter = begin(kind, taught, settings, progress)
    network = fitter.fit(range(len(taught)), progress)
    doubts = fitter.doubts if isinstance(fitter, Doubting) else ()  # before cross-fitting, which has doubts of its own
    unlearned = [i for i in to_fit if kind.learns_from is LearnsFrom.GOOD and split.entries[i].label != GOOD]
    parts = score_parts(split, images, taught, fitter, network, plan.seed, progress, unlearned)
    tested = [index for index in _indices(split, Role.TEST) if images.shows_what_counts(index)]
    test_scores = score_images(network, images, tested, stage(progress, "Testing", len(tested))).scores
    test_parts = worst_images(split, dict(zip(tested, test_scores.tolist(), strict=True)), dataset)
    limits, basis, outlook = _set_limit(plan, parts, test_parts, _without_areas(parts, split, seen.dataset))
    basis = _with_published_tests(basis, split, seen.dataset)
    if found.crowded:
        told = f"No two of the {len(found.crowded)} pictures that look like twenty others or more show one part."
        basis = replace(basis, assumes=f"{basis.assumes} {told}".strip())
    test = _test_result([split.entries[i] for i in tested], test_scores, limits.score)
    scored = list(zip(tested, test_scores, strict=True))
    scored += list(zip(parts.images, parts.scores, strict=True))
    own_scores = dict(scored[: len(tested)] if parts.cross_fitted else scored)  # not those of the folds' models
    fitted = Fitted(
        network=network,
        preparation=preparation,
        limits=limits,
        basis=basis,
        golden=golden_frames(split, _whole(scored, split, seen.dataset), limits.score, preparation),
        kept=keep_images(images, tested, parts.images, to_fit, own_scores, cross_fitted=parts.cross_fitted),
        images=image_list(
            KnownImage(entry.role.value, image.sha256, image.pixels_sha256)
            for entry, image in zip(split.entries, seen.images, strict=True)
        ),
        dataset_digest=seen.digest,
        provenance=_provenance(seen, split, plan, network, size),
        metrics=_metrics(test, outlook, parts) | _doubted(doubts),
        region=None if plan.tiling is None else counts,
    )
    oddest = tuple((part.path, part.score) for part in parts.good[:_ODDEST])
    return FitOutcome(fitted, seen, split, test, oddest, outlook, size, doubts, marks)


def _input_size(seen: Survey, plan: FitPlan, pixels: int) -> InputSize:
    if plan.is_sized:
        return asked_size(plan.width_px, plan.height_px, plan.longest_side_px)
    return size_for(seen.images, pixels)


def _refuse_blank(seen: Survey) -> None:
    """A model of pictures that show nothing would be exported and judge nothing. Raises DataError."""
    blank = [image for image in seen.blank if image.sample.is_good]
    if 2 * len(blank) > len(seen.good):
        raise DataError(
            f"{len(blank)} of {len(seen.good)} images of good parts are blank, one grey value all over, such as "
            f"{printable(blank[0].sample.path)}: look at lens, light and exposure, and remove them"
        )


def _shares(plan: FitPlan, learns_from: LearnsFrom, defects_to_fit: float) -> SplitShares:
    shares = replace(plan.shares, calibration_parts=parts_needed(plan.false_reject_rate, plan.confidence))
    if learns_from is not LearnsFrom.GOOD and not shares.defects_to_fit:
        shares = replace(shares, defects_to_fit=defects_to_fit)
    if plan.costs is not None and not shares.defects_to_calibrate:
        shares = replace(shares, defects_to_calibrate=_DEFECTS_TO_WEIGH)
    return shares


def _marks(seen: Survey, split: Split) -> str:
    """What the published split kept from the test, in words; told before the minutes of work too, if it leaves few."""
    samples = [image.sample for image in seen.images]
    entries = split.entries
    marks = marks_in_a_split(samples, [entry.part for entry in entries], [entry.role for entry in entries])
    if marks is None:
        return ""
    if marks.leave_few:
        log.warning("%s", marks.text)
    return marks.text


def _with_published_tests(basis: LimitBasis, split: Split, dataset: Dataset) -> LimitBasis:
    """Says how many pictures of the published test set were not left for the test."""
    lent = sum(dataset.sample(e.path).published_split == "test" for e in split.entries if e.role is not Role.TEST)
    if not lent:
        return basis
    told = (
        f"{lent} pictures of the published test set fitted the model or set the limit: only there are defective parts."
    )
    return replace(basis, assumes=f"{basis.assumes} {told}".strip())


def _without_areas(parts: ScoredParts, split: Split, dataset: Dataset) -> tuple[int, int]:
    """Of the pictures that set the limit those that were scored without areas to ignore, and how many there are."""
    good = [index for index in parts.images if split.entries[index].label == GOOD]
    return sum(has_ignored(dataset.sample(split.entries[index].path)) for index in good), len(good)


def _set_limit(
    plan: FitPlan, parts: ScoredParts, test_parts: Sequence[PartScore], without_areas: tuple[int, int]
) -> tuple[Limits, LimitBasis, Outlook]:
    """The limit by promise or by cost, what the test parts say of it, and what else there is to choose."""
    test_good = [part for part in test_parts if part.label == GOOD]
    defects = [part for part in test_parts if part.label != GOOD]
    if plan.costs is None:
        # Defects had no say in this limit, so that all of them may be counted.
        defects += parts.defects

    def limit_of(some: Sequence[PartScore]) -> tuple[float, LimitBasis]:
        good = [part.score for part in some]
        cross_fitted = parts.cross_fitted
        if plan.costs is None:
            rate, lots = plan.false_reject_rate, lots_of(some)
            return good_limit(good, rate, plan.confidence, cross_fitted=cross_fitted, lots=lots)
        weighed = [part.score for part in parts.defects]
        return cost_limit(good, weighed, plan.costs, plan.confidence, cross_fitted=cross_fitted, seed=plan.seed)

    limit, basis = limit_of(parts.good)
    rejected = part_count(sum(part.score > limit for part in test_good), len(test_good), plan.confidence)
    passed = part_count(sum(part.score <= limit for part in defects), len(defects), plan.confidence)
    differing = lots_differ([part.score for part in parts.good], lots_of(parts.good))
    basis = of_pictures_with_areas_to_ignore(basis, *without_areas)
    counts = (rejected if test_good else None, passed if defects else None)
    basis = with_counts(basis, *counts, parts.fold_shift, of_differing_lots=differing)
    if parts.of_spoilt_parts:
        basis = replace(basis, assumes=f"{basis.assumes} {_OF_SPOILT_PARTS}")
    chosen = (limit, plan.false_reject_rate, plan.confidence)
    whole = not without_areas[0]
    outlook = look_out(parts.good, defects, chosen, limit_of, cross_fitted=parts.cross_fitted, as_the_line_sees=whole)
    return Limits(limit, region_limit(parts.maps, limit)), basis, outlook


def split_survey(seen: Survey, shares: SplitShares, seed: int, found: Parts, by: GroupBy = GroupBy.PART) -> Split:
    """Deal the surveyed images out, by part or lot. Raises DataError, also for contradicting labels."""
    if conflicts := label_conflicts(seen.images):
        pairs = "; ".join(
            " = ".join(printable(f"{image.sample.path} ({image.sample.label})") for image in same)
            for same in conflicts[:3]
        )
        raise DataError(
            f"{len(conflicts)} pictures are in the data set under two labels: {pairs}. Remove the wrong copies; "
            "`inspector-train check-data` lists all"
        )
    samples = [image.sample for image in seen.images]
    groups = group_images(seen.images, found.numbers, by)
    roles = make_split(samples, groups, shares, seed, found.numbers)
    entries = tuple(
        SplitEntry(sample.path, sample.label, group, role, part)
        for sample, group, role, part in zip(samples, groups, roles, found.numbers, strict=True)
    )
    return Split(seen.dataset.root, seed, seen.digest, entries)


def _indices(split: Split, role: Role) -> list[int]:
    return [index for index, entry in enumerate(split.entries) if entry.role is role]


def _examples(split: Split, to_fit: Sequence[int], dataset: Dataset) -> tuple[str, ...]:
    """Paths of a few pictures of good parts to fit on, in all of which everything counts."""
    good = [split.entries[index].path for index in good_images(split, to_fit)]
    return tuple([path for path in good if not has_ignored(dataset.sample(path))][:MOST_EXAMPLES])


def _whole(scored: Sequence[tuple[int, np.float32]], split: Split, dataset: Dataset) -> list[tuple[int, np.float32]]:
    """Those of which everything counts, if there are any: a golden picture is judged as it is."""
    whole = [pair for pair in scored if not has_ignored(dataset.sample(split.entries[pair[0]].path))]
    return whole or list(scored)


def _test_result(entries: Sequence[SplitEntry], scores: NDArray[np.float32], limit: float) -> TestResult:
    good = np.array([score for entry, score in zip(entries, scores, strict=True) if entry.label == GOOD])
    by_class: dict[str, list[float]] = {}
    for entry, score in zip(entries, scores, strict=True):
        if entry.label != GOOD:
            by_class.setdefault(entry.label, []).append(float(score))
    defective = np.array([score for scores in by_class.values() for score in scores])
    return TestResult(
        auroc=auroc(good, defective),
        escapes=counted(int((defective <= limit).sum()), len(defective)),
        false_rejects=counted(int((good > limit).sum()), len(good)),
        escapes_by_class={
            name: counted(sum(score <= limit for score in values), len(values))
            for name, values in sorted(by_class.items())
        },
    )


def _provenance(
    seen: Survey, split: Split, plan: FitPlan, network: InspectionModel, size: InputSize
) -> dict[str, object]:
    return {
        "data_set": printable(seen.dataset.root.name),
        "layout": seen.dataset.layout,
        **({"snapshot": seen.dataset.snapshot} if seen.dataset.snapshot else {}),
        "images": split.counts(),
        "parts": {role.value: len({entry.part for entry in split.of(role)}) for role in Role},
        "unreadable": len(seen.unreadable),
        "seed": plan.seed,
        "input": size.to_json(),
        "model": {"kind": network.kind, **network.structure()},
        "inspector": inspector.__version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def _metrics(test: TestResult, outlook: Outlook, parts: ScoredParts) -> dict[str, object]:
    return {
        "test": {
            "auroc": test.auroc,
            "escapes": test.escapes.to_json(),
            "false_rejects": test.false_rejects.to_json(),
            "interval": "Clopper-Pearson, 95 %",
        },
        "promises": outlook.to_json(),
        "fold_shift": parts.fold_shift,
        "oddest_good_parts": [[printable(part.path), part.score] for part in parts.good[:_ODDEST]],
    }


def _doubted(doubts: Sequence[DoubtedLabel]) -> dict[str, object]:
    """How many labels the model doubts and the worst of them; nothing if it doubts none."""
    if not doubts:
        return {}
    worst = [[printable(d.path), printable(d.label), printable(d.says), d.probability] for d in doubts[:_DOUBTED]]
    return {"doubted_labels": {"count": len(doubts), "worst": worst}}
