"""Label Studio: a list of tasks as JSON (https://labelstud.io/guide/export), and the setup that its project needs.

    tasks.json          pictures in images/, named by data.image; data.inspector holds the record of the label
    label-config.xml    choices, boxes, outlines and brushes by class

Every label has its choice: good, unsure or the class; areas that do not count are of the label "ignore". Shapes are in
percent of the picture's sides, so that outlines come back as they were only through the record. Who labels there and when
is taken from its annotations, where it gives an e-mail address and a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from xml.sax.saxutils import quoteattr

from inspector.errors import LabelInvalid
from inspector.formats.brush import decode_brush, encode_brush
from inspector.formats.document import (
    EXTENSION,
    EXTENSION_VERSION,
    IGNORE,
    MAX_PICTURE_PIXELS,
    MAX_PICTURES,
    PICTURES,
    Entry,
    Mark,
    drawn_of,
    folded_class,
    main_class,
    read_record,
    read_time,
    record_of,
    reference_of,
    wanted_of,
)
from inspector.formats.sources import Source
from inspector.formats.values import a_list, a_mapping, a_number, a_text, a_whole, parse_json, printable
from inspector.formats.words import area_px, clipped_box, clipped_polygon
from inspector.imaging.raster import Raster, raster_of
from inspector.labelling import Wanted
from inspector.part import Box
from inspector.records.labels import GOOD, UNSURE, Polygon

FILE, CONFIG = "tasks.json", "label-config.xml"
_LOCAL = "/data/local-files/?d="
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
_KINDS = {"rectanglelabels": "box", "polygonlabels": "outline", "brushlabels": "brush"}


# Writing


def write(entries: Sequence[Entry]) -> dict[str, bytes]:
    """The files of an export, without pictures."""
    tasks = [
        {
            "data": {
                "image": f"{_LOCAL}{PICTURES}/{entry.file}",
                EXTENSION: {"version": EXTENSION_VERSION, "record": record_of(entry)},
            },
            "annotations": [{"result": _results(entry), "created_at": entry.time.isoformat(), "was_cancelled": False}],
        }
        for entry in entries
    ]
    names = sorted({mark.defect_class for entry in entries for mark in entry.counting} | {e.what for e in entries})
    classes = [name for name in names if name not in (GOOD, UNSURE)]
    return {FILE: json.dumps(tasks, allow_nan=False).encode("ascii"), CONFIG: _config(classes).encode()}


def notes(entries: Sequence[Entry]) -> Iterator[tuple[str, int]]:
    """What Label Studio cannot say of these labels, and of how many."""
    yield (
        "have a note or an author, which its annotations do not carry: they are in data.inspector",
        sum(bool(entry.note or entry.author) for entry in entries),
    )


def _results(entry: Entry) -> list[dict[str, Any]]:
    width, height = entry.size_px
    about = {"to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0}
    choice = {"id": "label", "type": "choices", "from_name": "label", "to_name": "image"}
    results: list[dict[str, Any]] = [choice | {"value": {"choices": [entry.what]}}]
    for number, mark in enumerate(entry.marks):
        kind, value = _value(mark.shape, entry.size_px)
        label = {kind: [mark.defect_class or IGNORE]}
        named = {"id": f"area{number}", "type": kind, "from_name": _KINDS[kind]}
        results.append(about | named | {"value": value | label})
    return results


def _value(shape: Box | Polygon | Raster, size_px: tuple[int, int]) -> tuple[str, dict[str, Any]]:
    width, height = size_px
    if isinstance(shape, Box):
        x, y, wide, high = shape.x_px / width, shape.y_px / height, shape.width_px / width, shape.height_px / height
        corner = {"x": 100 * x, "y": 100 * y, "width": 100 * wide, "height": 100 * high, "rotation": 0}
        return "rectanglelabels", corner
    if isinstance(shape, Polygon):
        return "polygonlabels", {
            "points": [[100 * x / width, 100 * y / height] for x, y in shape.points],
            "closed": True,
        }
    return "brushlabels", {"format": "rle", "rle": encode_brush(shape.marked())}


def _config(classes: Sequence[str]) -> str:
    """The labelling setup of a project that shows these classes."""
    choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in (GOOD, UNSURE, *classes))
    labels = "".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(_COLOURS[number % len(_COLOURS)])}/>\n"
        for number, name in enumerate((*classes, IGNORE))
    )
    tools = "".join(
        f'  <{tag} name="{name}" toName="image">\n{labels}  </{tag}>\n'
        for tag, name in (("RectangleLabels", "box"), ("PolygonLabels", "outline"), ("BrushLabels", "brush"))
    )
    return (
        f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n  <Choices name="label" toName="image">\n{choices}'
        f"  </Choices>\n{tools}</View>\n"
    )


# Reading


def read(source: Source, name: str, author: str) -> list[Wanted]:
    """The labels of a list of tasks. Raises LabelInvalid that names what is wrong in it."""
    return read_tasks(parse_json(source.read(name), name), name, author)


def read_tasks(document: Any, name: str, author: str) -> list[Wanted]:
    """As `read`, of the document itself."""
    found: list[Wanted] = []
    for number, item in enumerate(a_list(document, name, MAX_PICTURES), start=1):
        where = f"{name}, task {number}"
        task = a_mapping(item, where)
        data = a_mapping(task.get("data"), f"data of {where}")
        record = _record(data, where)
        for one in a_list(task.get("annotations", []), f"annotations of {where}", 1000):
            annotation = a_mapping(one, f"an annotation of {where}")
            if annotation.get("was_cancelled") is not True:
                found += _label(data, annotation, record, author, where)
    return found


def _record(data: Mapping[str, Any], where: str) -> Entry | None:
    if EXTENSION not in data:
        return None
    extension = a_mapping(data[EXTENSION], f"{EXTENSION} of {where}")
    if (version := extension.get("version")) != EXTENSION_VERSION:
        raise LabelInvalid(
            f"{EXTENSION} of {where} is of version {printable(version)}, known is {EXTENSION_VERSION}: export it again"
        )
    return read_record(extension.get("record"), f"{EXTENSION} of {where}")


def _label(
    data: Mapping[str, Any], annotation: Mapping[str, Any], record: Entry | None, author: str, where: str
) -> list[Wanted]:
    """The label of an annotation; none if it says nothing. Raises LabelInvalid."""
    results = a_list(annotation.get("result", []), f"result of {where}", 10_000)
    what, words, size = _words(results, where)
    if record is not None and (what, words) == _words(_results(record), where)[:2]:
        return [wanted_of(record, where)]
    if not what and not words:
        return []
    reference = reference_of(a_text(data.get("image"), f"data.image of {where}", 4096), f"data.image of {where}")
    marks = [Mark(shape, "" if label == IGNORE else label) for label, shape in words if label != GOOD]
    counting = [(mark.defect_class, area_px(mark.shape)) for mark in marks if mark.defect_class]
    wanted = Wanted(
        reference.part,
        what or main_class(counting),
        _author(annotation, author),
        tuple(drawn_of(mark) for mark in marks),
        where=where,
        image=reference.image,
        size_px=size,
    )
    if (time := annotation.get("updated_at", annotation.get("created_at"))) is not None:
        wanted = replace(wanted, time=read_time(a_text(time, f"time of {where}", 64), where))
    return [wanted]


def _author(annotation: Mapping[str, Any], author: str) -> str:
    by = annotation.get("completed_by")
    email = by.get("email") if isinstance(by, dict) else None
    return a_text(email, "email", 512) if email is not None else author


def _words(results: Sequence[Any], where: str) -> tuple[str, list[tuple[str, Any]], tuple[int, int] | None]:
    """What the choice says, the areas with their classes, and the size of the picture. Raises LabelInvalid."""
    what, words, size = "", [], None
    for item in results:
        result = a_mapping(item, f"a result of {where}")
        kind, value = result.get("type"), a_mapping(result.get("value", {}), f"value of a result of {where}")
        if kind == "choices":
            (choice,) = a_list(value.get("choices"), f"choices of {where}", 1, 1)
            what = folded_class(a_text(choice, f"choice of {where}", 256))
        elif isinstance(kind, str) and kind in _KINDS:
            width, height = (a_whole(result.get(f"original_{side}"), where) for side in ("width", "height"))
            if not (width > 0 and height > 0 and width * height <= MAX_PICTURE_PIXELS):
                raise LabelInvalid(f"{where} says that the picture has {width} × {height} px: export it again")
            size = (width, height)
            (label,) = a_list(value.get(kind), f"{kind} of {where}", 1, 1)
            shape = _shape(kind, value, size, where)
            words.append((folded_class(a_text(label, f"{kind} of {where}", 256)), shape))
    return what, words, size


def _shape(kind: str, value: Mapping[str, Any], size_px: tuple[int, int], where: str) -> Box | Polygon | Raster:
    width, height = size_px
    if kind == "rectanglelabels":
        if value.get("rotation", 0) != 0:
            raise LabelInvalid(f"{where} has a box that is turned: draw an outline instead")
        x, y, wide, high = (a_number(value.get(key), where) / 100 for key in ("x", "y", "width", "height"))
        return clipped_box((x * width, y * height, (x + wide) * width, (y + high) * height), size_px, where)
    if kind == "polygonlabels":
        points = [a_list(point, where, 2, 2) for point in a_list(value.get("points"), where, 10_000, 3)]
        pixels = tuple((a_number(x, where) / 100 * width, a_number(y, where) / 100 * height) for x, y in points)
        return clipped_polygon(pixels, size_px, where)
    if value.get("format") != "rle":
        raise LabelInvalid(f"{where} has brush strokes that are not in its rle format: export it as JSON")
    return raster_of(decode_brush(a_list(value.get("rle"), where, 64 << 20), width, height, where))
