"""`inspector-train fit` and `export`: from images to a bundle, and from a fitted model to another one."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from inspector.errors import BundleError, ConfigError, DataError, EngineError
from training.cli.options import (
    Confidence,
    Data,
    FalseRejectRate,
    Location,
    Name,
    NewBundle,
    PrecisionName,
    bundle_name,
    read_location,
    takes,
)
from training.cli.screen import bundle_view, console, progress_bars, say
from training.data.duplicates import GroupBy
from training.data.files import check_free
from training.data.input_size import AUTO, parse_size
from training.data.layouts import open_dataset

if TYPE_CHECKING:
    from inspector.imaging.locate import LocationSpec
    from inspector.inference.bundle import Bundle
    from inspector.inference.manifest import TilingSpec
    from training.calibration.costs import Costs
    from training.export import Parity
    from training.fit import FitOutcome, FitPlan, Fitted
    from training.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """What `fit` is asked for, in the order of its help."""

    data: Data
    out: NewBundle
    name: Name = ""
    kind: Annotated[str, typer.Option("--model", metavar="KIND", help="Kind of model; a wrong one lists all.")] = (
        "memory-bank"
    )
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of that kind; repeatable.")
    ] = None
    region_of_interest: Annotated[
        Path | None, typer.Option("--roi", metavar="FILE", help="Picture, white where defects count.")
    ] = None
    size: Annotated[str, typer.Option(metavar="WxH", help="Model input in pixels; auto suits it to the images.")] = AUTO
    tile: Annotated[
        str, typer.Option(metavar="WxH", help="Judge pictures of --size by overlapping tiles of this one.")
    ] = ""
    overlap: Annotated[
        int, typer.Option(help="Pixels that tiles share, at least; a smaller defect is whole in one. -1: a quarter.")
    ] = -1
    channels: Annotated[int, typer.Option(help="1 grey, 3 colour, 0 as the images are.")] = 0
    location: Location = None
    seed: Annotated[int, typer.Option(min=0, help="Decides every random choice.")] = 0
    false_reject_rate: FalseRejectRate = 0.01
    confidence: Confidence = 0.95
    cost_false_reject: Annotated[
        float | None, typer.Option(help="Cost of one; with the next two it chooses the limit.")
    ] = None
    cost_escape: Annotated[float | None, typer.Option(help="Cost of one defective part that passes.")] = None
    defect_rate: Annotated[float | None, typer.Option(help="Share of parts that are defective.")] = None
    test_fraction: Annotated[float, typer.Option(help="Share of the good images kept for testing.")] = 0.2
    calibration_fraction: Annotated[float, typer.Option(help="Share of the good images that set the limit.")] = 0.3
    group_by: Annotated[
        GroupBy, typer.Option(help="What never stands on two sides: a part, or the whole lot that it was made in.")
    ] = GroupBy.PART
    split_out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write which image was for what, JSON.")] = None
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also keep the fitted model, for `export`.")
    ] = None
    resume: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep here how far learning has come; a fit that was ended goes on from it."),
    ] = None
    precision: PrecisionName = "fp32"
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute; auto takes a GPU if there is one.")
    ] = "auto"


@takes(FitOptions)
def fit_command(options: FitOptions) -> None:
    """Fit a model on good parts, set its limit, test it and write its bundle."""
    started = time.perf_counter()
    name = bundle_name(options.name, options.out)
    size, location = parse_size(options.size), read_location(options.location)
    dataset = open_dataset(options.data)
    # Here and below: torch takes seconds to import, which `--help` and mistyped paths should not wait for.
    from training.device import DeviceChoice, computing_on
    from training.export import Precision, check_precision
    from training.fit import fit
    from training.loop import processes
    from training.models.registry import model_kind
    from training.tables import fit_view

    _check_places(options)
    plan = _plan(options, size, location)
    check_precision(plan.kind, model_kind(plan.kind).integers, Precision(options.precision))
    left = "cancelled; nothing was left half-written"
    if options.resume is not None:
        left += f"; the same command, with --resume {options.resume}, goes on after the last whole epoch"
    with (
        computing_on(DeviceChoice(options.device)),
        processes() as rank,
        progress_bars(left, shown=rank == 0) as progress,
    ):
        outcome = fit(dataset, plan, progress)
    if rank:
        return  # of the processes that torchrun started the first one writes what all of them have
    with progress_bars() as progress:
        kept, refused = _kept(outcome, options)
        try:
            bundle, parity = _export_or_keep(outcome.fitted, options, name, progress, kept)
        except BundleError as error:
            raise BundleError(". ".join(map(str, [error, *refused]))) from error
    console.print(fit_view(outcome))
    console.print(bundle_view(bundle, parity, options.out))
    say(f"Fitted and exported in {time.perf_counter() - started:.0f} s.")
    if refused:
        raise DataError(f"{'. '.join(map(str, refused))}. The bundle is whole, in {options.out}")


def export_command(
    checkpoint: Annotated[Path, typer.Argument(metavar="FITTED_DIR", help="Folder that `fit --checkpoint` wrote.")],
    out: NewBundle,
    name: Name = "",
    precision: PrecisionName = "fp32",
) -> None:
    """Make a bundle of a fitted model again, with this machine's versions, parity check and golden scores."""
    chosen = bundle_name(name, out)
    from training.checkpoint import load_fitted
    from training.export import Precision, export_bundle

    check_free(out)
    with progress_bars() as progress:
        fitted = load_fitted(checkpoint)
        bundle, parity = export_bundle(fitted, out, chosen, progress, Precision(precision))
    console.print(bundle_view(bundle, parity, out))


def _kept(outcome: FitOutcome, options: FitOptions) -> tuple[Path | None, list[DataError]]:
    """Where the fitted model is kept, if it was asked for, and why what was asked for beside the bundle is not there.

    A full disk takes none of it away from the bundle, which may lie on another one.
    """
    from training.checkpoint import save_fitted
    from training.data.splits import write_split

    kept, refused = None, []
    if options.checkpoint is not None:
        try:
            save_fitted(outcome.fitted, options.checkpoint)
            kept = options.checkpoint
        except DataError as error:
            refused.append(error)
    if options.split_out is not None:
        try:
            write_split(options.split_out, outcome.split)
        except DataError as error:
            refused.append(error)
    return kept, refused


def _export_or_keep(
    fitted: Fitted, options: FitOptions, name: str, progress: Progress, kept: Path | None
) -> tuple[Bundle, Parity]:
    """The bundle; if its export is refused, the error says where the fitted model is. Raises BundleError.

    `kept` is where it is kept already, or None.
    """
    from training.checkpoint import save_fitted
    from training.export import Precision, export_bundle

    try:
        return export_bundle(fitted, options.out, name, progress, Precision(options.precision))
    except (BundleError, EngineError) as error:
        if kept is None:
            kept = _free_beside(options.out)
            try:
                save_fitted(fitted, kept)
            except DataError as reason:
                raise BundleError(f"{error}. The fitted model is lost: {reason}") from error
        raise BundleError(
            f"{error}. The fitted model is kept in {kept}: `inspector-train export {kept} --out {options.out}` makes a bundle "
            "of it without fitting again, in float32 unless --precision says otherwise"
        ) from error


def _free_beside(out: Path) -> Path:
    """A new name beside `out` that says what is in the folder."""
    names = (out.with_name(f"{out.name}.fitted{number or ''}") for number in itertools.count())
    return next(name for name in names if not os.path.lexists(name))


def _check_places(options: FitOptions) -> None:
    """Everything that is to be written can be: before the minutes of work, not after. Raises ConfigError, DataError."""
    from training.report.page import check_can_write

    if options.checkpoint is not None and options.checkpoint.absolute() == options.out.absolute():
        raise ConfigError(f"--out and --checkpoint are both {options.out}: give each a folder of its own")
    for path in filter(None, (options.out, options.checkpoint)):
        check_free(path)
    for path in filter(None, (options.out, options.checkpoint, options.split_out)):
        check_can_write(path)
    if options.resume is not None:
        check_can_write(options.resume / "state")


def _plan(options: FitOptions, size: tuple[int, int] | None, location: LocationSpec) -> FitPlan:
    from training.data.splits import SplitShares
    from training.data.training_set import read_drawn_region
    from training.fit import FitPlan
    from training.loop import check_shares_work
    from training.models.registry import learns_by_steps, model_kind, read_settings, resumable

    width, height = size or (0, 0)
    kind = model_kind(options.kind)
    settings = read_settings(kind, options.settings or [])
    check_shares_work(kind.name, by_steps=learns_by_steps(kind, settings))
    mask = options.region_of_interest
    return FitPlan(
        width_px=width,
        height_px=height,
        channels=options.channels,
        location=location,
        seed=options.seed,
        false_reject_rate=options.false_reject_rate,
        confidence=options.confidence,
        costs=_costs(options.cost_false_reject, options.cost_escape, options.defect_rate),
        shares=SplitShares(options.test_fraction, options.calibration_fraction),
        group_by=options.group_by,
        kind=options.kind,
        settings=resumable(kind, settings, options.resume),
        region_of_interest=None if mask is None else read_drawn_region(mask),
        tiling=_tiling(options.tile, options.overlap),
    )


def _tiling(tile: str, overlap: int) -> TilingSpec | None:
    """Raises ConfigError; whether the picture can be cut so is the plan's to say."""
    from inspector.inference.manifest import TILE_GRID_PX, TilingSpec

    if not tile:
        if overlap != -1:
            raise ConfigError("--overlap is what tiles share: give --tile as well, or leave it out")
        return None
    try:
        sides = parse_size(tile if "x" in tile.lower() else f"{tile}x{tile}")
    except ConfigError:
        sides = None
    if sides is None:
        raise ConfigError(f"--tile is {tile!r}, expected pixels such as 512 or 512x384")
    width, height = sides
    quarter = max(1, round(min(width, height) / 4 / TILE_GRID_PX)) * TILE_GRID_PX
    return TilingSpec(width, height, quarter if overlap == -1 else overlap)


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
