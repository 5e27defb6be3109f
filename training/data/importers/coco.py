"""COCO instance labels: one JSON file with images, annotations and categories (https://cocodataset.org/#format-data).

    annotations.json            images in images/ or beside it
    annotations/NAME.json       images in images/, NAME/ or above it
    train/_annotations.coco.json, valid/…, test/…   as Roboflow exports them: the published split

An image that the file lists without annotations is good. Categories named good say nothing of defects; those named ignore,
and crowds, are areas that do not count. Boxes are used where an annotation has no outline.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import DataError
from inspector.imaging.decode import DecodeLimits
from inspector.imaging.raster import decode_counts
from training.data.drawing import IGNORE, Drawing, Shape, polygon, rectangle, runs
from training.data.importers.found import Found, images_below, inside, is_there, label_of, read_label_file
from training.data.samples import GOOD, Sample, printable

_SINGLE = ("annotations.json", "_annotations.coco.json", "instances.json", "result.json", "coco.json")
_ROBOFLOW = "_annotations.coco.json"
_SPLITS = {"train": "train", "valid": "train", "val": "train", "test": "test"}


def label_files(root: Path) -> list[Path]:
    """COCO files of the data set in `root`, judged by their names."""
    for name in _SINGLE:
        if is_there(root / name):
            return [root / name]
    by_split = [root / split / _ROBOFLOW for split in _SPLITS if is_there(root / split / _ROBOFLOW)]
    return by_split or sorted(file for file in (root / "annotations").glob("*.json") if is_there(file))


def coco(root: Path) -> Found:
    """All COCO files of the data set in `root`. Raises DataError if one is none."""
    return read_files(root, label_files(root))


def read_files(root: Path, files: Sequence[Path]) -> Found:
    """These COCO files, with images anywhere in `root`. Raises DataError."""
    found = Found()
    listed: dict[str, str] = {}
    for file in files:
        document = _Document.read(file)
        folder = _image_folder(root, file, document)
        split = _split_of(root, file) if len(files) > 1 else ""
        drawn: set[str] = set()
        for image_id, image in document.images.items():
            path = (folder / image.file_name).relative_to(root).as_posix()
            if path in listed:
                raise DataError(f"{file.name} and {listed[path]} both list {printable(path)}; list every image once")
            listed[path] = file.name
            if is_there(root / path):
                drawn |= _add(found, path, split, image, document.annotations.get(image_id, []))
            else:
                found.missing(path, file.name)
        for name in sorted(set(document.categories.values()) - drawn - {GOOD, IGNORE}):
            found.empty_class(name, file.name)
        for image_id in sorted(set(document.annotations) - set(document.images)):
            found.missing(f"image {image_id}", f"an annotation in {file.name}")
    for image_file in images_below(root):
        if (name := image_file.relative_to(root).as_posix()) not in listed:
            found.unlabelled(name, "no label file lists it; add it there, without annotations if it is good")
    return found


@dataclass(frozen=True, slots=True)
class _Listed:
    file_name: str
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class _Annotation:
    """`label` is None if the category is not declared; `area` is what was written, yet to be checked."""

    number: str
    label: str | None
    crowd: bool
    area: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Document:
    categories: dict[int, str]
    images: dict[int, _Listed]
    annotations: dict[int, list[_Annotation]]

    @staticmethod
    def read(file: Path) -> _Document:
        try:
            document = json.loads(read_label_file(file))
            categories = {int(item["id"]): label_of(str(item["name"])) for item in document["categories"]}
            images: dict[int, _Listed] = {}
            for item in document["images"]:
                if int(item["id"]) in images:
                    raise DataError(f"{file.name} has two images with the id {item['id']}; export it again")
                name = inside(str(item["file_name"]), file.name)
                images[int(item["id"])] = _Listed(name, int(item["width"]), int(item["height"]))
            annotations: dict[int, list[_Annotation]] = defaultdict(list)
            for item in document["annotations"]:
                label = categories.get(int(item["category_id"]))
                crowd = item.get("iscrowd", 0) == 1
                entry = _Annotation(str(item.get("id", "?"))[:40], label, crowd, item)
                annotations[int(item["image_id"])].append(entry)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise DataError(
                f"{printable(file.name)} is no COCO file ({type(error).__name__}: {printable(str(error)[:200])}): it needs "
                "images (id, file_name, width, height), annotations (image_id, category_id) and categories (id, name); export "
                "it again as COCO instances"
            ) from error
        return _Document(categories, images, annotations)


def _add(found: Found, path: str, split: str, image: _Listed, annotations: Sequence[_Annotation]) -> set[str]:
    """One image with its areas; returns the classes it shows."""
    if unknown := [entry.number for entry in annotations if entry.label is None]:
        found.bad_label(path, f"annotation {unknown[0]} has a category that is not declared; declare or remove it")
        return set()
    classes = {entry.label for entry in annotations if entry.label is not None and not entry.crowd} - {GOOD, IGNORE}
    shapes: list[Shape] = []
    usable = True
    for entry in annotations:
        label = IGNORE if entry.crowd else entry.label
        if label is None or label == GOOD:
            continue
        try:
            read = _shapes(label, entry.area, image)
        except DataError as error:
            found.bad_area(path, f"annotation {printable(entry.number)}: {error}; its areas are not used")
            usable = False
            break
        usable = usable and bool(read)
        shapes += read
    drawing = Drawing(image.width_px, image.height_px, tuple(shapes)) if usable and shapes else None
    ordered = drawing.labels if drawing is not None else tuple(sorted(classes))
    main, *also = ordered or (GOOD,)
    found.samples.append(Sample(path, main, "", split, also=tuple(also), drawing=drawing))
    return classes


def _shapes(label: str, area: Mapping[str, Any], image: _Listed) -> list[Shape]:
    """The areas of an annotation; none if it has no outline and no box. Raises DataError."""
    width, height = image.width_px, image.height_px
    if width < 1 or height < 1 or width * height > DecodeLimits().max_pixels:
        raise DataError(f"the file says that the picture has {width} × {height} px; correct it")
    outline, box = area.get("segmentation"), area.get("bbox")
    try:
        if isinstance(outline, dict):
            return [_runs(label, outline, image)]
        if outline:
            return [polygon(label, _points(ring), width, height) for ring in outline]
        if box:
            x, y, wide, high = (float(number) for number in box)
            found: list[Shape] = [rectangle(label, x, y, (wide, high), (width, height))]
            return found
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise DataError(f"its outline or box is not as COCO writes them ({error})") from error
    return []


def _points(ring: Sequence[Any]) -> list[tuple[float, float]]:
    if len(ring) % 2:
        raise DataError(f"a polygon has {len(ring)} numbers, x and y must come in pairs")
    numbers = [float(number) for number in ring]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _runs(label: str, outline: Mapping[str, Any], image: _Listed) -> Shape:
    height, width = (int(side) for side in outline["size"])
    if (width, height) != (image.width_px, image.height_px):
        raise DataError(
            f"its run lengths are of {width} × {height} px, the picture has {image.width_px} × {image.height_px}"
        )
    counts = outline["counts"]
    pixels = width * height
    if isinstance(counts, str):
        return runs(label, decode_counts(counts, pixels + 1), width, height)
    if len(counts) > pixels + 1:
        raise DataError(f"it has {len(counts)} run lengths for {pixels} pixels")
    return runs(label, [int(count) for count in counts], width, height)


def _image_folder(root: Path, file: Path, document: _Document) -> Path:
    """The folder that holds most of the images, of those where they usually lie."""
    stem = file.stem.removeprefix("instances_")
    usual = [file.parent, file.parent / "images", root, root / "images", root / stem, root / "images" / stem]
    names = [image.file_name for image in document.images.values()]
    candidates = [folder for folder in dict.fromkeys(usual) if folder.is_relative_to(root)]
    return max(candidates, key=lambda folder: sum(is_there(folder / name) for name in names))


def _split_of(root: Path, file: Path) -> str:
    """Roboflow's folder, or the part of the file's name that COCO names its splits by."""
    words = file.parent.name if file.parent != root and file.name == _ROBOFLOW else file.stem
    return next((split for word, split in _SPLITS.items() if word in words.casefold()), "")
