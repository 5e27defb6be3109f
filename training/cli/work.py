"""`inspector-train worker`: does what people ask for at the web desk, here or on another machine."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from inspector.records.place import read_place
from training.cli.screen import say


def worker_command(
    line_file: Annotated[Path, typer.Argument(metavar="LINE.toml", help="Line file; its database has the jobs.")],
    once: Annotated[bool, typer.Option("--once", help="End when no job waits.")] = False,
    lease_s: Annotated[
        float, typer.Option("--lease", min=2.0, max=3600.0, help="Seconds after which a dead worker's job is taken up.")
    ] = 30.0,
    nice: Annotated[
        int, typer.Option("--nice", min=0, max=19, help="19 takes only what others leave; 0 for a machine of its own.")
    ] = 19,
) -> None:
    """Do the jobs of a line, one after the other, at low priority: snapshots and fits asked for at the web desk.

    Several may run, here or on other machines that see the same database, bundles and desk folder.
    """
    # The database's libraries take a while to import.
    from inspector.records.jobs import Jobs
    from inspector.records.store import Store
    from training.worker.loop import WorkerLoop, WorkerOptions
    from training.worker.quiet import be_quiet

    place = read_place(line_file)
    store = Store(place.database_url)
    try:
        store.check_schema()
        be_quiet(nice)
        jobs = Jobs(store.database, place.line)
        loop = WorkerLoop(jobs, place, say, WorkerOptions(lease_s=lease_s))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        say(f"worker {loop.name} of line {place.line}: bundles go to {place.bundles}")
        loop.run(once=once)
    finally:
        store.close()
