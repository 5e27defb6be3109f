"""Teaches a memory bank that rejected pictures were good, in seconds and from the bundle alone; and takes that back.

Of the pictures' patches that nothing remembered comes near to, as many are added as let the pictures pass clearly. Nothing
else changes, so that no score rises: what passed passes, and a bound on false rejects holds. What may happen is that defects
pass which were rejected: golden defects must not, and defects of a data set given to check are held to the same. Of an INT8
bundle the search changes too, from integers to floats: then the bound is an estimate, and says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ConfigError, DataError
from inspector.inference.bundle import MODEL_FILE, Bundle, GoldenImage
from inspector.inference.engine import Model
from inspector.inference.manifest import Change, LimitBasis
from inspector.part import Verdict
from training.data.image_list import ADDED, ImageList, KnownImage, images_of
from training.data.reading import MEDIA_TYPES, pixels_sha256, read_frame
from training.data.samples import Dataset, printable
from training.models.memory_bank.extension import MemoryGraph, uncovered, weights_for
from training.models.memory_bank.network import NAME
from training.progress import Progress, silent, track
from training.successor import (
    change_of,
    flips,
    model_of,
    preparation_of,
    refuse_flips,
    score_golden,
    score_of,
    write_successor,
)

MOST_PER_PICTURE = 100
MOST_GROWTH = 0.25
"""Of the memory that was fitted: the search costs time in proportion, and every patch lets something more pass."""
_FIRST, _CLEAR = 4, 0.1
"""Patches tried first, then twice as many each time, until a picture's score is this share below the limit."""
_GOLDEN_PER_EXTENSION, _MOST_GOLDEN = 4, 48
_GOLDEN_MARGIN = 0.02
_SINCE = " Since the limit was set, "
_ANEW = (
    " The limit was set on a search of integers; since the memory was changed it is searched with floats, which moves scores "
    "by about a thousandth: what is promised is an estimate until the limit is set anew."
)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Taught:
    """A picture that is now remembered as good, and its score before and after."""

    file: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Extension:
    """A bundle with a longer or shorter memory. `patches` were added, or left out if negative; `number` names the addition.

    `checked` defective pictures of a data set were judged before and after.
    """

    bundle: Bundle
    number: int
    patches: int
    pictures: tuple[Taught, ...]
    checked: int


@dataclass(frozen=True, slots=True)
class _Picture:
    name: str
    media_type: str
    data: bytes
    image: NDArray[np.uint8]
    pixels_sha256: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def extend(
    bundle: Bundle,
    pictures: Sequence[Path],
    out: Path,
    name: str,
    *,
    reason: str = "",
    check: Dataset | None = None,
    progress: Progress = silent,
) -> Extension:
    """Write a bundle that remembers `pictures`, which `bundle` rejects although they are good.

    Raises DataError if a picture cannot be read, none of them is rejected, or a golden defect or a defect of `check` would
    pass; BundleError or ConfigError if the bundle cannot be extended.
    """
    graph = _memory_graph(bundle)
    limit = bundle.manifest.limits.score
    old = model_of(bundle, bundle.read(MODEL_FILE))
    progress("Reading pictures", 0, len(pictures))
    read = [_read(path, bundle) for path in pictures]
    before = [score_of(old, picture.image) for picture in read]
    rejected = [index for index, score in enumerate(before) if score > limit]
    if not rejected:
        raise DataError(
            f"none of the {len(read)} pictures is rejected: the highest scores {max(before):.4g}, the limit of {bundle.label} "
            f"is {limit:.4g}. There is nothing to add"
        )
    progress("Reading pictures", len(read), len(read))
    memory = graph.memory
    room = _room(bundle, len(memory.points))
    patches = graph.patches(np.stack([read[index].image for index in rejected]))
    points = uncovered(memory, patches, min(MOST_PER_PICTURE * len(rejected), room))
    points, longer, new = _shortest(bundle, graph, points, [read[index].image for index in rejected])
    taught = tuple(
        Taught(picture.name, score, score_of(new, picture.image)) for picture, score in zip(read, before, strict=True)
    )
    golden = score_golden(bundle, new)
    step = "if the pictures are good, fit again with them among the good ones; if they are not, leave them out"
    refuse_flips(flips(golden, limit), f"remembering {len(rejected)} pictures", step)
    checked = 0 if check is None else _check(bundle, old, new, check, progress)
    number = 1 + max(_additions(bundle), default=0)
    shown = _golden_pictures(bundle, [read[i] for i in rejected], [taught[i].after for i in rejected], number)
    details = {
        "number": number,
        "patches": len(points),
        "pictures": [
            {"file": p.name, "sha256": p.sha256, "before": t.before, "after": t.after}
            for p, t in zip(read, taught, strict=True)
            if t.before > limit
        ],
        "golden": [image.file for image, _ in shown],
        "defects_checked": checked,
    }
    change = change_of(bundle, "extended", datetime.now(UTC), reason, details)
    images = images_of(bundle)
    if images is not None:
        images = images.with_more(KnownImage(ADDED, read[i].sha256, read[i].pixels_sha256) for i in rejected)
    whole = (*golden, *(g for g, _ in shown))
    written = _write(bundle, out, name, change, longer, whole, {g.file: d for g, d in shown}, images)
    return Extension(written, number, len(points), taught, checked)


def leave_out(bundle: Bundle, number: int, out: Path, name: str, *, reason: str = "") -> Extension:
    """Write a bundle without the patches of one earlier addition.

    Raises DataError if there is no such addition, or if a golden picture, such as one of a later addition, would flip.
    """
    graph = _memory_graph(bundle)
    additions = _additions(bundle)
    if number not in additions:
        known = ", ".join(map(str, additions)) or "none"
        raise DataError(f"{bundle.label} has no addition {number}; it has {known}. `inspector bundle info` lists them")
    start = len(graph.memory.points) - sum(count for count, _ in additions.values())
    for other, (count, _) in additions.items():
        if other == number:
            break
        start += count
    count, pictures = additions[number]
    if number not in _additions_since_limit(bundle):
        raise DataError(
            f"the limit of {bundle.label} was set with addition {number} in the memory, and without it more good parts would "
            "be rejected than it promises: go back to the bundle before, which `inspector bundle info` names, or fit again"
        )
    shorter = graph.without(slice(start, start + count))
    new = model_of(bundle, shorter)
    golden = tuple(image for image in score_golden(bundle, new) if image.file not in pictures)
    step = "leave out the later additions first"
    refuse_flips(flips(golden, bundle.manifest.limits.score), f"leaving out addition {number}", step)
    change = change_of(bundle, "left out", datetime.now(UTC), reason, {"number": number, "patches": count})
    images = images_of(bundle)
    if images is not None:
        images = images.without(ADDED, _files_of(bundle, number))
    written = _write(bundle, out, name, change, shorter, golden, {}, images)
    return Extension(written, number, -count, (), 0)


def _shortest(
    bundle: Bundle, graph: MemoryGraph, points: NDArray[np.float32], images: Sequence[NDArray[np.uint8]]
) -> tuple[NDArray[np.float32], bytes, Model]:
    """As few of the patches, the farthest first, as let all the images pass clearly; all of them if none do.

    Every patch lowers the scores of defects too: 60 for each of three tiles lowered those of other tiles by a seventh.
    """
    memory, limit = graph.memory, bundle.manifest.limits.score
    count = min(_FIRST, len(points))
    while True:
        longer = graph.with_more(points[:count], weights_for(memory, points[:count]))
        new = model_of(bundle, longer)
        worst = max(score_of(new, image) for image in images)
        if worst <= limit - _CLEAR * abs(limit) or count == len(points):
            return points[:count], longer, new
        count = min(2 * count, len(points))


def _memory_graph(bundle: Bundle) -> MemoryGraph:
    if bundle.manifest.model_kind != NAME:
        raise ConfigError(
            f"{bundle.label} is of kind {bundle.manifest.model_kind}: only {NAME} can be extended; fit it again with the "
            "pictures among the good ones, or set another limit with `inspector-train recalibrate`"
        )
    if bundle.manifest.input.tiling is not None:
        raise ConfigError(
            f"{bundle.label} judges large pictures by tiles, and cannot be extended: fit it again with the pictures among the "
            "good ones, or set another limit with `inspector-train recalibrate`"
        )
    return MemoryGraph(bundle.read(MODEL_FILE), f"bundle {bundle.label}")


def _additions(bundle: Bundle) -> dict[int, tuple[int, tuple[str, ...]]]:
    """Patches and golden images of each addition that is in the memory, by number, in the memory's order."""
    found: dict[int, tuple[int, tuple[str, ...]]] = {}
    for change in bundle.manifest.history:
        details: Any = change.details
        if change.what == "extended":
            found[int(details["number"])] = (int(details["patches"]), tuple(details["golden"]))
        elif change.what == "left out":
            del found[int(details["number"])]
    return found


def _files_of(bundle: Bundle, number: int) -> frozenset[str]:
    """SHA-256 of the pictures of an addition."""
    files: set[str] = set()
    for change in bundle.manifest.history:
        details: Any = change.details
        if change.what == "extended" and details["number"] == number:
            files = {str(picture["sha256"]) for picture in details["pictures"]}
    return frozenset(files)


def _additions_since_limit(bundle: Bundle) -> set[int]:
    """The additions that are in the memory and came after the limit was set."""
    numbers: set[int] = set()
    for change in bundle.manifest.history:
        details: Any = change.details
        if change.what == "recalibrated":
            numbers.clear()
        elif change.what == "extended":
            numbers.add(int(details["number"]))
    return numbers & set(_additions(bundle))


def _room(bundle: Bundle, size: int) -> int:
    """How many more patches may be added. Raises DataError if none."""
    added = sum(count for count, _ in _additions(bundle).values())
    room = int(MOST_GROWTH * (size - added)) - added
    if room < 1:
        raise DataError(
            f"the memory of {bundle.label} has grown by {added} patches, the most that {size - added} fitted ones allow: fit "
            "again with the pictures among the good ones"
        )
    return room


def _read(path: Path, bundle: Bundle) -> _Picture:
    preparation = preparation_of(bundle)
    try:
        frame = read_frame(path, preparation.limits)
        picture = preparation.image(frame)
        model_input = preparation.model_input(picture, preparation.region(picture))
        media_type = MEDIA_TYPES[frame.pixel_format]
        return _Picture(printable(path.name), media_type, frame.data, model_input, pixels_sha256(picture))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _golden_pictures(
    bundle: Bundle, pictures: Sequence[_Picture], scores: Sequence[float], number: int
) -> list[tuple[GoldenImage, bytes]]:
    """A few of the pictures that now pass clearly, as golden images: later changes have to let them pass too."""
    limit = bundle.manifest.limits.score
    room = max(0, min(_GOLDEN_PER_EXTENSION, _MOST_GOLDEN - len(bundle.manifest.golden)))
    clear = [
        (p, s) for p, s in zip(pictures, scores, strict=True) if s <= limit and limit - s > _GOLDEN_MARGIN * abs(limit)
    ]
    chosen = []
    for index, (picture, score) in enumerate(clear[:room], start=1):
        suffix = "jpg" if picture.media_type == "image/jpeg" else "png"
        file = f"golden/added-{number}-{index}.{suffix}"
        chosen.append((GoldenImage(file, picture.media_type, score, Verdict.PASS), picture.data))  # type: ignore[arg-type]
    return chosen


def _check(bundle: Bundle, old: Model, new: Model, dataset: Dataset, progress: Progress) -> int:
    """Judge the defects of a data set before and after; their number. Raises DataError if any would newly pass."""
    limit, preparation = bundle.manifest.limits.score, preparation_of(bundle)
    defects = [sample for sample in dataset.samples if not sample.is_good]
    passing = []
    for sample in track(defects, "Checking defects", progress):
        try:
            image = preparation.read(dataset.file(sample))
        except DataError as error:
            raise DataError(
                f"{printable(sample.path)} of {dataset.root}, a defective picture to check, cannot be read: {error}. Nothing "
                "was written; remove it there, or check with another data set"
            ) from error
        if score_of(old, image) > limit >= score_of(new, image):
            passing.append(printable(sample.path))
    if passing:
        more = f" and {len(passing) - _SHOWN} more" if len(passing) > _SHOWN else ""
        raise DataError(
            f"{len(passing)} of {len(defects)} defective pictures of {dataset.root} are rejected now and would pass: "
            f"{', '.join(passing[:_SHOWN])}{more}. Nothing was written; leave out pictures that look like them, or fit again "
            "with all of them"
        )
    return len(defects)


def _write(
    bundle: Bundle,
    out: Path,
    name: str,
    change: Change,
    graph: bytes,
    golden: tuple[GoldenImage, ...],
    pictures: dict[str, bytes],
    images: ImageList | None,
) -> Bundle:
    manifest = bundle.manifest
    history = (*manifest.history, change)
    metrics = {"counted_on": bundle.label, **manifest.metrics}
    draft = replace(
        manifest,
        name=name,
        created_time=change.time,
        basis=_basis(manifest.basis, history, manifest.provenance.get("precision") == "int8"),
        golden=golden,
        metrics=metrics,
    )
    return write_successor(bundle, out, draft, change, graph=graph, new_golden=pictures, images=images)


def _basis(basis: LimitBasis, history: Sequence[Change], int8: bool) -> LimitBasis:
    """The basis with what the additions change in it, and what not."""
    number_of: dict[object, tuple[int, int]] = {}
    searches_anew = False
    for change in history:
        details: Any = change.details
        searches_anew = int8 and change.what in ("extended", "left out")
        if change.what == "extended":
            number_of[details["number"]] = (details["patches"], len(details["pictures"]))
        elif change.what == "left out":
            number_of.pop(details["number"])
        else:  # the new limit was set with what was in the memory
            number_of.clear()
    statement = basis.statement.split(_SINCE)[0].split(_ANEW)[0]
    if searches_anew:
        statement += _ANEW
    if number_of:
        patches, pictures = map(sum, zip(*number_of.values(), strict=True))
        statement += (
            f"{_SINCE}{patches} patches of {pictures} pictures that people called good were added to the memory. No score "
            "rises by that, so good parts are rejected no more often than said; more defective parts may pass than were "
            "counted."
        )
    return replace(basis, guaranteed=basis.guaranteed and not searches_anew, statement=statement, escapes=None)
