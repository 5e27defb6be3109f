"""The line file: everything a service needs to know, as typed values. Only the command line reads this module.

`read_line_file` never stops at the first fault: every problem of the file is returned as a `Problem` with key, fact and
next step. Nothing here opens a bundle, a port or a database; `inspector/service.py` and `inspector check` do.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from inspector.decision.dimensions import DimensionLimit, Dimensions, Zone
from inspector.errors import ConfigError
from inspector.records.place import DATA_DIR, database_url

if TYPE_CHECKING:
    from inspector.access.tls import TlsPaths

MAX_LINE_FILE_BYTES = 1 << 20
MAX_VIEWS = 16
EXAMPLE = "deploy/line.example.toml in the source shows every key"
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

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it; False for names other than localhost, which may point anywhere."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

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


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f'{error}; give an address or a network, such as "192.168.10.0/24"') from error
    return value


def _address_or_none(value: str) -> str:
    return _address(value) if value else value


Name = Annotated[str, AfterValidator(_name)]
ListenText = Annotated[str, AfterValidator(_address)]
Network = Annotated[str, AfterValidator(_network)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


_T = TypeVar("_T", bound=_Table)


class LineTable(_Table):
    """`[line]`: who this line is and where it keeps its state."""

    name: Name
    data_dir: str = DATA_DIR


class GrpcTlsTable(_Table):
    """`[grpc.tls]`: PEM files. Clients must show a certificate of the authority `ca` that is not on the list `revoked`."""

    certificate: str = Field(min_length=1)
    key: str = Field(min_length=1)
    ca: str = Field(min_length=1)
    revoked: str = ""


class GrpcTable(_Table):
    """`[grpc]`: where cameras and clients connect."""

    listen: ListenText = "127.0.0.1:50051"
    max_frame_mib: int = Field(default=64, ge=1, le=1024)
    max_pixels: int = Field(default=50_000_000, ge=1, le=1_000_000_000)
    max_streams: int = Field(default=32, ge=1, le=1024)
    max_calls_per_s: int = Field(default=200, ge=1, le=100_000)
    max_frames_per_s: int = Field(default=1000, ge=1, le=100_000)
    tls: GrpcTlsTable | None = None


class ModbusTable(_Table):
    """`[modbus]`: where the PLC reads."""

    listen: ListenText = "127.0.0.1:5020"
    heartbeat_ms: int = Field(default=100, ge=10, le=10_000)
    allow: list[Network] = Field(default=[], max_length=256)
    write_allow: list[Network] = Field(default=[], max_length=256)
    plc_timeout_ms: int = Field(default=0, ge=0, le=600_000)


class MetricsTable(_Table):
    """`[metrics]`: where Prometheus reads; empty: nowhere. The certificates of `[grpc.tls]` count here too."""

    listen: Annotated[str, AfterValidator(_address_or_none)] = ""


class OpcUaTable(_Table):
    """`[opcua]`: what `inspector opcua` serves, a program of its own. Certificate and key are RSA, PEM.

    Clients log in by the file `users`; with `trusted`, a folder, their certificates must lie there. `service` is the
    address of the line's gRPC if it is not `[grpc] listen`; with `[grpc.tls]` the program shows `grpc_certificate` there.
    """

    certificate: str = Field(min_length=1)
    key: str = Field(min_length=1)
    users: str = Field(min_length=1)
    listen: ListenText = "127.0.0.1:4840"
    trusted: str = ""
    anonymous: bool = False
    max_sessions: int = Field(default=16, ge=1, le=256)
    service: Annotated[str, AfterValidator(_address_or_none)] = ""
    grpc_certificate: str = ""
    grpc_key: str = ""


class RecordsTable(_Table):
    """`[records]`: the quality database and the picture store."""

    database: str = ""
    pass_sampling: float = Field(default=0.01, ge=0.0, le=1.0)
    image_max_age_days: int = Field(default=365, ge=1, le=36_500)
    image_quota_mib: int = Field(default=20_480, ge=1)


class InferenceTable(_Table):
    """`[inference]`: how graphs run. `oip` is the address of an inference server that runs them instead.

    `trust` names public keys; with any, a bundle must be signed by one of them.
    """

    provider: Literal["CPU", "CUDA", "TensorRT", "OpenVINO", "auto"] = "CPU"
    oip: Annotated[str, AfterValidator(_address_or_none)] = ""
    threads: int = Field(default=0, ge=0, le=256)
    workers: int = Field(default=1, ge=1, le=64)
    max_batch: int = Field(default=2, ge=1, le=256)
    trust: list[str] = Field(default=[], max_length=16)


def _one_of(value: str, several: object, what: str, table: str) -> str:
    """`value`, which must be given exactly if `several` is not."""
    if not value and not several:
        raise PydanticCustomError("missing", "is missing")
    if value and several:
        raise ValueError(f"give either {what} or {table}, not both")
    return value


class StationTable(_Table):
    """`[[station]]`: a camera, or one for each view, and what is inspected. `unit` is the Modbus unit id of its registers.

    It begins with `recipe`; a PLC may change to one of `recipes`, whose models are loaded too.
    """

    name: Name
    cameras: dict[Name, Name] = Field(default={}, max_length=MAX_VIEWS)
    camera: Annotated[str, AfterValidator(lambda value: _name(value) if value else value)] = Field(
        default="", validate_default=True
    )
    recipe: Name
    recipes: list[Name] = Field(default=[], max_length=64)
    unit: int = Field(ge=1, le=247)
    max_in_flight: int = Field(default=32, ge=1, le=1000)
    max_gap: int = Field(default=1000, ge=1, le=5000)

    @field_validator("camera")
    @classmethod
    def _camera_or_cameras(cls, value: str, info: ValidationInfo) -> str:
        return _one_of(value, info.data.get("cameras", True), "camera", "cameras")

    @property
    def by_view(self) -> dict[str, str]:
        """The camera of each view; the only view has no name."""
        return dict(self.cameras) or {"": self.camera}


class CheckTable(_Table):
    """`[recipe.NAME.check]`: image quality below which a part is UNKNOWN. Grey levels of 8 bits; 0 turns one off."""

    min_mean: float = Field(default=8.0, ge=0.0, le=255.0)
    max_saturated_share: float = Field(default=0.5, ge=0.0, le=1.0)
    min_sharpness: float = Field(default=0.0, ge=0.0)


class ViewTable(_Table):
    """`[recipe.NAME.view.VIEW]`: how one of several views is judged."""

    bundle: str = Field(min_length=1)
    location: dict[str, Any] | None = None
    check: CheckTable = CheckTable()
    dimensions: Dimensions | None = None


class RecipeTable(_Table):
    """`[recipe.NAME]`: what is inspected and how; with tables `view` each of them has its own bundle and the rest."""

    view: dict[Name, ViewTable] = Field(default={}, max_length=MAX_VIEWS)
    bundle: str = Field(default="", validate_default=True)
    deadline_ms: int = Field(default=500, ge=1, le=60_000)
    location: dict[str, Any] | None = None
    check: CheckTable = CheckTable()
    dimensions: Dimensions | None = None

    @field_validator("bundle")
    @classmethod
    def _bundle_or_views(cls, value: str, info: ValidationInfo) -> str:
        return _one_of(value, info.data.get("view", True), "bundle", "tables view")

    @property
    def by_view(self) -> dict[str, ViewTable]:
        """How each view is judged; the only view has no name."""
        if self.view:
            return dict(self.view)
        about = {key: getattr(self, key) for key in ViewTable.model_fields}
        return {"": ViewTable.model_construct(**about)}


class LineFile(_Table):
    """The whole file. Paths in it are relative to the file's folder."""

    line: LineTable
    grpc: GrpcTable = GrpcTable()
    modbus: ModbusTable = ModbusTable()
    metrics: MetricsTable = MetricsTable()
    opcua: OpcUaTable | None = None
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
        """SQLAlchemy URL of the quality database; by default SQLite in the data folder. May hold a password."""
        return database_url(self.file.records.database, self.data_dir, self.path.parent)

    @property
    def grpc_listen(self) -> Address:
        return parse_address(self.file.grpc.listen)

    @property
    def modbus_listen(self) -> Address:
        return parse_address(self.file.modbus.listen)

    @property
    def metrics_listen(self) -> Address | None:
        """Where Prometheus reads, None: nowhere."""
        return parse_address(self.file.metrics.listen) if self.file.metrics.listen else None

    @property
    def tls_paths(self) -> TlsPaths | None:
        """Certificate files of the gRPC listener, None without TLS."""
        from inspector.access.tls import TlsPaths

        table = self.file.grpc.tls
        if table is None:
            return None
        revoked = self.resolve(table.revoked) if table.revoked else None
        return TlsPaths(self.resolve(table.certificate), self.resolve(table.key), self.resolve(table.ca), revoked)

    @property
    def trusted_keys(self) -> tuple[Path, ...]:
        """Public keys, one of which must have signed a bundle; none: every bundle is trusted."""
        return tuple(self.resolve(path) for path in self.file.inference.trust)

    def warnings(self) -> tuple[str, ...]:
        """What is allowed but a person should know before the line runs."""
        found = []
        address = self.modbus_listen
        if not address.is_loopback:
            found.append(
                f"modbus.listen: {address} is open to {', '.join(self.file.modbus.allow)} and Modbus has no login and no "
                "encryption: whoever sends from there can read every verdict; keep it on the machine network"
            )
        if self.file.modbus.write_allow and not address.is_loopback:
            found.append(
                f"modbus.write_allow: {', '.join(self.file.modbus.write_allow)} may start and stop stations and change "
                "recipes, known by its address alone: give that network to the PLC and this service only"
            )
        if self.file.inference.oip and not parse_address(self.file.inference.oip).is_loopback:
            found.append(
                f"inference.oip: pictures of parts go to {self.file.inference.oip} and scores come back without encryption or "
                "login; keep that server on the machine network"
            )
        return tuple(found)

    def with_oip(self, host: str) -> LineSettings:
        """These settings with an inference server at `host`, "name:port". Raises ConfigError."""
        try:
            _address(host)
        except ValueError as error:
            raise ConfigError(f"--oip: {error}") from error
        inference = self.file.inference.model_copy(update={"oip": host})
        return replace(self, file=self.file.model_copy(update={"inference": inference}))

    def resolve(self, path: str) -> Path:
        """`path`, relative to the line file's folder."""
        return (self.path.parent / path).resolve()


@dataclass(frozen=True, slots=True)
class LineReading:
    """What a line file says. `settings` is None if there is any problem.

    `draft` holds what can be read all the same, None if that is nothing: what `is_sound` denies has its default in it, or is
    absent if it has none.
    """

    settings: LineSettings | None
    problems: tuple[Problem, ...]
    draft: LineSettings | None = None
    faults: tuple[tuple[str | int, ...], ...] = ()

    def is_sound(self, *key: str | int) -> bool:
        """Whether neither the key nor a table around or below it is at fault, such as `is_sound("line", "data_dir")`."""
        return not any(fault[: len(key)] == key or key[: len(fault)] == fault for fault in self.faults)


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
        told = error.errors(include_url=False)
        problems.extend(_problem(path, fault, document) for fault in told)
        faults = tuple(fault["loc"] for fault in told)
        parsed = _salvage(document, faults)
    draft = LineSettings(path.resolve(), parsed)
    reading = LineReading(None, (), draft, faults)
    problems.extend(_disagreements(path, reading, parsed))
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

    stations, recipes = document.get("station"), document.get("recipe")
    return LineFile.model_construct(
        line=sound(LineTable, document.get("line"), "line"),
        grpc=sound(GrpcTable, document.get("grpc"), "grpc"),
        modbus=sound(ModbusTable, document.get("modbus"), "modbus"),
        metrics=sound(MetricsTable, document.get("metrics"), "metrics"),
        opcua=sound(OpcUaTable, document["opcua"], "opcua") if "opcua" in document else None,
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
    )


def _problem(path: Path, fault: Mapping[str, Any], document: Mapping[str, Any]) -> Problem:
    where = [str(part) for part in fault["loc"] if part != "[key]"]
    key = ".".join(where) or "file"
    kind = fault["type"]
    if kind == "missing":
        return Problem(path, key, "is missing", f"add it ({EXAMPLE})")
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        near = difflib.get_close_matches(where[-1], _keys_beside(where), n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"remove it ({EXAMPLE})"
        return Problem(path, key, "is not a key of this table", hint)
    given = fault.get("input")
    shown = f" (got {given!r:.80})" if isinstance(given, str | int | float | bool) else ""
    message = str(fault["msg"]).removeprefix("Value error, ")
    return Problem(path, key, f"{message}{shown}", "correct the value")


def _keys_beside(where: list[str]) -> list[str]:
    tables: dict[str, type[_Table]] = {
        "line": LineTable,
        "grpc": GrpcTlsTable if "tls" in where[1:-1] else GrpcTable,
        "modbus": ModbusTable,
        "metrics": MetricsTable,
        "opcua": OpcUaTable,
        "records": RecordsTable,
        "inference": InferenceTable,
        "station": StationTable,
        "recipe": RecipeTable,
    }
    if len(where) < 2:
        return list(tables)
    below = {"dimensions": Dimensions, "limit": DimensionLimit, "zone": Zone}
    if where[0] == "recipe" and (named := [below[part] for part in where[2:-1] if part in below]):
        return [field.name for field in fields(named[-1])]
    if where[0] == "recipe" and "view" in where[2:-1]:
        tables["recipe"] = ViewTable
    table = CheckTable if "check" in where[:-1] else tables.get(where[0], LineFile)
    return list(table.model_fields)


def _disagreements(path: Path, reading: LineReading, parsed: LineFile) -> Iterator[Problem]:
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
    yield from _open_doors(path, reading, parsed)
    taken: dict[str, str] = {}
    for name in ("grpc", "modbus", "metrics", "opcua"):
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
    if not reading.is_sound("opcua", "grpc_certificate") or not reading.is_sound("opcua", "grpc_key"):
        return
    if bool(table.grpc_certificate) != bool(table.grpc_key):
        yield Problem(
            path, "opcua.grpc_key", "certificate and key go together, and one is missing", "name both or none"
        )
    elif reading.is_sound("grpc", "tls") and parsed.grpc.tls is not None and not table.grpc_certificate:
        fact = "the line wants certificates ([grpc.tls]) and there is none for this program to show"
        step = "issue one with `inspector certs user --role engineer` and name it"
        yield Problem(path, "opcua.grpc_certificate", fact, step)


def _lies_within(network: str, others: list[str]) -> bool:
    inner = ipaddress.ip_network(network)
    return any(
        inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]
        for outer in map(ipaddress.ip_network, others)
    )
