"""Finds out in which layout a data set comes, and its images, labels, areas, parts and lots.

    folders         generic, mvtec-ad, magnetic-tile     labels are folders
    visa            image_anno.csv                       one object of VisA
    kolektor-sdd    kosNN/PartM.jpg, PartM_label.bmp     masks tell the label
    coco            annotations.json                     outlines and boxes, several classes per image
    yolo            data.yaml or classes.txt             the same in text files
    csv             labels.csv                           columns image,label[,mask][,group][,lot][,split][,ignore][,agreement]
    snapshot        snapshot.json                        labels from the quality database, as `snapshot` wrote them
    elpv            the package elpv-dataset             probabilities

A label file may also be given itself. Each importer describes its layout in full.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inspector.errors import DataError
from inspector.records.snapshots.format import DOCUMENT
from training.data.importers import coco, elpv, folders, kolektor, snapshot, table, visa, yolo
from training.data.importers.found import IMAGE_SUFFIXES, Found, is_there
from training.data.importers.found import folders as folders_in
from training.data.importers.unused import UNUSED, note_unused
from training.data.samples import GOOD, Dataset, printable

ELPV = elpv.NAME
_BY_FOLDER = ("generic", "mvtec-ad", "magnetic-tile", "kolektor-sdd")
Placed = tuple[Path, str, Callable[[Path], Found]]
"""A data set's root, the name of its layout and what reads it."""


def open_dataset(source: str) -> Dataset:
    """Find the samples in the folder `source`, by its label file, or of the package elpv-dataset if it is "elpv".

    Raises DataError if there is no such folder or package, its label file is damaged, or no image in it has a label.
    """
    if source == ELPV and not Path(source).is_dir():
        place: Placed = (elpv.packaged_root(), ELPV, elpv.elpv)
    else:
        place = _layout_of(Path(source).absolute())
    root, layout, importer = place
    try:
        found = importer(root)
    except OSError as error:
        raise DataError(
            f"{printable(str(root))} cannot be read: {error.strerror or error}; check path and permissions"
        ) from error
    if not found.snapshot:
        note_unused(found, root, by_folder=layout in _BY_FOLDER)
    if not found.samples:
        raise DataError(_no_images(root, layout, found))
    samples = tuple(sorted(found.samples, key=lambda sample: sample.path))
    notes = tuple(sorted(found.notes, key=lambda note: (note.kind, note.about)))
    return Dataset(root, layout, samples, notes, found.snapshot)


def _no_images(root: Path, layout: str, found: Found) -> str:
    if faulty := sum(note.kind != UNUSED for note in found.notes):
        first = min(found.notes, key=lambda note: note.kind != UNUSED)
        return (
            f"{printable(str(root))}, read as {layout}, holds no images that can be used, and {faulty} that cannot; "
            f"the first, {printable(first.about)}: {printable(first.reason)}"
        )
    return (
        f"{printable(str(root))} holds no images: none of {', '.join(sorted(IMAGE_SUFFIXES))} lies in good/ or in a folder "
        "per defect class; put the images there, or give the folder above"
        + "".join(f". Not used: {printable(note.about)}, {note.reason}" for note in found.notes[:1])
    )


def _layout_of(path: Path) -> Placed:
    if not path.is_dir():
        return _of_label_file(path)
    if is_there(path / DOCUMENT):
        return path, "snapshot", snapshot.snapshot
    if is_there(path / visa.LABEL_FILE):
        return path, "visa", visa.visa
    if (path / "train" / GOOD).is_dir():
        return path, "mvtec-ad", folders.mvtec
    if any(path.glob(f"{folders.TILE_PREFIX}*/Imgs")):
        return path, "magnetic-tile", folders.magnetic_tile
    if any(path.glob(kolektor.LABEL_FILES)):
        return path, "kolektor-sdd", kolektor.kolektor
    if coco.label_files(path):
        return path, "coco", coco.coco
    if yolo.name_file(path) is not None:
        return path, "yolo", yolo.yolo
    if elpv.is_elpv(path):
        return path, ELPV, elpv.elpv
    if is_there(path / table.LABEL_FILE):
        return path, "csv", lambda root: table.table(root / table.LABEL_FILE)
    _check_single(path)
    return path, "generic", folders.generic


def _of_label_file(path: Path) -> Placed:
    """A data set given by its label file."""
    if is_there(path):
        suffix = path.suffix.casefold()
        if suffix == ".json":
            root = path.parent.parent if path.parent.name == "annotations" else path.parent
            return root, "coco", lambda root: coco.read_files(root, [path])
        if suffix in (".csv", ".tsv"):
            return path.parent, "csv", lambda _: table.table(path)
        if suffix in (".yaml", ".yml"):
            return path.parent, "yolo", lambda root: yolo.read_labels(root, path)
    reason = "it is a file" if path.is_file() else "there is no such folder"
    raise DataError(
        f"no data set at {printable(str(path))}: {reason}; give the folder that holds good/, or a label file (.json, .csv, "
        ".yaml)"
    )


def _check_single(root: Path) -> None:
    """Raises DataError for a folder of data sets: its folders are no classes."""
    sets = visa.objects_of(root) or [folder.name for folder in folders_in(root) if (folder / "train" / GOOD).is_dir()]
    if sets:
        raise DataError(
            f"{printable(str(root))} holds {len(sets)} data sets, {printable(', '.join(sets[:6]))}: give one of these folders"
        )
