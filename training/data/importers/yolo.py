"""YOLO labels: a text file per image, a line per defect (https://docs.ultralytics.com/datasets/segment/).

    data.yaml or classes.txt    names of the classes
    images/…/NAME.jpg           labels/…/NAME.txt, or NAME.txt beside the image

A line is the number of the class and, in shares of the picture's sides, either a box (x and y of its centre, width, height)
or an outline (x y x y x y …). An image with an empty file is good; one without a file is not used, since nobody said that
it is. Folders named train, val, valid and test are the published split.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from inspector.errors import DataError
from training.data.drawing import IGNORE, Drawing, Shape, polygon, rectangle
from training.data.importers.found import Found, images_below, is_there, label_of, read_label_file
from training.data.samples import GOOD, Sample, printable

_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NAMES = ("classes.txt", "obj.names")
_SPLITS = {"train": "train", "valid": "train", "val": "train", "test": "test"}
_MAX_YAML_CHARACTERS = 1_000_000


def name_file(root: Path) -> Path | None:
    """The file that names the classes of the data set in `root`, or None."""
    return next((root / name for name in (*_YAML, *_NAMES) if is_there(root / name)), None)


def yolo(root: Path) -> Found:
    """Read every image's label file. Raises DataError if the classes have no names."""
    named_in = name_file(root)
    if named_in is None:
        raise DataError(f"{printable(str(root))} has no {' or '.join((*_YAML, *_NAMES))}; add the names of the classes")
    return read_labels(root, named_in)


def read_labels(root: Path, named_in: Path) -> Found:
    """As `yolo`, with the file that names the classes."""
    names = _class_names(named_in)
    found = Found()
    drawn: set[str] = set()
    images = set()
    for image in images_below(root):
        path = image.relative_to(root).as_posix()
        labels = _label_file(root, image)
        images.add(labels)
        if not is_there(labels):
            found.unlabelled(
                path, f"there is no {labels.relative_to(root).as_posix()}; add it, empty if the image is good"
            )
            continue
        drawn |= _add(found, path, labels, names)
    for label in sorted(set(names.values()) - drawn - {GOOD, IGNORE}):
        found.empty_class(label, named_in.name)
    for labels in sorted(root.glob("labels/**/*.txt")):
        if labels not in images:
            found.missing(f"the image of {labels.relative_to(root).as_posix()}", "a label file")
    return found


def _add(found: Found, path: str, file: Path, names: dict[int, str]) -> set[str]:
    """One image with its areas; returns the classes it shows."""
    shapes: list[Shape] = []
    classes: set[str] = set()
    usable = True
    for number, line in enumerate(read_label_file(file).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        label = names.get(int(words[0])) if words[0].isdecimal() and len(words[0]) < 9 else None
        if label is None:
            found.bad_label(
                path,
                f"{file.name}, line {number} begins with {printable(words[0][:20])!r}, which is no class; correct it",
            )
            return set()
        if label == GOOD:
            continue
        classes.add(label)
        try:
            shapes.append(_shape(label, words[1:]))
        except DataError as error:
            found.bad_area(path, f"{file.name}, line {number}: {error}; the image's areas are not used")
            usable = False
    drawing = Drawing(0, 0, tuple(shapes)) if usable and shapes else None
    ordered = drawing.labels if drawing is not None else tuple(sorted(classes - {IGNORE}))
    main, *also = ordered or (GOOD,)
    found.samples.append(Sample(path, main, "", _split_of(path), also=tuple(also), drawing=drawing))
    return classes


def _shape(label: str, words: list[str]) -> Shape:
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise DataError("its coordinates are no numbers") from error
    if len(numbers) == 4:
        x, y, width, height = numbers
        return rectangle(label, x - width / 2, y - height / 2, (width, height), (1.0, 1.0))
    if len(numbers) < 6 or len(numbers) % 2:
        raise DataError(f"it has {len(numbers)} coordinates, a box has 4 and an outline 6, 8, 10 …")
    return polygon(label, list(zip(numbers[::2], numbers[1::2], strict=True)), 1.0, 1.0)


def _label_file(root: Path, image: Path) -> Path:
    """labels/… for images/…, the last folder of that name; beside the image if there is none."""
    parts = list(image.relative_to(root).parts)
    folders = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return root.joinpath(*parts).with_suffix(".txt")


def _split_of(path: str) -> str:
    return next((_SPLITS[part] for part in path.split("/")[:-1] if part in _SPLITS), "")


def _class_names(file: Path) -> dict[int, str]:
    """Names by number. Raises DataError."""
    text = read_label_file(file)
    if file.suffix not in (".yaml", ".yml"):
        lines = [line.strip() for line in text.splitlines()]
        return {number: label_of(name) for number, name in enumerate(lines) if name}
    try:
        if len(text) > _MAX_YAML_CHARACTERS:
            raise ValueError(f"it has {len(text)} characters")
        document = yaml.safe_load(text)
        names = document["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): label_of(_text(name)) for number, name in pairs}
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{printable(file.name)} does not name the classes ({type(error).__name__}: {printable(str(error)[:200])}); "
            "it needs names: [scratch, dent]"
        ) from error


def _text(name: object) -> str:
    if not isinstance(name, str | int):
        raise TypeError(f"a name is {type(name).__name__}")
    return str(name)
