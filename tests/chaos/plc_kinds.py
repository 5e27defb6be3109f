"""Faults of the PLC and its cable: it reads nothing for a while, and must have missed nothing after it."""

from __future__ import annotations

import random

from chaos.camera import TIMEOUT_S
from chaos.kinds import Kind, come_to_rest, finish, send_sound
from chaos.line import Line
from chaos.processes import pause, wait_for

# Fewer than the 64 results that the ring holds.
_PARTS = 40


def frozen_plcs(line: Line, rng: random.Random, count: int) -> int:
    """The PLC stands still (SIGSTOP) while up to 40 parts pass."""
    kind = "PLC frozen (SIGSTOP)"
    for _ in range(count):
        with line.plcs["fast"].frozen():
            _pass_parts(line, kind, rng)
        _wait_read(line)
    finish(line.cameras["fast"], kind, rng)
    return count


def pulled_cables(line: Line, rng: random.Random, count: int) -> int:
    """The PLC's connection is reset, between requests or in one."""
    kind = "PLC's cable pulled"
    for _ in range(count):
        _pass_parts(line, kind, rng)
        line.plc_cable.cut()
        _pass_parts(line, kind, rng)
        _wait_read(line)
    finish(line.cameras["fast"], kind, rng)
    return count


def half_open_cables(line: Line, rng: random.Random, count: int) -> int:
    """The PLC's connection carries nothing any more, and nobody is told; a new one would."""
    kind = "PLC half-open"
    for _ in range(count):
        line.plc_cable.lose()
        _pass_parts(line, kind, rng)
        _wait_read(line)
    finish(line.cameras["fast"], kind, rng)
    return count


def dead_cables(line: Line, rng: random.Random, count: int) -> int:
    """Nothing comes through to the PLC for up to three seconds: it must reject by then."""
    kind = "PLC cut off"
    for _ in range(count):
        line.plc_cable.hold()
        try:
            with line.silence(kind):
                _pass_parts(line, kind, rng)
                pause(rng.uniform(0.2, 3))
        finally:
            line.plc_cable.release()
        _wait_read(line)
    finish(line.cameras["fast"], kind, rng)
    return count


def _pass_parts(line: Line, kind: str, rng: random.Random) -> None:
    send_sound(line.cameras["fast"], kind, rng, rng.randint(1, _PARTS // 2))
    come_to_rest(line.cameras["fast"], rng)


def _wait_read(line: Line) -> None:
    last = line.cameras["fast"].count
    wait_for(lambda: line.plcs["fast"].has_read(last), f"the PLC does not read trigger {last}", TIMEOUT_S)


PLCS = (
    Kind("PLC frozen (SIGSTOP)", frozen_plcs),
    Kind("PLC's cable pulled", pulled_cables),
    Kind("PLC half-open", half_open_cables),
    Kind("PLC cut off", dead_cables),
)
