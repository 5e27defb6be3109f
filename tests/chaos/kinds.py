"""What a kind of fault is, and what all of them do. The kinds themselves are in the modules `*_kinds`.

Every kind returns how many faults took effect, seen in the verdicts or the processes, so that none counts that only might
have happened.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chaos import pictures
from chaos.camera import Camera, CannotMeasure
from chaos.line import Line

# A kind gives up after this many tries per fault that took effect.
TRIES = 10


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault, as the report names it, and how `count` of them are done to a line.

    `most` bounds the count of those that take long; those that are not `quick` are left to `make chaos`.
    """

    name: str
    run: Callable[[Line, random.Random, int], int]
    most: int = 1000
    quick: bool = True


def send_sound(camera: Camera, kind: str, rng: random.Random, count: int) -> None:
    """Frames that can be judged, good and defective."""
    for _ in range(count):
        camera.send(kind, pictures.sound(rng))


def come_to_rest(camera: Camera, rng: random.Random) -> None:
    """Every frame answered, reconnecting as often as it takes."""
    for _ in range(TRIES):
        if not camera.connected:
            camera.recover(rng)
        if camera.settle() and camera.connected:
            return
    raise CannotMeasure(f"camera of {camera.station} gets no answers")


def finish(camera: Camera, kind: str, rng: random.Random) -> None:
    """One last sound frame, after which every trigger before it is known to the line."""
    come_to_rest(camera, rng)
    camera.send(kind, pictures.sound(rng))
    come_to_rest(camera, rng)


def clear_up(cameras: Iterable[Camera], rng: random.Random) -> None:
    """The fault is over: all that it may have touched is answered, and it excuses nothing any more."""
    for camera in cameras:
        come_to_rest(camera, rng)
        camera.weather(())
