"""`make bench`: measure what the project promises of speed and memory, print it, and write build/bench.json.

Rows that miss their target are rows like the others; the exit status is 1 only if something could not be measured.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.benchmarks import camera, health, latency, load, outage, settling, shared, steady, web, week
from tests.benchmarks.machine import OthersUse
from tests.benchmarks.model import BenchModel, bench_model
from tests.benchmarks.rows import Row, show, write

Group = Callable[[BenchModel, Path, bool], Iterator[Row]]
Plain = Callable[[Path, bool], Iterator[Row]]
GROUPS: dict[str, Group] = {
    "latency": latency.measure,
    "load": load.measure,
    "steady": steady.measure,
    "settling": settling.measure,
    "week": week.measure,
    "outage": outage.measure,
    "camera": camera.measure,
    "web": web.measure,
}
# These need no model, which takes a while to make.
PLAIN: dict[str, Plain] = {"shared": shared.measure, "health": health.measure}
console = Console(stderr=True)


def main(
    only: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join((*GROUPS, *PLAIN))}; may be given again.")
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="A look in a minute: few samples, short outage, a hundredth of the week.")
    ] = False,
    camera_minutes: Annotated[float, typer.Option(min=0.1, help="How long the GigE camera streams.")] = camera.minutes,
    output: Annotated[Path, typer.Option(help="Where the rows are written.")] = Path("build/bench.json"),
) -> None:
    """Run the benchmark."""
    unknown = sorted(set(only or ()) - set(GROUPS) - set(PLAIN))
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: choose from {', '.join((*GROUPS, *PLAIN))}", param_hint="--only"
        )
    camera.minutes = camera_minutes
    started = time.monotonic()
    rows: list[Row] = []
    failed = False
    folder = Path(tempfile.mkdtemp(prefix="inspector-bench-"))
    try:
        wanted = only or (*GROUPS, *PLAIN)
        model = bench_model(output.parent / "bench") if set(wanted) - set(PLAIN) else None
        for name in wanted:
            console.print(f"measuring {name} …", style="dim")
            use = OthersUse()
            try:
                if model is not None and name in GROUPS:
                    rows.extend(GROUPS[name](model, folder, quick))
                else:
                    rows.extend(PLAIN[name](folder, quick))
                rows.append(Row(f"processor use of other programs while measuring {name}", use.cores(), "cores"))
            except Exception:  # noqa: BLE001 - the edge of the program: the other groups are still worth measuring
                console.print_exception()
                failed = True
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        write(rows, output)
    title = f"inspector benchmark, {time.monotonic() - started:.0f} s{' (quick)' if quick else ''}, rows in {output}"
    show(rows, title)
    if failed:
        sys.exit(1)


typer.run(main)
