"""The gate between a fitted model and its bundle: every graph judges like the network that was validated.

torch ↔ float32 graph by scores and maps; float32 graph ↔ INT8 or float16 graph by verdicts, which is what the line acts on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inspector.decision.intervals import clopper_pearson
from inspector.errors import BundleError
from inspector.inference.engine import Model
from training.fit import Fitted
from training.models.kind import InspectionModel

PARITY_TOLERANCE = 1e-3
"""Largest difference between torch and ONNX Runtime, as a share of the median score. Measured: 1e-6 to 1e-5."""
INTEGER_TOLERANCE = 3e-2
"""The same for a network of integers: as much as a line allows the golden scores of its bundle. Integers are exact, but a grey
level on the edge between two may fall to either side. Measured on 387 magnetic tiles: 380 equal, one by 0.0100, rms 0.0006."""
INTEGER_RMS = 1e-2
"""Root mean square of all its pictures' differences: one may fall to the next grey level, all of them together may not."""
INTEGER_MAP_TOLERANCE = 0.1
"""As INTEGER_TOLERANCE, for its maps, which outline what a score has decided. All pixels of that level move, and with them
the whole map a little; where nothing is unlike good parts that is much of what is left. On a magnetic tile: 0.025, its score
0.0006."""
MAX_FLIPS = 0.005
"""Largest share of held-out images to which a graph of less precision may give another verdict than the float32 graph."""
ROUNDING = 1e-4
"""Scores of one network that differ by no more, as a share of the median score, differ by the order of sums: a float32 graph
on the line's own provider does no better. A part on the limit is within it."""
_BATCH = 8
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a graph of less precision judges `images`, against the float32 graph of the same model.

    The images fitted nothing if `held_out`; if none was, they are some that the model was fitted on, which prove less.
    `escapes_more` of them it passes and the other rejects, `rejects_more` the other way round; both with the same limit.
    `low` to `high` is the exact 95 % interval of their share. `score` is the largest difference as a share of the median
    score, `rms` the root mean square of all. `flipped` are the images, worst first.
    """

    images: int
    escapes_more: int
    rejects_more: int
    low: float
    high: float
    score: float
    rms: float
    flipped: tuple[str, ...]
    held_out: bool = True

    @property
    def flips(self) -> int:
        return self.escapes_more + self.rejects_more

    @property
    def named(self) -> str:
        """ "387 held-out images"."""
        if self.held_out:
            return f"{self.images} held-out images"
        return f"{self.images} images that the model was fitted on, as none was held out,"

    @property
    def holds(self) -> bool:
        """Within the gate: few verdicts differ, and every score is a number."""
        return bool(self.flips <= MAX_FLIPS * self.images and np.isfinite(self.score))

    def to_json(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "held_out": self.held_out,
            "escapes_more": self.escapes_more,
            "rejects_more": self.rejects_more,
            "flip_rate": self.flips / self.images,
            "flip_rate_95": [self.low, self.high],
            "largest_score_difference": self.score,
            "rms_score_difference": self.rms,
        }


@dataclass(frozen=True, slots=True)
class Parity:
    """How far ONNX Runtime is from torch, as shares of the median score, on `images` that the export did not see.

    `reduced` is there for a bundle of less precision than float32, with the parts of its graph that `kept_float`.
    """

    images: int
    score: float
    anomaly_map: float
    reduced: Agreement | None = None
    kept_float: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What the manifest keeps of it."""
        document: dict[str, Any] = {
            "torch_to_float32": {"images": self.images, "score": self.score, "anomaly_map": self.anomaly_map}
        }
        if self.reduced is not None:
            document["float32_to_reduced"] = {**self.reduced.to_json(), "kept_float": list(self.kept_float)}
        return document


def check_parity(fitted: Fitted, model: Model, images: NDArray[np.uint8]) -> Parity:
    """Hold ONNX Runtime's outputs against torch's, one image at a time and in batches.

    `images` is uint8 (n, h, w, c), none of which the export has seen. Raises BundleError with the worst differences.
    """
    network = fitted.network
    with torch.no_grad():
        results = [
            dict(zip(network.outputs, (t[0].numpy() for t in network(torch.from_numpy(image[None]))), strict=True))
            for image in images
        ]
    scale = typical([float(each["score"]) for each in results])
    together = [each for start in range(0, len(images), _BATCH) for each in model.infer(images[start : start + _BATCH])]
    score = anomaly_map = 0.0
    for index, wanted in enumerate(results):
        for ours in (model.infer(images[index : index + 1])[0], together[index]):
            assert ours.anomaly_map is not None  # the graph's own output
            score = max(score, _difference(wanted["score"], np.float32(ours.score)) / scale)
            for name in network.outputs[2:]:
                given = getattr(ours, name)
                if isinstance(given, dict):
                    given = np.array([given[known] for known in network.classes], np.float32)
                score = max(score, _difference(wanted[name], given))
            anomaly_map = max(anomaly_map, _map_difference(wanted["anomaly_map"], ours.anomaly_map, scale))
    allowed = allowed_difference(network)
    allowed_map = INTEGER_MAP_TOLERANCE if network.integers else allowed
    if not (score <= allowed and anomaly_map <= allowed_map):
        raise BundleError(
            f"the exported graph does not judge like the fitted model: over {len(images)} images that were not in the "
            f"export, scores differ by up to {score:.2g} and maps by up to {anomaly_map:.2g} of the median score, allowed are "
            f"{allowed:g} and {allowed_map:g}. Nothing was written; use the pinned versions of torch, onnxscript and "
            "onnxruntime"
        )
    return Parity(len(images), score, anomaly_map)


def check_judged(fitted: Fitted, model: Model) -> Agreement | None:
    """Hold the graph's verdicts against those by which the limit was set and tested; None if no such score was kept.

    The limit is of the fit's own scores, computed by torch, perhaps on a GPU. What differs by rounding counts as the same.
    Raises BundleError if the scores differ by more than two computations of one network do.
    """
    kept, limit = fitted.kept, fitted.limits.score
    known = np.flatnonzero(np.isfinite(kept.scores))
    if not len(known):
        return None
    ours, theirs = scores_of(model, kept.judged[known]), kept.scores[known].astype(np.float64)
    ours = np.where(np.abs(ours - theirs) <= ROUNDING * typical(theirs.tolist()), theirs, ours)
    found = agree(ours, theirs, limit, [kept.names[index] for index in known], held_out=kept.held_out)
    together = INTEGER_RMS if fitted.network.integers else allowed_difference(fitted.network)
    if not (found.score <= allowed_difference(fitted.network) and found.rms <= together):
        raise BundleError(
            f"the exported graph judges otherwise than the fit did: over {found.named} scores differ by up to "
            f"{found.score:.3g} of the median score, allowed is {allowed_difference(fitted.network):g}, and by {found.rms:.3g} "
            f"rms, allowed is {together:g}. Nothing was written; "
            "use the pinned versions of torch, onnxscript and onnxruntime, and --device cpu if it was fitted on another"
        )
    return found


def allowed_difference(network: InspectionModel) -> float:
    """Between two computations of one network, as a share of the median score."""
    return INTEGER_TOLERANCE if network.integers else PARITY_TOLERANCE


def scores_of(model: Model, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The score of each image: (n,)."""
    return np.array([model.infer(image[None])[0].score for image in images], np.float64)


def agree(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    limit: float,
    names: Sequence[str] = (),
    *,
    held_out: bool = True,
) -> Agreement:
    """Compare scores (n,) of a graph of less precision with the float32 graph's, n ≥ 1; `names` are the images'."""
    difference = np.abs(ours - theirs)
    difference[~np.isfinite(difference)] = np.inf
    scale = typical(theirs.tolist())
    rejected, wanted = ours > limit, theirs > limit
    flipped = np.flatnonzero((rejected != wanted) | ~np.isfinite(ours))
    interval = clopper_pearson(int((rejected != wanted).sum()), len(ours))
    worst = sorted(flipped.tolist(), key=lambda index: -difference[index])
    told = [f"{names[i] if names else f'image {i}'} ({theirs[i]:.4g} → {ours[i]:.4g})" for i in worst]
    return Agreement(
        images=len(ours),
        escapes_more=int((wanted & ~rejected).sum()),
        rejects_more=int((rejected & ~wanted).sum()),
        low=interval.low,
        high=interval.high,
        score=float(difference.max()) / scale,
        rms=float(np.sqrt(np.square(difference).mean())) / scale,
        flipped=tuple(told),
        held_out=held_out,
    )


def refusal(precision: str, found: Agreement, limit: float, golden: Sequence[str], groups: Sequence[str]) -> str:
    """Why a graph of less precision is not written: which images, which nodes, what to try."""
    facts = []
    if found.flips:
        named = ", ".join(found.flipped[:_SHOWN]) + (" …" if found.flips > _SHOWN else "")
        facts.append(
            f"{found.flips} of {found.named} get another verdict ({found.low:.1%} to {found.high:.1%} with "
            f"95 % confidence, allowed {MAX_FLIPS:.1%}; limit {limit:.4g}): {named}"
        )
    if golden:
        facts.append(f"golden images get another verdict: {', '.join(golden[:_SHOWN])}")
    if not np.isfinite(found.score):
        facts.append("it gives scores that are no numbers")
    worst = f" The largest errors come from {'; '.join(groups)}." if groups else ""
    return (
        f"the {precision} graph does not judge like the float32 graph: {'; '.join(facts)}.{worst} Nothing was written. Try "
        "--precision fp32, more images to fit on (ranges are measured on them), or a limit further from the parts it divides"
    )


def _difference(ours: NDArray[np.float32], theirs: NDArray[np.float32] | np.float32) -> float:
    """Largest absolute difference; infinite if either holds what is no finite number."""
    difference = np.abs(ours - theirs).max()
    return float(difference) if np.isfinite(difference) else float("inf")


def _map_difference(ours: NDArray[np.float32], theirs: NDArray[np.float32], scale: float) -> float:
    """Largest difference of two maps as a share of `scale`; values below half of it are compared by their squares.

    A map value is the root of a squared distance, which is rounded to about 1e-6 of the features' own squares: of a patch that
    the bank itself holds, 0 becomes a root of that rounding, a thousand times larger. No limit lies there.
    """
    small = np.minimum(1.0, (np.abs(ours) + np.abs(theirs)) / scale)
    return _difference(ours * small, theirs * small) / scale


def typical(scores: Sequence[float]) -> float:
    """The median size of scores; 1 if that is 0 or no finite number."""
    size = float(np.median(np.abs(scores)))
    return size if np.isfinite(size) and size > 0 else 1.0
