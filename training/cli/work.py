"""`inspector-train worker`: does what people ask for at the web desk, here or on another machine."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from inspector.ending import call_at_signals
from inspector.records.place import read_place
from training.cli.screen import say

_DESCRIBED_AT_ONCE = 25


def worker_command(
    line_file: Annotated[Path, typer.Argument(metavar="LINE.toml", help="Line file; its database has the jobs.")],
    once: Annotated[bool, typer.Option("--once", help="End when no job waits.")] = False,
    lease_s: Annotated[
        float, typer.Option("--lease", min=2.0, max=3600.0, help="Seconds after which a dead worker's job is taken up.")
    ] = 30.0,
    nice: Annotated[
        int, typer.Option("--nice", min=0, max=19, help="19 takes only what others leave; 0 for a machine of its own.")
    ] = 19,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="End when standard input does, as the web desk's own worker.")
    ] = False,
) -> None:
    """Do the jobs of a line, one after the other, at low priority: snapshots and fits asked for at the web desk.

    Several may run, here or on other machines that see the same database, bundles and desk folder.
    """
    # The database's libraries take a while to import.
    from inspector.likeness import describe_missing, descriptors_of
    from inspector.quiet import be_quiet
    from inspector.records.images import ImageStore
    from inspector.records.jobs import Jobs
    from inspector.records.store import Store
    from training.worker.loop import WorkerLoop, WorkerOptions

    place = read_place(line_file)
    store = Store(place.database_url)
    try:
        store.check_schema()
        be_quiet(nice)
        jobs = Jobs(store.database, place.line)
        images, descriptors = ImageStore(place.image_folder), descriptors_of(store.database)

        def describe() -> bool:
            """What pictures are like, a few at a time, so that a job that comes need not wait for long."""
            return describe_missing(descriptors, images, _DESCRIBED_AT_ONCE) == _DESCRIBED_AT_ONCE

        loop = WorkerLoop(jobs, place, say, WorkerOptions(lease_s=lease_s), describe)
        call_at_signals(loop.stop)

        def end_with_parent() -> None:
            sys.stdin.read()
            loop.stop()

        if with_parent:
            threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
        say(f"worker {loop.name} of line {place.line}: bundles go to {place.bundles}")
        loop.run(once=once)
    finally:
        store.close()
