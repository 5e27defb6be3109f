"""Folders as MVTec AD has them: a picture lies in the folder of its class, and beside it the mask of its defects.

    train/good/NAME.png
    test/CLASS/NAME.png    ground_truth/CLASS/NAME_mask.png    ignore/CLASS/NAME_mask.png
    inspector.json         what folders have no word for: which area is of which class, boxes, outlines, who and when

Also read: folders of classes without train/ and test/, and masks that are named as their pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inspector.errors import FrameError, LabelInvalid
from inspector.formats.document import (
    APART,
    EXTENSION,
    IGNORE,
    Entry,
    Mark,
    drawn_of,
    extension_of,
    folded_class,
    merged,
    read_extension,
    reference_of,
)
from inspector.formats.sources import Source
from inspector.formats.values import parse_json, printable
from inspector.formats.words import together
from inspector.imaging.decode import DecodeLimits
from inspector.imaging.raster import Raster, raster_png
from inspector.labelling import MAX_MASK_BYTES, Wanted, read_mask
from inspector.records.labels import GOOD, UNSURE, WITHDRAWN

RECORDS, MASKS = f"{EXTENSION}.json", "ground_truth"
_ASIDE = frozenset({MASKS, IGNORE, APART, UNSURE, WITHDRAWN})
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class _Words:
    """What the folders say of a picture: its class, and what two masks mark."""

    what: str
    defect: Raster | None
    ignored: Raster | None


# Writing


def folder_of(entry: Entry) -> str:
    """Where the picture of a label lies."""
    if entry.what == GOOD:
        return "train/good"
    return APART if entry.what == UNSURE else f"test/{entry.what}"


def write(entries: Sequence[Entry]) -> dict[str, bytes]:
    """The files of an export, without pictures."""
    files = {RECORDS: json.dumps(extension_of(entries), allow_nan=False).encode("ascii")}
    for entry in entries:
        words = _words_of(entry)
        for kind, raster in ((MASKS, words.defect), (IGNORE, words.ignored)) if words else ():
            if raster is not None:
                files[f"{kind}/{entry.what}/{entry.stem}_mask.png"] = raster_png(raster)
    return files


def notes(entries: Sequence[Entry]) -> Iterator[tuple[str, int]]:
    """What folders cannot say of these labels, and of how many."""
    yield "say unsure: their pictures are in apart/", sum(entry.what == UNSURE for entry in entries)
    shown = [entry for entry in entries if entry.what != UNSURE]
    yield (
        "draw boxes or outlines: the folders have a mask of them",
        sum(any(not isinstance(mark.shape, Raster) for mark in entry.marks) for entry in shown),
    )
    yield (
        "draw several defects or classes: the folders have one mask of one class",
        sum(
            len(entry.counting) > 1 or any(mark.defect_class != entry.what for mark in entry.counting)
            for entry in shown
        ),
    )


def _words_of(entry: Entry) -> _Words | None:
    if entry.what == UNSURE:
        return None
    defect = together([mark.shape for mark in entry.counting], entry.size_px)
    ignored = together([mark.shape for mark in entry.marks if not mark.defect_class], entry.size_px)
    # An outline so thin that it holds no pixel's centre marks nothing, and there is no mask of nothing.
    return _Words(entry.what, *(one if one and one.area_px else None for one in (defect, ignored)))


# Reading


def finds(source: Source) -> str:
    """The folder above train/ and test/, with a slash; "./" for the source itself; an empty string if there is none."""
    for name in source.names:
        parts = name.split("/")
        for word in ("train", "test"):
            if word in parts[:-2] and parts.index(word) < 3:
                return "/".join(parts[: parts.index(word)]) + "/" if parts.index(word) else "./"
    return ""


def read(source: Source, root: str, author: str) -> list[Wanted]:
    """The labels that folders below `root` say. Raises LabelInvalid that names what is wrong."""
    below = "" if root in ("", "./") else root
    files = [name.removeprefix(below) for name in source.names if name.startswith(below)]
    there = frozenset(files)
    places: dict[str, str] = {}
    native: dict[str, _Words] = {}
    for file in files:
        parts = file.split("/")
        parts = parts[1:] if parts[0] in ("train", "test") else parts
        if len(parts) != 2 or parts[0] in _ASIDE or not parts[1].casefold().endswith(_IMAGE_SUFFIXES):
            continue
        folder, name = parts
        if name in native:
            raise LabelInvalid(
                f"{printable(name)} lies in {printable(places[name])} and in {printable(file)}: decide on one"
            )
        what = folded_class(folder)
        masks = [_mask(source, below, there, kind, folder, name) for kind in (MASKS, IGNORE)]
        if what == GOOD and masks[0] is not None:
            raise LabelInvalid(f"{printable(file)} is good and has a mask of defects: decide on one")
        places[name], native[name] = file, _Words(what, *masks)
    records = {}
    if RECORDS in there:
        path = below + RECORDS
        records = read_extension(parse_json(source.read(path), path), path)

    def decode(name: str, words: _Words) -> Wanted:
        where = f"{source.label}, {printable(places[name])}"
        reference = reference_of(name, where)
        marks = [Mark(words.defect, words.what)] if words.defect else []
        marks += [Mark(words.ignored)] if words.ignored else []
        return Wanted(
            reference.part, words.what, author, tuple(map(drawn_of, marks)), where=where, image=reference.image
        )

    return list(merged(records, native, _words_of, decode, source.label))


def _mask(source: Source, below: str, there: frozenset[str], kind: str, folder: str, name: str) -> Raster | None:
    """What the mask of a picture marks, if it has one. Raises LabelInvalid."""
    stem = name.rsplit(".", 1)[0]
    for file in (f"{kind}/{folder}/{stem}_mask.png", f"{kind}/{folder}/{stem}.png"):
        if file in there:
            try:
                return read_mask(source.read(below + file, MAX_MASK_BYTES), file, DecodeLimits())
            except FrameError as error:
                raise LabelInvalid(f"{printable(file)}: {error}") from error
    return None
