"""Command line of training: inspector-train fit | evaluate | compare | export | extend | recalibrate | check-data."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from inspector.errors import ConfigError, InspectorError
from inspector.imaging.locate import LocationSpec, NoLocation, location_from_dict
from training.data.duplicates import GroupBy
from training.data.files import write_whole
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.samples import printable

if TYPE_CHECKING:
    from inspector.inference.bundle import Bundle
    from training.calibration.costs import Costs
    from training.export import Parity

app = typer.Typer(
    name="inspector-train",
    help="From a folder of images to a bundle whose limit says what it promises.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_console = Console()
_EXIT_ERROR, _EXIT_CANCELLED = 2, 130

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="Folder of images (good/ and one per defect class), or elpv.")
]
Location = Annotated[
    Path | None, typer.Option("--location", help="TOML file that says where the part is: the table [location].")
]
BundleFolder = Annotated[Path, typer.Option("--out", metavar="BUNDLE_DIR", help="New folder for the bundle.")]
PrecisionName = Annotated[
    Literal["fp32", "int8", "fp16"],
    typer.Option("--precision", help="How the graph computes: int8 for CPUs, fp16 for GPUs; both must judge as fp32."),
]
Name = Annotated[str, typer.Option("--name", help="Name of the bundle; the folder's name if not given.")]
ReportFile = Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write the report as one HTML page.")]
TestSplit = Annotated[Path | None, typer.Option("--split", metavar="FILE", help="Judge only its test images.")]
Provider = Annotated[str, typer.Option(help="Provider that runs the model.")]
Threads = Annotated[int, typer.Option(min=0, max=256, help="Threads of the engine, 0 for one per core.")]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON.")]


@app.command("fit")
def fit_command(
    data: Data,
    out: BundleFolder,
    name: Name = "",
    kind: Annotated[
        str, typer.Option("--model", metavar="KIND", help="Kind of model; a wrong one lists all.")
    ] = "memory-bank",
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of that kind; repeatable.")
    ] = None,
    region_of_interest: Annotated[
        Path | None, typer.Option("--roi", metavar="FILE", help="Picture, white where defects count.")
    ] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Model input in pixels.")] = "224x224",
    channels: Annotated[int, typer.Option(help="1 grey, 3 colour, 0 as the images are.")] = 0,
    location: Location = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides every random choice.")] = 0,
    false_reject_rate: Annotated[float, typer.Option(help="Share of good parts that the limit may reject.")] = 0.01,
    confidence: Annotated[float, typer.Option(help="Confidence of that promise.")] = 0.95,
    cost_false_reject: Annotated[
        float | None, typer.Option(help="Cost of one; with the next two it chooses the limit.")
    ] = None,
    cost_escape: Annotated[float | None, typer.Option(help="Cost of one defective part that passes.")] = None,
    defect_rate: Annotated[float | None, typer.Option(help="Share of parts that are defective.")] = None,
    test_fraction: Annotated[float, typer.Option(help="Share of the good images kept for testing.")] = 0.2,
    calibration_fraction: Annotated[float, typer.Option(help="Share of the good images that set the limit.")] = 0.3,
    group_by: Annotated[
        GroupBy, typer.Option(help="What never stands on two sides: a part, or the whole lot that it was made in.")
    ] = GroupBy.PART,
    split_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write which image was for what, JSON.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also keep the fitted model, for `export`.")
    ] = None,
    precision: PrecisionName = "fp32",
) -> None:
    """Fit a model on good parts, set its limit, test it and write its bundle."""
    started = time.perf_counter()
    # Here and below: torch takes seconds to import, which `--help` and mistyped paths should not wait for.
    bundle_name = _bundle_name(name, out)
    width, height = _size(size)
    place = _location(location)
    dataset = open_dataset(data)
    from training.checkpoint import check_free, save_fitted
    from training.data.splits import SplitShares, write_split
    from training.data.training_set import read_region_of_interest
    from training.export import Precision, export_bundle
    from training.fit import FitPlan, fit
    from training.models.registry import model_kind, read_settings
    from training.report.page import check_can_write
    from training.tables import fit_view

    if checkpoint is not None and checkpoint.absolute() == out.absolute():
        raise ConfigError(f"--out and --checkpoint are both {out}: give each a folder of its own")
    for path in filter(None, (out, checkpoint)):
        check_free(path)
    for path in filter(None, (out, checkpoint, split_out)):
        check_can_write(path)
    inputs = Preparation(width, height, 1)
    plan = FitPlan(
        width_px=width,
        height_px=height,
        channels=channels,
        location=place,
        seed=seed,
        false_reject_rate=false_reject_rate,
        confidence=confidence,
        costs=_costs(cost_false_reject, cost_escape, defect_rate),
        shares=SplitShares(test_fraction, calibration_fraction),
        group_by=group_by,
        kind=kind,
        settings=read_settings(model_kind(kind), options or []),
        region_of_interest=None if region_of_interest is None else read_region_of_interest(region_of_interest, inputs),
    )
    with _progress() as progress:
        outcome = fit(dataset, plan, progress)
        if checkpoint is not None:
            save_fitted(outcome.fitted, checkpoint)
        if split_out is not None:
            write_split(split_out, outcome.split)
        bundle, parity = export_bundle(outcome.fitted, out, bundle_name, progress, Precision(precision))
    _console.print(fit_view(outcome))
    _console.print(_bundle_view(bundle, parity, out))
    _say(f"Fitted and exported in {time.perf_counter() - started:.0f} s.")


@app.command("evaluate")
def evaluate_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")],
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
    from training.report.page import check_can_write, evaluation_page, write_json, write_page
    from training.tables import evaluation_view

    for path in filter(None, (report, json_file)):
        check_can_write(path)
    opened = open_bundle(bundle)
    plan = Plan(provider, threads, mm_per_px, latency_runs)
    chosen = None if split is None else read_split(split)
    with _progress() as progress:
        result = build_report(opened, open_dataset(data), chosen, plan, progress)
        page = None if report is None else evaluation_page(result)
    _console.print(evaluation_view(result))
    if report is not None and page is not None:
        write_page(report, page)
        _say(f"Report in {printable(str(report))}")
    if json_file is not None:
        write_json(json_file, result.to_json())


@app.command("compare")
def compare_command(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a bundle, such as the one in use.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of the other.")],
    data: Data,
    split: TestSplit = None,
    report: ReportFile = None,
    json_file: JsonFile = None,
    provider: Provider = "CPU",
    threads: Threads = 0,
) -> None:
    """Judge the same parts by two bundles, and say what differs and whether chance explains it."""
    from inspector.inference.bundle import open_bundle
    from training.data.splits import read_split
    from training.report.comparison import compare
    from training.report.page import check_can_write, comparison_page, write_json, write_page
    from training.tables import comparison_view

    for path in filter(None, (report, json_file)):
        check_can_write(path)
    bundles = open_bundle(first), open_bundle(second)
    chosen = None if split is None else read_split(split)
    with _progress() as progress:
        result = compare(*bundles, open_dataset(data), chosen, provider=provider, threads=threads, progress=progress)
        page = None if report is None else comparison_page(result)
    _console.print(comparison_view(result))
    if report is not None and page is not None:
        write_page(report, page)
        _say(f"Report in {printable(str(report))}")
    if json_file is not None:
        write_json(json_file, result.to_json())


@app.command("export")
def export_command(
    checkpoint: Annotated[Path, typer.Argument(metavar="FITTED_DIR", help="Folder that `fit --checkpoint` wrote.")],
    out: BundleFolder,
    name: Name = "",
    precision: PrecisionName = "fp32",
) -> None:
    """Make a bundle of a fitted model again, with this machine's versions, parity check and golden scores."""
    bundle_name = _bundle_name(name, out)
    from training.checkpoint import check_free, load_fitted
    from training.export import Precision, export_bundle

    check_free(out)
    with _progress() as progress:
        fitted = load_fitted(checkpoint)
        bundle, parity = export_bundle(fitted, out, bundle_name, progress, Precision(precision))
    _console.print(_bundle_view(bundle, parity, out))


@app.command("extend")
def extend_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")],
    out: BundleFolder,
    pictures: Annotated[
        list[Path] | None, typer.Argument(metavar="PICTURES", help="Of good parts that it rejects.")
    ] = None,
    name: Name = "",
    reason: Annotated[str, typer.Option(help="Why they are good; goes on record.")] = "",
    check: Annotated[str, typer.Option(metavar="DATA", help="Its defects must not begin to pass.")] = "",
    without: Annotated[
        int, typer.Option(metavar="NUMBER", help="Leave out an earlier addition instead; bundle info lists them.")
    ] = 0,
) -> None:
    """Teach a memory bank that rejected pictures were good, in seconds; or take an earlier lesson back."""
    bundle_name = _bundle_name(name, out)
    if bool(pictures) == bool(without):
        raise ConfigError(
            "extend takes pictures of good parts to add, or --without the number of an addition, not both"
        )
    from inspector.inference.bundle import open_bundle
    from training.checkpoint import check_free
    from training.extend import extend, leave_out
    from training.tables import extension_view

    check_free(out)
    opened = open_bundle(bundle)
    with _progress() as progress:
        if without:
            result = leave_out(opened, without, out, bundle_name, reason=reason)
        else:
            defects = open_dataset(check) if check else None
            result = extend(opened, pictures or [], out, bundle_name, reason=reason, check=defects, progress=progress)
    _console.print(extension_view(result, opened))


@app.command("recalibrate")
def recalibrate_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")],
    data: Data,
    out: BundleFolder,
    name: Name = "",
    false_reject_rate: Annotated[float, typer.Option(help="Share of good parts that the limit may reject.")] = 0.01,
    confidence: Annotated[float, typer.Option(help="Confidence of that promise.")] = 0.95,
    accept: Annotated[str, typer.Option(metavar="REASON", help="Let golden images change their verdict.")] = "",
    reason: Annotated[str, typer.Option(help="Why the limit is set anew; goes on record.")] = "",
) -> None:
    """Give a bundle another limit, from good parts that it was not fitted on."""
    bundle_name = _bundle_name(name, out)
    from inspector.inference.bundle import open_bundle
    from training.calibration.limits import check_promise
    from training.calibration.recalibrate import recalibrate
    from training.checkpoint import check_free
    from training.tables import recalibration_view

    check_promise(false_reject_rate, confidence)
    check_free(out)
    opened = open_bundle(bundle)
    with _progress() as progress:
        result = recalibrate(
            opened,
            open_dataset(data),
            out,
            bundle_name,
            false_reject_rate=false_reject_rate,
            confidence=confidence,
            accept=accept,
            reason=reason,
            progress=progress,
        )
    _console.print(recalibration_view(result))


@app.command("check-data")
def check_data_command(
    data: Data,
    location: Location = None,
    json_file: JsonFile = None,
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Card of a known set that DATA is a copy of.")
    ] = None,
) -> None:
    """Report what a person should know of a data set before fitting on it."""
    from training.data.cards import check_card
    from training.data.report import report
    from training.data.survey import survey
    from training.tables import report_view

    preparation = Preparation(224, 224, 3, _location(location))
    with _progress() as progress:
        dataset = open_dataset(data)
        compared = None if card is None else check_card(card, dataset)
        result = report(survey(dataset, preparation, progress), progress)
    _console.print(report_view(result))
    if compared is not None:
        whole = [f"all that the card {compared.name} says is there ({compared.version})"]
        _say("\n".join(compared.sentences() or whole))
    _write_json(json_file, result.to_json())


def main() -> None:
    """Entry point: an `InspectorError` is one message and exit status 2, an interrupt is 130."""
    # OpenMP's workers spin while they wait. On cores that others use too (a line, another fit) that made a fit of half a
    # minute take twelve; it costs nothing otherwise. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that drafts are removed as after Ctrl-C
    try:
        app()
    except InspectorError as error:
        _say(f"inspector-train: {error}", error=True)
        sys.exit(_EXIT_ERROR)
    except KeyboardInterrupt:
        sys.exit(_EXIT_CANCELLED)


def _bundle_view(bundle: Bundle, parity: Parity, out: Path) -> RenderableType:
    from training.tables import facts_view

    facts = {
        "parity       ": f"torch and ONNX Runtime differ by {parity.score:.1e} of a score on {parity.images} images"
    }
    if (found := parity.reduced) is not None:
        facts["verdicts     "] = (
            f"{found.flips} of {found.images} held-out images get another verdict than from the float32 graph "
            f"({found.low:.1%} to {found.high:.1%} with 95 % confidence); scores differ by {found.rms:.1%} (rms)"
        )
        facts["stays float  "] = "; ".join(parity.kept_float) or "nothing that could be converted"
    return facts_view({**facts, "bundle": f"{bundle.label} in {printable(str(out))}"})


def _say(text: str, *, error: bool = False) -> None:
    """Print plain text: file names may hold what rich would take for markup."""
    Console(stderr=error).print(text, markup=False, highlight=False, soft_wrap=True)


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.lower().partition("x")
    if not separator or not width.isdecimal() or not height.isdecimal():
        raise ConfigError(f"--size is {text!r}, expected width x height in pixels, such as 224x224")
    return int(width), int(height)


def _bundle_name(name: str, out: Path) -> str:
    """Checked before the minutes of work that would end at the manifest. Raises ConfigError."""
    chosen = name or out.absolute().name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", chosen):
        raise ConfigError(
            f"a bundle cannot be named {chosen!r}: give --name with up to 64 letters, digits, dots, dashes or underscores, "
            "a letter or digit first"
        )
    return chosen


def _costs(false_reject: float | None, escape: float | None, defect_rate: float | None) -> Costs | None:
    """All three or none. Raises ConfigError, DataError."""
    from training.calibration.costs import Costs

    if false_reject is None and escape is None and defect_rate is None:
        return None
    if false_reject is None or escape is None or defect_rate is None:
        raise ConfigError(
            "a limit by cost needs --cost-false-reject, --cost-escape and --defect-rate; give all three or none"
        )
    return Costs(false_reject, escape, defect_rate)


def _location(path: Path | None) -> LocationSpec:
    """The table [location] of a TOML file. Raises ConfigError."""
    if path is None:
        return NoLocation()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}; check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML file: {error}") from error
    table = document.get("location")
    if not isinstance(table, dict):
        raise ConfigError(f"{path} has no table [location]; add one with kind, as in a line file")
    return location_from_dict(table, path.parent)


def _write_json(path: Path | None, document: dict[str, Any]) -> None:
    if path is not None:
        write_whole(path, json.dumps(document, indent=1).encode("ascii"))


class _Bars:
    """Shows one bar per stage; is the `Progress` that the work reports to."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage)
        self._bars.update(self._tasks[stage], completed=done, total=total)


@contextmanager
def _progress() -> Iterator[_Bars]:
    columns = (TextColumn("{task.description:26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as bars:
            yield _Bars(bars)
    except KeyboardInterrupt:
        _say("cancelled; nothing was left half-written", error=True)
        raise


if __name__ == "__main__":
    main()
