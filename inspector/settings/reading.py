"""Reading a line file: a fault in one place hides none in another."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from inspector.decision.dimensions import DimensionLimit, Dimensions, Zone
from inspector.errors import ConfigError
from inspector.settings.camera_parts import CodeRegionTable, CodeTable, LineScanTable, PlcTable
from inspector.settings.cameras import CAMERA_TABLES, CameraBase, RegionTable
from inspector.settings.disagreements import disagreements
from inspector.settings.line import LineReading, LineSettings, Problem
from inspector.settings.tables import (
    CheckTable,
    GrpcTable,
    GrpcTlsTable,
    HealthTable,
    InferenceTable,
    LineFile,
    LineTable,
    MetricsTable,
    ModbusTable,
    OpcUaTable,
    RecipeTable,
    RecordsTable,
    StationTable,
    ViewTable,
    WebOidcTable,
    WebTable,
)
from inspector.settings.values import Table

MAX_LINE_FILE_BYTES = 1 << 20
EXAMPLE = "deploy/line.example.toml in the source shows every key"
_T = TypeVar("_T", bound=Table)


def read_line_file(path: Path) -> LineReading:
    """Read a line file, all of it: a fault in one place hides none in another."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        return _unreadable(path, f"cannot be read ({error.strerror})", "give the path of a line file")
    if len(raw) > MAX_LINE_FILE_BYTES:
        fact = f"is {len(raw):,} bytes, the most is {MAX_LINE_FILE_BYTES:,}"
        return _unreadable(path, fact, "is this a line file at all?")
    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return _unreadable(path, f"is not UTF-8 text (byte {error.start})", "save it as UTF-8")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return _unreadable(path, f"is not TOML: {error}", "correct that place")
    problems: list[Problem] = []
    faults: tuple[tuple[str | int, ...], ...] = ()
    try:
        parsed = LineFile.model_validate(document)
    except ValidationError as error:
        told = [{**fault, "loc": _place(fault["loc"])} for fault in error.errors(include_url=False)]
        problems.extend(_problem(path, fault, document) for fault in told)
        faults = tuple(_place(fault["loc"]) for fault in error.errors(include_url=False))
        parsed = _salvage(document, faults)
    draft = LineSettings(path.resolve(), parsed)
    reading = LineReading(None, (), draft, faults)
    problems.extend(disagreements(path, reading, parsed))
    return LineReading(None if problems else draft, tuple(problems), draft, faults)


def _unreadable(path: Path, fact: str, next_step: str) -> LineReading:
    return LineReading(None, (Problem(path, "file", fact, next_step),))


def load_line_file(path: Path) -> LineSettings:
    """Read a line file or raise ConfigError naming every problem."""
    reading = read_line_file(path)
    if reading.settings is None:
        raise ConfigError("\n".join(str(problem) for problem in reading.problems))
    return reading.settings


def _salvage(document: Mapping[str, Any], faults: tuple[tuple[str | int, ...], ...]) -> LineFile:
    """The file without the keys at fault; lists keep their places."""

    def sound(table: type[_T], raw: object, *where: str | int) -> _T:
        pairs = raw.items() if isinstance(raw, dict) else ()
        bad = {fault[len(where)] for fault in faults if fault[: len(where)] == where and len(fault) > len(where)}
        return table.model_construct(**{k: v for k, v in pairs if k in table.model_fields and k not in bad})

    stations, recipes, cameras = document.get("station"), document.get("recipe"), document.get("camera")
    health = document.get("health")
    return LineFile.model_construct(
        line=sound(LineTable, document.get("line"), "line"),
        grpc=sound(GrpcTable, document.get("grpc"), "grpc"),
        modbus=sound(ModbusTable, document.get("modbus"), "modbus"),
        metrics=sound(MetricsTable, document.get("metrics"), "metrics"),
        opcua=sound(OpcUaTable, document["opcua"], "opcua") if "opcua" in document else None,
        web=sound(WebTable, document["web"], "web") if "web" in document else None,
        records=sound(RecordsTable, document.get("records"), "records"),
        inference=sound(InferenceTable, document.get("inference"), "inference"),
        station=[
            sound(StationTable, raw, "station", index)
            for index, raw in enumerate(stations if isinstance(stations, list) else ())
        ],
        recipe={
            name: sound(RecipeTable, raw, "recipe", name)
            for name, raw in (recipes.items() if isinstance(recipes, dict) else ())
        },
        camera={
            name: sound(CAMERA_TABLES.get(_source(raw), CameraBase), raw, "camera", name)
            for name, raw in (cameras.items() if isinstance(cameras, dict) else ())
        },
        health={
            name: sound(HealthTable, raw, "health", name)
            for name, raw in (health.items() if isinstance(health, dict) else ())
        },
    )


def _place(where: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Without the kind of source, which pydantic puts after a camera's name."""
    is_kind = len(where) > 2 and where[0] == "camera" and where[2] in CAMERA_TABLES
    return where[:2] + where[3:] if is_kind else where


def _source(raw: object) -> str:
    return str(raw.get("source", "")) if isinstance(raw, dict) else ""


def _problem(path: Path, fault: Mapping[str, Any], document: Mapping[str, Any]) -> Problem:
    where = [str(part) for part in fault["loc"] if part != "[key]"]
    key = ".".join(where) or "file"
    kind = fault["type"]
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        step = f"write source = with one of {', '.join(CAMERA_TABLES)}"
        named = _source(fault["input"])
        return Problem(path, f"{key}.source", f'there is no "{named}"' if named else "is missing", step)
    if kind == "missing":
        return Problem(path, key, "is missing", f"add it ({EXAMPLE})")
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        near = difflib.get_close_matches(where[-1], _keys_beside(where, document), n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"remove it ({EXAMPLE})"
        return Problem(path, key, "is not a key of this table", hint)
    given = fault.get("input")
    shown = f" (got {given!r:.80})" if isinstance(given, str | int | float | bool) else ""
    message = str(fault["msg"]).removeprefix("Value error, ")
    return Problem(path, key, f"{message}{shown}", "correct the value")


def _keys_beside(where: list[str], document: Mapping[str, Any]) -> list[str]:
    tables: dict[str, type[Table]] = {
        "line": LineTable,
        "grpc": GrpcTlsTable if "tls" in where[1:-1] else GrpcTable,
        "modbus": ModbusTable,
        "metrics": MetricsTable,
        "opcua": OpcUaTable,
        "web": WebOidcTable if "oidc" in where[1:-1] else WebTable,
        "records": RecordsTable,
        "inference": InferenceTable,
        "station": StationTable,
        "recipe": RecipeTable,
        "camera": CameraBase,
        "health": HealthTable,
    }
    if len(where) < 2:
        return list(tables)
    below = {"dimensions": Dimensions, "limit": DimensionLimit, "zone": Zone}
    if where[0] == "recipe" and (named := [below[part] for part in where[2:-1] if part in below]):
        return [field.name for field in fields(named[-1])]
    if where[0] == "camera" and len(where) > 2:
        table = CAMERA_TABLES.get(_source(document["camera"][where[1]]), CameraBase)
        return list(_camera_table(table, where).model_fields)
    if where[0] == "recipe" and "view" in where[2:-1]:
        tables["recipe"] = ViewTable
    beside = CheckTable if "check" in where[:-1] else tables.get(where[0], LineFile)
    return list(beside.model_fields)


def _camera_table(table: type[Table], where: Sequence[str | int]) -> type[Table]:
    """The table of a camera, or one within it, that a key is of."""
    within: dict[str | int, type[Table]] = {
        "region": RegionTable, "code": CodeTable, "plc": PlcTable, "line_scan": LineScanTable,
    }  # fmt: skip
    if where[2] == "code" and len(where) > 4:
        return CodeRegionTable
    return within.get(where[2], table) if len(where) > 3 else table
