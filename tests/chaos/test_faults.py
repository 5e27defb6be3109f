"""The faults of `make chaos`, few of each, as tests. CHAOS_FAULTS and CHAOS_SEED choose how many and in which order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chaos import suite
from chaos.account import Tally
from chaos.camera import NotPossibleHere
from chaos.suite import Effort
from requires import require

FAULTS = int(os.environ.get("CHAOS_FAULTS", "1"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(110 + 20 * FAULTS)]


@pytest.mark.parametrize("scene", suite.QUICK)
def test_no_fault_costs_a_verdict_or_lets_a_part_pass(scene: str, tmp_path: Path) -> None:
    effort = Effort(FAULTS, SEED, quick=True)
    try:
        tallies = suite.SCENES[scene](tmp_path, effort)
    except NotPossibleHere as error:
        effort.missing.append(str(error))
    else:
        _expect_none_broken(tallies)
    require(not effort.missing, f"all else is as it should be, but not possible here: {effort.missing}")


def _expect_none_broken(tallies: dict[str, Tally]) -> None:
    broken = [str(fault) for tally in tallies.values() for fault in tally.broken]
    assert not broken, f"{len(broken)} broken promises:\n" + "\n".join(broken[:20])
    missing = {kind: tally.faults for kind, tally in tallies.items() if tally.faults < tally.expected}
    assert not missing, f"fewer faults than asked for took effect, so nothing is proven: {missing}"
