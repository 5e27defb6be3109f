"""Rows of a line-scan camera joined into frames: so many rows each, or from edge to edge of a part. Pure.

rows:   ████████████████████████████        parts:  ░░░████████░░░░░██████░░░
frames: [    0    ]                         frames:  [ m  0   m ]  [m 1  m]
               [    1    ]  overlap kept                 margin kept
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ConfigError
from inspector.imaging.pixels import as_pixels

Rows = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Joined:
    """A frame of rows that follow each other, with the number of its first row since the start."""

    rows: Rows
    first_row: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A frame that would have begun at `first_row`, and why it is not there."""

    why: str
    first_row: int


class Joiner(Protocol):
    """Takes rows as they come, (rows, columns) or (rows, columns, 3), and gives frames."""

    def add(self, rows: Rows) -> Iterator[Joined | Gap]:
        """More rows, right after those before."""

    def lose(self, count: int, why: str) -> Iterator[Joined | Gap]:
        """`count` rows passed that did not come; 0 if it is not known how many."""


class RowCount:
    """Frames of `rows` rows; each begins with the last `overlap` rows of the one before.

    A camera whose lines are triggered by an encoder gives a row per step of it, so that a count of rows is a length of
    material. Rows that were lost count too: the frames after them lie where they would have lain.
    """

    def __init__(self, rows: int, overlap: int = 0) -> None:
        """Raises ConfigError if there is nothing between two overlaps."""
        if not 0 <= overlap < rows:
            raise ConfigError(f"an overlap of {overlap} rows in frames of {rows}: choose less than the frame's rows")
        self._rows, self._overlap = rows, overlap
        # Rows of the frame that is being joined, in pieces; of those that were lost only how many, and why.
        self._pieces: list[Rows | tuple[int, str]] = []
        self._have = 0
        self._first = 0

    def add(self, rows: Rows) -> Iterator[Joined | Gap]:
        while len(rows):
            piece = rows[: self._rows - self._have]
            rows = rows[len(piece) :]
            yield from self._join(piece)

    def lose(self, count: int, why: str) -> Iterator[Joined | Gap]:
        if not count:
            # Where the material is now is not known: a new frame begins.
            yield Gap(why, self._first)
            self._first += self._have
            self._pieces, self._have = [], 0
        while count:
            passed = min(count, self._rows - self._have)
            count -= passed
            yield from self._join((passed, why))

    def _join(self, piece: Rows | tuple[int, str]) -> Iterator[Joined | Gap]:
        self._pieces.append(piece)
        self._have += _length(piece)
        if self._have < self._rows:
            return
        lost = next((piece[1] for piece in self._pieces if isinstance(piece, tuple)), None)
        first, self._first = self._first, self._first + self._rows - self._overlap
        whole = (
            None if lost is not None else np.concatenate([one for one in self._pieces if not isinstance(one, tuple)])
        )
        self._pieces, self._have = _last(self._pieces, self._overlap), self._overlap
        yield Gap(lost or "", first) if whole is None else Joined(whole, first)


def _length(piece: Rows | tuple[int, str]) -> int:
    return piece[0] if isinstance(piece, tuple) else len(piece)


def _last(pieces: list[Rows | tuple[int, str]], count: int) -> list[Rows | tuple[int, str]]:
    """The last `count` rows of the pieces."""
    kept: list[Rows | tuple[int, str]] = []
    for piece in reversed(pieces):
        if not count:
            break
        taken = min(count, _length(piece))
        kept.insert(0, (taken, piece[1]) if isinstance(piece, tuple) else piece[len(piece) - taken :])
        count -= taken
    return kept


@dataclass(frozen=True, slots=True)
class EdgeRule:
    """What a part looks like from row to row: brighter (or darker) than `threshold` in its mean over some columns.

    `edge_rows` of a kind in a row make an edge, `margin` rows are kept before and after the part. A part shorter than
    `min_rows` is noise; one longer than `max_rows` is announced and its rows left out.
    """

    threshold: float
    polarity: str = "bright"
    edge_rows: int = 4
    margin: int = 16
    min_rows: int = 16
    max_rows: int = 20_000
    left_px: int = 0
    right_px: int = 0


class PartEdges:
    """A frame for each part that passes, from edge to edge, with the margin around it."""

    def __init__(self, rule: EdgeRule) -> None:
        self._rule = rule
        # Outside of a part the margin before it and what may be its edge; within one all of it, `_lead` rows of it before it.
        self._kept: list[Rows] = []
        self._lead = 0
        self._next_row = 0
        self._inside = self._too_long = False
        self._alike = 0
        # A part that has passed and waits for its margin: its rows, its first row, how many are still to come.
        self._closing: tuple[list[Rows], int, int] | None = None

    def add(self, rows: Rows) -> Iterator[Joined | Gap]:
        for row, is_part in zip(rows, self._shows(rows), strict=True):
            yield from self._take(row, bool(is_part))

    def lose(self, count: int, why: str) -> Iterator[Joined | Gap]:
        yield from self._close(at_once=True)
        if self._inside or self._alike:
            # What passed unseen may have been the end of this part and the beginning of another.
            yield Gap(why, self._next_row - len(self._kept))
        elif count == 0 or count >= self._rule.min_rows:
            yield Gap(f"{why}; a part may have passed there", self._next_row)
        self._next_row += count
        self._kept, self._alike = [], 0
        self._inside = self._too_long = False

    def _shows(self, rows: Rows) -> NDArray[np.bool_]:
        rule = self._rule
        band = rows[:, rule.left_px : rule.right_px or None]
        means = band.reshape(len(rows), -1).mean(axis=1) if band.size else np.zeros(len(rows))
        return np.asarray(means > rule.threshold if rule.polarity == "bright" else means < rule.threshold)

    def _take(self, row: Rows, is_part: bool) -> Iterator[Joined | Gap]:
        rule = self._rule
        if self._closing is not None:
            rows, first, missing = self._closing
            rows.append(row)
            self._closing = (rows, first, missing - 1)
            yield from self._close()
        self._kept.append(row)
        self._next_row += 1
        self._alike = self._alike + 1 if is_part != self._inside else 0
        if self._inside and not self._too_long and len(self._kept) - self._lead > rule.max_rows + rule.edge_rows:
            self._too_long = True
            why = f"a part is longer than {rule.max_rows} rows: do two parts touch, or is the threshold wrong?"
            yield Gap(why, self._next_row - len(self._kept))
        if self._alike >= rule.edge_rows:
            if self._inside:
                yield from self._end()
            else:
                self._lead = min(len(self._kept) - rule.edge_rows, rule.margin)
                self._kept = self._kept[-(self._lead + rule.edge_rows) :]
            self._inside, self._alike, self._too_long = not self._inside, 0, False
        if not self._inside or self._too_long:
            self._kept = self._kept[-(rule.margin + rule.edge_rows) :]

    def _end(self) -> Iterator[Joined | Gap]:
        rule = self._rule
        part_rows = len(self._kept) - rule.edge_rows - self._lead
        if self._too_long or part_rows < rule.min_rows:
            return
        yield from self._close(at_once=True)
        whole = self._kept[: self._lead + part_rows + min(rule.margin, rule.edge_rows)]
        self._closing = (whole, self._next_row - len(self._kept), rule.margin - rule.edge_rows)
        yield from self._close()

    def _close(self, *, at_once: bool = False) -> Iterator[Joined | Gap]:
        if self._closing is not None and (at_once or self._closing[2] <= 0):
            rows, first, _ = self._closing
            self._closing = None
            yield Joined(as_pixels(np.stack(rows)), first)
