"""What a data set is: images with labels under one folder, and a digest that names exactly them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

GOOD = "good"
"""The label of good parts; every other label is a defect class."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of one part.

    `path` and `mask` are relative to the data set's root, with forward slashes; `mask` is empty if there is none.
    `published_split` is "train" or "test" where the data set comes with a split, else empty.
    """

    path: str
    label: str
    mask: str = ""
    published_split: str = ""

    @property
    def is_good(self) -> bool:
        return self.label == GOOD


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples under `root`, ordered by path; `layout` names how they were found."""

    root: Path
    layout: str
    samples: tuple[Sample, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Defect classes, sorted."""
        return tuple(sorted({sample.label for sample in self.samples if not sample.is_good}))

    def file(self, sample: Sample) -> Path:
        """Where the sample's image lies."""
        return self.root / sample.path

    def mask_file(self, sample: Sample) -> Path | None:
        """Where the sample's mask lies, or None."""
        return self.root / sample.mask if sample.mask else None


def dataset_digest(entries: Iterable[tuple[str, str, str]]) -> str:
    """SHA-256 over (path, SHA-256 of the content, label) of every image, whatever order they come in."""
    digest = hashlib.sha256()
    for entry in sorted(entries):
        for text in entry:
            data = os.fsencode(text)
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
    return f"sha256:{digest.hexdigest()}"


def printable(text: str) -> str:
    """A file or class name as it can be shown: control characters and undecodable bytes as escapes."""
    plain = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in plain)
