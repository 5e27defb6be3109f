"""Faults of cameras and their frames, and loads that the line cannot carry."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from chaos import pictures
from chaos.cable import Cable
from chaos.camera import TIMEOUT_S, Camera
from chaos.kinds import TRIES, Kind, finish, send_sound
from chaos.line import Line
from chaos.processes import wait_for

from inspector.part import Reason

_MISSING = frozenset({Reason.MISSING_VIEW})

# Faults of the camera and its frames


def corrupt_frames(line: Line, rng: random.Random, count: int) -> int:
    """Damaged and lying frames between sound ones."""
    camera, first = line.cameras["fast"], line.cameras["fast"].count + 1
    for _ in range(count):
        send_sound(camera, "corrupt frame", rng, rng.randrange(3))
        camera.send("corrupt frame", pictures.corrupt(rng))
    finish(camera, "corrupt frame", rng)
    told = line.ledger.reasons("fast", first).values()
    return sum(reason in (Reason.FRAME_INVALID, Reason.FRAME_TOO_LARGE) for reason in told)


def garbled_messages(line: Line, rng: random.Random, count: int) -> int:
    """Bytes on the stream that are no message: the stream may end, its parts keep their verdicts."""
    camera, done = line.cameras["fast"], 0
    for _ in range(count):
        send_sound(camera, "garbled message", rng, rng.randrange(6))
        # Field number 0 is invalid in every protobuf message.
        data = rng.choice((b"\x00", b"\x07", b"\x12\xff\xff\xff\x7f")) + rng.randbytes(rng.randrange(100))
        camera.send_garbage("garbled message", data, pictures.sound(rng))
        wait_for(lambda: not camera.connected, "the service goes on after bytes that are no message")
        camera.recover(rng)
        done += 1
    finish(camera, "garbled message", rng)
    return done


def gaps(line: Line, rng: random.Random, count: int) -> int:
    """Triggers whose frames never come; the trigger after them tells."""
    camera = line.cameras["fast"]
    for _ in range(count):
        send_sound(camera, "gap in the triggers", rng, rng.randrange(3))
        camera.skip("gap in the triggers", rng.choice((1, 1, 2, 3, rng.randint(4, 150))))
        send_sound(camera, "gap in the triggers", rng, 1)
        camera.settle()
    finish(camera, "gap in the triggers", rng)
    return count


def duplicates(line: Line, rng: random.Random, count: int) -> int:
    """Numbers that come twice or more, in flight and long after, with their own frame or one that would be judged otherwise."""
    kind = "duplicate trigger"
    camera = line.cameras["slow"]
    first = camera.count + 1
    for _ in range(count):
        trigger = camera.send(kind, pictures.sound(rng))
        other = pictures.defective(rng)[0] if rng.random() < 0.5 else None
        for _ in range(rng.randint(1, 3)):
            camera.send_again(trigger, other)
        if rng.random() < 0.5:
            camera.settle()
            camera.send_again(rng.randint(first, trigger), pictures.corrupt(rng)[0] if rng.random() < 0.5 else None)
        camera.settle()
    finish(camera, kind, rng)
    for trigger in range(first, camera.count + 1):
        line.ledger.wait_replies(("slow", trigger), TIMEOUT_S)
    return count


def disorder(line: Line, rng: random.Random, count: int) -> int:
    """Frames that overtake each other: what was overtaken counts as skipped, whatever its late frame shows."""
    kind, camera, done = "frames out of order", line.cameras["fast"], 0
    for _ in range(count * TRIES):
        send_sound(camera, kind, rng, rng.randrange(3))
        first, order = camera.count + 1, list(range(rng.randint(2, 5)))
        rng.shuffle(order)
        for trigger in (first + place for place in order):
            if trigger > camera.count:
                camera.skip(kind, trigger - camera.count - 1)
                camera.send(kind, pictures.sound(rng))
            else:
                camera.send_again(trigger, pictures.sound(rng)[0])
                done += 1
        camera.settle()
        if done >= count:
            break
    finish(camera, kind, rng)
    return done


def disconnects(line: Line, rng: random.Random, count: int) -> int:
    """The camera's call is cancelled, or its cable pulled, with parts in flight."""
    kind, camera, done = "client disconnects mid-part", line.cameras["slow"], 0
    with _cable_of(line, camera) as cable:
        for _ in range(count * TRIES):
            # With as many still in flight of the stream before, whose replies were forgotten, the station is just not full.
            send_sound(camera, kind, rng, rng.randint(1, 4))
            line.ledger.wait_answered("slow", TIMEOUT_S, at_most=rng.randint(0, 4))
            done += bool(line.ledger.unanswered("slow"))
            if rng.random() < 0.5:
                camera.cut()
            else:
                cable.cut()
                wait_for(lambda: not camera.connected, "the camera does not see that its cable is pulled")
            camera.recover(rng)
            camera.settle()
            if done >= count:
                break
    finish(camera, kind, rng)
    return done


def half_open_cameras(line: Line, rng: random.Random, count: int) -> int:
    """The camera's host dies without a word, with parts in flight. The camera gets its place back when that is noticed."""
    kind, camera = "camera half-open", line.cameras["slow"]
    with _cable_of(line, camera) as cable:
        for _ in range(count):
            send_sound(camera, kind, rng, rng.randint(1, 4))
            cable.lose()
            camera.cut()
            camera.recover(rng)
            camera.settle()
    finish(camera, kind, rng)
    return count


def killed_views(line: Line, rng: random.Random, count: int) -> int:
    """One of the two cameras of a station is killed: no part that it did not see may pass, and those after it are judged."""
    kind, top, side = "one view's camera killed", line.cameras["views"], line.view_cameras["views"]["side"]
    for _ in range(count):
        for _ in range(rng.randint(1, 4)):
            _send_both(line, kind, rng)
        side.cut()
        for _ in range(rng.randint(1, 4)):
            frame, reasons = pictures.sound(rng)
            # A view that rejects needs no other; what passes in one view waits for the other, in vain.
            trigger = top.send(kind, (frame, reasons if reasons == pictures.BAD else _MISSING))
            line.ledger.skipped(("views", trigger))
        if rng.random() < 0.5:
            top.settle()
        side.count = top.count
        side.connect()
        _send_both(line, kind, rng)
        top.settle()
    return count


def _send_both(line: Line, kind: str, rng: random.Random) -> None:
    """A part in two views, which is good if both are; waits until both cameras are told."""
    top, side = line.cameras["views"], line.view_cameras["views"]["side"]
    looks = pictures.sound(rng), pictures.sound(rng)
    together = pictures.GOOD if all(reasons == pictures.GOOD for _, reasons in looks) else pictures.BAD
    trigger = top.send(kind, (looks[0][0], together))
    side.send_view(trigger, (looks[1][0], together))
    line.ledger.wait_replies(("views", trigger), TIMEOUT_S)


@contextmanager
def _cable_of(line: Line, camera: Camera) -> Iterator[Cable]:
    """While the context lasts the camera streams through a cable."""
    cable = Cable(line.grpc_port)
    camera.hang_up()
    camera.target = f"127.0.0.1:{cable.port}"
    camera.connect()
    try:
        yield cable
    finally:
        camera.hang_up()
        cable.close()
        camera.target = line.target
    camera.connect()


# Faults of model and load


def model_exceptions(line: Line, rng: random.Random, count: int) -> int:
    """Images on which the graph raises, in batches with others that it can judge."""
    camera, first = line.cameras["fast"], line.cameras["fast"].count + 1
    for _ in range(count):
        send_sound(camera, "model exception", rng, rng.randrange(4))
        camera.send("model exception", pictures.fatal(rng))
        send_sound(camera, "model exception", rng, rng.randrange(4))
    finish(camera, "model exception", rng)
    return sum(reason is Reason.MODEL_FAILED for reason in line.ledger.reasons("fast", first).values())


def full_queues(line: Line, rng: random.Random, count: int) -> int:
    """Bursts of more parts than the station holds."""
    kind, camera, done = "queue full", line.cameras["slow"], 0
    for _ in range(count * TRIES):
        first = camera.count + 1
        camera.weather({Reason.QUEUE_FULL})
        send_sound(camera, kind, rng, rng.randint(9, 30))
        camera.settle()
        camera.weather(())
        done += Reason.QUEUE_FULL in line.ledger.reasons("slow", first).values()
        if done >= count:
            break
    finish(camera, kind, rng)
    return done


def late_parts(line: Line, rng: random.Random, count: int) -> int:
    """Bursts that the model cannot judge within the recipe's budget."""
    kind, camera, done = "deadline passed", line.cameras["tight"], 0
    late = {Reason.DEADLINE_EXCEEDED, Reason.OVERLOADED}
    camera.weather(late)
    for _ in range(count * TRIES):
        first = camera.count + 1
        send_sound(camera, kind, rng, rng.randint(1, 20))
        camera.settle()
        done += not late.isdisjoint(line.ledger.reasons("tight", first).values())
        if done >= count:
            break
    finish(camera, kind, rng)
    return done


CAMERA = (
    Kind("corrupt frame", corrupt_frames),
    Kind("garbled message", garbled_messages),
    Kind("gap in the triggers", gaps),
    Kind("duplicate trigger", duplicates),
    Kind("frames out of order", disorder),
    Kind("client disconnects mid-part", disconnects),
    # The service takes up to 15 s to give up a host that says nothing.
    Kind("camera half-open", half_open_cameras, most=4, quick=False),
    Kind("model exception", model_exceptions),
    Kind("queue full", full_queues),
    Kind("deadline passed", late_parts),
)
VIEWS_KIND = Kind("one view's camera killed", killed_views)
