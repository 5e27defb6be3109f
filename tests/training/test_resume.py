"""A fit that learns in steps, as it is run by the real commands: killed and resumed, cancelled, shared by two processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_pictures import part, save, write_parts

from inspector.errors import BundleError, ConfigError
from inspector.inference.bundle import open_bundle
from training.cli import main
from training.models.registry import learns_by_steps, model_kind, read_settings, resumable

ON_CPU = ("--device", "cpu")  # where the same result is promised
ROOT = Path(__file__).resolve().parents[2]
LEARNING = ["train_from=4", "views=2", 'loop={"epochs": 4, "batch": 8, "rate": 0.0003}']
# One thread, so that sums are added in one order; and no rendezvous beyond this machine.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_parts(tmp_path_factory.mktemp("resume") / "data", good=24, defects={"blot": 10})
    for seed in range(10):
        pixels = part(500 + seed)
        pixels[8 + 4 * seed : 12 + 4 * seed] = 250
        save(root / "line" / f"{seed}.png", pixels)
    return root


def _fit(data: Path, out: Path, *more: object) -> list[str]:
    """Arguments of a fit of 64 px whose limit is set on good parts held out, so that it learns once."""
    settings = [word for setting in LEARNING for word in ("--set", setting)]
    rates = ["--false-reject-rate", "0.4", "--confidence", "0.6"]
    return [
        "fit",
        str(data),
        "--out",
        str(out),
        "--model",
        "classifier",
        "--size",
        "64x64",
        *rates,
        *settings,
        *map(str, more),
    ]


@contextmanager
def _started(arguments: Sequence[str], log: Path, *, processes: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process of its own, or several by torchrun; killed if it is still there at the end."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(torchrun if processes > 1 else []), "-m", "training.cli", *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=ENVIRONMENT, cwd=log.parent, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _end_after_an_epoch(arguments: Sequence[str], state: Path, log: Path, how: signal.Signals) -> int:
    """Start the command, send `how` once another epoch is kept, and give the exit status."""

    def kept() -> list[int]:
        return [path.stat().st_mtime_ns for path in state.glob("loop-*")]  # a write in progress has a name with a dot

    before = kept()
    with _started(arguments, log) as process:
        while kept() == before:
            assert process.poll() is None, log.read_text()
            time.sleep(0.005)
        process.send_signal(how)
        return process.wait(timeout=60)


def _ended(arguments: Sequence[str], log: Path, *, processes: int = 1) -> int:
    with _started(arguments, log, processes=processes) as process:
        return process.wait(timeout=280)


def _fitted_here(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command in this process, with one thread as the others; its export, which takes longest, is refused."""

    def refuse(*_: object) -> None:
        raise BundleError("the fitted model is all that is wanted")

    monkeypatch.setattr("training.export.export_bundle", refuse)
    monkeypatch.setattr(sys, "argv", ["inspector-train", *arguments])
    threads, previous = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    torch.set_num_threads(1)
    try:
        with pytest.raises(SystemExit):
            main()
    finally:
        torch.set_num_threads(threads)
        signal.signal(signal.SIGTERM, previous)


@pytest.mark.slow
def test_a_fit_that_was_killed_and_cancelled_ends_with_the_network_of_one_that_was_not(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, log = tmp_path / "state", tmp_path / "log"
    arguments = _fit(data, tmp_path / "bundle", "--resume", state, "--checkpoint", tmp_path / "resumed", *ON_CPU)
    assert _end_after_an_epoch(arguments, state, log, signal.SIGKILL) == -signal.SIGKILL
    assert _end_after_an_epoch(arguments, state, log, signal.SIGTERM) == 130
    told = " ".join(log.read_text().split())
    assert f"--resume {state}, goes on" in told
    assert "nothing was left half-written" in told
    assert {path.name for path in tmp_path.iterdir()} == {"state", "log"}
    assert len(list(state.iterdir())) == 1
    assert _ended(arguments, log) == 0, log.read_text()
    assert open_bundle(tmp_path / "bundle").manifest.classes == ("blot", "line", "unfamiliar")
    _fitted_here(_fit(data, tmp_path / "whole-bundle", "--checkpoint", tmp_path / "whole", *ON_CPU), monkeypatch)
    resumed, uninterrupted = (load_file(tmp_path / name / "network.safetensors") for name in ("resumed", "whole"))
    assert resumed.keys() == uninterrupted.keys()
    assert [name for name in resumed if not torch.equal(resumed[name], uninterrupted[name])] == []


TWO_GPUS = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch finds no two GPUs here")


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=TWO_GPUS)])
def test_two_processes_share_a_fit_and_the_first_writes_it(tmp_path: Path, data: Path, device: str) -> None:
    log = tmp_path / "log"
    arguments = _fit(data, tmp_path / "bundle", "--checkpoint", tmp_path / "fitted", "--resume", tmp_path / "state")
    arguments += ["--device", device]
    assert _ended(arguments, log, processes=2) == 0, log.read_text()
    assert log.read_text().count("Fitted and exported") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "fitted", "state", "log"}
    assert open_bundle(tmp_path / "bundle").manifest.classes == ("blot", "line", "unfamiliar")
    assert len(list((tmp_path / "state").iterdir())) == 1


def test_a_kind_that_learns_in_one_go_has_nothing_to_resume(tmp_path: Path) -> None:
    bank = model_kind("memory-bank")
    settings = read_settings(bank, [])
    assert resumable(bank, settings, None) is settings
    with pytest.raises(ConfigError, match="leave --resume to classifier"):
        resumable(bank, settings, tmp_path)
    classifier = model_kind("classifier")
    taught = {"train_from=-1": False, "train_from=3": True}
    assert {s: learns_by_steps(classifier, read_settings(classifier, [s])) for s in taught} == taught
    assert not learns_by_steps(bank, settings)
    with pytest.raises(ConfigError, match="set train_from too"):
        resumable(classifier, read_settings(classifier, ["train_from=-1"]), tmp_path)
    kept = resumable(classifier, read_settings(classifier, ["train_from=3"]), tmp_path)
    assert kept.checkpoint == str(tmp_path)
