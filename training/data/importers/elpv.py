"""Solar cells of the package elpv-dataset: images/… and labels.csv, with the probability of a defect per cell."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from inspector.errors import DataError
from training.data.importers.found import Found, inside, is_there, read_label_file
from training.data.samples import GOOD, Sample

NAME = "elpv"
LABEL_FILE = "labels.csv"
DEFECTIVE_FROM = 0.5
"""A solar cell counts as defective from this probability on: the split that the set's published results use."""


def packaged_root() -> Path:
    """Folder of the package's data, found without importing it. Raises DataError if it is not installed."""
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the solar cells are not installed: run `pip install 'inspector[elpv]'`, or give a folder")
    return Path(spec.submodule_search_locations[0]) / "data"


def is_elpv(root: Path) -> bool:
    """Whether labels.csv in `root` is of this set: three columns without names, apart by spaces."""
    if not is_there(root / LABEL_FILE):
        return False
    columns = read_label_file(root / LABEL_FILE).partition("\n")[0].split()
    return len(columns) == 3 and columns[0].startswith("images/")


def elpv(root: Path) -> Found:
    """Labels are the probability of a defect, agreed by experts: 0, 1/3, 2/3 or 1; below a half that a cell is good is
    agreed as far as the rest. Raises DataError.
    """
    found = Found()
    for number, line in enumerate(read_label_file(root / LABEL_FILE).splitlines(), start=1):
        try:
            path, probability, _cell_type = line.split()
            share = float(probability)
        except ValueError as error:
            raise DataError(
                f"{LABEL_FILE}, line {number} is not image, probability and type of cell; install the package again"
            ) from error
        image = inside(path, LABEL_FILE)
        if not is_there(root / image):
            found.missing(image, LABEL_FILE)
            continue
        defective = "defective" if share > 0.9 else "possibly-defective"
        good = share < DEFECTIVE_FROM
        found.samples.append(Sample(image, GOOD if good else defective, agreement=1 - share if good else 1.0))
    return found
