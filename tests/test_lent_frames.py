"""Frames in memory that the camera program can change: judged only if they stayed as sent, kept with pixels of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toy_line import SIZE, Line, open_line

from inspector.errors import FrameError
from inspector.imaging.archive import unarchive
from inspector.part import Inspection, PixelFormat, Reason, Verdict
from inspector.records.evidence import LOST_OVERWRITTEN

DARK, GREY, BRIGHT = 2, 20, 240


class Memory:
    """Pixels that another program may change: it does so when `changes` says, by how often they were checked."""

    def __init__(self, value: int, size: int = SIZE, holds_for: int = 1 << 30) -> None:
        self.pixels = np.full((size, size), value, np.uint8)
        self.checks = 0
        self._holds_for = holds_for

    def check(self) -> None:
        self.checks += 1
        if self.checks > self._holds_for:
            raise FrameError(Reason.FRAME_OVERWRITTEN, "another frame is there")

    def frame(self, pixel_format: PixelFormat = PixelFormat.MONO8) -> dict[str, object]:
        size = self.pixels.shape[0]
        about = {"pixel_format": pixel_format, "width_px": size, "height_px": size, "data": self.pixels.data.cast("B")}
        return {**about, "lease": self}


CASES = [
    ("good, and never touched", GREY, SIZE, 1 << 30, Reason.WITHIN_LIMITS, ""),
    ("good, and resized for the model", GREY, 4 * SIZE, 1 << 30, Reason.WITHIN_LIMITS, ""),
    ("rejected, and kept", BRIGHT, SIZE, 1 << 30, Reason.SCORE_ABOVE_LIMIT, ""),
    ("changed while it was made into the model's input", GREY, SIZE, 0, Reason.FRAME_OVERWRITTEN, LOST_OVERWRITTEN),
    ("changed, and what is there now is too dark", DARK, SIZE, 0, Reason.FRAME_OVERWRITTEN, LOST_OVERWRITTEN),
    ("too dark as it was sent", DARK, SIZE, 1 << 30, Reason.IMAGE_TOO_DARK, ""),
    ("judged, and changed before it was kept", BRIGHT, SIZE, 1, Reason.SCORE_ABOVE_LIMIT, LOST_OVERWRITTEN),
]


@pytest.mark.parametrize(
    ("why", "value", "size", "holds_for", "reason", "lost"), CASES, ids=[case[0] for case in CASES]
)
def test_a_lent_frame_is_judged_as_it_was_sent_or_not_at_all(
    tmp_path: Path, why: str, value: int, size: int, holds_for: int, reason: Reason, lost: str
) -> None:
    memory = Memory(value, size, holds_for)
    with open_line(tmp_path) as line:
        line.send(1, **memory.frame())
        (told,) = line.wait_replies(1)
        assert told.reason is reason
        assert line.evidence.wait_idle(10)
        # Of a reject the heat map too, which is the service's own.
        pictures = {Verdict.PASS: 0, Verdict.UNKNOWN: 1, Verdict.REJECT: 2}[told.verdict]
        assert line.evidence.lost == ({lost: 1} if lost else {})
        assert line.evidence.stored == pictures - bool(lost)


def test_the_model_never_sees_what_comes_after(tmp_path: Path) -> None:
    """A frame of the model's own size needs no resizing: its input must still not be the camera's memory."""
    memory = Memory(GREY)
    with open_line(tmp_path) as line:
        line.engine.open.clear()
        line.send(1, **memory.frame())
        memory.pixels[:] = BRIGHT
        line.engine.open.set()
        (told,) = line.wait_replies(1)
        assert told.score == pytest.approx(GREY / 255)


def test_the_picture_kept_is_the_one_judged_though_its_place_is_used_again_at_once(tmp_path: Path) -> None:
    memory = Memory(BRIGHT)
    with open_line(tmp_path) as line:
        _use_again_when_answered(line, memory)
        line.send(1, **memory.frame())
        line.wait_replies(1)
        assert line.evidence.wait_idle(10)
        files = [
            path for path in (tmp_path / "images").rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x89PNG"
        ]
        frames = [unarchive(path.read_bytes()) for path in files]
        assert bytes([BRIGHT]) * (SIZE * SIZE) in [frame.data for frame in frames]


def _use_again_when_answered(line: Line, memory: Memory) -> None:
    told: Callable[[Inspection], None] = line.reply

    def reply(inspection: Inspection) -> None:
        memory.pixels[:] = 0
        told(inspection)

    line.reply = reply  # type: ignore[method-assign]


def test_a_view_that_comes_after_the_verdict_is_kept_with_pixels_of_its_own(tmp_path: Path) -> None:
    top, side = Memory(BRIGHT), Memory(GREY)
    with open_line(tmp_path, views=("top", "side")) as line:
        line.send(1, camera="top", **top.frame())
        line.wait_replies(1)
        line.send(1, camera="side", **side.frame())
        side.pixels[:] = 0
        line.wait_replies(2)
        assert line.evidence.wait_idle(10)
        assert line.evidence.lost == {}
        kept = [path.read_bytes() for path in (tmp_path / "images").rglob("*") if path.is_file()]
        frames = [unarchive(data).data for data in kept if data[:4] == b"\x89PNG"]
        assert bytes([GREY]) * (SIZE * SIZE) in frames
