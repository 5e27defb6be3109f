"""The kinds of sources by their names in the line file. A library is only loaded when its kind is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspector.cameras.sources.source import Found, Source, Stage
from inspector.errors import ConfigError
from inspector.part import Box

Options = Mapping[str, Any]


def _folder(options: Options) -> Source:
    from inspector.cameras.sources.folder_camera import FolderCamera

    return FolderCamera(**options)


def _genicam(options: Options) -> Source:
    from inspector.cameras.sources.genicam import GenicamSource

    return GenicamSource(**options)


def _watched(options: Options) -> Source:
    from inspector.cameras.sources.watched import WatchedFolder

    return WatchedFolder(**options)


def _video(options: Options) -> Source:
    from inspector.cameras.sources.video import VideoAddress, VideoSource

    about = dict(options)
    return VideoSource(VideoAddress(str(about.pop("file"))), **about)


def _rtsp(options: Options) -> Source:
    from inspector.cameras.sources.video import VideoAddress, VideoSource

    about = dict(options)
    transport = {"rtsp_transport": about.pop("transport")}
    return VideoSource(VideoAddress(about.pop("address"), None, transport, live=True), **about)


def _v4l2(options: Options) -> Source:
    from inspector.cameras.sources.v4l2 import V4l2Source

    return V4l2Source(**options)


def _gentl(options: Options) -> Source:
    from inspector.cameras.sources.gentl import GentlSource

    return GentlSource(**options)


SOURCES: dict[str, Callable[[Options], Source]] = {
    "folder": _folder,
    "watched": _watched,
    "video": _video,
    "rtsp": _rtsp,
    "v4l2": _v4l2,
    "genicam": _genicam,
    "gentl": _gentl,
}


def _genicam_cameras() -> list[Found]:
    from inspector.cameras.sources.aravis import discover

    return discover()


def _gentl_cameras() -> list[Found]:
    from inspector.cameras.sources.gentl import discover

    # Where GenTL producers say that they are (GenICam GenTL Standard, 64-bit); without one there is nothing to look for.
    folders = os.environ.get("GENICAM_GENTL64_PATH", "").split(os.pathsep)
    producers = [file for folder in folders if folder for file in sorted(Path(folder).glob("*.cti"))]
    return discover(producers) if producers else []


def _v4l2_cameras() -> list[Found]:
    from inspector.cameras.sources.v4l2 import discover

    return discover()


# Each raises SourceError if its library is missing or cannot look.
DISCOVERERS: dict[str, Callable[[], list[Found]]] = {
    "genicam": _genicam_cameras,
    "gentl": _gentl_cameras,
    "v4l2": _v4l2_cameras,
}


def make_source(kind: str, options: Options) -> Source:
    """The source of that kind, not yet opened. ConfigError if there is none of that name."""
    if kind not in SOURCES:
        raise ConfigError(f'there is no source "{kind}": choose from {", ".join(SOURCES)}')
    return SOURCES[kind](options)


def join_rows(source: Source, options: Options) -> Source:
    """A line-scan camera's rows as frames; `options` as in `[camera.NAME.line_scan]`."""
    from inspector.cameras.sources.line_scan import LineScan
    from inspector.cameras.sources.rows import EdgeRule, PartEdges, RowCount

    about = dict(options)
    join, rows, overlap = about.pop("join"), about.pop("rows"), about.pop("overlap_rows")
    if join == "rows":
        return LineScan(source, lambda: RowCount(rows, overlap))
    rule = EdgeRule(margin=about.pop("margin_rows"), **about)
    return LineScan(source, lambda: PartEdges(rule))


def count_by_plc(source: Source, options: Options) -> Source:
    """A camera's frames as the parts that a PLC counts; `options` as in `[camera.NAME.plc]`."""
    from inspector.cameras.sources.numbered import NumberedSource
    from inspector.cameras.sources.plc_readers import ModbusReader, OpcUaReader, PlcReader

    address = options["address"]
    if options["protocol"] == "modbus":
        host, _, port = address.rpartition(":")
        block = (options["unit"], options["first_register"], options["id_registers"])
        reader: PlcReader = ModbusReader(host.strip("[]"), int(port), *block)
    else:
        nodes = (options["number_node"], options["id_node"])
        reader = OpcUaReader(address, *nodes, options["certificate"], options["key"])
    rule = {key: options[key] for key in ("poll_ms", "delay_ms", "late_ms", "frame_ms")}
    return NumberedSource(source, reader, as_triggers=options["count"] == "trigger", **rule)


def read_codes(formats: Sequence[str], region: Box | None) -> Stage:
    """Gives each part the id that a code in its picture says. ConfigError if the library for it is missing."""
    from inspector.cameras.sources.codes import CodeStage

    return CodeStage(formats, region)
