"""Faults of the service's process: told to stop, killed, frozen, its clock set."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable

from chaos import pictures
from chaos.account import Fault
from chaos.camera import TIMEOUT_S, Feeder
from chaos.clock import Clock
from chaos.kinds import TRIES, Kind, clear_up, finish
from chaos.line import Line
from chaos.processes import pause, wait_for

from inspector.part import Reason

AGAIN = "duplicate trigger after a restart"
_STOPPING = frozenset({Reason.SERVICE_STOPPING})
_RESTARTED = frozenset({Reason.SERVICE_RESTARTED})
_HOUR_S = 3600
_STEPS_S = (_HOUR_S, -_HOUR_S, 24 * _HOUR_S, -24 * _HOUR_S, 30 * 24 * _HOUR_S, -30 * 24 * _HOUR_S)


def stops(line: Line, rng: random.Random, count: int) -> int:
    """SIGTERM with parts in flight, and a new start."""
    return _restarts(line, rng, count, "server stopped with parts in flight", _STOPPING, line.terminate)


def kills(line: Line, rng: random.Random, count: int) -> int:
    """kill -9 at any moment, now and then again while the service starts."""

    def kill() -> None:
        line.kill()
        while rng.random() < 0.2:
            line.start()
            pause(rng.random() * 1.5)
            line.kill()

    return _restarts(line, rng, count, "kill -9 and restart", _RESTARTED, kill)


def _restarts(
    line: Line, rng: random.Random, count: int, kind: str, weather: frozenset[Reason], end: Callable[[], None]
) -> int:
    done = 0
    for _ in range(count * TRIES):
        done += _restart(line, rng, kind, weather, end)
        if done >= count:
            break
    fast, slow = line.cameras["fast"], line.cameras["slow"]
    for camera in (fast, slow):
        finish(camera, kind, rng)
    return done


def _restart(line: Line, rng: random.Random, kind: str, weather: frozenset[Reason], end: Callable[[], None]) -> bool:
    """End the service under load, start it again and ask for old parts again; whether parts were in flight."""
    fast, slow = line.cameras["fast"], line.cameras["slow"]
    known = [fast.send(AGAIN, pictures.sound(rng)) for _ in range(rng.randint(1, 3))]
    fast.settle()
    # A part that finds the slow station full is refused: a fault of this load, not of the restart.
    slow.weather({Reason.QUEUE_FULL})
    with Feeder(fast, kind, pictures.sound, rng, 0.02) as feeder, Feeder(slow, kind, pictures.sound, rng, 0.03):
        feeder.wait_sent(rng.randint(1, 40))
        pause(rng.random() * 0.02)
        fast.weather(weather)
        slow.weather(weather | {Reason.QUEUE_FULL})
        before = {camera: camera.reconnects for camera in (fast, slow)}
        in_flight = bool(line.ledger.unanswered("slow") or line.ledger.unanswered("fast"))
        end()
        with line.silence(kind):
            line.start()
            wait_for(lambda: all(camera.reconnects > n for camera, n in before.items()), "cameras do not come back")
    clear_up((fast, slow), rng)
    for trigger in known:
        fast.send_again(trigger, pictures.defective(rng)[0] if rng.random() < 0.5 else None)
        if not line.ledger.wait_replies(("fast", trigger), TIMEOUT_S):
            break  # the account tells of the missing reply
    return in_flight


def freezes(line: Line, rng: random.Random, count: int) -> int:
    """SIGSTOP for up to three seconds, while parts go on coming."""
    kind, fast, slow = "service frozen (SIGSTOP)", line.cameras["fast"], line.cameras["slow"]
    for number in range(count):
        for camera in (fast, slow):
            # What waited in the sockets comes all at once.
            camera.weather({Reason.QUEUE_FULL})
        # Some 13 parts a second and station: what comes all at once must fit into the PLC's ring.
        with Feeder(fast, kind, pictures.sound, rng, 0.15) as feeder, Feeder(slow, kind, pictures.sound, rng, 0.15):
            feeder.wait_sent(rng.randint(1, 20))
            assert line.service is not None
            with line.silence(kind), line.service.frozen():
                pause(rng.uniform(1.5, 3) if number % 2 == 0 else rng.uniform(0, 0.8))
                if number % 2 == 0 and _mbpoll_reads(line.modbus_port):
                    line.complain(Fault("untold", kind, ("fast", 0), "mbpoll reads a heartbeat of a frozen service"))
            feeder.wait_sent(rng.randint(1, 20))
        clear_up((fast, slow), rng)
    for camera in (fast, slow):
        finish(camera, kind, rng)
    return count


def _mbpoll_reads(port: int) -> bool:
    """Whether a client that nobody here wrote still gets the heartbeat register; False if it is not installed."""
    mbpoll = shutil.which("mbpoll")
    if mbpoll is None:
        return False
    command = [mbpoll, "-1", "-q", "-0", "-a", "1", "-p", str(port), "-r", "2", "-t", "3", "-o", "0.5", "127.0.0.1"]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=20).returncode == 0


def clock_steps(line: Line, rng: random.Random, count: int, clock: Clock) -> int:
    """The service's wall clock is set, forth and back, by up to 30 days: no deadline and no number may follow it."""
    kind, camera = "clock set", line.cameras["fast"]
    with Feeder(camera, kind, pictures.sound, rng, 0.02) as feeder:
        for _ in range(count):
            feeder.wait_sent(rng.randint(1, 10))
            step_s = rng.choice([step_s for step_s in _STEPS_S if abs(step_s - clock.step_s) >= _HOUR_S])
            before_s = line.ledger.decided_s("fast") - clock.step_s
            clock.step(step_s)
            wait_for(
                lambda at_s=before_s + step_s: abs(line.ledger.decided_s("fast") - at_s) < _HOUR_S / 2,
                "the verdicts' times do not follow the clock",
            )
    clock.step(0)
    finish(camera, kind, rng)
    return count


RESTARTS = (
    Kind("server stopped with parts in flight", stops),
    Kind("kill -9 and restart", kills),
    Kind("service frozen (SIGSTOP)", freezes),
)
