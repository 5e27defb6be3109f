"""`make bench-training`: what the kinds of models reach on the data at hand, against their targets.

    python -m tests.benchmarks.training DATA_FOLDER [--only GROUP] [--peer PYTHON] [--seeds 3] [--kept]

DATA_FOLDER holds magnetic-tile, mvtec-ad/screw, kolektor-sdd and x-sdd (see datasets/); the solar cells are the extra `elpv`.
A fit takes minutes, so its figures are kept in build/bench-training by the digest of the source files that it imports, of
the data and of what was asked: a run that was broken off goes on where it stood, and only what changed is measured again.
Rows that miss their target are rows like the others; those that cannot be measured here stand there without a value.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from inspector.errors import InspectorError
from tests.benchmarks.rows import Row, show, write
from tests.benchmarks.training.anomalies import both, fast, good_only
from tests.benchmarks.training.classes import classes
from tests.benchmarks.training.kept import Shelf
from tests.benchmarks.training.limits import limits
from tests.benchmarks.training.markdown import tables
from tests.benchmarks.training.peers import peers
from tests.benchmarks.training.place import Place
from tests.benchmarks.training.precisions import precisions
from tests.benchmarks.training.tasks import Bench, Target, console, row_of
from tests.benchmarks.training.timing import timing

GROUPS: dict[str, Callable[[], list[Target]]] = {
    "good-only": good_only,
    "fast": fast,
    "both": both,
    "classes": classes,
    "peers": peers,
    "limits": limits,
    "int8": precisions,
    "timing": timing,
}


def main(
    folder: Annotated[Path, typer.Argument(metavar="DATA_FOLDER", help="Where the data sets lie.")],
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(GROUPS)}; may be given again.")] = None,
    match: Annotated[str, typer.Option(help="Only rows of tasks with this in their name.")] = "",
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Splits, the mean of which counts; 3 to 5 if not given.")
    ] = None,
    peer: Annotated[Path | None, typer.Option(help="Python of an environment with anomalib, see `make peer`.")] = None,
    kept: Annotated[bool, typer.Option("--kept", help="Measure nothing; print what is kept.")] = False,
    minutes: Annotated[float, typer.Option(help="Begin nothing more after that; run again to go on.")] = math.inf,
    again: Annotated[
        bool, typer.Option("--again-if-busy", help="Measure anew what was measured on a busy machine.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Where the rows are written.")] = Path("build/bench-training.json"),
    markdown: Annotated[Path | None, typer.Option(help="Also write the tables of README.md here.")] = None,
    shelf: Annotated[Path, typer.Option(help="Where figures are kept.")] = Path("build/bench-training"),
) -> None:
    """Measure, print and write the rows; exit status 1 only if something could not be measured."""
    if unknown := sorted(set(only or ()) - set(GROUPS)):
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(GROUPS)}", param_hint="--only")
    bench = Bench(Place(folder, Shelf(shelf), peer), seeds, kept, again, time.monotonic() + 60 * minutes)
    rows: list[Row] = []
    failed = False
    for name in only or GROUPS:
        for target in (target for target in GROUPS[name]() if match in target.task.name):
            try:
                rows.append(row_of(bench, target))
            except InspectorError as error:
                console.print(f"{target.task.name}: {error}", markup=False)
                failed = True
    write(rows, output)
    show([row for row in rows if row.target], f"training, held against targets, rows in {output}")
    show([row for row in rows if not row.target], "beside them")
    for reason in bench.left_out:
        console.print(f"left out: {reason}", markup=False)
    if markdown is not None:
        bench.only_kept = True
        markdown.write_text(tables(rows, bench), encoding="utf-8")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    typer.run(main)
