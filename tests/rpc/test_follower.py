"""Following a line as `inspector top` does: over outages, and with the reason where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from plant import plant_in
from rpc_line import Line, Lines, wait_for
from rpc_twin import inspection

from inspector.access.tls import TlsFiles
from inspector.part import Inspection, Reason, Verdict
from inspector.rpc.door import Door
from inspector.rpc.follower import Follower


def follow(line: Line, target: str = "") -> tuple[Follower, list[Inspection], list[str]]:
    verdicts: list[Inspection] = []
    states: list[str] = []
    return Follower(target or line.server.address, "a", verdicts.append, states.append), verdicts, states


def test_a_follower_sees_every_verdict_also_over_a_restart(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.rpc.follower.RETRY_S", 0.05)
    line = lines.make()
    follower, verdicts, states = follow(line)
    wait_for(lambda: states == [""], "the watch")
    wait_for(lambda: line.pipeline.watchers == 1, "the watcher")
    line.pipeline.publish(inspection(1))
    wait_for(lambda: len(verdicts) == 1, "a verdict")
    line.server.stop(0)
    wait_for(lambda: states[-1] != "", "the outage")
    line.pipeline.publish(inspection(2, reason=Reason.SCORE_ABOVE_LIMIT))
    lines.start(line.pipeline, port=line.server.port)
    wait_for(lambda: len(verdicts) == 2, "the verdict of the outage")
    line.pipeline.publish(inspection(3))
    wait_for(lambda: len(verdicts) == 3, "the next one")
    follower.close()
    assert [(one.sequence, one.verdict) for one in verdicts] == [
        (1, Verdict.PASS),
        (2, Verdict.REJECT),
        (3, Verdict.PASS),
    ]
    assert states[-1] == ""


def test_a_follower_says_why_there_is_nothing(lines: Lines, tmp_path: Path) -> None:
    plant = plant_in(tmp_path / "plant")
    tls = TlsFiles(plant.paths)
    line = lines.make(tls=tls, door=Door(tls))  # type: ignore[arg-type]
    states: list[str] = []
    camera = plant.client(plant.camera("cell", "cam1")).credentials()
    refused = Follower(line.server.address, "a", print, states.append, camera)
    wait_for(lambda: bool(states), "the refusal")
    refused.close()
    assert states == ['PERMISSION_DENIED: the certificate of "cell" has no role: reading needs viewer or a higher one']
    away, _, told = follow(line, "127.0.0.1:1")
    wait_for(lambda: bool(told), "the failure")
    away.close()
    assert "UNAVAILABLE" in told[0]
