"""`python -m tests.chaos`: every kind of fault against the real processes, a table, and build/chaos.json."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
# Connections that break are what this is about: gRPC's own remarks on them would only tear the progress line.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import pytest  # noqa: E402
from chaos import suite  # noqa: E402
from chaos.account import OUTCOMES, Tally  # noqa: E402
from chaos.camera import CannotMeasure  # noqa: E402
from chaos.kinds import small_disk  # noqa: E402
from postgres import postgres_server  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from inspector.part import Verdict  # noqa: E402

FAULTS = 20
out = Console() if sys.stdout.isatty() else Console(width=120)


def main() -> int:
    """0 if every kind could be measured, whatever came out; 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=FAULTS, help=f"of each kind; {FAULTS} by default")
    parser.add_argument("--seed", type=int, default=1, help="another seed is another order and timing of faults")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "chaos.json")
    options = parser.parse_args()
    # So that no process of a line outlives a run that is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    started = time.monotonic()
    tallies, failures = measure(options.faults, options.seed)
    rows = [row for kind, tally in tallies.items() for row in rows_of(kind, tally, options.faults)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"rows": rows}, indent=2) + "\n")
    out.print(table_of(tallies))
    for tally in tallies.values():
        for fault in tally.broken[:20]:
            out.print(f"✗ {fault}", style="red", markup=False, soft_wrap=True)
    for failure in failures:
        out.print(f"not measured: {failure}", style="red", markup=False, soft_wrap=True)
    broken = sum(len(tally.broken) for tally in tallies.values())
    done = sum(tally.faults for tally in tallies.values())
    out.print(f"{done} faults, {broken} promises broken, {time.monotonic() - started:.0f} s; {options.output}")
    return 1 if failures else 0


def measure(count: int, seed: int) -> tuple[dict[str, Tally], list[str]]:
    """What each kind of fault did, and why some could not be measured."""
    tallies: dict[str, Tally] = {}
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="inspector-chaos-") as name, out.status("starting") as status:
        folder = Path(name)

        def progress(text: str) -> None:
            status.update(f"{text}: {count} faults")

        with _noting(failures):
            with_disk = _can_mount(failures)
            tallies |= suite.steady(folder / "steady", seed, count, progress, with_disk=with_disk)
        with _noting(failures):
            _add(tallies, suite.restarts(folder / "restarts", seed, count, progress))
        with _noting(failures), postgres_server() as server:
            _add(tallies, suite.postgres(folder / "postgres", seed, count, progress, server, server.create()))
    return tallies, failures


@contextlib.contextmanager
def _noting(failures: list[str]) -> Iterator[None]:
    try:
        yield
    except (CannotMeasure, RuntimeError, pytest.skip.Exception, pytest.fail.Exception) as error:
        failures.append(str(error))


def _can_mount(failures: list[str]) -> bool:
    try:
        with tempfile.TemporaryDirectory() as name, small_disk(Path(name), 64):
            return True
    except CannotMeasure as error:
        failures.append(f"disk full (image store): {error}")
        return False


def _add(tallies: dict[str, Tally], more: dict[str, Tally]) -> None:
    for kind, tally in more.items():
        tallies.setdefault(kind, Tally()).add(tally)


def rows_of(kind: str, tally: Tally, target: int) -> list[dict[str, object]]:
    """The rows of build/chaos.json."""
    rows: list[dict[str, object]] = []
    if tally.faults:
        rows.append(_row(f"{kind}: faults", tally.faults, "faults", f">= {target}", tally.faults >= target, tally))
    for outcome in OUTCOMES:
        value = tally.count(outcome)
        rows.append(_row(f"{kind}: verdicts {outcome}", value, "verdicts", "0", value == 0, tally))
    return rows


def _row(name: str, value: int, unit: str, target: str, holds: bool, tally: Tally) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "target": target, "holds": holds, "samples": tally.triggers}


def table_of(tallies: dict[str, Tally]) -> Table:
    """Faults × outcomes."""
    table = Table(title="Verdicts under faults, on reply, PLC, journal, database and watch stream")
    table.add_column("fault")
    for column in ("faults", "triggers", *OUTCOMES):
        table.add_column(column, justify="right")
    for verdict in Verdict:
        table.add_column(verdict.name, justify="right")
    for kind, tally in tallies.items():
        counts = [tally.faults, tally.triggers, *(tally.count(outcome) for outcome in OUTCOMES)]
        counts += [tally.verdicts[verdict] for verdict in Verdict]
        table.add_row(kind, *map(str, counts), style="red" if tally.broken else "")
    return table


if __name__ == "__main__":
    sys.exit(main())
