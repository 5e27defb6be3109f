"""KolektorSDD: kosNN/PartM.jpg with its mask PartM_label.bmp (or .png), which marks nothing if the surface is good.

Source: https://www.vicos.si/resources/kolektorsdd/. kosNN is the physical item, of which each Part is one surface.
"""

from __future__ import annotations

from pathlib import Path

from inspector.errors import DataError
from training.data import marks
from training.data.importers.found import Found
from training.data.samples import GOOD, Sample

LABEL_FILES = "kos*/Part*_label.*"
DEFECTIVE = "defective"


def kolektor(root: Path) -> Found:
    """Reads every mask, as only these tell good from defective."""
    found = Found()
    for image in sorted(root.glob("kos*/Part*.jpg")):
        path = image.relative_to(root).as_posix()
        masks = [image.with_name(f"{image.stem}_label{suffix}") for suffix in (".bmp", ".png")]
        mask = next((file for file in masks if file.is_file()), None)
        if mask is None:
            found.unlabelled(path, f"there is no {masks[0].name}, which would tell whether it is good; add it")
            continue
        found.aside.add(mask.relative_to(root).as_posix())
        try:
            values = marks.mask_values(mask)
        except DataError as error:
            found.bad_label(path, f"its label image: {error}")
            continue
        label = DEFECTIVE if (values > marks.marked_above(values)).any() else GOOD
        name = "" if label == GOOD else mask.relative_to(root).as_posix()
        found.samples.append(Sample(path, label, name, group=image.parent.name))
    return found
