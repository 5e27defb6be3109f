"""A commissioning step by step, and what it leaves."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from commissioning.scene import BOARD, FLATS, boards, flats, parts

from inspector.commissioning.leave import REPORT, leave
from inspector.commissioning.live import BINS, read_frame
from inspector.commissioning.session import Outcome, Session, Step, Wanted
from inspector.errors import ConfigError
from inspector.imaging.calibration.file import read_calibration, write_calibration
from inspector.imaging.reference_set import CALIBRATION, open_reference_set
from inspector.part import Image

NOW = datetime(2026, 3, 3, 8, 0, tzinfo=UTC)


def fed(session: Session, pictures: list[np.typing.NDArray[np.uint8]]) -> None:
    for picture in pictures:
        session.take(Image(picture))


@pytest.fixture(scope="module")
def done() -> Session:
    session = Session(Wanted(FLATS, 5, 24, by_itself=True), BOARD)
    for pictures in (flats(), boards(), parts(24)):
        fed(session, pictures)
    return session


@pytest.fixture(scope="module")
def outcome(done: Session) -> Outcome:
    return done.outcome(NOW, NOW)


def test_by_itself_it_takes_what_comes_in_order(done: Session, outcome: Outcome) -> None:
    assert done.is_done
    assert outcome.flat is not None
    assert outcome.flat.unevenness == pytest.approx(1 / 0.75 - 1, abs=0.03)
    assert outcome.calibration is not None
    assert outcome.calibration.pictures == 5
    assert outcome.reference.frames == 24
    assert sorted(outcome.pictures) == [f"board-{n:02d}" for n in range(1, 6)] + [f"part-{n:02d}" for n in range(1, 9)]


def test_what_it_leaves_is_read_again_and_says_who_and_when(outcome: Outcome, tmp_path: Path) -> None:
    made = leave(outcome, tmp_path / "cam1", "cam1", "a <folder>", NOW, "Anna & Berg")
    again = open_reference_set(tmp_path / "cam1")
    assert (again.label, again.camera, again.by, again.taken) == (made.label, "cam1", "Anna & Berg", NOW)
    assert again.health().frames == 24
    assert outcome.calibration is not None
    assert read_calibration(again.read(CALIBRATION), "it") == outcome.calibration
    page = (tmp_path / "cam1" / REPORT).read_text()
    assert "Anna &amp; Berg" in page
    assert "a &lt;folder&gt;" in page
    assert f"{outcome.calibration.as_seen.mm_per_px:.6g}" in page
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", page), "the report needs nothing from elsewhere"
    with pytest.raises(ConfigError, match="is not empty"):
        leave(outcome, tmp_path / "cam1", "cam1", "", NOW, "Ben")


@pytest.mark.parametrize(
    ("file", "spoil", "told"),
    [
        ("health.npz", b"other", "not as it was written"),
        ("calibration.json", None, "cannot be read"),
        ("reference.json", b"{", "no reference of a camera"),
        ("reference.json", b'{"format": 9}', "has format 9"),
    ],
)
def test_a_set_that_was_changed_is_refused(
    outcome: Outcome, tmp_path: Path, file: str, spoil: bytes | None, told: str
) -> None:
    leave(outcome, tmp_path / "cam1", "cam1", "", NOW, "Anna")
    path = tmp_path / "cam1" / file
    path.unlink() if spoil is None else path.write_bytes(spoil)
    with pytest.raises(ConfigError, match=told):
        read_all(tmp_path / "cam1")


def read_all(path: Path) -> None:
    read = open_reference_set(path)
    read.health()
    read.read(CALIBRATION)


def test_a_person_says_when_to_go_on() -> None:
    session = Session(Wanted(flat=8, parts=20), BOARD)
    fed(session, flats())
    assert session.view().step is Step.LOOK
    session.go_on()
    fed(session, flats()[:4])
    view = session.view()
    assert (view.step, view.taken, view.is_taking) == (Step.FLAT, 0, False), (
        "nothing is taken before the target is there"
    )
    session.go_on()
    fed(session, flats())
    assert session.view().step is Step.PARTS, "after the last flat frame parts are taken as they come"
    fed(session, parts(20))
    assert session.is_done


def test_a_board_counts_again_when_it_is_held_in_another_way() -> None:
    session = Session(Wanted(board=3, parts=20), BOARD)
    session.go_on()
    session.go_on()
    seen = boards()
    fed(session, [seen[0], seen[0], flats()[0], seen[1]])
    view = session.view()
    assert (view.step, view.taken) == (Step.BOARD, 2)
    fed(session, [flats()[0]])
    assert "no board of 13 × 10 squares" in session.view().told


def test_steps_that_are_skipped_make_nothing() -> None:
    session = Session(Wanted(flat=8, board=3, parts=20), BOARD)
    for _ in range(3):
        session.skip()
    session.skip()
    assert session.view().step is Step.PARTS, "parts cannot be skipped"
    fed(session, parts(20))
    outcome = session.outcome(NOW, NOW)
    assert (outcome.flat, outcome.calibration) == (None, None)


def test_what_the_line_corrects_is_corrected_in_the_reference() -> None:
    plain, even = (
        Session(Wanted(FLATS, 1, 20, by_itself=True), BOARD, corrected=corrected)
        for corrected in ([], ["flat", "lens"])
    )
    for session in (plain, even):
        for pictures in (flats(), boards(tilted=False), parts(20)):
            fed(session, pictures)
    maps = [np.exp(one.outcome(NOW, NOW).reference.middle) for one in (plain, even)]
    against_centre = [float(np.median(cells[2:5, -8:-2]) / np.median(cells[30:34, 16:20])) for cells in maps]
    assert against_centre[1] > 1.1 * against_centre[0], "the flat field lifts the corner"
    assert even.outcome(NOW, NOW).corrected == ("flat", "lens")


@pytest.mark.parametrize(("corrected", "wanted"), [(["flat"], Wanted(board=3)), (["lens"], Wanted(flat=8))])
def test_a_correction_needs_its_step(corrected: list[str], wanted: Wanted) -> None:
    with pytest.raises(ConfigError, match="is 0: give frames for it"):
        Session(wanted, BOARD, corrected=corrected)
    session = Session(Wanted(flat=8, board=3), BOARD, corrected=corrected)
    session.go_on()
    for _ in range(3):
        session.skip()
    assert session.view().step is not Step.PARTS, "nor can it be skipped"


def test_frames_of_another_size_are_left_out_and_told() -> None:
    session = Session(Wanted(parts=20, by_itself=True), BOARD)
    fed(session, [*parts(2), np.full((100, 100), 80, np.uint8), np.zeros((10, 10), np.uint8)])
    view = session.view()
    assert view.taken == 2
    assert "too small" in view.told


def test_too_few_or_no_parts_make_no_reference() -> None:
    session = Session(Wanted(parts=20, by_itself=True), BOARD)
    with pytest.raises(ConfigError, match="let good parts pass"):
        session.outcome(NOW, NOW)


@pytest.mark.parametrize(
    ("level", "advice"),
    [(255, "saturated"), (5, "is dark"), (90, "unused"), (200, "")],
)
def test_a_reading_says_what_to_do(level: int, advice: str) -> None:
    rng = np.random.default_rng(0)
    picture = np.clip(rng.normal(level, 2, (120, 160)), 0, 255).astype(np.uint8)
    reading = read_frame(Image(picture))
    assert advice in reading.advice
    assert bool(reading.advice) is bool(advice)
    assert len(reading.histogram) == BINS
    assert sum(reading.histogram) == pytest.approx(1.0)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format": 1}', b'{"format": 7}'])
def test_what_is_no_calibration_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"calibration\.json"):
        read_calibration(data, "calibration.json")


def test_a_scale_of_nothing_is_refused(outcome: Outcome) -> None:
    calibration = outcome.calibration
    assert calibration is not None
    spoilt = write_calibration(calibration).replace(str(calibration.as_seen.mm_per_px).encode(), b"0.0")
    with pytest.raises(ConfigError, match="is none"):
        read_calibration(spoilt, "calibration.json")
