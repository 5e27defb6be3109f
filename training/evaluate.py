"""How a bundle judges images of known truth, through the engine, imaging and decision that the line uses."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.decision.judge import judge
from inspector.errors import DataError
from inspector.inference.bundle import Bundle
from inspector.inference.engine import Engine
from inspector.part import Box, Scores, Verdict
from training.data.reading import read_frame
from training.data.samples import GOOD, Dataset, Sample
from training.data.splits import Role, Split
from training.progress import Progress, silent, track
from training.statistics import Rate, auroc, counted
from training.successor import preparation_of
from training.ways import judge_ways, without_ignored

log = logging.getLogger(__name__)

_BATCH = 8


@dataclass(frozen=True, slots=True)
class Judged:
    """One image with its truth and what came of it; `reason` says why it is UNKNOWN. `score` is then None.

    Images of one physical `part` share its number; `lot` names what was made together, if that is known. `class_scores` are
    those of a model that tells defect classes apart, else empty.
    """

    path: str
    label: str
    verdict: Verdict
    score: float | None
    reason: str = ""
    part: int = -1
    lot: str = ""
    class_scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return self.label == GOOD

    @property
    def is_escape(self) -> bool:
        """A defective part that passed."""
        return not self.is_good and self.verdict is Verdict.PASS

    @property
    def is_false_reject(self) -> bool:
        """A good part that was rejected."""
        return self.is_good and self.verdict is Verdict.REJECT

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict.name, "class_scores": dict(self.class_scores)}


class Watch(Protocol):
    """Looks on while images are judged; called with each image that the model scored."""

    def __call__(self, sample: Sample, width_px: int, height_px: int, region: Box, scores: Scores) -> None: ...


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
        images = [i for i in self.judged if not i.is_good and label in (None, i.label)]
        return counted(sum(i.is_escape for i in images), len(images))

    @property
    def false_rejects(self) -> Rate:
        """Good images that were rejected, of all good ones."""
        images = [image for image in self.judged if image.is_good]
        return counted(sum(image.is_false_reject for image in images), len(images))

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
            "images": [image.to_json() for image in self.judged],
        }


def evaluate(
    bundle: Bundle,
    dataset: Dataset,
    split: Split | None = None,
    *,
    provider: str = "CPU",
    threads: int = 0,
    parts: Mapping[str, int] | None = None,
    watch: Watch | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Judge the images of a data set, or only those that `split` keeps for testing.

    What lies in areas to ignore counts neither for nor against an image: it is judged as it might look on a good part there,
    and a defective image of which nothing that is marked counts is UNKNOWN.

    The number of each image's physical part comes from `parts` by path, else from the split; an image in neither is a part of
    its own. An image that cannot be read is UNKNOWN, as it would be on the line.
    Raises DataError if the split is of other images, BundleError or EngineError if the bundle does not run.
    """
    images = images_to_judge(dataset, split)
    of_split = {entry.path: entry.part for entry in split.entries} if split is not None else {}
    known = of_split if parts is None else parts
    alone = max(known.values(), default=-1) + 1
    part_of = {path: known.get(path, alone + number) for number, (path, _) in enumerate(images)}
    preparation = preparation_of(bundle)
    judging = _Judging(Engine(bundle, provider, threads), part_of, watch)
    for path, _ in track(images, "Judging images", progress):
        sample = dataset.sample(path)
        try:
            image = preparation.image(read_frame(dataset.root / path, preparation.limits))
            region = preparation.region(image)
        except DataError as error:
            judging.refuse(sample, str(error))
            continue
        pixels = preparation.model_input(image, region)
        try:
            ways = without_ignored(bundle, dataset, sample, pixels, image, region)
        except DataError as error:
            log.warning("%s is judged whole, areas to ignore included: %s", sample.path, error)
            ways = [pixels]
        if not ways:
            judging.refuse(sample, "all that is marked lies in areas to ignore")
        else:
            judging.add(_Waiting(sample, image.width_px, image.height_px, region, ways))
    judged = sorted(judging.finish(), key=lambda image: image.path)
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


@dataclass(frozen=True, slots=True)
class _Waiting:
    sample: Sample
    width_px: int
    height_px: int
    region: Box
    ways: list[NDArray[np.uint8]]
    """As it is; or, if not all of it counts, as it might look without what does not."""


class _Judging:
    """Judges images in batches of bounded size, in the order they come."""

    def __init__(self, engine: Engine, part_of: Mapping[str, int], watch: Watch | None) -> None:
        self._engine, self._part_of, self._watch = engine, part_of, watch
        self._waiting: list[_Waiting] = []
        self._judged: list[Judged] = []

    def refuse(self, sample: Sample, reason: str) -> None:
        """An image that the model does not get to see."""
        part = self._part_of[sample.path]
        self._judged.append(Judged(sample.path, sample.label, Verdict.UNKNOWN, None, reason, part, sample.lot))

    def add(self, image: _Waiting) -> None:
        self._waiting.append(image)
        # Large pictures are judged one by one anyway, and eight of them would fill the memory.
        if len(self._waiting) == (_BATCH if self._engine.tiles is None else 1):
            self._flush()

    def finish(self) -> list[Judged]:
        self._flush()
        return self._judged

    def _flush(self) -> None:
        if not self._waiting:
            return
        results = judge_ways(self._engine, [image.ways for image in self._waiting])
        for image, scores in zip(self._waiting, results, strict=True):
            self._judged.append(self._judge(image, scores))
            if self._watch is not None:
                self._watch(image.sample, image.width_px, image.height_px, image.region, scores)
        self._waiting.clear()

    def _judge(self, image: _Waiting, scores: Scores) -> Judged:
        manifest, sample = self._engine.bundle.manifest, image.sample
        judgement = judge(scores, manifest.limits, image.region, manifest.classes)
        unknown = judgement.verdict is Verdict.UNKNOWN
        return Judged(
            sample.path,
            sample.label,
            judgement.verdict,
            judgement.score,
            judgement.detail if unknown else "",
            self._part_of[sample.path],
            sample.lot,
            {} if unknown else scores.class_scores,
        )
