"""A bundle: a model with all it needs to judge, as a directory that is either whole and untouched or refused.

    tiles-7/
        manifest.json    input, classes, limits and their basis, golden images, provenance, hash of every other file
        model.onnx       takes uint8 images and does its own preprocessing
        golden/…         images with recorded scores, for the self-test at every start
        signature.json   who vouches for it, if anybody signed it

Bundles are never changed: another limit is another bundle with another digest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from inspector.errors import BundleError, BundleTampered
from inspector.inference.graph import check_graph
from inspector.inference.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    MODEL_FILE,
    SCHEMA_VERSION,
    SIGNATURE_FILE,
    GoldenImage,
    InputSpec,
    LimitBasis,
    Manifest,
    manifest_bytes,
    manifest_digest,
    parse_manifest,
)

__all__ = [
    "MANIFEST_FILE",
    "MODEL_FILE",
    "SCHEMA_VERSION",
    "Bundle",
    "GoldenImage",
    "InputSpec",
    "LimitBasis",
    "Manifest",
    "open_bundle",
    "write_bundle",
]

MAX_BUNDLE_BYTES = 2 << 30
"""protobuf, and so ONNX in one file, ends at 2 GiB."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files were all there and unchanged when it was opened. `digest` names exactly this content."""

    path: Path
    manifest: Manifest
    digest: str

    @property
    def label(self) -> str:
        """Name and first 12 digits of the digest, as records and the PLC show it."""
        return f"{self.manifest.name}@{self.digest[:12]}"

    def read(self, file: str) -> bytes:
        """Content of one of the manifest's files, held against its hash once more: what is used is what was checked.

        Raises BundleTampered if it changed since the bundle was opened or is not of the bundle.
        """
        expected = self.manifest.files.get(file)
        if expected is None:
            raise BundleTampered(
                f"bundle {self.label} has no file {file}; it has {', '.join(sorted(self.manifest.files))}"
            )
        data = _read_bounded(self.path / file, MAX_BUNDLE_BYTES)
        if hashlib.sha256(data).hexdigest() != expected:
            raise BundleTampered(_changed(self.path, file))
        return data

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Every file of the bundle by name, for a copy that opens again: the manifest, what it names, the signatures if any.

        Raises BundleError, also if anything changed since the bundle was opened.
        """
        yield MANIFEST_FILE, manifest_bytes(self.manifest)
        for name in sorted(self.manifest.files):
            yield name, self.read(name)
        if os.path.lexists(self.path / SIGNATURE_FILE):
            yield SIGNATURE_FILE, _read_bounded(self.path / SIGNATURE_FILE, MAX_MANIFEST_BYTES)


def open_bundle(path: Path | str) -> Bundle:
    """Open a bundle after checking manifest, file list, hashes and graph. Runs no model: that is `self_test`.

    Raises BundleVersionError, BundleTampered or BundleError; no other exception, whatever lies at `path`.
    """
    folder = Path(path)
    try:
        return _open(folder)
    except OSError as error:
        raise BundleError(
            f"bundle {folder} cannot be read: {error.strerror or error}; check path and permissions"
        ) from error
    except ValueError as error:  # a path with NUL or unencodable characters
        raise BundleError(f"bundle path {str(folder)!r} cannot be a path: {error}; check the path") from error


def write_bundle(
    path: Path | str,
    manifest: Manifest,
    model: bytes,
    golden: Mapping[str, bytes],
    *,
    other: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a new bundle and open it; it appears at `path` whole or not at all, also if the machine stops meanwhile.

    `manifest.files` is filled in here. `golden` maps every `GoldenImage.file` ("golden/…") to its bytes; `other` does
    so for files the location settings need, such as a template. Everything `open_bundle` refuses is refused here.
    Raises BundleError, also if something is at `path` already.
    """
    target = Path(path)
    files = {MODEL_FILE: model, **golden, **(other or {})}
    if len(files) != 1 + len(golden) + len(other or {}):
        raise BundleError(f"bundle {target} would have two files of one name; rename golden or other files")
    filled = replace(manifest, files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    text = manifest_bytes(filled)
    parse_manifest(text, f"manifest of bundle {target}")  # before the names below become paths
    try:
        return _write(target, {MANIFEST_FILE: text, **files})
    except OSError as error:
        raise BundleError(
            f"bundle {target} cannot be written: {error.strerror or error}; free space or choose another path"
        ) from error


def _open(folder: Path) -> Bundle:
    if not folder.is_dir():
        raise BundleError(
            f"no bundle at {folder}: it is not a directory; give the directory that holds {MANIFEST_FILE}"
        )
    source = folder / MANIFEST_FILE
    if not os.path.lexists(source):
        raise BundleError(
            f"{folder} is no bundle: it has no {MANIFEST_FILE}; give the directory that `inspector-train` wrote"
        )
    manifest = parse_manifest(_read_bounded(source, MAX_MANIFEST_BYTES), str(source))
    _check_file_list(folder, manifest)
    model = b""
    for name, expected in manifest.files.items():
        data = _read_bounded(folder / name, MAX_BUNDLE_BYTES)
        if hashlib.sha256(data).hexdigest() != expected:
            raise BundleTampered(_changed(folder, name))
        if name == MODEL_FILE:
            model = data
    check_graph(model, str(folder / MODEL_FILE))
    return Bundle(folder, manifest, manifest_digest(manifest))


def _check_file_list(folder: Path, manifest: Manifest) -> None:
    """The files that are there are the files that are named: no more, no fewer, no links, not too large in all."""
    wanted = {MANIFEST_FILE, *manifest.files}
    found: set[str] = set()
    total_bytes = 0
    for name, size_bytes in _walk(folder, wanted):
        total_bytes += size_bytes
        if name == SIGNATURE_FILE:
            continue
        found.add(name)
        if name not in wanted:
            raise BundleTampered(f"bundle {folder} has a file that its manifest does not name: {name}; remove it")
        if total_bytes > MAX_BUNDLE_BYTES:
            raise BundleError(
                f"bundle {folder} exceeds {MAX_BUNDLE_BYTES >> 20} MiB; use a smaller model or fewer golden images"
            )
    if missing := sorted(wanted - found):
        raise BundleTampered(f"bundle {folder} lacks {', '.join(missing[:5])}; copy the whole directory again")


def _walk(folder: Path, wanted: set[str]) -> Iterator[tuple[str, int]]:
    """Name and size of every file below `folder`; raises BundleTampered at links, devices and needless directories."""
    parents = {str(parent) for name in wanted for parent in Path(name).parents}
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and name in parents:
                    waiting.append(name + "/")
                elif stat.S_ISREG(status.st_mode):
                    yield name, status.st_size
                else:
                    kind = (
                        "symbolic link"
                        if stat.S_ISLNK(status.st_mode)
                        else "directory"
                        if stat.S_ISDIR(status.st_mode)
                        else "special file"
                    )
                    raise BundleTampered(
                        f"bundle {folder} has a {kind} that is not of it: {name}; copy the bundle as plain files"
                    )


def _read_bounded(path: Path, limit_bytes: int) -> bytes:
    """Content of a regular file; follows no link at its end and never blocks on a pipe put in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BundleTampered(
            f"{path} cannot be read as a plain file: {error.strerror}; copy the bundle again"
        ) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BundleTampered(f"{path} is not a plain file; copy the bundle again")
        with open(descriptor, "rb", closefd=False) as stream:
            data = stream.read(limit_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit_bytes:
        raise BundleError(f"{path} is larger than {limit_bytes} bytes, the most it may have; export the bundle again")
    return data


def _changed(folder: Path, file: str) -> str:
    return f"bundle {folder} was changed: the hash of {file} differs from its manifest; copy or export the bundle again"


def _write(target: Path, files: Mapping[str, bytes]) -> Bundle:
    if os.path.lexists(target):
        raise BundleError(f"{target} exists already and bundles are never overwritten; choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for name, data in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            with open(draft / name, "xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        for folder in {(draft / name).parent for name in files}:
            _sync_directory(folder)
        draft.chmod(0o755)
        bundle = open_bundle(draft)
        # Another writer of the same name loses here: a directory with files in it is not replaced.
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _sync_directory(target.parent)
    return replace(bundle, path=target)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
