"""GenICam cameras, by Aravis' own fake GigE Vision camera: a process that speaks GVCP and GVSP and that nobody here wrote."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest
from gige import DEVICE, EASY, SMALL, FakeCamera, first, frames, source, torn
from typer.testing import CliRunner

from inspector.cameras.sources.buffers import Pool
from inspector.cameras.sources.genicam import GenicamSource
from inspector.cameras.sources.genicam_setup import buffers_for, house_format
from inspector.cameras.sources.source import Lost
from inspector.cli import app
from inspector.errors import SourceError
from inspector.part import PixelFormat


def test_cameras_are_found_and_listed(gige: FakeCamera) -> None:
    listed = CliRunner().invoke(app, ["camera", "list"], env={"COLUMNS": "120"}).output
    assert "Aravis-Fake-GV1" in listed
    assert "Aravis Fake (GigEVision)" in listed


def test_it_is_set_as_the_line_file_says_and_read_back(gige: FakeCamera) -> None:
    more = {"region": (64, 32, 128, 96), "gain": 2.0, "pixel_format": "BayerRG8", "features": {"BinningVertical": 1}}
    with closing(source(**more)) as camera:
        camera.open()
        told = camera.describe()
        assert camera.rate_hz == pytest.approx(100, rel=0.01)
        for part in (
            "128 × 96 at 64, 32",
            "gain 2",
            "exposure_us 500",
            "BayerRG8",
            "packet_size 4000",
            "BinningVertical 1",
        ):
            assert part in told
        assert "56 buffers" in told, "what comes in 500 ms at 100 a second, and six"
        (taken,) = frames(1, camera.grabs(), hold=True)
    frame = taken.frame
    assert (frame.width_px, frame.height_px, frame.stride_bytes, len(frame.data)) == (128, 96, 128, 128 * 96)
    assert frame.pixel_format is PixelFormat.BAYER_RG8
    assert set(frame.data) == {100}
    assert taken.origin.startswith("frame 4")


FAULTS = [
    pytest.param({"features": {"ExposureTimeX": 1.0}}, "has no feature ExposureTimeX", id="no such feature"),
    pytest.param({"features": {"GainRaw": "much"}}, "GainRaw takes a whole number", id="another kind of value"),
    pytest.param({"features": {"GainRaw": True}}, "GainRaw takes a whole number", id="true is no number"),
    pytest.param({"features": {"Width": 5000}}, "greater than allowed maximum", id="out of range"),
    pytest.param({"features": {"TriggerSoftware": "x"}}, "is a command: write true", id="a command"),
    pytest.param({"exposure_us": 1e9}, "exposure_us = 1e[+]09: .*greater than allowed maximum", id="exposure"),
    pytest.param({"pixel_format": "Mono12p"}, "'Mono12p' not an entry; choose a value", id="format it has not"),
    pytest.param({"region": (0, 0, 4000, 96)}, "region 4000 × 96 at 0, 0: .*choose one that", id="region"),
    pytest.param({"trigger_source": "Line9"}, "Line9", id="trigger source"),
    pytest.param({"device": "Basler-1"}, "camera Basler-1 cannot be opened: .*look at its power", id="not there"),
]


@pytest.mark.parametrize(("options", "says"), FAULTS)
def test_what_it_does_not_take_is_told(gige: FakeCamera, options: dict[str, object], says: str) -> None:
    made = GenicamSource(**{"device": DEVICE, **SMALL, **options})
    with closing(made) as camera, pytest.raises(SourceError, match=says):
        camera.open()


def test_capture_times_are_those_of_the_camera_within_what_is_stated(gige: FakeCamera) -> None:
    """The fake's clock is this computer's, so that the truth is known."""
    with closing(source()) as camera:
        camera.open()
        for grab in frames(60, camera.grabs())[20:]:
            assert grab.frame.capture_time is not None
            assert grab.uncertainty_ms is not None
            age_s = (datetime.now(UTC) - grab.frame.capture_time).total_seconds()
            assert -grab.uncertainty_ms / 1000 <= age_s < 5.0


def test_frames_are_lent_not_copied_and_come_back_when_nothing_uses_them(gige: FakeCamera) -> None:
    with closing(source(buffers=8)) as camera:
        camera.open()
        grabs = camera.grabs()
        held = frames(5, grabs, hold=True)
        views = [np.frombuffer(taken.frame.data, np.uint8) for taken in held]
        assert len({view.ctypes.data for view in views}) == 5
        assert not any(view.flags.owndata or view.flags.writeable for view in views)
        del held
        free = camera._stream.get_n_buffers
        assert free().n_input_buffers + free().n_output_buffers <= 3, "a view keeps its buffer from the driver"
        pixels = views[0].copy()
        first(2, grabs)
        assert (views[0] == pixels).all()
        del views
        gc.collect()
        assert len(first(100, grabs)) == 100
    camera.close()


def test_views_outlive_the_camera() -> None:
    given: list[object] = []
    pool = Pool(2, 16, lambda size, place: object(), given.append)
    assert (len(given), pool.size) == (2, 16)
    view = pool.lend(given[0], 8)
    pool.close()
    assert len(view) == 8
    del view
    assert len(given) == 2, "a closed pool gives nothing to a driver that is gone"


@pytest.mark.parametrize(
    ("rate_hz", "deadline_ms", "buffers"),
    [
        pytest.param(30.0, 500, 21, id="what comes within the budget, and six"),
        pytest.param(None, 500, 21, id="a trigger's rate is not known"),
        pytest.param(1.0, 100, 8, id="few"),
        pytest.param(1000.0, 60_000, 256, id="memory is bounded"),
    ],
)
def test_buffers_are_for_the_budget(rate_hz: float | None, deadline_ms: int, buffers: int) -> None:
    assert buffers_for(rate_hz, deadline_ms) == buffers


@pytest.mark.parametrize(
    ("name", "known"),
    [("Mono8", PixelFormat.MONO8), ("RGB8Packed", PixelFormat.RGB8), ("Mono12p", None), ("YUV422_8", None)],
)
def test_formats_by_the_names_of_cameras(name: str, known: PixelFormat | None) -> None:
    assert house_format(name) is known


class Chunks:
    """As Aravis' parser of chunk data; no fake camera sends any."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = itertools.chain(numbers)

    def get_integer_value(self, _buffer: object, name: str) -> int:
        assert name == "CounterValue"
        return next(self._numbers)


def test_a_counter_in_the_frame_numbers_the_parts(gige: FakeCamera) -> None:
    with closing(source(**EASY)) as camera:
        camera.open()
        first(1, camera.grabs())
        camera._counter.restart()
        camera._chunks = Chunks([7, 8, 12, 13])
        camera._options = GenicamSource(
            device=DEVICE, trigger_number="chunk:CounterValue", **{**SMALL, **EASY}
        )._options
        grabs = first(5, camera.grabs())
        camera._chunks = None
    first_one, *losses = [grab.count for grab in grabs if isinstance(grab, Lost) and not torn(grab)]
    assert first_one >= 1, "opened anew, after as long as this machine took"
    assert losses == [3]
