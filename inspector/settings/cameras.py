"""The tables `[camera.NAME]`: where the frames of a station's camera come from. What `inspector camera run` streams.

A new kind of source: its table here, with `source` as a literal of its name, and a place in `CAMERA_TABLES` and `CameraTable`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from inspector.settings.camera_parts import CodeTable, LineScanTable, PlcTable
from inspector.settings.values import Table, address_or_none


class CameraBase(Table):
    """What every `[camera.NAME]` has; NAME is a camera of a station.

    `service` is the address of the line's gRPC if it is not `[grpc] listen`; with `[grpc.tls]` the program shows
    `certificate`, whose `key` is beside it. `correct` is what is taken out of the pictures before they are sent, by the
    reference of `[health.NAME]`.
    """

    COMMON: ClassVar[tuple[str, ...]] = (
        "source", "service", "certificate", "key", "max_in_flight", "max_silence_s", "part_id", "code", "plc", "line_scan",
        "correct",
    )  # fmt: skip
    PATHS: ClassVar[tuple[str, ...]] = ()

    source: str
    service: Annotated[str, AfterValidator(address_or_none)] = ""
    certificate: str = ""
    key: str = ""
    max_in_flight: int = Field(default=0, ge=0, le=1024)
    max_silence_s: float = Field(default=0.0, ge=0.0, le=86_400.0)
    part_id: Literal["source", "none"] = "source"
    correct: list[Literal["flat", "lens"]] = Field(default=[], max_length=2)
    code: CodeTable | None = None
    plc: PlcTable | None = None
    line_scan: LineScanTable | None = None

    def options(self, resolve: Callable[[str], Path], deadline_ms: int) -> dict[str, Any]:
        """What the source is made with: the keys of its kind alone, paths resolved. `deadline_ms` is that of its recipe."""
        own = {key: getattr(self, key) for key in type(self).model_fields if key not in self.COMMON}
        return {key: resolve(value) if key in self.PATHS else value for key, value in own.items()}


class FolderTable(CameraBase):
    """`source = "folder"`: the PNG and JPEG files of a folder, each once; `rate_hz` 0: as fast as they are judged."""

    PATHS: ClassVar[tuple[str, ...]] = ("folder",)

    source: Literal["folder"]
    folder: str = Field(min_length=1)
    rate_hz: float = Field(default=0.0, ge=0.0, le=10_000.0)
    loop: bool = False
    raw: Literal["Mono8", "RGB8"] | None = None


class WatchedTable(CameraBase):
    """`source = "watched"`: a folder or share that something writes PNG and JPEG files into; `memory` knows what was shown."""

    PATHS: ClassVar[tuple[str, ...]] = ("folder", "memory")

    source: Literal["watched"]
    folder: str = Field(min_length=1)
    memory: str = Field(min_length=1)
    order: Literal["name", "time"] = "name"
    existing: Literal["show", "skip"] = "show"
    poll_ms: int = Field(default=100, ge=10, le=60_000)
    settle_ms: int = Field(default=1000, ge=0, le=600_000)
    patience_ms: int = Field(default=10_000, ge=0, le=3_600_000)


class MovingTable(CameraBase):
    """What all videos have: `every` 5 shows one frame of five."""

    pixel_format: Literal["Mono8", "RGB8"] = "Mono8"
    every: int = Field(default=1, ge=1, le=100_000)


class VideoTable(MovingTable):
    """`source = "video"`: the frames of a video file, as fast as they are judged."""

    PATHS: ClassVar[tuple[str, ...]] = ("file",)

    source: Literal["video"]
    file: str = Field(min_length=1)


class RtspTable(MovingTable):
    """`source = "rtsp"`: a network camera."""

    source: Literal["rtsp"]
    address: str = Field(pattern=r"^rtsps?://.+")
    transport: Literal["tcp", "udp"] = "tcp"


class V4l2Table(MovingTable):
    """`source = "v4l2"`: a camera of the Linux kernel; `input_format` and `controls` by the kernel's names."""

    source: Literal["v4l2"]
    device: str = Field(min_length=1)
    width_px: int = Field(default=0, ge=0, le=65_535)
    height_px: int = Field(default=0, ge=0, le=65_535)
    rate_hz: float = Field(default=0.0, ge=0.0, le=10_000.0)
    input_format: str = Field(default="", pattern=r"^[A-Z0-9]{0,4}$")
    triggered: bool = False
    controls: dict[str, int] = Field(default={}, max_length=64)

    @model_validator(mode="after")
    def _can_be_asked_for(self) -> Self:
        if 0 < self.rate_hz < 0.01:
            raise ValueError("rate_hz is 0, as the camera is set, or at least 0.01")
        if bool(self.width_px) != bool(self.height_px):
            raise ValueError("width_px and height_px go together: give both, or neither for the camera's own")
        return self


class RegionTable(Table):
    """`[camera.NAME.region]`: the part of the sensor that is read out."""

    x_px: int = Field(default=0, ge=0)
    y_px: int = Field(default=0, ge=0)
    width_px: int = Field(ge=1)
    height_px: int = Field(ge=1)


class GenicamBase(CameraBase):
    """What cameras that speak GenICam share. What is not given stays as the camera has it.

    `features` are written by the camera's own names, in the order of the file, before the rest. Without `trigger_source` the
    camera runs freely.
    """

    device: str = Field(min_length=1)
    pixel_format: str = ""
    region: RegionTable | None = None
    exposure_us: float | None = Field(default=None, gt=0.0)
    gain: float | None = None
    rate_hz: float | None = Field(default=None, gt=0.0)
    trigger_source: str = ""
    trigger_activation: str = ""
    trigger_delay_us: float | None = Field(default=None, ge=0.0)
    buffers: int = Field(default=0, ge=0, le=4096)
    features: dict[str, bool | int | float | str] = Field(default={}, max_length=256)

    def options(self, resolve: Callable[[str], Path], deadline_ms: int) -> dict[str, Any]:
        """As of every source; buffers are for what comes within the deadline."""
        own = super().options(resolve, deadline_ms)
        region = self.region
        if region is not None:
            own["region"] = (region.x_px, region.y_px, region.width_px, region.height_px)
        return {**own, "deadline_ms": deadline_ms}


class GenicamTable(GenicamBase):
    """`source = "genicam"`: a GigE Vision or USB3 Vision camera, by Aravis."""

    source: Literal["genicam"]
    trigger_number: str = Field(default="frame-id", pattern=r"^(frame-id|here|chunk:[A-Za-z0-9_]+)$")
    packet_size: int = Field(default=0, ge=0, le=16_384)
    packet_delay_ns: int = Field(default=0, ge=0, le=1_000_000_000)


class GentlTable(GenicamBase):
    """`source = "gentl"`: a camera by its vendor's GenTL producer, the file `producer`."""

    PATHS: ClassVar[tuple[str, ...]] = ("producer",)

    source: Literal["gentl"]
    producer: str = Field(min_length=1)
    trigger_number: Literal["frame-id", "here"] = "frame-id"


CAMERA_TABLES: dict[str, type[CameraBase]] = {
    "folder": FolderTable,
    "watched": WatchedTable,
    "video": VideoTable,
    "rtsp": RtspTable,
    "v4l2": V4l2Table,
    "genicam": GenicamTable,
    "gentl": GentlTable,
}
CameraTable = Annotated[
    FolderTable | WatchedTable | VideoTable | RtspTable | V4l2Table | GenicamTable | GentlTable,
    Field(discriminator="source"),
]
