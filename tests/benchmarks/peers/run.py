"""Runs anomalib in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from inspector.errors import ConfigError

SIDE = Path(__file__).parent / "anomalib_side.py"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"


def run(python: Path, job: Mapping[str, object]) -> dict[str, Any]:
    """What anomalib_side.py says of a job. Raises ConfigError, with its last words, if it fails."""
    check_versions(python)
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        asked, told = Path(folder) / "job.json", Path(folder) / "result.json"
        asked.write_text(json.dumps(job))
        # This project is not to be importable there: the environment has other versions.
        alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [str(python), str(SIDE), str(asked), str(told)], env=alone, capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
            raise ConfigError(f"anomalib did not finish ({done.returncode}): {last}; try `{python} {SIDE}` by hand")
        result: dict[str, Any] = json.loads(told.read_text())
        return result


def pinned() -> dict[str, str]:
    """Versions that figures of anomalib are of: {package: version}."""
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


@cache
def check_versions(python: Path) -> None:
    """Raises ConfigError unless the environment has what requirements.txt says."""
    script = (
        "import importlib.metadata as m, json, sys\n"
        "there = {d.metadata['Name']: d.version for d in m.distributions()}\n"
        "print(json.dumps({n: there.get(n, '') for n in sys.argv[1:]}))"
    )
    try:
        told = subprocess.run([str(python), "-c", script, *pinned()], capture_output=True, text=True, check=True)
        there: dict[str, str] = json.loads(told.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise ConfigError(f"{python} is no Python that runs ({error}): make the environment by `make peer`") from error
    wrong = {name: version for name, version in there.items() if version.partition("+")[0] != pinned()[name]}
    if wrong:
        said = ", ".join(f"{name} {version or 'missing'}, not {pinned()[name]}" for name, version in wrong.items())
        raise ConfigError(f"the environment of {python} has {said}: make it anew by `make peer`")
