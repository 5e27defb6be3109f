"""The faults of `make chaos`, fewer of each, as tests. CHAOS_FAULTS and CHAOS_SEED choose how many and in which order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chaos import suite
from chaos.account import Tally
from chaos.camera import CannotMeasure
from chaos.kinds import small_disk
from postgres import PostgresServer
from requires import require

FAULTS = int(os.environ.get("CHAOS_FAULTS", "4"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(110 + 10 * FAULTS)]


def test_faults_that_one_service_lives_through_cost_no_verdict(tmp_path: Path) -> None:
    with_disk = True
    try:
        with small_disk(tmp_path / "try", 64):
            pass
    except CannotMeasure:
        with_disk = False
    _expect_none_broken(suite.steady(tmp_path / "line", SEED, FAULTS, _silent, with_disk=with_disk))
    require(with_disk, "a full disk can only be tested by root, who may mount one: all other faults passed")


def test_stops_and_kills_cost_no_verdict(tmp_path: Path) -> None:
    _expect_none_broken(suite.restarts(tmp_path, SEED, FAULTS, _silent))


def test_a_database_that_comes_and_goes_costs_no_verdict(tmp_path: Path, own_postgres: PostgresServer) -> None:
    _expect_none_broken(suite.postgres(tmp_path, SEED, FAULTS, _silent, own_postgres, own_postgres.create()))


def _expect_none_broken(tallies: dict[str, Tally]) -> None:
    broken = [str(fault) for tally in tallies.values() for fault in tally.broken]
    assert not broken, f"{len(broken)} broken promises:\n" + "\n".join(broken[:20])
    missing = {kind: tally.faults for kind, tally in tallies.items() if tally.faults < FAULTS}
    assert not missing, f"fewer faults than {FAULTS} took effect, so nothing is proven: {missing}"


def _silent(_: str) -> None:
    pass
