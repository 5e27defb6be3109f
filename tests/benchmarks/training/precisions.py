"""INT8 against float32: verdicts that differ on images of parts that were held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import BundleError
from inspector.part import Verdict
from tests.benchmarks.training.anomalies import BY_PART
from tests.benchmarks.training.code import closure, code_digest
from tests.benchmarks.training.kept import Figures
from tests.benchmarks.training.limits import FITTED, SETS, SPLIT, DefaultLimit
from tests.benchmarks.training.place import LOOKED_AT, REGISTRY, SAYS_ONLY, Place
from tests.benchmarks.training.tasks import Target, console

TILES = "magnetic tiles by part"
ALL_KINDS = ("memory-bank", "fast-bank", "classifier", "guided", "segmentation")
FP32, INT8 = "fp32", "int8"
HAS_INT8 = "share of seeds whose INT8 graph passes the gate"
THREADS = 2


@dataclass(frozen=True, slots=True)
class Precisions:
    """A fitted model exported as float32 and as INT8; the latter may be refused by its gate, which is a result."""

    name: str
    fitted: DefaultLimit
    seeds: int = 3

    def missing(self, place: Place) -> str:
        return self.fitted.missing(place)

    def needs(self, place: Place) -> str:
        return ""

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        code = code_digest(closure(["training.export"], without=(REGISTRY, *LOOKED_AT, *SAYS_ONLY)))
        return {"what": "precisions", "of": self.fitted.decides(place, seed), "code": code}

    def measure(self, place: Place, seed: int) -> Figures:
        from training.checkpoint import load_fitted
        from training.data.layouts import open_dataset
        from training.data.splits import read_split
        from training.evaluate import evaluate
        from training.export import Precision, export_bundle

        source = self.fitted.made(place, seed)
        fitted = load_fitted(source / FITTED)
        with place.shelf.making(self.decides(place, seed)) as folder:
            bundles = [export_bundle(fitted, folder / FP32, self.fitted.kind)[0]]
            try:
                bundles.append(export_bundle(fitted, folder / INT8, self.fitted.kind, precision=Precision.INT8)[0])
            except BundleError as error:
                console.print(f"{self.name}, seed {seed}: {error}", markup=False, highlight=False)
                return {HAS_INT8: 0.0}
            split, dataset = read_split(source / SPLIT), open_dataset(place.source(self.fitted.data))
            full, reduced = (evaluate(bundle, dataset, split, threads=THREADS).judged for bundle in bundles)
        flipped = [one.part for one, other in zip(full, reduced, strict=True) if one.verdict is not other.verdict]
        rejected = [{one.part for one in judged if one.verdict is Verdict.REJECT} for judged in (full, reduced)]
        return {
            HAS_INT8: 1.0,
            "held-out images": len(full),
            "verdicts that differ": len(flipped),
            "held-out parts": len({one.part for one in full}),
            "parts whose verdict differs": len(rejected[0] ^ rejected[1]),
        }

    def made(self, place: Place, seed: int) -> Path:
        """Folder of the bundles fp32 and, if its gate let it pass, int8; made again if it is gone."""
        folder = place.shelf.made(self.decides(place, seed))
        if not folder.exists():
            self.measure(place, seed)
        return folder


def precisions_of(kind: str, name: str = TILES, size: str = "auto") -> Precisions:
    """A kind's two graphs on one of the sets."""
    words = name if size == "auto" else f"{name}, {size} px"
    fitted = DefaultLimit(f"{kind}, {words}", kind, SETS[name], size, seeds=3)
    return Precisions(f"INT8, {fitted.name}", fitted)


def precisions() -> list[Target]:
    """Every kind on the tiles, the memory bank on the other sets of good parts as well."""
    rows = []
    pairs = [*((kind, TILES) for kind in ALL_KINDS), *(("memory-bank", name) for name in BY_PART if name != TILES)]
    for task in (precisions_of(*pair) for pair in pairs):
        rows += [
            Target(task, HAS_INT8, 1.0),
            Target(task, "verdicts that differ", 0.005, at_least=False, of="held-out images"),
            Target(task, "parts whose verdict differs", of="held-out parts"),
        ]
    return rows
