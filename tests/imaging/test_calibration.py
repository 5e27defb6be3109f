"""Calibration against boards of known lens, place and scale: the truth lies within what it says it may be wrong by."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from imaging.boards import Camera, Pose, photograph_board, true_scales
from PIL import Image as Pillow

from inspector.errors import ConfigError
from inspector.imaging.calibration.board import Board, Corners, find_corners, print_board
from inspector.imaging.calibration.lens import advice, calibrate
from inspector.part import Image

BOARD = Board(columns=13, rows=10, square_mm=14.0, tolerance_mm=0.2)
FLAT = Pose(z_mm=400)
TILTED = (
    Pose(x_mm=-20, y_mm=10, z_mm=420, about_x=22, about_z=10),
    Pose(x_mm=20, y_mm=-10, z_mm=410, about_y=25, about_z=-15),
    Pose(x_mm=10, y_mm=15, z_mm=430, about_x=-20, about_y=15, about_z=80),
    Pose(x_mm=-15, y_mm=-12, z_mm=380, about_x=12, about_y=-24),
    Pose(x_mm=0, y_mm=0, z_mm=440, about_x=-18, about_y=-18, about_z=170),
    Pose(x_mm=25, y_mm=12, z_mm=400, about_y=-15, about_z=45),
)


def corners_of(camera: Camera, poses: tuple[Pose, ...], *, printed: float = 1.0) -> list[Corners]:
    found = [
        find_corners(Image(photograph_board(BOARD, camera, pose, printed=printed, seed=number)), BOARD)
        for number, pose in enumerate(poses)
    ]
    assert all(one is not None for one in found)
    return [one for one in found if one is not None]


@pytest.mark.parametrize(
    ("camera", "plane", "tilted", "printed", "why"),
    [
        (Camera(), FLAT, (), 1.0, "one picture, upright, no distortion"),
        (Camera(k1=-0.25, k2=0.1), FLAT, (), 1.0, "one picture, barrel distortion"),
        (Camera(k1=0.2), Pose(z_mm=400, about_z=30, x_mm=5), (), 1.0, "one picture, pincushion, turned"),
        (Camera(k1=-0.2), Pose(z_mm=400, about_x=3, about_y=-2), TILTED, 1.0, "lens and a camera three degrees askew"),
        (
            Camera(k1=-0.15),
            FLAT,
            TILTED,
            1.0008,
            "printed 0.08 % too large, 0.18 mm over the board, within its tolerance",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_true_scale_lies_within_the_uncertainty(
    camera: Camera, plane: Pose, tilted: tuple[Pose, ...], printed: float, why: str
) -> None:
    seen = corners_of(camera, (plane, *tilted), printed=printed)
    made = calibrate(seen, BOARD, (camera.width_px, camera.height_px))
    truth = true_scales(camera, plane, BOARD)
    off = np.abs(truth / made.as_seen.mm_per_px - 1)
    assert off.max() <= made.as_seen.uncertainty, f"{why}: off by {off.max():.2%}, said {made.as_seen.uncertainty:.2%}"
    assert made.as_seen.uncertainty <= 1.5 * off.max() + 0.005, "it is not wide for the sake of being right"
    straight = true_scales(Camera(k1=0, k2=0, focal_px=camera.focal_px), plane, BOARD)
    middle = np.median(straight)
    assert abs(middle / made.straightened.mm_per_px - 1) <= made.straightened.uncertainty
    assert made.straightened.field <= made.as_seen.field + 1e-3


def test_the_lens_is_found_from_tilted_boards() -> None:
    camera = Camera(k1=-0.22, k2=0.05)
    made = calibrate(
        corners_of(camera, (FLAT, *TILTED)), BOARD, (camera.width_px, camera.height_px), height_tolerance_mm=2.0
    )
    assert made.lens.is_fitted
    assert made.lens.focal_px[0] == pytest.approx(camera.focal_px, rel=0.01)
    assert made.lens.distortion[0] == pytest.approx(camera.k1, abs=0.03)
    assert made.distance_mm == pytest.approx(400, rel=0.015)
    assert made.as_seen.height == pytest.approx(2.0 / 400 / np.sqrt(3), rel=0.02)
    assert made.lens.rms_px < 0.2
    assert not advice(made)


def test_straightening_takes_the_distortion_out_of_the_scale() -> None:
    camera = Camera(k1=-0.3)
    made = calibrate(corners_of(camera, (FLAT, *TILTED)), BOARD, (camera.width_px, camera.height_px))
    assert made.as_seen.field > 0.015
    assert made.straightened.field < 0.003


def test_height_without_a_focal_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="do not say how far away"):
        calibrate(corners_of(Camera(), (FLAT,)), BOARD, (640, 512), height_tolerance_mm=1.0)


def test_no_board_is_told() -> None:
    assert find_corners(Image(np.full((200, 300), 90, np.uint8)), BOARD) is None
    with pytest.raises(ConfigError, match="found in no picture"):
        calibrate([], BOARD, (640, 512))


def test_a_small_far_board_is_advised_against() -> None:
    made = calibrate(corners_of(Camera(), (Pose(z_mm=1100),)), BOARD, (640, 512))
    assert any("of the picture" in said for said in advice(made))


@pytest.mark.parametrize(
    ("about", "fault"),
    [
        ({"columns": 2}, "3 to 30"),
        ({"square_mm": 0.0}, "0.1 to 1000"),
        ({"tolerance_mm": -1.0}, "tolerance"),
        ({"columns": 30, "rows": 30}, "markers"),
        ({"marker_share": 0.99}, "40 to 90"),
    ],
)
def test_boards_that_cannot_be(about: dict[str, float], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        Board(**about)  # type: ignore[arg-type]


def test_the_sheet_is_to_scale() -> None:
    board, dpi = Board(columns=7, rows=5, square_mm=20.0), 300
    made = print_board(board, "A4", dpi)
    sheet = Pillow.open(io.BytesIO(made[".png"]))
    assert sheet.info["dpi"] == pytest.approx((dpi, dpi), abs=0.1)
    assert sheet.size == (round(297 / 25.4 * dpi), round(210 / 25.4 * dpi))
    found = find_corners(Image(np.asarray(sheet)), board)
    assert found is not None
    assert len(found.ids) == 24
    px, mm = found.px, board.corner_mm(found.ids)
    fitted, _ = cv2.estimateAffinePartial2D(mm, px)
    assert np.hypot(fitted[0, 0], fitted[1, 0]) * 25.4 / dpi == pytest.approx(1.0, abs=5e-4)
    pdf = made[".pdf"]
    assert pdf.startswith(b"%PDF")
    points = [round(side / 25.4 * 72, 0) for side in (297, 210)]
    box = pdf.split(b"/MediaBox")[1].split(b"]")[0].strip(b" [").split()
    assert [round(float(value)) for value in box[2:]] == pytest.approx(points, abs=1)


def test_a_board_larger_than_the_paper_is_refused() -> None:
    with pytest.raises(ConfigError, match="smaller squares"):
        print_board(Board(columns=11, rows=8, square_mm=30.0), "A4")
