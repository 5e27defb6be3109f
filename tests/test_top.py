"""`inspector top`: what a watcher sees of running, silent and unreachable lines."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType
from rpc_twin import inspection

from inspector.part import Box, Finding, Inspection, Reason
from inspector.top import LineView, screen


def shown(renderable: RenderableType, width: int = 110) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(renderable)
    return out.getvalue()


def seen(
    sequence: int,
    reason: Reason = Reason.WITHIN_LIMITS,
    latency_ms: float = 5.0,
    part_id: str | None = None,
    defect_class: str = "",
) -> Inspection:
    findings = (Finding(defect_class, Box(0, 0, 4, 4), 16.0, 1.5),) if defect_class else ()
    part_id = f"P{sequence}" if part_id is None else part_id
    return replace(inspection(sequence, reason=reason), latency_ms=latency_ms, part_id=part_id, findings=findings)


def test_rates_latencies_and_last_rejects_are_shown() -> None:
    view = LineView("line1", "127.0.0.1:50051", [("s1", ("cam1",)), ("s2", ("cam2",))])
    view.tell_state("")
    for number in range(1, 101):
        reason = Reason.SCORE_ABOVE_LIMIT if number % 25 == 0 else Reason.WITHIN_LIMITS
        view.tell(seen(number, reason, float(number), defect_class="crack" if number % 25 == 0 else ""), number / 20)
    text = shown(screen([view], 5.0))
    row = next(line for line in text.splitlines() if " s1 " in line and "cam1" in line).split()
    assert row[1:9] == ["s1", "cam1", "10.0", "96", "4", "0", "50.0", "99.0"]
    assert "never" in next(line for line in text.splitlines() if "cam2" in line)
    rejects = [line.split()[1] for line in text.splitlines() if "SCORE_ABOVE_LIMIT" in line]
    assert rejects == ["#100", "#75", "#50", "#25"]


def test_a_line_that_fell_silent_or_away_is_unmistakable() -> None:
    view = LineView("line1", "127.0.0.1:50051")
    assert "not followed: connecting" in shown(view.view(0.0))
    view.tell_state("")
    view.tell(seen(1), 0.0)
    text = shown(view.view(60.0))
    assert "60 s ago" in text
    assert "  0.0" in text
    view.tell_state("UNAVAILABLE: gone")
    assert "not followed: UNAVAILABLE: gone" in shown(view.view(60.0))


def test_text_from_outside_is_shown_as_text() -> None:
    view = LineView("line1", "127.0.0.1:50051")
    view.tell_state("[red]x\x1b[2J")
    view.tell(seen(1, Reason.SCORE_ABOVE_LIMIT, part_id="[bold]\x1b[31m", defect_class="a\nb"), 0.0)
    text = shown(view.view(0.0), 200)
    assert "\x1b" not in text
    assert "[bold]?[31m" in text
    assert "a?b" in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits_the_terminal(width: int) -> None:
    view = LineView(
        "a-line-with-quite-a-long-name", "line1.plant.local:50051", [("station-with-a-name", ("camera-1",))]
    )
    view.tell(seen(1, Reason.SCORE_ABOVE_LIMIT, part_id="x" * 100), 0.0)
    assert all(len(line) <= width for line in shown(screen([view], 1.0), width).splitlines())
