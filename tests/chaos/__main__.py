"""`python -m tests.chaos`: every kind of fault against the real processes, a table, and build/chaos.json.

With `--soak N` instead one long run of N triggers, see `chaos.soak`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
# Connections that break are what this is about: gRPC's own remarks on them would only tear the progress line.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import pytest  # noqa: E402
from chaos import soak, suite  # noqa: E402
from chaos.account import OUTCOMES, Tally  # noqa: E402
from chaos.camera import CannotMeasure  # noqa: E402
from chaos.suite import Effort  # noqa: E402
from chaos.watchdog import WATCHDOG_S  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from inspector.part import Verdict  # noqa: E402

FAULTS = 10
out = Console() if sys.stdout.isatty() else Console(width=170)


def main() -> int:
    """0 if all could be measured, whatever came out; 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--faults", type=int, default=FAULTS, help=f"of each kind, fewer of slow ones; {FAULTS} by default"
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed is another order and timing of faults")
    parser.add_argument("--only", choices=suite.SCENES, action="append", help="only these lines, may be repeated")
    parser.add_argument(
        "--soak", type=int, metavar="N", help="instead: one run of N triggers as fast as they are judged"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="folder of the results")
    options = parser.parse_args()
    # So that no process of a line outlives a run that is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options.output.mkdir(parents=True, exist_ok=True)
    if options.soak is not None:
        return soak.main(options.soak, options.output, out)
    started = time.monotonic()
    tallies, failures = measure(options.faults, options.seed, options.only or list(suite.SCENES))
    rows = [row for kind, tally in tallies.items() for row in rows_of(kind, tally)]
    output = options.output / "chaos.json"
    output.write_text(json.dumps({"rows": rows}, indent=2) + "\n")
    out.print(table_of(tallies))
    for tally in tallies.values():
        for fault in tally.broken[:20]:
            out.print(f"✗ {fault}", style="red", markup=False, soft_wrap=True)
    for failure in failures:
        out.print(f"not measured: {failure}", style="red", markup=False, soft_wrap=True)
    broken = sum(len(tally.broken) for tally in tallies.values())
    done = sum(tally.faults for tally in tallies.values())
    kinds = sum(tally.faults > 0 for tally in tallies.values())
    seconds = time.monotonic() - started
    out.print(f"{done} faults of {kinds} kinds, {broken} promises broken, {seconds:.0f} s; {output}")
    return 1 if failures else 0


def measure(count: int, seed: int, scenes: Sequence[str]) -> tuple[dict[str, Tally], list[str]]:
    """What each kind of fault did, and why some could not be measured."""
    tallies: dict[str, Tally] = {}
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="inspector-chaos-") as name, out.status("starting") as status:
        for scene in scenes:

            def say(text: str, scene: str = scene) -> None:
                status.update(f"{scene}: {text}")

            effort = Effort(count, seed, say=say, missing=failures)
            with _noting(scene, failures):
                found = suite.SCENES[scene](Path(name) / scene, effort)
                for kind, tally in found.items():
                    tallies.setdefault(kind, Tally()).add(tally)
    return tallies, failures


@contextlib.contextmanager
def _noting(scene: str, failures: list[str]) -> Iterator[None]:
    try:
        yield
    except (CannotMeasure, RuntimeError, pytest.skip.Exception, pytest.fail.Exception) as error:
        failures.append(f"{scene}: {error}")


def rows_of(kind: str, tally: Tally) -> list[dict[str, object]]:
    """The rows of build/chaos.json."""
    rows: list[dict[str, object]] = []
    if tally.expected:
        target = f">= {tally.expected}"
        rows.append(_row(f"{kind}: faults", tally.faults, "faults", target, tally.faults >= tally.expected, tally))
    for outcome in OUTCOMES:
        value = tally.count(outcome)
        rows.append(_row(f"{kind}: {outcome}", value, "verdicts", "0", value == 0, tally))
    if tally.told_ms:
        limit_ms = WATCHDOG_S * 1000
        holds = tally.told_ms <= limit_ms
        rows.append(_row(f"{kind}: PLC told after", round(tally.told_ms), "ms", f"<= {limit_ms:.0f}", holds, tally))
    return rows


def _row(name: str, value: int, unit: str, target: str, holds: bool, tally: Tally) -> dict[str, object]:
    return {"name": name, "value": value, "unit": unit, "target": target, "holds": holds, "samples": tally.triggers}


def table_of(tallies: dict[str, Tally]) -> Table:
    """Faults × outcomes."""
    table = Table(title="Verdicts under faults, on reply, PLC, journal, database and watch stream")
    table.add_column("fault", no_wrap=True)
    for column in ("faults", "triggers", "must not pass", *OUTCOMES, "PLC told, ms"):
        table.add_column(column, justify="right")
    for verdict in Verdict:
        table.add_column(verdict.name, justify="right")
    for kind, tally in tallies.items():
        counts = [tally.faults, tally.triggers, tally.must_not_pass, *(tally.count(outcome) for outcome in OUTCOMES)]
        told = f"{tally.told_ms:.0f}" if tally.told_ms else "–"
        verdicts = [tally.verdicts[verdict] for verdict in Verdict]
        table.add_row(kind, *map(str, counts), told, *map(str, verdicts), style="red" if tally.broken else "")
    return table


if __name__ == "__main__":
    sys.exit(main())
