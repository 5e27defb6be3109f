"""Loads a model beside those that judge, so that no part waits for more than one run of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from inspector.errors import BundleError, PromotionRefused
from inspector.inference.batching import Batcher, Device
from inspector.inference.bundle import MODEL_FILE, Bundle
from inspector.inference.choice import AUTO
from inspector.inference.engine import Engine
from inspector.inference.memory import memory_left_bytes
from inspector.inference.queued import QueuedEngine
from inspector.models import TIMED_RUNS, prove_remote
from inspector.part import Scores
from inspector.settings import LineSettings

RESERVE_BYTES = 256 << 20
"""Memory that is left to the line whatever is loaded beside it."""
_GRAPHS = 3
"""What loading a graph takes, in sizes of its file: the file, what the runtime makes of it, and its memory for runs."""


def load_beside(settings: LineSettings, bundle: Bundle, deadline_ms: int, running: str) -> Engine:
    """An engine of a bundle, neither warm nor proved, where there is memory for it; `running` is the line's provider.

    Raises PromotionRefused where there is none, BundleError, EngineError.
    """
    inference = settings.inference
    if inference.oip:
        return prove_remote(bundle, inference.oip, deadline_ms)[0]
    try:
        needed = _GRAPHS * (bundle.path / MODEL_FILE).stat().st_size + RESERVE_BYTES
    except OSError as error:
        raise BundleError(f"bundle {bundle.path} cannot be read: {error.strerror}; copy it again") from error
    left = memory_left_bytes()
    if left is not None and left < needed:
        raise PromotionRefused(
            f"{left >> 20} MiB of memory are left, and loading {bundle.label} beside the line may take {needed >> 20}: free "
            "some, or name the bundle in the line file and start the line again"
        )
    # Measuring providers takes all cores for seconds: not beside a line. The next start does it.
    provider = running if inference.provider == AUTO else inference.provider
    return Engine(bundle, provider=provider, threads=inference.threads)


class WarmUp:
    """The runs that warm a model, as turns of its device: parts that wait go between two of them. `batcher` is their queue."""

    def __init__(self, engine: Engine, max_batch: int, device: Device) -> None:
        self._steps = list(engine.warming_runs(max_batch))
        self.batcher = Batcher(_Steps(self._steps), 1, 1, device=device)
        self._queued = QueuedEngine(self.batcher, engine.bundle, engine.provider)

    def run(self) -> None:
        """All of them. Raises EngineError, Overloaded."""
        self._queued.infer(np.zeros((len(self._steps), 1, 1, 1), np.uint8))


class _Steps:
    def __init__(self, runs: list[Callable[[], object]]) -> None:
        self._runs = iter(runs)

    def infer(self, batch: NDArray[np.uint8]) -> list[Scores]:
        """One run, for one part that is none."""
        next(self._runs)()
        return [Scores(0.0) for _ in batch]


def run_on(queued: QueuedEngine, engine: Engine, runs: int) -> None:
    """Run a model that ran `runs` times some more, so that its queue knows how long it takes before the first part comes."""
    for _ in range(TIMED_RUNS - runs):
        queued.infer(np.zeros((1, *engine.image_shape), np.uint8))
