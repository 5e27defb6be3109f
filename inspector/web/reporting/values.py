"""Reports and studies as values that JSON can hold."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from inspector.quality.costs import Prices, Wrong
from inspector.quality.kappa import Kappa
from inspector.quality.rates import Rate
from inspector.web.reporting.agreeing import Agreement
from inspector.web.reporting.figures import Report, Sums


def report_json(report: Report) -> dict[str, Any]:
    """Everything that the page shows."""
    chart = report.chart
    return {
        "about": report.about,
        "made": _time(report.made),
        "total": _sums(report.total),
        "rolled_yield": report.rolled,
        "stations": {name: _sums(sums) for name, sums in report.stations.items()},
        "by": report.question.by.value,
        "groups": [{"name": name, **_sums(sums)} for name, sums in report.groups.items()],
        "causes": [
            {"cause": bar.name, "parts": bar.count, "share": bar.share, "cumulative": bar.cumulative}
            for bar in report.causes
        ],
        "chart": {
            "kind": "p-prime" if chart.is_widened else "p",
            "centre": _finite(chart.centre),
            "spread": _finite(chart.spread),
            "rules": [{"name": rule.name, "words": rule.words} for rule in chart.rules],
            "points": [
                {
                    "group": point.group.name,
                    "not_passed": point.rate,
                    "limit_low": point.low,
                    "limit_high": point.high,
                    "sigmas": point.z,
                    "exact_limits": point.is_exact,
                    "broken": [signal.rule.name for signal in point.signals],
                }
                for point in chart.points
            ],
        },
        "costs": [
            {
                "recipe": costs.recipe,
                "false_rejects": _wrong(costs.false_rejects, costs.prices),
                "escapes": _wrong(costs.escapes, costs.prices),
            }
            for costs in report.costs
        ],
        "notes": list(report.notes),
    }


def agreement_json(found: Agreement) -> dict[str, Any]:
    """Everything that the page shows."""
    study = found.study
    return {
        "about": found.about,
        "made": _time(found.made),
        "parts": study.parts,
        "line": found.line,
        "conclusion": list(found.sentences),
        "against_reference": [
            {
                "appraiser": one.appraiser,
                "verdict": one.grade.value,
                "effectiveness": _rate(one.effectiveness),
                "misses": _rate(one.misses),
                "false_alarms": _rate(one.false_alarms),
                "could_not_tell": one.unsure,
                "kappa": _kappa(one.kappa),
            }
            for one in study.against
        ],
        "within": [
            {"appraiser": one.appraiser, "matched": _rate(one.matched), "kappa": _kappa(one.kappa)}
            for one in study.within
        ],
        "between": [
            {"first": one.first, "second": one.second, "matched": _rate(one.matched), "kappa": _kappa(one.kappa)}
            for one in study.pairs
        ],
        "together": _kappa(study.together),
        "all_agree": _rate(study.all_agree),
        "all_right": _rate(study.all_right),
    }


def _sums(sums: Sums) -> dict[str, Any]:
    counts = {name: getattr(sums, name) for name in ("parts", "passed", "rejected", "unknown", "again")}
    return counts | {"first_pass_yield": _rate(sums.first_pass)}


def _rate(rate: Rate) -> dict[str, Any]:
    return {"count": rate.count, "total": rate.total, "rate": _finite(rate.value), "low": rate.low, "high": rate.high}


def _kappa(kappa: Kappa) -> dict[str, Any]:
    found = {name: _finite(getattr(kappa, name)) for name in ("value", "low", "high")}
    return {**found, "parts": kappa.parts, "why": kappa.why}


def _wrong(wrong: Wrong, prices: Prices | None) -> dict[str, Any]:
    costs = {name: None if prices is None else wrong.cost(getattr(wrong, name)) for name in ("expected", "low", "high")}
    return {
        "parts": wrong.parts,
        "seen": _rate(wrong.seen),
        **{name: getattr(wrong, name) if wrong.seen.total else None for name in ("expected", "low", "high")},
        "cost_seen": None if prices is None else wrong.seen_cost,
        **{f"cost_{name}": value if wrong.seen.total else None for name, value in costs.items()},
        "currency": "" if prices is None else prices.currency,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _time(moment: datetime) -> str:
    return moment.isoformat()
