"""Another tool in an environment of its own: what it is asked, and what goes wrong with environments."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.errors import ConfigError
from tests.benchmarks.peers.job import DEALT, job_of
from tests.benchmarks.peers.run import pinned, run
from training.measure import look_at


def environment(folder: Path, versions: dict[str, str], side: str) -> Path:
    """A Python that says it has `versions`, and does `side` (shell; $2 is the job, $3 the result) when it runs a script."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\nif [ \"$1\" = -c ]; then echo '{json.dumps(versions)}'; else {side}; fi\n")
    python.chmod(0o755)
    return python


def test_the_job_goes_in_and_the_result_comes_back(tmp_path: Path) -> None:
    python = environment(tmp_path, {**pinned(), "torch": f"{pinned()['torch']}+cpu"}, 'cp "$2" "$3"')
    assert run(python, {"model": "padim", "fit": ["a.png"]}) == {"model": "padim", "fit": ["a.png"]}


def test_this_project_cannot_be_imported_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    python = environment(tmp_path, pinned(), 'printf "{\\"path\\": \\"$PYTHONPATH\\"}" > "$3"')
    assert run(python, {}) == {"path": ""}


@pytest.mark.parametrize(
    ("versions", "side", "said"),
    [
        pytest.param(
            {"anomalib": "2.6.0"},
            "true",
            r"anomalib 2\.6\.0, not 2\.7\.0: make it anew by `make peer`",
            id="other version",
        ),
        pytest.param({"anomalib": ""}, "true", "anomalib missing", id="not installed"),
        pytest.param(
            {}, "echo first >&2; echo no memory >&2; exit 3", r"did not finish \(3\): no memory", id="its last words"
        ),
        pytest.param({}, "exit 3", "it said nothing", id="no words at all"),
    ],
)
def test_an_environment_that_will_not_do_is_told(
    tmp_path: Path, versions: dict[str, str], side: str, said: str
) -> None:
    python = environment(tmp_path, pinned() | versions, side)
    with pytest.raises(ConfigError, match=said):
        run(python, {})


def test_a_python_without_anomalib_or_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="anomalib missing"):
        run(Path(sys.executable), {})
    with pytest.raises(ConfigError, match="no Python that runs"):
        run(tmp_path / "nothing", {})


def test_anomalib_gets_the_split_of_our_own_models(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for label, count in (("good", 10), ("cut", 3)):
        (tmp_path / label).mkdir()
        for number in range(count):
            cv2.imwrite(str(tmp_path / label / f"{number}.png"), random.integers(0, 255, (32, 32), np.uint8))
    around = look_at(str(tmp_path), "part")
    jobs = [job_of(around, "padim", 256, seed, sees_defects=True) for seed in (0, 0, 1)]
    assert jobs[0] == jobs[1]
    assert jobs[0]["test_good"] != jobs[2]["test_good"]
    lists = [{Path(file).relative_to(tmp_path).as_posix() for file in jobs[0][key]} for key in DEALT]
    fit, good, defective = lists
    assert (len(fit), len(good)) == (8, 2)
    assert defective == {"cut/0.png", "cut/1.png", "cut/2.png"}
    assert fit | good == {f"good/{number}.png" for number in range(10)}
