"""What a data set is: images with labels under one folder, and a digest that names exactly them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path

from inspector.records.text import printable as printable
from training.data.drawing import Drawing

GOOD = "good"
"""The label of good parts; every other label is a defect class."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of one part.

    `path`, `mask` and `ignore` are relative to the data set's root, with forward slashes; the latter two are pictures in
    which bright pixels are defective, or do not count, and empty if there is none. `drawing` describes both where a label
    file does it instead. `also` names further classes that the image shows. `group` names the physical part and `lot` what
    was made together, where the data set says so. `published_split` is "train" or "test" where the data set comes with a
    split, else empty. `agreement` is the share of those who labelled the image that say so, 1 if nobody was heard against it.
    """

    path: str
    label: str
    mask: str = ""
    published_split: str = ""
    also: tuple[str, ...] = ()
    group: str = ""
    lot: str = ""
    ignore: str = ""
    drawing: Drawing | None = None
    agreement: float = 1.0

    @property
    def is_good(self) -> bool:
        return self.label == GOOD

    @property
    def labels(self) -> tuple[str, ...]:
        """Every class that the image shows, the main one first."""
        return (self.label, *self.also)

    @property
    def is_masked(self) -> bool:
        """Whether a file or a drawing says where the defects are."""
        return bool(self.mask) or (self.drawing is not None and bool(self.drawing.labels))


@dataclass(frozen=True, slots=True)
class ImportNote:
    """Something in a data set's labels that a person should look at: what it is about, the fact and the next step."""

    about: str
    reason: str
    kind: str


@dataclass(frozen=True)
class Dataset:
    """Samples under `root`, ordered by path; `layout` names how they were found, `notes` what was odd on the way.

    `snapshot` is the digest of the snapshot that it is, if it is one.
    """

    root: Path
    layout: str
    samples: tuple[Sample, ...]
    notes: tuple[ImportNote, ...] = ()
    snapshot: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Defect classes, sorted."""
        return tuple(sorted({label for sample in self.samples for label in sample.labels} - {GOOD}))

    @cached_property
    def _by_path(self) -> Mapping[str, Sample]:
        return {sample.path: sample for sample in self.samples}

    def sample(self, path: str) -> Sample:
        """The sample of an image by its path. KeyError."""
        return self._by_path[path]

    def file(self, sample: Sample) -> Path:
        """Where the sample's image lies."""
        return self.root / sample.path

    def mask_file(self, sample: Sample) -> Path | None:
        """Where the sample's mask lies, or None."""
        return self.root / sample.mask if sample.mask else None


def sample_identity(sample: Sample, sha256: str, mask_sha256: str = "", ignore_sha256: str = "") -> tuple[str, ...]:
    """All that a model can learn of an image, as texts for `dataset_digest`: content, labels, areas, part and lot."""
    drawing = "" if sample.drawing is None else json.dumps(_plain(sample.drawing))
    labels = json.dumps(sample.labels)
    agreement = () if sample.agreement == 1 else (f"agreement {sample.agreement:.6f}",)
    return (sample.path, sha256, labels, mask_sha256, ignore_sha256, drawing, sample.group, sample.lot, *agreement)


def _plain(drawing: Drawing) -> list[object]:
    shapes = [[type(shape).__name__, *astuple(shape)] for shape in drawing.shapes]
    return [drawing.width_px, drawing.height_px, shapes]


def dataset_digest(entries: Iterable[Sequence[str]]) -> str:
    """SHA-256 over what `sample_identity` gives of every image, whatever order they come in."""
    digest = hashlib.sha256()
    for entry in sorted(map(tuple, entries)):
        digest.update(len(entry).to_bytes(8, "big"))
        for text in entry:
            data = os.fsencode(text)
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
    return f"sha256:{digest.hexdigest()}"
