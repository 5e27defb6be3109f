"""From a bundle and images of known truth to everything that an evaluation says of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import inspector
from inspector.errors import ConfigError, DataError
from inspector.inference.bundle import Bundle
from inspector.inference.engine import Engine
from inspector.inference.manifest import LimitBasis
from training.data.duplicates import group_by_part
from training.data.reading import read_frame
from training.data.samples import Dataset
from training.data.splits import Split
from training.data.survey import survey
from training.evaluate import Evaluation, evaluate
from training.progress import Progress, silent
from training.report.classes import Classes, class_result
from training.report.counts import Counts, count
from training.report.curves import Curves, curves
from training.report.latency import RUNS, Latency, measure_latency
from training.report.leaks import DataCheck, check_data
from training.report.masks import MaskResult, MaskWatch, mask_result
from training.report.pictures import Picture, pictures, worst_escapes, worst_false_rejects
from training.report.words import Summary, summary
from training.successor import preparation_of


@dataclass(frozen=True, slots=True)
class Plan:
    """How to evaluate. `mm_per_px` is the scale of the images; `latency_runs` of 0 leaves timing out."""

    provider: str = "CPU"
    threads: int = 0
    mm_per_px: float | None = None
    latency_runs: int = RUNS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mm_per_px is not None and not 0 < self.mm_per_px < 1e6:
            raise ConfigError(f"a scale of {self.mm_per_px} mm per pixel cannot be; give how many mm a pixel shows")
        if self.latency_runs < 0:
            raise ConfigError(f"{self.latency_runs} latency runs cannot be; give 0 to leave them out")


@dataclass(frozen=True, slots=True)
class Report:
    """Everything said of one bundle on one set of images; `escapes` and `false_rejects` are the worst, as pictures."""

    bundle: str
    model_kind: str
    limit: float
    basis: LimitBasis
    provider: str
    created_time: datetime
    version: str
    evaluation: Evaluation
    summary: Summary
    counts: Counts
    curves: Curves
    masks: MaskResult
    classes: Classes | None
    data: DataCheck
    latency: Latency | None
    escapes: tuple[Picture, ...]
    false_rejects: tuple[Picture, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; pictures are named, not contained."""
        return {
            **self.evaluation.to_json(),
            "model_kind": self.model_kind,
            "basis": asdict(self.basis),
            "provider": self.provider,
            "created_time": self.created_time.isoformat(),
            "inspector": self.version,
            "summary": self.summary.to_json(),
            "counts": self.counts.to_json(),
            "curves": self.curves.to_json(),
            "masks": self.masks.to_json(),
            "class_probabilities": None if self.classes is None else self.classes.to_json(),
            "data": self.data.to_json(),
            "latency": None if self.latency is None else self.latency.to_json(),
            "worst_escapes": [picture.image.path for picture in self.escapes],
            "worst_false_rejects": [picture.image.path for picture in self.false_rejects],
        }


def build_report(
    bundle: Bundle, dataset: Dataset, split: Split | None, plan: Plan, progress: Progress = silent
) -> Report:
    """Judge the images and say all there is to say. Raises DataError, BundleError, EngineError."""
    preparation = preparation_of(bundle)
    seen = survey(dataset, preparation, progress)
    groups = group_by_part(seen.images, progress)
    parts = {image.sample.path: group for image, group in zip(seen.images, groups, strict=True)}
    watch = MaskWatch(seen.dataset)
    evaluation = evaluate(
        bundle,
        dataset,
        split,
        provider=plan.provider,
        threads=plan.threads,
        parts=parts,
        watch=watch,
        progress=progress,
    )
    counts, data = count(evaluation), check_data(bundle, seen, groups, split)
    engine = Engine(bundle, plan.provider, plan.threads)
    worst, odd = worst_escapes(evaluation.judged), worst_false_rejects(evaluation.judged)
    drawn = pictures([engine], dataset, [*worst, *odd], progress)
    manifest = bundle.manifest
    return Report(
        bundle=bundle.label,
        model_kind=manifest.model_kind,
        limit=manifest.limits.score,
        basis=manifest.basis,
        provider=plan.provider,
        created_time=datetime.now(UTC).replace(microsecond=0),
        version=inspector.__version__,
        evaluation=evaluation,
        summary=summary(counts, manifest.basis, data, outlines=watch.outlines),
        counts=counts,
        curves=curves(evaluation.judged, manifest.limits.score, seed=plan.seed),
        masks=mask_result(watch, evaluation.judged, plan.mm_per_px),
        classes=class_result(evaluation.judged, manifest.classes, by_cell=watch.outlines),
        data=data,
        latency=_latency(bundle, dataset, evaluation, plan, progress),
        escapes=tuple(picture for picture in drawn if picture.image.is_escape),
        false_rejects=tuple(picture for picture in drawn if picture.image.is_false_reject),
    )


def _latency(
    bundle: Bundle, dataset: Dataset, evaluation: Evaluation, plan: Plan, progress: Progress
) -> Latency | None:
    """Timed on the first image that could be judged; None if none could, or nobody wants to know."""
    readable = next((image for image in evaluation.judged if image.score is not None), None)
    if readable is None or not plan.latency_runs:
        return None
    preparation = preparation_of(bundle)
    try:
        frame = read_frame(dataset.root / readable.path, preparation.limits)
    except DataError:
        return None
    return measure_latency(bundle, preparation, frame, plan.threads, plan.latency_runs, progress)
