"""Who may import whom, as pyproject.toml says it, and that the runtime runs without what only training installs."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Imports every module of the runtime with training's packages out of reach, as on a machine that installed none of them.
WITHOUT_TRAINING = """
import importlib, pkgutil, sys

FORBIDDEN = {"torch", "torchvision", "timm", "onnx", "onnxscript", "sklearn", "scipy", "training", "psycopg"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"{name} is not part of the runtime", name=name)

sys.meta_path.insert(0, Absent())
import inspector
# Alembic runs env.py and its versions itself; __main__ would start a program.
names = [m.name for m in pkgutil.walk_packages(inspector.__path__, "inspector.") if ".migrations." not in m.name]
# The desk and its statistics need the extra "web"; nothing that a line runs may need them.
desk = ("inspector.quality.", "inspector.web.")
for name in names:
    if not name.endswith("__main__") and not name.startswith(desk):
        importlib.import_module(name)
print(len(names))
"""


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache", "--no-logo"], cwd=root, capture_output=True, text=True, timeout=100)


def test_import_contracts_are_kept() -> None:
    run = lint_imports(ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        pytest.param("inspector/decision/extra.py", "import inspector.records", id="one room imports another"),
        pytest.param("inspector/imaging/extra.py", "import inspector.pipeline", id="a room imports the pipeline"),
        pytest.param("inspector/inference/extra.py", "import torch", id="the runtime imports torch"),
        pytest.param("inspector/records/extra.py", "import inspector.settings", id="a room reads settings"),
        pytest.param("inspector/records/extra.py", "import scipy", id="the runtime imports scipy"),
        pytest.param("inspector/quality/extra.py", "import inspector.records", id="statistics read the database"),
        pytest.param("inspector/part.py", "import inspector.errors", id="values import the level above"),
        pytest.param("training/extra.py", "import inspector.rpc", id="training imports a transport"),
        pytest.param("inspector/extra.py", "", id="a module without a place"),
    ],
)
def test_each_contract_can_fail(tmp_path: Path, module: str, line: str) -> None:
    """A copy of the package tree, empty but for one forbidden import."""
    for package in ("inspector", "training"):
        for source in (ROOT / package).rglob("*.py"):
            copy = tmp_path / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text("")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / module).write_text(line + "\n")
    run = lint_imports(tmp_path)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "BROKEN" in run.stdout


def test_the_runtime_imports_without_training_packages() -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TRAINING], capture_output=True, text=True, timeout=100, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 30


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    pinned = {_plain(name) for name in pins}
    names = {_plain(re.split(r"[<>=\[; ]", requirement)[0]) for requirement in wanted}
    assert names <= pinned, f"run make constraints: no version for {sorted(names - pinned)}"
    assert all(re.fullmatch(r"[0-9][0-9A-Za-z.]*", version) for version in pins.values()), "no local versions or files"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
