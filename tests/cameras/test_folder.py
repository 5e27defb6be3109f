"""A folder as a camera: order, what counts as a part, and files that are not what they seem."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.cameras.sources.folder import FolderSource, natural
from inspector.cameras.sources.folder_camera import FolderCamera
from inspector.errors import ConfigError
from inspector.part import PixelFormat


def picture(suffix: str, pixels: np.ndarray | None = None) -> bytes:
    done, data = cv2.imencode(suffix, np.full((6, 8, 3), (10, 20, 30), np.uint8) if pixels is None else pixels)
    assert done
    return data.tobytes()


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def names(folder: Path, source: FolderSource) -> list[str]:
    return [shown.file.relative_to(folder).as_posix() for shown in source]


def test_natural_order_through_subfolders(tmp_path: Path) -> None:
    png = picture(".png")
    order = ["1.png", "2.png", "10.png", "b/09.png", "b/9.png", "b/10.PNG", "b10.jpeg", "c2/1.jpg", "c10/1.jpg"]
    fill(tmp_path, dict.fromkeys(reversed(order), png))
    assert names(tmp_path, FolderSource(tmp_path)) == order


def test_files_are_sent_as_they_are(tmp_path: Path) -> None:
    png, jpeg = picture(".png"), picture(".jpg")
    fill(tmp_path, {"a.png": png, "b.jpg": jpeg, "c.png": jpeg})
    frames = [shown.frame for shown in FolderSource(tmp_path)]
    assert [frame.data for frame in frames] == [png, jpeg, jpeg]
    formats = [PixelFormat.PNG, PixelFormat.JPEG, PixelFormat.JPEG]
    assert [frame.pixel_format for frame in frames] == formats, "the content decides, not the name"
    assert [(f.trigger, f.width_px, f.part_id) for f in frames] == [(0, 0, "a"), (0, 0, "b"), (0, 0, "c")]


def test_raw_pixels(tmp_path: Path) -> None:
    pixels = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    fill(tmp_path, {"a.png": picture(".png", pixels)})
    (colour,) = FolderSource(tmp_path, raw="RGB8")
    assert (colour.frame.pixel_format, colour.frame.width_px, colour.frame.height_px) == (PixelFormat.RGB8, 8, 6)
    assert colour.frame.data == pixels[:, :, ::-1].tobytes()
    (grey,) = FolderSource(tmp_path, raw="Mono8")
    assert grey.frame.pixel_format is PixelFormat.MONO8
    assert grey.frame.data == cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY).tobytes()


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    fill(tmp_path, {"a.png": picture(".png"), ".b.png": b"", "x/.git/c.png": b"", "notes.txt": b"", "d.tiff": b""})
    os.mkfifo(tmp_path / "pipe.png")
    notes: list[str] = []
    assert names(tmp_path, FolderSource(tmp_path, on_note=notes.append)) == ["a.png"]
    told = sorted(note.removeprefix(f"{tmp_path}/") for note in notes)
    assert told == [
        ".b.png is hidden: left out",
        "d.tiff is neither PNG nor JPEG: left out",
        "notes.txt is neither PNG nor JPEG: left out",
        "pipe.png is no regular file: left out",
        "x/.git/c.png is hidden: left out",
    ]


@pytest.mark.parametrize("raw", [None, "Mono8", "RGB8"])
def test_damaged_files_are_parts_all_the_same(tmp_path: Path, raw: str | None) -> None:
    png = picture(".png")
    files = {"1.png": b"", "2.jpg": b"no picture", "3.png": png[:40], "4.png": png}
    fill(tmp_path, files)
    os.symlink(tmp_path / "nowhere", tmp_path / "5.png")
    notes: list[str] = []
    frames = [shown.frame for shown in FolderSource(tmp_path, raw=raw, on_note=notes.append)]  # type: ignore[arg-type]
    assert [frame.data for frame in frames[:3]] == list(files.values())[:3]
    formats = [PixelFormat.PNG, PixelFormat.JPEG, PixelFormat.PNG]
    assert [frame.pixel_format for frame in frames[:3]] == formats
    assert frames[4].data == b""
    assert any("2.jpg is no PNG or JPEG file" in note for note in notes)
    assert any("5.png cannot be read (No such file or directory)" in note for note in notes)
    assert any("3.png does not decode" in note for note in notes) == (raw is not None)


def test_file_names_that_cannot_be_part_ids(tmp_path: Path) -> None:
    long = "x" * 200
    fill(tmp_path, {f"{long}.png": b"", "a\nb.png": b"", "ok 1.png": b""})
    (tmp_path / os.fsdecode(b"\xff\xfe.png")).write_bytes(b"")
    part_ids = {shown.frame.part_id for shown in FolderSource(tmp_path)}
    assert part_ids == {"", "ok 1"}


def test_looping_begins_again_and_notices_what_changed(tmp_path: Path) -> None:
    fill(tmp_path, {"1.png": b"", "2.png": b""})
    shown = itertools.islice(iter(FolderSource(tmp_path, loop=True)), 5)
    assert [one.file.name for one in shown] == ["1.png", "2.png", "1.png", "2.png", "1.png"]


def test_folders_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no PNG or JPEG files"):
        FolderSource(tmp_path)
    with pytest.raises(ConfigError, match="is not a folder"):
        FolderSource(tmp_path / "nowhere")
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="is not a folder"):
        FolderSource(tmp_path / "file.png")


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=8), unique=True))
def test_the_order_is_one_for_all_names(found: list[str]) -> None:
    paths = [Path(name) for name in found if name not in (".", "..")]
    ordered = sorted(paths, key=natural)
    assert sorted(reversed(paths), key=natural) == ordered


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.text("abc", max_size=2))
def test_numbers_sort_by_value(one: int, other: int, before: str) -> None:
    first, second = Path(f"{before}{one}.png"), Path(f"{before}{other}.png")
    assert (natural(first) < natural(second)) == (one < other)


def test_a_name_of_a_thousand_digits_sorts() -> None:
    assert natural(Path("9" * 5000)) < natural(Path("1" + "0" * 5000))


@pytest.mark.parametrize(("rate_hz", "then"), [(0.0, "2.png"), (1000.0, "3.png")], ids=["waits", "passes on a belt"])
def test_a_picture_that_was_not_sent_is_given_again_if_its_part_waits(
    tmp_path: Path, rate_hz: float, then: str
) -> None:
    camera = FolderCamera(fill(tmp_path, {f"{number}.png": picture(".png") for number in (1, 2, 3)}), rate_hz)
    camera.open()
    grabs = (grab for grab in camera.grabs() if grab is not None)
    next(grabs), next(grabs)
    grabs.close()
    camera.open()
    assert Path(next(grab for grab in camera.grabs() if grab is not None).origin).name == then
