"""`inspector check`: everything that would keep a line from starting, found without starting it."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inspector.errors import ConfigError, InspectorError, SchemaOutdated
from inspector.imaging.locate import location_from_dict
from inspector.records.store import Store
from inspector.rpc.server import check_listen
from inspector.service import load_model
from inspector.settings import Address, LineSettings, Problem, read_line_file

MIN_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Checkup:
    """What `check_line` found: `problems` keep the line from starting, `notes` are what was seen to work."""

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def check_line(path: Path) -> Checkup:
    """Check the line file at `path`, and all that it names, on this machine. Changes nothing but creates `data_dir`."""
    settings, problems = read_line_file(path)
    if settings is None:
        return Checkup(tuple(problems), ())
    notes: list[str] = [f"line file: {len(settings.file.station)} station(s), {len(settings.file.recipe)} recipe(s)"]
    steps: tuple[Callable[[LineSettings, list[str]], Iterator[Problem]], ...] = (
        _check_data_dir,
        _check_listeners,
        _check_database,
        _check_recipes,
    )
    for step in steps:
        problems.extend(step(settings, notes))
    return Checkup(tuple(problems), tuple(notes))


def _check_data_dir(settings: LineSettings, notes: list[str]) -> Iterator[Problem]:
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        fact = f"{folder} cannot be made or read ({error.strerror})"
        yield Problem(settings.path, "line.data_dir", fact, "choose a folder that this user may write")
        return
    if not os.access(folder, os.W_OK):
        fact = f"{folder} cannot be written by this user"
        yield Problem(settings.path, "line.data_dir", fact, "change its owner or choose another folder")
    elif free_bytes < MIN_FREE_BYTES:
        fact = f"the disk of {folder} has {free_bytes >> 20} MiB free"
        yield Problem(settings.path, "line.data_dir", fact, f"free at least {MIN_FREE_BYTES >> 20} MiB")
    else:
        notes.append(f"data folder: {folder}, {free_bytes >> 30} GiB free")


def _check_listeners(settings: LineSettings, notes: list[str]) -> Iterator[Problem]:
    for key, address in (("grpc.listen", settings.grpc_listen), ("modbus.listen", settings.modbus_listen)):
        try:
            if key == "grpc.listen":
                check_listen(address.host)
            _try_bind(address)
        except ConfigError as error:
            yield Problem(settings.path, key, str(error), "see deploy/line.example.toml")
        except OSError as error:
            fact = f"{address} cannot be listened on ({error.strerror or error})"
            yield Problem(settings.path, key, fact, "stop the program that has it, or choose another port")
        else:
            notes.append(f"{key}: {address} is free")


def _try_bind(address: Address) -> None:
    family, kind, protocol, _, bound = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(bound)


def _check_database(settings: LineSettings, notes: list[str]) -> Iterator[Problem]:
    if not settings.file.records.database and not (settings.data_dir / "quality.db").exists():
        notes.append("database: a new SQLite file is made at the first start")
        return
    try:
        store = Store(settings.database_url)
        try:
            store.check_schema()
        finally:
            store.close()
    except SchemaOutdated as error:
        yield Problem(settings.path, "records.database", str(error), f"run `inspector db upgrade {settings.path}`")
    except InspectorError as error:
        yield Problem(settings.path, "records.database", str(error), "correct the URL or start the database")
    else:
        notes.append("database: answers, schema is current")


def _check_recipes(settings: LineSettings, notes: list[str]) -> Iterator[Problem]:
    used = {station.recipe for station in settings.file.station}
    for name, recipe in settings.file.recipe.items():
        key = f"recipe.{name}"
        if name not in used:
            notes.append(f"{key}: no station uses it")
        if recipe.location is not None:
            try:
                location_from_dict(recipe.location, settings.path.parent)
            except ConfigError as error:
                yield Problem(settings.path, f"{key}.location", str(error), "see deploy/line.example.toml")
                continue
        try:
            model = load_model(settings, recipe)
        except InspectorError as error:
            yield Problem(
                settings.path, f"{key}.bundle", str(error), "name a bundle that passes `inspector bundle verify`"
            )
            continue
        basis = model.bundle.manifest.basis.statement
        notes.append(f"{key}: bundle {model.bundle.label} reproduces its golden images here; {basis}")
        fitted = model.bundle.manifest.input.location
        if recipe.location is not None and dict(recipe.location) != dict(fitted):
            notes.append(f"{key}: warning: parts are located differently from how the bundle was fitted ({fitted})")
