"""Command line of training: from labels and images to bundles, and what these are worth. A module per kind of command."""

from __future__ import annotations

import os
import signal
import sys

import typer

from inspector.errors import InspectorError
from training.cli.data import check_data_command
from training.cli.fitting import export_command, fit_command
from training.cli.judging import compare_command, evaluate_command
from training.cli.screen import say
from training.cli.snapshots import diff_command, snapshot_command
from training.cli.successors import extend_command, recalibrate_command
from training.cli.work import worker_command

app = typer.Typer(
    name="inspector-train",
    help="From a folder of images to a bundle whose limit says what it promises.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("fit")(fit_command)
app.command("evaluate")(evaluate_command)
app.command("compare")(compare_command)
app.command("export")(export_command)
app.command("extend")(extend_command)
app.command("recalibrate")(recalibrate_command)
app.command("check-data")(check_data_command)
app.command("snapshot")(snapshot_command)
app.command("diff-snapshots")(diff_command)
app.command("worker")(worker_command)

_EXIT_ERROR, _EXIT_CANCELLED = 2, 130


def main() -> None:
    """Entry point: an `InspectorError` is one message and exit status 2, an interrupt is 130."""
    # OpenMP's workers spin while they wait. On cores that others use too (a line, another fit) that made a fit of half a
    # minute take twelve; it costs nothing otherwise. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that drafts are removed as after Ctrl-C
    try:
        app()
    except InspectorError as error:
        # Of the processes that torchrun started on a machine the first speaks for all.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            say(f"inspector-train: {error}", error=True)
        sys.exit(_EXIT_ERROR)
    except KeyboardInterrupt:
        sys.exit(_EXIT_CANCELLED)
