"""Finds images, labels and masks in the folder layouts that data sets come in.

    generic         good/…  CLASS/…  [ground_truth/CLASS/NAME.png or NAME_mask.png]
    mvtec-ad        train/good/…  test/good/…  test/CLASS/…  ground_truth/CLASS/NAME_mask.png
    magnetic-tile   MT_Free/Imgs/NAME.jpg  MT_CLASS/Imgs/NAME.jpg with the mask NAME.png beside it
    elpv            the package elpv-dataset: images/… and labels.csv

Only names are looked at here; `survey` reads the images.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from inspector.errors import DataError
from training.data.samples import GOOD, Dataset, Sample, printable

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
ELPV = "elpv"
_MASK_FOLDER = "ground_truth"
_TILE_PREFIX = "MT_"
_TILE_GOOD = "MT_Free"

ELPV_DEFECTIVE_FROM = 0.5
"""A solar cell counts as defective from this probability on: the split that the set's published results use."""


def open_dataset(source: str) -> Dataset:
    """Find the samples in the folder `source`, or those of the package elpv-dataset if it is "elpv".

    Raises DataError if there is no such folder or package, or no image in it.
    """
    packaged = source == ELPV and not Path(source).is_dir()
    root = _elpv_root() if packaged else Path(source).absolute()
    layout, samples = (ELPV, _elpv) if packaged else _layout_of(root)
    try:
        found = tuple(sorted(samples(root), key=lambda sample: sample.path))
    except OSError as error:
        raise DataError(
            f"{printable(str(root))} cannot be read: {error.strerror or error}; check path and permissions"
        ) from error
    if not found:
        raise DataError(
            f"{printable(str(root))} holds no images: none of {', '.join(sorted(IMAGE_SUFFIXES))} lies in good/ or in a "
            "folder per defect class; put the images there, or give the folder above"
        )
    return Dataset(root, layout, found)


def _layout_of(root: Path) -> tuple[str, Callable[[Path], Iterator[Sample]]]:
    if not root.is_dir():
        reason = "it is a file" if root.is_file() else "there is no such folder"
        raise DataError(f"no data set at {printable(str(root))}: {reason}; give the folder that holds good/")
    if (root / "train" / GOOD).is_dir():
        return "mvtec-ad", _mvtec
    if any(root.glob(f"{_TILE_PREFIX}*/Imgs")):
        return "magnetic-tile", _magnetic_tile
    return "generic", _generic


def _folders(parent: Path) -> list[Path]:
    """Folders in `parent`, sorted, without hidden ones."""
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> Iterator[Path]:
    """Image files at any depth below `folder`; folders behind links are not entered, so that no loop is."""
    for parent, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(parent, name)


def _label(folder_name: str) -> str:
    return GOOD if folder_name.casefold() == GOOD else folder_name


def _masked(root: Path, folder: Path, image: Path) -> str:
    """The mask of an image of a defect class, relative to `root`, or an empty string."""
    stem = root / _MASK_FOLDER / folder.name / image.relative_to(folder).with_suffix("")
    for name in (f"{stem.name}_mask.png", f"{stem.name}.png"):
        if (stem.parent / name).is_file():
            return (stem.parent / name).relative_to(root).as_posix()
    return ""


def _class_folder(root: Path, folder: Path, published_split: str = "") -> Iterator[Sample]:
    label = _label(folder.name)
    for image in _images(folder):
        mask = "" if label == GOOD else _masked(root, folder, image)
        yield Sample(image.relative_to(root).as_posix(), label, mask, published_split)


def _generic(root: Path) -> Iterator[Sample]:
    for folder in _folders(root):
        if folder.name != _MASK_FOLDER:
            yield from _class_folder(root, folder)


def _mvtec(root: Path) -> Iterator[Sample]:
    for split in ("train", "test"):
        if (root / split).is_dir():
            for folder in _folders(root / split):
                yield from _class_folder(root, folder, split)


def _magnetic_tile(root: Path) -> Iterator[Sample]:
    for folder in sorted(root.glob(f"{_TILE_PREFIX}*")):
        label = GOOD if folder.name == _TILE_GOOD else folder.name.removeprefix(_TILE_PREFIX)
        for image in _images(folder / "Imgs"):
            if image.suffix.lower() == ".png":
                continue  # a mask
            mask = image.with_suffix(".png")
            name = mask.relative_to(root).as_posix() if label != GOOD and mask.is_file() else ""
            yield Sample(image.relative_to(root).as_posix(), label, name)


def _elpv_root() -> Path:
    """Folder of the package's data, found without importing it."""
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the solar cells are not installed: run `pip install 'inspector[elpv]'`, or give a folder")
    return Path(spec.submodule_search_locations[0]) / "data"


def _elpv(root: Path) -> Iterator[Sample]:
    """Labels are the probability of a defect, agreed by experts: 0, 1/3, 2/3 or 1."""
    for line in (root / "labels.csv").read_text(encoding="utf-8").splitlines():
        path, probability, _cell_type = line.split()
        defective = "defective" if float(probability) > 0.9 else "possibly-defective"
        yield Sample(path, defective if float(probability) >= ELPV_DEFECTIVE_FROM else GOOD)
