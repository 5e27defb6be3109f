"""`make bench-training`: what the kinds of models reach on the data at hand, against their targets.

    python -m tests.benchmarks.training DATA_FOLDER [--only NAME] [--seeds 3]

DATA_FOLDER holds magnetic-tile, mvtec-ad/screw, kolektor-sdd and x-sdd (see datasets/); the solar cells are the extra `elpv`.
A fit takes minutes, so each one is kept in build/bench-training by the digest of the code, the data's name and what was
asked: a run that was broken off goes on where it stood, and only what changed is measured again. Rows without their data
are left out and named.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from inspector.errors import InspectorError
from tests.benchmarks.rows import Row, below, show, write

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path("build/bench-training")
ELPV = "elpv"
# What decides a fit's result: all of training, and what the line does to a picture before the model.
_CODE = ("training", "inspector/imaging", "inspector/inference", "inspector/decision")
_PACKAGES = ("torch", "timm", "onnxruntime", "opencv-python-headless", "numpy")
console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Task:
    """A kind fitted and tested on one data set; `data` is a folder below DATA_FOLDER, or elpv.

    `split` is as in training/measure.py, or "classes" for a classifier: the share `test` of every label, at random.
    """

    name: str
    kind: str
    data: str
    split: str
    size_px: int = 224
    settings: tuple[str, ...] = ()
    test: float = 0.2


@dataclass(frozen=True, slots=True)
class Target:
    """One figure of a task, a key of what `measure_once` gives, held against a target; without `limit` it only explains.

    With `beside` the figure is how much larger it is than the same figure of that other task, seed by seed.
    """

    task: Task
    figure: str
    limit: float | None = None
    at_least: bool = True
    beside: Task | None = None


@dataclass
class Bench:
    """What has been measured, and where it is kept."""

    folder: Path
    seeds: int
    missing: set[str] = field(default_factory=set)

    def figures(self, task: Task) -> list[dict[str, float]]:
        """One set of figures per seed, from the cache or measured now; empty if the data is not here."""
        here = find_spec("elpv_dataset") is not None if task.data == ELPV else (self.folder / task.data).is_dir()
        if not here:
            self.missing.add(task.data)
            return []
        return [self._one(task, seed) for seed in range(self.seeds)]

    def _one(self, task: Task, seed: int) -> dict[str, float]:
        packages = {name: version(name) for name in _PACKAGES}
        asked = {**asdict(task), "name": "", "seed": seed, "code": code_digest(), "packages": packages}
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:24]
        path = CACHE / f"{key}.json"
        if path.exists():
            kept: dict[str, float] = json.loads(path.read_text())["figures"]
            return kept
        console.print(f"{task.name}, seed {seed} …", style="dim")
        figures = measure_once(task, self.folder, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"asked": asked, "figures": figures}, indent=1))
        draft.rename(path)
        return figures


@cache
def code_digest() -> str:
    """SHA-256 over the source files that decide a result."""
    digest = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def measure_once(task: Task, folder: Path, seed: int) -> dict[str, float]:
    """Fit and test by one seed: AUROC, escapes at 1 % false rejects, AUPRO where there are masks, seconds of the fit."""
    from training.measure import measure
    from training.models.registry import model_kind, read_settings

    kind = model_kind(task.kind)
    begin = time.monotonic()
    if task.split == "classes":
        return _classes_once(task, folder, seed)
    around = _look_at(_place(task, folder), task.split, task.size_px)
    result = measure(kind, read_settings(kind, task.settings), around, seed)
    figures = {"auroc": result.auroc, "escapes": result.escapes, "seconds": time.monotonic() - begin}
    figures |= {f"auroc {name}": value for name, value in result.auroc_by_class.items()}
    if result.aupro is not None:
        figures["aupro"] = result.aupro
    return figures


def _classes_once(task: Task, folder: Path, seed: int) -> dict[str, float]:
    """A classifier: accuracy and macro F1 over its classes, and AUROC of good against defective where there are good parts."""
    from training.models.classifier.measure import deal, told
    from training.models.registry import model_kind, read_settings

    data = _images_of(_place(task, folder), task.size_px)
    kind = model_kind(task.kind)
    fit_on, test = deal(data, task.test, seed)
    taught = data.only(fit_on)
    settings = replace(read_settings(kind, task.settings), seed=seed)
    network = kind.begin(taught, settings, lambda stage, done, total: None).fit(range(len(taught)))
    result = told(network, data, test)
    figures = {"accuracy": result.accuracy, "macro F1": result.macro_f1}
    if result.good_or_not is not None and result.auroc is not None:
        figures |= {"accuracy, good or not": result.good_or_not, "auroc": result.auroc}
    return figures


@cache
def _images_of(data: str, size_px: int) -> Any:
    from training.data.splits import Role, SplitEntry
    from training.data.training_set import LabelledImages

    around = _look_at(data, "random", size_px)
    entries = (SplitEntry(i.sample.path, i.sample.label, n, Role.FIT) for n, i in enumerate(around.seen.images))
    return LabelledImages(around.seen.dataset, tuple(entries), around.preparation)


def _place(task: Task, folder: Path) -> str:
    return task.data if task.data == ELPV else str(folder / task.data)


@cache
def _look_at(data: str, split: str, size_px: int) -> Any:
    from training.measure import look_at

    return look_at(data, split, size_px)


def rows_of(bench: Bench, targets: Sequence[Target]) -> list[Row]:
    """A row per target: the mean over seeds, with its spread in the name."""
    rows = []
    for target in targets:
        values = [figures[target.figure] for figures in bench.figures(target.task)]
        name = f"{target.task.name}: {target.figure}"
        if target.beside is not None:
            others = [figures[target.figure] for figures in bench.figures(target.beside)]
            values = [value - other for value, other in zip(values, others, strict=True)]
            name += f" beyond {target.beside.kind}"
        if not values:
            continue
        mean = statistics.fmean(values)
        if len(values) > 1:
            name += f" (± {statistics.pstdev(values):.3f})"
        if target.limit is None:
            rows.append(Row(name, mean, "", samples=len(values)))
        else:
            rows.append(below(name, mean, "", target.limit, len(values), at_least=target.at_least))
    return rows


def good_only() -> list[Target]:
    """Model 1. By part it is to be held against anomalib on the same split: see peers."""
    tiles = Task("magnetic tiles, random", "memory-bank", "magnetic-tile", "random")
    by_part = Task("magnetic tiles, by part", "memory-bank", "magnetic-tile", "part")
    screw = Task("screw, as published", "memory-bank", "mvtec-ad/screw", "published")
    kolektor = Task("KolektorSDD, by item", "memory-bank", "kolektor-sdd", "part")
    return [
        Target(tiles, "auroc", 0.96),
        Target(tiles, "escapes", 0.30, at_least=False),
        *(Target(task, figure) for task in (by_part, screw, kolektor) for figure in ("auroc", "escapes", "aupro")),
    ]


def fast() -> list[Target]:
    """Model 2 against model 1 on the same images."""
    rows = []
    for data, split in (("magnetic-tile", "part"), ("mvtec-ad/screw", "published"), ("kolektor-sdd", "part")):
        ours, theirs = (Task(f"{data}, {split}, {kind}", kind, data, split) for kind in ("fast-bank", "memory-bank"))
        rows.append(Target(ours, "auroc", 0.0, beside=theirs))
    return rows


def both() -> list[Target]:
    """Model 4 with the labelled defects of the training groups."""
    task = Task("magnetic tiles, by part, guided", "guided", "magnetic-tile", "part", size_px=320)
    return [Target(task, "auroc", 0.98), Target(task, "aupro", 0.90), Target(task, "escapes", 0.10, at_least=False)]


def classes() -> list[Target]:
    """Model 3. The labels of the solar cells: good, possibly defective and defective; the last two count as defective."""
    steel = Task("X-SDD", "classifier", "x-sdd", "classes", size_px=128, settings=("views=1",), test=0.3)
    cells = Task("solar cells", "classifier", ELPV, "classes", test=0.25)
    return [
        Target(steel, "accuracy", 0.96),
        Target(steel, "macro F1", 0.95),
        Target(cells, "accuracy, good or not", 0.90),
        Target(cells, "auroc", 0.95),
    ]


GROUPS: dict[str, Callable[[], list[Target]]] = {
    "good-only": good_only,
    "fast": fast,
    "both": both,
    "classes": classes,
}


def main(
    folder: Annotated[Path, typer.Argument(metavar="DATA_FOLDER", help="Where the data sets lie.")],
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(GROUPS)}; may be given again.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Splits, the mean of which counts.")] = 3,
    output: Annotated[Path, typer.Option(help="Where the rows are written.")] = Path("build/bench-training.json"),
) -> None:
    """Measure, print and write the rows; exit status 1 only if something could not be measured."""
    if unknown := sorted(set(only or ()) - set(GROUPS)):
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(GROUPS)}", param_hint="--only")
    bench = Bench(folder, seeds)
    rows: list[Row] = []
    failed = False
    for name in only or GROUPS:
        try:
            rows += rows_of(bench, GROUPS[name]())
        except InspectorError as error:
            console.print(f"{name}: {error}", markup=False)
            failed = True
    write(rows, output)
    show(rows, f"training, mean over {seeds} seeds, rows in {output}")
    if bench.missing:
        console.print(f"left out, as they are not in {folder}: {', '.join(sorted(bench.missing))}", markup=False)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    typer.run(main)
