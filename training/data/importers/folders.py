"""Data sets that label images by the folder they lie in.

generic         good/…  CLASS/…  [ground_truth/CLASS/NAME.png or NAME_mask.png]  [ignore/CLASS/NAME.png]
mvtec-ad        train/good/…  test/good/…  test/CLASS/…  ground_truth/CLASS/NAME_mask.png  [ignore/…]
                (also the layout that VisA's own script makes: CLASS is bad, masks are named as the images)
magnetic-tile   MT_Free/Imgs/NAME.jpg  MT_CLASS/Imgs/NAME.jpg with the mask NAME.png beside it
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from training.data.drawing import IGNORE
from training.data.importers.found import Found, folders, images_below, label_of
from training.data.samples import GOOD, ImportNote, Sample

MASK_FOLDER = "ground_truth"
TILE_PREFIX = "MT_"
_TILE_GOOD = "MT_Free"
_ASIDE = frozenset({MASK_FOLDER, IGNORE})


def generic(root: Path) -> Found:
    """A folder per class in `root`."""
    found = Found()
    for folder in folders(root):
        if folder.name not in _ASIDE:
            _class_folder(found, root, folder)
    _note_orphans(found, root)
    return found


def mvtec(root: Path) -> Found:
    """A folder per class in train/ and test/, which is kept as the published split."""
    found = Found()
    for split in ("train", "test"):
        if (root / split).is_dir():
            for folder in folders(root / split):
                _class_folder(found, root, folder, split)
    _note_orphans(found, root)
    return found


def magnetic_tile(root: Path) -> Found:
    """Folders MT_CLASS/Imgs with masks beside the images."""
    found = Found()
    for folder in sorted(root.glob(f"{TILE_PREFIX}*")):
        label = GOOD if folder.name == _TILE_GOOD else folder.name.removeprefix(TILE_PREFIX)
        for image in images_below(folder / "Imgs"):
            if image.suffix.lower() == ".png":
                continue  # a mask
            mask = image.with_suffix(".png")
            name = mask.relative_to(root).as_posix() if mask.is_file() else ""
            found.samples.append(Sample(image.relative_to(root).as_posix(), label, "" if label == GOOD else name))
            found.aside.add(name)
    return found


def _class_folder(found: Found, root: Path, folder: Path, published_split: str = "") -> None:
    label = label_of(folder.name) if folder.name.casefold() == GOOD else folder.name
    images = list(images_below(folder))
    if not images:
        found.empty_class(folder.name, f"the folder {folder.relative_to(root).as_posix()}")
    for image in images:
        found.samples.append(
            Sample(
                image.relative_to(root).as_posix(),
                label,
                "" if label == GOOD else _beside(root, MASK_FOLDER, folder, image),
                published_split,
                ignore=_beside(root, IGNORE, folder, image),
            )
        )


def _beside(root: Path, kind: str, folder: Path, image: Path) -> str:
    """The mask or ignored area of an image, relative to `root`, or an empty string."""
    stem = root / kind / folder.name / image.relative_to(folder).with_suffix("")
    for name in (f"{stem.name}_mask.png", f"{stem.name}.png"):
        if (stem.parent / name).is_file():
            return (stem.parent / name).relative_to(root).as_posix()
    return ""


def _note_orphans(found: Found, root: Path) -> None:
    """Masks that belong to no image: one of the two is misnamed, and the image then counts as having none."""
    used = {path for sample in found.samples for path in (sample.mask, sample.ignore)}
    for orphan in _orphans(root, used):
        found.notes.append(
            ImportNote(orphan, "no image of its class has this name; name the mask after its image", "missing")
        )


def _orphans(root: Path, used: set[str]) -> Iterable[str]:
    for kind in sorted(_ASIDE):
        for mask in images_below(root / kind):
            if (name := mask.relative_to(root).as_posix()) not in used:
                yield name
