"""A driver that nobody here wrote: `vivid`, the kernel's virtual camera, with its own faults. Skipped where it is not loaded.

As root: modprobe vivid n_devs=1 node_types=0x101 num_inputs=1 input_types=0
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from camera_line import entries, line_file, process, recorded
from rpc_line import wait_for

from inspector.cameras.sources.source import Grab, Lost, Taken
from inspector.cameras.sources.v4l2 import V4l2Source, discover
from inspector.errors import SourceError
from inspector.imaging.decode import decode
from inspector.imaging.guard import DecodeLimits

DEVICES = [found for found in discover() if found.model == "vivid" or found.model.startswith("vivid-")]
DRIVER = Path("/sys/bus/platform/drivers/vivid")
pytestmark = pytest.mark.skipif(not DEVICES, reason="the kernel's virtual camera is not here: modprobe vivid (as root)")


def source_of(**options: Any) -> V4l2Source:
    return V4l2Source(DEVICES[0].device, **options)


def press(control: str, value: int = 1) -> None:
    """Set one of vivid's faults, as from outside."""
    subprocess.run(["v4l2-ctl", "-d", DEVICES[0].device, "-c", f"{control}={value}"], check=True)


def first(source: V4l2Source, count: int) -> list[Grab]:
    """Opens it, and closes it after so many."""
    source.open()
    grabs = (grab for grab in source.grabs() if grab is not None)
    told = list(islice(grabs, count))
    source.close()
    return told


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    press("percentage_of_dropped_buffers", 0)
    yield
    press("percentage_of_dropped_buffers", 0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"width_px": 320, "height_px": 180, "input_format": "YUYV", "rate_hz": 10.0},
        {"width_px": 320, "height_px": 180, "input_format": "UYVY", "rate_hz": 10.0, "pixel_format": "RGB8"},
        {"width_px": 320, "height_px": 180, "input_format": "GREY", "rate_hz": 10.0},
        {"width_px": 320, "height_px": 180, "input_format": "RGB3", "rate_hz": 10.0},
        {"width_px": 320, "height_px": 180, "input_format": "Y16", "rate_hz": 10.0},
        {"width_px": 320, "height_px": 180, "input_format": "RGGB", "rate_hz": 10.0},
    ],
    ids=lambda options: str(options.get("input_format", "as it is")),
)
def test_its_formats(options: dict[str, Any]) -> None:
    source = source_of(**options)
    told = first(source, 8)
    frames = [grab.frame for grab in told if isinstance(grab, Taken)]
    assert frames, source.describe()
    for frame in frames:
        image = decode(frame, DecodeLimits())
        assert (image.width_px, image.height_px) == (frame.width_px, frame.height_px)
        assert image.pixels.std() > 1, "a test pattern is no plain field"
    if "width_px" in options:
        assert (frames[0].width_px, frames[0].height_px) == (320, 180)
    stamps = [grab.exposed_s for grab in told if isinstance(grab, Taken) and grab.exposed_s is not None]
    assert stamps == sorted(stamps)
    assert abs(stamps[-1] - time.monotonic()) < 60, "by this computer's clock"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rate_hz": 17.0}, "and 17 was asked"),
        ({"input_format": "H264"}, "H264 was asked: it can give"),
        ({"width_px": 333, "height_px": 222}, "and 333x222 was asked"),
    ],
)
def test_what_it_does_not_take(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        source_of(**options).open()
    source = source_of()
    source.open()
    source.close()


def test_frames_that_the_driver_drops_are_counted() -> None:
    source = source_of(width_px=320, height_px=180, input_format="GREY", rate_hz=10.0)
    source.open()
    press("percentage_of_dropped_buffers", 40)
    grabs = (grab for grab in source.grabs() if grab is not None)
    told = list(islice(grabs, 40))
    if isinstance(told[-1], Lost):  # before a frame that was not asked for
        told.pop()
    source.close()
    numbers = [int(grab.origin.split()[-1]) for grab in told if isinstance(grab, Taken)]
    parts = sum(grab.count if isinstance(grab, Lost) else 1 for grab in told)
    assert any(isinstance(grab, Lost) for grab in told)
    assert parts == numbers[-1] - numbers[0] + 1, "each number of the driver is a part, shown or lost"


def test_another_reader_keeps_it_busy() -> None:
    source, other = source_of(), source_of()
    source.open()
    with pytest.raises(SourceError, match="another program reads it"):
        other.open()
    assert isinstance(next(grab for grab in source.grabs() if grab is not None), Taken), "and the first reads on"
    source.close()
    other.open()
    other.close()


@pytest.mark.parametrize(
    "fault", ["inject_vidioc_streamon_error", "inject_vidioc_reqbufs_error", "inject_vidioc_qbuf_error"]
)
def test_a_start_that_fails_leaves_it_free(fault: str) -> None:
    source = source_of()
    press(fault)
    with pytest.raises(SourceError):
        source.open()
    assert DEVICES[0].device not in Path("/proc/self/maps").read_text()
    source.open()
    assert isinstance(next(grab for grab in source.grabs() if grab is not None), Taken)
    source.close()


def read_until_it_breaks(source: V4l2Source, told: list[Grab], then: Callable[[], object], after: int = 3) -> None:
    """What comes, into `told`; after so many, `then` is done. Raises what the source raises."""
    for grab in source.grabs():
        if grab is not None:
            told.append(grab)
            if len(told) == after:
                then()
        assert len(told) < 200


def test_a_fatal_fault_while_streaming_is_an_error_and_opening_again_helps() -> None:
    source = source_of(rate_hz=10.0)
    source.open()
    with pytest.raises(SourceError, match=DEVICES[0].device):
        read_until_it_breaks(source, [], lambda: press("inject_fatal_streaming_error"))
    source.close()
    lost, taken = first(source, 2)
    assert isinstance(lost, Lost)
    assert "was away" in lost.why
    assert isinstance(taken, Taken)


def plug(how: str) -> None:
    """Take the device from its driver, or give it back."""
    (DRIVER / how).write_text("vivid.0")


def plug_in() -> None:
    plug("bind")
    for _ in range(50):
        if os.access(DEVICES[0].device, os.R_OK):
            return
        time.sleep(0.1)


def test_a_camera_that_is_unplugged_and_plugged_in_again() -> None:
    source = source_of(rate_hz=10.0)
    source.open()
    with pytest.raises(SourceError):
        read_until_it_breaks(source, [], lambda: plug("unbind"))
    away_since = time.monotonic()
    source.close()
    with pytest.raises(SourceError, match="plugged in"):
        source.open()
    time.sleep(2)
    plug_in()
    away_s = time.monotonic() - away_since
    lost, taken = first(source, 2)
    assert isinstance(lost, Lost)
    assert lost.count >= int(away_s * 10) - 1, "by its rate"
    assert isinstance(taken, Taken)


@pytest.mark.timeout(600)
def test_every_part_has_one_verdict_though_it_is_unplugged(tmp_path: Path) -> None:
    """`serve` and `camera run`; white parts are rejected, darker ones pass."""
    camera = f"""
source = "v4l2"
device = "{DEVICES[0].device}"
width_px = 320
height_px = 180
input_format = "GREY"
rate_hz = 2.0
controls = {{ test_pattern = 6 }}  # white; 0: bars
"""
    path = line_file(tmp_path, camera, deadline_ms=2000, checks="max_saturated_share = 0")
    results, log = tmp_path / "results.jsonl", tmp_path / "camera.log"

    def count(verdict: str) -> int:
        return sum(entry["verdict"] == verdict for entry in entries(results))

    with (
        process(tmp_path / "serve.log", "serve", str(path)),
        process(log, "camera", "run", str(path), "--results", str(results)) as program,
    ):
        wait_for(lambda: count("REJECT") > 10, "white parts", 200)
        press("test_pattern", 0)
        wait_for(lambda: count("PASS") > 10, "darker parts", 60)
        unknown = count("UNKNOWN")
        plug("unbind")
        time.sleep(3)
        plug_in()
        wait_for(lambda: count("UNKNOWN") > unknown + 4, "parts that passed unseen", 60)
        rejected = count("REJECT")
        wait_for(lambda: count("REJECT") > rejected + 10, "white parts, as it is set again when it is opened", 60)
        program.send_signal(signal.SIGTERM)
        assert program.wait(60) == 0, log.read_text()
        told = entries(results)
        wait_for(lambda: len(recorded(path)) >= len(told), "all parts on record", 60)
    rows = {row.trigger: row for row in recorded(path)}
    print(Counter((row.verdict.name, row.reason.name) for row in rows.values()), log.read_text())
    assert sorted(entry["trigger"] for entry in told) == sorted(rows) == list(range(1, len(told) + 1))
    assert all(entry["verdict"] in (None, rows[entry["trigger"]].verdict.name) for entry in told)
