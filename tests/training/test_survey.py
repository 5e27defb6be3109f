"""Every odd file is found before fitting, and none stops the survey."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from training_pictures import SIZE_PX, cmyk_jpeg, part, png_header_of, save, turned_jpeg

from inspector.errors import DataError
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.report import report
from training.data.survey import Survey, survey
from training.tables import report_view

PREPARATION = Preparation(64, 64, 1)


def _survey(root: Path) -> Survey:
    return survey(open_dataset(str(root)), PREPARATION)


def _sixteen_bit() -> np.ndarray:
    return part(1).astype(np.uint16) * 256


def _bytes_of(suffix: str, pixels: np.ndarray, tmp_path: Path) -> bytes:
    return save(tmp_path / f"source{suffix}", pixels).read_bytes()


def _saved(mode: str, tmp_path: Path) -> bytes:
    Image.fromarray(part(1, colour=True)).convert(mode).save(tmp_path / "source.png")
    return (tmp_path / "source.png").read_bytes()


def _beside_a_text_that_unpacks(tmp_path: Path) -> bytes:
    """Pillow refuses such a file; the line, which never reads the text, does not."""
    text = PngInfo()
    text.add_text("comment", "x" * 5_000_000, zip=True)
    Image.fromarray(part(1)).save(tmp_path / "source.png", pnginfo=text)
    return (tmp_path / "source.png").read_bytes()


def _pictures(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(part(1)).save(stream, kind, save_all=True, append_images=[Image.fromarray(part(2))])
    return stream.getvalue()


def _huge_tiff() -> bytes:
    """A few kilobytes of 900 megapixels."""
    stream = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(stream, "TIFF", compression="group4")
    return stream.getvalue()


READABLE = [
    pytest.param("a.png", lambda t: _bytes_of(".png", part(1), t), "8-bit grey", id="8-bit grey PNG"),
    pytest.param("a.png", lambda t: _bytes_of(".png", _sixteen_bit(), t), "16-bit grey", id="16-bit grey PNG"),
    pytest.param("a.jpg", lambda t: _bytes_of(".jpg", part(1, colour=True), t), "8-bit colour", id="colour JPEG"),
    pytest.param("a.jpg", lambda _: cmyk_jpeg(part(1)), "8-bit colour, from CMYK", id="CMYK JPEG"),
    pytest.param("a.jpg", lambda _: turned_jpeg(part(1), 6), "8-bit grey, turned by EXIF", id="EXIF-rotated JPEG"),
    pytest.param("a.png", lambda t: _saved("P", t), "8-bit colour, from a palette", id="palette PNG"),
    pytest.param("a.png", lambda t: _saved("RGBA", t), "8-bit colour, with transparency", id="PNG with alpha"),
    pytest.param(
        "a.png", _beside_a_text_that_unpacks, "8-bit grey", id="a text beside the pixels that unpacks to 5 MB"
    ),
    pytest.param("a.bmp", lambda t: _bytes_of(".bmp", part(1), t), "8-bit", id="BMP"),
    pytest.param("a.tif", lambda t: _bytes_of(".tif", _sixteen_bit(), t), "16-bit grey", id="16-bit TIFF"),
]


@pytest.mark.parametrize(("name", "make", "mode"), READABLE)
def test_kinds_of_pictures_are_read_and_named(tmp_path: Path, name: str, make, mode: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "set" / "good").mkdir(parents=True)
    (tmp_path / "set" / "good" / name).write_bytes(make(tmp_path))
    seen = _survey(tmp_path / "set")
    assert not seen.unreadable
    assert seen.images[0].mode.startswith(mode)
    assert PREPARATION.read(seen.dataset.file(seen.images[0].sample)).shape == (64, 64, 1)


def test_a_rotated_picture_is_surveyed_as_it_is_shown(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.jpg").write_bytes(turned_jpeg(part(1)[:32], 6))
    (image,) = _survey(tmp_path).images
    assert (image.width_px, image.height_px) == (32, SIZE_PX)


UNREADABLE = [
    pytest.param(b"", id="empty file"),
    pytest.param(b"this is text, whatever its name says", id="no picture"),
    pytest.param(b"\xff\xd8\xff\xe0" + bytes(200), id="a JPEG that is only a start"),
    pytest.param(png_header_of(60_000, 60_000), id="a header that promises 3.6 gigapixels"),
    pytest.param(_huge_tiff(), id="a TIFF that unpacks to 900 megapixels"),
    pytest.param(_pictures("TIFF"), id="a TIFF of two pictures"),
    pytest.param(_pictures("GIF"), id="an animated GIF"),
    pytest.param(_pictures("PNG"), id="an animated PNG"),
    pytest.param(b"BM" + bytes(60), id="a BMP without content"),
    pytest.param(b"II*\x00" + bytes(60), id="a TIFF without content"),
]


@pytest.mark.parametrize("data", UNREADABLE)
@pytest.mark.parametrize("name", ["bad.png", "bad.tif"])
def test_what_cannot_be_read_is_listed_and_left_out(tmp_path: Path, data: bytes, name: str) -> None:
    save(tmp_path / "good" / "fine.png", part(1))
    (tmp_path / "good" / name).write_bytes(data)
    seen = _survey(tmp_path)
    assert [image.sample.path for image in seen.images] == ["good/fine.png"]
    assert [item.sample.path for item in seen.unreadable] == [f"good/{name}"]
    assert seen.unreadable[0].reason


def test_a_truncated_picture_is_unreadable(tmp_path: Path) -> None:
    whole = save(tmp_path / "good" / "a.png", part(1)).read_bytes()
    save(tmp_path / "good" / "fine.png", part(2))
    (tmp_path / "good" / "a.png").write_bytes(whole[: len(whole) // 2])
    assert [item.sample.path for item in _survey(tmp_path).unreadable] == ["good/a.png"]


def test_a_pipe_and_a_loop_of_links_are_unreadable(tmp_path: Path) -> None:
    save(tmp_path / "good" / "fine.png", part(2))
    os.mkfifo(tmp_path / "good" / "pipe.png")
    (tmp_path / "good" / "loop.png").symlink_to("loop.png")
    assert [item.sample.path for item in _survey(tmp_path).unreadable] == ["good/loop.png", "good/pipe.png"]


def test_no_readable_picture_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="none of the 1 images"):
        _survey(tmp_path)


def test_masks_that_do_not_fit_are_reported(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        save(tmp_path / "cut" / f"{name}.png", part(ord(name)))
    marked = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    marked[3, 3] = 255
    save(tmp_path / "ground_truth" / "cut" / "a_mask.png", marked)
    save(tmp_path / "ground_truth" / "cut" / "b_mask.png", marked[:10])
    save(tmp_path / "ground_truth" / "cut" / "c_mask.png", np.zeros_like(marked))
    (tmp_path / "ground_truth" / "cut" / "d_mask.png").write_bytes(b"no picture")
    problems = {item.sample.path: item.reason for item in _survey(tmp_path).mask_problems}
    assert set(problems) == {"cut/b.png", "cut/c.png", "cut/d.png"}
    assert "10 px" in problems["cut/b.png"]
    assert "marks nothing" in problems["cut/c.png"]


def test_the_report_tells_all_of_it(tmp_path: Path) -> None:
    for index in range(12):
        save(tmp_path / "good" / f"{index}.png", part(index))
    save(tmp_path / "good" / "dark [bold].png", (part(50) // 8).astype(np.uint8))
    save(tmp_path / "good" / "wide.png", np.hstack([part(60), part(61)]))
    save(tmp_path / "blot" / "copy.png", part(3))
    (tmp_path / "good" / "broken.png").write_bytes(b"no")
    result = report(_survey(tmp_path))
    assert result.labels == {"good": 14, "blot": 1}
    assert result.sizes == {"64 × 64": 14, "128 × 64": 1}
    assert [path for path, _ in result.unreadable] == ["good/broken.png"]
    assert [path for path, _ in result.brightness_outliers] == ["good/dark [bold].png"]
    assert result.equal_under_two_labels == (("blot/copy.png", "good/3.png"),)
    assert result.good_like_defective == result.equal_under_two_labels
    assert (result.parts, result.good_parts) == (14, 13)
    assert result.to_json()["digest"] == result.digest


def test_the_report_names_odd_sizes_kinds_contrasts_and_classes(tmp_path: Path) -> None:
    for index in range(30):
        save(tmp_path / "good" / f"{index:02}.png", part(index))
    save(tmp_path / "good" / "small.png", part(40)[:30])
    save(tmp_path / "good" / "blank.png", np.full((64, 64), 130, np.uint8))
    save(tmp_path / "good" / "flat.png", (130 + part(43) // 64).astype(np.uint8))
    save(tmp_path / "good" / "deep.png", part(41).astype(np.uint16) * 256)
    save(tmp_path / "cut" / "only.png", part(42))
    (tmp_path / "dent").mkdir()
    found = {(problem.kind, problem.about) for problem in report(_survey(tmp_path)).problems}
    assert found == {
        ("pictures of another size than most", "good/small.png"),
        ("blank pictures", "good/blank.png"),
        ("far flatter or harsher than others of their label", "good/flat.png"),
        ("files of another kind than most", "good/deep.png"),
        ("classes with a single image", "cut"),
        ("classes without images", "dent"),
    }


def test_only_defects_and_identical_images_are_said(tmp_path: Path) -> None:
    for name in ("cut/1.png", "cut/2.png"):
        save(tmp_path / name, part(1))
    assert {problem.kind for problem in report(_survey(tmp_path)).problems} == {"no good parts", "identical images"}


def test_the_report_is_shown_with_odd_names_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    save(tmp_path / "good [red]" / "a.png", part(1))
    (tmp_path / "good [red]" / "b[red].png").write_bytes(b"")
    Console(width=200).print(report_view(report(_survey(tmp_path))))
    shown = capsys.readouterr().out
    assert "1 good [red]" in shown
    assert "good [red]/b[red].png" in shown


def test_the_same_pictures_are_the_same_data_set_wherever_they_lie(tmp_path: Path) -> None:
    for name in ("here", "there"):
        save(tmp_path / name / "good" / "a.png", part(1))
    here, there = (_survey(tmp_path / name).digest for name in ("here", "there"))
    Image.fromarray(part(2)).save(tmp_path / "there" / "good" / "a.png")
    assert here == there != _survey(tmp_path / "there").digest
