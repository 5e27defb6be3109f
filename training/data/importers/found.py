"""What importers share: their result, reading label files, and paths that stay within the data set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from inspector.errors import DataError
from training.data.samples import GOOD, ImportNote, Sample, printable

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
MAX_LABEL_FILE_BYTES = 512 * 1024 * 1024


@dataclass
class Found:
    """Samples of a data set, what was odd about its labels, and its digest if it is a snapshot.

    `aside` are further files that the layout has a place for, such as masks of good parts.
    """

    samples: list[Sample] = field(default_factory=list)
    notes: list[ImportNote] = field(default_factory=list)
    snapshot: str = ""
    aside: set[str] = field(default_factory=set)

    def missing(self, path: str, named_in: str) -> None:
        """A file that the labels name is not there."""
        self.notes.append(
            ImportNote(path, f"{named_in} names it, and there is no such file; add it or remove its label", "missing")
        )

    def unlabelled(self, path: str, reason: str) -> None:
        """An image that nothing says anything of. It is left out: what is not labelled is not known to be good."""
        self.notes.append(ImportNote(path, reason, "unlabelled"))

    def bad_label(self, path: str, reason: str) -> None:
        """An image left out for a label that cannot be right."""
        self.notes.append(ImportNote(path, reason, "label"))

    def bad_area(self, path: str, reason: str) -> None:
        """An image that keeps its label and loses its areas, since part of a mask would teach what is wrong."""
        self.notes.append(ImportNote(path, reason, "area"))

    def empty_class(self, label: str, where: str) -> None:
        """A class that is declared and has no image."""
        self.notes.append(
            ImportNote(label, f"{where} has this class and no image of it; add some or remove it", "class")
        )


def label_of(name: str) -> str:
    """The label that a name stands for: "good" however it is capitalised."""
    return GOOD if name.strip().casefold() == GOOD else name.strip()


def inside(name: str, named_in: str) -> str:
    """A path in a label file, which must stay below the data set: relative, with forward slashes. Raises DataError."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    drive = bool(parts) and parts[0].endswith(":")
    if not parts or path.is_absolute() or drive or ".." in parts or "\0" in name:
        raise DataError(
            f"{named_in} names {printable(name[:200])!r}, which is no path below its folder; give paths relative to it"
        )
    return path.as_posix()


def is_there(file: Path) -> bool:
    """Whether a file can be opened, as far as can be seen: False also for folders, loops of links and names too long."""
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False


def folders(parent: Path) -> list[Path]:
    """Folders in `parent`, sorted, without hidden ones."""
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def images_below(folder: Path) -> Iterator[Path]:
    """Image files at any depth below `folder`; folders behind links are not entered, so that no loop is."""
    for parent, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(parent, name)


def read_label_file(path: Path) -> str:
    """The text of a label file in UTF-8, with or without byte order mark. Raises DataError."""
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_LABEL_FILE_BYTES:
            raise DataError(
                f"{printable(path.name)} has {size_bytes} bytes, more than {MAX_LABEL_FILE_BYTES} are read; split the data set"
            )
        if not path.is_file():
            raise DataError(f"{printable(path.name)} is no file; give the label file")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{printable(path.name)} is not UTF-8 text (byte {error.start}); save it in the encoding UTF-8"
        ) from error
    except OSError as error:
        raise DataError(
            f"{printable(path.name)} cannot be read: {error.strerror or error}; check it and its permissions"
        ) from error
