"""From the float32 graph to one of less precision that passes the gate, with as few nodes left float as that takes."""

from __future__ import annotations

import enum
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.errors import BundleError
from inspector.inference.engine import Model
from training.exporting.half import to_half
from training.exporting.int8 import Int8
from training.exporting.nodes import NodeGroup
from training.exporting.parity import Agreement, agree, refusal, scores_of, typical
from training.progress import Progress, silent

log = logging.getLogger(__name__)

_OF_LIMIT, _OF_SPREAD = 0.01, 0.1
"""Groups are left float until scores of images that were fitted on are this close: as a share of the limit, or of the scores'
own deviation, whichever is more. Of scores that are no distances, such as log-odds, the limit tells no scale."""
_PROBES = 24
_MOST_KEPT = 0.5
"""With more of its groups left float a graph gains too little to be worth another one."""
_NAMED = 3


class Precision(enum.StrEnum):
    """How a bundle's graph computes."""

    FP32 = "fp32"
    INT8 = "int8"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a graph of less precision is held against.

    `images` uint8 (n, h, w, c) are called `names` and fitted nothing, if any were `held_out`; the last `limit_images` of
    them are all those that set the limit (0 if they are not all here). `golden` are the bundle's own, by `golden_names`; on
    `taught`, which the model was fitted on, ranges are measured, biases corrected and nodes chosen; they are as the graph
    takes them. `limit` is what scores are held against.
    """

    images: NDArray[np.uint8]
    names: tuple[str, ...]
    limit_images: int
    golden: NDArray[np.uint8]
    golden_names: tuple[str, ...]
    taught: NDArray[np.uint8]
    limit: float
    held_out: bool = True


@dataclass(frozen=True, slots=True)
class Reduced:
    """A graph of less precision that passed the gate; `golden_scores` (n,) are its own.

    `carries` says whether the promise of the limit holds for it: it rejects no part that set the limit and that the float32
    graph passes.
    """

    graph: bytes
    agreement: Agreement
    golden_scores: tuple[float, ...]
    kept_float: tuple[str, ...]
    carries: bool


@dataclass(frozen=True, slots=True)
class Loaders:
    """Make a graph ready to score: `pictures` as a bundle would, `graph_inputs` as the graph takes them. Differ for tiles."""

    pictures: Callable[[bytes], Model]
    graph_inputs: Callable[[bytes], Model]


def reduce_precision(
    precision: Precision, graph: bytes, load: Loaders, evidence: Evidence, progress: Progress = silent
) -> Reduced:
    """A graph of `precision`, INT8 or FP16, that judges as the float32 `graph` does.

    Raises BundleError if it cannot be made, or no such graph passes the gate: then with images, nodes and what to try.
    """
    if precision is Precision.INT8 and not len(evidence.taught):
        raise BundleError(
            "the fitted model kept none of the images that it was fitted on, and INT8 ranges are measured on them: fit again"
        )
    gate = _Gate(precision, load, evidence, graph)
    if precision is Precision.FP16:
        return gate.prove(to_half(graph), (), ())
    try:
        drafts = tempfile.TemporaryDirectory(prefix="inspector-int8-", ignore_cleanup_errors=True)
    except OSError as error:
        raise BundleError(
            f"there is no folder for drafts of the INT8 graph: {error.strerror or error}; free space, or name a folder on "
            "another disk in the environment variable TMPDIR"
        ) from error
    with drafts as folder:
        return _search(Int8(graph, evidence.taught, Path(folder)), gate, progress)


class _Gate:
    """Holds candidates against the float32 graph's scores."""

    def __init__(self, precision: Precision, load: Loaders, evidence: Evidence, graph: bytes) -> None:
        self._precision, self._load, self._evidence = precision, load, evidence
        original = load.pictures(graph)
        self._wanted = scores_of(original, evidence.images)
        self._golden = scores_of(original, evidence.golden)
        spread = np.linspace(0, len(evidence.taught) - 1, min(_PROBES, len(evidence.taught))).round().astype(int)
        self._probes = evidence.taught[spread]
        self._probed = scores_of(load.graph_inputs(graph), self._probes)
        deviation = float(self._probed.std()) if len(self._probed) else 0.0
        self._scale = max(_OF_LIMIT * typical([evidence.limit]), _OF_SPREAD * deviation)

    def error(self, graph: bytes) -> float:
        """Root mean square difference on images that were fitted on, as a multiple of what is close enough."""
        difference = scores_of(self._load.graph_inputs(graph), self._probes) - self._probed
        error = float(np.sqrt(np.square(difference).mean())) / self._scale
        return error if np.isfinite(error) else float("inf")

    def prove(self, graph: bytes, kept_float: Sequence[NodeGroup], worst: Sequence[NodeGroup]) -> Reduced:
        """Raises BundleError if the graph does not judge held-out and golden images as the float32 graph does."""
        evidence, model = self._evidence, self._load.pictures(graph)
        scores = scores_of(model, evidence.images)
        found = agree(scores, self._wanted, evidence.limit, evidence.names, held_out=evidence.held_out)
        golden = scores_of(model, evidence.golden)
        same = ((golden > evidence.limit) == (self._golden > evidence.limit)) & np.isfinite(golden)
        others = [name for name, holds in zip(evidence.golden_names, same, strict=True) if not holds]
        if others or not found.holds:
            largest = [group.name for group in worst[:_NAMED]]
            raise BundleError(refusal(self._precision.value, found, evidence.limit, others, largest))
        setting = slice(len(scores) - evidence.limit_images, None)
        more = (scores[setting] > evidence.limit) & (self._wanted[setting] <= evidence.limit)
        carries = evidence.limit_images > 0 and not bool(more.any())
        names = tuple(group.name for group in kept_float)
        return Reduced(graph, found, tuple(golden.tolist()), names, carries)


def _search(int8: Int8, gate: _Gate, progress: Progress) -> Reduced:
    """Leave float what disturbs the scores most, first until fitted images score closely, then until the gate holds.

    Which nodes are left float is chosen on images that were fitted on. Held-out images only say whether that is enough: each
    further look at them leaves one more group float.
    """
    most = int(_MOST_KEPT * len(int8.groups))
    total = len(int8.groups) + most + 2
    progress("Converting to INT8", 0, total)
    graph = int8.make(int8.groups)
    error = gate.error(graph)
    worst: list[NodeGroup] = []
    kept = 0
    while True:
        if error <= 1 or kept == most:
            try:
                reduced = gate.prove(graph, worst[:kept], worst)
            except BundleError:
                if kept == most:
                    raise
            else:
                progress("Converting to INT8", total, total)
                _tell(reduced, len(int8.groups), error)
                return reduced
        if not worst:
            worst = _by_error(int8, gate, lambda done: progress("Converting to INT8", done, total))
        kept += 1
        graph = int8.make([group for group in int8.groups if group not in worst[:kept]])
        error = gate.error(graph)
        progress("Converting to INT8", len(int8.groups) + kept, total)


def _by_error(int8: Int8, gate: _Gate, told: Callable[[int], None]) -> list[NodeGroup]:
    """Groups in the order of the error that each alone makes, largest first."""
    errors = {}
    for number, group in enumerate(int8.groups):
        errors[group.name] = gate.error(int8.make([group]))
        told(number + 1)
    return sorted(int8.groups, key=lambda group: -errors[group.name])


def _tell(reduced: Reduced, groups: int, error: float) -> None:
    kept = "; ".join(reduced.kept_float) or "none"
    log.info(
        "INT8: %d of %d groups of nodes stay float (%s); scores of fitted images are off by %.2g of what is allowed (rms)",
        len(reduced.kept_float),
        groups,
        kept,
        error,
    )
