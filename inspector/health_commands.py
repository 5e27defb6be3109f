"""`inspector camera health`: how the cameras of a line see, against the reference of their commissioning."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from inspector.errors import ConfigError, StoreUnavailable
from inspector.settings import load_line_file

out = Console()


def camera_health(
    line_file: Annotated[Path, typer.Argument(help="The line file.", show_default=False)],
    camera: Annotated[str, typer.Option(help="Only this camera.")] = "",
    hours: Annotated[
        float, typer.Option(min=0.1, max=8784, help="How far back the small pictures of the course go.")
    ] = 24,
) -> None:
    """Say how the cameras see: what was measured last, how far from the reference, alarms. Exit status 1 with alarms."""
    from inspector.health_report import camera_card, has_alarm
    from inspector.records.store import Store
    from inspector.references import known_of

    settings = load_line_file(line_file)
    cameras = [name for station in settings.file.station for name in station.by_view.values()]
    if camera and camera not in cameras:
        raise ConfigError(f'line "{settings.file.line.name}" has no camera "{camera}"; it has {", ".join(cameras)}')
    store = Store(settings.database_url)
    try:
        store.check_schema()
        alarmed = False
        for name in [camera] if camera else cameras:
            known = known_of(settings, name)
            out.print(camera_card(store, settings.file.line.name, name, known, datetime.now(UTC), hours))
            alarmed |= has_alarm(store, settings.file.line.name, name)
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{error}; the service writes there what its cameras see") from error
    finally:
        store.close()
    if alarmed:
        raise typer.Exit(1)
