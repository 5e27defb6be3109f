"""The limit that `inspector-train fit` sets by default, from good parts alone: does it keep its promise on parts held out?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.training.anomalies import BY_PART
from tests.benchmarks.training.kept import Figures, packages
from tests.benchmarks.training.place import ELPV, Place, kind_code
from tests.benchmarks.training.tasks import Target

FITTED, SPLIT = "fitted", "split.json"
SETS = {name: data for name, (data, _) in BY_PART.items()} | {"solar cells": ELPV}


@dataclass(frozen=True, slots=True)
class DefaultLimit:
    """A kind fitted as `inspector-train fit` does with its defaults, tested on the parts that it keeps for testing.

    `size` is the model's input, WxH or auto. The fitted model is kept as well, for the tasks that export it.
    """

    name: str
    kind: str
    data: str
    size: str = "auto"
    settings: tuple[str, ...] = ()
    seeds: int = 5

    def missing(self, place: Place) -> str:
        return place.missing(self.data)

    def needs(self, place: Place) -> str:
        return ""

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        from training.models.registry import model_kind, read_settings

        kind = model_kind(self.kind)
        return {
            "what": "default limit",
            "kind": self.kind,
            "settings": {**asdict(read_settings(kind, self.settings)), "seed": seed},
            "defects_to_fit": kind.defects_to_fit,
            "size": self.size,
            "seen": place.seen(self.data, "part"),
            "code": kind_code(kind, "training.fit"),
            "packages": packages(),
        }

    def measure(self, place: Place, seed: int) -> Figures:
        from training.checkpoint import save_fitted
        from training.data.input_size import parse_size
        from training.data.layouts import open_dataset
        from training.data.splits import write_split
        from training.fit import FitPlan, fit
        from training.models.registry import model_kind, read_settings

        settings = read_settings(model_kind(self.kind), self.settings)
        width_px, height_px = parse_size(self.size) or (0, 0)
        plan = FitPlan(width_px=width_px, height_px=height_px, seed=seed, kind=self.kind, settings=settings)
        outcome = fit(open_dataset(place.source(self.data)), plan)
        with place.shelf.making(self.decides(place, seed)) as folder:
            save_fitted(outcome.fitted, folder / FITTED)
            write_split(folder / SPLIT, outcome.split)
        return _figures(outcome)

    def made(self, place: Place, seed: int) -> Path:
        """Folder of the fitted model and its split, fitted again if it is gone."""
        folder = place.shelf.made(self.decides(place, seed))
        if not folder.exists():
            self.measure(place, seed)
        return folder


def _figures(outcome: Any) -> Figures:
    """Counts of images and, as promises are about them, of parts; the promise is refuted only where chance explains it not."""
    from training.report.words import promise_held
    from training.statistics import counted

    test, basis = outcome.test, outcome.fitted.basis
    figures = {
        "good images": test.false_rejects.total,
        "good images rejected": test.false_rejects.count,
        "defective images": test.escapes.total,
        "defective images passed": test.escapes.count,
        "parts that set the limit": basis.good_parts,
    }
    if basis.tested is not None:
        rate = counted(basis.tested.count, basis.tested.parts)
        figures |= {
            "good parts": rate.total,
            "good parts rejected": rate.count,
            "share of seeds that keep the bound": float(rate.value <= basis.false_reject_rate),
            "share of seeds that do not refute it": float(promise_held(rate, basis)[0] is not False),
        }
    return figures


def default_limit(name: str, kind: str = "memory-bank") -> DefaultLimit:
    """The limit of a kind on one of the sets."""
    return DefaultLimit(f"{kind}, default limit, {name}", kind, SETS[name])


def limits() -> list[Target]:
    """For each set: whether the bound holds, and what the limit rejects and lets pass."""
    rows = []
    for task in map(default_limit, SETS):
        rows += [
            Target(task, "share of seeds that keep the bound", 0.95),
            Target(task, "share of seeds that do not refute it", 0.95),
            Target(task, "good parts rejected", of="good parts"),
            Target(task, "good images rejected", of="good images"),
            Target(task, "defective images passed", of="defective images"),
        ]
    return rows
