"""Cameras of the kernel: as sysfs shows them, and read by V4L2's calls as the kernel documents them.

The driver itself is asked in `test_v4l2_vivid.py`, where it is loaded.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_camera import KernelCamera, Shot, fault

from inspector.cameras.sources import v4l2_device as abi
from inspector.cameras.sources.source import Found, Grab, Lost, Taken
from inspector.cameras.sources.v4l2 import V4l2Source, discover
from inspector.errors import SourceError
from inspector.imaging.decode import DecodeLimits, decode
from inspector.part import PixelFormat

LIMITS = DecodeLimits(max_pixels=10_000, max_frame_bytes=100_000)


def shown(folder: Path, device: str, **files: str) -> None:
    (folder / device).mkdir(parents=True)
    for file, text in files.items():
        (folder / device / file).write_text(text + "\n")


def test_each_camera_is_listed_once_by_the_device_that_gives_pictures(tmp_path: Path) -> None:
    classes, bus = tmp_path / "class", tmp_path / "devices" / "1-2:1.0"
    bus.mkdir(parents=True)
    shown(classes, "video10", name="Global shutter: Mono", index="0")
    shown(classes, "video2", name="HD Pro Webcam", index="0")
    shown(classes, "video3", name="HD Pro Webcam", index="1")
    shown(classes, "v4l-subdev0", name="a lens")
    (classes / "video2" / "device").symlink_to(bus)
    assert discover(classes) == [
        Found("v4l2", "/dev/video2", "HD Pro Webcam", "1-2:1.0"),
        Found("v4l2", "/dev/video10", "Global shutter: Mono", ""),
    ]


def test_a_device_that_vanishes_or_says_nonsense_is_no_error(tmp_path: Path) -> None:
    shown(tmp_path, "video0")
    (tmp_path / "video1").symlink_to(tmp_path / "gone")
    shown(tmp_path, "video4")
    (tmp_path / "video4" / "name").write_bytes(b"\xff\xfe")
    assert [one.device for one in discover(tmp_path)] == ["/dev/video0", "/dev/video1", "/dev/video4"]
    assert discover(tmp_path / "nowhere") == []


# Read


@pytest.fixture
def camera(tmp_path: Path) -> KernelCamera:
    return KernelCamera(tmp_path / "video0")


def source_of(camera: KernelCamera, **options: Any) -> V4l2Source:
    return V4l2Source(str(camera.path), make=lambda path: abi.V4l2Device(path, camera), **options)


def grabs_of(source: V4l2Source) -> list[Grab]:
    """What comes until nothing more does."""
    source.open()
    told: list[Grab] = []
    for grab in source.grabs():
        if grab is None:
            break
        told.append(grab)
    source.close()
    return told


def is_held(path: Path) -> bool:
    """Whether this process has it open or mapped."""
    numbers = [fd for fd in Path("/proc/self/fd").iterdir() if fd.exists()]
    return path in [fd.readlink() for fd in numbers] or str(path) in Path("/proc/self/maps").read_text()


def picture(width: int = 8, height: int = 4) -> np.ndarray:
    return (np.arange(width * height, dtype=np.uint8) * 7 + 3).reshape(height, width)


def test_grey_goes_on_as_it_is_with_its_rows_as_the_driver_pads_them(camera: KernelCamera) -> None:
    camera.formats, camera.format, camera.row_bytes = ("GREY",), "GREY", 12
    rows = np.full((4, 12), 99, np.uint8)
    rows[:, :8] = picture()
    at = int(time.monotonic())
    camera.coming.append(Shot(0, rows.tobytes()[:-4], seconds=at))  # the last row without its padding
    (taken,) = grabs_of(source_of(camera))
    assert isinstance(taken, Taken)
    assert (taken.frame.pixel_format, taken.frame.stride_bytes) == (PixelFormat.MONO8, 12)
    assert np.array_equal(decode(taken.frame, LIMITS).pixels, picture())
    assert taken.origin == "frame 0"
    assert taken.exposed_s == at


@pytest.mark.parametrize(("fourcc", "first"), [("YUYV", 0), ("UYVY", 1)])
def test_yuv_becomes_its_brightness_or_rgb(camera: KernelCamera, fourcc: str, first: int) -> None:
    pairs = np.full((4, 8, 2), 128, np.uint8)
    pairs[:, :, first] = picture()
    camera.formats, camera.format = (fourcc,), fourcc
    camera.coming.append(Shot(0, pairs.tobytes()))
    (taken,) = grabs_of(source_of(camera))
    assert isinstance(taken, Taken)
    assert np.array_equal(decode(taken.frame, LIMITS).pixels, picture())
    # A red field: its colours as BT.601 has them, of video range.
    red = np.zeros((4, 8, 2), np.uint8)
    red[:, :, first] = 81
    red[:, 0::2, 1 - first], red[:, 1::2, 1 - first] = 90, 240
    camera.coming.append(Shot(0, red.tobytes()))
    (taken,) = grabs_of(source_of(camera, pixel_format="RGB8"))
    assert isinstance(taken, Taken)
    assert np.abs(decode(taken.frame, LIMITS).pixels.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize(
    ("fourcc", "pixel_format"),
    [
        ("Y16", PixelFormat.MONO16),
        ("RGB3", PixelFormat.RGB8),
        ("BGR3", PixelFormat.BGR8),
        ("RGGB", PixelFormat.BAYER_RG8),
    ],
)
def test_other_formats_go_on_as_they_are(camera: KernelCamera, fourcc: str, pixel_format: PixelFormat) -> None:
    camera.formats, camera.format = (fourcc,), fourcc
    bytes_ = {"Y16": 2, "RGGB": 1}.get(fourcc, 3)
    camera.coming.append(Shot(0, bytes(range(8 * 4 * bytes_))))
    (taken,) = grabs_of(source_of(camera))
    assert isinstance(taken, Taken)
    assert (taken.frame.pixel_format, taken.frame.data) == (pixel_format, bytes(range(8 * 4 * bytes_)))
    decode(taken.frame, LIMITS)


def test_jpeg_goes_on_as_the_camera_wrote_it_also_without_its_usual_tables(camera: KernelCamera) -> None:
    """Motion JPEG leaves out the Huffman tables, which are always the same."""
    whole = cv2.imencode(".jpg", cv2.resize(picture(), (64, 48)))[1].tobytes()
    bare, at = bytearray(), 0
    for table in re.finditer(rb"\xff\xc4(..)", whole, re.DOTALL):
        if table.start() >= at:
            bare += whole[at : table.start()]
            at = table.start() + 2 + int.from_bytes(table[1], "big")
    bare += whole[at:]
    assert b"\xff\xc4" not in bare
    camera.formats, camera.format = ("MJPG",), "MJPG"
    camera.coming += [Shot(0, whole), Shot(1, bytes(bare))]
    first, second = grabs_of(source_of(camera))
    assert isinstance(first, Taken)
    assert isinstance(second, Taken)
    assert first.frame.data == whole
    assert np.array_equal(decode(first.frame, LIMITS).pixels, decode(second.frame, LIMITS).pixels)


def test_what_the_driver_could_not_give_is_announced(camera: KernelCamera) -> None:
    data = bytes(64)
    camera.coming += [
        Shot(7, data), Shot(8, data), Shot(11, data), Shot(12, data, flags=0x2040), Shot(13, b""), Shot(14, data[:63]),
        Shot(15, data), Shot(3, data, seconds=2),
    ]  # fmt: skip
    told = grabs_of(source_of(camera))
    assert [grab.count if isinstance(grab, Lost) else "frame" for grab in told] == [
        "frame", "frame", 2, "frame", 1, 1, 1, "frame", 1, "frame",
    ]  # fmt: skip
    why = [grab.why for grab in told if isinstance(grab, Lost)]
    assert "damaged" in why[1]
    assert "empty" in why[2]
    assert "63 bytes of 64" in why[3]
    assert "ran backwards from 15 to 3" in why[4]


def test_of_several_frames_one_is_shown_and_losses_count_those_that_would_be(camera: KernelCamera) -> None:
    camera.coming += [Shot(number, bytes(64)) for number in (0, 1, 2, 3, 10, 11, 12)]
    told = grabs_of(source_of(camera, every=3))
    assert [(type(grab), grab.count if isinstance(grab, Lost) else grab.origin) for grab in told] == [
        (Taken, "frame 0"), (Taken, "frame 3"), (Lost, 2), (Taken, "frame 12"),
    ]  # fmt: skip


def test_it_is_set_as_asked_and_says_how(camera: KernelCamera) -> None:
    camera.size = (64, 48)
    controls = {"exposure_time_absolute": 250, "reset": 0}
    source = source_of(camera, width_px=8, height_px=4, rate_hz=25.0, input_format="GREY", controls=controls)
    source.open()
    assert source.describe() == (
        f"{camera.path}: A camera of tests: GREY of 8 × 4 px at 25 a second, exposure_time_absolute 250, reset done, "
        "every frame"
    )
    assert source.rate_hz == 25.0
    assert camera.exposure == 250
    assert camera.is_on
    assert len(camera.queued) == 4, "as many as it takes"
    source.close()
    assert not camera.is_on
    assert not is_held(camera.path)
    source.close()


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"input_format": "MJPG"}, "gives YUYV and MJPG was asked: it can give YUYV, GREY"),
    ({"width_px": 333, "height_px": 222}, "gives 8x4 pixels, and 333x222 was asked"),
    ({"rate_hz": 17.0}, "gives 25 frames a second, and 17 was asked"),
    ({"controls": {"gain": 3}}, "has no control gain: it has exposure_time_absolute, temperature, reset"),
    ({"controls": {"exposure_time_absolute": 501}}, "it takes 1 to 500"),
    ({"controls": {"exposure_time_absolute": 255}}, "was written and it has 250"),
    ({"controls": {"temperature": 20}}, "it cannot be set"),
]


@pytest.mark.parametrize(("options", "says"), OPTIONS)
def test_what_it_does_not_take_is_refused(camera: KernelCamera, options: dict[str, Any], says: str) -> None:
    camera.fixed_size = True
    with pytest.raises(SourceError, match=re.escape(says)):
        source_of(camera, **options).open()
    assert not is_held(camera.path)


def test_a_format_that_is_not_taken_names_those_that_are(camera: KernelCamera) -> None:
    camera.formats, camera.format = ("H264", "MJPG"), "H264"
    with pytest.raises(SourceError, match="gives H264, which is not taken: set input_format to one of MJPG"):
        source_of(camera).open()
    camera.format = "Y16-BE"
    with pytest.raises(SourceError, match="gives Y16-BE, which is not taken"):
        source_of(camera).open()
    camera.formats, camera.format = ("H264",), "H264"
    with pytest.raises(SourceError, match="no other of its formats is either"):
        source_of(camera).open()


def test_a_camera_without_a_rate(camera: KernelCamera) -> None:
    camera.rates, camera.rate = False, (0, 0)
    source = source_of(camera)
    source.open()
    assert source.rate_hz is None
    source.close()
    with pytest.raises(SourceError, match="cannot be set to a rate: leave rate_hz out"):
        source_of(camera, rate_hz=25.0).open()


@pytest.mark.parametrize(
    ("request_", "number", "says"),
    [
        (abi.QUERYCAP, errno.ENOTTY, "gives no pictures"),
        (abi.G_FMT, errno.EINVAL, "v4l2-ctl"),
        (abi.REQBUFS, errno.EBUSY, "another program reads it"),
        (abi.QUERYBUF, errno.ENODEV, "plugged in"),
        (abi.QBUF, errno.EIO, "takes no buffers"),
        (abi.STREAMON, errno.ENOSPC, "does not start"),
    ],
)
def test_whatever_fails_at_the_start_the_device_is_given_back(
    camera: KernelCamera, request_: int, number: int, says: str
) -> None:
    """Else the kernel would call it busy until this program ended."""
    camera.refuses[request_] = number
    with pytest.raises(SourceError, match=re.escape(os.strerror(number))) as caught:
        source_of(camera).open()
    assert says in str(caught.value)
    assert not is_held(camera.path)
    camera.refuses.clear()
    source = source_of(camera)
    source.open()
    source.close()


@pytest.mark.parametrize(
    ("capabilities", "says"),
    [(0x0420_1000, "several planes"), (0x0420_0002, "no pictures"), (0x8420_0001, "no pictures")],
)
def test_a_device_of_another_kind(camera: KernelCamera, capabilities: int, says: str) -> None:
    camera.capabilities = capabilities
    with pytest.raises(SourceError, match=says):
        source_of(camera).open()
    assert not is_held(camera.path)


def test_what_is_no_device(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no camera")
    for path, says in [
        (tmp_path / "none", "plugged in"),
        (tmp_path / "file", "gives no pictures"),
        (tmp_path, "cannot be opened"),
        (Path("/dev/null"), "gives no pictures"),
    ]:
        with pytest.raises(SourceError, match=says):
            V4l2Source(str(path)).open()


def broken_off(source: V4l2Source) -> tuple[list[Grab], str]:
    """What came before it broke off, and what it said."""
    told: list[Grab] = []
    with pytest.raises(SourceError) as caught:
        told.extend(grab for grab in source.grabs() if grab is not None)
    source.close()
    return told, str(caught.value)


def test_a_pulled_plug_is_an_error_and_what_passed_meanwhile_counts_by_its_rate(
    camera: KernelCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    source = source_of(camera)
    camera.coming += [Shot(0, bytes(64)), fault(errno.ENODEV)]
    source.open()
    told, says = broken_off(source)
    assert len(told) == 1
    assert "No such device" in says
    assert not is_held(camera.path)
    now[0] += 4.0
    camera.coming.append(Shot(0, bytes(64)))
    source.open()
    lost, taken = islice(source.grabs(), 2)
    assert isinstance(lost, Lost)
    assert lost.count == 100, "four seconds at 25 a second"
    assert isinstance(taken, Taken)
    source.close()


def test_of_a_camera_that_opens_and_gives_nothing_each_second_counts_once(
    camera: KernelCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    source = source_of(camera)
    lost = 0
    for number in range(4):
        if number in (0, 3):
            camera.coming.append(Shot(0, bytes(64)))
        camera.coming.append(fault(errno.EIO))
        source.open()
        told, _ = broken_off(source)
        lost += sum(grab.count for grab in told if isinstance(grab, Lost))
        now[0] += 4.0
    assert lost == 3 * 4 * 25, "what passed between the first frame and the last one"


def test_of_a_camera_without_a_rate_one_absence_is_one_part(camera: KernelCamera) -> None:
    camera.rates, camera.rate = False, (0, 0)
    source = source_of(camera)
    told: list[Grab] = []
    for number in range(4):
        if number in (0, 3):
            camera.coming.append(Shot(0, bytes(64)))
        camera.coming.append(fault(errno.EIO))
        source.open()
        told += broken_off(source)[0]
    assert [type(grab) for grab in told] == [Taken, Lost, Taken]


def test_a_driver_that_counts_nothing_says_so_once(camera: KernelCamera, caplog: pytest.LogCaptureFixture) -> None:
    camera.coming += [Shot(0, bytes(64), seconds=second) for second in range(1, 6)]
    assert all(isinstance(grab, Taken) for grab in grabs_of(source_of(camera)))
    assert caplog.text.count("its counter stands still") == 1


def test_a_time_that_cannot_be_is_not_believed(camera: KernelCamera) -> None:
    for seconds in (-5, 0, int(time.monotonic()) + 100):
        camera.coming.append(Shot(0, bytes(64), seconds=seconds))
        (taken,) = grabs_of(source_of(camera))
        assert isinstance(taken, Taken)
        assert taken.exposed_s is not None
        assert abs(taken.exposed_s - time.monotonic()) < 60


def test_the_controls_of_another_programs_camera_are_left_alone(camera: KernelCamera) -> None:
    camera.refuses[abi.REQBUFS] = errno.EBUSY
    with pytest.raises(SourceError, match="another program reads it"):
        source_of(camera, controls={"exposure_time_absolute": 250}).open()
    assert abi.S_CTRL not in camera.calls


def clock(step_s: float) -> Callable[[], float]:
    """A clock that goes on by `step_s` whenever it is looked at."""
    times: Iterator[float] = (100 + step_s * number for number in range(10**6))
    return lambda: next(times)


def test_a_camera_that_runs_freely_and_gives_nothing_is_gone(
    camera: KernelCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", clock(0.5))
    source = source_of(camera)
    source.open()
    told, says = broken_off(source)
    assert told == []
    assert "runs freely and gave nothing for 10.0 s" in says, "it may have to set itself before the first"
    assert not is_held(camera.path)
    camera.coming.append(Shot(0, bytes(64)))
    source.open()
    told, says = broken_off(source)
    assert isinstance(told[-1], Taken)
    assert "runs freely and gave nothing for 2.0 s" in says


def test_a_triggered_camera_may_be_silent(camera: KernelCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", clock(0.5))
    source = source_of(camera, triggered=True)
    source.open()
    assert source.rate_hz is None
    assert list(islice(source.grabs(), 100)) == [None] * 100
    source.close()


@settings(deadline=None, max_examples=60)
@given(
    bytes_used=st.integers(0, 2**32 - 1), flags=st.integers(0, 2**32 - 1), number=st.integers(0, 2**32 - 1),
    index=st.integers(0, 8), seconds=st.integers(-(2**62), 2**62), row_bytes=st.integers(0, 2**20),
)  # fmt: skip
def test_whatever_a_driver_says_gives_a_frame_a_loss_or_an_error(
    tmp_path_factory: pytest.TempPathFactory,
    bytes_used: int, flags: int, number: int, index: int, seconds: int, row_bytes: int,
) -> None:  # fmt: skip
    camera = KernelCamera(tmp_path_factory.mktemp("dev") / "video0", row_bytes=row_bytes)

    def change(buffer: abi.Buffer) -> None:
        buffer.bytesused, buffer.flags, buffer.sequence, buffer.index, buffer.seconds = (
            bytes_used, flags, number, index, seconds,
        )  # fmt: skip

    camera.changes = change
    camera.coming += [Shot(0, bytes(64)), fault(errno.EIO)]
    source = source_of(camera)
    source.open()
    told, _ = broken_off(source)
    assert len(told) <= 2
    assert not is_held(camera.path)
