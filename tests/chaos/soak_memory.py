"""What memory, file handles and threads of the service did in a long run: figures, a table and a picture."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

# The first and the last tenth of the last life are compared, after a fifth of it to warm up.
_WARM_UP, _TENTH = 0.2, 0.1
_MAX_GROWTH = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """What /proc says of the service at a moment; `life` counts its starts. Memory in MiB."""

    at_s: float
    triggers: int
    life: int
    resident_mib: float
    anonymous_mib: float
    file_handles: int
    threads: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Between the first and the last tenth of the last life, once warm; memory in MiB, with its slope per million triggers."""

    resident_first_mib: float
    resident_last_mib: float
    anonymous_first_mib: float
    anonymous_last_mib: float
    anonymous_mib_per_million: float
    file_handles_first: float
    file_handles_last: float
    threads_first: float
    threads_last: float
    triggers: int

    @property
    def is_flat(self) -> bool:
        """Memory at most 5 % more, and not one handle or thread."""
        return (
            self.anonymous_last_mib <= self.anonymous_first_mib * (1 + _MAX_GROWTH)
            and self.file_handles_last <= self.file_handles_first + 1
            and self.threads_last <= self.threads_first + 1
        )


def growth_of(samples: Sequence[Sample]) -> Growth:
    """Medians, so that one moment of much work decides nothing."""
    life = [sample for sample in samples if sample.life == samples[-1].life]
    warm = life[int(len(life) * _WARM_UP) :]
    tenth = max(1, int(len(warm) * _TENTH))
    first, last = warm[:tenth], warm[-tenth:]

    def medians(name: str) -> tuple[float, float]:
        one, two = (float(np.median([getattr(sample, name) for sample in part])) for part in (first, last))
        return one, two

    triggers = [sample.triggers for sample in warm]
    slope = np.polyfit(triggers, [sample.anonymous_mib for sample in warm], 1)[0] if len(set(triggers)) > 1 else 0.0
    return Growth(
        *medians("resident_mib"),
        *medians("anonymous_mib"),
        float(slope) * 1e6,
        *medians("file_handles"),
        *medians("threads"),
        int(triggers[-1] - triggers[0]),
    )


def write_csv(samples: Sequence[Sample], path: Path) -> None:
    """A row per sample."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Sample)])
        writer.writerows([getattr(sample, field.name) for field in fields(Sample)] for sample in samples)


def draw(samples: Sequence[Sample], folder: Path) -> None:
    """Memory, handles and threads, and the rate, over the triggers judged: soak.svg and soak.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    millions = [sample.triggers / 1e6 for sample in samples]
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"})
    figure, (memory, counts, rate) = plt.subplots(3, 1, figsize=(6.3, 6.3), sharex=True, height_ratios=(3, 2, 2))
    memory.plot(millions, [sample.resident_mib for sample in samples], color="#1f4e79", label="resident")
    memory.plot(millions, [sample.anonymous_mib for sample in samples], color="#c55a11", label="of it anonymous")
    memory.set_ylabel("memory, MiB")
    counts.plot(millions, [sample.file_handles for sample in samples], color="#1f4e79", label="file handles")
    counts.plot(millions, [sample.threads for sample in samples], color="#c55a11", label="threads")
    counts.set_ylabel("count")
    times = np.array([sample.at_s for sample in samples])
    per_second = (
        np.gradient(np.array([sample.triggers for sample in samples], float), times) if len(times) > 1 else [0.0]
    )
    rate.plot(millions, per_second, color="#444444", linewidth=0.6)
    rate.set_ylabel("triggers per second")
    rate.set_xlabel("triggers judged, millions")
    starts = [one.triggers / 1e6 for one, next_ in itertools.pairwise(samples) if one.life != next_.life]
    for axes in (memory, counts, rate):
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        for start in starts:
            axes.axvline(start, color="#888888", linewidth=0.6, linestyle=":")
    for axes in (memory, counts):
        axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    for suffix in ("svg", "png"):
        figure.savefig(folder / f"soak.{suffix}", dpi=200)
    plt.close(figure)
