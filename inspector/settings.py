"""The line file: everything a service needs to know, as typed values. Only the command line reads this module.

`read_line_file` never stops at the first fault: every problem of the file is returned as a `Problem` with key, fact and
next step. Nothing here opens a bundle, a port or a database; `inspector/service.py` and `inspector check` do.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from inspector.errors import ConfigError

MAX_LINE_FILE_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a line file."""

    file: Path
    key: str
    fact: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.fact}; {self.next_step}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("use 1 to 63 letters, digits, '_', '.' or '-', starting with a letter or digit")
    return value


def parse_address(text: str) -> Address:
    """Split "host:port" or "[v6]:port"; raise ValueError with the next step."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f'got "{text}", expected "host:port" with a port from 1 to 65535, such as "127.0.0.1:50051"')
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _address(value: str) -> str:
    parse_address(value)
    return value


Name = Annotated[str, AfterValidator(_name)]
ListenText = Annotated[str, AfterValidator(_address)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class LineTable(_Table):
    """`[line]`: who this line is and where it keeps its state."""

    name: Name
    data_dir: str = "var"


class GrpcTable(_Table):
    """`[grpc]`: where cameras and clients connect."""

    listen: ListenText = "127.0.0.1:50051"
    max_frame_mib: int = Field(default=64, ge=1, le=1024)
    max_pixels: int = Field(default=50_000_000, ge=1, le=1_000_000_000)
    max_streams: int = Field(default=32, ge=1, le=1024)


class ModbusTable(_Table):
    """`[modbus]`: where the PLC reads."""

    listen: ListenText = "127.0.0.1:5020"
    heartbeat_ms: int = Field(default=100, ge=10, le=10_000)


class RecordsTable(_Table):
    """`[records]`: the quality database and the picture store."""

    database: str = ""
    pass_sampling: float = Field(default=0.01, ge=0.0, le=1.0)
    image_max_age_days: int = Field(default=365, ge=1, le=36_500)
    image_quota_mib: int = Field(default=20_480, ge=1)


class InferenceTable(_Table):
    """`[inference]`: how graphs run."""

    provider: Literal["CPU", "CUDA", "TensorRT", "OpenVINO"] = "CPU"
    threads: int = Field(default=0, ge=0, le=256)
    max_batch: int = Field(default=2, ge=1, le=256)


class StationTable(_Table):
    """`[[station]]`: one camera and what it inspects. `unit` is the Modbus unit id of its register block."""

    name: Name
    camera: Name
    recipe: Name
    unit: int = Field(ge=1, le=247)
    max_in_flight: int = Field(default=32, ge=1, le=1000)
    max_gap: int = Field(default=1000, ge=1, le=5000)


class CheckTable(_Table):
    """`[recipe.NAME.check]`: image quality below which a part is UNKNOWN. Grey levels of 8 bits; 0 turns one off."""

    min_mean: float = Field(default=8.0, ge=0.0, le=255.0)
    max_saturated_share: float = Field(default=0.5, ge=0.0, le=1.0)
    min_sharpness: float = Field(default=0.0, ge=0.0)


class RecipeTable(_Table):
    """`[recipe.NAME]`: what is inspected and how."""

    bundle: str = Field(min_length=1)
    deadline_ms: int = Field(default=500, ge=1, le=60_000)
    location: dict[str, Any] | None = None
    check: CheckTable = CheckTable()


class LineFile(_Table):
    """The whole file. Paths in it are relative to the file's folder."""

    line: LineTable
    grpc: GrpcTable = GrpcTable()
    modbus: ModbusTable = ModbusTable()
    records: RecordsTable = RecordsTable()
    inference: InferenceTable = InferenceTable()
    station: list[StationTable] = Field(min_length=1, max_length=247)
    recipe: dict[Name, RecipeTable] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class LineSettings:
    """A line file that holds together, with its paths resolved."""

    path: Path
    file: LineFile

    @property
    def data_dir(self) -> Path:
        return self.resolve(self.file.line.data_dir)

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the quality database; by default SQLite in the data folder."""
        return self.file.records.database or f"sqlite:///{self.data_dir / 'quality.db'}"

    @property
    def grpc_listen(self) -> Address:
        return parse_address(self.file.grpc.listen)

    @property
    def modbus_listen(self) -> Address:
        return parse_address(self.file.modbus.listen)

    def resolve(self, path: str) -> Path:
        """`path`, relative to the line file's folder."""
        return (self.path.parent / path).resolve()


def read_line_file(path: Path) -> tuple[LineSettings | None, list[Problem]]:
    """Read a line file; the settings are None if there is any problem that makes them unusable."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        return None, [Problem(path, "file", f"cannot be read ({error.strerror})", "give the path of a line file")]
    if len(raw) > MAX_LINE_FILE_BYTES:
        fact = f"is {len(raw):,} bytes, the most is {MAX_LINE_FILE_BYTES:,}"
        return None, [Problem(path, "file", fact, "is this a line file at all?")]
    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return None, [Problem(path, "file", f"is not UTF-8 text (byte {error.start})", "save it as UTF-8")]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return None, [Problem(path, "file", f"is not TOML: {error}", "correct that place")]
    try:
        parsed = LineFile.model_validate(document)
    except ValidationError as error:
        return None, [_problem(path, fault, document) for fault in error.errors(include_url=False)]
    problems = list(_disagreements(path, parsed))
    return (None, problems) if problems else (LineSettings(path.resolve(), parsed), [])


def load_line_file(path: Path) -> LineSettings:
    """Read a line file or raise ConfigError naming every problem."""
    settings, problems = read_line_file(path)
    if settings is None:
        raise ConfigError("\n".join(str(problem) for problem in problems))
    return settings


def _problem(path: Path, fault: Mapping[str, Any], document: Mapping[str, Any]) -> Problem:
    where = [str(part) for part in fault["loc"] if part != "[key]"]
    key = ".".join(where) or "file"
    kind = fault["type"]
    if kind == "missing":
        return Problem(path, key, "is missing", "add it (deploy/line.example.toml shows every key)")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(where[-1], _keys_beside(where), n=1)
        hint = f'did you mean "{near[0]}"?' if near else "remove it (deploy/line.example.toml shows every key)"
        return Problem(path, key, "is not a key of this table", hint)
    given = fault.get("input")
    shown = f" (got {given!r:.80})" if isinstance(given, str | int | float | bool) else ""
    message = str(fault["msg"]).removeprefix("Value error, ")
    return Problem(path, key, f"{message}{shown}", "correct the value")


def _keys_beside(where: list[str]) -> list[str]:
    tables: dict[str, type[_Table]] = {
        "line": LineTable,
        "grpc": GrpcTable,
        "modbus": ModbusTable,
        "records": RecordsTable,
        "inference": InferenceTable,
        "station": StationTable,
        "recipe": RecipeTable,
    }
    if len(where) < 2:
        return list(tables)
    table = CheckTable if "check" in where[:-1] else tables.get(where[0], LineFile)
    return list(table.model_fields)


def _disagreements(path: Path, parsed: LineFile) -> Iterator[Problem]:
    """Faults that no single key shows."""
    for key in ("name", "camera", "unit"):
        seen: dict[object, str] = {}
        for index, station in enumerate(parsed.station):
            value = getattr(station, key)
            if value in seen:
                fact = f'"{value}" is also that of station "{seen[value]}"'
                yield Problem(path, f"station.{index}.{key}", fact, "give every station its own")
            seen.setdefault(value, station.name)
    for index, station in enumerate(parsed.station):
        if station.recipe not in parsed.recipe:
            known = ", ".join(sorted(parsed.recipe))
            fact = f"there is no [recipe.{station.recipe}]; known recipes: {known}"
            yield Problem(path, f"station.{index}.recipe", fact, "name one of them or add the recipe")
    if parsed.grpc.listen == parsed.modbus.listen:
        yield Problem(path, "modbus.listen", f'"{parsed.modbus.listen}" is also grpc.listen', "choose another port")
