"""GenTL cameras by a producer that nobody here wrote: the one that comes with the package `genicam`, a game with three devices.

Each device plays at a rate of its own, numbers its frames, has no clock and cannot move its region.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from camera_line import PATIENCE_S, entries, is_said, line_file, process, recorded
from rpc_line import wait_for

from inspector.cameras.sources.gentl import GentlSource, discover
from inspector.cameras.sources.source import Grab, Taken
from inspector.errors import SourceError
from inspector.part import PixelFormat

genicam = pytest.importorskip("genicam", reason='the extra "gentl" is not installed')
PRODUCER = Path(genicam.__file__).parent / "viky.cti"
DEVICE = "VikyTL_DEV_red"


@pytest.fixture
def source(request: pytest.FixtureRequest) -> Iterator[GentlSource]:
    options: dict[str, Any] = {"device": DEVICE, "pixel_format": "Mono8", "rate_hz": 100.0} | request.param
    with closing(GentlSource(producer=PRODUCER, **options)) as made:
        yield made


def taken(source: GentlSource, count: int) -> list[Grab]:
    return list(islice((grab for grab in source.grabs() if grab is not None), count))


def test_its_devices_are_found() -> None:
    found = discover([PRODUCER])
    assert [one.device for one in found] == [f"VikyTL_DEV_{colour}" for colour in ("blue", "green", "red")]
    assert all("Viky" in one.model for one in found)


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        pytest.param({}, (400, 400), id="as it is"),
        pytest.param({"region": (0, 0, 320, 200)}, (320, 200), id="a region at 0, 0"),
        pytest.param({"features": {"BouncingBallSize": 9}}, (400, 400), id="a feature of its own"),
        pytest.param({"trigger_number": "count"}, (400, 400), id="counted, not by frame id"),
    ],
    indirect=["source"],
)
def test_frames_come_whole_and_none_is_lost(source: GentlSource, shape: tuple[int, int]) -> None:
    source.open()
    for grab in taken(source, 60):
        assert isinstance(grab, Taken), grab
        frame = grab.frame
        assert (frame.width_px, frame.height_px, frame.pixel_format) == (*shape, PixelFormat.MONO8)
        assert len(frame.data) == shape[0] * shape[1]


@pytest.mark.parametrize("source", [{}], indirect=True)
def test_it_is_stopped_and_opened_again(source: GentlSource) -> None:
    for _ in range(3):
        source.open()
        assert all(isinstance(grab, Taken) for grab in taken(source, 10)[1:])
        source.close()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param(
            {"pixel_format": ""}, "gives RGBa8, which the service does not take: set pixel_format", id="as it is"
        ),
        pytest.param({"pixel_format": "Mono16"}, "choose a value that the camera takes", id="a format it lacks"),
        pytest.param({"exposure_us": 100.0}, "no feature ExposureTime", id="a feature it lacks"),
        pytest.param({"region": (8, 0, 320, 200)}, "no feature OffsetX", id="a region it cannot move to"),
        pytest.param({"region": (0, 0, 10**9, 200)}, "choose a value that the camera takes", id="a huge region"),
        pytest.param({"trigger_source": "Line0"}, "the camera has no trigger", id="no trigger"),
        pytest.param({"device": "VikyTL_DEV_mauve"}, "cannot be opened", id="another device"),
    ],
    indirect=["source"],
)
def test_what_it_does_not_take_is_told(source: GentlSource, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        source.open()


def foreign(path: Path, kind: str) -> Path:
    """A file that is no producer."""
    if kind == "library":
        path.write_bytes(Path(genicam.__file__).with_name("libLog_gcc8_v3_5.so").read_bytes())
    elif kind != "missing":
        path.write_bytes({"empty": b"", "text": b"no library", "broken": b"\x7fELF" + bytes(60)}[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "is not there: name the .cti file"),
        ("empty", r"vendor\.cti cannot be loaded .*file too short.*: name the .cti file"),
        ("text", r"vendor\.cti cannot be loaded .*: name the .cti file"),
        ("broken", r"vendor\.cti cannot be loaded .*: name the .cti file"),
        ("library", r"vendor\.cti is no GenTL producer, it has no GCInitLib: name the .cti file"),
    ],
)
def test_a_file_that_is_no_producer_is_told(tmp_path: Path, kind: str, says: str) -> None:
    path = foreign(tmp_path / "vendor.cti", kind)
    with closing(GentlSource(producer=path, device=DEVICE)) as source, pytest.raises(SourceError, match=says):
        source.open()
    # The producer itself is not hurt by that.
    with closing(GentlSource(producer=PRODUCER, device=DEVICE, pixel_format="Mono8")) as source:
        source.open()


def test_cameras_are_found_beside_a_file_that_is_no_producer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    others = [foreign(tmp_path / f"{kind}.cti", kind) for kind in ("library", "text")]
    assert len(discover([others[0], PRODUCER, others[1]])) == 3
    assert "library.cti is no GenTL producer" in caplog.text
    assert "text.cti cannot be loaded" in caplog.text
    with pytest.raises(SourceError, match=r"library\.cti is no GenTL producer.*text\.cti cannot be loaded"):
        discover(others)


def test_cameras_of_one_producer_in_one_program_come_and_go() -> None:
    with closing(GentlSource(producer=PRODUCER, device=DEVICE, pixel_format="Mono8")) as one:
        one.open()
        for _ in range(2):
            with closing(GentlSource(producer=PRODUCER, device="VikyTL_DEV_blue", pixel_format="Mono8")) as other:
                other.open()
                # Nobody took the first one's frames meanwhile: that may be a gap.
                assert all(isinstance(taken(source, 10)[-1], Taken) for source in (one, other))
        assert isinstance(taken(one, 10)[-1], Taken)


def test_a_producer_by_two_paths_is_loaded_once_and_finds_what_is_plugged_in_later(tmp_path: Path) -> None:
    (tmp_path / "link.cti").symlink_to(PRODUCER)
    with closing(GentlSource(producer=PRODUCER, device=DEVICE, pixel_format="Mono8")) as one:
        one.open()
        one._harvester.device_info_list.clear()  # as if it alone had been there at the start
        about = {"device": "VikyTL_DEV_blue", "pixel_format": "Mono8"}
        with closing(GentlSource(producer=tmp_path / "link.cti", **about)) as other:
            other.open()
            assert other._harvester is one._harvester
            assert isinstance(taken(other, 5)[-1], Taken)
        assert isinstance(taken(one, 5)[-1], Taken)


def test_every_part_has_one_verdict_though_the_service_freezes_and_restarts(tmp_path: Path) -> None:
    camera = f"""
source = "gentl"
producer = "{PRODUCER}"
device = "{DEVICE}"
pixel_format = "Mono8"
rate_hz = 30.0
region = {{ width_px = 200, height_px = 200 }}
"""
    path = line_file(tmp_path, camera, deadline_ms=400, checks="max_saturated_share = 0")
    results = tmp_path / "results.jsonl"
    served, streamed = tmp_path / "serve.log", tmp_path / "camera.log"

    def judged(beyond: int) -> bool:
        return sum(entry["verdict"] in ("PASS", "REJECT") for entry in entries(results)[beyond:]) > 20

    with (
        process(served, "serve", str(path)) as service,
        process(streamed, "camera", "run", str(path), "--results", str(results)) as program,
    ):
        wait_for(lambda: judged(0), "parts to be judged", PATIENCE_S)
        service.send_signal(signal.SIGSTOP)
        wait_for(is_said(streamed, "the service is slower than the camera"), "frames without room", PATIENCE_S)
        service.send_signal(signal.SIGCONT)
        before = len(entries(results))
        wait_for(lambda: judged(before), "parts to be judged after the service froze", PATIENCE_S)
        said = streamed.read_text().count("trying again")
        service.kill()
        service.wait(30)
        wait_for(lambda: streamed.read_text().count("trying again") > said, "the camera to miss it", PATIENCE_S)
        before = len(entries(results))
        with process(served, "serve", str(path)):
            wait_for(lambda: judged(before), "parts to be judged by the restarted service", PATIENCE_S)
            program.send_signal(signal.SIGTERM)
            assert program.wait(30) == 0, streamed.read_text()
            told = entries(results)
            wait_for(lambda: len(recorded(path)) >= len(told), "all parts on record", PATIENCE_S)
    rows = {row.trigger: row for row in recorded(path)}
    assert sorted(entry["trigger"] for entry in told) == sorted(rows) == list(range(1, len(told) + 1))
    assert all(entry["verdict"] in (None, rows[entry["trigger"]].verdict.name) for entry in told)
