"""A PLC that was not told in time must be found, or the chaos tests prove nothing of it."""

from __future__ import annotations

import pytest
from chaos.watchdog import Silence, look

MS = 1_000_000
OK, STALE = "heartbeat_ok", "heartbeat_stale"


@pytest.mark.parametrize(
    ("events", "lasted_ms", "outcomes", "told_ms"),
    [
        pytest.param([(OK, -900), (STALE, 600)], 2000, [], 600, id="in time"),
        pytest.param([(OK, -900), (STALE, 1400)], 2000, ["untold"], 1400, id="too late"),
        pytest.param([(OK, -900)], 2000, ["untold"], None, id="never"),
        pytest.param([(OK, -900), (STALE, 2100)], 2000, ["untold"], None, id="after it was over"),
        pytest.param([(OK, -900), (STALE, -50)], 2000, [], 0, id="it rejected already"),
        pytest.param([(OK, -900), (STALE, -50), (OK, 100), (STALE, 700)], 2000, [], 700, id="a last beat on its way"),
        pytest.param([(OK, -900), (STALE, 600), (OK, 1950)], 2000, [], 600, id="it came back before the camera did"),
        pytest.param([(OK, -900), (STALE, -50), (OK, 100)], 2000, ["untold"], None, id="a last beat, and then never"),
        pytest.param([], 2000, [], 0, id="it never saw a beat, so it rejects"),
        pytest.param([(OK, -900)], 800, [], None, id="too short to be seen"),
    ],
)
def test_the_plc_is_told_in_time_or_that_is_found(
    events: list[tuple[str, int]], lasted_ms: int, outcomes: list[str], told_ms: int | None
) -> None:
    began = 10_000 * MS
    written = [{"event": event, "time_ns": began + at * MS} for event, at in events]

    faults, longest_ms = look([Silence("kill", began, began + lasted_ms * MS)], {"s": written})

    assert [fault.outcome for fault in faults] == outcomes
    assert longest_ms.get("kill") == told_ms
