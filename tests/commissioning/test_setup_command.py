"""Commissioning through the program, and what the line then takes from it: alarms, scale, corrected frames."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import av
import numpy as np
import pytest
from commissioning.scene import BOARD, CAMERA, FLATS, PLANE, boards, flats, parts, write
from imaging.boards import true_scales
from toys import toy_bundle
from typer.testing import CliRunner

from inspector.cameras.correcting import Corrector
from inspector.cameras.sources.source import Lost, Taken
from inspector.checkup import check_line
from inspector.cli import app
from inspector.errors import ConfigError
from inspector.imaging.reference_set import open_reference_set
from inspector.part import Frame, PixelFormat
from inspector.references import correction_of, known_of, with_scales
from inspector.service import run_service
from inspector.settings import load_line_file, read_line_file
from inspector.sim.demo.processes import free_ports

LIMITS = '[[recipe.toy.dimensions.limit]]\ndefect_class = "scratch"\nmax_length_mm = 2.0\n'


def line_file(
    folder: Path, more: str = "", dimensions: str = "", source: str = 'source = "folder"\nfolder = "frames"'
) -> Path:
    grpc_port, modbus_port = free_ports(2)
    path = folder / "line.toml"
    path.write_text(
        f"""
[line]
name = "line1"
[grpc]
listen = "127.0.0.1:{grpc_port}"
[modbus]
listen = "127.0.0.1:{modbus_port}"
[[station]]
name = "s1"
camera = "cam1"
unit = 1
recipe = "toy"
[recipe.toy]
bundle = "toy"
{dimensions}
[camera.cam1]
{source}
{more}
"""
    )
    return path


def setup(path: Path, *options: str) -> tuple[int, str]:
    asked = ["camera", "setup", str(path), "--camera", "cam1", "--by", "anna", "--page", "", "--by-itself"]
    asked += ["--flat", str(FLATS), "--boards", "5", "--parts", "24", "--board", "13x10", "--square-mm", "14", *options]
    result = CliRunner().invoke(app, asked)
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line with a camera that was commissioned, `ref`, and one with corrections, `ref-even`."""
    folder = tmp_path_factory.mktemp("line")
    write(folder / "frames", [*flats(), *boards(), *parts(24)])
    for out, more in (("ref", ""), ("ref-even", 'correct = ["flat", "lens"]\n[health.cam1]\nreference = "ref"')):
        code, told = setup(line_file(folder, more), "--out", str(folder / out))
        assert code == 0, told
        assert "scale 0.39" in told
    toy_bundle(folder / "toy", classes=("scratch", "dent"), outlines=True)
    return folder


def test_the_scale_of_the_recipe_is_that_of_the_reference_with_its_uncertainty(folder: Path) -> None:
    path = line_file(folder, '[health.cam1]\nreference = "ref"', LIMITS)
    dimensions = with_scales(load_line_file(path)).file.recipe["toy"].dimensions
    assert dimensions is not None
    truth = true_scales(CAMERA, PLANE, BOARD)
    assert np.abs(truth / dimensions.mm_per_px - 1).max() <= dimensions.uncertainty < 0.05
    notes = check_line(path).notes
    assert any(f"{dimensions.mm_per_px:.6g} mm per pixel" in note for note in notes)


def test_what_is_too_long_by_the_scale_of_the_commissioning_is_rejected(folder: Path, tmp_path: Path) -> None:
    lengths_px = (60, 150)  # of a scratch; the limit is between
    for length_px in lengths_px:
        picture = np.zeros((CAMERA.height_px, CAMERA.width_px), np.uint8)
        picture[180:204, 150 : 150 + length_px] = 255
        write(tmp_path / "scratched" / str(length_px), [picture])
    dimensions = f"deadline_ms = 20000\n[recipe.toy.check]\nmin_mean = 0.0\n{LIMITS.replace('2.0', '40.0')}"
    told = []
    for length_px in lengths_px:
        source = f'source = "folder"\nfolder = "{tmp_path / "scratched" / str(length_px)}"'
        path = line_file(folder, '[health.cam1]\nreference = "ref"', dimensions, source)
        results = tmp_path / f"{length_px}.jsonl"
        with run_service(load_line_file(path)):
            done = CliRunner().invoke(app, ["camera", "run", str(path), "--results", str(results)])
            assert done.exit_code == 0, done.output
            logging.getLogger().handlers.clear()  # of the command's own output
            told.append(json.loads(results.read_text()))
    shown = CliRunner().invoke(app, ["show", f"#{told[-1]['trigger']}", "--line", str(path)]).output.replace("│", " ")
    assert [(one["verdict"], one["reason"]) for one in told] == [
        ("PASS", "WITHIN_LIMITS"),
        ("REJECT", "DIMENSION_ABOVE_LIMIT"),
    ]
    (length_mm,) = re.findall(r"scratch is ([0-9.]+) mm long, the limit is 40 mm", " ".join(shown.split()))
    truth_mm = 150 * true_scales(CAMERA, PLANE, BOARD).mean()
    cell_mm = CAMERA.width_px / 32 * 0.4
    assert float(length_mm) == pytest.approx(truth_mm, abs=cell_mm)


def test_a_camera_that_is_a_video_is_commissioned_too(tmp_path: Path) -> None:
    frames = [*flats(), *boards(), *parts(24)]
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=100)
        stream.width, stream.height, stream.pix_fmt = CAMERA.width_px, CAMERA.height_px, "gray"
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    toy_bundle(tmp_path / "toy")
    code, told = setup(line_file(tmp_path, source='source = "video"\nfile = "v.mkv"'), "--out", str(tmp_path / "ref"))
    assert code == 0, told
    assert "scale 0.39" in told
    assert open_reference_set(tmp_path / "ref").by == "anna"


def test_a_straightened_picture_has_its_own_scale(folder: Path) -> None:
    more = 'correct = ["flat", "lens"]\n[health.cam1]\nreference = "ref-even"'
    dimensions = with_scales(load_line_file(line_file(folder, more, LIMITS))).file.recipe["toy"].dimensions
    assert dimensions is not None
    assert dimensions.uncertainty < 0.006
    assert dimensions.mm_per_px == pytest.approx(PLANE.z_mm / CAMERA.focal_px, rel=0.003)


def test_own_values_of_the_recipe_come_first(folder: Path) -> None:
    own = f"[recipe.toy.dimensions]\nmm_per_px = 0.3\n{LIMITS}"
    settings = load_line_file(line_file(folder, '[health.cam1]\nreference = "ref"', own))
    assert with_scales(settings).file.recipe["toy"].dimensions == settings.file.recipe["toy"].dimensions


@pytest.mark.parametrize(
    ("more", "dimensions", "key", "fact"),
    [
        ("", LIMITS, "recipe.toy.dimensions.mm_per_px", "is missing"),
        ('[health.cam2]\nreference = "ref"', "", "health.cam2", "no station has a camera of that name"),
        ('correct = ["flat"]', "", "camera.cam1.correct", "no [health.cam1] reference"),
        ("[health.cam1]\nlihgt = 0.1", "", "health.cam1.lihgt", "is not a key"),
        ("[health.cam1]\nlight = 2.0", "", "health.cam1.light", "less than or equal to 1"),
    ],
    ids=["no scale", "unknown camera", "nothing to correct by", "a typing error", "no share"],
)
def test_what_does_not_go_together_is_told(folder: Path, more: str, dimensions: str, key: str, fact: str) -> None:
    problems = {one.key: str(one) for one in read_line_file(line_file(folder, more, dimensions)).problems}
    assert fact in problems[key]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('[health.cam1]\nreference = "nowhere"', "cannot be read"),
        (
            '[health.cam1]\nreference = "ref-even"',
            "taken with flat, lens corrected, and [camera.cam1] corrects nothing",
        ),
    ],
    ids=["no folder", "another correction"],
)
def test_a_reference_that_does_not_fit_is_told_and_the_line_runs(folder: Path, more: str, fault: str) -> None:
    path = line_file(folder, more)
    known = known_of(load_line_file(path), "cam1")
    assert fault in known.fault
    assert known.care.reference is None
    assert any(fault in str(problem) for problem in check_line(path).problems)


def test_a_reference_of_another_camera_is_told(folder: Path) -> None:
    path = line_file(folder, '[health.cam1]\nreference = "ref"')
    path.write_text(path.read_text().replace("cam1", "cam9"))
    assert "is of camera cam1, not of cam9" in known_of(load_line_file(path), "cam9").fault


def taken(picture: np.typing.NDArray[np.uint8]) -> Taken:
    height, width = picture.shape
    return Taken(Frame(0, PixelFormat.MONO8, width, height, 0, picture.tobytes(), part_id="p1"), "here", 7)


def test_frames_are_corrected_before_they_are_sent_always_alike(folder: Path) -> None:
    settings = load_line_file(line_file(folder, 'correct = ["flat", "lens"]\n[health.cam1]\nreference = "ref-even"'))
    stages = [Corrector(correction) for _ in range(2) if (correction := correction_of(settings, "cam1"))]
    even, again = (stage(taken(flats()[0])) for stage in stages)
    assert isinstance(even, Taken)
    assert isinstance(again, Taken)
    assert even.frame.data == again.frame.data
    assert (even.trigger, even.frame.part_id, even.frame.pixel_format) == (7, "p1", PixelFormat.MONO8)
    pixels = np.frombuffer(even.frame.data, np.uint8).reshape(CAMERA.height_px, CAMERA.width_px).astype(float)
    assert pixels[20:40, 20:40].mean() == pytest.approx(pixels[180:200, 230:250].mean(), rel=0.02)


def test_a_frame_that_cannot_be_corrected_is_lost_and_told(folder: Path) -> None:
    settings = load_line_file(line_file(folder, 'correct = ["flat", "lens"]\n[health.cam1]\nreference = "ref-even"'))
    correction = correction_of(settings, "cam1")
    assert correction is not None
    lost = Corrector(correction)(taken(np.zeros((100, 100), np.uint8)))
    assert isinstance(lost, Lost)
    assert (lost.trigger, lost.part_id) == (7, "p1")
    assert "commission it anew" in lost.why


def test_the_source_that_ends_too_soon_is_told(folder: Path, tmp_path: Path) -> None:
    path = line_file(tmp_path)
    write(tmp_path / "frames", parts(3))
    code, told = setup(path)
    assert code != 0
    assert "no more frames at step flat (3 of 8 taken" in told


def test_a_reference_is_never_written_over(folder: Path) -> None:
    code, told = setup(line_file(folder), "--out", str(folder / "ref"))
    assert code != 0
    assert "is there already" in told
    assert open_reference_set(folder / "ref").by == "anna"


def test_a_camera_without_a_table_is_told(folder: Path) -> None:
    result = CliRunner().invoke(app, ["camera", "setup", str(line_file(folder)), "--camera", "cam7", "--by", "anna"])
    assert isinstance(result.exception, ConfigError)
    assert "has no table [camera.cam7] (it has cam1)" in str(result.exception)


def test_the_board_is_drawn_to_be_printed(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["camera", "board", str(tmp_path / "board"), "--board", "5x4", "--square-mm", "20", "--paper", "A6"]
    )
    assert result.exit_code == 0
    assert (tmp_path / "board.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "board.png").read_bytes().startswith(b"\x89PNG")
    wrong = CliRunner().invoke(app, ["camera", "board", str(tmp_path / "board"), "--board", "seven"])
    assert "expected COLUMNSxROWS" in str(wrong.exception)


def test_the_reference_says_what_its_files_are(folder: Path) -> None:
    about = json.loads((folder / "ref" / "reference.json").read_text())
    assert set(about["files"]) >= {"health.npz", "calibration.json", "flat.npz", "report.html", "images/part-01.png"}
