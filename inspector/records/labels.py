"""What people say of parts, and what their labels come to together.

A label is never changed: whoever thinks otherwise adds another one, and the newest of each author counts. Authors may
disagree; that is an outcome of its own, which stays visible until one of them, or a third, settles it.
"""

from __future__ import annotations

import enum
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from inspector.errors import LabelInvalid
from inspector.part import Box
from inspector.records.queries import StoredInspection
from inspector.records.text import DETAIL_LENGTH

GOOD, UNSURE, WITHDRAWN = "good", "unsure", "withdrawn"
"""What a label may say besides a defect class: no defect, cannot be told, and that the author takes back what they said."""
WORDS = frozenset({GOOD, UNSURE, WITHDRAWN})
_RESERVED = frozenset({"ignore", "ground_truth"})
"""Names that data sets use for other things."""
MAX_NAME, MAX_AUTHOR = 64, 128
MAX_AREAS, MAX_POINTS, MAX_SIDE_PX = 256, 10_000, 1_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed outline of (x, y) in pixels of the picture, x to the right and y down, (0, 0) its upper left corner."""

    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """A PNG in the image store, of the picture's size, whose bright pixels are marked."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Area:
    """Where a defect is; without `defect_class`, what does not count, whatever it shows."""

    shape: Box | Polygon | Mask
    defect_class: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """What `author` said of a part at `time`: good, unsure, withdrawn or a defect class.

    `image` is the SHA-256 of the picture that it is said of and in which the areas lie; empty for the part as a whole.
    `is_repeat` says that the author looked again without being shown what anyone had said before: it is kept even if it says
    the same, so that a study can tell how far people agree with themselves.
    """

    line: str
    sequence: int
    what: str
    author: str
    time: datetime
    areas: tuple[Area, ...] = ()
    note: str = ""
    image: str = ""
    is_repeat: bool = False

    @property
    def is_sure(self) -> bool:
        """Whether it says good or names a defect."""
        return is_sure(self.what)

    def says_the_same(self, other: Label) -> bool:
        """Whether another label of the author adds nothing to this one; a repeat adds a look, unless it is the same one."""
        if other.is_repeat and other.time != self.time:
            return False
        return (self.what, self.areas, self.note, self.image) == (other.what, other.areas, other.note, other.image)


def is_sure(what: str) -> bool:
    """Whether a word of a label says good or names a defect."""
    return what not in (UNSURE, WITHDRAWN)


class Outcome(enum.Enum):
    """What the labels of a part come to."""

    NONE = "not labelled"
    UNSURE = "unsure"
    DISAGREED = "disagreement"
    AGREED = "agreed"


def newest(history: Iterable[Label]) -> tuple[Label, ...]:
    """The newest label of each author, oldest first, of labels in the order of time; who withdrew has none."""
    found: dict[str, Label] = {}
    for label in history:
        found.pop(label.author, None)
        found[label.author] = label
    return tuple(label for label in found.values() if label.what != WITHDRAWN)


def outcome_of(current: Sequence[Label]) -> Outcome:
    """What labels that count come to: who is unsure does not outvote who is sure, of whom the majority counts."""
    if any(label.is_sure for label in current):
        return Outcome.AGREED if accepted_of(current) else Outcome.DISAGREED
    return Outcome.UNSURE if current else Outcome.NONE


def accepted_of(current: Sequence[Label]) -> str:
    """What more than half of those say who are sure, or an empty string."""
    return accepted_word(label.what for label in current)


def accepted_word(words: Iterable[str]) -> str:
    """As `accepted_of`, of what each author says."""
    sure = Counter(word for word in words if is_sure(word))
    most = sure.most_common(1)
    return most[0][0] if most and 2 * most[0][1] > sure.total() else ""


def agreed_of(current: Sequence[Label]) -> Label | None:
    """The one that counts of labels that agree: the newest that says where, else the newest; None if they differ."""
    accepted = accepted_of(current)
    agreeing = [label for label in current if label.is_sure and label.what == accepted]
    return next((label for label in reversed(agreeing) if label.areas), agreeing[-1] if agreeing else None)


@dataclass(frozen=True, slots=True)
class Labelled:
    """An inspection with everything that people said of it, oldest first."""

    stored: StoredInspection
    history: tuple[Label, ...]

    @property
    def current(self) -> tuple[Label, ...]:
        """The newest label of each author, oldest first; who withdrew has none."""
        return newest(self.history)

    @property
    def outcome(self) -> Outcome:
        """Who is unsure does not outvote who is sure; of three and more who are sure the majority counts."""
        return outcome_of(self.current)

    @property
    def agreed(self) -> Label | None:
        """The label that counts where authors agree: the newest that says where, else the newest; None if they do not."""
        return agreed_of(self.current)

    def by(self, authors: Iterable[str]) -> Labelled:
        """With the labels of these authors alone; of all, if none is named."""
        named = frozenset(authors)
        return Labelled(self.stored, tuple(label for label in self.history if not named or label.author in named))


def label_name(text: str) -> str:
    """What a label says, checked: good, unsure and withdrawn however they are capitalised, else a class name.

    Raises LabelInvalid for a name that a folder, a table or a data set could not hold.
    """
    name = text.strip()
    if name.casefold() in WORDS:
        return name.casefold()
    if not name or len(name) > MAX_NAME:
        raise LabelInvalid(
            f"a label of {len(name)} characters names nothing: give good, unsure or a class of 1 to {MAX_NAME}"
        )
    if not name.isprintable() or set(name) & set("/\\|") or name.startswith("."):
        raise LabelInvalid(
            f"{name!a} cannot name a defect class: leave out control characters, slashes, bars and a dot at its start"
        )
    if name.casefold() in _RESERVED:
        raise LabelInvalid(f"{name!r} means something else in data sets: choose another name for the class")
    return name


def check_label(label: Label) -> None:
    """Raise LabelInvalid unless every part of a label can be kept and meant."""
    if label_name(label.what) != label.what:
        raise LabelInvalid(f"the label {label.what!r} is to be written {label_name(label.what)!r}")
    if not (label.author.strip() and label.author.isprintable() and len(label.author) <= MAX_AUTHOR):
        raise LabelInvalid(f"{label.author[:80]!a} names no author: give 1 to {MAX_AUTHOR} characters without controls")
    if label.time.tzinfo is None:
        raise LabelInvalid("the time of a label has no time zone: give it with one, or as UTC")
    if len(label.note) > DETAIL_LENGTH:
        raise LabelInvalid(f"the note has {len(label.note)} characters, at most {DETAIL_LENGTH} are kept: shorten it")
    if label.image and not _SHA256.fullmatch(label.image):
        raise LabelInvalid(f"{label.image[:80]!a} is no picture: give its SHA-256, 64 hexadecimal digits")
    if len(label.areas) > MAX_AREAS:
        raise LabelInvalid(f"{len(label.areas)} areas are more than the {MAX_AREAS} of a label: draw a mask instead")
    for area in label.areas:
        _check_area(area, label.what)


def _check_area(area: Area, what: str) -> None:
    if area.defect_class:
        if what in WORDS:
            raise LabelInvalid(f"an area is of {area.defect_class!r}, and the part is labelled {what}: decide on one")
        if label_name(area.defect_class) != area.defect_class or area.defect_class in WORDS:
            raise LabelInvalid(f"{area.defect_class!r} is no class that an area can have: give a defect class, or none")
    shape = area.shape
    if isinstance(shape, Mask):
        if not _SHA256.fullmatch(shape.sha256):
            raise LabelInvalid(f"{shape.sha256[:80]!a} is no mask: give its SHA-256, 64 hexadecimal digits")
        return
    if isinstance(shape, Box):
        if shape.width_px < 1 or shape.height_px < 1:
            raise LabelInvalid(f"a box is {shape.width_px} × {shape.height_px} px: draw it with at least one pixel")
        corners = ((shape.x_px, shape.y_px), (shape.x_px + shape.width_px, shape.y_px + shape.height_px))
    else:
        corners = shape.points  # type: ignore[assignment]
        if not 3 <= len(shape.points) <= MAX_POINTS:
            raise LabelInvalid(f"a polygon has {len(shape.points)} points: give 3 to {MAX_POINTS}")
    if not all(math.isfinite(value) and 0 <= value <= MAX_SIDE_PX for corner in corners for value in corner):
        raise LabelInvalid(f"an area has a corner outside 0 to {MAX_SIDE_PX:,} px: draw it within the picture")
