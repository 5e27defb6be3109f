"""What is measured: a task per row or group of rows, each by seed; and the rows that are made of it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from rich.console import Console

from inspector.decision.intervals import clopper_pearson
from tests.benchmarks.rows import Row, below, target_words
from tests.benchmarks.training.kept import Figures, Kept, measured, packages
from tests.benchmarks.training.place import Place, kind_code, look_at

console = Console(stderr=True)
BUSY_CORES = 0.2
"""From this processor use of other programs on, a time is worth measuring again."""


class Task(Protocol):
    """Something that gives figures by seed."""

    @property
    def name(self) -> str:
        """What a row says of it."""
        ...

    @property
    def seeds(self) -> int:
        """How many seeds count, if none are asked for; 1 where it is measured once, whatever is asked for."""
        ...

    def missing(self, place: Place) -> str:
        """Why nothing can be said of it here, such as no data; empty if there is nothing in the way."""
        ...

    def needs(self, place: Place) -> str:
        """Why it cannot be measured here, though figures may have been kept; empty if there is nothing in the way."""
        ...

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        """All that decides the figures, as JSON values; the key that they are kept under."""
        ...

    def measure(self, place: Place, seed: int) -> Figures:
        """The figures by name. Raises InspectorError."""
        ...


@dataclass(frozen=True, slots=True)
class Scores:
    """A kind fitted and tested on one data set, as training/measure.py does: AUROC, escapes, AUPRO.

    `size` is the model's input, WxH or auto.
    """

    name: str
    kind: str
    data: str
    split: str
    size: str = "auto"
    settings: tuple[str, ...] = ()
    seeds: int = 3

    def missing(self, place: Place) -> str:
        return place.missing(self.data)

    def needs(self, place: Place) -> str:
        return ""

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        from training.models.registry import model_kind, read_settings

        kind = model_kind(self.kind)
        return {
            "what": "scores",
            "kind": self.kind,
            "settings": {**asdict(read_settings(kind, self.settings)), "seed": seed},
            "defects_to_fit": kind.defects_to_fit,
            "seen": place.seen(self.data, self.split),
            "size": self.size,
            "code": kind_code(kind, "training.measure"),
            "packages": packages(),
        }

    def measure(self, place: Place, seed: int) -> Figures:
        from training.measure import measure
        from training.models.registry import model_kind, read_settings

        kind = model_kind(self.kind)
        around = look_at(place.source(self.data), self.split)
        result = measure(kind, read_settings(kind, self.settings), around, seed, self.size)
        figures = {"AUROC": result.auroc, "escapes at 1 % false rejects": result.escapes}
        figures |= {f"AUROC {name}": value for name, value in result.auroc_by_class.items()}
        return figures if result.aupro is None else {**figures, "AUPRO": result.aupro}


@dataclass(frozen=True, slots=True)
class Target:
    """One figure of a task, held against a target; without `limit` it only explains.

    The mean over seeds counts. With `of` the figure counts something of that other one, and their sums over all seeds do.
    With `beside` it is how much larger the figure is than the largest of those tasks that has this seed, seed by seed; `than`
    calls them something shorter than their names.
    """

    task: Task
    figure: str
    limit: float | None = None
    at_least: bool = True
    beside: tuple[Task, ...] = ()
    than: str = ""
    of: str = ""
    unit: str = ""


@dataclass
class Bench:
    """Measures tasks or takes what is kept.

    `seeds` is how many each task has, None for its own number. With `only_kept` nothing is measured; with `again` what was
    measured on a busy machine is measured once more. After `stop_s` of time.monotonic() nothing more is begun.
    """

    place: Place
    seeds: int | None = None
    only_kept: bool = False
    again: bool = False
    stop_s: float = math.inf
    left_out: list[str] = field(default_factory=list)
    _known: dict[tuple[Task, int], Kept | None] = field(default_factory=dict)

    def figures(self, task: Task) -> dict[int, Kept]:
        """What there is, by seed; empty if the task cannot be measured here."""
        if reason := task.missing(self.place):
            self._leave_out(f"{task.name}: {reason}")
            return {}
        count = task.seeds if self.seeds is None or task.seeds == 1 else self.seeds
        for seed in range(count):
            if (task, seed) not in self._known:
                self._known[task, seed] = self._one(task, seed)
        return {seed: kept for seed in range(count) if (kept := self._known[task, seed]) is not None}

    def _one(self, task: Task, seed: int) -> Kept | None:
        decides = task.decides(self.place, seed)
        document = self.place.shelf.find(decides)
        known = None if document is None else Kept(**document)
        if known is not None and not (self.again and known.others_cores > BUSY_CORES):
            return known
        late = self.only_kept or time.monotonic() > self.stop_s
        if reason := "not measured yet" if late else task.needs(self.place):
            if known is None:
                self._leave_out(f"{task.name}, seed {seed}: {reason}")
            return known
        console.print(f"{task.name}, seed {seed} …", style="dim", markup=False, highlight=False)
        kept = measured(lambda: task.measure(self.place, seed))
        self.place.shelf.keep(decides, asdict(kept))
        return kept

    def _leave_out(self, reason: str) -> None:
        if reason not in self.left_out:
            self.left_out.append(reason)


def row_of(bench: Bench, target: Target) -> Row:
    """The figure with its spread over seeds, or a row without value where nothing is measured."""
    found = bench.figures(target.task)
    found = {seed: kept for seed, kept in found.items() if target.figure in kept.figures}
    name = f"{target.task.name}: {target.figure}"
    if target.beside:
        name += f" beyond {target.than or ' and '.join(task.name for task in target.beside)}"
        value, seeds, how = _beyond(found, target, [(task, bench.figures(task)) for task in target.beside])
    elif target.of:
        value, how = _counted(found, target)
        seeds = list(found)
    else:
        value, how = _mean([kept.figures[target.figure] for kept in found.values()])
        seeds = list(found)
    if value is None:
        words = "" if target.limit is None else target_words(target.limit, target.unit, at_least=target.at_least)
        return Row(name, None, target.unit, words, samples=0)
    note = f"{how}seeds {_numbers(seeds)}; others used {max(found[seed].others_cores for seed in seeds):.1f} cores"
    if target.limit is None:
        return Row(name, value, target.unit, samples=len(seeds), note=note)
    return below(name, value, target.unit, target.limit, len(seeds), at_least=target.at_least, note=note)


def _mean(values: Sequence[float]) -> tuple[float | None, str]:
    if not values:
        return None, ""
    return statistics.fmean(values), f"± {statistics.pstdev(values):.3f}, " if len(values) > 1 else ""


def _beyond(
    ours: Mapping[int, Kept], target: Target, others: Sequence[tuple[Task, Mapping[int, Kept]]]
) -> tuple[float | None, list[int], str]:
    """How much the mean is beyond the best of those that have the same seed, on which seeds, and who had fewer."""
    seeds = [seed for seed in ours if any(seed in kept for _, kept in others)]
    best = [max(kept[seed].figures[target.figure] for _, kept in others if seed in kept) for seed in seeds]
    value, how = _mean([ours[seed].figures[target.figure] - other for seed, other in zip(seeds, best, strict=True)])
    for task, kept in others:
        if seeds and any(seed not in kept for seed in seeds):
            there = [seed for seed in seeds if seed in kept]
            how += f"{task.name} {f'only on {_numbers(there)}' if there else 'not measured'}, "
    return value, seeds, how


def _counted(found: Mapping[int, Kept], target: Target) -> tuple[float | None, str]:
    """The share over all seeds with its exact 95 % interval, which takes them for independent."""
    count, total = (round(sum(kept.figures[name] for kept in found.values())) for name in (target.figure, target.of))
    if not total:
        return None, ""
    interval = clopper_pearson(count, total)
    return count / total, f"{count} of {total:,} {target.of}, {interval.low:.1%} to {interval.high:.1%}, "


def _numbers(seeds: Sequence[int]) -> str:
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))
