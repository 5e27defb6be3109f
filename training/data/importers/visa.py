"""VisA as it is published: per object image_anno.csv and Data/Images/{Normal,Anomaly}, Data/Masks/Anomaly.

Source: https://github.com/amazon-science/spot-diff. The table has the columns image, label and mask, with paths from the
folder above; labels are normal, or the kinds of anomaly with commas between. Masks hold a number per kind, and nothing says
which is which, so an image with several kinds has one mask for all. split_csv/1cls.csv above gives the published split; the
layout that VisA's own script makes of it is read as mvtec-ad.
"""

from __future__ import annotations

from pathlib import Path

from inspector.errors import DataError
from training.data.importers.found import Found, inside, is_there
from training.data.importers.table import rows_of
from training.data.samples import GOOD, Sample, printable

LABEL_FILE = "image_anno.csv"
_SPLIT_FILE = Path("split_csv", "1cls.csv")
_NORMAL = "normal"


def visa(root: Path) -> Found:
    """One object of VisA. Raises DataError if a table is damaged."""
    found = Found()
    splits = _published_splits(root)
    for line, row in rows_of(root / LABEL_FILE, ("image", "label", "mask")):
        where = f"{LABEL_FILE}, line {line}"
        path = _below_object(inside(row["image"], where))
        if not is_there(root / path):
            found.missing(path, where)
            continue
        labels = [name.strip() for name in row["label"].split(",") if name.strip()]
        if not labels:
            found.unlabelled(path, f"{where} gives no label; write normal or the kind of anomaly")
            continue
        if labels == [_NORMAL]:
            found.samples.append(Sample(path, GOOD, "", splits.get(path, "")))
            continue
        mask = _below_object(inside(row["mask"], where)) if row["mask"].strip() else ""
        if mask and not is_there(root / mask):
            found.missing(mask, where)
            mask = ""
        found.samples.append(Sample(path, labels[0], mask, splits.get(path, ""), also=tuple(labels[1:])))
    return found


def objects_of(root: Path) -> list[str]:
    """Names of the objects in the folder of the whole set."""
    return sorted(file.parent.name for file in root.glob(f"*/{LABEL_FILE}"))


def _below_object(path: str) -> str:
    """candle/Data/… as Data/…: the object's own folder may have been renamed."""
    _, separator, rest = path.partition("/")
    if not separator:
        raise DataError(
            f"{LABEL_FILE} names {printable(path)!r}, expected OBJECT/Data/Images/…; download the set again"
        )
    return rest


def _published_splits(root: Path) -> dict[str, str]:
    """Path of an image below the object → train or test; empty without the file."""
    for folder in (root, root.parent):
        if is_there(folder / _SPLIT_FILE):
            rows = rows_of(folder / _SPLIT_FILE, ("object", "split", "image"))
            return {
                _below_object(inside(row["image"], f"{_SPLIT_FILE.name}, line {line}")): row["split"].strip()
                for line, row in rows
                if row["object"].strip() == root.name and row["split"].strip() in ("train", "test")
            }
    return {}
