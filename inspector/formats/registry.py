"""The formats by name: what each writes, where pictures go, and how it is recognised and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from inspector.errors import LabelInvalid
from inspector.formats import coco, label_studio, mvtec, table, yolo
from inspector.formats.document import APART, PICTURES, Entry
from inspector.formats.sources import Source
from inspector.formats.values import parse_json
from inspector.labelling import Wanted

Notes = Iterator[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Format:
    """A format. `folder_of` says where a label's picture lies, `read` takes a source, the name found in it, and an author.

    `of_each` is whether it holds what each person says of a part, and not only what they agree on.
    """

    title: str
    write: Callable[[Sequence[Entry]], dict[str, bytes]]
    notes: Callable[[Sequence[Entry]], Notes]
    read: Callable[[Source, str, str], list[Wanted]]
    folder_of: Callable[[Entry], str]
    of_each: bool = False


def _shown(entry: Entry) -> str:
    return PICTURES if entry.is_shown else APART


FORMATS: dict[str, Format] = {
    "coco": Format("COCO instances (JSON)", coco.write, coco.notes, coco.read, _shown),
    "yolo": Format(
        "YOLO detection (text files)",
        partial(yolo.write, kind=yolo.BOXES),
        partial(yolo.notes, kind=yolo.BOXES),
        yolo.read,
        _shown,
    ),
    "yolo-seg": Format(
        "YOLO segmentation (text files)",
        partial(yolo.write, kind=yolo.OUTLINES),
        partial(yolo.notes, kind=yolo.OUTLINES),
        yolo.read,
        _shown,
    ),
    "mvtec": Format("folders as MVTec AD has them, with masks", mvtec.write, mvtec.notes, mvtec.read, mvtec.folder_of),
    "label-studio": Format(
        "Label Studio tasks (JSON)", label_studio.write, label_studio.notes, label_studio.read, lambda _: PICTURES
    ),
    "csv": Format(
        "a table of all labels (CSV)", table.write, table.notes, table.read, lambda _: PICTURES, of_each=True
    ),
}
"""By the names that the command line and the API take."""


def format_named(name: str) -> Format:
    """Raises LabelInvalid that lists the known names."""
    if name not in FORMATS:
        raise LabelInvalid(f"{name[:40]!a} is no format of labels: known are {', '.join(FORMATS)}")
    return FORMATS[name]


def read_labels(source: Source, given: str, author: str, name: str = "") -> list[Wanted]:
    """The labels of a source, in the format `name` or in the one that it looks like.

    `given` is the file that was named, empty if it was a folder or an archive. Raises LabelInvalid.
    """
    if name:
        kind = format_named(name)
        found = given or _finds(source, name)
        if not found:
            raise LabelInvalid(f"there are no labels as {kind.title} in {source.label!a}: choose another format")
    else:
        name, found = _recognised(source, given)
        kind = FORMATS[name]
    wanted = kind.read(source, found, author)
    if not wanted:
        raise LabelInvalid(f"{source.label!a} holds no label: is it the right file?")
    return wanted


def _finds(source: Source, name: str) -> str:
    """What a format looks for in a folder or an archive; empty if it is not there."""
    if name == "coco":
        return coco.finds(source)
    if name.startswith("yolo"):
        return yolo.finds(source)
    if name == "mvtec":
        return mvtec.finds(source) or "./"
    wanted = label_studio.FILE if name == "label-studio" else table.FILE
    found = [file for file in source.names if file.rsplit("/", 1)[-1] == wanted]
    return found[0] if len(found) == 1 else ""


def _recognised(source: Source, given: str) -> tuple[str, str]:
    """The format that a source looks like, and what it found. Raises LabelInvalid."""
    if given.casefold().endswith(".json"):
        return _kind_of_json(parse_json(source.read(given), given)), given
    if given.casefold().endswith((".txt", ".yaml", ".yml")):
        raise LabelInvalid(f"{given!a} alone holds no labels: give the folder of the data set")
    if given:
        return "csv", given
    for name in ("csv", "label-studio", "coco", "yolo"):
        if found := _finds(source, name):
            return name, found
    if found := mvtec.finds(source):
        return "mvtec", found
    raise LabelInvalid(f"{source.label!a} looks like no format of labels: name one of {', '.join(FORMATS)}")


def _kind_of_json(document: object) -> str:
    if isinstance(document, dict) and not document.keys().isdisjoint({"images", "annotations", "categories"}):
        return "coco"
    first = document[0] if isinstance(document, list) and document else None
    return "label-studio" if isinstance(first, dict) and "data" in first else "csv"
