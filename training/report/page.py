"""One self-contained page: no script, no request, pictures and plots inside."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import jinja2

from inspector.errors import DataError
from training.data.files import write_whole
from training.data.samples import printable
from training.report import plots, words
from training.report.build import Report
from training.report.comparison import Comparison
from training.statistics import Rate

_TEMPLATES = Path(__file__).parent / "templates"
SHOWN_PARTS = 20


def check_can_write(path: Path) -> None:
    """Raise DataError if a report could not be written to `path`: before the minutes of work, not after."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the name of the file to write")
    if path.exists() and not path.is_file():
        if not os.access(path, os.W_OK):
            raise DataError(f"{path} may not be written to; choose another path")
        return
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise DataError(f"{path} cannot be written: {parent} is no folder that may be written to; choose another path")


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write JSON, whole or not at all; what is not a finite number becomes null. Raises DataError."""
    write_whole(path, json.dumps(_finite(document), indent=1, allow_nan=False).encode("ascii"))


def write_page(path: Path, text: str) -> None:
    """Write a page, whole or not at all. Raises DataError."""
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def evaluation_page(report: Report) -> str:
    """The whole evaluation as HTML."""
    curves, masks = report.curves, report.masks
    drawings = {
        "roc": plots.roc_plot(curves.roc) if curves.roc else None,
        "precision_recall": plots.precision_recall_plot(curves.precision_recall) if curves.precision_recall else None,
        "rates": plots.rates_plot(curves.rates, report.limit) if curves.rates else None,
        "histogram": plots.histogram_plot(curves.histograms, report.limit) if curves.histograms else None,
        "length": plots.detection_plot(masks.length, "length of the defect", masks.unit, "pod-length")
        if masks.length.sizes
        else None,
        "area": plots.detection_plot(masks.area, "area of the defect", f"{masks.unit}²", "pod-area")
        if masks.area.sizes
        else None,
        "overlap": plots.overlap_plot(masks.pixels) if masks.pixels and masks.pixels.curve else None,
        "reliability": plots.reliability_plot(report.classes)
        if report.classes and report.classes.reliability
        else None,
    }
    return render("evaluation.html", report=report, plots=drawings, shown_parts=SHOWN_PARTS)


def comparison_page(comparison: Comparison) -> str:
    """The whole comparison as HTML."""
    return render("comparison.html", comparison=comparison, shown_flips=SHOWN_PARTS)


def render(template: str, **values: Any) -> str:
    """Fill in a template; every value is escaped unless it is markup of our own."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(rate=_rate, percent=words.percent, plain=printable, short=plots.short, number=_number)
    return environment.get_template(template).render(**values)


def _rate(rate: Rate) -> str:
    """A rate of which no line ends within the interval or before a percent sign."""
    text = words.rate_words(rate).replace(" %", "\N{NO-BREAK SPACE}%")
    start = text.find("(")
    return text if start < 0 else text[:start] + text[start:].replace(" ", "\N{NO-BREAK SPACE}")


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
