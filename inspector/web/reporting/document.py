"""A report or study as HTML: a body for the desk, and a document of its own to send, file or print as PDF."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from inspector.quality.agreement import Against, Grade, Study
from inspector.quality.costs import Prices, Wrong
from inspector.quality.rates import Rate, percent
from inspector.web.reporting.agreeing import Agreement
from inspector.web.reporting.charts import p_chart_svg, pareto_svg
from inspector.web.reporting.figures import Report, Sums, point_words
from inspector.web.reporting.markup import Markup, element, listed, table

_STYLE = Path(__file__).parents[1] / "static" / "report.css"
_ALONE = """
:root {
  --panel: #ffffff; --ink: #17212b; --muted: #56626f; --edge: #d3dae1; --accent: #0b5cad; --pass: #00775a; --reject: #b94700;
  --unknown: #8a6100;
}
body {
  margin: 24px auto; max-width: 1080px; padding: 0 16px; background: var(--panel); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums;
}
h1 { font-size: 21px; margin: 0 0 2px; }
@page { size: A4; margin: 14mm; }
@media print { body { margin: 0; max-width: none; } .report .tile { break-inside: avoid; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def document(title: str, about: str, made: datetime, by: str, body: Markup) -> str:
    """A page that needs nothing else; browsers print it as PDF."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    )
    made_words = f"Made {made.astimezone():%Y-%m-%d %H:%M %z} by {by}"
    top = element(
        "header", element("h1", title), element("p", about, class_="muted"), element("p", made_words, class_="muted")
    )
    style = f"<style>{_ALONE}{_STYLE.read_text(encoding='utf-8')}</style>"
    return (
        f'<!doctype html><html lang="en"><head>{head}{element("title", title)}{style}</head>'
        f'<body class="report">{top}{body}</body></html>\n'
    )


# Reports


def report_body(report: Report) -> Markup:
    """Yield, chart, causes, costs, and the groups as a table."""
    sections = [
        _tiles(report),
        _section("Is it steady?", *_chart(report)),
        _section("What was not passed, and for what", pareto_svg(report.causes), _causes(report)),
        _section("What wrong verdicts cost", *_costs(report)),
    ]
    if len(report.stations) > 1:
        sections.append(_section("Stations", _stations(report)))
    sections.append(_section(f"By {report.question.by.value}", _groups(report)))
    return element("div", *sections, class_="report")


def _section(title: str, *inner: object) -> Markup:
    return element("section", element("h2", title), *inner, class_="panel")


def _tiles(report: Report) -> Markup:
    total = report.total
    tiles = [
        ("First pass yield", _percent(total.first_pass), _between(total.first_pass)),
        ("Parts, first passes", f"{total.parts:,}", f"{total.again:,} seen again"),
        ("Rejects", f"{total.rejected:,}", _share(total.rejected, total.parts)),
        ("Not judged", f"{total.unknown:,}", _share(total.unknown, total.parts)),
    ]
    if report.rolled is not None:
        tiles.append(("Yield through all stations", percent(report.rolled), f"{len(report.stations)} stations"))
    made = [element("div", element("span", a), element("b", b), element("span", c), class_="tile") for a, b, c in tiles]
    notes = [listed(report.notes, class_="muted")] if report.notes else []
    return element("section", element("div", *made, class_="tiles"), *notes)


def _percent(rate: Rate) -> str:
    return percent(rate.value)


def _between(rate: Rate) -> str:
    return f"95 %: {percent(rate.low)[:-2]}–{percent(rate.high)}" if rate.total else "no part"


def _share(count: int, total: int) -> str:
    return f"{percent(count / total)} of parts" if total else "no part"


def _chart(report: Report) -> list[Markup]:
    chart = report.chart
    rules = "; ".join(f"{rule.name}: {rule.words}" for rule in chart.rules)
    kind = "p′ chart (Laney 2002)" if chart.is_widened else "p-chart"
    about = f"{kind} of the share not passed, by {report.question.by.value}; limits at 3 sigma. Rules: {rules}."
    flagged = chart.flagged
    if not chart.points:
        return [p_chart_svg(chart)]
    verdict = (
        element("ol", *(element("li", point_words(point)) for point in flagged))
        if flagged
        else element("p", "No rule is broken: nothing here that chance does not explain.")
    )
    return [p_chart_svg(chart), verdict, element("p", about, class_="muted")]


def _causes(report: Report) -> Markup:
    if not report.causes:
        return Markup("")
    vital = len(report.vital)
    few = f"{vital} of {len(report.causes)} causes make up four fifths." if len(report.causes) > 1 else ""
    rows = [(bar.name, f"{bar.count:,}", percent(bar.share), percent(bar.cumulative)) for bar in report.causes]
    return Markup(table(("Cause", "Parts", "Share", "Together"), rows, numbers=1) + element("p", few, class_="muted"))


def _costs(report: Report) -> list[Markup]:
    rows = []
    for costs in report.costs:
        of = f", {costs.recipe}" if len(report.costs) > 1 else ""
        rows.append(_cost_row(f"False rejects: good parts rejected{of}", "rejects", costs.false_rejects, costs.prices))
        rows.append(_cost_row(f"Escapes: defective parts passed{of}", "passed parts", costs.escapes, costs.prices))
    head = ("", "Reviewed", "Wrong", "Wrong in all, if the others are alike", "Cost seen", "Cost in all")
    told = (
        "What all would be is reckoned from those reviewed, with 95 % confidence. Whoever reviews only near the limit, or "
        "only what looks odd, sees more wrong verdicts than there are: for escapes take the count seen as the least."
    )
    said = [element("div", table(head, rows, numbers=1), class_="scroll"), element("p", told, class_="muted")]
    if missing := [costs.recipe for costs in report.costs if costs.prices is None]:
        said.append(
            element(
                "p", f"No costs are set for {', '.join(missing)}: an engineer sets them on Recipes.", class_="muted"
            )
        )
    return said


def _cost_row(name: str, of: str, wrong: Wrong, prices: Prices | None) -> tuple[str, ...]:
    seen = wrong.seen
    if not seen.total:
        return (name, f"0 of {wrong.parts:,} {of}", "not known", "not known", "–", "–")
    counts = (
        name,
        f"{seen.total:,} of {wrong.parts:,} {of}",
        f"{seen.count:,} ({percent(seen.value)})",
        f"{wrong.expected:,.0f} ({wrong.low:,.0f}–{wrong.high:,.0f})",
    )
    if prices is None:
        return (*counts, "–", "–")
    in_all = [f"{wrong.cost(number):,.0f}" for number in (wrong.expected, wrong.low, wrong.high)]
    unit = f" {prices.currency}" if prices.currency else ""
    return (*counts, f"{wrong.seen_cost:,.2f}{unit}", f"{in_all[0]} ({in_all[1]}–{in_all[2]}){unit}")


_SUMS = ("Parts", "Passed", "Rejects", "Not judged", "First pass yield", "95 % interval")


def _sums(name: str, sums: Sums) -> tuple[str, ...]:
    yielded = sums.first_pass
    counts = (f"{count:,}" for count in (sums.parts, sums.passed, sums.rejected, sums.unknown))
    return (name, *counts, _percent(yielded), _between(yielded).removeprefix("95 %: "))


def _stations(report: Report) -> Markup:
    rows = [_sums(name, sums) for name, sums in sorted(report.stations.items())]
    return element("div", table(("Station", *_SUMS), rows, numbers=1), class_="scroll")


def _groups(report: Report) -> Markup:
    points = {point.group.name: point for point in report.chart.points}
    rows = []
    for name, sums in report.groups.items():
        point = points.get(name)
        limits = f"{percent(point.low)[:-2]}–{percent(point.high)}" if point is not None else "–"
        rules = ", ".join(signal.rule.name for signal in point.signals) if point is not None else ""
        rows.append((*_sums(name, sums), limits, rules))
    head = (report.question.by.value.capitalize(), *_SUMS, "Limits of not passed", "Rules broken")
    return element("div", table(head, rows, numbers=1), class_="scroll")


# Agreement

_SIGNS = {
    Grade.ACCEPTABLE: ("✓ acceptable", "is-acceptable"),
    Grade.MARGINAL: ("~ marginal", "is-marginal"),
    Grade.UNACCEPTABLE: ("✕ unacceptable", "is-unacceptable"),
    Grade.UNKNOWN: ("? not known", "muted"),
}
_BARS = (
    "Bars of AIAG, Measurement Systems Analysis, 4th ed., chapter III section C: effectiveness ≥ 90 % acceptable, ≥ 80 % "
    "marginal; misses ≤ 2 %, ≤ 5 %; false alarms ≤ 5 %, ≤ 10 %. Effectiveness counts parts that an appraiser got right at "
    "every look; misses are looks that called a defective part good, false alarms the reverse. Kappa above 0.75 is good to "
    "excellent, below 0.40 poor. Intervals are of 95 %: Clopper–Pearson for rates, with parts as the sample for kappa."
)


def agreement_body(found: Agreement) -> Markup:
    """What it comes to in words, then the tables that it rests on."""
    study = found.study
    sections = [_section("What it comes to", listed(found.sentences))]
    if study.against:
        sections.append(_section("Against the reference", _against(study)))
    if study.within:
        rows = [(one.appraiser, one.matched.words, one.kappa.words) for one in study.within]
        sections.append(_section("With themselves", table(("Appraiser", "Same at every look", "Kappa (Fleiss)"), rows)))
    if study.pairs:
        pairs = [(one.first, one.second, one.matched.words, one.kappa.words) for one in study.pairs]
        head = ("Appraiser", "and", "Agree on", "Kappa (Cohen)")
        said = f"All agree on {study.all_agree.words} parts that all looked at." if study.all_agree.total else ""
        sections.append(_section("With each other", table(head, pairs), element("p", said, class_="muted")))
    sections.append(element("p", _BARS, class_="muted"))
    return element("div", *sections, class_="report")


def _against(study: Study) -> Markup:
    head = ("Appraiser", "Verdict", "Effectiveness", "Misses", "False alarms", "Could not tell", "Kappa (Cohen)")
    return element("div", table(head, [_appraiser(one) for one in study.against]), class_="scroll")


def _appraiser(one: Against) -> tuple[object, ...]:
    rates = (one.effectiveness, one.misses, one.false_alarms)
    told = [element("span", rate.words, class_=_SIGNS[grade][1]) for rate, grade in zip(rates, one.grades, strict=True)]
    sign, kind = _SIGNS[one.grade]
    return (one.appraiser, element("span", sign, class_=f"verdict {kind}"), *told, f"{one.unsure:,}", one.kappa.words)
