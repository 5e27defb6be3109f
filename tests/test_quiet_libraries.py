"""No library tells anybody what is judged here: it tries nothing on the network and leaves no id in the user's folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from requires import require_tool
from toys import toy_bundle

DEPLOY = Path(__file__).parents[1] / "deploy"
JUDGE = """
import sys, time
import numpy as np
from inspector.inference.bundle import open_bundle
from inspector.inference.engine import Engine
Engine(open_bundle(sys.argv[1])).infer(np.zeros((1, 32, 32, 1), np.uint8))
time.sleep(3)
"""
# What is sent is gathered for some seconds first.
THEN_WAIT = (
    "import runpy, sys, time; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__'); time.sleep(3)"
)


@pytest.mark.parametrize("how", ["the engine", "without this project"])
def test_a_model_that_runs_tells_nobody(tmp_path: Path, how: str) -> None:
    strace = require_tool("strace")
    bundle, home, calls = toy_bundle(tmp_path / "toy"), tmp_path / "home", tmp_path / "calls"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    arguments = ["-c", JUDGE, str(bundle.path)]
    if how == "without this project":
        golden = next((bundle.path / "golden").iterdir())
        arguments = ["-c", THEN_WAIT, str(DEPLOY / "run_bundle.py"), str(bundle.path), str(golden)]
    subprocess.run(
        [strace, "-f", "-qq", "-e", "trace=connect", "-o", str(calls), sys.executable, *arguments],
        env={**environment, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")},
        check=True,
        timeout=60,
    )
    assert "AF_INET" not in calls.read_text()
    assert list(home.rglob("*")) == []
