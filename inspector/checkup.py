"""`inspector check`: everything that would keep a line from starting, found without starting it."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import make_url

from inspector.access.application import check_application
from inspector.access.certificates import read_bounded, read_certificate
from inspector.access.identity import Role, identity_of_certificate
from inspector.access.logins import read_logins
from inspector.access.tls import TlsFiles
from inspector.decision.dimensions import check_dimensions, read_dimensions
from inspector.errors import AccessDenied, AccessError, ConfigError, InspectorError, SchemaOutdated, StoreUnavailable
from inspector.imaging.locate import location_from_dict
from inspector.models import load_model
from inspector.opcua.users import read_trusted
from inspector.promoting import promoted_for
from inspector.promotions import PROMOTIONS_FILE, Promotion, ViewKey
from inspector.records.store import Store
from inspector.references import dimensions_of, known_of
from inspector.settings import (
    EXAMPLE,
    Address,
    LineReading,
    LineSettings,
    Problem,
    StationTable,
    ViewTable,
    parse_address,
    read_line_file,
)
from inspector.settings.cameras import V4l2Table

MIN_FREE_BYTES = 1 << 30
RENEW_DAYS = 60
"""A certificate that ends sooner is worth a warning."""


@dataclass(frozen=True, slots=True)
class Checkup:
    """What `check_line` found: `problems` keep the line from starting, `notes` are what was seen to work."""

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def check_line(path: Path) -> Checkup:
    """Check the line file at `path`, and all that it names, on this machine. Changes nothing but creates `data_dir`.

    What a faulty key decides is left out; all the rest is checked.
    """
    reading = read_line_file(path)
    problems, notes = list(reading.problems), list[str]()
    if reading.draft is None:
        return Checkup(tuple(problems), ())
    file = reading.draft.file
    notes.append(f"line file: {len(file.station)} station(s), {len(file.recipe)} recipe(s)")
    for step in (
        _check_data_dir,
        _check_listeners,
        _check_opcua,
        _check_web,
        _check_database,
        _check_recipes,
        _check_health,
        _check_cameras,
    ):
        problems.extend(step(reading, reading.draft, notes))
    return Checkup(tuple(problems), tuple(notes))


def _check_health(reading: LineReading, settings: LineSettings, notes: list[str]) -> Iterator[Problem]:
    """The references that tables [health.CAMERA] name."""
    for camera, table in settings.file.health.items():
        if not table.reference or not reading.is_sound("health", camera):
            continue
        known = known_of(settings, camera)
        if known.fault or known.reference_set is None:
            yield Problem(settings.path, f"health.{camera}.reference", known.fault, "the line would run without it")
        else:
            notes.append(f"camera {camera}: reference {known.reference_set.label} by {known.reference_set.by}")


def _check_cameras(reading: LineReading, settings: LineSettings, notes: list[str]) -> Sequence[Problem]:
    """Where tables [camera.NAME] get frames from. What is missing is a warning: camera programs may run on other machines."""
    for camera, table in settings.file.camera.items():
        if not reading.is_sound("camera", camera):
            continue
        paths = {key: settings.resolve(getattr(table, key)) for key in table.PATHS}
        if isinstance(table, V4l2Table):
            paths["device"] = Path(table.device)
        missing = [f"{key} {path}" for key, path in paths.items() if key != "memory" and not os.path.exists(path)]
        if missing:
            step = "fine if its program runs on another machine, else correct it in the line file"
            notes.append(f"warning: camera {camera}: {', '.join(missing)} is not here: {step}")
        else:
            notes.append(f"camera {camera}: frames by {table.source}")
    return ()


def _check_data_dir(reading: LineReading, settings: LineSettings, notes: list[str]) -> Iterator[Problem]:
    if not reading.is_sound("line", "data_dir"):
        return
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


def _check_listeners(reading: LineReading, settings: LineSettings, notes: list[str]) -> Iterator[Problem]:
    for table in ("grpc", "modbus", "metrics", "opcua"):
        listen = getattr(getattr(settings.file, table), "listen", "") if reading.is_sound(table, "listen") else ""
        if not listen:
            continue
        key, address = f"{table}.listen", parse_address(listen)
        try:
            if table == "grpc":
                _check_certificates(settings, notes)
            _try_bind(address)
        except AccessError as error:
            yield Problem(settings.path, "grpc.tls", str(error), EXAMPLE)
        except OSError as error:
            fact = f"{address} cannot be listened on ({error.strerror or error})"
            step = "choose an address of this machine and another port"
            if error.errno == errno.EADDRINUSE:
                step = "the line may be running already; if not, stop the program that has it or choose another port"
            yield Problem(settings.path, key, fact, step)
        else:
            notes.append(f"{key}: {address} is free")
    if reading.is_sound("modbus", "listen"):
        notes.extend(f"warning: {warning}" for warning in settings.warnings())


def _check_opcua(reading: LineReading, settings: LineSettings, notes: list[str]) -> Iterator[Problem]:
    """The files that [opcua] names."""
    table = settings.file.opcua
    if table is None or not reading.is_sound("opcua"):
        return
    try:
        certificate = check_application(
            settings.resolve(table.certificate), settings.resolve(table.key), datetime.now(UTC)
        )
        users = read_logins(settings.resolve(table.users))
        trusted = "any" if not table.trusted else str(len(read_trusted(settings.resolve(table.trusted))))
        role = _role_of(settings, table.grpc_certificate)
    except (AccessError, AccessDenied) as error:
        yield Problem(settings.path, "opcua", str(error), EXAMPLE)
        return
    if role is not None and role < Role.ENGINEER:
        fact = f"the program would have the role {role.name.lower()}, too low for recipes and commands"
        step = "issue one with `inspector certs user --role engineer`"
        yield Problem(settings.path, "opcua.grpc_certificate", fact, step)
    left = (certificate.not_valid_after_utc - datetime.now(UTC)).days
    warning = "warning: " if left < RENEW_DAYS else ""
    notes.append(
        f"opcua: {warning}its certificate counts for {left} more days; {len(users)} user(s), trusted clients: {trusted}"
    )


def _check_web(reading: LineReading, settings: LineSettings, notes: list[str]) -> Iterator[Problem]:
    """The certificate that the web desk shows the service: it speaks for approvers too."""
    table = settings.file.web
    if (
        table is None
        or settings.tls_paths is None
        or not reading.is_sound("web")
        or not reading.is_sound("grpc", "tls")
    ):
        return
    key = "web.grpc_certificate"
    step = "issue one with `inspector certs user --role approver`"
    try:
        role = _role_of(settings, table.grpc_certificate)
    except (AccessError, AccessDenied) as error:
        yield Problem(settings.path, key, str(error), step)
        return
    if role is None:
        return
    if role < Role.APPROVER:
        fact = f"the desk would have the role {role.name.lower()}, too low to promote bundles"
        yield Problem(settings.path, key, fact, step)
    else:
        notes.append(f"web: its certificate for the service has the role {role.name.lower()}")


def _role_of(settings: LineSettings, certificate: str) -> Role | None:
    """The role in a client's certificate that the line file names, None if it names none. AccessError, AccessDenied."""
    return identity_of_certificate(read_bounded(settings.resolve(certificate))).role if certificate else None


def _check_certificates(settings: LineSettings, notes: list[str]) -> None:
    """The files of [grpc.tls], and how long they count. Raises AccessError."""
    if (paths := settings.tls_paths) is None:
        return
    TlsFiles(paths)
    certificate = read_certificate(paths.certificate)
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    if left.total_seconds() <= 0:
        raise AccessError(
            f"{paths.certificate} ended on {certificate.not_valid_after_utc:%Y-%m-%d}: renew it with `inspector certs renew`"
        )
    warning = "warning: " if left.days < RENEW_DAYS else ""
    notes.append(f"grpc.tls: {warning}{paths.certificate.name} counts for {left.days} more days")


def _try_bind(address: Address) -> None:
    family, kind, protocol, _, bound = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(bound)


def _check_database(reading: LineReading, settings: LineSettings, notes: list[str]) -> Iterator[Problem]:
    configured = settings.file.records.database
    if not reading.is_sound("records", "database") or not (configured or reading.is_sound("line", "data_dir")):
        return
    try:
        store = Store(settings.database_url)
        try:
            is_empty = store.is_empty()
            if not is_empty:
                store.check_schema()
            elif configured:
                _check_place(settings.database_url)
        finally:
            store.close()
    except SchemaOutdated as error:
        yield Problem(settings.path, "records.database", str(error), f"run `inspector db upgrade {settings.path}`")
    except InspectorError as error:
        yield Problem(settings.path, "records.database", str(error), "correct the URL or start the database")
    else:
        new = f"{store.name} is new, the first start makes its tables"
        notes.append(f"database: {new if is_empty else 'answers, schema is current'}")


def _check_place(url: str) -> None:
    """StoreUnavailable if the file of a new SQLite database cannot be made where it is to be."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return
    file = Path(parsed.database).absolute()
    if file.exists() and not file.is_file():
        raise StoreUnavailable(f"{file} is not a file")
    folder = next(parent for parent in file.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise StoreUnavailable(f"{parsed.database} cannot be made: this user cannot write to {folder}")


def _recipes_of(station: StationTable) -> list[str]:
    """Of a table that may be a draft, with keys missing."""
    return [getattr(station, "recipe", ""), *getattr(station, "recipes", ())]


def _check_recipes(reading: LineReading, settings: LineSettings, notes: list[str]) -> Iterator[Problem]:
    used = {name for station in settings.file.station for name in _recipes_of(station)}
    promoted: Mapping[ViewKey, Promotion] = {}
    if reading.is_sound("recipe") and reading.is_sound("line", "data_dir"):
        try:
            promoted = promoted_for(settings)
        except ConfigError as error:
            yield Problem(settings.data_dir / PROMOTIONS_FILE, "promoted", str(error), "the line does not start before")
            return
    for name, recipe in settings.file.recipe.items():
        key = f"recipe.{name}"
        if name not in used and reading.is_sound("station"):
            notes.append(f"{key}: no station uses it")
        for view, table in recipe.by_view.items():
            within = ("view", view) if view else ()
            place = (name, *within)
            one = promoted.get((name, view))
            if one is not None:
                notes.append(f"recipe.{name}: {one.bundle.label} in place of the line file's bundle, {one.told}")
            yield from _check_view(reading, settings, place, table, recipe.deadline_ms, notes, one)


def _check_view(
    reading: LineReading,
    settings: LineSettings,
    place: tuple[str, ...],
    view: ViewTable,
    deadline_ms: int,
    notes: list[str],
    promoted: Promotion | None,
) -> Iterator[Problem]:
    """Of the table `[recipe.PLACE]`."""
    key = ".".join(("recipe", *place))
    if not reading.is_sound("recipe", *place, "location"):
        return
    if view.location is not None:
        try:
            location_from_dict(view.location, settings.path.parent)
        except ConfigError as error:
            yield Problem(settings.path, f"{key}.location", str(error), EXAMPLE)
            return
    if not reading.is_sound("inference") or not reading.is_sound("recipe", *place, "bundle"):
        return
    try:
        model = load_model(settings, view, deadline_ms, promoted=promoted)
    except InspectorError as error:
        step = "name a bundle that passes `inspector bundle verify`"
        if promoted is not None:
            step = "the line starts all the same, and its stations give UNKNOWN until then"
        yield Problem(settings.path, f"{key}.bundle", str(error), step)
        return
    try:
        # Raw where another key of the file is at fault.
        if reading.is_sound("recipe", *place, "dimensions") and (dimensions := read_dimensions(view.dimensions)):
            dimensions = (
                dimensions_of(settings, place[0], place[-1] if len(place) > 1 else "", dimensions) or dimensions
            )
            check_dimensions(dimensions, model.bundle.manifest.classes, model.engine.outlines_classes)
            notes.append(f"{key}: {dimensions.mm_per_px:.6g} mm per pixel ± {dimensions.uncertainty:.2%}")
    except ConfigError as error:
        yield Problem(settings.path, f"{key}.dimensions", str(error), EXAMPLE)
    basis = model.bundle.manifest.basis.statement
    notes.append(f"{key}: bundle {model.bundle.label} reproduces its golden images here; {basis}")
    fitted = model.bundle.manifest.input.location
    if view.location is not None and dict(view.location) != dict(fitted):
        notes.append(f"{key}: warning: parts are located differently from how the bundle was fitted ({fitted})")
