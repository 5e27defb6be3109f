"""Files below a data set that its importer did not use: who does not learn of them fits on less than was collected."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from training.data.importers.found import IMAGE_SUFFIXES, Found
from training.data.samples import ImportNote

UNUSED = "unused"
"""The kind of these notes."""
MOST_PLACES = 20
_LINKED = "/"
"""Stands for the suffix of folders behind links."""
_DOCUMENTS = frozenset(
    {"", ".txt", ".md", ".rst", ".pdf", ".html", ".htm", ".doc", ".docx", ".odt", ".rtf", ".bib", ".log", ".md5"}
    | {".sha256", ".py", ".ipynb", ".sh", ".m", ".db", ".ini"}
    | {".cache", ".pt", ".pth", ".onnx", ".npy", ".npz", ".bak", ".tmp"}
)
"""What lies beside pictures and is none: words about them, programs, and what file managers and training programs leave."""
_BESIDE = ".aux.xml"
"""What programs for maps write beside every picture that they open."""
_LABELS = frozenset({".json", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml"})
"""Labels of some layouts; where folders are the labels, words about the data set if they lie at its top."""


def note_unused(found: Found, root: Path, *, by_folder: bool) -> None:
    """Note by place and suffix what lies below `root` and is neither used nor noted; `by_folder`: folders are the labels."""
    known = found.aside | {note.about for note in found.notes}
    for sample in found.samples:
        known |= {sample.path, sample.mask, sample.ignore}
    entered = {folder for path in known for folder in _above(path)}
    files, links, unreadable = _below(root)
    left = Counter(
        (_place(path, entered), path.suffix.lower())
        for path in files
        if path.as_posix() not in known and not _belongs(path, by_folder=by_folder)
    )
    left.update((_place(path, entered), _LINKED) for path in links if path.as_posix() not in entered)
    for folder, why in unreadable[:MOST_PLACES]:
        reason = f"the folder cannot be read ({why}); give the user that fits the right to read it"
        found.notes.append(ImportNote(f"{folder.as_posix()}/", reason, UNUSED))
    for (place, suffix), count in left.most_common(MOST_PLACES):
        found.notes.append(ImportNote(f"{place}*{suffix}", _reason(count, place, suffix), UNUSED))
    if rest := left.most_common()[MOST_PLACES:]:
        text = f"{sum(count for _, count in rest)} more files that are not used; look what else lies in the data set"
        found.notes.append(ImportNote(f"{len(rest)} more places", text, UNUSED))


def _reason(count: int, place: str, suffix: str) -> str:
    if suffix == _LINKED:
        return f"{count} behind a link, which is not followed; put the folder itself there"
    files = "1 file" if count == 1 else f"{count} files"
    if suffix in _LABELS:
        return f"{files}, not read, as folders are the labels of this layout; give the label file itself if it is one"
    if suffix not in IMAGE_SUFFIXES:
        return f"{files}, and this is no kind of picture that is read; save pictures as PNG, or remove what is none"
    if not place:
        return f"{files} beside the folders that give labels; move them into good/ or the folder of their class"
    return f"{files} where pictures of this layout do not lie; move them to where they do, or remove them"


def _belongs(path: PurePosixPath, *, by_folder: bool) -> bool:
    suffix = path.suffix.lower()
    if path.name.lower().endswith(_BESIDE):
        return True
    return suffix in _DOCUMENTS or (suffix in _LABELS and (not by_folder or len(path.parts) == 1))


def _below(root: Path) -> tuple[list[PurePosixPath], list[PurePosixPath], list[tuple[PurePosixPath, str]]]:
    """Files below `root` that are not hidden, relative to it; folders behind links, which are not entered; folders that
    cannot be read, with the reason."""
    files, links = [], []
    faults: list[OSError] = []
    for parent, names, found in os.walk(root, onerror=faults.append):
        names[:] = [name for name in names if not name.startswith(".")]
        here = PurePosixPath(Path(parent).relative_to(root).as_posix())
        files += [here / name for name in found if not name.startswith(".")]
        links += [here / name for name in names if os.path.islink(os.path.join(parent, name))]
    unreadable = [
        (PurePosixPath(Path(fault.filename).relative_to(root).as_posix()), fault.strerror or str(fault))
        for fault in faults
    ]
    return files, links, unreadable


def _above(path: str) -> Iterator[str]:
    return (folder.as_posix() for folder in PurePosixPath(path).parents)


def _place(path: PurePosixPath, entered: set[str]) -> str:
    """The folder with a slash behind it, or the one above it of which nothing at all is used; empty for the data set's own."""
    above = [folder.as_posix() for folder in path.parents][:-1]
    outermost = next((folder for folder in reversed(above) if folder not in entered), "")
    if outermost and outermost != above[0]:
        return f"{outermost}/**/"
    return f"{above[0]}/" if above else ""
