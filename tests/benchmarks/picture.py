"""The picture of latency and share judged against offered load, as one SVG that also reads in print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from tests.benchmarks.load import Level

# Okabe and Ito's palette: told apart by colour-blind readers, and by lightness on paper.
_P50, _P99, _P999, _TOLD, _JUDGED = "#0072B2", "#E69F00", "#D55E00", "#999999", "#009E73"


def draw_load(levels: Sequence[Level], capacity_hz: float, budget_ms: int, path: Path) -> None:
    """Write the picture; loads in percent of the capacity."""
    loads = [level.load for level in levels]
    matplotlib.rcParams["svg.fonttype"] = "none"
    figure, (above, beneath) = plt.subplots(2, 1, sharex=True, figsize=(7.5, 6.0), height_ratios=(3, 2))
    for share, colour, marker in ((50, _P50, "o"), (99, _P99, "s"), (99.9, _P999, "^")):
        times = [level.latency_ms(share, judged=True) for level in levels]
        above.plot(loads, times, color=colour, marker=marker, markersize=4, label=f"judged parts, p{share:g}")
    told = [(level.load, level.latency_ms(99.9, judged=False)) for level in levels if level.share_judged < 1]
    if told:
        above.plot(*zip(*told, strict=True), color=_TOLD, marker="x", linestyle=":", label="parts told UNKNOWN, p99.9")
    above.axhline(budget_ms, color="black", linewidth=0.8, linestyle="--")
    above.annotate(
        f"budget {budget_ms} ms", (loads[0], budget_ms), xytext=(0, 3), textcoords="offset points", fontsize=8
    )
    above.set_ylabel("ms from due to verdict")
    above.set_ylim(bottom=0)
    above.legend(frameon=False, fontsize=8)
    beneath.plot(loads, [100 * level.share_judged for level in levels], color=_JUDGED, marker="o", markersize=4)
    fair = [min(100.0, 100 * 100 / load) for load in loads]
    beneath.plot(loads, fair, color="black", linewidth=0.8, linestyle="--", label="all that the capacity allows")
    beneath.set_ylabel("% of parts judged")
    beneath.set_xlabel(f"offered load, % of the capacity of {capacity_hz:.0f} parts/s")
    beneath.set_ylim(0, 105)
    beneath.legend(frameon=False, fontsize=8)
    for axes in (above, beneath):
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
