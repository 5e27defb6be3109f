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
    without_picture: int = 0
    """Parts not passed of which there is neither a picture nor a reason why it was lost."""


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
    console.print()
    if run.promise:
        console.print(f"The limit: {run.promise}", highlight=False)
    if any(part.again for part in run.shown):
        distinct = sum(not part.again for part in run.shown)
        console.print(f"{distinct} different images were shown, some again; intervals count each image once.")
    for note in run.notes:
        console.print(f"[yellow]{note}[/yellow]", highlight=False)
    for line in (*run.troubles, *faults[:_FAULTS_SHOWN]):
        console.print(str(line), style="red", highlight=False, markup=False)
    if len(faults) > _FAULTS_SHOWN:
        console.print(f"… and {len(faults) - _FAULTS_SHOWN} more", style="red", highlight=False)
    if run.whole and not faults:
        console.print(
            f"[green]Every one of {len(run.shown)} triggers got exactly one verdict, the same on all outputs."
        )


def _table(run: Run) -> Table:
    """The table fits into 80 columns."""
    whole, classes, bands = truth_table(run.shown, run.database)
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=f"{len(run.shown)} parts past the camera, {run.rate:g} per second"
    )
    table.add_column("truth", no_wrap=True, max_width=20)
    for name in ("parts", "PASS", "REJECT", "UNKNOWN"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("wrong, 95 % interval", no_wrap=True)
    good, defective = whole
    _add(table, good, good.group)
    _add(table, defective, defective.group, last=True)
    order = {name: place for place, (name, _, _) in enumerate(SEVERITY_BANDS)}
    for number, one in enumerate(sorted(bands, key=lambda tally: order.get(tally.group, len(order))), start=1):
        _add(table, one, f"  {one.group}", last=number == len(bands))
    for number, one in enumerate(classes, start=1):
        _add(table, one, f"  {one.group}", last=number == len(classes))
    table.add_row("[b]ms from sending to[/b]", "[b]parts", "[b]p50", "[b]p99", "[b]p99.9")
    _add_latency(table, "verdict at camera", latency(run.sent_ns, run.camera), "")
    _add_latency(table, "register at PLC", latency(run.sent_ns, run.plc), f"polled every {run.poll_ms:g} ms")
    table.caption_justify = "left"
    table.caption = _records(run)
    return table


def _records(run: Run) -> str:
    agreeing, ejected = count_agreeing(run.shown, run.plc, run.database), sum(run.ejections.values())
    stored = run.storage
    lost = f", {stored.lost_images} lost" if stored.lost_images else ""
    return (
        "Wrong is a false reject of a good part, or an escape of a defective one.\n"
        f"PLC agrees with the database on {agreeing} of {len(run.shown)} parts; it ejected {ejected}.\n"
        f"Stored: {stored.rows} rows, {stored.images} images ({stored.image_bytes / 1e6:.1f} MB{lost})."
    )


def _add(table: Table, one: Tally, name: str, last: bool = False) -> None:
    numbers = (str(one.parts), str(one.passed), str(one.rejected), str(one.unknown))
    table.add_row(name, *numbers, _rate(one), end_section=last)


def _rate(one: Tally) -> str:
    wrong = one.wrong
    if math.isnan(wrong.rate):
        return "not known"
    return f"{100 * wrong.rate:.1f} % ({100 * wrong.low:.1f}–{100 * wrong.high:.1f})"


def _add_latency(table: Table, name: str, took: Latency, note: str) -> None:
    times = ("–" if math.isnan(ms) else f"{ms:.1f}" for ms in (took.p50_ms, took.p99_ms, took.p999_ms))
    table.add_row(f"  {name}", str(took.parts), *times, note)


def print_next_steps(folder: Path, line_file: Path, simulated: bool, web_command: str, console: Console) -> None:
    """Say where everything lies and what a newcomer would do next."""
    own = "inspector demo --data DIR" if simulated else "inspector demo"
    about = "your own images: DIR holds good/ and one folder per defect class" if simulated else "simulated parts"
    console.print(
        f"\nEverything of this run is in [b]{folder}[/b]: bundles/, line.toml, data/ (records, images), logs/."
    )
    console.print("What to do next:")
    steps = (
        (f"inspector rejects {line_file}", "the rejected parts, newest first"),
        (web_command, "the line's desk in a browser, on this run's images and bundle; Ctrl-C ends it"),
        (own, about),
        (f"inspector serve {line_file}", "run this line again; it goes on where it stopped"),
        ("README.md", "how the pieces fit; deploy/line.example.toml shows every setting"),
    )
    for command, meaning in steps:
        console.print(f"  [cyan]{command}[/cyan]", highlight=False, soft_wrap=True)
        console.print(f"      {meaning}", highlight=False)
