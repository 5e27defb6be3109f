"""Labels as people give them, held against the parts and pictures on record before the quality database keeps them."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from inspector.errors import ConfigError, FrameError, ImageStoreError, LabelInvalid, NotFound
from inspector.imaging.archive import unarchive
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.normalise import to_8_bit, to_grey
from inspector.imaging.png import PNG_MAGIC, write_png
from inspector.part import Box, Frame, Image, ImageKind, PixelFormat
from inspector.records.images import ImageStore
from inspector.records.labels import WORDS, Area, Label, Mask, Polygon, label_name
from inspector.records.queries import StoredInspection
from inspector.records.store import Store
from inspector.reports import find_part

MAX_MASK_BYTES = 64 << 20
_SHOWN = 20
_ALIKE = 0.8
_CLASS_NUMBERS = 32
"""A mask whose brightest value is below this holds 0 and 1, or class numbers: each of them marks."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """An area as it was given: a box, a polygon or the file of a mask; `counts` is False for what is nobody's business."""

    shape: Box | Polygon | Path
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """One label as it was given, and `where`, such as "labels.csv, line 3"; empty on the command line."""

    part: str
    what: str
    author: str
    areas: tuple[Drawn, ...] = ()
    note: str = ""
    time: datetime | None = None
    where: str = ""


@dataclass
class Labelling:
    """Turns what was given into labels of one line, and adds them."""

    store: Store
    images: ImageStore
    line: str
    limits: DecodeLimits = field(default_factory=DecodeLimits)

    def add(self, wanted: Sequence[Wanted], now: datetime, *, new_class: bool = False) -> int:
        """Add labels, all or none; those without a time get `now`. Returns how many say something new.

        Raises LabelInvalid that names every problem; NotFound, ImageStoreError and what the store raises.
        """
        masks: dict[str, bytes] = {}
        known = self.store.label_classes()
        labels, problems = [], []
        for one in wanted:
            try:
                label = self._label(one, now, masks)
                if not new_class:
                    _check_spelling(label.what, known)
                labels.append(label)
            except (LabelInvalid, NotFound, ConfigError, FrameError) as error:
                problems.append(f"{one.where}: {error}" if one.where else str(error))
        if problems:
            more = f"\nand {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            raise LabelInvalid("\n".join(problems[:_SHOWN]) + more + "\nnothing was labelled")
        for data in masks.values():
            self.images.keep(data, "image/png")
        added = self.store.add_labels(labels)
        # From here on they are protected. Should a sweep have taken one in between, it is there again.
        for data in masks.values():
            self.images.keep(data, "image/png")
        return added

    def _label(self, wanted: Wanted, now: datetime, masks: dict[str, bytes]) -> Label:
        found = find_part(self.store, self.line, wanted.part)
        if len(found) > 1:
            numbers = ", ".join(f"#{stored.inspection.sequence}" for stored in found[:5])
            raise LabelInvalid(f"part {wanted.part!a} was inspected {len(found)} times: name one of {numbers}")
        what = label_name(wanted.what)
        areas: list[Area] = []
        image = ""
        if wanted.areas:
            image, picture = self._picture(found[0])
            for drawn in wanted.areas:
                defect_class = what if drawn.counts else ""
                areas.append(Area(self._shape(drawn.shape, picture, masks), defect_class))
        return Label(
            line=self.line,
            sequence=found[0].inspection.sequence,
            what=what,
            author=wanted.author,
            time=wanted.time or now,
            areas=tuple(areas),
            note=wanted.note,
            image=image,
        )

    def _picture(self, stored: StoredInspection) -> tuple[str, Image]:
        """SHA-256 and pixels of the picture in which areas are drawn. Raises LabelInvalid, FrameError."""
        number = stored.inspection.sequence
        frame = next((image for image in stored.images if image.kind is ImageKind.FRAME), None)
        if frame is None or not frame.sha256:
            why = "none was kept" if frame is None else frame.lost_reason
            raise LabelInvalid(f"#{number} has no picture to draw in ({why}): label it without areas")
        try:
            data, _ = self.images.get(frame.sha256)
        except (NotFound, ImageStoreError) as error:
            raise LabelInvalid(f"#{number} cannot be drawn in: {error}") from error
        return frame.sha256, decode(unarchive(data, self.limits), self.limits)

    def _shape(self, shape: Box | Polygon | Path, picture: Image, masks: dict[str, bytes]) -> Box | Polygon | Mask:
        if isinstance(shape, Path):
            data = mask_png(shape, picture.width_px, picture.height_px, self.limits)
            mask = _mask_of(data)
            masks[mask.sha256] = data
            return mask
        _check_inside(shape, picture.width_px, picture.height_px)
        return shape


def mask_png(path: Path, width_px: int, height_px: int, limits: DecodeLimits) -> bytes:
    """A mask file as a PNG of 0 and 255 and of the picture's size. Raises LabelInvalid, FrameError."""
    data = read_bounded(path, MAX_MASK_BYTES)
    if not data.startswith(PNG_MAGIC):
        raise LabelInvalid(f"{path.name!a} is no PNG file: save the mask as PNG, which loses nothing")
    drawn = decode(Frame(0, PixelFormat.PNG, 0, 0, 0, data), limits)
    if (drawn.width_px, drawn.height_px) != (width_px, height_px):
        raise LabelInvalid(
            f"mask {path.name!a} is {drawn.width_px} × {drawn.height_px} px, its picture {width_px} × {height_px}: draw it "
            "on the picture, which `inspector show … --save` gives"
        )
    grey = to_grey(to_8_bit(drawn.pixels, drawn.bits))
    brightest = int(grey.max())
    if not brightest:
        raise LabelInvalid(f"mask {path.name!a} marks nothing: draw the defect in white")
    marked = grey > (0 if brightest < _CLASS_NUMBERS else brightest // 2)
    return write_png(np.where(marked, 255, 0).astype(np.uint8))


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """A regular file of at most so many bytes. Raises LabelInvalid."""
    try:
        if not path.is_file():
            raise LabelInvalid(f"there is no file {str(path)!a}: check the path")
        with path.open("rb") as stream:
            data = stream.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        raise LabelInvalid(f"{str(path)!a} cannot be read ({error}): check the path and its permissions") from error
    if len(data) > most_bytes:
        raise LabelInvalid(f"{path.name!a} has more than {most_bytes >> 20} MiB: is it the right file?")
    return data


def _mask_of(data: bytes) -> Mask:
    return Mask(hashlib.sha256(data).hexdigest(), len(data))


def _check_inside(shape: Box | Polygon, width_px: int, height_px: int) -> None:
    points = shape.points if isinstance(shape, Polygon) else _corners(shape)
    if not all(0 <= x <= width_px and 0 <= y <= height_px for x, y in points):
        raise LabelInvalid(f"an area lies outside the picture, which is {width_px} × {height_px} px: draw it within")


def _corners(box: Box) -> tuple[tuple[float, float], ...]:
    return (box.x_px, box.y_px), (box.x_px + box.width_px, box.y_px + box.height_px)


def _check_spelling(what: str, known: frozenset[str]) -> None:
    """Raise LabelInvalid for a class that looks like a known one misspelt."""
    if what in WORDS or what in known:
        return
    by_fold = {name.casefold(): name for name in sorted(known)}
    if alike := difflib.get_close_matches(what.casefold(), by_fold, 1, _ALIKE):
        raise LabelInvalid(
            f"no label has named the class {what!r} so far, but {by_fold[alike[0]]!r}: correct it, or give --new-class if "
            "it is another one"
        )


def read_box(text: str) -> Box:
    """ "x,y,width,height" in whole pixels. Raises LabelInvalid."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.isascii() and part.isdecimal() and len(part) <= 7 for part in parts):
        raise LabelInvalid(f"{text[:80]!a} is no box: give x,y,width,height in whole pixels, such as 120,64,30,18")
    return Box(*(int(part) for part in parts))
