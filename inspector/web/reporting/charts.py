"""Charts as SVG that fits its place, takes the page's colours, and prints: the same picture in the desk and in an export."""

from __future__ import annotations

import math
from collections.abc import Sequence

from inspector.quality.control import PChart, Point
from inspector.quality.rates import percent
from inspector.quality.yields import Bar
from inspector.web.reporting.markup import Markup, element, text

_WIDTH, _HEIGHT = 1000, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 92, 16, 46
_MAX_BARS = 12
# A label every so many pixels of the drawing can be read.
_LABEL_PX = 62


def p_chart_svg(chart: PChart) -> Markup:
    """Shares by group with centre and limits; flagged groups are filled diamonds with their number below the chart."""
    if not chart.points:
        return element("p", "No part of this report: there is nothing to draw.", class_="muted")
    top = max(max(point.rate, point.high) for point in chart.points) * 1.08 or 0.01
    plot = _Plot(len(chart.points), top)
    parts: list[Markup] = [plot.grid()]
    parts += [
        plot.step([point.high for point in chart.points], "limit"),
        plot.step([p.low for p in chart.points], "limit"),
    ]
    centre = plot.y(chart.centre)
    right = _WIDTH - _RIGHT
    parts.append(element("line", x1=_LEFT, x2=right, y1=centre, y2=centre, class_="centre"))
    parts.append(_note(right + 6, centre + 4, f"mean {percent(chart.centre)}"))
    last = chart.points[-1]
    # Not over the mean's.
    upper = min(plot.y(last.high) + 4, centre - 12)
    parts.append(_note(right + 6, upper, f"upper {percent(last.high)}"))
    if last.low > 0:
        parts.append(_note(right + 6, max(plot.y(last.low) + 4, centre + 18), f"lower {percent(last.low)}"))
    line = " ".join(f"{plot.x(n):.1f},{plot.y(point.rate):.1f}" for n, point in enumerate(chart.points))
    parts.append(element("polyline", points=line, class_="series"))
    flagged = 0
    for number, point in enumerate(chart.points):
        if point.signals:
            flagged += 1
        parts.append(_mark(plot.x(number), plot.y(point.rate), point, flagged))
    parts.append(plot.names([point.group.name for point in chart.points]))
    return _picture(f"Share not passed in {len(chart.points)} groups, {flagged} flagged", parts)


def pareto_svg(bars: Sequence[Bar]) -> Markup:
    """Bars by falling count with the cumulative share; what does not fit is one last bar."""
    if not bars:
        return element("p", "Every part passed: there is no cause to show.", class_="muted")
    shown = list(bars if len(bars) <= _MAX_BARS else bars[: _MAX_BARS - 1])
    if rest := bars[len(shown) :]:
        name = f"{len(rest)} others"
        shown.append(Bar(name, sum(bar.count for bar in rest), sum(bar.share for bar in rest), 1.0))
    total = sum(bar.count for bar in shown)
    plot = _Plot(len(shown), 1.0)
    parts: list[Markup] = [plot.grid()]
    half = min(plot.step_px * 0.34, 40)
    for number, bar in enumerate(shown):
        x, y = plot.x(number), plot.y(bar.share)
        told = (
            f"{bar.name}: {bar.count:,} of {total:,}, {percent(bar.share)}, {percent(bar.cumulative)} with those before"
        )
        rect = {"x": f"{x - half:.1f}", "y": f"{y:.1f}", "width": f"{2 * half:.1f}", "height": f"{plot.y(0) - y:.1f}"}
        parts.append(element("rect", element("title", told), class_="bar", **rect))
        parts.append(element("text", f"{bar.count:,}", x=f"{x:.1f}", y=f"{y - 9:.1f}", class_="count"))
    line = " ".join(f"{plot.x(n):.1f},{plot.y(bar.cumulative):.1f}" for n, bar in enumerate(shown))
    parts.append(element("polyline", points=line, class_="series"))
    parts += [
        element("circle", cx=f"{plot.x(n):.1f}", cy=f"{plot.y(bar.cumulative):.1f}", r=3, class_="point")
        for n, bar in enumerate(shown)
    ]
    parts.append(plot.names([bar.name for bar in shown], every=True))
    return _picture(f"Causes: {', '.join(f'{bar.name} {bar.count}' for bar in shown)}", parts)


class _Plot:
    """Where things stand in a drawing of `count` columns and shares up to `top`."""

    def __init__(self, count: int, top: float) -> None:
        self._count, self._top = count, top
        self.step_px = (_WIDTH - _LEFT - _RIGHT) / max(count, 1)

    def x(self, number: float) -> float:
        return _LEFT + (number + 0.5) * self.step_px

    def y(self, share: float) -> float:
        return _HEIGHT - _BOTTOM - share / self._top * (_HEIGHT - _TOP - _BOTTOM)

    def grid(self) -> Markup:
        lines = []
        for share in _ticks(self._top):
            y = f"{self.y(share):.1f}"
            lines.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
            lines.append(element("text", _axis(share), x=_LEFT - 6, y=f"{self.y(share) + 4:.1f}", class_="axis"))
        return Markup("".join(lines))

    def step(self, values: Sequence[float], kind: str) -> Markup:
        """A line that keeps each value for the width of its column."""
        corners = []
        for number, value in enumerate(values):
            corners += [
                f"{self.x(number - 0.5):.1f},{self.y(value):.1f}",
                f"{self.x(number + 0.5):.1f},{self.y(value):.1f}",
            ]
        return element("polyline", points=" ".join(corners), class_=kind)

    def names(self, names: Sequence[str], *, every: bool = False) -> Markup:
        """As many names below the columns as can be read."""
        stride = 1 if every else max(1, round(_LABEL_PX / self.step_px + 0.49))
        room = max(6, int(self.step_px * stride / 6.4))
        written = []
        for number in range(0, len(names), stride):
            for line, part in enumerate(_two_lines(names[number], room)):
                y = _HEIGHT - _BOTTOM + 17 + 14 * line
                written.append(element("text", part, x=f"{self.x(number):.1f}", y=y, class_="name"))
        return Markup("".join(written))


def _two_lines(name: str, room: int) -> tuple[str, ...]:
    """A name broken at a space, each half no longer than there is room."""
    first, _, rest = name.partition(" ") if len(name) > room else (name, "", "")
    return tuple(part if len(part) <= room else f"{part[: room - 1]}…" for part in (first, rest) if part)


def _mark(x: float, y: float, point: Point, number: int) -> Markup:
    told = f"{point.group.name}: {percent(point.rate)}, {point.group.events:,} of {point.group.parts:,}"
    title = element("title", told)
    if not point.signals:
        return element("circle", title, cx=f"{x:.1f}", cy=f"{y:.1f}", r=3.2, class_="point")
    corners = f"{x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f} {x - 7:.1f},{y:.1f}"
    return Markup(
        element("polygon", title, points=corners, class_="flag")
        + element("text", number, x=f"{x:.1f}", y=f"{max(y - 10, 11):.1f}", class_="flag-number")
    )


def _note(x: float, y: float, said: str) -> Markup:
    return element("text", said, x=f"{x:.1f}", y=f"{y:.1f}", class_="note")


def _ticks(top: float) -> list[float]:
    """Round shares from 0 to the top, at most six."""
    rough = top / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    return [step * number for number in range(int(top / step + 1e-9) + 1)]


def _axis(share: float) -> str:
    return f"{round(share * 100, 6):g} %"


def _picture(label: str, parts: Sequence[Markup]) -> Markup:
    attributes = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" class="chart" role="img" aria-label="{text(label)}"'
    return Markup(f"<svg xmlns='http://www.w3.org/2000/svg' {attributes}>{''.join(parts)}</svg>")
