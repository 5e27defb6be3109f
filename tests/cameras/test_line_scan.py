"""Rows of a line-scan camera: joined into frames by count or by the edges of parts, with nothing lost unannounced."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted import ScriptedSource

from inspector.cameras.sources.line_scan import LineScan
from inspector.cameras.sources.rows import EdgeRule, Gap, Joined, Joiner, PartEdges, RowCount
from inspector.cameras.sources.source import Grab, Lost, Taken
from inspector.errors import ConfigError, SourceError
from inspector.part import Frame, PixelFormat

WIDTH = 4


def numbered(first: int, count: int) -> NDArray[np.uint16]:
    """Rows that say their own number."""
    return np.repeat(np.arange(first, first + count, dtype=np.uint16)[:, None], WIDTH, axis=1)


def spans(told: list[Joined | Gap]) -> list[tuple[int, int] | str]:
    """First and last row of each frame, as its rows say; of gaps why."""
    return [(int(one.rows[0, 0]), int(one.rows[-1, 0])) if isinstance(one, Joined) else one.why for one in told]


COUNTS: list[tuple[str, int, int, list[int], list[tuple[int, int] | str]]] = [
    ("no rows", 10, 0, [], []),
    ("one block is one frame", 10, 0, [10], [(0, 9)]),
    ("blocks smaller than a frame", 10, 0, [4, 4, 4, 4, 4], [(0, 9), (10, 19)]),
    ("a block of several frames", 10, 0, [35], [(0, 9), (10, 19), (20, 29)]),
    ("an overlap is in both", 10, 3, [24], [(0, 9), (7, 16), (14, 23)]),
    ("an overlap of all but one", 3, 2, [6], [(0, 2), (1, 3), (2, 4), (3, 5)]),
    (
        "rows that were lost spoil the frame that they are in, and count",
        10,
        0,
        [15, -2, 13],
        [(0, 9), "lost", (20, 29)],
    ),
    ("many that were lost spoil each frame that they are in", 10, 0, [5, -20, 15], ["lost", "lost", "lost", (30, 39)]),
    ("with an overlap also the next", 10, 3, [8, -2, 18], ["lost", "lost", (14, 23)]),
    ("nobody knows how many: a new frame begins", 10, 0, [15, 0, 10], [(0, 9), "lost", (15, 24)]),
]


@pytest.mark.parametrize(("why", "rows", "overlap", "blocks", "expected"), COUNTS, ids=[row[0] for row in COUNTS])
def test_so_many_rows(
    why: str, rows: int, overlap: int, blocks: list[int], expected: list[tuple[int, int] | str]
) -> None:
    joiner, told, at = RowCount(rows, overlap), [], 0
    for block in blocks:
        told += list(joiner.add(numbered(at, block)) if block > 0 else joiner.lose(-block, "lost"))
        at += abs(block)
    assert spans(told) == expected


@given(st.integers(1, 40), st.data())
def test_however_the_rows_come_the_frames_are_the_same(rows: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, rows - 1))
    blocks = data.draw(st.lists(st.integers(1, 50), max_size=12))
    joiner, told, at = RowCount(rows, overlap), [], 0
    for block in blocks:
        told += list(joiner.add(numbered(at, block)))
        at += block
    step = rows - overlap
    expected = [(first, first + rows - 1) for first in range(0, at - rows + 1, step)]
    assert spans(told) == expected
    assert [one.first_row for one in told] == [first for first, _ in expected]


def test_an_overlap_as_large_as_the_frame_is_refused() -> None:
    with pytest.raises(ConfigError, match="less than the frame's rows"):
        RowCount(10, 10)


RULE = EdgeRule(threshold=100, edge_rows=2, margin=3, min_rows=4, max_rows=30)
DARK, PART = 20, 200


def belt(*runs: int) -> NDArray[np.uint8]:
    """Rows of the belt and of parts in turn, so many of each."""
    values = [value for number, run in enumerate(runs) for value in [PART if number % 2 else DARK] * run]
    return np.repeat(np.array(values, np.uint8)[:, None], WIDTH, axis=1)


def parts(joiner: Joiner, rows: NDArray[np.uint8], block: int = 7) -> list[tuple[int, int] | str]:
    """First row and number of rows of each frame."""
    told: list[Joined | Gap] = []
    for at in range(0, len(rows), block):
        told += list(joiner.add(rows[at : at + block]))
    return [(one.first_row, len(one.rows)) if isinstance(one, Joined) else one.why.split(":")[0] for one in told]


EDGES: list[tuple[str, tuple[int, ...], list[tuple[int, int] | str]]] = [
    ("an empty belt", (50,), []),
    ("one part, with its margin", (10, 12, 10), [(7, 18)]),
    ("two parts", (10, 12, 10, 8, 10), [(7, 18), (29, 14)]),
    ("parts closer than the margin are still two", (10, 12, 2, 8, 10), [(7, 18), (21, 14)]),
    ("a gap too short for an edge is a dark spot on the part", (10, 6, 1, 6, 10), [(7, 19)]),
    ("a part shorter than min_rows is noise", (10, 3, 10), []),
    ("a row of light is none", (10, 1, 10), []),
    ("less than the margin before it", (1, 12, 10), [(0, 16)]),
    ("a part that is there from the start", (0, 12, 10), [(0, 15)]),
    ("a part that is still passing", (10, 12), []),
    ("longer than max_rows", (10, 60, 10, 8, 10), ["a part is longer than 30 rows", (77, 14)]),
]


@pytest.mark.parametrize(("why", "runs", "expected"), EDGES, ids=[row[0] for row in EDGES])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_from_edge_to_edge(why: str, runs: tuple[int, ...], expected: list[tuple[int, int] | str], block: int) -> None:
    assert parts(PartEdges(RULE), belt(*runs), block) == expected


def test_dark_parts_on_a_bright_belt_seen_in_some_columns() -> None:
    rule = EdgeRule(threshold=100, polarity="dark", edge_rows=2, margin=0, min_rows=4, left_px=1, right_px=3)
    rows = 255 - belt(10, 12, 10)
    rows[:, 0] = 0
    assert parts(PartEdges(rule), rows) == [(10, 12)]


LOST = [
    ("in a part", belt(10, 12), 5, "rows lost"),
    ("on the belt, and a part fits in", belt(10), 5, "rows lost; a part may have passed there"),
    ("on the belt, nobody knows how many", belt(10), 0, "rows lost; a part may have passed there"),
    ("on the belt, too few for a part", belt(10), 2, ""),
]


@pytest.mark.parametrize(("why", "before", "lost", "told"), LOST, ids=[row[0] for row in LOST])
def test_rows_that_were_lost(why: str, before: NDArray[np.uint8], lost: int, told: str) -> None:
    joiner = PartEdges(RULE)
    assert parts(joiner, before) == []
    assert [one.why for one in joiner.lose(lost, "rows lost") if isinstance(one, Gap)] == ([told] if told else [])
    found = parts(joiner, belt(10, 12, 10))
    assert [rows for _, rows in found] == [18], "the next part is whole"


# As a source


def block(rows: NDArray[np.uint8], pixel_format: PixelFormat = PixelFormat.MONO8, **changes: object) -> Taken:
    about = {
        "width_px": rows.shape[1],
        "height_px": rows.shape[0],
        "stride_bytes": 0,
        "data": rows.tobytes(),
        **changes,
    }
    return Taken(Frame(0, pixel_format, **about), "block")  # type: ignore[arg-type]


def run(source: LineScan) -> list[Grab]:
    source.open()
    told = [grab for grab in source.grabs() if grab is not None]
    source.close()
    return told


def shown(told: list[Grab]) -> list[object]:
    return [
        (grab.frame.width_px, grab.frame.height_px, len(grab.frame.data)) if isinstance(grab, Taken) else grab.why
        for grab in told
    ]


def test_blocks_of_a_camera_become_frames() -> None:
    rows = np.arange(40 * WIDTH, dtype=np.uint8).reshape(40, WIDTH)
    told = run(LineScan(ScriptedSource([block(rows[:15]), block(rows[15:])]), lambda: RowCount(20)))
    assert shown(told) == [(WIDTH, 20, 80), (WIDTH, 20, 80)]
    assert b"".join(grab.frame.data for grab in told if isinstance(grab, Taken)) == rows.tobytes()


def test_padding_and_words_and_colour() -> None:
    padded = np.zeros((10, 6), np.uint8)
    padded[:, :4] = 7
    words = np.full((10, 4), 300, "<u2")
    told = run(LineScan(ScriptedSource([block(padded, width_px=4, stride_bytes=6)]), lambda: RowCount(10)))
    assert isinstance(told[0], Taken)
    assert told[0].frame.data == bytes([7]) * 40
    told = run(
        LineScan(ScriptedSource([block(words.view(np.uint8), PixelFormat.MONO10, width_px=4)]), lambda: RowCount(10))
    )
    assert isinstance(told[0], Taken)
    assert told[0].frame.data == words.tobytes()
    told = run(LineScan(ScriptedSource([block(padded, PixelFormat.RGB8, width_px=2)]), lambda: RowCount(10)))
    assert shown(told) == [(2, 10, 60)]


TROUBLE = [
    ("a lost block counts as the others", [block(belt(10)), Lost("packets lost"), block(belt(10))], ["packets lost"]),
    (
        "a truncated block",
        [block(belt(10)), block(belt(10), data=b"123"), block(belt(10))],
        ["block block is truncated"],
    ),
    (
        "another width in mid-stream",
        [block(belt(10)), block(np.zeros((30, 8), np.uint8))],
        ["the camera changed to rows of 8 px in MONO8", (8, 30, 240)],
    ),
    ("a block without rows", [block(belt(10), height_px=0, data=b"")], ["block block is truncated"]),
]


@pytest.mark.parametrize(("why", "blocks", "expected"), TROUBLE, ids=[row[0] for row in TROUBLE])
def test_what_breaks_a_frame_is_announced(why: str, blocks: list[Grab], expected: list[object]) -> None:
    assert shown(run(LineScan(ScriptedSource(blocks), lambda: RowCount(30)))) == expected


@pytest.mark.parametrize("pixel_format", [PixelFormat.BAYER_RG8, PixelFormat.JPEG])
def test_formats_whose_rows_cannot_be_joined(pixel_format: PixelFormat) -> None:
    with pytest.raises(SourceError, match="cannot be joined"):
        run(LineScan(ScriptedSource([block(belt(10), pixel_format)]), lambda: RowCount(10)))
