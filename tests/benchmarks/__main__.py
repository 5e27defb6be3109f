"""`make bench`: measure what the project promises of speed and memory, print it, and write build/bench.json.

Rows that miss their target are rows like the others; the exit status is 1 only if something could not be measured.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console

from tests.benchmarks import latency, outage, settling, week
from tests.benchmarks.model import BenchModel, bench_model
from tests.benchmarks.rows import Row, show, write

Group = Callable[[BenchModel, Path, bool], Iterator[Row]]
GROUPS: dict[str, Group] = {
    "latency": latency.measure,
    "settling": settling.measure,
    "week": week.measure,
    "outage": outage.measure,
}
console = Console(stderr=True)


class _OthersUse:
    """How much of the machine other programs took: what a reader must know before believing a latency.

    PostgreSQL's own server, no child of this process, counts as another program.
    """

    def __init__(self) -> None:
        self._begin = self._now()

    def cores(self) -> float:
        """Processor seconds per second since the start, of all processes but this one and its ended children."""
        (begin_s, begin_busy_s, begin_own_s), (end_s, busy_s, own_s) = self._begin, self._now()
        return max(0.0, (busy_s - begin_busy_s) - (own_s - begin_own_s)) / (end_s - begin_s)

    @staticmethod
    def _now() -> tuple[float, float, float]:
        machine, own = psutil.cpu_times(), os.times()
        idle_s = machine.idle + getattr(machine, "iowait", 0.0)
        return time.monotonic(), sum(machine) - idle_s, sum(own[:4])


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(GROUPS)}; may be given again.")] = None,
    quick: Annotated[
        bool, typer.Option(help="A look in a minute: few samples, short outage, a hundredth of the week.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Where the rows are written.")] = Path("build/bench.json"),
) -> None:
    """Run the benchmark."""
    unknown = sorted(set(only or ()) - set(GROUPS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(GROUPS)}", param_hint="--only")
    started = time.monotonic()
    rows: list[Row] = []
    failed = False
    folder = Path(tempfile.mkdtemp(prefix="inspector-bench-"))
    try:
        model = bench_model(output.parent / "bench")
        for name in only or GROUPS:
            console.print(f"measuring {name} …", style="dim")
            use = _OthersUse()
            try:
                rows.extend(GROUPS[name](model, folder, quick))
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
