"""Reports and studies as CSV, for spreadsheets that take nothing for a formula."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from inspector.web.reporting.agreeing import Agreement
from inspector.web.reporting.figures import Report

# What a spreadsheet takes for the beginning of a formula: OWASP, CSV Injection.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def groups_csv(report: Report) -> str:
    """A row a group of the report."""
    points = {point.group.name: point for point in report.chart.points}
    rows = []
    for name, sums in report.groups.items():
        point, yielded = points.get(name), sums.first_pass
        limits = ("", "", "", "") if point is None else (point.rate, point.low, point.high, point.z)
        rules = "" if point is None else "; ".join(signal.rule.name for signal in point.signals)
        counts = (sums.parts, sums.passed, sums.rejected, sums.unknown, sums.again)
        first = (yielded.value, yielded.low, yielded.high) if sums.parts else ("", "", "")
        rows.append((name, *counts, *first, *limits, rules))
    head = (
        report.question.by.value,
        *("parts", "passed", "rejected", "not_judged", "seen_again"),
        *("first_pass_yield", "first_pass_yield_low", "first_pass_yield_high"),
        *("not_passed", "limit_low", "limit_high", "sigmas", "rules"),
    )
    return written(head, rows)


def causes_csv(report: Report) -> str:
    """A row a cause."""
    rows = [(bar.name, bar.count, bar.share, bar.cumulative) for bar in report.causes]
    return written(("cause", "parts", "share", "cumulative"), rows)


def appraisers_csv(found: Agreement) -> str:
    """A row an appraiser."""
    head = ["appraiser", "verdict"]
    for name in ("effectiveness", "misses", "false_alarms"):
        head += [f"{name}_{part}" for part in ("count", "total", "rate", "low", "high")]
    head += ["could_not_tell", "kappa", "kappa_low", "kappa_high"]
    rows: list[Sequence[object]] = []
    for one in found.study.against:
        row: list[object] = [one.appraiser, one.grade.value]
        for rate in (one.effectiveness, one.misses, one.false_alarms):
            row += [rate.count, rate.total, rate.value, rate.low, rate.high]
        rows.append([*row, one.unsure, one.kappa.value, one.kappa.low, one.kappa.high])
    return written(head, rows)


def written(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV with a head; text that a spreadsheet would run is quoted with an apostrophe, and no number is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
