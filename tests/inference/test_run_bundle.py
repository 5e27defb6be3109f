"""The documented ten lines judge a bundle's pictures without this project."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from toys import toy_bundle

from inspector.imaging.normalise import resize

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "run_bundle.py"


@pytest.mark.parametrize("channels", [pytest.param(1, id="grey"), pytest.param(3, id="colour")])
def test_it_gives_golden_images_their_recorded_scores(tmp_path: Path, channels: int) -> None:
    bundle = toy_bundle(tmp_path / "toy", channels=channels)
    files = [str(bundle.path / image.file) for image in bundle.manifest.golden]
    # -I: neither this folder nor the user's packages; the script may not lean on the inspector.
    command = [sys.executable, "-I", str(SCRIPT), str(bundle.path), *files]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=True)
    wanted = [f"{file} {i.score:.4f} {i.verdict.name}" for file, i in zip(files, bundle.manifest.golden, strict=True)]
    assert run.stdout.splitlines() == wanted


def test_it_is_ten_lines_and_knows_nothing_of_the_inspector() -> None:
    text = SCRIPT.read_text()
    statements = ast.parse(text).body[1:]  # after the docstring
    assigned = (each for each in statements if isinstance(each, ast.Assign))
    begin = next(each.lineno for each in assigned if isinstance(each.targets[0], ast.Name))
    assert len(text.splitlines()[begin - 1 :]) == 10
    assert {name.name for each in statements if isinstance(each, ast.Import) for name in each.names} == {
        "json",
        "os",
        "sys",
        "cv2",
        "onnxruntime",
    }


SIZES = [
    pytest.param((64, 48), id="the model's own"),
    pytest.param((47, 63), id="a little too small"),
    pytest.param((200, 150), id="too large"),
    pytest.param((129, 97), id="odd, and just over twice as large"),
    pytest.param((300, 20), id="long one way, short the other"),
    pytest.param((1, 1), id="a single pixel"),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("colours", [(), (3,)], ids=["grey", "colour"])
def test_it_resizes_as_the_line_does(size: tuple[int, int], colours: tuple[int, ...]) -> None:
    """To the last bit: a tile that is resized otherwise scores up to nine hundredths otherwise."""
    function = next(each for each in ast.parse(SCRIPT.read_text()).body if isinstance(each, ast.FunctionDef))
    known: dict[str, Any] = {"cv2": cv2}
    exec(compile(ast.Module([function], []), str(SCRIPT), "exec"), known)
    picture = np.random.default_rng(0).integers(0, 256, (*size[::-1], *colours), np.uint8)
    np.testing.assert_array_equal(known["resized"](picture, 64, 48), resize(picture, 64, 48))
