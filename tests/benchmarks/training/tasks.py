"""What is measured: a task per row or group of rows, each by seed; and the rows that are made of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from rich.console import Console

from tests.benchmarks.rows import Row, below, target_words
from tests.benchmarks.training.kept import Figures, Kept, measured, packages
from tests.benchmarks.training.place import Place, kind_code, look_at

console = Console(stderr=True)


class Task(Protocol):
    """Something that gives figures by seed."""

    @property
    def name(self) -> str:
        """What a row says of it."""
        ...

    def missing(self, place: Place) -> str:
        """Why it cannot be measured here; empty if it can."""
        ...

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        """All that decides the figures, as JSON values; the key that they are kept under."""
        ...

    def measure(self, place: Place, seed: int) -> Figures:
        """The figures by name. Raises InspectorError."""
        ...


@dataclass(frozen=True, slots=True)
class Scores:
    """A kind fitted and tested on one data set, as training/measure.py does: AUROC, escapes, AUPRO, seconds."""

    name: str
    kind: str
    data: str
    split: str
    size_px: int = 224
    settings: tuple[str, ...] = ()

    def missing(self, place: Place) -> str:
        return place.missing(self.data)

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        from training.models.registry import model_kind, read_settings

        kind = model_kind(self.kind)
        return {
            "what": "scores",
            "kind": self.kind,
            "settings": {**asdict(read_settings(kind, self.settings)), "seed": seed},
            "defects_to_fit": kind.defects_to_fit,
            "seen": place.seen(self.data, self.split, self.size_px),
            "code": kind_code(kind, "training.measure"),
            "packages": packages(),
        }

    def measure(self, place: Place, seed: int) -> Figures:
        from training.measure import measure
        from training.models.registry import model_kind, read_settings

        kind = model_kind(self.kind)
        around = look_at(place.source(self.data), self.split, self.size_px)
        result = measure(kind, read_settings(kind, self.settings), around, seed)
        figures = {"AUROC": result.auroc, "escapes at 1 % false rejects": result.escapes}
        figures |= {f"AUROC {name}": value for name, value in result.auroc_by_class.items()}
        return figures if result.aupro is None else {**figures, "AUPRO": result.aupro}


@dataclass(frozen=True, slots=True)
class Target:
    """One figure of a task, held against a target; without `limit` it only explains.

    With `beside` the figure is how much larger it is than the largest of the same figure of those tasks, seed by seed.
    """

    task: Task
    figure: str
    limit: float | None = None
    at_least: bool = True
    beside: tuple[Task, ...] = ()
    unit: str = ""


@dataclass
class Bench:
    """Measures tasks or takes what is kept. With `only_kept` nothing is measured."""

    place: Place
    seeds: int
    only_kept: bool = False
    left_out: set[str] = field(default_factory=set)

    def figures(self, task: Task) -> dict[int, Kept]:
        """What there is, by seed; empty if the task cannot be measured here."""
        if reason := task.missing(self.place):
            self.left_out.add(f"{task.name}: {reason}")
            return {}
        found = {seed: self._one(task, seed) for seed in range(self.seeds)}
        return {seed: kept for seed, kept in found.items() if kept is not None}

    def _one(self, task: Task, seed: int) -> Kept | None:
        decides = task.decides(self.place, seed)
        known = self.place.shelf.find(decides)
        if known is not None:
            return Kept(**known)
        if self.only_kept:
            self.left_out.add(f"{task.name}, seed {seed}: not measured yet")
            return None
        console.print(f"{task.name}, seed {seed} …", style="dim", markup=False)
        kept = measured(lambda: task.measure(self.place, seed))
        self.place.shelf.keep(decides, asdict(kept))
        return kept


def row_of(bench: Bench, target: Target) -> Row:
    """The mean over seeds with its spread, or a row without value where nothing is measured."""
    ours = bench.figures(target.task)
    others = [bench.figures(task) for task in target.beside]
    seeds = [seed for seed in ours if all(seed in other for other in others)]
    values = [ours[seed].figures[target.figure] for seed in seeds]
    name = f"{target.task.name}: {target.figure}"
    if target.beside:
        best = [max(other[seed].figures[target.figure] for other in others) for seed in seeds]
        values = [value - beside for value, beside in zip(values, best, strict=True)]
        name += f" beyond {' and '.join(task.name for task in target.beside)}"
    if not values:
        words = "" if target.limit is None else target_words(target.limit, target.unit, at_least=target.at_least)
        return Row(name, None, target.unit, words, samples=0)
    mean = statistics.fmean(values)
    spread = f"± {statistics.pstdev(values):.3f}, " if len(values) > 1 else ""
    note = f"{spread}seeds {_numbers(seeds)}; {_busy([ours[seed] for seed in seeds])}"
    if target.limit is None:
        return Row(name, mean, target.unit, samples=len(values), note=note)
    return below(name, mean, target.unit, target.limit, len(values), at_least=target.at_least, note=note)


def _numbers(seeds: Sequence[int]) -> str:
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _busy(kept: Sequence[Kept]) -> str:
    return f"others {max(one.others_cores for one in kept):.1f} cores"
