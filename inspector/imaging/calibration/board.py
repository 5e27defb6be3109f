"""The ChArUco board: what it is, how it is drawn to scale, and where its corners are in a picture."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from inspector.errors import ConfigError
from inspector.imaging.normalise import to_8_bit, to_grey
from inspector.part import Image

_DICTIONARY = cv2.aruco.DICT_5X5_250
_MM_PER_INCH = 25.4
_LEAST_CORNERS = 6
PAPERS_MM = {"A4": (297.0, 210.0), "A3": (420.0, 297.0), "A5": (210.0, 148.0), "A6": (148.0, 105.0)}
"""Landscape, width and height."""


@dataclass(frozen=True, slots=True)
class Board:
    """A ChArUco board (Garrido-Jurado et al., Pattern Recognition 47 (2014)) of `columns` by `rows` squares.

    `tolerance_mm` is how far the distance of two corners may be from what it should be, over the whole board: that of the
    printer, or of the certificate of a board that was bought.
    Errors: ConfigError for a board that cannot be.
    """

    columns: int = 11
    rows: int = 8
    square_mm: float = 15.0
    marker_share: float = 0.75
    tolerance_mm: float = 0.2

    def __post_init__(self) -> None:
        if not (3 <= self.columns <= 30 and 3 <= self.rows <= 30):
            raise ConfigError(f"the board has {self.columns} × {self.rows} squares, expected 3 to 30 each way")
        if not (0.1 <= self.square_mm <= 1000 and 0.4 <= self.marker_share <= 0.9):
            raise ConfigError(
                f"squares of {self.square_mm:g} mm with markers of {self.marker_share:.0%} of that: expected 0.1 to 1000 mm "
                "and 40 to 90 %"
            )
        if not 0 <= self.tolerance_mm <= self.square_mm:
            raise ConfigError(f"the board's tolerance is {self.tolerance_mm:g} mm, expected 0 to one square")
        if self.columns * self.rows // 2 > 250:
            raise ConfigError(
                f"{self.columns} × {self.rows} squares need more than the 250 markers there are: use fewer"
            )

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        return self.columns * self.square_mm, self.rows * self.square_mm

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.columns} × {self.rows} squares of {self.square_mm:g} mm"

    def corner_mm(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        """Where inner corners lie, float64 (n, 2): x to the right and y down from the top left corner of the board."""
        return np.asarray(self._charuco().getChessboardCorners(), np.float64)[ids, :2]

    def draw(self, px_per_mm: float) -> NDArray[np.uint8]:
        """The board without margin, uint8 (height, width): every square is a whole number of pixels."""
        square_px = max(8, round(self.square_mm * px_per_mm))
        size = (self.columns * square_px, self.rows * square_px)
        return np.asarray(self._charuco().generateImage(size, marginSize=0), np.uint8)

    def _charuco(self) -> cv2.aruco.CharucoBoard:
        dictionary = cv2.aruco.getPredefinedDictionary(_DICTIONARY)
        marker_mm = self.square_mm * self.marker_share
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square_mm, marker_mm, dictionary)


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """Corners of the board found in one picture: `px` float64 (n, 2), x and y; `ids` say which."""

    px: NDArray[np.float64]
    ids: NDArray[np.int32]


def find_corners(image: Image, board: Board) -> Corners | None:
    """Corners of the board in a picture, to a fraction of a pixel; None if fewer than six are seen."""
    grey = to_grey(to_8_bit(image.pixels, image.bits))
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    # The module's attributes are typed as any; what it returns is None where it found nothing.
    detector = cv2.aruco.CharucoDetector(board._charuco(), detectorParams=parameters)
    found, ids, _, _ = detector.detectBoard(np.ascontiguousarray(grey))
    if found is None or ids is None or len(ids) < _LEAST_CORNERS:
        return None
    return Corners(np.asarray(found, np.float64).reshape(-1, 2), np.asarray(ids, np.int32).ravel())


def print_board(board: Board, paper: str = "A4", dpi: int = 600) -> dict[str, bytes]:
    """A sheet to print without scaling: PNG and PDF, by their endings. Errors: ConfigError if it does not fit the paper."""
    if paper not in PAPERS_MM:
        raise ConfigError(f'there is no paper "{paper}": choose from {", ".join(PAPERS_MM)}')
    width_mm, height_mm = PAPERS_MM[paper]
    board_mm = board.size_mm
    if board_mm[0] > width_mm - 10 or board_mm[1] > height_mm - 16:
        raise ConfigError(
            f"the board is {board_mm[0]:g} × {board_mm[1]:g} mm, {paper} has {width_mm - 10:g} × {height_mm - 16:g} mm to "
            "print on: use smaller squares, fewer of them, or larger paper"
        )
    sheet = _sheet(board, (width_mm, height_mm), dpi)
    picture = Pillow.fromarray(sheet)
    made = {}
    for ending, form in ((".png", "PNG"), (".pdf", "PDF")):
        target = io.BytesIO()
        how = {"dpi": (dpi, dpi)} if form == "PNG" else {"resolution": float(dpi)}
        picture.save(target, form, **how)
        made[ending] = target.getvalue()
    return made


def _sheet(board: Board, paper_mm: tuple[float, float], dpi: int) -> NDArray[np.uint8]:
    """The paper, uint8 (height, width), with the board in its middle and below it what it is and a ruler to check by."""
    px_per_mm = dpi / _MM_PER_INCH
    width, height = (round(side * px_per_mm) for side in paper_mm)
    sheet = np.full((height, width), 255, np.uint8)
    # Squares of a whole number of pixels would be off by up to half a pixel each: the board is drawn large and brought to size.
    size = tuple(round(side * px_per_mm) for side in board.size_mm)
    drawn = cv2.resize(board.draw(2 * px_per_mm), size, interpolation=cv2.INTER_AREA)
    left, top = (width - size[0]) // 2, max(round(5 * px_per_mm), (height - size[1]) // 2 - round(4 * px_per_mm))
    sheet[top : top + size[1], left : left + size[0]] = drawn
    below = top + size[1] + round(3 * px_per_mm)
    ruler_mm = min(100, int(board.size_mm[0] // 10) * 10)
    ruler_px = round(ruler_mm * px_per_mm)
    cv2.rectangle(sheet, (left, below), (left + ruler_px, below + round(0.4 * px_per_mm)), 0, -1)
    what = f"{board.columns} x {board.rows}, {board.square_mm:g} mm."
    text = f"{what} Print at 100 %, then measure: this line is {ruler_mm} mm long."
    scale = px_per_mm / 10
    cv2.putText(
        sheet, text, (left, below + round(5 * px_per_mm)), cv2.FONT_HERSHEY_SIMPLEX, scale, 0, max(1, round(scale))
    )
    return sheet
