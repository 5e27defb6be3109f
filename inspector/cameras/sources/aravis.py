"""Aravis, the library for GenICam cameras: loading it, and finding cameras with it."""

from __future__ import annotations

import functools
from typing import Any

from inspector.cameras.sources.source import Found
from inspector.errors import SourceError


@functools.cache
def aravis() -> Any:
    """The library (gi.repository.Aravis 0.8). Raises SourceError if it is not installed."""
    try:
        import gi

        gi.require_version("Aravis", "0.8")
        from gi.repository import Aravis
    except (ImportError, ValueError) as error:
        raise SourceError(
            f"GenICam cameras need Aravis, which is not here ({error}): install gir1.2-aravis-0.8 (Debian) and "
            'the extra "genicam" (pip install "inspector[genicam]")'
        ) from error
    return Aravis


def discover() -> list[Found]:
    """GigE Vision and USB3 Vision cameras that answer now, in the order of their names. Raises SourceError."""
    library = aravis()
    library.update_device_list()
    found = []
    for number in range(library.get_n_devices()):
        maker, model = library.get_device_vendor(number), library.get_device_model(number)
        protocol, address = library.get_device_protocol(number), library.get_device_address(number)
        about = f"{maker} {model} ({protocol})"
        found.append(Found("genicam", library.get_device_id(number), about, address or ""))
    return sorted(found, key=lambda one: one.device)
