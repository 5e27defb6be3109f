"""The picture of a good part that a bundle was proved on, to hold a reject against."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inspector.errors import BundleError, FrameError, NotFound
from inspector.imaging.archive import unarchive
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.normalise import to_8_bit
from inspector.imaging.pixels import as_pixels
from inspector.imaging.png import write_png
from inspector.inference.manifest import MANIFEST_FILE, Manifest, manifest_digest, parse_manifest
from inspector.part import Verdict

_LABEL = re.compile(r"([^/\\@]{1,200})@([0-9a-f]{12})")
_MOST_BYTES = 64 << 20


def golden_picture(bundles: Path, label: str) -> bytes:
    """As PNG, the golden image that the bundle "name@digest12" scores lowest of those it passes. NotFound.

    Only the manifest and that picture are read and held against their hashes: nothing is judged by this bundle here.
    """
    if _LABEL.fullmatch(label) is None:
        raise NotFound(f"{label[:80]!r} is no label of a bundle: expected name@ and 12 digits of its digest")
    for folder, manifest in _manifests(bundles):
        if f"{manifest.name}@{manifest_digest(manifest)[:12]}" != label:
            continue
        good = [golden for golden in manifest.golden if golden.verdict is Verdict.PASS]
        if not good:
            raise NotFound(f"bundle {label} has no golden image of a good part")
        file = min(good, key=lambda golden: golden.score).file
        return _shown(folder / file, manifest.files[file])
    raise NotFound(f"bundle {label} is not in the bundles folder: put it there to see its golden images")


def _manifests(bundles: Path) -> Iterator[tuple[Path, Manifest]]:
    """The bundles of a folder, without those that are none."""
    try:
        folders = sorted(path for path in bundles.iterdir() if (path / MANIFEST_FILE).is_file())
    except OSError:
        return
    for folder in folders:
        try:
            yield folder, parse_manifest((folder / MANIFEST_FILE).read_bytes(), str(folder))
        except (BundleError, OSError):
            continue


def _shown(file: Path, sha256: str) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise NotFound(f"golden image {file.name} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise NotFound(f"golden image {file.name} is not as its bundle says: restore the bundle")
    try:
        limits = DecodeLimits()
        picture = decode(unarchive(data, limits), limits)
    except FrameError as error:
        raise NotFound(f"golden image {file.name} cannot be shown: {error}") from error
    pixels = to_8_bit(picture.pixels, picture.bits)
    return write_png(as_pixels(np.ascontiguousarray(pixels[:, :, ::-1] if pixels.ndim == 3 else pixels)))
