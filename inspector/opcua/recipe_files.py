"""A recipe as one file, for clients that keep or compare recipes: a tar archive of what the line judges by.

    about.json                   line, recipe, and of each view the bundle's name, digest and folder below
    recipe.toml                  the recipe's tables of the line file, as they were when this program started
    bundles/NAME-DIGEST/…        each bundle whole, with manifest and signatures: a folder that `inspector bundle verify` takes

The same recipe gives the same bytes. Packed is only what the service says that it judges by.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inspector.errors import BundleError, NotFound
from inspector.inference.bundle import Bundle, open_bundle
from inspector.promotions import PROMOTIONS_FILE, counting, newest, read_promotions
from inspector.station import bundles_label

MAX_FILES_OF_A_BUNDLE = 10_000


@dataclass(frozen=True, slots=True)
class RecipeSource:
    """A recipe of the line file: its tables as text, and the folder of each view's bundle; the only view has no name.

    Without text the line file says it in another way than by tables [recipe.NAME]: it cannot be told.
    """

    text: str
    folders: Mapping[str, Path]


class RecipeFiles:
    """Packs the recipes of a line. May be asked from any thread."""

    def __init__(self, line: str, sources: Mapping[str, RecipeSource], data_dir: Path) -> None:
        self._line = line
        self._sources = sources
        self._promotions = data_dir / PROMOTIONS_FILE

    def pack(self, recipe: str, label: str, limit_bytes: int) -> bytes:
        """The recipe as a file of at most `limit_bytes`, if its bundles are those that the service calls `label`.

        Raises NotFound, BundleError, or ConfigError if it cannot be known what was promoted.
        """
        source = self._sources.get(recipe)
        if source is None:
            raise NotFound(f"the line file had no recipe {recipe} when this program started; start it anew")
        if not source.text:
            raise NotFound(f"the line file has no tables [recipe.{recipe}] of their own: write the recipe so")
        folders = self._folders(recipe, source)
        held = sum(_size(folder) for folder in set(folders.values()))
        if held > limit_bytes:
            raise BundleError(
                f"recipe {recipe} is {held >> 20} MiB large and {limit_bytes >> 20} MiB are left for files: copy its bundle "
                "folder instead, or ask again later"
            )
        bundles = {view: open_bundle(folder) for view, folder in folders.items()}
        labels = [bundle.label for bundle in bundles.values()]
        if label != (labels[0] if len(labels) == 1 else bundles_label(labels)):
            raise BundleError(
                f"recipe {recipe} is judged by {label or 'no bundle'}, and {', '.join(labels)} lies in its folder: start the "
                "service and this program anew"
            )
        data = _archive(self._about(recipe, bundles), source.text, bundles)
        if len(data) > limit_bytes:
            raise BundleError(f"recipe {recipe} is larger than the {limit_bytes >> 20} MiB that are left for files")
        return data

    def _folders(self, recipe: str, source: RecipeSource) -> dict[str, Path]:
        """Those of the line file, or what was promoted in their place."""
        bases = {(recipe, view): folder for view, folder in source.folders.items()}
        promoted = counting(newest(read_promotions(self._promotions)), bases)
        return {
            view: Path(promoted[recipe, view].bundle.folder) if (recipe, view) in promoted else folder
            for view, folder in source.folders.items()
        }

    def _about(self, recipe: str, bundles: Mapping[str, Bundle]) -> bytes:
        views = [
            {"view": view, "bundle": bundle.label, "digest": bundle.digest, "folder": _folder_in_file(bundle)}
            for view, bundle in bundles.items()
        ]
        about = {"version": 1, "line": self._line, "recipe": recipe, "views": views}
        return (json.dumps(about, indent=1) + "\n").encode()


def _size(folder: Path) -> int:
    """Bytes below a folder, so that what is too large is not read; what is no bundle is refused when it is opened."""
    total = count = 0
    for root, _, names in os.walk(folder):
        for name in names:
            count += 1
            if count > MAX_FILES_OF_A_BUNDLE:
                raise BundleError(f"{folder} has more than {MAX_FILES_OF_A_BUNDLE} files: it is not sent")
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError as error:
                raise BundleError(f"{folder} cannot be read: {error.strerror or error}") from error
    return total


def _folder_in_file(bundle: Bundle) -> str:
    return f"bundles/{bundle.label.replace('@', '-')}"


def _archive(about: bytes, text: str, bundles: Mapping[str, Bundle]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def add(name: str, data: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))

        add("about.json", about)
        add("recipe.toml", text.encode())
        for bundle in {one.digest: one for one in bundles.values()}.values():
            for name, data in bundle.contents():
                add(f"{_folder_in_file(bundle)}/{name}", data)
    return stream.getvalue()
