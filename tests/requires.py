"""Skips a test when something outside the project is missing; a missing tool fails it under INSPECTOR_REQUIRE_ALL=1."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def require(condition: bool, reason: str) -> None:
    """Skip with `reason` unless `condition`; fail instead if INSPECTOR_REQUIRE_ALL=1."""
    if condition:
        return
    if os.environ.get("INSPECTOR_REQUIRE_ALL") == "1":
        pytest.fail(f"required but missing: {reason}")
    pytest.skip(reason)


def require_tool(name: str) -> str:
    """Path of a program, or skip: run deploy/install-test-tools.sh to get it."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/lib/postgresql/15/bin")
    require(path is not None, f"{name} is not installed; run deploy/install-test-tools.sh")
    assert path is not None
    return path


def require_data(name: str) -> Path:
    """Folder of a real data set beside the checkout, or skip: no script may fetch those, so nothing makes this a failure."""
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}")
    return folder
