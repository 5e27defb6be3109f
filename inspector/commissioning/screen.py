"""A commissioning in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from inspector.commissioning.live import Reading
from inspector.commissioning.session import Outcome, Step, View
from inspector.imaging.calibration.lens import advice

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 64


def screen(view: View, camera: str, link: str) -> RenderableType:
    """What to do, how far it is, and how sharp and bright the newest frame is."""
    steps = Text("  ").join(
        Text(step.value, style="bold reverse" if step is view.step else "dim") for step in view.steps
    )
    parts: list[RenderableType] = [Text.assemble((f"camera {camera}  ", "bold"), steps), Text(view.task)]
    if view.wanted:
        count = Text(
            f"{view.taken} of {view.wanted} taken" if view.is_taking else "Enter: take frames, s: leave it out"
        )
        parts += [ProgressBar(total=view.wanted, completed=view.taken, width=_WIDTH), count]
    elif view.step is Step.LOOK:
        parts.append(Text("Enter: go on"))
    if view.told:
        parts.append(Text(view.told, style="yellow"))
    if view.reading is not None:
        parts.append(_reading(view.reading, view.best_sharpness))
    if link:
        parts.append(Text(f"page (works once): {link}", style="dim"))
    return Group(*parts)


def summary_lines(outcome: Outcome) -> Iterator[str]:
    """What came of it, in a few lines."""
    reference = outcome.reference
    still = (
        f"{reference.steady.mean():.0%} of the picture stands still"
        if reference.has_background
        else "nothing stands still"
    )
    yield f"{reference.frames} frames of parts, mean level {reference.level:.0f} of 255, {still}"
    if outcome.flat is not None:
        yield f"flat field of {outcome.flat.frames} frames, uneven by {outcome.flat.unevenness:.1%}"
    if outcome.calibration is not None:
        one = outcome.calibration
        yield (
            f"scale {one.as_seen.mm_per_px:.6g} mm per pixel ± {one.as_seen.uncertainty:.2%}, straightened "
            f"{one.straightened.mm_per_px:.6g} ± {one.straightened.uncertainty:.2%}, from {one.pictures} pictures"
        )
        yield from advice(one)


def _reading(reading: Reading, best: float) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    share = min(1.0, reading.sharpness / best) if best else 0.0
    table.add_row(
        "sharpness", ProgressBar(total=1.0, completed=share, width=24), f"{reading.sharpness:.1f}, best {best:.1f}"
    )
    table.add_row("mean", f"{reading.mean:.1f} of 255", f"saturated {reading.saturated:.2%}, black {reading.dark:.2%}")
    return Group(table, Text(_histogram(reading.histogram)), Text(reading.advice, style="yellow"))


def _histogram(shares: Sequence[float]) -> str:
    top = max(shares) or 1.0
    return "".join(_BARS[min(8, round(8 * share / top + 0.4)) if share else 0] for share in shares)
