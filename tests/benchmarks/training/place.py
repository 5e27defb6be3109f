"""Where the data sets lie, what a fit sees of them, and which code decides that."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.training.code import closure, code_digest
from tests.benchmarks.training.kept import Shelf, folder_digest, packages

if TYPE_CHECKING:
    from training.measure import Surroundings

ELPV = "elpv"
REGISTRY = "training.models.registry"
"""Imports every kind to choose one by name; the chosen one is known here, and its settings are part of the key."""
SAYS_ONLY = ("inspector.errors", "training.progress")
"""What only tells people something."""
LOOKED_AT = ("training.data.layouts", "training.data.survey", "training.data.duplicates")
"""What these make of a data set is part of the key, so that their code need not be."""


@dataclass(frozen=True)
class Place:
    """The folder of data sets, the shelf of figures, and the Python of an environment with anomalib, None if there is none."""

    data: Path
    shelf: Shelf
    peer: Path | None = None

    def source(self, name: str) -> str:
        """What `open_dataset` takes for a data set of that name."""
        return name if name == ELPV else str(self.data / name)

    def missing(self, name: str) -> str:
        """Why a data set is not here; empty if it is."""
        if name == ELPV:
            return "" if find_spec("elpv_dataset") else "the package elpv-dataset is not installed"
        return "" if (self.data / name).is_dir() else f"{name} is not in {self.data}"

    def files(self, name: str) -> Path:
        """The folder of a data set that is here."""
        if name != ELPV:
            return self.data / name
        from training.data.importers.elpv import packaged_root

        return packaged_root()

    def seen(self, name: str, split: str) -> str:
        """Digest of what every seed shares: images, labels, areas, parts, the published split, the number of channels.

        Kept as well: to look at a data set takes up to a minute.
        """
        decides = {
            "what": "look",
            "data": folder_digest(self.files(name)),
            "split": split,
            "code": code_digest(closure(LOOKED_AT, without=SAYS_ONLY) | {"training.measure"}),
            "packages": packages(),
        }
        known = self.shelf.find(decides)
        if known is None:
            around = look_at(self.source(name), split)
            samples = [(image.sample.path, image.sample.published_split) for image in around.seen.images]
            facts = [around.seen.digest, list(around.groups), samples, around.seen.channels, around.published]
            known = {"digest": hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()}
            self.shelf.keep(decides, known)
        return str(known["digest"])


@cache
def look_at(source: str, split: str) -> Surroundings:
    """As training.measure does, once for all seeds."""
    from training.measure import look_at as look

    return look(source, split)


def kind_code(kind: Any, *measuring: str) -> str:
    """Digest of the code that decides what a kind of model gives: its own and, by their modules, what measures it."""
    own = {part.__module__.rpartition(".")[0] for part in (kind.begin, kind.settings)}
    measure = closure(measuring, without=(REGISTRY, *LOOKED_AT, *SAYS_ONLY))
    return code_digest(closure(own, without=SAYS_ONLY) | measure)
