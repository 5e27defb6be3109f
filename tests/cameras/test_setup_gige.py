"""Commissioning through the program with a GenICam camera that nobody here wrote: Aravis' fake GigE camera."""

from __future__ import annotations

from pathlib import Path

from gige import DEVICE, fake_camera
from typer.testing import CliRunner

from inspector.cli import app
from inspector.imaging.reference_set import open_reference_set

LINE = f"""
[line]
name = "line1"
[[station]]
name = "s1"
camera = "cam1"
unit = 1
recipe = "toy"
[recipe.toy]
bundle = "toy"
[camera.cam1]
source = "genicam"
device = "{DEVICE}"
rate_hz = 20.0
packet_size = 4000
[camera.cam1.region]
width_px = 256
height_px = 192
"""


def test_a_gige_camera_is_commissioned(tmp_path: Path) -> None:
    path = tmp_path / "line.toml"
    path.write_text(LINE)
    asked = [
        "camera",
        "setup",
        str(path),
        "--camera",
        "cam1",
        "--by",
        "anna",
        "--page",
        "",
        "--by-itself",
        "--parts",
        "24",
    ]
    with fake_camera():
        result = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "ref")])
    assert result.exit_code == 0, result.output + str(result.exception)
    reference = open_reference_set(tmp_path / "ref")
    assert reference.health().size_px == (256, 192)
    assert reference.health().frames == 24
    assert "Aravis Fake" in (tmp_path / "ref" / "report.html").read_text()
