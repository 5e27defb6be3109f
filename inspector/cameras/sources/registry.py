"""The kinds of sources by their names in the line file. A library is only loaded when its kind is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from inspector.cameras.sources.source import Found, Source
from inspector.errors import ConfigError

Options = Mapping[str, Any]


def _folder(options: Options) -> Source:
    from inspector.cameras.sources.folder_camera import FolderCamera

    return FolderCamera(**options)


def _genicam(options: Options) -> Source:
    from inspector.cameras.sources.genicam import GenicamSource

    return GenicamSource(**options)


SOURCES: dict[str, Callable[[Options], Source]] = {
    "folder": _folder,
    "genicam": _genicam,
}


def _genicam_cameras() -> list[Found]:
    from inspector.cameras.sources.aravis import discover

    return discover()


# Each raises SourceError if its library is missing or cannot look.
DISCOVERERS: dict[str, Callable[[], list[Found]]] = {
    "genicam": _genicam_cameras,
}


def make_source(kind: str, options: Options) -> Source:
    """The source of that kind, not yet opened. ConfigError if there is none of that name."""
    if kind not in SOURCES:
        raise ConfigError(f'there is no source "{kind}": choose from {", ".join(SOURCES)}')
    return SOURCES[kind](options)
