"""Videos and network cameras: every frame is shown or announced as lost, and a fault says what to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from requires import require
from rtsp_camera import RtspCamera, missing_for_rtsp

from inspector.cameras.sources import video
from inspector.cameras.sources.source import Grab, Lost, Taken
from inspector.cameras.sources.video import VideoAddress, VideoSource
from inspector.errors import SourceError
from inspector.part import PixelFormat
from inspector.sim.demo.processes import free_ports

WIDTH, HEIGHT = 96, 64


def level(number: int) -> int:
    return 20 + 4 * (number % 50)


def write_video(
    path: Path, frames: int = 40, codec: str = "mjpeg", pix_fmt: str = "yuvj420p", skip: range = range(0)
) -> Path:
    """A video whose n-th frame has the grey level `level(n)`; those of `skip` are left out, their time is not."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        for number in range(frames):
            if number in skip:
                continue
            pixels = np.full((HEIGHT, WIDTH), level(number), np.uint8)
            pixels[:8, : 2 * number % WIDTH] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="gray").reformat(format=pix_fmt)
            frame.pts = number
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def grabs_of(source: VideoSource, most: int = 1000) -> list[Grab]:
    source.open()
    told: list[Grab] = []
    try:
        for grab in source.grabs():
            if grab is not None:
                told.append(grab)
            if len(told) == most:
                break
    finally:
        source.close()
    return told


def levels(told: list[Grab]) -> list[int | str]:
    """Grey level in the middle of each frame; of lost ones how many."""
    return [_middle(grab) if isinstance(grab, Taken) else f"-{grab.count}" for grab in told]


def _middle(taken: Taken) -> int:
    frame = taken.frame
    channels = 3 if frame.pixel_format is PixelFormat.RGB8 else 1
    pixels = np.frombuffer(frame.data, np.uint8).reshape(frame.height_px, frame.width_px * channels)
    return int(pixels[frame.height_px // 2 :].mean().round())


def near(told: list[Grab], numbers: list[int]) -> bool:
    found = levels(told)
    return len(found) == len(numbers) and all(abs(int(a) - level(n)) <= 4 for a, n in zip(found, numbers, strict=True))


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [("mjpeg", "yuvj420p", "avi"), ("libx264", "yuv420p", "mp4"), ("ffv1", "gray", "mkv")],
)
def test_every_frame_of_a_file_in_order(tmp_path: Path, codec: str, pix_fmt: str, suffix: str) -> None:
    source = VideoSource(VideoAddress(str(write_video(tmp_path / f"v.{suffix}", codec=codec, pix_fmt=pix_fmt))))
    told = grabs_of(source)
    assert near(told, list(range(40)))
    assert source.waits
    assert source.rate_hz == 25
    first = told[0]
    assert isinstance(first, Taken)
    assert (first.frame.pixel_format, first.frame.width_px, first.frame.height_px) == (PixelFormat.MONO8, WIDTH, HEIGHT)
    assert first.origin.endswith("frame 1")


def test_one_of_several_frames_in_colour(tmp_path: Path) -> None:
    told = grabs_of(VideoSource(VideoAddress(str(write_video(tmp_path / "v.avi"))), pixel_format="RGB8", every=8))
    assert near(told, [0, 8, 16, 24, 32])
    assert {grab.frame.pixel_format for grab in told if isinstance(grab, Taken)} == {PixelFormat.RGB8}


def test_frames_that_are_not_there_are_announced(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mkv", codec="ffv1", pix_fmt="gray", skip=range(10, 13))
    found = levels(grabs_of(VideoSource(VideoAddress(str(video)))))
    assert found[:12] == [level(n) for n in range(10)] + ["-3", level(13)]


def cut_off(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize(("codec", "pix_fmt", "suffix"), [("mjpeg", "yuvj420p", "avi"), ("ffv1", "gray", "mkv")])
def test_a_video_that_breaks_off_ends_with_an_announced_gap(
    tmp_path: Path, codec: str, pix_fmt: str, suffix: str
) -> None:
    video = cut_off(write_video(tmp_path / f"v.{suffix}", codec=codec, pix_fmt=pix_fmt), 0.6)
    told = grabs_of(VideoSource(VideoAddress(str(video))))
    lost = [grab for grab in told if isinstance(grab, Lost)]
    shown = [grab for grab in told if isinstance(grab, Taken)]
    assert near(list(shown), list(range(len(shown))))
    assert lost, "the rest is told of"
    assert len(shown) + sum(one.count for one in lost) in (39, 40, 41)
    assert any("breaks off after frame" in one.why for one in lost)


def test_a_damaged_frame_is_lost_and_those_after_it_are_shown(tmp_path: Path) -> None:
    """What the decoder makes up of a damaged frame looks sound: it must never be shown."""
    video = write_video(tmp_path / "v.avi")
    data = bytearray(video.read_bytes())
    starts = [at for at in range(len(data) - 3) if data[at : at + 3] == b"\xff\xd8\xff"]
    for at in range(starts[10] + 300, starts[11] - 40):
        data[at] = 0xFF if at % 2 else 0xD9
    video.write_bytes(bytes(data))
    told = grabs_of(VideoSource(VideoAddress(str(video))))
    found = levels(told)
    assert len(found) == 40
    assert found[10] == "-1", told[10]
    assert near(told[11:], list(range(11, 40)))


NOT_OPENED = [
    ("nothing there", lambda path: None, "cannot be opened"),
    ("an empty file", lambda path: path.write_bytes(b""), "cannot be opened"),
    ("text", lambda path: path.write_text("hello\n" * 100), "cannot be opened|has no video"),
    (
        "the index of an MP4 cut off",
        lambda path: cut_off(write_video(path, codec="libx264", pix_fmt="yuv420p"), 0.8),
        "cannot be opened",
    ),
    ("a folder", lambda path: path.mkdir(), "cannot be opened"),
]


@pytest.mark.parametrize(("why", "make", "message"), NOT_OPENED, ids=[row[0] for row in NOT_OPENED])
def test_what_is_no_video_is_an_error_that_says_what_to_do(tmp_path: Path, why: str, make, message: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "v.mp4")
    with pytest.raises(SourceError, match=message):
        VideoSource(VideoAddress(str(tmp_path / "v.mp4"))).open()


def test_opened_again_a_file_goes_on_behind_what_was_shown(tmp_path: Path) -> None:
    source = VideoSource(VideoAddress(str(write_video(tmp_path / "v.avi"))))
    assert near(grabs_of(source, 15), list(range(15)))
    # The fifteenth was not asked to be followed by another, so nobody knows that it was sent: it is given again.
    assert near(grabs_of(source), list(range(14, 40)))


# Live


def lavfi(text: str) -> VideoAddress:
    """A device of FFmpeg's own, which is read as network cameras are."""
    return VideoAddress(text, "lavfi", live=True)


def test_a_device_is_read_live_and_its_end_is_an_error() -> None:
    source = VideoSource(lavfi(f"color=gray:size={WIDTH}x{HEIGHT}:rate=25:duration=1"))
    assert not source.waits
    source.open()
    told: list[Grab] = []
    with pytest.raises(SourceError, match="ended: a live stream does not"):
        told.extend(grab for grab in source.grabs() if grab is not None)
    source.close()
    assert 1 <= sum(grab.count if isinstance(grab, Lost) else 1 for grab in told) <= 25
    assert all(grab.frame.capture_time is not None for grab in told if isinstance(grab, Taken))
    source.open()
    first = next(grab for grab in source.grabs() if grab is not None)
    source.close()
    assert isinstance(first, Lost), "what passed meanwhile is announced"


def test_a_device_that_changes_its_size_in_mid_stream() -> None:
    """Each frame says its own size; the service holds it against the recipe."""
    text = f"color=gray:size={WIDTH}x{HEIGHT}:rate=5:duration=1,scale=w='if(lt(n\\,3)\\,96\\,48)':h=32:eval=frame"
    source = VideoSource(VideoAddress(text, "lavfi"))
    widths = [grab.frame.width_px for grab in grabs_of(source) if isinstance(grab, Taken)]
    assert widths[0] == 96
    assert set(widths) <= {96, 48}


def test_a_password_in_an_address_is_told_to_nobody() -> None:
    (port,) = free_ports(1)
    source = VideoSource(VideoAddress(f"rtsp://anna:secret@127.0.0.1:{port}/1", live=True))
    with pytest.raises(SourceError) as caught:
        source.open()
    assert f"rtsp://127.0.0.1:{port}/1 cannot be opened" in str(caught.value)
    assert "secret" not in str(caught.value) + source.describe()


def test_a_silent_camera_is_not_closed_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg may wait longer for a frame than this program, and must not lose the stream meanwhile."""
    closed, comes = threading.Event(), threading.Event()
    source = VideoSource(VideoAddress("rtsp://camera/1", live=True))

    def wait() -> Iterator[Grab]:
        comes.wait(30)
        yield from ()

    monkeypatch.setattr(video, "_JOIN_S", 0.1)
    monkeypatch.setattr(source, "_frames", wait)
    monkeypatch.setattr(source, "_container", SimpleNamespace(close=closed.set))
    grabs = source.grabs()
    assert next(grabs) is None
    grabs.close()
    source.close()
    assert not closed.is_set()
    comes.set()


@pytest.fixture
def rtsp() -> Iterator[RtspCamera]:
    require(not missing_for_rtsp(), missing_for_rtsp())
    camera = RtspCamera(WIDTH, HEIGHT)
    yield camera
    camera.stop()


def test_a_network_camera_streams_breaks_off_and_comes_back(rtsp: RtspCamera) -> None:
    """A server that nobody here wrote: gst-rtsp-server."""
    source = VideoSource(VideoAddress(rtsp.address, None, {"rtsp_transport": "tcp"}, live=True))
    told: list[Grab] = []
    source.open()

    def stream() -> None:
        for grab in source.grabs():
            if grab is not None:
                told.append(grab)
            if len(told) == 10:
                threading.Thread(target=rtsp.stop).start()

    with pytest.raises(SourceError, match=r"breaks off|ended|broke"):
        stream()
    source.close()
    frames = [grab.frame for grab in told if isinstance(grab, Taken)]
    assert {(frame.width_px, frame.height_px) for frame in frames} == {(WIDTH, HEIGHT)}
    with pytest.raises(SourceError, match="is the camera on"):
        source.open()
    rtsp.start()
    source.open()
    grabs = (grab for grab in source.grabs() if grab is not None)
    assert isinstance(next(grabs), Lost)
    assert isinstance(next(grabs), Taken)
    grabs.close()
    source.close()
