"""Files that appear whole: they replace files, never what a machine lives on."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from inspector.errors import DataError
from training.data.files import write_whole
from training.report.page import check_can_write


def test_a_file_is_replaced_and_its_folder_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    for text in (b"first", b"second"):
        write_whole(path, text)
        assert path.read_bytes() == text
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]


def test_what_a_link_names_is_replaced_and_not_the_link(tmp_path: Path) -> None:
    (tmp_path / "real.html").write_bytes(b"old")
    (tmp_path / "link.html").symlink_to("real.html")
    write_whole(tmp_path / "link.html", b"new")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "real.html").read_bytes() == b"new"


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    """As /dev/stdout may be one, and a shell's >(…); run by root, a rename would take its place in /dev."""
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    check_can_write(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"a report")
    reader.join(10)
    assert read == [b"a report"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_without_room_says_so_and_stays_a_device(tmp_path: Path) -> None:
    device = tmp_path / "full"
    device.symlink_to("/dev/full")  # if this fails to hold, the link is replaced and not the device
    with pytest.raises(DataError, match="No space left on device"):
        write_whole(device, b"a report")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert device.is_symlink()


def test_a_folder_is_no_place_for_a_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Is a directory"):
        write_whole(tmp_path, b"a report")
