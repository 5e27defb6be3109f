"""`inspector-train evaluate` and `compare`: what bundles are worth on images of known truth."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspector.errors import ConfigError
from training.cli.options import BundleFolder, Data, JsonFile, Provider, ReportFile, TestSplit, Threads
from training.cli.screen import console, progress_bars, say
from training.data.layouts import open_dataset
from training.data.samples import printable

if TYPE_CHECKING:
    from training.report.build import Report
    from training.report.comparison import Comparison


def evaluate_command(
    bundle: BundleFolder,
    data: Data,
    split: TestSplit = None,
    report: ReportFile = None,
    json_file: JsonFile = None,
    mm_per_px: Annotated[float | None, typer.Option(help="Scale of the images, for defect sizes in mm.")] = None,
    provider: Provider = "CPU",
    threads: Threads = 0,
    latency_runs: Annotated[int, typer.Option(help="Verdicts to time with each provider; 0 for none.")] = 200,
) -> None:
    """Judge images of known truth as the line would, and report escapes, false rejects and what the limit is worth."""
    from inspector.inference.bundle import open_bundle
    from training.data.splits import read_split
    from training.report.build import Plan, build_report
    from training.report.page import evaluation_page
    from training.tables import evaluation_view

    _check_places(report, json_file)
    opened = open_bundle(bundle)
    plan = Plan(provider, threads, mm_per_px, latency_runs)
    chosen = None if split is None else read_split(split)
    with progress_bars() as progress:
        result = build_report(opened, open_dataset(data), chosen, plan, progress)
        page = None if report is None else evaluation_page(result)
    console.print(evaluation_view(result))
    _write(result, page, report, json_file)


def compare_command(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a bundle, such as the one in use.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of the other.")],
    data: Data,
    split: TestSplit = None,
    report: ReportFile = None,
    json_file: JsonFile = None,
    provider: Provider = "CPU",
    threads: Threads = 0,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record", metavar="LINE.toml", help="Put it on record, for the models page of that line's desk."
        ),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="Who compares, for the record; this machine's user if not given.")
    ] = "",
) -> None:
    """Judge the same parts by two bundles, and say what differs and whether chance explains it."""
    from inspector.inference.bundle import open_bundle
    from training.data.splits import read_split
    from training.report.comparison import SHOWN, compare
    from training.report.page import comparison_page
    from training.report.record import RECORDED
    from training.tables import comparison_view

    _check_places(report, json_file)
    bundles = open_bundle(first), open_bundle(second)
    chosen = None if split is None else read_split(split)
    with progress_bars() as progress:
        shown = SHOWN if record is None else RECORDED
        result = compare(
            *bundles, open_dataset(data), chosen, provider=provider, threads=threads, shown=shown, progress=progress
        )
        page = None if report is None else comparison_page(result)
    console.print(comparison_view(result))
    _write(result, page, report, json_file)
    if record is not None:
        _record(result, record, f"{data}, test images of {split.name}" if split is not None else data, by)


def _check_places(*files: Path | None) -> None:
    """Each file can be written, and is another one. Raises ConfigError, DataError."""
    from training.report.page import check_can_write

    given = [path for path in files if path is not None]
    for path in given:
        check_can_write(path)
    if len({path.absolute() for path in given}) < len(given):
        raise ConfigError(f"--report and --json are both {given[0]}: give each a file of its own")


def _record(result: Comparison, line_file: Path, data: str, by: str) -> None:
    """Raises ConfigError, RecordsError."""
    import getpass

    from inspector.records.comparisons import Comparisons
    from inspector.records.place import read_place
    from inspector.records.store import Store
    from training.report.record import record_of

    place = read_place(line_file)
    store = Store(place.database_url)
    try:
        store.check_schema()
        made = record_of(result, data)
        number = Comparisons(store.database, place.line).add(made, by or getpass.getuser(), datetime.now(UTC))
    finally:
        store.close()
    say(f"On record as comparison {number} of line {place.line}")


def _write(result: Report | Comparison, page: str | None, report: Path | None, json_file: Path | None) -> None:
    from training.report.page import write_json, write_page

    if report is not None and page is not None:
        write_page(report, page)
        say(f"Report in {printable(str(report))}")
    if json_file is not None:
        write_json(json_file, result.to_json())
