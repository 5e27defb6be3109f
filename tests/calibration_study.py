"""How often a limit keeps the false-reject rate it was set for, over simulated data sets whose true rate is known.

    python -m tests.calibration_study [--trials 2000]

A limit that is `guaranteed` must keep its rate in at least the share of data sets that its confidence says. For the others
the table shows what the estimate is worth, where it falls short too; their statement says that they are estimates.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.calibration.limits import good_limit

RATE, CONFIDENCE = 0.01, 0.95
SIZES = (5, 10, 20, 50, 100, 200, 299, 500, 1000)
LOTS = ((10, 30), (30, 20), (60, 10))
"""Lots and parts in each."""

Draw = Callable[[int, np.random.Generator], NDArray[np.float64]]
Above = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Scores:
    """A distribution of good parts' scores: how to draw them, and the share above a limit."""

    draw: Draw
    above: Above


def _of(frozen: Any) -> Scores:
    return Scores(lambda n, random: np.asarray(frozen.rvs(n, random_state=random)), lambda x: float(frozen.sf(x)))


def _mixed(share: float, shift: float) -> Scores:
    """Normal scores, of which a share lies higher."""
    return Scores(
        lambda n, random: random.normal(size=n) + shift * (random.random(n) < share),
        lambda x: float((1 - share) * stats.norm.sf(x) + share * stats.norm.sf(x - shift)),
    )


def _tied(step: float) -> Scores:
    """Normal scores rounded up to a few values."""
    return Scores(
        lambda n, random: np.ceil(random.normal(size=n) / step) * step,
        lambda x: float(stats.norm.sf(math.floor(x / step + 1e-9) * step)),
    )


def _worst_of(images: int, within: float) -> Scores:
    """The worst of several images of one part, which differ by `within` of the parts' own spread."""
    random = np.random.default_rng(99)
    count = 200_000
    drawn = np.sort((random.normal(size=(count, 1)) + within * random.normal(size=(count, images))).max(axis=1))
    return Scores(
        lambda n, random: (random.normal(size=(n, 1)) + within * random.normal(size=(n, images))).max(axis=1),
        lambda x: float(1 - np.searchsorted(drawn, x, side="right") / len(drawn)),
    )


DISTRIBUTIONS: dict[str, Scores] = {
    "normal": _of(stats.norm()),
    "bounded (uniform)": _of(stats.uniform()),
    "exponential": _of(stats.expon()),
    "gamma 3": _of(stats.gamma(3)),
    "Gumbel": _of(stats.gumbel_r()),
    "lognormal 0.3": _of(stats.lognorm(0.3)),
    "lognormal 0.6": _of(stats.lognorm(0.6)),
    "lognormal 1.0": _of(stats.lognorm(1.0)),
    "Student t 3": _of(stats.t(3)),
    "3 % odd parts": _mixed(0.03, 6.0),
    "ties (steps of 0.5)": _tied(0.5),
    "worst of 6 images": _worst_of(6, 0.3),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the share of data sets whose limit kept the rate, and the true rates it gave."""

    name: str
    parts: int
    kept: float
    guaranteed: float
    median_rate: float
    high_rate: float
    trials: int

    @property
    def falls_short(self) -> bool:
        """Below the confidence by more than three standard errors of so many data sets."""
        return self.kept < CONFIDENCE - 3 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / self.trials)

    def __str__(self) -> str:
        basis = "guaranteed" if self.guaranteed == 1 else "estimate" if self.guaranteed == 0 else "either"
        short = "  short" if self.falls_short else ""
        rates = f"{self.median_rate:9.3%} {self.high_rate:9.3%}"
        return f"{self.name:34} {self.parts:6} {basis:>10} {self.kept:7.1%} {rates}{short}"


def study(name: str, scores: Scores, parts: int, trials: int, seed: int = 0) -> Row:
    """Limits of `trials` data sets of independent parts."""
    random = np.random.default_rng((seed, parts, zlib.crc32(name.encode())))
    found = [good_limit(scores.draw(parts, random).tolist(), RATE, CONFIDENCE) for _ in range(trials)]
    return _row(name, parts, found, scores.above)


def study_lots(lots: int, size: int, spread: float, known: bool, trials: int, seed: int = 0) -> Row:
    """Normal scores of parts in lots, `spread` of whose variance is between lots; a new part is of a new lot."""
    random = np.random.default_rng((seed, lots, size))
    names = np.repeat(np.arange(lots), size).tolist()
    found = []
    for _ in range(trials):
        means = np.repeat(random.normal(size=lots) * math.sqrt(spread), size)
        values = means + random.normal(size=lots * size) * math.sqrt(1 - spread)
        found.append(good_limit(values.tolist(), RATE, CONFIDENCE, lots=names if known else ()))
    told = "lots told" if known else "lots not told"
    name = f"{lots} lots, {spread:.0%} between, {told}"
    return _row(name, lots * size, found, lambda x: float(stats.norm.sf(x)))


def _row(name: str, parts: int, found: Sequence[tuple[float, Any]], above: Above) -> Row:
    rates = np.array([above(limit) for limit, _ in found])
    return Row(
        name,
        parts,
        float((rates <= RATE).mean()),
        float(np.mean([basis.guaranteed for _, basis in found])),
        float(np.median(rates)),
        float(np.quantile(rates, CONFIDENCE)),
        len(rates),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    trials = parser.parse_args().trials
    print(f"limits for at most {RATE:.0%} false rejects with {CONFIDENCE:.0%} confidence, {trials} data sets a row")
    print(f"{'scores':34} {'parts':>6} {'basis':>10} {'kept':>7} {'median':>9} {'95 %':>9}  of the true rates")
    for name, scores in DISTRIBUTIONS.items():
        for parts in SIZES:
            print(study(name, scores, parts, trials), flush=True)
    for spread in (0.0, 0.1, 0.5):
        for lots, size in LOTS:
            for known in (True, False):
                print(study_lots(lots, size, spread, known, trials), flush=True)


if __name__ == "__main__":
    main()
