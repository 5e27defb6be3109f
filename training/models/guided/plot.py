"""Draws the learning curve that `measure` wrote: python -m training.models.guided.plot CURVE.json … OUT.svg

One column per data set, mean over seeds and draws with the range between them; image AUROC above, escapes below.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np

_STYLES = {
    "guided": ("#0b5fa5", "o-"),
    "classifier": ("#c05a00", "s--"),
    "memory-bank": ("#555555", ":"),
}
_MEASURES = {"auroc": "image AUROC", "escapes": "escapes at 1 % false rejects"}

_ALL = 60
"""From this number of examples on, a row stands for all that there are."""


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the plot as SVG, the same bytes for the same rows."""
    matplotlib.rcParams.update({"svg.hashsalt": "learning curve", "font.size": 9, "svg.fonttype": "none"})
    sets = sorted({str(row["data"]) for row in rows})
    figure, grid = plt.subplots(2, len(sets), figsize=(4.2 * len(sets), 5.6), squeeze=False, sharex="col")
    for column, name in enumerate(sets):
        for axes, (measure, words) in zip(grid[:, column], _MEASURES.items(), strict=True):
            _curves(axes, [row for row in rows if row["data"] == name], measure)
            axes.set_ylabel(words)
            axes.grid(alpha=0.3)
        grid[0, column].set_title(name)
        grid[1, column].set_xlabel("labelled defective images")
    # Above the axes, where no curve can run through it.
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="upper center", ncols=2, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.92))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _curves(axes: Any, rows: Sequence[Mapping[str, Any]], measure: str) -> None:
    counts = {row["examples"] for row in rows if row["model"] != "memory-bank"}
    # How many there are in all differs a little from split to split: these are one point.
    place = {count: float(np.log2(1 + min(count, _ALL))) for count in counts}
    for model, (colour, style) in _STYLES.items():
        values: dict[float, list[float]] = defaultdict(list)
        for row in rows:
            if row["model"] == model:
                values[place.get(row["examples"], 0.0)].append(row[measure])
        if not values:
            continue
        if model == "memory-bank":
            axes.axhline(
                float(np.mean(values[0.0])), color=colour, linestyle=style, label="memory bank, good parts alone"
            )
            continue
        at = sorted(values)
        axes.plot(at, [np.mean(values[x]) for x in at], style, color=colour, label=model)
        axes.fill_between(
            at, [min(values[x]) for x in at], [max(values[x]) for x in at], color=colour, alpha=0.15, lw=0
        )
    ticks = {place[count]: str(count) if count < _ALL else "all" for count in counts}
    axes.set_xticks(list(ticks), list(ticks.values()))


def main() -> None:
    """Read the rows, draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    texts = [path.read_text(encoding="utf-8") for path in arguments.curves]
    draw([json.loads(line) for text in texts for line in text.splitlines()], arguments.out)


if __name__ == "__main__":
    main()
