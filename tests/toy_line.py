"""A pipeline with a toy model, a simulated PLC and a journal of its own, and what its cameras were told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from toys import TOY_LIMIT, toy_png

from inspector.errors import EngineError
from inspector.imaging.check import CheckSpec
from inspector.imaging.decode import DecodeLimits
from inspector.imaging.locate import NoLocation
from inspector.inference.batching import Batcher
from inspector.part import Frame, Inspection, Limits, PixelFormat, Scores
from inspector.pipeline import Pipeline
from inspector.records.evidence import EvidenceWriter
from inspector.records.images import ImageStore
from inspector.records.journal import Journal
from inspector.signalling.signal import StationState
from inspector.signalling.simulated import Published, SimulatedSignal, StationSet
from inspector.station import Recipe, Setup, Station, View

SIZE = 32


class BrightnessEngine:
    """Scores mean / 255; can be held, and can fail."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.fails = False
        self.broken_score = False

    def infer(self, batch: NDArray[np.uint8]) -> list[Scores]:
        self.entered.set()
        assert self.open.wait(10)
        if self.fails:
            raise EngineError("the toy fails")
        maps = batch[:, :, :, 0].astype(np.float32) / 255
        return [Scores(float("nan") if self.broken_score else float(m.mean()), m) for m in maps]


@dataclass
class Line:
    """A pipeline with its twins, and the replies that a camera got."""

    pipeline: Pipeline
    engine: BrightnessEngine
    batcher: Batcher
    signal: SimulatedSignal
    journal: Journal
    images: ImageStore
    evidence: EvidenceWriter
    replies: list[Inspection] = field(default_factory=list)
    owed: int = 0
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def reply(self, inspection: Inspection) -> None:
        with self.arrived:
            self.replies.append(inspection)
            self.arrived.notify_all()

    def send(self, trigger: int, value: int = 20, camera: str = "cam", **changes: object) -> int:
        """Show a part of one brightness; returns how many answers are owed."""
        data = toy_png(value, SIZE)
        frame = {
            "trigger": trigger,
            "pixel_format": PixelFormat.PNG,
            "width_px": 0,
            "height_px": 0,
            "stride_bytes": 0,
            "data": data,
        }
        owed = self.pipeline.submit(camera, Frame(**{**frame, **changes}), self.reply)  # type: ignore[arg-type]
        with self.arrived:
            self.owed += owed
        return owed

    def wait_replies(self, count: int) -> list[Inspection]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.replies) >= count, 10), (
                f"{len(self.replies)} of {count} replies"
            )
            return list(self.replies)

    def published(self) -> list[Inspection]:
        return [call.inspection for call in self.signal.calls if isinstance(call, Published)]

    def states(self) -> list[StationState]:
        return [call.state for call in self.signal.calls if isinstance(call, StationSet)]


Open = Callable[..., Line]


@contextmanager
def open_line(folder: Path, views: Sequence[str] = ("",), **changes: object) -> Iterator[Line]:
    """A station of the camera "cam", or of a camera for each of several views, named as the view. All share the engine."""
    engine = BrightnessEngine()
    journal = Journal.open(folder / "journal", "line", segment_bytes=1 << 16)
    images = ImageStore(folder / "images")
    evidence = EvidenceWriter(images, journal)
    signal = SimulatedSignal()
    view = View(
        name=views[0],
        bundle="toy@0123456789ab",
        classes=("anomaly",),
        limits=Limits(TOY_LIMIT, TOY_LIMIT),
        width_px=SIZE,
        height_px=SIZE,
        channels=1,
        location=NoLocation(),
        check=CheckSpec(min_mean=8.0),
    )
    batcher = Batcher(engine, max_batch=4, max_waiting=4096)
    recipe = Recipe(
        "toy", int(str(changes.pop("deadline_ms", 5000))), tuple(replace(view, name=name) for name in views)
    )
    setup = Setup(recipe, changes.pop("batchers", dict.fromkeys(views, batcher)), str(changes.pop("fault", "")))  # type: ignore[arg-type]
    other = Recipe("other", recipe.deadline_ms, tuple(replace(one, limits=Limits(0.01, 0.01)) for one in recipe.views))
    setups = {"toy": setup, "other": replace(setup, recipe=other)}
    cameras = {name: name or "cam" for name in views}
    station = {"name": "s", "cameras": cameras, "setups": setups, "first": "toy", "max_in_flight": 8, "max_gap": 100}
    pipeline = Pipeline(
        "line",
        [Station(**{**station, **changes})],  # type: ignore[arg-type]
        journal,
        [signal],
        evidence,
        decode_limits=DecodeLimits(1 << 20, 1 << 20),
    )
    line = Line(pipeline, engine, batcher, signal, journal, images, evidence)
    try:
        yield line
    finally:
        engine.open.set()
        pipeline.stop(5)
        batcher.close()
        evidence.stop(5)
        journal.close()
    assert len(line.replies) == line.owed, "every answer that was promised came, and none twice"


def check_agreement(line: Line, triggers: list[int]) -> None:
    """Exactly one verdict per trigger, the same in reply, signal and journal, in one gapless sequence."""
    published = line.published()
    assert sorted(i.trigger for i in published) == triggers
    assert [i.sequence for i in published] == list(range(1, len(triggers) + 1))
    assert [i.station_sequence for i in published] == list(range(1, len(triggers) + 1))
    assert list(line.journal.replay(0)) == published
    assert {i.trigger: i for i in line.replies} == {i.trigger: i for i in published}
