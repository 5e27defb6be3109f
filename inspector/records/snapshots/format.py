"""A snapshot on disk: pictures as the line received them, by content, with labels, areas, parts and where it all came from.

    tiles-march/
        snapshot.json      digest, when and from where, filters, counts, hashes of the next two files
        samples.jsonl      one line a picture: labels, areas, part, lot, the inspections that show it and who said what
        left-out.jsonl     one line a labelled inspection that is not in it, and why
        images/ab/abcd….png, .jpg
        masks/ab/abcd….png

The digest is over `snapshot.json`, which holds the hashes of the two lists, which hold those of all pictures and masks: it
names exactly this content. Reading checks all of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inspector.errors import DataError, LabelInvalid
from inspector.records.labels import GOOD, WORDS, label_name
from inspector.records.text import printable

DOCUMENT, SAMPLES, LEFT_OUT = "snapshot.json", "samples.jsonl", "left-out.jsonl"
IMAGES, MASKS = "images", "masks"
FORMAT, VERSION = "inspector snapshot", 1
SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg"}
_MOST_BYTES = 512 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Marked:
    """An area of a picture: x,y,width,height of a box, corners of a polygon, or the SHA-256 of a mask; the others are empty.

    Without `defect_class` it does not count.
    """

    defect_class: str
    box: tuple[int, ...] = ()
    polygon: tuple[tuple[float, float], ...] = ()
    mask: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture with what counts of its labels; `inspections`, `uploads` and `said`: where it is from, and who said what.

    Areas are in pixels of the picture, which has `width_px` × `height_px`; both are 0 if there are none.
    """

    sha256: str
    media_type: str
    label: str
    areas: tuple[Marked, ...]
    width_px: int
    height_px: int
    group: str
    lot: str
    inspections: tuple[Mapping[str, Any], ...]
    said: tuple[Mapping[str, Any], ...]
    uploads: tuple[Mapping[str, Any], ...] = ()

    @property
    def file(self) -> str:
        """Where it lies, relative to the snapshot."""
        return _place(IMAGES, self.sha256, SUFFIXES[self.media_type])

    @property
    def masks(self) -> tuple[str, ...]:
        """SHA-256 of its masks."""
        return tuple(area.mask for area in self.areas if area.mask)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot says; `about` is everything in its document besides the digest."""

    root: Path
    digest: str
    about: Mapping[str, Any]
    pictures: tuple[Picture, ...]


def mask_file(sha256: str) -> str:
    """Where a mask lies, relative to the snapshot."""
    return _place(MASKS, sha256, ".png")


def _place(folder: str, sha256: str, suffix: str) -> str:
    return f"{folder}/{sha256[:2]}/{sha256}{suffix}"


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of a snapshot's document without the digest in it: sorted keys, no white space."""
    plain = {key: value for key, value in document.items() if key != "digest"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"sha256:{hashlib.sha256(text.encode('ascii')).hexdigest()}"


def lines_of(rows: list[dict[str, Any]]) -> bytes:
    """Rows as JSON lines."""
    return b"".join(json.dumps(row, sort_keys=True, allow_nan=False).encode("ascii") + b"\n" for row in rows)


def row_of(picture: Picture) -> dict[str, Any]:
    """A picture as a row of `samples.jsonl`."""
    row = asdict(picture)
    if not picture.uploads:
        del row["uploads"]  # as it was before people could bring pictures
    return row


def read_snapshot(root: Path, *, verify: bool = True) -> Snapshot:
    """Read a snapshot; with `verify` every picture and mask is held against its hash.

    Raises DataError that names the first file that is missing, damaged or not as it was written.
    """
    document = _document(root)
    lists = {name: _checked_list(root, document, name) for name in (SAMPLES, LEFT_OUT)}
    try:
        pictures = tuple(_picture(json.loads(line)) for line in lists[SAMPLES].splitlines())
    except (ValueError, KeyError, TypeError, LabelInvalid, RecursionError) as error:
        raise DataError(
            f"{_name(root, SAMPLES)} is of another version or damaged ({type(error).__name__}: {error}); take the snapshot anew"
        ) from error
    if len({picture.sha256 for picture in pictures}) < len(pictures):
        raise DataError(f"{_name(root, SAMPLES)} names a picture twice; take the snapshot anew")
    snapshot = Snapshot(root, str(document["digest"]), document, pictures)
    if verify:
        for name, sha256 in _files(snapshot):
            _check_file(root, name, sha256)
    return snapshot


def _files(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    for picture in snapshot.pictures:
        yield picture.file, picture.sha256
        for mask in picture.masks:
            yield mask_file(mask), mask


def _document(root: Path) -> dict[str, Any]:
    data = _read(root, DOCUMENT)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{_name(root, DOCUMENT)} is damaged ({error}); copy the snapshot again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{_name(root, DOCUMENT)} is not that of a snapshot; give a folder that `snapshot` wrote")
    if document.get("version") != VERSION:
        raise DataError(
            f"{_name(root, DOCUMENT)} has version {printable(str(document.get('version'))[:20])}, this program reads {VERSION}"
        )
    if document.get("digest") != digest_of(document) or not isinstance(document.get("files"), dict):
        raise DataError(
            f"{_name(root, DOCUMENT)} was changed: its content no longer gives its digest; copy the snapshot again"
        )
    return document


def _checked_list(root: Path, document: Mapping[str, Any], name: str) -> bytes:
    data = _read(root, name)
    if hashlib.sha256(data).hexdigest() != document["files"].get(name):
        raise DataError(
            f"{_name(root, name)} was changed: its content is not that of the digest; copy the snapshot again"
        )
    return data


def _read(root: Path, name: str) -> bytes:
    path = root / name
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{_name(root, name)} is larger than {_MOST_BYTES >> 20} MiB; is this a snapshot?")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{_name(root, name)} cannot be read: {error.strerror}; copy the snapshot again") from error


def _check_file(root: Path, name: str, sha256: str) -> None:
    try:
        with (root / name).open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{_name(root, name)} cannot be read: {error.strerror}; copy the snapshot again") from error
    if found != sha256:
        raise DataError(
            f"{_name(root, name)} is damaged: its content no longer gives its name; copy the snapshot again"
        )


def _name(root: Path, name: str) -> str:
    return f"snapshot {printable(root.name)}: {name}"


def _picture(row: dict[str, Any]) -> Picture:
    """A row as a picture; its hash and media type make a path, so they are checked to the letter. Raises ValueError."""
    areas = tuple(_area(area) for area in row["areas"])
    if row["media_type"] not in SUFFIXES:
        raise ValueError(f"media type {row['media_type']!r}")
    return Picture(
        sha256=_hash(row["sha256"]),
        media_type=row["media_type"],
        label=GOOD if row["label"] == GOOD else _class_of(row["label"]),
        areas=areas,
        width_px=int(row["width_px"]),
        height_px=int(row["height_px"]),
        group=str(row["group"]),
        lot=str(row["lot"]),
        inspections=tuple(row["inspections"]),
        said=tuple(row["said"]),
        uploads=tuple(row.get("uploads", ())),
    )


def _area(row: dict[str, Any]) -> Marked:
    area = Marked(
        _class_of(row["defect_class"]) if row["defect_class"] else "",
        tuple(int(value) for value in row["box"]),
        tuple((float(x), float(y)) for x, y in row["polygon"]),
        _hash(row["mask"]) if row["mask"] else "",
    )
    if [bool(area.box), bool(area.polygon), bool(area.mask)].count(True) != 1 or len(area.box) not in (0, 4):
        raise ValueError("an area is not one box, polygon or mask")
    return area


def _hash(text: Any) -> str:
    if not isinstance(text, str) or not _SHA256.fullmatch(text):
        raise ValueError(f"{str(text)[:80]!r} is no SHA-256")
    return text


def _class_of(text: str) -> str:
    if label_name(text) != text or text in WORDS:
        raise ValueError(f"{text!r} is no defect class")
    return text
