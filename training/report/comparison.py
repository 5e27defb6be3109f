"""Two bundles on the same parts: what one catches and the other passes, and whether chance explains it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.inference.bundle import Bundle
from inspector.inference.engine import Engine
from inspector.part import Verdict
from training.data.duplicates import group_by_part
from training.data.samples import Dataset
from training.data.splits import Split
from training.data.survey import survey
from training.evaluate import Evaluation, Judged, evaluate
from training.progress import Progress, silent
from training.report.leaks import DataCheck, check_data
from training.report.pictures import Picture, pictures
from training.report.words import percent
from training.statistics import Rate, counted, group_draws, mcnemar_exact, percentile_interval, weighted_auroc
from training.successor import preparation_of

DRAWS = 1000
SIGNIFICANT = 0.05
SHOWN = 6


@dataclass(frozen=True, slots=True)
class Flip:
    """One image that the bundles judge differently; `better` is "A" or "B", whichever is right, or empty if neither is."""

    first: Judged
    second: Judged
    better: str

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.first.path,
            "label": self.first.label,
            "part": self.first.part,
            "verdicts": [self.first.verdict.name, self.second.verdict.name],
            "scores": [self.first.score, self.second.score],
            "better": self.better,
        }


@dataclass(frozen=True, slots=True)
class Paired:
    """One kind of error on the same parts. `p` is of McNemar's exact test of the parts on which only one bundle errs.

    `interval` is of the difference B - A of the rates, 95 %, from drawing parts anew; None if no part differs. `outcome` is 1
    if B is better, -1 if worse, 0 if no difference can be shown.
    """

    name: str
    first: Rate
    second: Rate
    only_first: int
    only_second: int
    p: float
    interval: tuple[float, float] | None
    outcome: int
    statement: str

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "first": self.first.to_json(), "second": self.second.to_json()}


@dataclass(frozen=True, slots=True)
class Area:
    """AUROC of both on the images that both scored, and the 95 % interval of the difference B - A."""

    first: float | None
    second: float | None
    interval: tuple[float, float] | None
    statement: str

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything said of two bundles, A the `first` and B the `second`, on one set of images."""

    first: Bundle
    second: Bundle
    created_time: datetime
    evaluations: tuple[Evaluation, Evaluation]
    escapes: Paired
    false_rejects: Paired
    area: Area
    flips: tuple[Flip, ...]
    pictures: Mapping[str, tuple[tuple[Flip, Picture], ...]]
    data: tuple[DataCheck, DataCheck]
    statement: str

    def to_json(self) -> dict[str, Any]:
        return {
            "first": self.first.label,
            "second": self.second.label,
            "created_time": self.created_time.isoformat(),
            "statement": self.statement,
            "escapes": self.escapes.to_json(),
            "false_rejects": self.false_rejects.to_json(),
            "auroc": self.area.to_json(),
            "basis": "parts; McNemar's exact test at 0.05; percentile bootstrap over parts, 95 %",
            "flips": [flip.to_json() for flip in self.flips],
            "data": [check.to_json() for check in self.data],
            "evaluations": [evaluation.to_json() for evaluation in self.evaluations],
        }


def compare(
    first: Bundle,
    second: Bundle,
    dataset: Dataset,
    split: Split | None = None,
    *,
    provider: str = "CPU",
    threads: int = 0,
    draws: int = DRAWS,
    seed: int = 0,
    shown: int = SHOWN,
    progress: Progress = silent,
) -> Comparison:
    """Judge the same images by both; of each kind of flip `shown` parts are drawn. DataError, BundleError, EngineError."""
    seen = survey(dataset, preparation_of(first), progress)
    groups = group_by_part(seen.images, progress)
    parts = {image.sample.path: group for image, group in zip(seen.images, groups, strict=True)}
    one, other = (
        evaluate(
            bundle,
            dataset,
            split,
            provider=provider,
            threads=threads,
            parts=parts,
            progress=_named(progress, name),
        )
        for bundle, name in ((first, "by A"), (second, "by B"))
    )
    escapes = paired(one.judged, other.judged, "escapes", lambda image: image.is_escape, draws, seed)
    false_rejects = paired(one.judged, other.judged, "false rejects", lambda image: image.is_false_reject, draws, seed)
    flips = find_flips(one.judged, other.judged)
    engines = [Engine(bundle, provider, threads) for bundle in (first, second)]
    return Comparison(
        first=first,
        second=second,
        created_time=datetime.now(UTC).replace(microsecond=0),
        evaluations=(one, other),
        escapes=escapes,
        false_rejects=false_rejects,
        area=areas(one.judged, other.judged, draws, seed),
        flips=flips,
        pictures=_pictures(engines, dataset, flips, shown, progress),
        data=(check_data(first, seen, groups, split), check_data(second, seen, groups, split)),
        statement=overall(escapes, false_rejects),
    )


def paired(
    first: Sequence[Judged],
    second: Sequence[Judged],
    name: str,
    wrong: Callable[[Judged], bool],
    draws: int = DRAWS,
    seed: int = 0,
) -> Paired:
    """Compare how often each errs, `first` and `second` being of the same images in the same order.

    A part counts as wrong if any of its images is; only parts that could be wrong in this way count.
    """
    errs: dict[int, NDArray[np.bool_]] = defaultdict(lambda: np.zeros(2, np.bool_))
    for a, b in zip(first, second, strict=True):
        if a.is_good == (name == "false rejects"):
            errs[a.part] = errs[a.part] | np.array([wrong(a), wrong(b)])
    table = np.array(list(errs.values()), np.bool_).reshape(-1, 2)
    only_first = int((table[:, 0] & ~table[:, 1]).sum())
    only_second = int((table[:, 1] & ~table[:, 0]).sum())
    p = mcnemar_exact(only_first, only_second)
    differences = table[:, 1].astype(np.float64) - table[:, 0]
    # Where no part differs, drawing anew would claim a difference of exactly 0.
    weights = group_draws(np.arange(len(table)), np.zeros(len(table)), draws if differences.any() else 0, seed)
    interval = percentile_interval([np.average(differences, weights=times) for times in weights])
    outcome = 0 if p >= SIGNIFICANT else 1 if only_first > only_second else -1
    rates = [counted(int(table[:, side].sum()), len(table)) for side in (0, 1)]
    words = _paired_words(name, rates, only_first, only_second, p, outcome)
    return Paired(name, rates[0], rates[1], only_first, only_second, p, interval, outcome, words)


def areas(first: Sequence[Judged], second: Sequence[Judged], draws: int = DRAWS, seed: int = 0) -> Area:
    """AUROC of both on the same draws of parts, so that what both share cancels out."""
    both = [(a, b) for a, b in zip(first, second, strict=True) if a.score is not None and b.score is not None]
    truth = np.array([not a.is_good for a, _ in both], np.bool_)
    if not both or truth.all() or not truth.any():
        return Area(None, None, None, "AUROC needs good and defective parts that both bundles scored.")
    scores = np.array([[a.score, b.score] for a, b in both], np.float64)
    ones = np.ones(len(both))
    one, other = (weighted_auroc(scores[:, side], truth, ones) for side in (0, 1))
    differences = [
        weighted_auroc(scores[:, 1], truth, times) - weighted_auroc(scores[:, 0], truth, times)
        for times in group_draws([a.part for a, _ in both], truth, draws, seed)
    ]
    interval = percentile_interval(differences)
    spread = "" if interval is None else f" (95 %: {interval[0]:+.4f} to {interval[1]:+.4f})"
    shown = "no difference can be shown"
    if interval is not None and interval[0] > 0:
        shown = "B is better"
    elif interval is not None and interval[1] < 0:
        shown = "B is worse"
    return Area(one, other, interval, f"A {one:.4f}, B {other:.4f}, difference {other - one:+.4f}{spread}: {shown}.")


def find_flips(first: Sequence[Judged], second: Sequence[Judged]) -> tuple[Flip, ...]:
    """Images with different verdicts: first what only B gets right, then what only A does, defective before good."""
    flips = []
    for a, b in zip(first, second, strict=True):
        if a.verdict is not b.verdict:
            right = Verdict.PASS if a.is_good else Verdict.REJECT
            better = "B" if b.verdict is right else "A" if a.verdict is right else ""
            flips.append(Flip(a, b, better))
    return tuple(sorted(flips, key=lambda f: (("B", "A", "").index(f.better), f.first.is_good, f.first.path)))


def overall(escapes: Paired, false_rejects: Paired) -> str:
    """One sentence from both kinds of error."""
    outcomes = {escapes.outcome, false_rejects.outcome}
    if outcomes == {0}:
        return "No difference between A and B can be shown on these parts. That is not to say that there is none."
    if outcomes >= {1, -1}:
        gain, loss = (escapes, false_rejects) if escapes.outcome > 0 else (false_rejects, escapes)
        return f"B trades: fewer {gain.name}, more {loss.name}. Which matters more is for people to say."
    kind = " and ".join(one.name for one in (escapes, false_rejects) if one.outcome)
    other = " and ".join(one.name for one in (escapes, false_rejects) if not one.outcome)
    rest = f"; for {other} no difference can be shown" if other else ""
    better = 1 in outcomes
    return f"B is {'better' if better else 'worse'}: {'fewer' if better else 'more'} {kind}{rest}."


def _paired_words(name: str, rates: Sequence[Rate], only_first: int, only_second: int, p: float, outcome: int) -> str:
    if not rates[0].total:
        return f"There are no parts to tell by: {name} cannot be compared."
    kind = "good" if name == "false rejects" else "defective"
    verdict = {1: "B is better", 0: "no difference can be shown", -1: "B is worse"}[outcome]
    return (
        f"Of {rates[0].total} {kind} parts A has {rates[0].count} {name} ({percent(rates[0].value)}), B {rates[1].count} "
        f"({percent(rates[1].value)}); {only_first} only A, {only_second} only B. McNemar's exact test: p = {p:.3g}, {verdict}."
    )


def _pictures(
    engines: Sequence[Engine], dataset: Dataset, flips: Sequence[Flip], shown: int, progress: Progress
) -> dict[str, tuple[tuple[Flip, Picture], ...]]:
    """Flips as pictures, by what they show; one image per part."""
    titles = {
        "Defects that B catches and A passes": ("B", False),
        "Defects that A catches and B passes": ("A", False),
        "Good parts that B passes and A does not": ("B", True),
        "Good parts that A passes and B does not": ("A", True),
    }
    chosen: dict[str, list[Flip]] = {}
    for title, kind in titles.items():
        per_part: dict[int, Flip] = {}
        for flip in flips:
            if (flip.better, flip.first.is_good) == kind:
                per_part.setdefault(flip.first.part, flip)
        chosen[title] = list(per_part.values())[:shown]
    images = [flip.first for some in chosen.values() for flip in some]
    drawn = {picture.image.path: picture for picture in pictures(engines, dataset, images, progress)}
    return {
        title: tuple((flip, drawn[flip.first.path]) for flip in some if flip.first.path in drawn)
        for title, some in chosen.items()
        if some
    }


def _named(progress: Progress, name: str) -> Progress:
    return lambda stage, done, total: progress(f"{stage} {name}", done, total)
