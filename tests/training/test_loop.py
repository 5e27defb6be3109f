"""The training loop: a seed decides it, a kill does not change it, and it says when it cannot go on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from inspector.errors import ConfigError, DataError
from inspector.sim.demo.processes import free_ports
from training.loop import LoopSettings, _batches, _check_together, _State, check_shares_work, processes, train

SETTINGS = LoopSettings(epochs=4, batch=8, rate=0.05)
POINTS = torch.randn(20, 3, generator=torch.Generator().manual_seed(5))
TARGETS = POINTS @ torch.tensor([1.0, -2.0, 0.5])


def _network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def _loss(network: nn.Module, images: Sequence[int], generator: torch.Generator) -> Tensor:
    noise = 0.01 * torch.randn(len(images), 3, generator=generator)
    return (network(POINTS[list(images)] + noise).squeeze(1) - TARGETS[list(images)]).square().mean()


def _trained(seed: int = 0, folder: Path | None = None, stop_after: int | None = None) -> nn.Module:
    network = _network()
    seen = 0

    def loss(network: nn.Module, images: Sequence[int], generator: torch.Generator) -> Tensor:
        nonlocal seen
        seen += 1
        if seen == stop_after:
            raise KeyboardInterrupt
        return _loss(network, images, generator)

    train(network, loss, torch.ones(20), SETTINGS, seed, folder=folder, task="points")
    return network


def _same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_it_learns() -> None:
    everything = range(20)
    before = float(_loss(_network(), everything, torch.Generator()).detach())
    assert float(_loss(_trained(), everything, torch.Generator()).detach()) < 0.7 * before


def test_a_seed_decides_the_weights() -> None:
    assert _same(_trained(0), _trained(0))
    assert not _same(_trained(0), _trained(1))


@pytest.mark.parametrize("step", [1, 5, 8, 12], ids=["before anything", "epoch 2", "within epoch 3", "last step"])
def test_a_run_that_was_cancelled_and_resumed_ends_like_one_that_was_not(tmp_path: Path, step: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        _trained(folder=tmp_path, stop_after=step)
    files = list(tmp_path.iterdir())
    assert len(files) == (1 if step > 3 else 0)
    assert all(file.suffix == ".safetensors" for file in files)
    assert _same(_trained(folder=tmp_path), _trained())


def test_a_finished_run_is_not_repeated_and_another_seed_starts_anew(tmp_path: Path) -> None:
    first = _trained(folder=tmp_path)
    assert _same(_trained(folder=tmp_path, stop_after=1), first)
    assert _same(_trained(seed=1, folder=tmp_path), _trained(seed=1))
    assert len(list(tmp_path.iterdir())) == 2


def test_the_state_of_a_network_with_channels_last_is_kept(tmp_path: Path) -> None:
    def trained(folder: Path | None) -> nn.Module:
        torch.manual_seed(1)
        network = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pictures = torch.linspace(0, 1, 200).reshape(4, 2, 5, 5)
        train(
            network,
            lambda n, i, g: n(pictures[list(i)]).square().mean(),
            torch.ones(4),
            SETTINGS,
            0,
            folder=folder,
            task="p",
        )
        return network

    assert _same(trained(tmp_path), trained(None))
    assert len(list(tmp_path.iterdir())) == 1
    assert _same(trained(tmp_path), trained(None))


def test_the_scale_of_half_precision_is_kept(tmp_path: Path) -> None:
    """As on a GPU without bfloat16, where the scale follows the gradients."""

    def begun() -> tuple[nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
        network = _network()
        optimizer = torch.optim.AdamW(network.parameters())
        return network, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)

    state = _State(tmp_path, "points", SETTINGS, 0, 20)
    learned = torch.amp.GradScaler("cpu", init_scale=512.0)
    network, optimizer, _ = begun()
    learned.scale(_loss(network, range(20), torch.Generator())).backward()  # type: ignore[no-untyped-call]
    learned.step(optimizer)
    learned.update(64.0)
    state.keep(1, network, optimizer, learned)
    resumed = torch.amp.GradScaler("cpu")
    assert state.restore(*begun(), resumed) == 1
    assert resumed.get_scale() == 64.0
    without = torch.amp.GradScaler("cpu", enabled=False)
    assert state.restore(*begun(), without) == 1


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    _trained(folder=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="remove it to start anew"):
        _trained(folder=tmp_path)


def test_a_loss_that_is_no_number_is_an_error() -> None:
    with pytest.raises(DataError, match="diverged"):
        train(_network(), lambda n, i, g: n(POINTS).mean() * torch.nan, torch.ones(20), SETTINGS, 0)


@pytest.mark.parametrize(
    "settings", [{"epochs": 0}, {"batch": 0}, {"rate": 0.0}, {"rate": 2.0}, {"weight_decay": -1.0}], ids=str
)
def test_settings_that_teach_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="cannot train"):
        LoopSettings(**settings)  # type: ignore[arg-type]


def test_what_is_frozen_stays() -> None:
    network = _network()
    before = network[0].weight.clone()  # type: ignore[index, union-attr, operator]
    network[0].requires_grad_(False)  # type: ignore[index, union-attr, operator]
    train(network, _loss, torch.ones(20), SETTINGS, 0)
    assert torch.equal(network[0].weight, before)  # type: ignore[index, union-attr, arg-type]


def test_equal_weights_show_each_image_once_and_unequal_ones_the_rare_more_often() -> None:
    once = [image for batch in _batches(torch.ones(20), 8, 0, 0) for image in batch]
    assert sorted(once) == list(range(20))
    weights = torch.ones(200)
    weights[:4] = 40.0
    drawn = Counter(image for epoch in range(5) for batch in _batches(weights, 8, 0, epoch) for image in batch)
    assert 0.3 < sum(drawn[image] for image in range(4)) / drawn.total() < 0.6


def test_progress_tells_of_every_step() -> None:
    told: list[int] = []
    train(_network(), _loss, torch.ones(20), SETTINGS, 0, progress=lambda stage, done, total: told.append(done))
    assert told == list(range(13))


def test_without_torchrun_there_is_one_process() -> None:
    with processes() as rank:
        assert rank == 0


@pytest.mark.parametrize(
    ("count", "by_steps", "refused"), [("1", False, False), ("2", True, False), ("2", False, True)]
)
def test_processes_are_refused_only_where_there_is_nothing_to_share(
    count: str, by_steps: bool, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", count)
    with pytest.raises(ConfigError, match="without it") if refused else nullcontext():
        check_shares_work("memory-bank", by_steps=by_steps)


class _Joined(Exception):
    """The processes would have met here."""


@pytest.fixture
def one_of_two(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """This is the second of two processes that want GPUs; gives those that it takes."""
    taken: list[int] = []
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)

    def join(backend: str) -> None:
        raise _Joined(backend)

    monkeypatch.setattr("training.loop.best_device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr("training.loop.torch.cuda.set_device", taken.append)
    monkeypatch.setattr("training.loop.dist.init_process_group", join)
    return taken


def test_each_process_takes_a_gpu_of_its_own(one_of_two: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.loop.torch.cuda.device_count", lambda: 2)
    with pytest.raises(_Joined, match="nccl"), processes():
        raise AssertionError("they met")
    assert one_of_two == [1]


def test_more_processes_than_gpus_are_refused(one_of_two: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.loop.torch.cuda.device_count", lambda: 1)
    waited: list[float] = []
    monkeypatch.setattr("training.loop.time.sleep", waited.append)
    with (
        pytest.raises(ConfigError, match=r"2 processes .* GPUs here: 1.*--nproc-per-node=1, .*--device cpu"),
        processes(),
    ):
        raise AssertionError("it goes on")
    assert waited, "the first process speaks before torchrun ends all"
    assert not one_of_two


@pytest.mark.parametrize(("others", "refused"), [([2, 2], False), ([2, 0], True)], ids=["one state", "two states"])
def test_processes_that_see_other_states_do_not_wait_for_each_other(
    others: list[int], refused: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("training.loop._processes", lambda: 2)
    monkeypatch.setattr(
        "training.loop.dist.all_gather_object", lambda seen, mine: seen.__setitem__(slice(None), others)
    )
    with pytest.raises(DataError, match="2, 0 epochs") if refused else nullcontext():
        _check_together(2, tmp_path)


WORKER = """
import sys, torch
sys.path[:0] = sys.argv[2:]
from test_loop import _network, _loss, SETTINGS
from training.loop import processes, train
with processes() as rank:
    network = _network()
    train(network, _loss, torch.ones(20), SETTINGS, 0)
    torch.save(network.state_dict(), f"{sys.argv[1]}/{rank}.pt")
"""


@pytest.mark.slow
def test_two_processes_learn_one_network(tmp_path: Path) -> None:
    """With what torchrun tells them, and gloo on the CPU."""
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    (port,) = free_ports(1)
    together = {
        "CUDA_VISIBLE_DEVICES": "",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", WORKER, str(tmp_path), *paths]
    workers = [
        subprocess.Popen(command, env={**os.environ, **together, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"
    ]
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    network = _network()
    network.load_state_dict(first)
    with torch.no_grad():
        learned, before = (_loss(each, range(20), torch.Generator()) for each in (network, _network()))
    assert float(learned) < float(before)
