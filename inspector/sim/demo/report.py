"""The demo's one table, and what it says to do next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from inspector.part import Verdict
from inspector.sim.demo.accounts import (
    Fault,
    Latency,
    ShownPart,
    Tally,
    Told,
    count_agreeing,
    find_faults,
    latency,
    truth_table,
)
from inspector.sim.parts import SEVERITY_BANDS

_FAULTS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Storage:
    """What the run left in the records."""

    rows: int
    images: int
    image_bytes: int
    lost_images: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that a finished run is judged by."""

    shown: Sequence[ShownPart]
    sent_ns: dict[int, int]
    camera: Sequence[Told]
    plc: Sequence[Told]
    database: Sequence[Told]
    ejections: dict[int, bool]
    storage: Storage
    promise: str
    rate: float
    poll_ms: float
    troubles: Sequence[str] = field(default=())
    notes: Sequence[str] = field(default=())

    @property
    def whole(self) -> bool:
        """Whether the run went as promised, apart from single verdicts: nothing died, nothing was overwritten."""
        return not self.troubles


def faults_of(run: Run) -> list[Fault]:
    """Every broken promise of the run; the demo succeeds only if there is none."""
    outputs = {"camera reply": run.camera, "PLC": run.plc, "database": run.database}
    faults = find_faults(run.shown, outputs)
    for one in run.plc:
        ejected = run.ejections.get(one.trigger)
        if ejected is not None and ejected != (one.verdict is not Verdict.PASS):
            action = "ejected" if ejected else "let through"
            faults.append(Fault("wrong ejection", one.trigger, f"{one.verdict.name} was {action}"))
    return sorted(faults, key=lambda fault: fault.trigger)


def print_report(run: Run, faults: Sequence[Fault], console: Console) -> None:
    """Print the table, and every fault below it (the first dozen)."""
    console.print()
    console.print(_table(run))
    if run.promise:
        console.print(f"Limit of the bundle: {run.promise}", highlight=False)
    if any(part.again for part in run.shown):
        distinct = sum(not part.again for part in run.shown)
        console.print(f"{distinct} different images were shown, some again; intervals count each image once.")
    for note in run.notes:
        console.print(f"[yellow]{note}[/yellow]", highlight=False)
    for trouble in run.troubles:
        console.print(f"[red]{trouble}[/red]", highlight=False)
    for fault in faults[:_FAULTS_SHOWN]:
        console.print(f"[red]{fault}[/red]", highlight=False)
    if len(faults) > _FAULTS_SHOWN:
        console.print(f"[red]… and {len(faults) - _FAULTS_SHOWN} more[/red]")
    if run.whole and not faults:
        console.print(
            f"[green]Every one of {len(run.shown)} triggers got exactly one verdict, the same on all outputs."
        )


def _table(run: Run) -> Table:
    whole, classes, bands = truth_table(run.shown, run.database)
    table = Table(box=box.SIMPLE_HEAD, title=f"{len(run.shown)} parts past the camera at {run.rate:g} per second")
    table.add_column("truth")
    for name in ("parts", "PASS", "REJECT", "UNKNOWN"):
        table.add_column(name, justify="right")
    table.add_column("wrong verdicts, with 95 % interval")
    good, defective = whole
    _add(table, good, "false rejects")
    table.add_section()
    _add(table, defective, "escapes")
    order = {name: place for place, (name, _, _) in enumerate(SEVERITY_BANDS)}
    for one in sorted(bands, key=lambda tally: order.get(tally.group, len(order))):
        _add(table, one, "escapes", "  ")
    table.add_section()
    for one in classes:
        _add(table, one, "escapes", "  ")
    table.add_section()
    table.add_row("[b]latency, ms[/b]", "parts", "p50", "p99", "p99.9", "")
    _add_latency(table, "frame sent to verdict received", latency(run.sent_ns, run.camera), "by the camera program")
    _add_latency(
        table,
        "frame sent to register read",
        latency(run.sent_ns, run.plc),
        f"by the PLC, which polls every {run.poll_ms:g} ms",
    )
    table.add_section()
    agreeing = count_agreeing(run.shown, run.plc, run.database)
    ejected = sum(run.ejections.values())
    table.add_row("PLC agrees with the database", str(agreeing), "", "", "", f"on {agreeing} of {len(run.shown)} parts")
    table.add_row("ejected by the PLC", str(ejected), "", "", "", "every REJECT and UNKNOWN, no PASS")
    stored = run.storage
    lost = f", {stored.lost_images} lost" if stored.lost_images else ""
    table.add_row("rows stored", str(stored.rows), "", "", "", "in the quality database")
    table.add_row("images stored", str(stored.images), "", "", "", f"{stored.image_bytes / 1e6:.1f} MB{lost}")
    return table


def _add(table: Table, one: Tally, error: str, indent: str = "") -> None:
    numbers = (str(one.parts), str(one.passed), str(one.rejected), str(one.unknown))
    table.add_row(indent + one.group, *numbers, f"{error} {_rate(one)}")


def _rate(one: Tally) -> str:
    wrong = one.wrong
    if math.isnan(wrong.rate):
        return "not known: none shown"
    return f"{wrong.rate:.1%} ({wrong.low:.1%} to {wrong.high:.1%})".replace("%", " %")


def _add_latency(table: Table, name: str, took: Latency, note: str) -> None:
    times = ("–" if math.isnan(ms) else f"{ms:.1f}" for ms in (took.p50_ms, took.p99_ms, took.p999_ms))
    table.add_row(f"  {name}", str(took.parts), *times, note)


def print_next_steps(folder: Path, line_file: Path, simulated: bool, console: Console) -> None:
    """Say where everything lies and what a newcomer would do next."""
    own = "inspector demo --data DIR" if simulated else "inspector demo"
    about = "your own images: DIR holds good/ and one folder per defect class" if simulated else "simulated parts"
    console.print(
        f"\nEverything of this run is in [b]{folder}[/b]: bundle/, line.toml, data/ (records, images), logs/."
    )
    console.print("What to do next:")
    steps = (
        (f"inspector rejects {line_file}", "the rejected parts, newest first"),
        (own, about),
        (f"inspector serve {line_file}", "run this line again; it goes on where it stopped"),
        ("README.md", "how the pieces fit; deploy/line.example.toml shows every setting"),
    )
    hints = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    for command, meaning in steps:
        hints.add_row(f"[cyan]{command}[/cyan]", meaning)
    console.print(hints)
