"""The training loop that kinds share: seeded, resumable, cancellable, on CPU or CUDA, on several GPUs by torchrun.

    order of images (seed, epoch) ─▶ this process's share ─▶ batch ─▶ loss ─▶ AdamW, cosine rate ─▶ state after each epoch

Everything random in an epoch follows from seed and epoch, so a run that was killed and resumed ends with the same
weights as one that was not. The state is one safetensors file with its bookkeeping as JSON in the header; it appears
whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from inspector.errors import ConfigError, DataError
from training.data.files import write_whole
from training.device import best_device as best_device
from training.progress import Curve, Progress, silent

_WARM_UP = 0.1
_CLIP_NORM = 5.0
_FIRST_SPEAKS_S = 10.0
"""torchrun ends all processes as soon as one has ended: the others let the first say why."""


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How long and how fast to learn. `rate` is AdamW's highest; `batch` is of all processes together."""

    epochs: int = 8
    batch: int = 32
    rate: float = 1e-3
    weight_decay: float = 0.02

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not 0 < self.rate < 1 or not 0 <= self.weight_decay < 1:
            raise ConfigError(
                f"cannot train for {self.epochs} epochs in batches of {self.batch} at rate {self.rate} with weight decay "
                f"{self.weight_decay}: give at least 1, 1, and numbers between 0 and 1"
            )


Loss = Callable[[nn.Module, Sequence[int], torch.Generator], Tensor]
"""The mean loss of the images of those numbers; what is random in it is drawn from the generator."""


def train(
    network: nn.Module,
    loss: Loss,
    weights: Tensor,
    settings: LoopSettings,
    seed: int,
    *,
    folder: Path | None = None,
    task: str = "",
    progress: Progress = silent,
) -> None:
    """Teach `network` in place; parameters that need no gradient stay as they are.

    `weights` float (n,) says how often each of n images is drawn, relative to each other; all equal draws each once an
    epoch. With a `folder` the state is kept there after every epoch, and a run of the same `task`, settings and seed goes
    on where it ended; the file is removed by nobody, so that a finished run is not repeated.
    Ctrl-C stops between steps and leaves the state of the last whole epoch. Raises DataError if the loss is no finite
    number or the state cannot be read or written.
    """
    device = next(network.parameters()).device
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=settings.rate, weight_decay=settings.weight_decay)
    steps = math.ceil(len(weights) / settings.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_up_then_cosine(steps * settings.epochs))
    half = torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda" and half is torch.float16)
    state = None if folder is None else _State(folder, task, settings, seed, len(weights))
    first = 0 if state is None else state.restore(network, optimizer, schedule, scaler)
    _check_together(first, folder)
    shared = DistributedDataParallel(network) if _processes() > 1 else network
    progress("Learning", first * steps, settings.epochs * steps)
    curve = Curve(progress, "loss", settings.epochs * steps)
    for epoch in range(first, settings.epochs):
        generator = torch.Generator().manual_seed(_mixed(seed, epoch, _rank()))
        for step, batch in enumerate(_batches(weights, settings.batch, seed, epoch), start=1):
            with torch.autocast(device.type, dtype=half, enabled=device.type == "cuda"):
                value = loss(shared, batch, generator)
            if not torch.isfinite(value):
                raise DataError(
                    f"the loss is {float(value.detach())} in epoch {epoch + 1}: the training diverged; set a lower rate than "
                    f"{settings.rate:g}, or look for images that are blank"
                )
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(value).backward()  # type: ignore[no-untyped-call]
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(learning, _CLIP_NORM)
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            curve.add(epoch * steps + step, float(value.detach()))
            progress("Learning", epoch * steps + step, settings.epochs * steps)
        if state is not None and _rank() == 0:
            state.keep(epoch + 1, network, optimizer, scaler)


@contextmanager
def processes() -> Iterator[int]:
    """Join the processes that torchrun started, if it did; gives this one's rank. NCCL on CUDA, else gloo.

    Raises ConfigError if they are to compute on GPUs and this machine has fewer of those than processes.
    """
    if _started_together() < 2:
        yield 0
        return
    on_gpu = best_device().type == "cuda"
    if on_gpu:
        number, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if _started_here() > gpus:
            if number:
                time.sleep(_FIRST_SPEAKS_S)
            raise ConfigError(
                f"torchrun started {_started_here()} processes on this machine, and each needs a GPU of its own; GPUs here: "
                f"{gpus}. Give torchrun --nproc-per-node={gpus}, or the command --device cpu"
            )
        torch.cuda.set_device(number)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def check_shares_work(kind: str, *, by_steps: bool) -> None:
    """Raise ConfigError if torchrun started several processes for a kind of model whose work they cannot share."""
    if _started_together() > 1 and not by_steps:
        raise ConfigError(
            f"with these settings {kind} learns in one go, so torchrun has nothing to share: run inspector-train fit without it"
        )


def _started_together() -> int:
    """How many processes torchrun started, with this one; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_here() -> int:
    """How many of the processes that torchrun started share this machine's memory; 1 without it."""
    return _started_here() if _processes() > 1 else 1


def _started_here() -> int:
    """How many of the processes that torchrun started it started on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _check_together(first: int, folder: Path | None) -> None:
    """Raises DataError unless all processes go on at the same epoch: their sums of gradients would wait for ever."""
    if _processes() == 1:
        return
    seen: list[int | None] = [None] * _processes()
    dist.all_gather_object(seen, first)
    if len(set(seen)) > 1:
        raise DataError(
            f"the processes go on after {', '.join(map(str, seen))} epochs in {folder}: each sees another state; give a "
            "folder that all of them share, or remove it to start anew"
        )


def _batches(weights: Tensor, batch: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """This process's share of each batch of one epoch; every process has as many batches as the others."""
    generator = torch.Generator().manual_seed(_mixed(seed, epoch, -1))
    if bool((weights == weights[0]).all()):
        order = torch.randperm(len(weights), generator=generator)
    else:
        order = torch.multinomial(weights.double(), len(weights), replacement=True, generator=generator)
    processes, rank = _processes(), _rank()
    for start in range(0, len(order), batch):
        together = order[start : start + batch].tolist()
        # A last batch smaller than the number of processes is shared by repeating its images.
        yield together[rank::processes] or [together[rank % len(together)]]


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _mixed(*numbers: int) -> int:
    """A seed of 63 bits from several numbers."""
    digest = hashlib.sha256(json.dumps(numbers).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _warm_up_then_cosine(steps: int) -> Callable[[int], float]:
    warm = max(1, round(_WARM_UP * steps))

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return share


class _State:
    """What a run needs to go on: one file per task, named by a digest of all that must be the same."""

    def __init__(self, folder: Path, task: str, settings: LoopSettings, seed: int, images: int) -> None:
        self._same = json.dumps({"task": task, "settings": asdict(settings), "seed": seed, "images": images})
        self._path = folder / f"loop-{hashlib.sha256(self._same.encode()).hexdigest()[:16]}.safetensors"

    def keep(
        self, epochs_done: int, network: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
    ) -> None:
        tensors = {f"network.{name}": tensor.contiguous() for name, tensor in network.state_dict().items()}
        for place, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": tensor.contiguous() for name, tensor in values.items()}
        said = {"epochs_done": str(epochs_done), "same": self._same, "scaler": json.dumps(scaler.state_dict())}
        write_whole(self._path, save(tensors, said))

    def restore(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
        scaler: torch.amp.GradScaler,
    ) -> int:
        """Take up the kept state, if there is one; gives the number of epochs done."""
        if not self._path.exists():
            return 0
        try:
            with safe_open(self._path, "pt") as stored:
                said = stored.metadata()
                epochs, scaled = int(said["epochs_done"]), json.loads(said["scaler"])
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (no mapping)
            network.load_state_dict(_under("network.", tensors))
            document = optimizer.state_dict()
            document["state"] = {}
            for key, tensor in _under("optimizer.", tensors).items():
                place, _, name = key.partition(".")
                document["state"].setdefault(int(place), {})[name] = tensor
            optimizer.load_state_dict(document)
            if scaled:  # learned in float16; another device may do without
                scaler.load_state_dict(scaled)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise DataError(
                f"{self._path} holds no state to go on from ({type(error).__name__}: {error}); remove it to start anew"
            ) from error
        steps = math.ceil(json.loads(self._same)["images"] / json.loads(self._same)["settings"]["batch"])
        schedule.last_epoch = epochs * steps
        for group, base in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
            group["lr"] = base * schedule.lr_lambdas[0](schedule.last_epoch)
        return epochs


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
