"""Snapshots of the quality database, as `inspector-train snapshot` writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inspector.errors import DataError
from inspector.records.snapshots.format import Marked, Picture, mask_file, read_snapshot
from training.data import marks
from training.data.drawing import IGNORE, Drawing, Shape, polygon, rectangle, runs
from training.data.importers.found import Found
from training.data.samples import GOOD, Sample


def snapshot(root: Path) -> Found:
    """Read a snapshot. Raises DataError that names the first file that is not as it was written."""
    read = read_snapshot(root)
    found = Found(snapshot=read.digest)
    for picture in read.pictures:
        found.samples.append(_sample(found, root, picture))
    return found


def _sample(found: Found, root: Path, picture: Picture) -> Sample:
    defects = [area for area in picture.areas if area.defect_class]
    apart = [area for area in picture.areas if not area.defect_class]
    also = dict.fromkeys(area.defect_class for area in defects if area.defect_class != picture.label)
    mask, defects = _lone_mask(defects, picture.label)
    ignore, apart = _lone_mask(apart, "")
    drawing = None
    if defects or apart:
        try:
            shapes = tuple(_shape(root, area, picture) for area in (*defects, *apart))
            drawing = Drawing(picture.width_px, picture.height_px, shapes)
        except DataError as error:
            found.bad_area(picture.file, str(error))
    return Sample(
        picture.file,
        picture.label,
        "" if picture.label == GOOD else mask,
        also=tuple(also),
        group=picture.group,
        lot=picture.lot,
        ignore=ignore,
        drawing=drawing,
    )


def _lone_mask(areas: list[Marked], label: str) -> tuple[str, list[Marked]]:
    """The file of the mask if it says it all, and else the areas to draw."""
    if len(areas) == 1 and areas[0].mask and areas[0].defect_class == label:
        return mask_file(areas[0].mask), []
    return "", areas


def _shape(root: Path, area: Marked, picture: Picture) -> Shape:
    label, width, height = area.defect_class or IGNORE, picture.width_px, picture.height_px
    if area.mask:
        # Column after column, unmarked first, as COCO counts.
        marked = marks.read_mask(root / mask_file(area.mask), width, height).T.ravel()
        edges = np.flatnonzero(np.diff(marked.astype(np.int8), prepend=0))
        counts = np.diff(np.concatenate(([0], edges, [marked.size])))
        return runs(label, counts.tolist(), width, height)
    if area.polygon:
        return polygon(label, area.polygon, width, height)
    x, y, box_width, box_height = area.box
    return rectangle(label, x, y, (box_width, box_height), (width, height))
