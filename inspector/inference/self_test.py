"""The golden self-test: a bundle judges parts only where it gives its golden images their recorded scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.errors import BundleError, FrameError, GoldenMismatch
from inspector.inference.bundle import Bundle, GoldenImage
from inspector.part import Scores, Verdict


class ScoringEngine(Protocol):
    """What the self-test needs of an engine."""

    provider: str
    bundle: Bundle

    def infer(self, batch: NDArray[np.uint8]) -> list[Scores]: ...


@dataclass(frozen=True, slots=True)
class GoldenCheck:
    """One golden image: what was recorded and what this machine gives. `measured_verdict` is UNKNOWN for NaN."""

    file: str
    recorded: float
    measured: float
    tolerance: float
    recorded_verdict: Verdict
    measured_verdict: Verdict

    @property
    def difference(self) -> float:
        """Measured minus recorded score."""
        return self.measured - self.recorded

    @property
    def holds(self) -> bool:
        """Within tolerance and of the same verdict; never if the measured score is no number."""
        return abs(self.difference) <= self.tolerance and self.measured_verdict is self.recorded_verdict


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Outcome of a self-test: one check per golden image, in the manifest's order."""

    bundle: str
    provider: str
    checks: tuple[GoldenCheck, ...]

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.holds for check in self.checks)

    @property
    def largest_difference(self) -> float:
        """Largest |measured - recorded|; NaN if a measured score is no number."""
        differences = [abs(check.difference) for check in self.checks]
        return math.nan if any(map(math.isnan, differences)) else max(differences)

    def table(self) -> str:
        """The checks as plain text, one line per image, for logs and error messages."""
        width = max(len("image"), *(len(check.file) for check in self.checks))
        lines = [f"{'image':{width}}  recorded  measured  difference  tolerance  verdict"]
        for check in self.checks:
            same = check.measured_verdict is check.recorded_verdict
            verdict = check.recorded_verdict.name
            change = "" if same else f" recorded, {check.measured_verdict.name} here"
            lines.append(
                f"{check.file:{width}}  {check.recorded:8.4f}  {check.measured:8.4f}  {check.difference:+10.4f}  "
                f"±{check.tolerance:<8.4g}  {verdict}{change}{'' if check.holds else '  ✗'}"
            )
        return "\n".join(lines)


def self_test(engine: ScoringEngine, prepare: Callable[[bytes], NDArray[np.uint8]]) -> SelfTest:
    """Score every golden image of the engine's bundle and hold scores and verdicts against the recorded ones.

    `prepare` turns the bytes of a golden file into a model input, uint8 (h, w, c), in the way frames of the line are.
    Raises GoldenMismatch with the table of differences; BundleTampered or BundleError if an image cannot be used;
    EngineError if the model fails.
    """
    bundle = engine.bundle
    if not bundle.manifest.golden:
        raise BundleError(
            f"bundle {bundle.label} has no golden images, so nothing shows that it works; export it again"
        )
    checks = tuple(_check(engine, image, prepare) for image in bundle.manifest.golden)
    outcome = SelfTest(bundle.label, engine.provider, checks)
    if not outcome.passed:
        failed = sum(not check.holds for check in checks)
        raise GoldenMismatch(_mismatch(outcome), len(checks), failed)
    return outcome


def _check(engine: ScoringEngine, image: GoldenImage, prepare: Callable[[bytes], NDArray[np.uint8]]) -> GoldenCheck:
    manifest = engine.bundle.manifest
    try:
        model_input = prepare(engine.bundle.read(image.file))
    except FrameError as error:
        raise BundleError(
            f"golden image {image.file} of bundle {engine.bundle.label} cannot be judged: {error}; export the bundle again"
        ) from error
    score = engine.infer(model_input[None])[0].score
    verdict = Verdict.PASS if score <= manifest.limits.score else Verdict.REJECT
    return GoldenCheck(
        file=image.file,
        recorded=image.score,
        measured=score,
        tolerance=manifest.score_tolerance,
        recorded_verdict=image.verdict,
        measured_verdict=verdict if math.isfinite(score) else Verdict.UNKNOWN,
    )


def _mismatch(outcome: SelfTest) -> str:
    failed = [check for check in outcome.checks if not check.holds]
    worst = max(failed, key=lambda check: math.inf if math.isnan(check.difference) else abs(check.difference))
    verdicts = (
        ""
        if worst.measured_verdict is worst.recorded_verdict
        else (f" ({worst.measured_verdict.name} instead of {worst.recorded_verdict.name})")
    )
    return (
        f"bundle {outcome.bundle} scores golden image {worst.file} as {worst.measured:.4g}, recorded "
        f"{worst.recorded:.4g} ±{worst.tolerance:.4g}{verdicts}, on this machine with provider {outcome.provider}; "
        f"{len(failed)} of {len(outcome.checks)} golden images differ: export the bundle again here, or select "
        f"another provider\n{outcome.table()}"
    )
