"""How a bundle judges images of known truth, through the engine, imaging and decision that the line uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.decision.judge import judge
from inspector.errors import DataError
from inspector.imaging.locate import location_from_dict
from inspector.inference.bundle import Bundle
from inspector.inference.engine import Engine
from inspector.part import Box, Verdict
from training.data.reading import Preparation, read_frame
from training.data.samples import GOOD, Dataset
from training.data.splits import Role, Split
from training.progress import Progress, silent, track
from training.statistics import Rate, auroc, counted

_BATCH = 8


@dataclass(frozen=True, slots=True)
class Judged:
    """One image with its truth and what came of it; `reason` says why it is UNKNOWN. `score` is then None."""

    path: str
    label: str
    verdict: Verdict
    score: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Counts and rates of one bundle on one set of images; UNKNOWN counts neither as escape nor as false reject."""

    bundle: str
    limit: float
    judged: tuple[Judged, ...]

    def verdicts(self) -> dict[str, Counter[Verdict]]:
        """Verdicts by label, good first."""
        counts: dict[str, Counter[Verdict]] = {}
        for label in sorted({image.label for image in self.judged}, key=lambda name: (name != GOOD, name)):
            counts[label] = Counter(image.verdict for image in self.judged if image.label == label)
        return counts

    @property
    def escapes(self) -> Rate:
        """Defective images that passed, of all defective ones."""
        return self.escapes_of(None)

    def escapes_of(self, label: str | None) -> Rate:
        """Escapes of one defect class, or of all with None."""
        images = [i for i in self.judged if i.label != GOOD and label in (None, i.label)]
        return counted(sum(i.verdict is Verdict.PASS for i in images), len(images))

    @property
    def false_rejects(self) -> Rate:
        """Good images that were rejected, of all good ones."""
        images = [image for image in self.judged if image.label == GOOD]
        return counted(sum(image.verdict is Verdict.REJECT for image in images), len(images))

    @property
    def auroc(self) -> float | None:
        """None unless both good and defective images were scored."""
        good = [i.score for i in self.judged if i.score is not None and i.label == GOOD]
        defective = [i.score for i in self.judged if i.score is not None and i.label != GOOD]
        return auroc(good, defective)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with every image."""
        return {
            "bundle": self.bundle,
            "limit": self.limit,
            "auroc": self.auroc,
            "escapes": self.escapes.to_json(),
            "false_rejects": self.false_rejects.to_json(),
            "interval": "Clopper-Pearson, 95 %",
            "classes": {
                label: {verdict.name: count for verdict, count in sorted(counts.items())}
                for label, counts in self.verdicts().items()
            },
            "images": [
                {"path": i.path, "label": i.label, "verdict": i.verdict.name, "score": i.score, "reason": i.reason}
                for i in self.judged
            ],
        }


def evaluate(
    bundle: Bundle,
    dataset: Dataset,
    split: Split | None = None,
    *,
    provider: str = "CPU",
    threads: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Judge the images of a data set, or only those that `split` keeps for testing.

    An image that cannot be read is UNKNOWN, as it would be on the line.
    Raises DataError if the split is of other images, BundleError or EngineError if the bundle does not run.
    """
    images = images_to_judge(dataset, split)
    spec = bundle.manifest.input
    location = location_from_dict(spec.location, bundle.path)
    preparation = Preparation(spec.width_px, spec.height_px, spec.channels, location)
    engine = Engine(bundle, provider, threads)
    judged: list[Judged] = []
    waiting: list[tuple[str, str, Box, NDArray[np.uint8]]] = []
    for path, label in track(images, "Judging images", progress):
        try:
            image = preparation.image(read_frame(dataset.root / path, preparation.limits))
            region = preparation.region(image)
        except DataError as error:
            judged.append(Judged(path, label, Verdict.UNKNOWN, None, str(error)))
            continue
        waiting.append((path, label, region, preparation.model_input(image, region)))
        if len(waiting) == _BATCH:
            judged += _judge(engine, waiting)
            waiting.clear()
    judged += _judge(engine, waiting)
    judged.sort(key=lambda image: image.path)
    return Evaluation(bundle.label, bundle.manifest.limits.score, tuple(judged))


def images_to_judge(dataset: Dataset, split: Split | None) -> list[tuple[str, str]]:
    """(path, label) of the images to judge. Raises DataError if the split is of another data set."""
    known = {sample.path: sample.label for sample in dataset.samples}
    if split is None:
        return list(known.items())
    tests = [(entry.path, entry.label) for entry in split.of(Role.TEST)]
    if strange := [path for path, label in tests if known.get(path) != label]:
        raise DataError(
            f"the split is of another data set: {len(strange)} of its test images are not in {dataset.root} under their "
            f"label, the first is {strange[0]}; give the data that it was made for"
        )
    if not tests:
        raise DataError(
            "the split keeps no images for testing; fit with a larger --test-fraction, or leave --split out"
        )
    return tests


def _judge(engine: Engine, waiting: Sequence[tuple[str, str, Box, NDArray[np.uint8]]]) -> list[Judged]:
    if not waiting:
        return []
    manifest = engine.bundle.manifest
    results = engine.infer(np.stack([model_input for *_, model_input in waiting]))
    judged = []
    for (path, label, region, _), scores in zip(waiting, results, strict=True):
        judgement = judge(scores, manifest.limits, region, manifest.classes)
        unknown = judgement.verdict is Verdict.UNKNOWN
        judged.append(Judged(path, label, judgement.verdict, judgement.score, judgement.detail if unknown else ""))
    return judged
