"""Ages real pictures step by step, with a bundle fitted on them beside: which comes first, the alarm or the rejects?

    python -m tests.imaging.health_table FOLDER …      # of good pictures of one size, such as mvtec-ad/screw/train/good

A third of the pictures makes the reference, a third fits the bundle, the rest is aged.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from imaging.ageing import AGEINGS, Ageing, Picture
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from inspector.imaging.health.alarms import limit_here, size_of
from inspector.imaging.health.compare import Change, compare
from inspector.imaging.health.kinds import HealthLimits, Kind
from inspector.imaging.health.measure import measure
from inspector.imaging.health.reference import Reference, build_reference
from inspector.imaging.health.window import Summary, summarise
from inspector.imaging.health.words import NAMES, words_of
from inspector.imaging.normalise import normalise
from inspector.inference.contract import SCORE
from inspector.inference.engine import Engine
from inspector.part import Box, Image
from training.data.layouts import open_dataset
from training.device import at_work
from training.export import export_bundle
from training.fit import FitPlan, Fitted, fit
from training.models.memory_bank.fitting import FitSettings

REFERENCE_DAY = datetime(2026, 3, 3, tzinfo=UTC)
PROMISED = 0.05
"""False rejects that the bundle's limit promises to stay below; twice that is what an alarm must come before."""

Judge = Callable[[Sequence[Picture]], float]
Infer = Callable[[Picture], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One ageing: the first step at which its alarm is told, what is told with it, and the first at which rejects double.

    None for what did not happen up to the last step. `rejects_then` is the share of rejects at the alarm.
    """

    ageing: Ageing
    told_at: float | None
    words: str
    beside: tuple[Kind, ...]
    rejects_then: float
    doubled_at: float | None

    @property
    def came_in_time(self) -> bool:
        return self.told_at is not None and (self.doubled_at is None or self.told_at < self.doubled_at)


@dataclass(frozen=True)
class Study:
    """The picture's reference, the bundle's judgement, and good pictures that neither knows."""

    reference: Reference
    rejects: Judge
    unseen: Sequence[Picture]

    @cached_property
    def baseline(self) -> float:
        """Share of rejects before anything has aged."""
        return self.rejects(self.unseen)


def prepare(pictures: Sequence[Picture], folder: Path, *, size_px: int = 128, quick: bool = False) -> Study:
    """Deal the pictures out, take the reference, fit and export a bundle; `quick` judges by the model without its export."""
    order = np.random.default_rng(0).permutation(len(pictures))
    third = len(pictures) // 3
    dealt = [[pictures[place] for place in order[start : start + third]] for start in range(0, 3 * third, third)]
    reference = build_reference(summed(dealt[0], probe=True))
    return Study(reference, _judge(dealt[1], folder, size_px, quick), dealt[2])


def summed(pictures: Sequence[Picture], *, probe: bool = False) -> Summary:
    frames = [measure(Image(picture), probe=probe) for picture in pictures]
    return summarise(frames, REFERENCE_DAY, REFERENCE_DAY, len(frames))


def told(changes: dict[Kind, Change]) -> dict[Kind, Change]:
    """The changes that are beyond their limits."""
    limits = HealthLimits()
    return {kind: one for kind, one in changes.items() if size_of(one) > limit_here(one, limits.of(kind))}


def age(study: Study, ageings: Sequence[Ageing] = AGEINGS, *, until_told: bool = False) -> Iterator[Outcome]:
    """Age the unseen pictures, one way after the other, as far as they can show it; `until_told` no further than the alarm."""
    pictures = study.unseen
    doubled = 2 * max(PROMISED, study.baseline)
    shows = compare(summed(pictures), study.reference)
    for ageing in ageings:
        if ageing.kind not in shows:
            continue
        first: tuple[float, dict[Kind, Change], float] | None = None
        doubled_at = None
        for step in ageing.steps:
            rng = np.random.default_rng(11)
            aged = [ageing.age(picture, step, rng) for picture in pictures]
            found = told(dict(compare(summed(aged), study.reference))) if first is None else {}
            # In a hurry only where the alarm is told: ageing rejects no fewer parts later than before.
            asked = doubled_at is None and (not until_told or ageing.kind in found)
            rejected = study.rejects(aged) if asked else 0.0
            if first is None and ageing.kind in found:
                first = step, found, rejected
            if doubled_at is None and rejected > doubled:
                doubled_at = step
            if first is not None and (until_told or doubled_at is not None):
                break
        yield _outcome(ageing, first, doubled_at)


def _outcome(
    ageing: Ageing, first: tuple[float, dict[Kind, Change], float] | None, doubled_at: float | None
) -> Outcome:
    if first is None:
        return Outcome(ageing, None, "", (), 0.0, doubled_at)
    step, found, rejected = first
    words = words_of(found[ageing.kind], REFERENCE_DAY)
    return Outcome(ageing, step, words, tuple(kind for kind in found if kind is not ageing.kind), rejected, doubled_at)


def _judge(pictures: Sequence[Picture], folder: Path, size_px: int, quick: bool) -> Judge:
    """The share of pictures that a bundle fitted on these would reject."""
    parts = folder / "parts" / "good"
    parts.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(parts / f"{number:04d}.png"), picture if picture.ndim == 2 else picture[..., ::-1])
    settings = FitSettings(bank_size=150, candidates=2000) if quick else FitSettings(bank_size=600, candidates=8000)
    plan = FitPlan(size_px, size_px, false_reject_rate=PROMISED, confidence=0.8, settings=settings)
    outcome = fit(open_dataset(str(folder / "parts")), plan)
    limit, spec = outcome.fitted.limits.score, outcome.fitted.preparation
    infer = _by_model(outcome.fitted) if quick else _by_bundle(outcome.fitted, folder)

    def rejects(some: Sequence[Picture]) -> float:
        whole = Box(0, 0, some[0].shape[1], some[0].shape[0])
        inputs = [normalise(Image(one), whole, spec.width_px, spec.height_px, spec.channels) for one in some]
        scores = [infer(np.stack(inputs[start : start + 8])) for start in range(0, len(inputs), 8)]
        return float((np.concatenate(scores) > limit).mean())

    return rejects


def _by_model(fitted: Fitted) -> Infer:
    def infer(batch: Picture) -> NDArray[np.float32]:
        with at_work(fitted.network) as see:
            return dict(zip(fitted.network.outputs, see(batch), strict=True))[SCORE].numpy()

    return infer


def _by_bundle(fitted: Fitted, folder: Path) -> Infer:
    engine = Engine(export_bundle(fitted, folder / "bundle", "aged")[0])
    return lambda batch: np.array([score.score for score in engine.infer(batch)], np.float32)


def shown(outcomes: Sequence[Outcome], baseline: float, pictures: int) -> Table:
    """The table for people."""
    title = f"{pictures} good pictures aged; {baseline:.1%} of them rejected before, {PROMISED:.0%} promised at most"
    table = Table(title=title, title_justify="left")
    for name in (
        "what ages",
        "alarm at",
        "rejects then",
        f"rejects above {2 * max(PROMISED, baseline):.0%} at",
        "told",
    ):
        table.add_column(name)
    for one in outcomes:
        at = "–" if one.told_at is None else f"{one.told_at:g}"
        doubled = f"{one.doubled_at:g}" if one.doubled_at is not None else f"not up to {one.ageing.steps[-1]:g}"
        beside = f" (and {', '.join(NAMES[kind] for kind in one.beside)})" if one.beside else ""
        said = (one.words.removesuffix(" since 3 March 2026") + beside) if one.words else "nothing"
        table.add_row(one.ageing.name, f"{at} {one.ageing.unit}", f"{one.rejects_then:.1%}", doubled, said)
    return table


def read_pictures(folder: Path) -> list[Picture]:
    """Every PNG and JPEG file of a folder, grey or RGB, in the order of their names."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    read = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in files]
    return [one if one.ndim == 2 else np.ascontiguousarray(one[..., ::-1]) for one in read if one is not None]


def main(folders: Sequence[str]) -> None:
    """Print the table of each folder."""
    console = Console(width=168)
    for name in folders:
        work = Path(tempfile.mkdtemp(prefix="inspector-ageing-"))
        try:
            study = prepare(read_pictures(Path(name)), work)
            console.print(shown(list(age(study)), study.baseline, len(study.unseen)))
        finally:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main(sys.argv[1:])
