"""Labels as people give them, held against the parts and pictures on record before the quality database keeps them."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inspector.errors import AccessDenied, ConfigError, FrameError, ImageStoreError, LabelInvalid, NotFound
from inspector.imaging.archive import unarchive
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.normalise import to_8_bit, to_grey
from inspector.imaging.png import PNG_MAGIC
from inspector.imaging.raster import Raster, raster_of, raster_png
from inspector.part import Box, Frame, Image, ImageKind, PixelFormat
from inspector.records.entries import StoredImage
from inspector.records.images import ImageStore
from inspector.records.labels import WORDS, Area, Label, Mask, Polygon, check_label, label_name
from inspector.records.parts import find_part
from inspector.records.queries import StoredInspection
from inspector.records.store import Store

MAX_MASK_BYTES = 64 << 20
_SHOWN = 20
_AHEAD = timedelta(minutes=5)
"""How far another machine's clock may be before ours."""
_ALIKE = 0.8
_CLASS_NUMBERS = 32
"""A mask whose brightest value is below this holds 0 and 1, or class numbers: each of them marks."""


@dataclass(frozen=True, slots=True)
class Shares:
    """An outline of (x, y) in shares of the picture's sides, 0 to 1; of a box its two corners."""

    points: tuple[tuple[float, float], ...]
    is_box: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """An area as it was given: a box, an outline, marked pixels or the file of a mask.

    `counts` is False for what is nobody's business. `defect_class` is there where it is not that of the label.
    """

    shape: Box | Polygon | Shares | Raster | Path
    counts: bool = True
    defect_class: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One label as it was given, and `where`, such as "labels.csv, line 3"; empty on the command line.

    `image` is the SHA-256, or its first digits, of the picture that it was given on; without it, areas lie in the first one.
    `of_picture` says that the label is of that picture also without areas. `size_px` is what the giver thinks its size is.
    """

    part: str
    what: str
    author: str
    areas: tuple[Drawn, ...] = ()
    note: str = ""
    time: datetime | None = None
    where: str = ""
    image: str = ""
    of_picture: bool = False
    size_px: tuple[int, int] | None = None
    is_repeat: bool = False


@dataclass
class Labelling:
    """Turns what was given into labels of one line, and adds them."""

    store: Store
    images: ImageStore
    line: str
    limits: DecodeLimits = field(default_factory=DecodeLimits)

    def add(
        self,
        wanted: Sequence[Wanted],
        now: datetime,
        *,
        new_class: bool = False,
        versions: Mapping[tuple[str, int], int] | None = None,
        only_of: str = "",
    ) -> int:
        """Add labels, all or none; those without a time get `now`. Returns how many say something new.

        With `only_of` nobody else may say anything new. Raises LabelInvalid that names every problem; AccessDenied, NotFound,
        ImageStoreError and what the store raises, also for `versions`.
        """
        masks: dict[str, bytes] = {}
        known = self.store.label_classes()
        labels, problems = [], []
        for one in wanted:
            try:
                label = self._label(one, now, masks)
                if not new_class:
                    for name in sorted({label.what, *(area.defect_class for area in label.areas)} - {""}):
                        _check_spelling(name, known)
                labels.append(label)
            except (LabelInvalid, NotFound, ConfigError, FrameError) as error:
                problems.append(f"{one.where}: {error}" if one.where else str(error))
        if problems:
            more = f"\nand {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            raise LabelInvalid("\n".join(problems[:_SHOWN]) + more + "\nnothing was labelled")
        if only_of:
            self._check_authors(wanted, labels, only_of)
        for data in masks.values():
            self.images.keep(data, "image/png")
        added = self.store.add_labels(labels, versions)
        # From here on they are protected. Should a sweep have taken one in between, it is there again.
        for data in masks.values():
            self.images.keep(data, "image/png")
        return added

    def _check_authors(self, wanted: Sequence[Wanted], labels: Sequence[Label], author: str) -> None:
        """Raise AccessDenied if anybody but `author` would say something new: what they have said already is no news."""
        for one, label in zip(wanted, labels, strict=True):
            if label.author == author:
                continue
            said = [old for old in self.store.labels(label.line, label.sequence).history if old.author == label.author]
            if not said or not said[-1].says_the_same(label):
                where = f"{one.where}: " if one.where else ""
                raise AccessDenied(
                    f"{where}the label of #{label.sequence} is under the name of {label.author[:80]!a}, and {author} may "
                    "bring in only their own: leave the author out, or ask an approver to bring it in\nnothing was labelled"
                )

    def _label(self, wanted: Wanted, now: datetime, masks: dict[str, bytes]) -> Label:
        found = find_part(self.store, self.line, wanted.part)
        if len(found) > 1:
            numbers = ", ".join(f"#{stored.inspection.sequence}" for stored in found[:5])
            raise LabelInvalid(f"part {wanted.part!a} was inspected {len(found)} times: name one of {numbers}")
        what = label_name(wanted.what)
        if wanted.time is not None and wanted.time > now + _AHEAD:
            given, here = (f"{one.astimezone(UTC):%Y-%m-%d %H:%M}" for one in (wanted.time, now))
            raise LabelInvalid(
                f"its time {given} UTC lies ahead, it is {here} UTC here: correct it; a time without a zone is taken as UTC, "
                "so give local ones as 2026-03-02T06:00:00+01:00"
            )
        areas: list[Area] = []
        frame = _frame(found[0], wanted.image) if wanted.image or wanted.areas else None
        if wanted.areas:
            assert frame is not None
            picture = self._picture(found[0], frame, wanted.size_px)
            for drawn in wanted.areas:
                defect_class = label_name(drawn.defect_class) if drawn.defect_class else what
                areas.append(Area(self._shape(drawn.shape, picture, masks), defect_class if drawn.counts else ""))
        label = Label(
            line=self.line,
            sequence=found[0].inspection.sequence,
            what=what,
            author=wanted.author,
            time=wanted.time or now,
            areas=tuple(areas),
            note=wanted.note,
            is_repeat=wanted.is_repeat,
            image=frame.sha256 if frame is not None and (areas or wanted.of_picture) else "",
        )
        check_label(label)
        return label

    def _picture(self, stored: StoredInspection, frame: StoredImage, size_px: tuple[int, int] | None) -> Image:
        """Pixels of the picture in which areas are drawn. Raises LabelInvalid, FrameError."""
        number = stored.inspection.sequence
        if not frame.sha256:
            raise LabelInvalid(f"#{number} has no picture to draw in ({frame.lost_reason}): label it without areas")
        try:
            data, _ = self.images.get(frame.sha256)
        except (NotFound, ImageStoreError) as error:
            raise LabelInvalid(f"#{number} cannot be drawn in: {error}") from error
        picture = decode(unarchive(data, self.limits), self.limits)
        if size_px not in (None, (picture.width_px, picture.height_px)):
            assert size_px is not None
            raise LabelInvalid(
                f"the areas are drawn on {size_px[0]} × {size_px[1]} px, the picture of #{number} has {picture.width_px} × "
                f"{picture.height_px}: draw them on the picture as it was exported"
            )
        return picture

    def _shape(
        self, shape: Box | Polygon | Shares | Raster | Path, picture: Image, masks: dict[str, bytes]
    ) -> Box | Polygon | Mask:
        width, height = picture.width_px, picture.height_px
        if isinstance(shape, Path | Raster):
            data = (
                mask_png(shape, width, height, self.limits) if isinstance(shape, Path) else _drawn_png(shape, picture)
            )
            mask = _mask_of(data)
            masks[mask.sha256] = data
            return mask
        if isinstance(shape, Shares):
            shape = _in_pixels(shape, width, height)
        _check_inside(shape, width, height)
        return shape


def _frame(stored: StoredInspection, image: str) -> StoredImage:
    """The picture that a label is given on. Raises LabelInvalid."""
    number = stored.inspection.sequence
    frames = [one for one in stored.images if one.kind is ImageKind.FRAME]
    if not frames:
        raise LabelInvalid(f"#{number} has no picture to draw in (none was kept): label it without areas")
    if not image:
        return frames[0]
    found = [one for one in frames if one.sha256.startswith(image)]
    if not found:
        raise LabelInvalid(
            f"picture {image[:12]!a} is none of #{number}: the file is of another line or database, or the picture is gone"
        )
    return found[0]


def _in_pixels(shape: Shares, width_px: int, height_px: int) -> Box | Polygon:
    points = tuple((x * width_px, y * height_px) for x, y in shape.points)
    if not shape.is_box:
        return Polygon(points)
    return whole_box(*points[0], *points[1])


def whole_box(left: float, top: float, right: float, bottom: float) -> Box:
    """A box of whole pixels, one at least, by its corners. Raises LabelInvalid."""
    if not all(math.isfinite(value) for value in (left, top, right, bottom)):
        raise LabelInvalid("a box has a corner that is no number: draw it again")
    x, y = round(left), round(top)
    return Box(x, y, max(round(right) - x, 1), max(round(bottom) - y, 1))


def _drawn_png(raster: Raster, picture: Image) -> bytes:
    """Marked pixels as the file of a mask. Raises LabelInvalid."""
    if (raster.width_px, raster.height_px) != (picture.width_px, picture.height_px):
        raise LabelInvalid(
            f"a mask is {raster.width_px} × {raster.height_px} px, its picture {picture.width_px} × {picture.height_px}: "
            "draw it on the picture as it was exported"
        )
    if not raster.area_px:
        raise LabelInvalid("a mask marks nothing: draw the defect, or leave the mask out")
    return raster_png(raster)


def mask_png(path: Path, width_px: int, height_px: int, limits: DecodeLimits) -> bytes:
    """A mask file as a PNG of 0 and 255 and of the picture's size. Raises LabelInvalid, FrameError."""
    raster = read_mask(read_bounded(path, MAX_MASK_BYTES), path.name, limits)
    if (raster.width_px, raster.height_px) != (width_px, height_px):
        raise LabelInvalid(
            f"mask {path.name!a} is {raster.width_px} × {raster.height_px} px, its picture {width_px} × {height_px}: draw it "
            "on the picture, which `inspector show … --save` gives"
        )
    return raster_png(raster)


def read_mask(data: bytes, name: str, limits: DecodeLimits) -> Raster:
    """What the PNG file of a mask marks. Raises LabelInvalid, FrameError."""
    if not data.startswith(PNG_MAGIC):
        raise LabelInvalid(f"{name!a} is no PNG file: save the mask as PNG, which loses nothing")
    drawn = decode(Frame(0, PixelFormat.PNG, 0, 0, 0, data), limits)
    grey = to_grey(to_8_bit(drawn.pixels, drawn.bits))
    brightest = int(grey.max())
    if not brightest:
        raise LabelInvalid(f"mask {name!a} marks nothing: draw the defect in white")
    return raster_of(grey > (0 if brightest < _CLASS_NUMBERS else brightest // 2))


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
