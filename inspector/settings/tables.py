"""The tables of a line file, each with its keys, their ranges and their defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from inspector.decision.dimensions import Dimensions
from inspector.records.place import DATA_DIR
from inspector.settings.cameras import CameraTable
from inspector.settings.values import ListenText, Name, Network, Table, address_or_none, name, pattern, time_of_day

MAX_VIEWS = 16


class LineTable(Table):
    """`[line]`: who this line is and where it keeps its state."""

    name: Name
    data_dir: str = DATA_DIR


class GrpcTlsTable(Table):
    """`[grpc.tls]`: PEM files. Clients must show a certificate of the authority `ca` that is not on the list `revoked`."""

    certificate: str = Field(min_length=1)
    key: str = Field(min_length=1)
    ca: str = Field(min_length=1)
    revoked: str = ""


class GrpcTable(Table):
    """`[grpc]`: where cameras and clients connect."""

    listen: ListenText = "127.0.0.1:50051"
    max_frame_mib: int = Field(default=64, ge=1, le=1024)
    max_pixels: int = Field(default=50_000_000, ge=1, le=1_000_000_000)
    max_streams: int = Field(default=32, ge=1, le=1024)
    max_calls_per_s: int = Field(default=200, ge=1, le=100_000)
    max_frames_per_s: int = Field(default=1000, ge=1, le=100_000)
    shared_frames_mib: int = Field(default=256, ge=0, le=65_536)
    tls: GrpcTlsTable | None = None


class ModbusTable(Table):
    """`[modbus]`: where the PLC reads."""

    listen: ListenText = "127.0.0.1:5020"
    heartbeat_ms: int = Field(default=100, ge=10, le=10_000)
    allow: list[Network] = Field(default=[], max_length=256)
    write_allow: list[Network] = Field(default=[], max_length=256)
    plc_timeout_ms: int = Field(default=0, ge=0, le=600_000)


class MetricsTable(Table):
    """`[metrics]`: where Prometheus reads; empty: nowhere. The certificates of `[grpc.tls]` count here too."""

    listen: Annotated[str, AfterValidator(address_or_none)] = ""


class OpcUaTable(Table):
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
    service: Annotated[str, AfterValidator(address_or_none)] = ""
    grpc_certificate: str = ""
    grpc_key: str = ""


class WebOidcTable(Table):
    """`[web.oidc]`: logging in at the plant's identity provider. `roles` maps its groups to roles; others are not let in.

    `secret` is a file that holds the client's secret, `name_claim` and `groups_claim` what the provider calls them, `ca` the
    PEM of the plant's own authority, if its certificate is from that.
    """

    issuer: str = Field(pattern=r"^https?://\S+$")
    client: str = Field(min_length=1)
    secret: str = Field(min_length=1)
    roles: dict[str, Literal["viewer", "operator", "engineer", "approver", "admin"]] = Field(
        min_length=1, max_length=64
    )
    name_claim: str = Field(default="preferred_username", min_length=1)
    groups_claim: str = Field(default="groups", min_length=1)
    ca: str = ""


class WebTable(Table):
    """`[web]`: what `inspector web` serves, a program of its own. Certificate and key are PEM, needed beyond this machine.

    `address` is what people type, such as "https://line1.plant.local", if that is not `listen`. `shifts` are when they begin,
    in the time of this machine. `lot_pattern` finds the lot in a part id: its first group, or all that it matches.
    `service` and the certificates for it are those of `[opcua]`.
    """

    listen: ListenText = "127.0.0.1:8080"
    address: str = Field(default="", pattern=r"^(https?://[^/\s]+)?$")
    certificate: str = ""
    key: str = ""
    bundles: str = Field(default="bundles", min_length=1)
    folder: str = Field(default="web", min_length=1)
    session_hours: float = Field(default=12.0, gt=0.0, le=744.0)
    shifts: list[Annotated[str, AfterValidator(time_of_day)]] = Field(
        default=["06:00", "14:00", "22:00"], min_length=1, max_length=24
    )
    lot_pattern: Annotated[str, AfterValidator(pattern)] = ""
    service: Annotated[str, AfterValidator(address_or_none)] = ""
    grpc_certificate: str = ""
    grpc_key: str = ""
    worker: bool = False
    oidc: WebOidcTable | None = None


class RecordsTable(Table):
    """`[records]`: the quality database and the picture store."""

    database: str = ""
    pass_sampling: float = Field(default=0.01, ge=0.0, le=1.0)
    image_max_age_days: int = Field(default=365, ge=1, le=36_500)
    image_quota_mib: int = Field(default=20_480, ge=1)


class InferenceTable(Table):
    """`[inference]`: how graphs run. `oip` is the address of an inference server that runs them instead.

    `trust` names public keys; with any, a bundle must be signed by one of them.
    """

    provider: Literal["CPU", "CUDA", "TensorRT", "OpenVINO", "auto"] = "CPU"
    oip: Annotated[str, AfterValidator(address_or_none)] = ""
    threads: int = Field(default=0, ge=0, le=256)
    workers: int = Field(default=0, ge=0, le=64)
    max_batch: int = Field(default=0, ge=0, le=256)
    trust: list[str] = Field(default=[], max_length=16)


def _one_of(value: str, several: object, what: str, table: str) -> str:
    """`value`, which must be given exactly if `several` is not."""
    if not value and not several:
        raise PydanticCustomError("missing", "is missing")
    if value and several:
        raise ValueError(f"give either {what} or {table}, not both")
    return value


class StationTable(Table):
    """`[[station]]`: a camera, or one for each view, and what is inspected. `unit` is the Modbus unit id of its registers.

    It begins with `recipe`; a PLC may change to one of `recipes`, whose models are loaded too.
    """

    name: Name
    cameras: dict[Name, Name] = Field(default={}, max_length=MAX_VIEWS)
    camera: Annotated[str, AfterValidator(lambda value: name(value) if value else value)] = Field(
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


class CheckTable(Table):
    """`[recipe.NAME.check]`: image quality below which a part is UNKNOWN. Grey levels of 8 bits; 0 turns one off."""

    min_mean: float = Field(default=8.0, ge=0.0, le=255.0)
    max_saturated_share: float = Field(default=0.5, ge=0.0, le=1.0)
    min_sharpness: float = Field(default=0.0, ge=0.0)


class ViewTable(Table):
    """`[recipe.NAME.view.VIEW]`: how one of several views is judged."""

    bundle: str = Field(min_length=1)
    location: dict[str, Any] | None = None
    check: CheckTable = CheckTable()
    dimensions: Dimensions | None = None


class RecipeTable(Table):
    """`[recipe.NAME]`: what is inspected and how; with tables `view` each of them has its own bundle and the rest.

    With `approvals` of 2 a bundle is promoted by another person than the one who proposed it.
    """

    view: dict[Name, ViewTable] = Field(default={}, max_length=MAX_VIEWS)
    bundle: str = Field(default="", validate_default=True)
    deadline_ms: int = Field(default=500, ge=1, le=60_000)
    approvals: int = Field(default=1, ge=1, le=2)
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


class HealthTable(Table):
    """`[health.CAMERA]`: how a camera's picture is watched. The limits are those of `HealthLimits`; 0 turns one off."""

    reference: str = ""
    frames_per_s: float = Field(default=4.0, gt=0.0, le=1000.0)
    light: float = Field(default=0.10, ge=0.0, le=1.0)
    saturation: float = Field(default=0.01, ge=0.0, le=1.0)
    flicker: float = Field(default=0.03, ge=0.0, le=1.0)
    focus: float = Field(default=0.8, ge=0.0, le=3.0)
    vibration: float = Field(default=0.8, ge=0.0, le=3.0)
    dirt: float = Field(default=0.0005, ge=0.0, le=1.0)
    vignetting: float = Field(default=0.10, ge=0.0, le=1.0)
    uneven_light: float = Field(default=0.15, ge=0.0, le=1.0)
    colour: float = Field(default=0.05, ge=0.0, le=1.0)
    moved: float = Field(default=0.01, ge=0.0, le=1.0)


class LineFile(Table):
    """The whole file. Paths in it are relative to the file's folder."""

    line: LineTable
    grpc: GrpcTable = GrpcTable()
    modbus: ModbusTable = ModbusTable()
    metrics: MetricsTable = MetricsTable()
    opcua: OpcUaTable | None = None
    web: WebTable | None = None
    records: RecordsTable = RecordsTable()
    inference: InferenceTable = InferenceTable()
    station: list[StationTable] = Field(min_length=1, max_length=247)
    recipe: dict[Name, RecipeTable] = Field(min_length=1)
    camera: dict[Name, CameraTable] = Field(default={}, max_length=247 * MAX_VIEWS)
    health: dict[Name, HealthTable] = Field(default={})
