"""YOLO labels: a text file per picture, a line per area (https://docs.ultralytics.com/datasets/).

    classes.txt, data.yaml      names of the classes
    images/NAME.png             labels/NAME.txt; inspector.json holds what YOLO has no word for

A line is the number of the class and, in shares of the picture's sides, a box (x and y of its centre, width, height) or an
outline (x y x y …). An empty file says good. Exports for detection write boxes alone, those for segmentation outlines
alone, and inspector.json keeps what was drawn; both are read alike. Areas that do not count are of the class "ignore".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from inspector.errors import LabelInvalid
from inspector.formats.document import (
    EXTENSION,
    IGNORE,
    PICTURES,
    Entry,
    extension_of,
    folded_class,
    main_class,
    merged,
    read_extension,
    reference_of,
)
from inspector.formats.sources import Source
from inspector.formats.values import a_mapping, parse_json, printable
from inspector.formats.words import Shape, bounds, clipped, outlines
from inspector.imaging.raster import Raster
from inspector.labelling import Drawn, Shares, Wanted
from inspector.part import Box
from inspector.records.labels import GOOD, Polygon

NAMES, DATA, RECORDS = "classes.txt", "data.yaml", f"{EXTENSION}.json"
BOXES, OUTLINES = "boxes", "outlines"
_MAX_LINES = 10_000
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_Line = tuple[str, tuple[float, ...]]


# Writing


def write(entries: Sequence[Entry], kind: str) -> dict[str, bytes]:
    """The files of an export, without pictures; `kind` is BOXES or OUTLINES."""
    names = sorted({mark.defect_class for entry in entries for mark in entry.counting})
    names += [IGNORE] if any(not mark.defect_class for entry in entries for mark in entry.marks) else []
    numbers = {name: number for number, name in enumerate(names)}
    data = ["path: .", f"train: {PICTURES}", f"val: {PICTURES}", "names:"]
    data += [f"  {number}: {json.dumps(name)}" for name, number in numbers.items()]
    files = {
        NAMES: "".join(f"{name}\n" for name in names).encode(),
        DATA: "\n".join([*data, ""]).encode(),
        RECORDS: json.dumps(extension_of(entries) | {"yolo": kind}, allow_nan=False).encode("ascii"),
    }
    for entry in entries:
        if (lines := _lines_of(entry, kind)) is not None:
            text = "".join(f"{numbers[name]} {' '.join(map(repr, values))}\n" for name, values in lines)
            files[f"labels/{entry.stem}.txt"] = text.encode("ascii")
    return files


def notes(entries: Sequence[Entry], kind: str) -> Iterator[tuple[str, int]]:
    """What YOLO cannot say of these labels, and of how many."""
    yield (
        "say unsure, or name a defect and no area: YOLO has no word for that, so their pictures are in apart/ without a file",
        sum(not entry.is_shown for entry in entries),
    )
    shapes = [mark.shape for entry in entries for mark in entry.marks]
    if kind == BOXES:
        yield (
            "draw an outline or a mask: the label files have the box around it",
            sum(any(not isinstance(mark.shape, Box) for mark in entry.marks) for entry in entries),
        )
    elif any(not isinstance(shape, Polygon) for shape in shapes):
        yield (
            "draw a box or a mask: the label files have outlines, without the holes of a mask",
            sum(any(not isinstance(mark.shape, Polygon) for mark in entry.marks) for entry in entries),
        )


def _lines_of(entry: Entry, kind: str) -> tuple[_Line, ...] | None:
    """The lines of a picture's file, None if YOLO has no word for its label."""
    if not entry.is_shown:
        return None
    lines: list[_Line] = []
    for mark in entry.marks:
        lines += [(mark.defect_class or IGNORE, values) for values in _values(mark.shape, entry.size_px, kind)]
    return tuple(lines)


def _values(shape: Shape, size_px: tuple[int, int], kind: str) -> list[tuple[float, ...]]:
    """The numbers of each line that an area becomes."""
    width, height = size_px
    if kind == OUTLINES:
        left, top, right, bottom = bounds(shape)
        corners = Polygon(((left, top), (right, top), (right, bottom), (left, bottom)))
        plain = [shape if isinstance(shape, Polygon) else corners]
        rings = outlines(shape) if isinstance(shape, Raster) else plain
        return [tuple(number for x, y in ring.points for number in (x / width, y / height)) for ring in rings]
    left, top, right, bottom = bounds(shape)
    centre = ((left + right) / 2 / width, (top + bottom) / 2 / height)
    return [(*centre, (right - left) / width, (bottom - top) / height)]


# Reading


def finds(source: Source) -> str:
    """The file that names the classes of a source, or an empty string."""
    has_labels = any(re.search(r"(^|/)labels/", name) for name in source.names)
    for usual in (NAMES, "obj.names", DATA, "data.yml", "dataset.yaml", "dataset.yml"):
        found = [name for name in source.names if name.rsplit("/", 1)[-1] == usual]
        if has_labels and len(found) == 1:
            return found[0]
    return ""


def read(source: Source, name: str, author: str) -> list[Wanted]:
    """The labels of a data set whose classes are named in the file `name`. Raises LabelInvalid that names what is wrong."""
    root = name.rpartition("/")[0]
    below = f"{root}/" if root else ""
    names = _class_names(source.read(name, 1 << 20), name)
    pictures = {
        file.rsplit("/", 1)[-1].rsplit(".", 1)[0]: file.rsplit("/", 1)[-1]
        for file in source.names
        if file.casefold().endswith(_IMAGE_SUFFIXES)
    }
    native: dict[str, tuple[_Line, ...]] = {}
    for file in source.names:
        if file.startswith(f"{below}labels/") and file.endswith(".txt"):
            stem = file.rsplit("/", 1)[-1].removesuffix(".txt")
            picture = pictures.get(stem, stem)
            if picture in native:
                raise LabelInvalid(f"{source.label} has two label files for {printable(picture)}: keep one")
            native[picture] = _read_lines(source.read(file, 16 << 20), file, names)
    records, kind = {}, BOXES
    if (path := f"{below}{RECORDS}") in source.names:
        document = a_mapping(parse_json(source.read(path), path), path)
        records, kind = read_extension(document, path), str(document.get("yolo"))
    if not pictures:
        # Without pictures beside them the label files know only the names without endings.
        native = {_with_suffix(stem, records): lines for stem, lines in native.items()}

    def encode(entry: Entry) -> tuple[_Line, ...] | None:
        return _lines_of(entry, kind)

    def decode(file: str, lines: tuple[_Line, ...]) -> Wanted:
        return _wanted(file, lines, author, f"{source.label}, {printable(file)}")

    return list(merged(records, native, encode, decode, source.label))


def _with_suffix(stem: str, records: dict[str, Entry]) -> str:
    return next((name for name in (f"{stem}.png", f"{stem}.jpg") if name in records), stem)


def _read_lines(data: bytes, file: str, names: Sequence[str]) -> tuple[_Line, ...]:
    """Class and numbers of each line. Raises LabelInvalid."""
    lines: list[_Line] = []
    for number, line in enumerate(_text(data, file).splitlines(), start=1):
        words, where = line.split(), f"{file}, line {number}"
        if number > _MAX_LINES:
            raise LabelInvalid(f"{file} has more than {_MAX_LINES:,} lines: is it a label file?")
        if not words:
            continue
        index = int(words[0]) if words[0].isascii() and words[0].isdecimal() and len(words[0]) < 9 else len(names)
        if index >= len(names):
            raise LabelInvalid(f"{where} begins with {printable(words[0])}, which is no class: there are {len(names)}")
        try:
            values = tuple(float(word) for word in words[1:20_002])
        except ValueError as error:
            raise LabelInvalid(f"{where} has coordinates that are no numbers: save it again") from error
        if len(values) != 4 and (len(values) < 6 or len(values) % 2 or len(values) > 20_000):
            raise LabelInvalid(f"{where} has {len(values)} coordinates: a box has 4, an outline 6, 8, 10 …")
        if not all(-1e6 < value < 1e6 for value in values):
            raise LabelInvalid(f"{where} has a coordinate that is no share of the picture: draw it again")
        lines.append((names[index], values))
    return tuple(lines)


def _wanted(file: str, lines: Sequence[_Line], author: str, where: str) -> Wanted:
    reference = reference_of(file, where)
    areas: list[Drawn] = []
    counting: list[tuple[str, float]] = []
    for name, values in lines:
        if name == GOOD:
            continue
        shape, share = _shares(values, where)
        areas.append(Drawn(shape, counts=name != IGNORE, defect_class="" if name == IGNORE else name))
        if name != IGNORE:
            counting.append((name, share))
    return Wanted(reference.part, main_class(counting), author, tuple(areas), where=where, image=reference.image)


def _shares(values: Sequence[float], where: str) -> tuple[Shares, float]:
    """The outline or box of a line, and its size as a share of the picture. Raises LabelInvalid."""
    if len(values) == 4:
        x, y, width, height = values
        if not (width > 0 and height > 0):
            raise LabelInvalid(f"{where} has a box that is {width:g} wide and {height:g} high: draw it again")
        corners = ((x - width / 2, y - height / 2), (x + width / 2, y + height / 2))
        inner = tuple((clipped(x, 1.0, where), clipped(y, 1.0, where)) for x, y in corners)
        return Shares(inner, is_box=True), width * height
    points = tuple(
        (clipped(x, 1.0, where), clipped(y, 1.0, where)) for x, y in zip(values[::2], values[1::2], strict=True)
    )
    following = (*points[1:], points[0])
    twice = sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(points, following, strict=True))
    return Shares(points), abs(twice) / 2


def _class_names(data: bytes, file: str) -> list[str]:
    """Names in the order of their numbers. Raises LabelInvalid."""
    text = _text(data, file)
    if file.endswith((".yaml", ".yml")):
        return [folded_class(name) for name in _yaml_names(text, file)]
    names = [line.strip() for line in text.splitlines()]
    while names and not names[-1]:
        names.pop()
    return [folded_class(name) for name in names]


def _yaml_names(text: str, file: str) -> list[str]:
    """The names of a data.yaml as label tools write it: a list in brackets, with dashes, or by number.

    A parser for all of YAML is no dependency of the runtime, and reads more than this from a stranger's file.
    """
    found = re.search(
        r"^names:[ \t]*(\[[^\]]*\])?[ \t]*(?:#.*)?$((?:\n[ \t]*(?:-|\d+:)[ \t].*|\n[ \t]*$)*)", text, re.M
    )
    if found is None:
        raise LabelInvalid(f"{file} has no list of names: give the classes, a line each, in {NAMES}")
    if found[1]:
        return [_plain(item) for item in found[1][1:-1].split(",") if item.strip()]
    names: dict[int, str] = {}
    for line in found[2].splitlines():
        if not line.strip():
            continue
        key, value = re.split(r"[ \t]", line.strip(), maxsplit=1)
        names[len(names) if key == "-" else int(key[:-1][:9])] = _plain(value)
    if sorted(names) != list(range(len(names))):
        raise LabelInvalid(f"the names in {file} are not numbered from 0 without gaps: give them in {NAMES}")
    return [names[number] for number in range(len(names))]


def _plain(value: str) -> str:
    text: Any = value.strip()
    if text.startswith('"'):
        text = parse_json(text.encode(), "a name")
    return str(text).strip("'")


def _text(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelInvalid(f"{file} is not UTF-8 text (byte {error.start}): save it in that encoding") from error
