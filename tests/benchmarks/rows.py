"""Rows of the report: a table for people, build/bench.json for programs. A row that falls short is a row like any other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value, None if it was not measured here.

    `target` is what it is held against in words, empty where it only explains; `holds` then is None. `note` says how it came
    about: spread, seeds, what else the machine did.
    """

    name: str
    value: float | None
    unit: str
    target: str = ""
    holds: bool | None = None
    samples: int = 1
    note: str = ""


def below(
    name: str, value: float, unit: str, limit: float, samples: int, *, at_least: bool = False, note: str = ""
) -> Row:
    """A row with a target: at most `limit`, or at least it."""
    holds = value >= limit if at_least else value <= limit
    return Row(name, value, unit, target_words(limit, unit, at_least=at_least), holds, samples, note)


def target_words(limit: float, unit: str, *, at_least: bool = False) -> str:
    """What a row with a target is held against."""
    return f"{'≥' if at_least else '≤'} {limit:g} {unit}".strip()


def percentile(values: Sequence[float], share: float) -> float:
    """Of values in any order; `share` in percent."""
    return float(np.percentile(np.asarray(values), share))


def write(rows: Sequence[Row], path: Path) -> None:
    """Write all rows as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rows": [asdict(row) for row in rows]}, indent=1, ensure_ascii=False) + "\n")


def show(rows: Sequence[Row], title: str) -> None:
    """Print rows as a table."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("measured", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("target", no_wrap=True)
    table.add_column("holds", no_wrap=True)
    table.add_column("samples", justify="right", no_wrap=True)
    noted = any(row.note for row in rows)
    if noted:
        table.add_column("how", overflow="fold")
    for row in rows:
        holds = "" if row.holds is None else "[green]yes[/green]" if row.holds else "[red]no[/red]"
        cells = (row.name, shown(row), row.target, holds, f"{row.samples:,}", *([row.note] if noted else ()))
        table.add_row(*cells)
    console = Console()
    # Piped into a file there is no width to keep to.
    (console if console.is_terminal else Console(width=170)).print(table)


def shown(row: Row) -> str:
    """The value as people read it; a dash if it was not measured."""
    if row.value is None:
        return "–"
    value = f"{row.value:,.3f}" if abs(row.value) < 10 else f"{row.value:,.1f}"
    return f"{value} {row.unit}"
