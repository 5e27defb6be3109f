"""Cameras of the Linux kernel, found by what sysfs says of them."""

from __future__ import annotations

from pathlib import Path

from inspector.cameras.sources.source import Found

_CLASS = Path("/sys/class/video4linux")


def discover(classes: Path = _CLASS) -> list[Found]:
    """A device for each camera: the first that its driver made, further ones tell about pictures instead of giving them."""
    entries = sorted(classes.glob("video*"), key=lambda path: (len(path.name), path.name))
    first = (entry for entry in entries if _read(entry / "index") in ("", "0"))
    return [Found("v4l2", f"/dev/{entry.name}", _read(entry / "name"), _bus(entry)) for entry in first]


def _bus(entry: Path) -> str:
    """Where it is plugged in, as 1-2:1.0 of USB; empty for a device of a driver alone."""
    device = entry / "device"
    return device.resolve().name if device.exists() else ""


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
