"""The folder that a commissioning leaves: what a camera saw then, its calibration, and who says so. Refers to itself by digest.

reference.json     camera, when, by whom, and the SHA-256 of every other file
health.npz         the reference of camera health (`health/reference.py`)
calibration.json   lens and scale, if they were taken; flat.npz the flat field, if it was
images/            frames as they came
report.html        for people
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from inspector.errors import ConfigError
from inspector.imaging.health.reference import Reference, read_reference

ABOUT = "reference.json"
HEALTH = "health.npz"
CALIBRATION = "calibration.json"
FLAT = "flat.npz"
_FORMAT = 1
_MAX_FILE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class ReferenceSet:
    """A folder of a commissioning, whose files are as they were written. `label` is "camera@first 12 digits of digest".

    `corrected` says what had been taken out of the frames of `health.npz`, as the camera program does: "flat", "lens".
    """

    path: Path
    camera: str
    taken: datetime
    by: str
    corrected: tuple[str, ...]
    files: Mapping[str, str]
    label: str

    def read(self, name: str) -> bytes:
        """One of its files. Errors: ConfigError if it is not there or not as it was written."""
        if name not in self.files:
            raise ConfigError(f"reference {self.path} has no {name}: take it anew with `inspector camera setup`")
        data = _read(self.path / name)
        if hashlib.sha256(data).hexdigest() != self.files[name]:
            raise ConfigError(f"reference {self.path}: {name} is not as it was written: restore it, or take it anew")
        return data

    def health(self) -> Reference:
        """What camera health compares with. Errors: ConfigError."""
        return read_reference(self.read(HEALTH), f"{self.path / HEALTH}")


def write_reference_set(
    path: Path, camera: str, taken: datetime, by: str, files: Mapping[str, bytes], corrected: Sequence[str] = ()
) -> ReferenceSet:
    """Write a new folder; `reference.json` comes last, so that half a set is none. Errors: ConfigError."""
    about = {
        "format": _FORMAT,
        "camera": camera,
        "taken": taken.isoformat(),
        "by": by,
        "corrected": sorted(corrected),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise ConfigError(
                f"{path} is not empty: a reference goes into a new folder; name another or move that one away"
            )
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        (path / ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"reference {path} cannot be written ({error.strerror}): free space or name another"
        ) from error
    return open_reference_set(path)


def open_reference_set(path: Path) -> ReferenceSet:
    """Read what a folder says of itself. Errors: ConfigError."""
    data = _read(path / ABOUT)
    try:
        about = json.loads(data)
        if about["format"] != _FORMAT:
            raise ConfigError(
                f"reference {path} has format {about['format']}, this program reads {_FORMAT}: take it anew"
            )
        files = {str(name): str(digest) for name, digest in about["files"].items()}
        taken = datetime.fromisoformat(about["taken"])
        camera, by = str(about["camera"]), str(about["by"])
        corrected = tuple(str(one) for one in about["corrected"])
        if taken.tzinfo is None or any(_leaves(name) for name in files):
            raise ValueError("a time without zone, or a file outside the folder")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path / ABOUT} is no reference of a camera ({error}): take it anew") from error
    return ReferenceSet(path, camera, taken, by, corrected, files, f"{camera}@{hashlib.sha256(data).hexdigest()[:12]}")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {_MAX_FILE_BYTES >> 20} MiB: that is no file of a reference")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): give the folder that `inspector camera setup` made"
        ) from error


def _leaves(name: str) -> bool:
    place = PurePosixPath(name)
    return place.is_absolute() or ".." in place.parts or "\\" in name
