"""Cameras of the kernel as sysfs shows them."""

from __future__ import annotations

from pathlib import Path

from inspector.cameras.sources.source import Found
from inspector.cameras.sources.v4l2 import discover


def shown(folder: Path, device: str, **files: str) -> None:
    (folder / device).mkdir(parents=True)
    for file, text in files.items():
        (folder / device / file).write_text(text + "\n")


def test_each_camera_is_listed_once_by_the_device_that_gives_pictures(tmp_path: Path) -> None:
    classes, bus = tmp_path / "class", tmp_path / "devices" / "1-2:1.0"
    bus.mkdir(parents=True)
    shown(classes, "video10", name="Global shutter: Mono", index="0")
    shown(classes, "video2", name="HD Pro Webcam", index="0")
    shown(classes, "video3", name="HD Pro Webcam", index="1")
    shown(classes, "v4l-subdev0", name="a lens")
    (classes / "video2" / "device").symlink_to(bus)
    assert discover(classes) == [
        Found("v4l2", "/dev/video2", "HD Pro Webcam", "1-2:1.0"),
        Found("v4l2", "/dev/video10", "Global shutter: Mono", ""),
    ]


def test_a_device_that_vanishes_or_says_nonsense_is_no_error(tmp_path: Path) -> None:
    shown(tmp_path, "video0")
    (tmp_path / "video1").symlink_to(tmp_path / "gone")
    shown(tmp_path, "video4")
    (tmp_path / "video4" / "name").write_bytes(b"\xff\xfe")
    assert [one.device for one in discover(tmp_path)] == ["/dev/video0", "/dev/video1", "/dev/video4"]
    assert discover(tmp_path / "nowhere") == []
