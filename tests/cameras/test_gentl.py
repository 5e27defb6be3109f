"""GenTL cameras by harvesters: a twin of its classes plays what the producer at hand does not do, and its shape is theirs."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspector.cameras.sources import gentl
from inspector.cameras.sources.gentl import GentlSource, discover
from inspector.cameras.sources.source import Grab, Lost, Taken
from inspector.errors import SourceError
from inspector.part import PixelFormat

core = pytest.importorskip("harvesters.core", reason='the extra "gentl" is not installed')
gentl_api = pytest.importorskip("genicam.gentl")


@dataclass
class Node:
    """A feature; `steps` rounds what is written, as cameras do."""

    now: Any
    steps: float = 0.0

    @property
    def value(self) -> Any:
        return self.now

    @value.setter
    def value(self, value: Any) -> None:
        if isinstance(value, str) != isinstance(self.now, str):
            raise ValueError("another type")
        self.now = round(value / self.steps) * self.steps if self.steps else value


def node_map() -> SimpleNamespace:
    sizes = {name: Node(value) for name, value in (("Width", 64), ("Height", 48), ("OffsetX", 0), ("OffsetY", 0))}
    triggers = {name: Node("Off") for name in ("TriggerMode", "TriggerSelector", "TriggerSource", "TriggerActivation")}
    rest = {"ExposureTime": Node(100.0, 0.5), "Gain": Node(0.0), "AcquisitionFrameRate": Node(30.0)}
    return SimpleNamespace(PixelFormat=Node("Mono8"), TriggerDelay=Node(0.0), **sizes, **triggers, **rest)


@dataclass
class Twin:
    """Plays `Harvester`, its acquirer and its buffers: what each fetch gives, an error, or None for nothing in time."""

    script: list[Any] = field(default_factory=list)
    nodes: SimpleNamespace = field(default_factory=node_map)
    queued: int = 0
    calls: list[str] = field(default_factory=list)
    num_buffers: int = 0
    tl_type: str = "GEV"
    Events = core.ImageAcquirer.Events

    def add_file(self, path: str) -> None:
        self.calls.append(f"add_file {Path(path).name}")

    def update(self) -> None:
        self.calls.append("update")

    def reset(self) -> None:
        self.calls.append("reset")

    def create(self, search_key: dict[str, str]) -> Twin:
        if search_key != {"id_": "cam"}:
            raise ValueError("no device found: provide sufficient search key")
        return self

    @property
    def device_info_list(self) -> list[SimpleNamespace]:
        about = {"id_": "cam", "vendor": "Maker", "model": "M1", "tl_type": self.tl_type, "parent": self}
        return [SimpleNamespace(**about)]

    @property
    def remote_device(self) -> SimpleNamespace:
        return SimpleNamespace(node_map=self.nodes)

    def add_callback(self, event: Any, callback: Any) -> None:
        assert event is core.ImageAcquirer.Events.INCOMPLETE_BUFFER
        self.incomplete = callback

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def destroy(self) -> None:
        self.calls.append("destroy")

    def fetch(self, *, timeout: float) -> Any:
        one = self.script.pop(0)
        if one == "incomplete":
            self.incomplete.emit(self)
            one = None
        if one is None:
            raise gentl_api.TimeoutException("nothing in time")
        if isinstance(one, Exception):
            raise one
        return one

    def queue(self) -> None:
        self.queued += 1

    def buffer(self, number: int, grey: int = 7, width: int = 64, pixel_format: str = "Mono8", parts: int = 1) -> Any:
        data = np.full(width * 48, grey, np.uint8)
        picture = SimpleNamespace(width=width, height=48, data_format=pixel_format, data=data)
        payload = SimpleNamespace(components=[picture] * parts)
        module = SimpleNamespace(frame_id=number)
        return SimpleNamespace(module=module, timestamp_ns=number * 1000, payload=payload, queue=self.queue)


@pytest.fixture
def producer(tmp_path: Path) -> Path:
    path = tmp_path / "vendor.cti"
    path.touch()
    return path


def played(twin: Twin, producer: Path, count: int, **options: object) -> tuple[list[Grab], GentlSource]:
    source = GentlSource(lambda: twin, producer=producer, device="cam", **options)
    source.open()
    found: list[Grab] = []
    grabs: Iterator[Grab | None] = source.grabs()
    while len(found) < count:
        grab = next(grabs)
        found += [] if grab is None else [grab]
    source.close()
    return found, source


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        ("Harvester", "add_file", {"file_path"}),
        ("Harvester", "update", set()),
        ("Harvester", "create", {"search_key"}),
        ("Harvester", "reset", set()),
        ("ImageAcquirer", "fetch", {"timeout"}),
        ("ImageAcquirer", "start", set()),
        ("ImageAcquirer", "stop", set()),
        ("ImageAcquirer", "destroy", set()),
        ("ImageAcquirer", "add_callback", {"event", "callback"}),
        ("Buffer", "queue", set()),
    ],
)
def test_the_twin_has_the_shape_of_harvesters(owner: str, name: str, parameters: set[str]) -> None:
    own = inspect.signature(getattr(getattr(core, owner), name)).parameters
    assert parameters <= set(own)
    needed = {key for key, one in own.items() if one.default is one.empty and key != "self"}
    assert needed <= parameters


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (core.ImageAcquirer, ("num_buffers", "remote_device", "Events")),
        (core.Harvester, ("device_info_list",)),
        (core.Buffer, ("payload", "timestamp_ns", "module")),
        (core.Payload, ("components",)),
        (core.Component2DImage, ("width", "height", "data_format", "data")),
        (gentl_api.Buffer, ("frame_id",)),
    ],
)
def test_what_is_read_of_harvesters_is_there(owner: type, names: tuple[str, ...]) -> None:
    assert all(hasattr(owner, name) for name in names)
    assert issubclass(gentl._Counting, object)
    assert {"emit"} <= set(dir(core.Callback))


def test_frames_and_losses_come_in_order(producer: Path) -> None:
    twin = Twin()
    twin.script = [
        twin.buffer(1),
        None,
        twin.buffer(2, 9),
        twin.buffer(5),
        "incomplete",
        twin.buffer(7),
        twin.buffer(8),
    ]
    grabs, source = played(twin, producer, 7, region=(8, 0, 64, 48), exposure_us=100.2, pixel_format="Mono8")
    kinds = [(type(grab).__name__, getattr(grab, "count", grab.origin)) for grab in grabs]
    assert kinds == [
        ("Taken", "frame 1"),
        ("Taken", "frame 2"),
        ("Lost", 2),
        ("Taken", "frame 5"),
        ("Lost", 1),
        ("Taken", "frame 7"),
        ("Taken", "frame 8"),
    ]
    frame = grabs[1].frame if isinstance(grabs[1], Taken) else None
    assert frame is not None
    assert (frame.pixel_format, frame.width_px, frame.height_px, frame.stride_bytes) == (PixelFormat.MONO8, 64, 48, 64)
    assert set(frame.data) == {9}
    assert twin.queued == 5, "every buffer went back"
    assert twin.calls == ["add_file vendor.cti", "update", "start", "stop", "destroy", "reset"]
    assert (twin.num_buffers, twin.nodes.OffsetX.value, twin.nodes.TriggerMode.value) == (21, 8, "Off")
    assert "exposure_us 100" in source.describe()
    assert source.rate_hz == 30.0


@pytest.mark.parametrize(("tl_type", "lost"), [("GEV", [2]), ("U3V", [3]), ("CXP", [])])
def test_frames_lost_right_after_the_start_are_a_gap(producer: Path, tl_type: str, lost: list[int]) -> None:
    twin = Twin(tl_type=tl_type)
    twin.script = [twin.buffer(3), twin.buffer(4)]
    grabs, _ = played(twin, producer, 2 + len(lost))
    assert [grab.count for grab in grabs if isinstance(grab, Lost)] == lost
    assert all("was the first to arrive since the start" in one.why for one in grabs if isinstance(one, Lost))


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_clock_of_this_computer_that_is_set_moves_no_frame(
    producer: Path, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    """As NTP does: frames are matched to parts by when they were exposed, and records have the time of day as it is now."""
    twin, began_s = Twin(), time.monotonic()
    twin.script = [twin.buffer(number) for number in range(1, 21)]

    def time_ns() -> int:
        return time.time_ns() + (step_s * 1_000_000_000 if len(twin.script) < 10 else 0)

    stepped = SimpleNamespace(monotonic=time.monotonic, monotonic_ns=time.monotonic_ns, time_ns=time_ns)
    monkeypatch.setattr(gentl, "time", stepped)
    grabs, _ = played(twin, producer, 20)
    for number, grab in enumerate(grabs, 1):
        assert isinstance(grab, Taken)
        assert grab.exposed_s is not None
        assert began_s - 1 < grab.exposed_s <= time.monotonic()
        assert grab.frame.capture_time is not None
        off_s = (grab.frame.capture_time - datetime.now(UTC)).total_seconds()
        assert off_s == pytest.approx(step_s if number > 10 else 0, abs=10)


def test_it_runs_on_and_at_the_rate_that_was_asked_for(producer: Path) -> None:
    """Many cameras come set to one frame at a time, and take no rate until that is enabled."""
    twin = Twin()
    twin.nodes.AcquisitionMode, twin.nodes.AcquisitionFrameRateEnable = Node("SingleFrame"), Node(False)
    twin.script = [twin.buffer(1)]
    played(twin, producer, 1, rate_hz=20.0)
    assert twin.nodes.AcquisitionMode.value == "Continuous"
    assert twin.nodes.AcquisitionFrameRateEnable.value is True
    assert twin.nodes.AcquisitionFrameRate.value == 20.0


def test_a_camera_that_runs_freely_and_gives_nothing_is_gone(producer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(100.0, 0.5)
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    twin = Twin([None] * 40)
    with pytest.raises(SourceError, match=r"runs freely and gave nothing for 10\.0 s"):
        played(twin, producer, 1)
    twin = Twin()
    twin.script = [twin.buffer(1), *[None] * 40]
    with pytest.raises(SourceError, match=r"runs freely and gave nothing for 2\.0 s"):
        played(twin, producer, 2)


def test_a_camera_whose_frames_are_all_incomplete_is_not_silent(
    producer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = itertools.count(100.0, 0.1)
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    found, source = played(Twin(["incomplete"] * 200), producer, 200)
    assert all(isinstance(grab, Lost) and grab.count == 1 for grab in found)
    (lost,) = source._absence.told(30.0)
    assert lost.count < 10, "those were told"


def test_a_trigger_is_set_and_its_rate_is_not_known(producer: Path) -> None:
    twin = Twin()
    twin.script = [twin.buffer(1)]
    _, source = played(twin, producer, 1, trigger_source="Line1", trigger_activation="RisingEdge", trigger_delay_us=5.0)
    nodes = twin.nodes
    assert (nodes.TriggerMode.value, nodes.TriggerSource.value, nodes.TriggerDelay.value) == ("On", "Line1", 5.0)
    assert source.rate_hz is None


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        pytest.param({"width": 32}, "the frame is 32 × 48 Mono8 and the camera was set to 64 × 48 Mono8", id="size"),
        pytest.param({"pixel_format": "Mono12p"}, "Mono12p", id="format"),
        pytest.param({"parts": 2}, "the frame has 2 parts", id="parts"),
        pytest.param({"parts": 0}, "the frame has 0 parts", id="empty"),
    ],
)
def test_frames_that_are_not_as_the_camera_was_set_are_gaps(producer: Path, odd: dict[str, Any], says: str) -> None:
    twin = Twin()
    twin.script = [twin.buffer(1), twin.buffer(2, **odd), twin.buffer(3)]
    grabs, _ = played(twin, producer, 3)
    assert isinstance(grabs[1], Lost)
    assert says in grabs[1].why


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"device": "other"}, "cannot be opened by .*no device found", id="not there"),
        pytest.param({"features": {"Gamma": 1.0}}, "has no feature Gamma", id="no such feature"),
        pytest.param({"pixel_format": "Mono12p"}, "gives Mono12p, which the service does not take", id="format"),
        pytest.param({"features": {"Width": "wide"}}, "choose a value that the camera takes", id="another type"),
        pytest.param({"producer": Path("/no/such.cti")}, "name the .cti file", id="no producer"),
    ],
)
def test_what_it_does_not_take_is_told(producer: Path, options: dict[str, Any], says: str) -> None:
    made = GentlSource(Twin, **{"producer": producer, "device": "cam", **options})
    with closing(made) as source, pytest.raises(SourceError, match=says):
        source.open()


def test_a_camera_that_vanishes_is_opened_again_and_the_gap_is_told(producer: Path) -> None:
    twin = Twin()
    source = GentlSource(lambda: twin, producer=producer, device="cam")
    twin.script = [twin.buffer(1), gentl_api.IoException("the cable is out")]
    source.open()
    grabs = source.grabs()
    next(grabs)
    with pytest.raises(SourceError, match="does not answer any more: the cable is out"):
        next(grabs)
    source.close()
    source.open()
    twin.script = [twin.buffer(1)]
    away, frame = itertools.islice(source.grabs(), 2)
    assert isinstance(away, Lost)
    assert isinstance(frame, Taken)


def test_cameras_are_found() -> None:
    (found,) = discover([Path("vendor.cti")], Twin)
    assert (found.kind, found.device, found.model) == ("gentl", "cam", "Maker M1 (GEV)")


def test_without_harvesters_the_next_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "harvesters.core", None)
    with pytest.raises(SourceError, match=r'install the extra "gentl"'):
        gentl.harvester()
