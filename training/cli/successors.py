"""`inspector-train extend` and `recalibrate`: a bundle made from another one, without fitting again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inspector.errors import ConfigError
from training.cli.options import BundleFolder, Confidence, Data, FalseRejectRate, Name, NewBundle, bundle_name
from training.cli.screen import console, progress_bars
from training.data.files import check_free
from training.data.layouts import open_dataset


def extend_command(
    bundle: BundleFolder,
    out: NewBundle,
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
    chosen = bundle_name(name, out)
    if bool(pictures) == bool(without):
        raise ConfigError(
            "extend takes pictures of good parts to add, or --without the number of an addition, not both"
        )
    from inspector.inference.bundle import open_bundle
    from training.extend import extend, leave_out
    from training.tables import extension_view

    check_free(out)
    opened = open_bundle(bundle)
    with progress_bars() as progress:
        if without:
            result = leave_out(opened, without, out, chosen, reason=reason)
        else:
            defects = open_dataset(check) if check else None
            result = extend(opened, pictures or [], out, chosen, reason=reason, check=defects, progress=progress)
    console.print(extension_view(result, opened))


def recalibrate_command(
    bundle: BundleFolder,
    data: Data,
    out: NewBundle,
    name: Name = "",
    false_reject_rate: FalseRejectRate = 0.01,
    confidence: Confidence = 0.95,
    accept: Annotated[str, typer.Option(metavar="REASON", help="Let golden images change their verdict.")] = "",
    reason: Annotated[str, typer.Option(help="Why the limit is set anew; goes on record.")] = "",
) -> None:
    """Give a bundle another limit, from good parts that it was not fitted on."""
    chosen = bundle_name(name, out)
    from inspector.inference.bundle import open_bundle
    from training.calibration.limits import check_promise
    from training.calibration.recalibrate import recalibrate
    from training.tables import recalibration_view

    check_promise(false_reject_rate, confidence)
    check_free(out)
    opened = open_bundle(bundle)
    with progress_bars() as progress:
        result = recalibrate(
            opened,
            open_dataset(data),
            out,
            chosen,
            false_reject_rate=false_reject_rate,
            confidence=confidence,
            accept=accept,
            reason=reason,
            progress=progress,
        )
    console.print(recalibration_view(result))
