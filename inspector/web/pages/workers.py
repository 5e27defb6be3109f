"""Whether anybody does the jobs that are asked for, and how to start somebody who does."""

from __future__ import annotations

from nicegui import ui

from inspector.web.desk import Desk, in_thread
from inspector.web.pages.pieces import told


async def show_workers(desk: Desk) -> bool:
    """Say who does jobs; whether there is anybody."""
    alive = [one for one in await in_thread(desk.work.jobs.workers) if one.is_alive]
    if alive:
        hosts = ", ".join(f"{one.host} (process {one.pid})" for one in alive)
        ui.label(f"Jobs are done by {hosts}.").classes("muted")
        return True
    told(
        "No worker is alive, so jobs wait. Start one on this machine, or on another that sees the same database and folders:",
        "warn",
    )
    ui.label(f"inspector-train worker {desk.line_file}").classes("command mono")
    ui.label("Or let the desk keep one: worker = true in [web] of the line file.").classes("muted")
    return False
