"""Which images the demo shows: simulated parts or a folder of the user's, split by `inspector-train`, put in one order."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from inspector.errors import DataError
from inspector.sim.demo.accounts import ShownPart
from inspector.sim.parts import band_of

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
MIN_GOOD = 20
"""Fewer good images than this cannot be split into some to learn from, some to set the limit with, and some to show."""
_SENT_AS_THEY_ARE = frozenset({".png", ".jpg", ".jpeg"})
_GOOD_FOLDERS = ("good", "train/good", "MT_Free/Imgs")


def check_folder(folder: Path) -> int:
    """Look whether a folder can be a data set at all, before minutes are spent on it; returns its number of good images.

    Which layouts there are, and whether the files can be decoded, is for `inspector-train` to say. Raises DataError.
    """
    try:
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder: give one that holds good/ and a folder per defect class")
        places = [folder / name for name in _GOOD_FOLDERS if (folder / name).is_dir()]
        if not places:
            found = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
            held = ", ".join(found[:6]) + (" …" if len(found) > 6 else "") if found else "nothing"
            raise DataError(
                f"{folder} holds {held}, but no good/: put images of good parts into {folder / 'good'} and those of "
                "defects into one folder per class beside it (MVTec AD and magnetic-tile layouts are understood too)"
            )
        good = sum(path.suffix.lower() in IMAGE_SUFFIXES for place in places for path in place.rglob("*"))
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}): check its permissions") from error
    if good < MIN_GOOD:
        raise DataError(
            f"{places[0]} holds {good} images; {MIN_GOOD} good parts are the least to learn from, and about 300 let the "
            "limit promise 1 % false rejects"
        )
    return good


@dataclass(frozen=True, slots=True)
class TestImage:
    """An image that the model has never seen. `band` is how visible a simulated defect is, else empty."""

    __test__ = False

    path: Path
    label: str
    band: str


def read_split(split_file: Path) -> list[TestImage]:
    """The test images of a split that `inspector-train fit --split-out` wrote, sorted by path. Raises DataError."""
    try:
        split = json.loads(split_file.read_text(encoding="utf-8"))
        root = Path(str(split["root"]))
        rows = [(root / str(one["path"]), str(one["label"])) for one in split["images"] if one["role"] == "test"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{split_file} is not the split of an inspector-train fit ({error!r}): fit again") from error
    if not rows:
        raise DataError(f"{split_file} leaves no image to show: give more images")
    bands = _severity_bands(root)
    return [TestImage(path, label, bands.get(path, "")) for path, label in sorted(rows)]


def _severity_bands(data: Path) -> dict[Path, str]:
    """Band of each defective simulated part by its file; empty for images that are not simulated."""
    table = data / "parts.csv"
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not {"file", "defect", "severity"} <= set(rows.fieldnames or ()):
            return {}
        return {data / row["file"]: band_of(float(row["severity"])) for row in rows if row["defect"]}


def order_stream(images: Sequence[TestImage], count: int | None, seed: int) -> list[tuple[TestImage, bool]]:
    """`count` images (all of them if None) in a random order that `seed` decides, each with whether it is a repeat.

    No image comes a second time before all have been shown.
    """
    rng = np.random.default_rng(seed)
    wanted = len(images) if count is None else count
    stream: list[tuple[TestImage, bool]] = []
    while len(stream) < wanted:
        again = bool(stream)
        stream += [(images[int(index)], again) for index in rng.permutation(len(images))]
    return stream[:wanted]


def lay_out(stream: Sequence[tuple[TestImage, bool]], folder: Path) -> list[ShownPart]:
    """Put the stream into `folder`, named so that the files sort in its order. Raises DataError.

    PNG and JPEG files are linked (copied where links cannot be made); others become PNG of the same pixels, since a camera
    sends no other file formats.
    """
    folder.mkdir(parents=True)
    width = len(str(len(stream)))
    shown = []
    for trigger, (image, again) in enumerate(stream, start=1):
        name = f"{trigger:0{width}d}_{image.label}_{image.path.name}"
        if image.path.suffix.lower() not in _SENT_AS_THEY_ARE:
            name += ".png"
            _convert(image.path, folder / name)
        else:
            _link(image.path, folder / name)
        shown.append(ShownPart(trigger, name, image.label, image.band, again))
    return shown


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _convert(source: Path, target: Path) -> None:
    try:
        pixels = cv2.imdecode(np.frombuffer(source.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise DataError(f"{source} is no picture any more: run the demo again")
        _, data = cv2.imencode(".png", pixels)
        target.write_bytes(data.tobytes())
    except (OSError, cv2.error) as error:
        raise DataError(f"{source} cannot be read any more ({error}): run the demo again") from error
