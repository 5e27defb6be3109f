"""What every format carries, in one vocabulary: labelled pictures, and their record as JSON.

A format that cannot say everything keeps the record of each picture in an extension field or file beside its own words. On
import the record counts as long as the format's own words are still those that it gives: whoever edits the labels in another
program is believed, and what nobody touched comes back to the last digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from inspector.errors import DataError, LabelInvalid
from inspector.formats.values import a_list, a_mapping, a_number, a_text, a_whole, printable
from inspector.imaging.raster import Raster, checked_raster, decode_counts, encode_counts
from inspector.labelling import Drawn, Wanted
from inspector.part import Box
from inspector.records.labels import GOOD, WORDS, Polygon

EXTENSION = "inspector"
"""Name of the extension field, and of the file inspector.json."""
EXTENSION_VERSION = 1
IGNORE = "ignore"
"""The class by which formats without a word for it carry areas that do not count."""
MAX_PICTURES = 100_000
MAX_PICTURE_PIXELS = 200_000_000
PICTURES, APART = "images", "apart"
"""Folders of an export: of pictures that the format's own words are about, and of those that it has no words for."""
_FILE = re.compile(r"part-(\d{1,19})-([0-9a-f]{12})(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Mark:
    """An area of a picture, in its pixels; without `defect_class` it does not count."""

    shape: Box | Polygon | Raster
    defect_class: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One label as it is exported, of the picture `sha256` with its size.

    `image` is the picture that the label is of, empty for the part as a whole.
    """

    sequence: int
    part_id: str
    sha256: str
    suffix: str
    size_px: tuple[int, int]
    what: str
    author: str
    time: datetime
    note: str = ""
    image: str = ""
    marks: tuple[Mark, ...] = ()
    is_repeat: bool = False

    @property
    def file(self) -> str:
        """Name of its picture: from it alone an import finds part and picture again."""
        return f"part-{self.sequence}-{self.sha256[:12]}{self.suffix}"

    @property
    def stem(self) -> str:
        return self.file.removesuffix(self.suffix)

    @property
    def counting(self) -> tuple[Mark, ...]:
        """Its defects."""
        return tuple(mark for mark in self.marks if mark.defect_class)

    @property
    def is_shown(self) -> bool:
        """Whether areas alone say what it is: good, or a defect that is marked.

        A defect without an area would be read as good by programs that know only areas, and so would "unsure".
        """
        return self.what == GOOD or bool(self.counting)


# As JSON


def extension_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """The extension field of a file of these labels."""
    return {"version": EXTENSION_VERSION, "records": [record_of(entry) for entry in entries]}


def record_of(entry: Entry) -> dict[str, Any]:
    """A label as JSON."""
    return {
        "file": entry.file,
        "part": entry.sequence,
        "part_id": entry.part_id,
        "image": entry.image,
        "size": list(entry.size_px),
        "label": entry.what,
        "author": entry.author,
        "time": entry.time.astimezone(UTC).isoformat(),
        "note": entry.note,
        "repeat": entry.is_repeat,
        "areas": [area_of(mark) for mark in entry.marks],
    }


def area_of(mark: Mark) -> dict[str, Any]:
    """An area as JSON: its class, empty for what does not count, and a box, a polygon or a mask."""
    shape = mark.shape
    area: dict[str, Any] = {"class": mark.defect_class}
    if isinstance(shape, Box):
        return area | {"box": [shape.x_px, shape.y_px, shape.width_px, shape.height_px]}
    if isinstance(shape, Polygon):
        return area | {"polygon": [list(point) for point in shape.points]}
    return area | {"mask": {"size": [shape.height_px, shape.width_px], "counts": encode_counts(shape.counts)}}


def read_extension(value: Any, where: str) -> dict[str, Entry]:
    """The records of an extension field by the name of the picture; empty if there is none. Raises LabelInvalid."""
    if value is None:
        return {}
    given = a_mapping(value, where)
    if (version := given.get("version")) != EXTENSION_VERSION:
        raise LabelInvalid(
            f"{where} is of version {printable(version)}, known is {EXTENSION_VERSION}: export it again, or take the field out"
        )
    records: dict[str, Entry] = {}
    for number, item in enumerate(a_list(given.get("records"), f"records of {where}", MAX_PICTURES), start=1):
        entry = read_record(item, f"{where}, record {number}")
        if entry.file in records:
            raise LabelInvalid(f"{where} has two records of {entry.file}: export it again")
        records[entry.file] = entry
    return records


def read_record(value: Any, where: str) -> Entry:
    """A record that `record_of` wrote. Raises LabelInvalid."""
    item = a_mapping(value, where)
    named = _FILE.match(name := a_text(item.get("file"), f"file of {where}", 200))
    if named is None or "/" in name or "\\" in name:
        raise LabelInvalid(f"{where} is of the file {printable(name)}, which names no part: export it again")
    width, height = (a_whole(side, f"size of {where}") for side in a_list(item.get("size"), f"size of {where}", 2, 2))
    if not (width > 0 and height > 0 and width * height <= MAX_PICTURE_PIXELS):
        raise LabelInvalid(f"{where} is of a picture of {width} × {height} px: export it again")
    image = a_text(item.get("image"), f"image of {where}", 64)
    if image and not image.startswith(named[2]):
        raise LabelInvalid(f"{where} is of another picture than its file {name}: export it again")
    areas = a_list(item.get("areas"), f"areas of {where}", 10_000)
    return Entry(
        sequence=int(named[1]),
        part_id=a_text(item.get("part_id", ""), f"part_id of {where}", 4096),
        sha256=image or named[2],
        suffix=name[named.end() :],
        size_px=(width, height),
        what=a_text(item.get("label"), f"label of {where}", 256),
        author=a_text(item.get("author"), f"author of {where}", 512),
        time=read_time(a_text(item.get("time"), f"time of {where}", 64), where),
        note=a_text(item.get("note", ""), f"note of {where}", 1 << 16),
        image=image,
        is_repeat=item.get("repeat") is True,
        marks=tuple(read_area(area, (width, height), f"{where}, area {n}") for n, area in enumerate(areas, start=1)),
    )


def read_area(value: Any, size_px: tuple[int, int] | None, where: str) -> Mark:
    """An area that `area_of` wrote, on a picture of that size if it is known. Raises LabelInvalid."""
    item = a_mapping(value, where)
    defect_class = a_text(item.get("class"), f"class of {where}", 256)
    kinds = [kind for kind in ("box", "polygon", "mask") if kind in item]
    if len(kinds) != 1:
        raise LabelInvalid(f"{where} is {' and '.join(kinds) or 'nothing'}: give a box, a polygon or a mask")
    given = item[kinds[0]]
    if kinds[0] == "box":
        return Mark(Box(*(a_whole(number, where) for number in a_list(given, where, 4, 4))), defect_class)
    if kinds[0] == "polygon":
        points = (a_list(point, where, 2, 2) for point in a_list(given, where, 10_000, 3))
        return Mark(Polygon(tuple((a_number(x, where), a_number(y, where)) for x, y in points)), defect_class)
    mask = a_mapping(given, where)
    height, width = (a_whole(side, where) for side in a_list(mask.get("size"), where, 2, 2))
    return Mark(read_runs(mask.get("counts"), (width, height), size_px or (width, height), where), defect_class)


def read_runs(counts: Any, size_px: tuple[int, int], picture_px: tuple[int, int], where: str) -> Raster:
    """COCO's run lengths, as text or numbers. Raises LabelInvalid."""
    width, height = size_px
    if size_px != picture_px or not (width > 0 and height > 0 and width * height <= MAX_PICTURE_PIXELS):
        raise LabelInvalid(
            f"{where} is a mask of {width} × {height} px, its picture has {picture_px[0]} × {picture_px[1]}: export it again"
        )
    most = width * height + 1
    try:
        if isinstance(counts, str):
            return checked_raster(width, height, decode_counts(counts, most))
        return checked_raster(width, height, (a_whole(count, where) for count in a_list(counts, where, most)))
    except DataError as error:
        raise LabelInvalid(f"{where}: {error}") from error


def read_time(text: str, where: str) -> datetime:
    """ISO 8601, UTC unless it says. Raises LabelInvalid."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise LabelInvalid(f"{where} has the time {printable(text)}: give it as 2026-03-02T06:00:00Z") from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


# To what is imported


def wanted_of(entry: Entry, where: str) -> Wanted:
    """A record as a label that is wanted."""
    return Wanted(
        f"#{entry.sequence}",
        entry.what,
        entry.author,
        tuple(drawn_of(mark) for mark in entry.marks),
        entry.note,
        entry.time,
        where,
        image=entry.image or entry.sha256[:12],
        of_picture=bool(entry.image),
        size_px=entry.size_px,
        is_repeat=entry.is_repeat,
    )


def drawn_of(mark: Mark) -> Drawn:
    """An area as one that is wanted."""
    return Drawn(mark.shape, counts=bool(mark.defect_class), defect_class=mark.defect_class)


@dataclass(frozen=True, slots=True)
class Reference:
    """Which part, and the first digits of which picture, a file name means."""

    part: str
    image: str


def reference_of(name: str, where: str) -> Reference:
    """What a picture's file name means: one of an export, also with what label tools put before it, else a part id.

    Raises LabelInvalid.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    if (found := _FILE.search(last)) is not None:
        return Reference(f"#{int(found[1])}", found[2])
    stem = last.rsplit(".", 1)[0] if "." in last.lstrip(".") else last
    if not stem or not stem.isprintable() or stem.startswith("#"):
        raise LabelInvalid(
            f"{where} is of the picture {printable(name)}, which names no part: name it after the part id"
        )
    return Reference(stem, "")


Native = TypeVar("Native")


def merged(
    records: Mapping[str, Entry],
    native: Mapping[str, Native],
    encode: Callable[[Entry], Native | None],
    decode: Callable[[str, Native], Wanted],
    where: str,
) -> Iterator[Wanted]:
    """Every label of a file: a record where the format's own words are as it gives them, else those words.

    `encode` gives the words of a record, None if the format has none; `native` are the words found, by the picture's name.
    """
    unseen = dict(native)
    for name, entry in records.items():
        words = unseen.get(name)
        if words == encode(entry):
            unseen.pop(name, None)
            yield wanted_of(entry, f"{where}, {name}")
    for name, words in unseen.items():
        yield decode(name, words)


def main_class(marks: Sequence[tuple[str, float]]) -> str:
    """What a picture is whose defects are of these classes and sizes: the class with most area, good without any."""
    areas: dict[str, float] = {}
    for name, area_px in marks:
        areas[name] = areas.get(name, 0.0) + area_px
    return min(areas, key=lambda name: (-areas[name], name)) if areas else GOOD


def folded_class(name: str) -> str:
    """A class as it is meant: ignore and the words of labels however they are capitalised."""
    plain = name.strip()
    return plain.casefold() if plain.casefold() in {*WORDS, IGNORE} else plain
