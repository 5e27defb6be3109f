"""Plots as inline SVG: direct labels, one idea each, told apart by line style and marker as well as by colour.

Colours are those of Okabe and Ito (2008), which colour-blind people tell apart. They stand in the SVG as CSS variables of the
page, so that one file suits light, dark and print.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from training.data.samples import GOOD, printable
from training.detection import Detection
from training.pixels import INTEGRATION_LIMIT, PixelResult
from training.report.classes import Classes
from training.report.curves import Curve, Histograms, RatesByLimit
from training.report.words import percent

_INK, _MUTED, _GOODS, _DEFECTS = "#101112", "#7a7b7c", "#0072b2", "#d55e00"
_VARIABLES = {_INK: "var(--ink)", _MUTED: "var(--muted)", _GOODS: "var(--good)", _DEFECTS: "var(--bad)"}
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud, and takes the page's font
    "text.parse_math": False,  # a class may be named "$x"
    "font.size": 9.0,
    "font.sans-serif": ["Arial", "Liberation Sans", "DejaVu Sans"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.8,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "hatch.linewidth": 0.6,
    "hatch.color": _INK,
}
LABEL = (0.66, 0.15)
"""Width and height of a label of two lines, as shares of the sides of a plot of two in a row."""
_NEAR, _CLEAR = 0.08, 0.035
"""From a label to what it tells of: no line is needed up to there, and no mark is hidden from there on."""
_MAX_CLASSES = 14
_NAME = 26


def short(text: str, length: int = _NAME) -> str:
    """A class or file name as it fits into a plot."""
    shown = printable(text)
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def roc_plot(curve: Curve) -> Markup:
    """Share of defective parts rejected against share of good ones."""
    with _styled():
        figure, axes = _figure(3.4, 3.2)
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=0.8, linestyle=":")
        axes.text(0.62, 0.57, "guessing", color=_MUTED, rotation=45, rotation_mode="anchor")
        _curve(axes, curve)
        false, caught = curve.at_limit
        _operating_point(axes, curve, f"the limit: {percent(caught)} caught,\n{percent(false)} false rejects")
        _shares(axes, "good images rejected", "defective images rejected")
        return _svg(figure, "roc", f"ROC curve, area {curve.area:.3f}")


def precision_recall_plot(curve: Curve) -> Markup:
    """Share of the rejected images that are defective against share of the defective ones rejected."""
    with _styled():
        figure, axes = _figure(3.4, 3.2)
        _curve(axes, curve)
        caught, right = curve.at_limit
        _operating_point(axes, curve, f"the limit: {percent(caught)} caught,\n{percent(right)} of rejects right")
        _shares(axes, "defective images rejected (recall)", "rejects that are right (precision)")
        return _svg(figure, "precision-recall", f"Precision-recall curve, area {curve.area:.3f}")


def rates_plot(rates: RatesByLimit, limit: float) -> Markup:
    """False rejects and escapes for every limit that could be set."""
    with _styled():
        figure, axes = _figure(7.0, 3.0)
        if rates.false_rejects:
            _rate(
                axes, rates.limits, rates.false_rejects, rates.false_rejects_low, rates.false_rejects_high, _GOODS, "-"
            )
            _end_label(axes, rates.limits, rates.false_rejects, "good parts\nrejected", _GOODS, 0.75)
        if rates.escapes:
            _rate(axes, rates.limits, rates.escapes, rates.escapes_low, rates.escapes_high, _DEFECTS, "--")
            _end_label(axes, rates.limits, rates.escapes, "defective parts\npassed", _DEFECTS, 0.45)
        _limit_line(axes, limit)
        axes.set_xlim(rates.limits[0], rates.limits[-1])
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("limit on the score")
        axes.set_ylabel("share of parts")
        return _svg(figure, "rates", "False rejects and escapes against the limit")


def histogram_plot(histograms: Histograms, limit: float) -> Markup:
    """Scores by class under each other, with the wrong side of the limit filled."""
    labels = list(histograms.counts)[:_MAX_CLASSES]
    with _styled():
        figure = Figure(figsize=(7.0, 0.55 + 0.52 * len(labels)), layout="constrained")
        rows = figure.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0]
        edges = histograms.edges
        width = edges[1] - edges[0]
        for axes, label in zip(rows, labels, strict=True):
            counts = histograms.counts[label]
            for left, count in zip(edges, counts, strict=False):
                above = left + width / 2 > limit
                wrong = above if label == GOOD else not above
                colour = _GOODS if label == GOOD else _DEFECTS
                face = colour if wrong else "none"
                axes.bar(left, count, width, align="edge", facecolor=face, edgecolor=colour, linewidth=0.8)
            axes.axvline(limit, color=_INK, linewidth=1.2)
            axes.spines["left"].set_visible(False)
            axes.set_yticks([])
            axes.set_ylim(0, max(*counts, 1) * 1.1)
            axes.set_ylabel(f"{short(label, 20)}\n{sum(counts)}", rotation=0, ha="right", va="center")
        rows[0].annotate(
            f"limit {limit:.4g}",
            (limit, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 1),
            textcoords="offset points",
            va="bottom",
        )
        rows[-1].set_xlabel("score (right of the limit is rejected); filled bars are wrong verdicts")
        return _svg(figure, "histogram", "Scores of images by class")


def detection_plot(result: Detection, what: str, unit: str, name: str) -> Markup:
    """Probability of detection against size, with the hits above and the misses below."""
    with _styled():
        figure, axes = _figure(3.5, 3.0)
        axes.set_xscale("log")
        for sizes, level, marker in (
            ([s for s, hit in zip(result.sizes, result.found, strict=True) if hit], 1.04, "|"),
            ([s for s, hit in zip(result.sizes, result.found, strict=True) if not hit], -0.04, "x"),
        ):
            axes.plot(sizes, [level] * len(sizes), marker, color=_INK, markersize=4, markeredgewidth=0.6, clip_on=False)
        if curve := result.curve:
            axes.fill_between(curve.sizes, curve.low, curve.high, color=_DEFECTS, alpha=0.18, linewidth=0)
            axes.plot(curve.sizes, curve.pod, color=_DEFECTS, linewidth=1.6)
            axes.plot(curve.sizes, curve.low, color=_DEFECTS, linewidth=0.8, linestyle="--")
        for value, words, style in ((result.a90, "a90", "-"), (result.a90_95, "a90/95", "--")):
            if value is not None:
                axes.plot([value, value], [0, 0.9], color=_INK, linewidth=0.9, linestyle=style)
                axes.text(
                    value,
                    0.02 if words == "a90" else 0.12,
                    f" {words} = {value:.3g} {unit}",
                    ha="right" if words == "a90" else "left",
                )
        axes.set_ylim(-0.08, 1.08)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.minorticks_off()
        _plain_log_ticks(axes, result.sizes)
        axes.set_xlabel(f"{what}, {unit} (log scale)")
        axes.set_ylabel("probability of detection")
        return _svg(figure, name, f"Probability of detection against {what}")


def overlap_plot(pixels: PixelResult) -> Markup:
    """The per-region overlap curve up to its integration limit."""
    with _styled():
        figure, axes = _figure(3.4, 2.6)
        x, y = [point[0] for point in pixels.curve], [point[1] for point in pixels.curve]
        axes.fill_between(x, 0, y, color=_DEFECTS, alpha=0.12, linewidth=0)
        axes.plot(x, y, color=_DEFECTS, linewidth=1.6)
        axes.text(INTEGRATION_LIMIT * 0.96, 0.06, f"AUPRO {pixels.aupro:.3f}", ha="right")
        axes.set_xlim(0, INTEGRATION_LIMIT)
        axes.set_ylim(0, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("defect-free pixels marked")
        axes.set_ylabel("mean share of each defect marked")
        return _svg(figure, "overlap", "Per-region overlap against false-positive rate")


def reliability_plot(classes: Classes) -> Markup:
    """How often the class named was right, by how sure the model was: dots by their number of images, no line between."""
    with _styled():
        figure, axes = _figure(3.4, 3.0)
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=0.8, linestyle=":")
        axes.text(0.58, 0.5, "as sure as right", color=_MUTED, rotation=45, rotation_mode="anchor", fontsize="small")
        x = [point.confidence for point in classes.reliability]
        y = [point.right.value for point in classes.reliability]
        below = [point.right.value - point.right.low for point in classes.reliability]
        above = [point.right.high - point.right.value for point in classes.reliability]
        axes.errorbar(x, y, yerr=[below, above], fmt="none", ecolor=_DEFECTS, elinewidth=0.8, alpha=0.6)
        most = max(point.right.total for point in classes.reliability)
        areas = [12 + 90 * point.right.total / most for point in classes.reliability]
        axes.scatter(x, y, s=areas, color=_DEFECTS, zorder=3, clip_on=False)
        sure = "mean highest probability of a cell" if classes.by_cell else "mean probability of the class named"
        _shares(axes, sure, "class named was right")
        return _svg(figure, "reliability", "Reliability of class probabilities")


def _styled() -> Any:
    return mpl.rc_context(_STYLE)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _curve(axes: Axes, curve: Curve) -> None:
    axes.fill_between(curve.grid, curve.low, curve.high, color=_DEFECTS, alpha=0.18, linewidth=0)
    axes.plot(curve.x, curve.y, color=_DEFECTS, linewidth=1.6)


def _operating_point(axes: Axes, curve: Curve, text: str) -> None:
    axes.plot(*curve.at_limit, marker="o", color=_INK, markersize=6, clip_on=False, zorder=5)
    place = label_place(curve)
    line = {"arrowstyle": "-", "color": _MUTED, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4}
    far = _distance(place, curve.at_limit) > _NEAR
    axes.annotate(
        text,
        curve.at_limit,
        xytext=place,
        textcoords="data",
        va="bottom",
        fontweight="bold",
        arrowprops=line if far else None,
    )


def label_place(curve: Curve) -> tuple[float, float]:
    """Left lower corner, from 0 to 1, of the label of the curve's point: as near to it as neither curve nor band lies there."""
    width, height = LABEL
    best, least = (0.0, 0.0), math.inf
    for left in np.linspace(0.03, 1 - width, 20):
        shown = np.linspace(left, left + width, 30)
        low, high = (np.interp(shown, curve.grid, values) for values in (curve.low, curve.high))
        middle = np.interp(shown, curve.x, curve.y)
        low, high = np.minimum(low, middle), np.maximum(high, middle)
        for bottom in np.linspace(0.02, 1 - height, 25):
            hidden = np.clip(np.minimum(high, bottom + height) - np.maximum(low, bottom), 0, None).mean()
            away = _distance((left, bottom), curve.at_limit)
            # What hides a curve is worse than any way to the point; a label on the point itself hides that.
            cost = 100 * hidden + away + (100 if away < _CLEAR else 0)
            if cost < least:
                best, least = (float(left), float(bottom)), cost
    return best


def _distance(place: tuple[float, float], point: tuple[float, float]) -> float:
    """From the edge of a label at that place to the point, 0 within it."""
    gaps = [max(low - at, 0.0, at - low - size) for low, at, size in zip(place, point, LABEL, strict=True)]
    return math.hypot(*gaps)


def _shares(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _rate(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    colour: str,
    style: str,
) -> None:
    axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(x, y, color=colour, linewidth=1.6, linestyle=style)


def _end_label(axes: Axes, x: Sequence[float], y: Sequence[float], text: str, colour: str, level: float) -> None:
    """A label beside its curve, where it passes the level, on the side that it leaves free: no legend to look up."""
    nearest = min(range(len(y)), key=lambda index: (abs(y[index] - level), -index))  # of a step its right end
    falls = y[0] > y[-1]
    axes.annotate(
        text,
        (x[nearest], y[nearest]),
        xytext=(6, 3 if falls else -6),
        textcoords="offset points",
        color=colour,
        fontweight="bold",
        va="bottom" if falls else "top",
    )


def _limit_line(axes: Axes, limit: float) -> None:
    axes.axvline(limit, color=_INK, linewidth=1.2)
    axes.annotate(
        f"limit {limit:.4g}",
        (limit, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, 2),
        textcoords="offset points",
        va="bottom",
    )


def _plain_log_ticks(axes: Axes, sizes: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 times powers of ten that lie in the data."""
    if not sizes:
        return
    low, high = min(sizes), max(sizes)
    ticks = [m * 10.0**e for e in range(-6, 12) for m in (1, 2, 5) if low * 0.8 <= m * 10.0**e <= high * 1.25]
    if len(ticks) > 7:
        ticks = [tick for tick in ticks if f"{tick:e}".startswith("1")]
    if ticks:
        axes.set_xticks(ticks)
    axes.set_xlim(low * 0.85, high * 1.18)


def _svg(figure: Figure, name: str, title: str) -> Markup:
    """The figure as an SVG element that scales, with ids of its own and the page's colours."""
    stream = io.StringIO()
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": name}):
        warnings.simplefilter("ignore", UserWarning)  # glyphs that the measuring font lacks; the browser has them
        figure.savefig(
            stream,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<g) id="[^"]*"', r"\1", text)
    text = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'href="#([^"]*)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"font: (bold )?([\d.]+)px [^;\"]*", lambda m: f"font: {m[1] or ''}{m[2]}px var(--font)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    first, rest = text.split(">", 1)
    first = re.sub(r' (width|height)="[^"]*"', "", first)
    return Markup(f'{first} role="img" aria-label="{{}}">').format(title) + Markup(rest)
