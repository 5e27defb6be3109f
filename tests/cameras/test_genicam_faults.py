"""GenICam cameras that lose packets, count oddly, or are changed by somebody else: each part is a frame or a told gap."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from gige import EASY, fake_camera, first, frames, source, torn

from inspector.cameras.sources import genicam
from inspector.cameras.sources.source import Grab, Lost, Taken
from inspector.errors import SourceError
from inspector.part import PixelFormat

WRONGS = [
    pytest.param("skip", [3], "nothing of the frames between them arrived", id="three frames lost"),
    pytest.param("stuck", [1], "nothing of the frames between them arrived", id="one id for two frames"),
    pytest.param("jump", [1], "restarted or set anew", id="ids jump"),
    pytest.param("clock-back", [], "", id="time runs backwards"),
]


@pytest.mark.parametrize(("fault", "lost", "says"), WRONGS)
def test_odd_numbers_and_clocks_give_a_frame_or_a_gap(
    fault: str, lost: list[int], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with fake_camera("--fault", f"20:{fault}"), closing(source(**EASY)) as camera:
        camera.open()
        grabs = first(40, camera.grabs())
    losses = [grab for grab in grabs if isinstance(grab, Lost) and not torn(grab)]
    assert [grab.count for grab in losses] == lost
    assert all(says in grab.why for grab in losses)
    told = [record.getMessage() for record in caplog.records if record.name.endswith("genicam")]
    assert any("clock went back by" in text for text in told) == (fault == "clock-back")
    assert any("frame ids" in text for text in told) == (fault == "jump")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        pytest.param("resize", "frames are 64 × 96 MONO8, set were 128 × 96 MONO8", id="size"),
        pytest.param("format", "frames are 128 × 96 BAYER_RG8, set were 128 × 96 MONO8", id="format"),
        pytest.param("empty", "frames are 0 × 96 MONO8", id="zero size"),
        pytest.param("back", "numbers that it gave before", id="ids run backwards"),
    ],
)
def test_a_camera_that_was_changed_is_set_anew(fault: str, says: str) -> None:
    """What comes otherwise is a gap each time, and opened anew the camera gives what the line file says."""
    with fake_camera("--fault", f"20:{fault}"), closing(source(**EASY)) as camera:
        camera.open()
        seen: list[Grab] = []
        grabs = camera.grabs()
        with pytest.raises(SourceError, match=says):
            seen.extend(one for _ in iter(int, 1) for one in first(1, grabs))
        assert {type(grab) for grab in seen[:19] if not torn(grab)} == {Taken}
        assert all(isinstance(grab, Lost) for grab in seen[20:])
        camera.close()
        camera.open()
        grabs = camera.grabs()
        (away,) = first(1, grabs)
        again = frames(5, grabs)
    assert isinstance(away, Lost)
    assert "the camera was away for" in away.why
    assert {(taken.frame.width_px, taken.frame.pixel_format) for taken in again} == {(128, PixelFormat.MONO8)}


def test_a_pulse_gives_a_frame_and_nothing_else_does() -> None:
    with fake_camera("--pulse-hz", "50"), closing(source(trigger_source="Software")) as camera:
        camera.open()
        assert camera.rate_hz is None
        began_s = time.monotonic()
        frames(25, camera.grabs())
        took_s = time.monotonic() - began_s
    assert took_s > 0.4, "25 frames of 50 pulses a second; freely they would come in a quarter of a second"


@pytest.mark.parametrize("step_s", [5, -5])
def test_a_clock_of_this_computer_that_is_set_moves_no_frame(monkeypatch: pytest.MonkeyPatch, step_s: int) -> None:
    """As NTP does. Aravis' stamps of arrival are then from before it was set."""
    offsets_s = [0]
    stepped = SimpleNamespace(
        monotonic=time.monotonic,
        monotonic_ns=time.monotonic_ns,
        time_ns=lambda: time.time_ns() + offsets_s[-1] * 1_000_000_000,
    )
    monkeypatch.setattr(genicam, "time", stepped)
    with fake_camera(), closing(source(**EASY)) as camera:
        camera.open()
        grabs = camera.grabs()
        first(30, grabs)
        offsets_s.append(step_s)
        for _ in range(30):
            (grab,) = frames(1, grabs)
            assert grab.exposed_s is not None
            assert 0 <= time.monotonic() - grab.exposed_s < 3
            assert grab.frame.capture_time is not None
            off_s = (grab.frame.capture_time - datetime.now(UTC)).total_seconds()
            assert off_s == pytest.approx(step_s, abs=3)


def test_packets_that_do_not_come_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Every part is there once, as a frame or as a loss: numbers of frames and losses have no hole."""
    with fake_camera("--lost", "0.05"), closing(source(packet_size=1000)) as camera:
        camera.open()
        grabs = first(120, camera.grabs(), 20.0)
    lost = [grab for grab in grabs if isinstance(grab, Lost)]
    assert len(lost) > 20, "thirteen packets a frame, one of twenty lost: half of the frames"
    assert any("the frame is incomplete" in grab.why and "packets" in grab.why for grab in lost)
    passed = sum(grab.count if isinstance(grab, Lost) else 1 for grab in grabs)
    numbers = [(at, int(grab.origin.removeprefix("frame "))) for at, grab in enumerate(grabs) if grab.origin]
    (begin, first_number), (end, last_number) = numbers[0], numbers[-1]
    assert passed - begin - (len(grabs) - 1 - end) == (last_number - first_number) % 65535 + 1
