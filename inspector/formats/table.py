"""Tables of labels, for many parts at once, as people write them in a spreadsheet.

    labels.csv    part,label[,author][,time][,note][,image][,repeat][,box][,polygon][,mask]
                  [,ignore_box][,ignore_polygon][,ignore_mask][,areas]
    labels.json   a list of objects with the same keys

`part` is a part id, or the number of an inspection as #123. `label` is good, unsure, withdrawn or a defect class. `time` is
ISO 8601, UTC unless it says. Areas are in pixels of the picture: a box is x,y,width,height, a polygon x,y,x,y,x,y…, a mask
the path, from the file's folder, of a PNG of the picture's size that is bright where the defect is. Several of a kind stand
apart by semicolons, in JSON also as a list. `ignore_…` are areas that do not count, whatever they show. `image` is the
SHA-256 of the picture that the label is of, or its first digits; `repeat` is yes for a second look without sight of the first.
`areas` holds, as JSON or as the path of a JSON file, what the other columns have no place for: areas of several classes, or
in an order that counts; then the others are empty.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from inspector.errors import FrameError, LabelInvalid
from inspector.formats.document import Entry, Mark, area_of, drawn_of, read_area, read_time
from inspector.formats.sources import Source, inside
from inspector.formats.values import a_list, parse_json
from inspector.imaging.decode import DecodeLimits
from inspector.imaging.raster import Raster, raster_png
from inspector.labelling import MAX_MASK_BYTES, Drawn, Wanted, read_box, read_mask
from inspector.part import Box
from inspector.records.labels import Polygon

FILE = "labels.csv"
MAX_FILE_BYTES = 64 << 20
MAX_LABELS = 100_000
_NEEDED = ("part", "label")
_SHAPES = ("box", "polygon", "mask")
_COLUMNS = (
    *_NEEDED,
    *("author", "time", "note", "image", "repeat"),
    *_SHAPES,
    *(f"ignore_{shape}" for shape in _SHAPES),
    "areas",
)
_KEYS = frozenset(_COLUMNS)
_IMAGE = re.compile(r"[0-9a-f]{12,64}")
_MOST_CELL = 100_000
"""Longer cells go into a file of their own: spreadsheets and CSV readers cut or refuse them."""
_FORMULA = ("=", "+", "-", "@")


# Writing


def write(entries: Sequence[Entry]) -> dict[str, bytes]:
    """The files of an export, without pictures."""
    files: dict[str, bytes] = {}
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for entry in entries:
        cells = {
            "part": f"#{entry.sequence}",
            "label": _guarded(entry.what),
            "author": _guarded(entry.author),
            "time": entry.time.astimezone(UTC).isoformat(),
            "note": _guarded(entry.note),
            "image": entry.image,
            "repeat": "yes" if entry.is_repeat else "",
        }
        writer.writerow([(cells | _areas(entry, files)).get(column, "") for column in _COLUMNS])
    return files | {FILE: text.getvalue().encode()}


def notes(_entries: Sequence[Entry]) -> Iterator[tuple[str, int]]:
    """What a table cannot say of these labels: nothing."""
    yield from ()


def _guarded(text: str) -> str:
    """With an apostrophe before what a spreadsheet would take for a formula; `_unguarded` takes it off."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def _unguarded(text: str) -> str:
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text


def _areas(entry: Entry, files: dict[str, bytes]) -> dict[str, str]:
    """The cells of a label's areas; what has no room in one is added to `files`."""
    cells: dict[str, str] = {}
    ordered: list[Mark] = []
    masks: dict[str, bytes] = {}
    for prefix in ("", "ignore_"):
        for kind, shape_type in zip(_SHAPES, (Box, Polygon, Raster), strict=True):
            marks = [mark for mark in entry.marks if isinstance(mark.shape, shape_type)]
            marks = [mark for mark in marks if bool(mark.defect_class) is not bool(prefix)]
            cells[prefix + kind] = ";".join(_cell(mark.shape, masks) for mark in marks)
            ordered += marks
    plain = tuple(ordered) == entry.marks and all(mark.defect_class == entry.what for mark in entry.counting)
    if plain and all(len(cell) <= _MOST_CELL for cell in cells.values()):
        files.update(masks)
        return cells
    text = json.dumps([area_of(mark) for mark in entry.marks])
    if len(text) <= _MOST_CELL:
        return {"areas": text}
    name = f"areas/{hashlib.sha256(text.encode()).hexdigest()}.json"
    files[name] = text.encode()
    return {"areas": name}


def _cell(shape: Box | Polygon | Raster, files: dict[str, bytes]) -> str:
    if isinstance(shape, Box):
        return f"{shape.x_px},{shape.y_px},{shape.width_px},{shape.height_px}"
    if isinstance(shape, Polygon):
        return ",".join(repr(float(number)) for point in shape.points for number in point)
    data = raster_png(shape)
    name = f"masks/{hashlib.sha256(data).hexdigest()}.png"
    files[name] = data
    return name


# Reading


def read(source: Source, name: str, author: str) -> list[Wanted]:
    """The labels of a CSV or JSON file; `author` is whose they are where a row does not say. Raises LabelInvalid."""
    data = source.read(name, MAX_FILE_BYTES)
    rows = _json_rows(name, data) if name.casefold().endswith(".json") else _csv_rows(name, _text(name, data))
    wanted: list[Wanted] = []
    problems: list[str] = []
    for number, (where, row) in enumerate(rows):
        if number >= MAX_LABELS:
            raise LabelInvalid(f"{name!a} has more than {MAX_LABELS:,} labels: import it in pieces")
        try:
            wanted.append(_wanted(source, name.rpartition("/")[0], row, author, where))
        except (LabelInvalid, FrameError) as error:
            problems.append(f"{where}: {error}")
    if problems:
        more = f"\nand {len(problems) - 20} more" if len(problems) > 20 else ""
        raise LabelInvalid("\n".join(problems[:20]) + more + "\nnothing was labelled")
    if not wanted:
        raise LabelInvalid(f"{name!a} holds no label: give rows of part and label")
    return wanted


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelInvalid(f"{name!a} is not UTF-8 text (byte {error.start}): save it in that encoding") from error


def _csv_rows(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    header = text.partition("\n")[0]
    # Spreadsheets write semicolons where the comma is the decimal mark.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    columns: list[str] = []
    try:
        for cells in reader:
            if not columns:
                columns = [cell.strip().casefold() for cell in cells]
                _check_keys(name, columns)
            elif any(cell.strip() for cell in cells):
                where = f"{name}, line {reader.line_num}"
                if len(cells) != len(columns):
                    raise LabelInvalid(
                        f"{where} has {len(cells)} columns, the first has {len(columns)}: put commas between quotes"
                    )
                yield where, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise LabelInvalid(f"{name!a}, line {reader.line_num} is no CSV ({error}): save it again") from error
    _check_keys(name, columns)


def _check_keys(name: str, columns: Sequence[str]) -> None:
    if missing := [column for column in _NEEDED if column not in columns]:
        raise LabelInvalid(f"{name!a} has no column {' and no column '.join(missing)}: name it in the first line")
    if strange := [column for column in columns if column not in _KEYS or columns.count(column) > 1]:
        raise LabelInvalid(
            f"{name!a} has the column {strange[0][:40]!a}, unknown or twice: known are {', '.join(sorted(_KEYS))}"
        )


def _json_rows(name: str, data: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    document = parse_json(data, name)
    if not isinstance(document, list):
        raise LabelInvalid(f"{name!a} holds no list: give a list of objects with part and label")
    for number, row in enumerate(document, start=1):
        where = f"{name}, label {number}"
        if not isinstance(row, dict) or not set(_NEEDED) <= row.keys() <= _KEYS:
            raise LabelInvalid(f"{where} is no object with part, label and at most {', '.join(sorted(_KEYS))}")
        yield where, row


def _wanted(source: Source, folder: str, row: Mapping[str, Any], author: str, where: str) -> Wanted:
    texts = {}
    for key in ("part", "label", "author", "time", "note", "image", "repeat"):
        value = row.get(key) or ""
        if not isinstance(value, str):
            raise LabelInvalid(f"{key} is {str(value)[:40]!a}: give text")
        texts[key] = _unguarded(value if key == "note" else value.strip())
    if texts["repeat"].casefold() not in ("", "yes", "no"):
        raise LabelInvalid(f"repeat is {texts['repeat'][:40]!a}: give yes, no or nothing")
    if texts["image"] and not _IMAGE.fullmatch(texts["image"]):
        raise LabelInvalid(f"image is {texts['image'][:80]!a}: give 12 to 64 digits of its SHA-256")
    areas = [
        Drawn(_shape(kind, piece, source, folder), counts=not prefix)
        for prefix in ("", "ignore_")
        for kind in _SHAPES
        for piece in _pieces(row.get(prefix + kind), kind)
    ]
    if row.get("areas"):
        if areas:
            raise LabelInvalid("there are areas in the column areas and in others: give them in one place")
        areas = [drawn_of(mark) for mark in _json_areas(row["areas"], source, folder)]
    return Wanted(
        texts["part"],
        texts["label"],
        texts["author"] or author,
        tuple(areas),
        texts["note"],
        _time(texts["time"]) if texts["time"] else None,
        where,
        image=texts["image"],
        of_picture=bool(texts["image"]),
        is_repeat=texts["repeat"].casefold() == "yes",
    )


def _json_areas(value: Any, source: Source, folder: str) -> list[Mark]:
    """The areas that the column says, or the file that it names."""
    if isinstance(value, str) and not value.strip().startswith("["):
        value = source.read(_below(folder, value.strip(), "areas"), MAX_FILE_BYTES).decode("utf-8", "replace")
    given = parse_json(value.encode(), "areas") if isinstance(value, str) else value
    return [read_area(one, None, f"area {n}") for n, one in enumerate(a_list(given, "areas", 10_000), start=1)]


def _below(folder: str, text: str, column: str) -> str:
    name = inside(text, f"the column {column}")
    return f"{folder}/{name}" if folder else name


def _pieces(value: Any, kind: str) -> list[str]:
    """The texts of each area of a kind: of a cell, of a JSON text, or of a list of texts or numbers."""
    if value is None:
        return []
    if isinstance(value, str):
        return [piece.strip() for piece in value.split(";") if piece.strip()]
    if not isinstance(value, list):
        raise LabelInvalid(f"{kind} is {str(value)[:40]!a}: give text, or a list of areas")
    return [",".join(str(number) for number in piece) if isinstance(piece, list) else str(piece) for piece in value]


def _shape(kind: str, text: str, source: Source, folder: str) -> Box | Polygon | Raster:
    if kind == "box":
        return read_box(text)
    if kind == "polygon":
        return _polygon(text)
    path = _below(folder, text, "mask")
    return read_mask(source.read(path, MAX_MASK_BYTES), path, DecodeLimits())


def _polygon(text: str) -> Polygon:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError as error:
        raise LabelInvalid(f"{text[:80]!a} is no polygon: give x,y,x,y,x,y in pixels") from error
    if len(numbers) % 2 or len(numbers) < 6:
        raise LabelInvalid(f"a polygon has {len(numbers)} coordinates: give x,y of at least three corners")
    return Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def _time(text: str) -> datetime:
    return read_time(text, "the row")
