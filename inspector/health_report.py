"""What `inspector camera health` prints of a camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from inspector.imaging.health.alarms import limit_here, size_of
from inspector.imaging.health.compare import Change
from inspector.imaging.health.kinds import Kind
from inspector.imaging.health.words import NAMES, NEXT_STEPS, day, value_text
from inspector.records.camera_health import AlarmRow, HealthRow
from inspector.records.store import Store
from inspector.references import Known
from inspector.watching import BLUE, CHANGES, FINENESS, LEVEL, RED, SATURATED

_MEASURES: Mapping[int, tuple[str, str]] = {
    LEVEL: ("mean level", "{:.1f}"),
    SATURATED: ("saturated", "{:.2%}"),
    FINENESS: ("fine detail", "{:.3f}"),
    RED: ("red / green", "{:.3f}"),
    BLUE: ("blue / green", "{:.3f}"),
}
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 32
_SHOWN_ALARMS = 10


def has_alarm(store: Store, line: str, camera: str) -> bool:
    """Whether an alarm of the camera lasts."""
    return any(alarm.cleared is None for alarm in store.camera_alarms(line, camera, 1))


def camera_card(store: Store, line: str, camera: str, known: Known, now: datetime, hours: float) -> RenderableType:
    """Everything about how a camera sees, over the last `hours`."""
    rows = store.camera_health(line, camera, now - timedelta(hours=hours))
    newest = store.latest_camera_health(line, camera)
    alarms = store.camera_alarms(line, camera)
    parts: list[RenderableType] = [Text(f"camera {camera}", style="bold"), _about(known)]
    if known.fault:
        parts.append(Text(f"✗ {known.fault}", style="red"))
    if not newest:
        parts.append(Text("nothing measured yet: the service writes a row a minute once 20 frames have come"))
    else:
        first = newest[0]
        parts.append(Text(f"newest: {first.frames} frames from {_time(first.start)} to {_time(first.end)}"))
        parts.append(_table(rows, newest, known, {alarm.kind for alarm in alarms if alarm.cleared is None}, hours))
    parts += [_alarm_line(alarm) for alarm in alarms[:_SHOWN_ALARMS]]
    return Group(*parts, Text(""))


def _about(known: Known) -> Text:
    if known.reference_set is None:
        return Text(
            "no reference: nothing is compared; take one with `inspector camera setup`, name it in [health.NAME]"
        )
    one = known.reference_set
    frames = "" if known.care.reference is None else f", {known.care.reference.frames} frames"
    background = known.care.reference is not None and known.care.reference.has_background
    by_what = (
        "light judged by what stands still"
        if background
        else "light judged by the parts: they show no still background"
    )
    return Text(f"reference {one.label} of {day(one.taken)} by {one.by}{frames}; {by_what}")


def _table(
    rows: Sequence[HealthRow], newest: Sequence[HealthRow], known: Known, raised: set[int], hours: float
) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for name, side in (
        ("measured", "left"),
        ("now", "right"),
        ("limit", "right"),
        ("", "left"),
        (f"{hours:g} h", "left"),
    ):
        table.add_column(name, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for row in newest:
        course = _course([each.median for each in rows if each.measure == row.measure])
        if row.measure in _MEASURES:
            name, form = _MEASURES[row.measure]
            low_high = (
                "" if row.low is None or row.high is None else f"{form.format(row.low)} … {form.format(row.high)}"
            )
            table.add_row(name, form.format(row.median), "", low_high, course)
        elif row.measure - CHANGES in Kind.__members__.values():
            kind = Kind(row.measure - CHANGES)
            change = Change(kind, row.median)
            limit = known.care.limits.of(kind)
            over = kind in raised
            state = Text("ALARM", style="bold red") if over else _state(change, limit)
            table.add_row(NAMES[kind], value_text(change), _limit_text(kind, limit), state, course)
    return table


def _state(change: Change, limit: float) -> Text:
    if limit == 0:
        return Text("off", style="dim")
    return Text("beyond", style="yellow") if size_of(change) > limit_here(change, limit) else Text("ok", style="green")


def _limit_text(kind: Kind, limit: float) -> str:
    if limit == 0:
        return "–"
    return f"{limit:g} px" if kind in (Kind.FOCUS, Kind.VIBRATION) else f"{limit * 100:g} %"


def _alarm_line(alarm: AlarmRow) -> Text:
    kind = Kind(alarm.kind)
    if alarm.cleared is None:
        text = f"! {NAMES[kind]}, raised {_time(alarm.raised)}: {alarm.words}; {NEXT_STEPS[kind]}"
        return Text(text, style="red")
    return Text(f"  {NAMES[kind]}, {_time(alarm.raised)} to {_time(alarm.cleared)}: {alarm.words}", style="dim")


def _course(values: Sequence[float]) -> str:
    """A small picture of values in their order."""
    if len(values) < 2:
        return ""
    many = min(_WIDTH, len(values))
    edges = [number * len(values) // many for number in range(many + 1)]
    means = [_mean(values[start:end]) for start, end in pairwise(edges)]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int((value - low) / span * len(_BARS)))] for value in means)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"
