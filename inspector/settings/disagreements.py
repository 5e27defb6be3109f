"""Faults of a line file that no single key shows: names given twice, views without a camera, doors that stand open."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from inspector.settings.line import LineReading, Problem
from inspector.settings.tables import LineFile, OpcUaTable, WebTable
from inspector.settings.values import Address, parse_address


def disagreements(path: Path, reading: LineReading, parsed: LineFile) -> Iterator[Problem]:
    """Faults that no single key shows, among the keys that are sound."""
    for key in ("name", "unit"):
        seen: dict[object, str] = {}
        for index, station in enumerate(parsed.station):
            if not reading.is_sound("station", index, key):
                continue
            value = getattr(station, key)
            if value in seen:
                fact = f'"{value}" is also that of station "{seen[value]}"'
                yield Problem(path, f"station.{index}.{key}", fact, "give every station its own")
            seen.setdefault(value, getattr(station, "name", str(index)))
    for index, station in enumerate(parsed.station):
        if parsed.recipe and reading.is_sound("station", index, "recipe") and station.recipe not in parsed.recipe:
            known = ", ".join(sorted(parsed.recipe))
            fact = f"there is no [recipe.{station.recipe}]; known recipes: {known}"
            yield Problem(path, f"station.{index}.recipe", fact, "name one of them or add the recipe")
        if parsed.recipe and reading.is_sound("station", index, "recipes"):
            for place, name in enumerate(getattr(station, "recipes", ())):
                if name not in parsed.recipe:
                    fact = f"there is no [recipe.{name}]; known recipes: {', '.join(sorted(parsed.recipe))}"
                    yield Problem(path, f"station.{index}.recipes.{place}", fact, "name one of them or add the recipe")
    yield from _views_and_cameras(path, reading, parsed)
    yield from _cameras(path, reading, parsed)
    yield from _health(path, reading, parsed)
    yield from _open_doors(path, reading, parsed)
    taken: dict[str, str] = {}
    for name in ("grpc", "modbus", "metrics", "opcua", "web"):
        listen = getattr(getattr(parsed, name), "listen", "") if reading.is_sound(name, "listen") else ""
        if listen in taken:
            yield Problem(path, f"{name}.listen", f'"{listen}" is also {taken[listen]}.listen', "choose another port")
        elif listen:
            taken[listen] = name


def _views_and_cameras(path: Path, reading: LineReading, parsed: LineFile) -> Iterator[Problem]:
    """Every view has one camera, every camera one view."""
    seen: dict[str, str] = {}
    for index, station in enumerate(parsed.station):
        if not reading.is_sound("station", index, "camera") or not reading.is_sound("station", index, "cameras"):
            continue
        key = "cameras" if station.cameras else "camera"
        name = getattr(station, "name", str(index))
        for view, camera in station.by_view.items():
            if camera in seen:
                fact = f'"{camera}" is also that of station "{seen[camera]}"'
                yield Problem(
                    path, ".".join(filter(None, ("station", str(index), key, view))), fact, "give every view its own"
                )
            seen.setdefault(camera, name)
        for recipe_name in dict.fromkeys((getattr(station, "recipe", ""), *getattr(station, "recipes", ()))):
            recipe = parsed.recipe.get(recipe_name)
            if recipe is None or not reading.is_sound("recipe", recipe_name, "view"):
                continue
            if set(station.by_view) != set(recipe.by_view):
                fact = f"[recipe.{recipe_name}] {_views(recipe.view)}, and the station {_views(station.cameras)}"
                yield Problem(
                    path, f"station.{index}.{key}", fact, 'give a camera for each, as cameras = { VIEW = "CAMERA" }'
                )
    for recipe_name, recipe in parsed.recipe.items():
        if len(recipe.view) == 1 and reading.is_sound("recipe", recipe_name, "view"):
            fact = "is the only view, and needs no name"
            step = f"move its keys into [recipe.{recipe_name}], and give the station camera instead of cameras"
            yield Problem(path, f"recipe.{recipe_name}.view.{next(iter(recipe.view))}", fact, step)
        for key in ("location", "check", "dimensions"):
            if recipe.view and key in recipe.model_fields_set:
                fact = "stands beside tables view, each of which has its own"
                yield Problem(
                    path, f"recipe.{recipe_name}.{key}", fact, f"move it into [recipe.{recipe_name}.view.VIEW.{key}]"
                )


def _cameras(path: Path, reading: LineReading, parsed: LineFile) -> Iterator[Problem]:
    """Tables of cameras that no station has, and cameras that the service would not let in."""
    whole = all(
        reading.is_sound("station", n, key) for n in range(len(parsed.station)) for key in ("camera", "cameras")
    )
    known = {camera for station in parsed.station for camera in station.by_view.values()} if whole else set()
    for name, table in parsed.camera.items():
        if whole and name not in known and reading.is_sound("camera", name):
            fact = f"no station has that camera; they have {', '.join(sorted(known))}"
            yield Problem(path, f"camera.{name}", fact, "give the table the name of one of them, or add the station")
        if not reading.is_sound("camera", name, "certificate") or not reading.is_sound("camera", name, "key"):
            continue
        if bool(table.certificate) != bool(table.key):
            fact = "certificate and key go together, and one is missing"
            yield Problem(path, f"camera.{name}.key", fact, "name both or none")
        elif reading.is_sound("grpc", "tls") and parsed.grpc.tls is not None and not table.certificate:
            fact = "the line wants certificates ([grpc.tls]) and there is none for this camera to show"
            step = "issue one with `inspector certs camera` and name it"
            yield Problem(path, f"camera.{name}.certificate", fact, step)


def _health(path: Path, reading: LineReading, parsed: LineFile) -> Iterator[Problem]:
    """Cameras that are watched, or corrected, or give a recipe its scale, and of which the file does not say how."""
    if not all(reading.is_sound("station", index) for index in range(len(parsed.station))):
        return
    cameras = sorted({camera for station in parsed.station for camera in station.by_view.values()})
    for name in parsed.health:
        if name not in cameras:
            fact = f"no station has a camera of that name; they have {', '.join(cameras)}"
            yield Problem(path, f"health.{name}", fact, "name one of them, or remove the table")
    watched = {name for name, table in parsed.health.items() if table.reference}
    for name, camera in parsed.camera.items():
        if camera.correct and name not in watched and reading.is_sound("camera", name):
            fact = f"there is no [health.{name}] reference to correct by"
            yield Problem(
                path, f"camera.{name}.correct", fact, "commission it with `inspector camera setup`, and name it there"
            )
    for recipe, view, key in _without_scale(parsed, reading):
        users = [s for s in parsed.station if recipe in (s.recipe, *s.recipes) and view in s.by_view]
        if not users or any(station.by_view[view] not in watched for station in users):
            step = "give it, or name a reference with a calibration in [health.CAMERA]"
            yield Problem(path, f"{key}.mm_per_px", "is missing", step)


def _without_scale(parsed: LineFile, reading: LineReading) -> Iterator[tuple[str, str, str]]:
    """Recipe, view and key of each table of dimensions that gives no scale."""
    for name, table in parsed.recipe.items():
        if not reading.is_sound("recipe", name):
            continue
        for view, one in table.by_view.items():
            if one.dimensions is not None and not one.dimensions.mm_per_px > 0:
                yield name, view, f"recipe.{name}.view.{view}.dimensions" if view else f"recipe.{name}.dimensions"


def _views(named: Collection[str]) -> str:
    return f"has the views {', '.join(named)}" if named else "has one view without a name"


def _open_doors(path: Path, reading: LineReading, parsed: LineFile) -> Iterator[Problem]:
    """Listeners that others than this machine reach, and that would let anybody in."""
    for name, harm in (("grpc", "stream as a camera"), ("metrics", "read what the line does")):
        listen = getattr(parsed, name).listen if reading.is_sound(name, "listen") else ""
        if not listen or parse_address(listen).is_loopback or parsed.grpc.tls is not None:
            continue
        if reading.is_sound("grpc", "tls"):
            fact = f"{listen} is open to the network and there is no table [grpc.tls]: anybody could {harm}"
            step = "make certificates with `inspector certs init` and name them there"
            yield Problem(path, f"{name}.listen", fact, step)
    yield from _opcua_door(path, reading, parsed)
    yield from _web_door(path, reading, parsed)
    if reading.is_sound("modbus", "listen") and reading.is_sound("modbus", "allow"):
        address = parse_address(parsed.modbus.listen)
        outside = [network for network in parsed.modbus.write_allow if not _lies_within(network, parsed.modbus.allow)]
        if outside and parsed.modbus.allow and reading.is_sound("modbus", "write_allow"):
            fact = f"{', '.join(outside)} may write but not connect: modbus.allow does not name it"
            yield Problem(path, "modbus.write_allow", fact, "add it to modbus.allow, or remove it here")
        if not address.is_loopback and not parsed.modbus.allow:
            fact = f"{address} is open to the network, Modbus has no login, and modbus.allow names nobody"
            yield Problem(
                path, "modbus.listen", fact, 'name the addresses of the PLCs, such as allow = ["192.168.10.20"]'
            )


def _opcua_door(path: Path, reading: LineReading, parsed: LineFile) -> Iterator[Problem]:
    """What would let anybody in over OPC UA, or keep its server from reaching the line."""
    table = parsed.opcua
    if table is None:
        return
    if reading.is_sound("opcua", "anonymous") and reading.is_sound("opcua", "listen"):
        address = parse_address(table.listen)
        if table.anonymous and not address.is_loopback:
            fact = f"{address} is open to the network and clients without a name are let in: anybody could read every result"
            yield Problem(path, "opcua.anonymous", fact, "remove it, and give every client a user")
    yield from _client_of_the_service(path, reading, parsed, "opcua")


def _web_door(path: Path, reading: LineReading, parsed: LineFile) -> Iterator[Problem]:
    """What would let others read passwords on their way to the web desk, or keep it from reaching the line."""
    table = parsed.web
    if table is None:
        return
    if reading.is_sound("web", "certificate") and reading.is_sound("web", "key"):
        if bool(table.certificate) != bool(table.key):
            yield Problem(path, "web.key", "certificate and key go together, and one is missing", "name both or none")
        elif reading.is_sound("web", "listen") and not table.certificate:
            address = parse_address(table.listen)
            if not address.is_loopback:
                fact = f"{address} is open to the network without TLS: anybody there could read passwords and sessions"
                step = "name web.certificate and web.key, or listen on 127.0.0.1 behind a server that speaks TLS "
                step += "and give its https address as web.address"
                yield Problem(path, "web.listen", fact, step)
    if table.oidc is not None and reading.is_sound("web", "oidc") and not _is_private(table.oidc.issuer):
        fact = f"{table.oidc.issuer} is not reached over TLS: anybody between could say who logs in"
        yield Problem(path, "web.oidc.issuer", fact, "give its https address")
    yield from _client_of_the_service(path, reading, parsed, "web")


def _is_private(url: str) -> bool:
    """Whether nobody between can change what is said there."""
    host = re.sub(r"^https?://|[/?#].*$|:\d+(?=[/?#]|$)", "", url)
    return url.startswith("https://") or Address(host.strip("[]"), 0).is_loopback


def _client_of_the_service(path: Path, reading: LineReading, parsed: LineFile, name: str) -> Iterator[Problem]:
    """Programs of their own show the service a certificate, if it wants one."""
    table: OpcUaTable | WebTable = getattr(parsed, name)
    if not reading.is_sound(name, "grpc_certificate") or not reading.is_sound(name, "grpc_key"):
        return
    if bool(table.grpc_certificate) != bool(table.grpc_key):
        yield Problem(
            path, f"{name}.grpc_key", "certificate and key go together, and one is missing", "name both or none"
        )
    elif reading.is_sound("grpc", "tls") and parsed.grpc.tls is not None and not table.grpc_certificate:
        fact = "the line wants certificates ([grpc.tls]) and there is none for this program to show"
        role = "approver" if name == "web" else "engineer"  # People promote bundles at the desk.
        step = f"issue one with `inspector certs user --role {role}` and name it"
        yield Problem(path, f"{name}.grpc_certificate", fact, step)


def _lies_within(network: str, others: list[str]) -> bool:
    inner = ipaddress.ip_network(network)
    return any(
        inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]
        for outer in map(ipaddress.ip_network, others)
    )
