"""On real pictures each alarm is named rightly before the rejects of a bundle fitted on them double; the table is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from imaging.health_table import age, prepare, read_pictures, shown
from requires import require_data
from rich.console import Console

from inspector.imaging.health.kinds import Kind

PICTURES = 84


@pytest.mark.realdata
@pytest.mark.slow
def test_each_alarm_comes_before_the_rejects_double(tmp_path: Path) -> None:
    pictures = read_pictures(require_data("mvtec-ad") / "screw" / "train" / "good")[:PICTURES]
    study = prepare(pictures, tmp_path, size_px=96, quick=True)
    outcomes = list(age(study, until_told=True))
    Console(width=168).print(shown(outcomes, study.baseline, len(study.unseen)))
    assert {one.ageing.kind for one in outcomes} >= set(Kind) - {Kind.COLOUR, Kind.MOVED}, (
        "grey, and nothing stands still"
    )
    late = [one.ageing.name for one in outcomes if not one.came_in_time]
    assert not late
