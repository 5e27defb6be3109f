"""COCO instances: one JSON file with images, annotations and categories (https://cocodataset.org/#format-data).

    annotations.json    images in images/; the field "inspector" holds what COCO has no word for

Good parts are images without annotations. Areas that do not count are of the category "ignore", and so are crowds that are
read. COCO has no word for a defect without an area or for "unsure": such pictures lie in apart/ and are not listed, since a
listed image without annotations would be good.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspector.errors import LabelInvalid
from inspector.formats.document import (
    EXTENSION,
    IGNORE,
    MAX_PICTURES,
    Entry,
    Mark,
    drawn_of,
    extension_of,
    folded_class,
    main_class,
    merged,
    read_extension,
    read_runs,
    reference_of,
)
from inspector.formats.sources import Source
from inspector.formats.values import a_list, a_mapping, a_number, a_text, a_whole, parse_json, printable
from inspector.formats.words import area_px, bounds, clipped_box, clipped_polygon
from inspector.imaging.raster import Raster, encode_counts
from inspector.labelling import Wanted
from inspector.part import Box
from inspector.records.labels import GOOD, Polygon

FILE = "annotations.json"
MAX_ANNOTATIONS = 5_000_000
_USUAL = (FILE, "_annotations.coco.json", "instances.json", "result.json", "coco.json", "instances_default.json")


# Writing


def write(entries: Sequence[Entry]) -> dict[str, bytes]:
    """The files of an export, without pictures."""
    names = sorted({mark.defect_class for entry in entries for mark in entry.counting})
    names += [IGNORE] if any(not mark.defect_class for entry in entries for mark in entry.marks) else []
    numbers = {name: number for number, name in enumerate(names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for entry in entries:
        if not entry.is_shown:
            continue
        width, height = entry.size_px
        images.append({"id": len(images) + 1, "file_name": entry.file, "width": width, "height": height})
        for mark in entry.marks:
            number = numbers[mark.defect_class or IGNORE]
            about = {"id": len(annotations) + 1, "image_id": len(images), "category_id": number, "iscrowd": 0}
            annotations.append(about | {"area": area_px(mark.shape)} | _shape(mark.shape))
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": "defect"} for name, number in numbers.items()],
        EXTENSION: extension_of(entries),
    }
    return {FILE: json.dumps(document, allow_nan=False).encode("ascii")}


def notes(entries: Sequence[Entry]) -> Iterator[tuple[str, int]]:
    """What COCO cannot say of these labels, and of how many."""
    yield (
        "say unsure, or name a defect and no area: COCO has no word for that, so their pictures are in apart/ and not listed",
        sum(not entry.is_shown for entry in entries),
    )


def _shape(shape: Box | Polygon | Raster) -> dict[str, Any]:
    left, top, right, bottom = bounds(shape)
    box = {"bbox": [left, top, right - left, bottom - top]}
    if isinstance(shape, Box):
        return box | {"segmentation": []}
    if isinstance(shape, Polygon):
        return box | {"segmentation": [[number for point in shape.points for number in point]]}
    runs = {"size": [shape.height_px, shape.width_px], "counts": encode_counts(shape.counts)}
    return box | {"segmentation": runs}


# Reading


def finds(source: Source) -> str:
    """The COCO file of a source, by its name, or an empty string."""
    usual = [name for name in source.names if name.rsplit("/", 1)[-1] in _USUAL]
    return usual[0] if len(usual) == 1 else ""


def read(source: Source, name: str, author: str) -> list[Wanted]:
    """The labels of a COCO file. Raises LabelInvalid that names what is wrong in it."""
    document = a_mapping(parse_json(source.read(name), name), name)
    native = _native(document, name)
    sizes = {image.file: image.size_px for image in native}
    words = {image.file: image.words for image in native}

    def decode(file: str, marks: tuple[tuple[str, Any], ...]) -> Wanted:
        return _wanted(file, marks, sizes[file], author, f"{name}, {printable(file)}")

    records = read_extension(document.get(EXTENSION), f"{EXTENSION} of {name}")
    return list(merged(records, words, _words_of, decode, name))


@dataclass(frozen=True, slots=True)
class _Image:
    file: str
    size_px: tuple[int, int]
    words: tuple[tuple[str, Any], ...]


def _words_of(entry: Entry) -> tuple[tuple[str, Any], ...] | None:
    """What an image's annotations are read as if nobody touched them."""
    if not entry.is_shown:
        return None
    words: list[tuple[str, Any]] = []
    for mark in entry.marks:
        words += _words(mark.defect_class or IGNORE, _shape(mark.shape), entry.size_px, entry.file)
    return tuple(words)


def _native(document: Mapping[str, Any], name: str) -> list[_Image]:
    """The images with their annotations. Raises LabelInvalid."""
    categories: dict[int, str] = {}
    for item in a_list(document.get("categories"), f"categories of {name}", 100_000):
        category = a_mapping(item, f"a category of {name}")
        number = a_whole(category.get("id"), f"id of a category of {name}")
        categories[number] = folded_class(a_text(category.get("name"), f"name of category {number} of {name}", 256))
    found: dict[int, tuple[str, tuple[int, int]]] = {}
    files: set[str] = set()
    for item in a_list(document.get("images"), f"images of {name}", MAX_PICTURES):
        image = a_mapping(item, f"an image of {name}")
        number = a_whole(image.get("id"), f"id of an image of {name}")
        file = a_text(image.get("file_name"), f"file_name of image {number} of {name}", 4096)
        if number in found or file in files:
            raise LabelInvalid(f"{name} lists image {number} ({printable(file)}) twice: export it again")
        size = (a_whole(image.get(side), f"{side} of image {number} of {name}") for side in ("width", "height"))
        found[number] = (file, (next(size), next(size)))
        files.add(file)
    words: dict[int, list[tuple[str, Any]]] = defaultdict(list)
    for item in a_list(document.get("annotations"), f"annotations of {name}", MAX_ANNOTATIONS):
        annotation = a_mapping(item, f"an annotation of {name}")
        where = f"annotation {printable(annotation.get('id', '?'))} of {name}"
        number = a_whole(annotation.get("image_id"), f"image_id of {where}")
        label = categories.get(a_whole(annotation.get("category_id"), f"category_id of {where}"))
        if number not in found:
            raise LabelInvalid(
                f"{where} is of image {number}, which is not listed: list it, or take the annotation out"
            )
        if label is None:
            raise LabelInvalid(f"{where} is of a category that is not declared: declare it, or take the annotation out")
        crowd = annotation.get("iscrowd", 0) == 1
        words[number] += _words(IGNORE if crowd else label, annotation, found[number][1], where)
    return [_Image(file, size, tuple(words[number])) for number, (file, size) in found.items()]


def _words(label: str, annotation: Mapping[str, Any], size_px: tuple[int, int], where: str) -> list[tuple[str, Any]]:
    """What an annotation draws: its class with a Box, a Polygon or a Raster each. Raises LabelInvalid."""
    outline, box = annotation.get("segmentation"), annotation.get("bbox")
    if isinstance(outline, dict):
        rows, columns = (a_whole(side, where) for side in a_list(outline.get("size"), f"size of {where}", 2, 2))
        return [(label, read_runs(outline.get("counts"), (columns, rows), size_px, where))]
    if outline:
        shapes: list[tuple[str, Any]] = []
        for ring in a_list(outline, f"segmentation of {where}", 10_000):
            numbers = [a_number(number, where) for number in a_list(ring, f"polygon of {where}", 100_000, 6)]
            if len(numbers) % 2:
                raise LabelInvalid(f"a polygon of {where} has {len(numbers)} numbers: x and y come in pairs")
            points = zip(numbers[::2], numbers[1::2], strict=True)
            shapes.append((label, clipped_polygon(tuple(points), size_px, where)))
        return shapes
    x, y, width, height = (a_number(number, where) for number in a_list(box, f"bbox of {where}", 4, 4))
    return [(label, clipped_box((x, y, x + width, y + height), size_px, where))]


def _wanted(file: str, words: Sequence[tuple[str, Any]], size_px: tuple[int, int], author: str, where: str) -> Wanted:
    """What the annotations say of an image that no record, or another one, is of."""
    reference = reference_of(file, where)
    marks = [Mark(shape, "" if label == IGNORE else label) for label, shape in words if label != GOOD]
    counting = [(mark.defect_class, area_px(mark.shape)) for mark in marks if mark.defect_class]
    return Wanted(
        reference.part,
        main_class(counting),
        author,
        tuple(drawn_of(mark) for mark in marks),
        where=where,
        image=reference.image,
        size_px=size_px,
    )
