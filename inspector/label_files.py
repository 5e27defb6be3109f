"""Files of labels, for many parts at once.

    labels.csv    part,label[,author][,time][,note][,box][,polygon][,mask][,ignore_box][,ignore_polygon][,ignore_mask]
    labels.json   a list of objects with the same keys

`part` is a part id, or the number of an inspection as #123. `label` is good, unsure, withdrawn or a defect class. `time` is
ISO 8601, UTC unless it says. Areas are in pixels of the picture: a box is x,y,width,height, a polygon x,y,x,y,x,y…, a mask
the path, from the file's folder, of a PNG of the picture's size that is bright where the defect is. Several of a kind stand
apart by semicolons, in JSON also as a list. `ignore_…` are areas that do not count, whatever they show.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from inspector.errors import LabelInvalid
from inspector.labelling import Drawn, Wanted, read_bounded, read_box
from inspector.part import Box
from inspector.records.labels import Polygon

MAX_FILE_BYTES = 64 << 20
MAX_LABELS = 100_000
_NEEDED = ("part", "label")
_SHAPES = ("box", "polygon", "mask")
_KEYS = frozenset({*_NEEDED, "author", "time", "note", *_SHAPES, "ignore_box", "ignore_polygon", "ignore_mask"})


def read_label_file(path: Path, author: str = "") -> list[Wanted]:
    """The labels of a CSV or JSON file; `author` is whose they are where a row does not say. Raises LabelInvalid."""
    try:
        text = read_bounded(path, MAX_FILE_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelInvalid(f"{path.name!a} is not UTF-8 text (byte {error.start}): save it in that encoding") from error
    rows = _json_rows(path, text) if path.suffix.casefold() == ".json" else _csv_rows(path, text)
    wanted, problems = [], []
    for number, (where, row) in enumerate(rows):
        if number >= MAX_LABELS:
            raise LabelInvalid(f"{path.name!a} has more than {MAX_LABELS:,} labels: import it in pieces")
        try:
            wanted.append(_wanted(path.parent, row, author, where))
        except LabelInvalid as error:
            problems.append(f"{where}: {error}")
    if problems:
        more = f"\nand {len(problems) - 20} more" if len(problems) > 20 else ""
        raise LabelInvalid("\n".join(problems[:20]) + more + "\nnothing was labelled")
    if not wanted:
        raise LabelInvalid(f"{path.name!a} holds no label: give rows of part and label")
    return wanted


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    header = text.partition("\n")[0]
    # Spreadsheets write semicolons where the comma is the decimal mark.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    columns: list[str] = []
    try:
        for cells in reader:
            if not columns:
                columns = [cell.strip().casefold() for cell in cells]
                _check_keys(path, columns)
            elif any(cell.strip() for cell in cells):
                where = f"{path.name}, line {reader.line_num}"
                if len(cells) != len(columns):
                    raise LabelInvalid(
                        f"{where} has {len(cells)} columns, the first has {len(columns)}: put commas between quotes"
                    )
                yield where, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise LabelInvalid(f"{path.name!a}, line {reader.line_num} is no CSV ({error}): save it again") from error
    _check_keys(path, columns)


def _check_keys(path: Path, columns: Sequence[str]) -> None:
    if missing := [name for name in _NEEDED if name not in columns]:
        raise LabelInvalid(f"{path.name!a} has no column {' and no column '.join(missing)}: name it in the first line")
    if strange := [name for name in columns if name not in _KEYS or columns.count(name) > 1]:
        raise LabelInvalid(
            f"{path.name!a} has the column {strange[0][:40]!a}, unknown or twice: known are {', '.join(sorted(_KEYS))}"
        )


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LabelInvalid(f"{path.name!a} is no JSON ({error}): save it again") from error
    if not isinstance(document, list):
        raise LabelInvalid(f"{path.name!a} holds no list: give a list of objects with part and label")
    for number, row in enumerate(document, start=1):
        where = f"{path.name}, label {number}"
        if not isinstance(row, dict) or not set(_NEEDED) <= row.keys() <= _KEYS:
            raise LabelInvalid(f"{where} is no object with part, label and at most {', '.join(sorted(_KEYS))}")
        yield where, row


def _wanted(folder: Path, row: Mapping[str, Any], author: str, where: str) -> Wanted:
    texts = {}
    for key in ("part", "label", "author", "time", "note"):
        value = row.get(key) or ""
        if not isinstance(value, str):
            raise LabelInvalid(f"{key} is {str(value)[:40]!a}: give text")
        texts[key] = value.strip()
    areas = [
        Drawn(_shape(kind, piece, folder), counts=not prefix)
        for prefix in ("", "ignore_")
        for kind in _SHAPES
        for piece in _pieces(row.get(prefix + kind), kind)
    ]
    return Wanted(
        texts["part"],
        texts["label"],
        texts["author"] or author,
        tuple(areas),
        texts["note"],
        _time(texts["time"]) if texts["time"] else None,
        where,
    )


def _pieces(value: Any, kind: str) -> list[str]:
    """The texts of each area of a kind: of a cell, of a JSON text, or of a list of texts or numbers."""
    if value is None:
        return []
    if isinstance(value, str):
        return [piece.strip() for piece in value.split(";") if piece.strip()]
    if not isinstance(value, list):
        raise LabelInvalid(f"{kind} is {str(value)[:40]!a}: give text, or a list of areas")
    return [",".join(str(number) for number in piece) if isinstance(piece, list) else str(piece) for piece in value]


def _shape(kind: str, text: str, folder: Path) -> Box | Polygon | Path:
    if kind == "box":
        return read_box(text)
    if kind == "polygon":
        return _polygon(text)
    path = PurePosixPath(text.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in text or path.parts[0].endswith(":"):
        raise LabelInvalid(f"mask {text[:80]!a} is no path below the file's folder: put it there")
    return folder / path


def _polygon(text: str) -> Polygon:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError as error:
        raise LabelInvalid(f"{text[:80]!a} is no polygon: give x,y,x,y,x,y in pixels") from error
    if len(numbers) % 2 or len(numbers) < 6:
        raise LabelInvalid(f"a polygon has {len(numbers)} coordinates: give x,y of at least three corners")
    return Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise LabelInvalid(f"{text[:40]!a} is no time: give it as 2026-03-02T06:00:00Z") from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
