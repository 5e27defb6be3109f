"""The documented ten lines judge a bundle's pictures without this project."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from toys import toy_bundle

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
    begin = next(each.lineno for each in statements if not isinstance(each, ast.Import | ast.ImportFrom))
    assert len(text.splitlines()[begin - 1 :]) == 10
    assert {name.name for each in statements if isinstance(each, ast.Import) for name in each.names} == {
        "json",
        "sys",
        "numpy",
        "onnxruntime",
    }
