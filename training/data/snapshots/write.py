"""Takes a snapshot: labels and pictures from the quality database into a folder that appears whole or not at all.

Work goes on in a hidden folder beside the goal, so that a snapshot that was cancelled or died is taken up by the next try:
pictures that are there already and whole are not copied again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import inspector
from inspector.errors import DataError, ImageStoreError, NotFound
from inspector.part import Box, ImageKind
from inspector.records.entries import StoredImage
from inspector.records.image_sets import ImageSets
from inspector.records.images import ImageStore
from inspector.records.labels import Area, Label, Labelled, Mask, Outcome, Polygon
from inspector.records.patterns import check_pattern, found_in
from inspector.records.snapshots.format import (
    DOCUMENT,
    FORMAT,
    LEFT_OUT,
    SAMPLES,
    SUFFIXES,
    VERSION,
    Marked,
    Picture,
    Snapshot,
    digest_of,
    lines_of,
    mask_file,
    read_snapshot,
    row_of,
)
from inspector.records.snapshots.wish import Wish as Wish
from inspector.records.store import Store
from training.data.files import check_free, write_whole
from training.data.reading import Preparation, read_frame
from training.data.snapshots.sets import LeftOut as LeftOut
from training.data.snapshots.sets import Taking, copy_picture, joined, with_sets
from training.progress import Progress, silent, track

_LOCK = "lock"


def take_snapshot(
    store: Store, images: ImageStore, out: Path, wish: Wish, now: datetime, progress: Progress = silent
) -> Snapshot:
    """Write a snapshot to `out`, whole or not at all; `now` is when it was taken.

    Raises DataError if something is at `out`, nothing is labelled so, or it cannot be written; ConfigError for what is no
    pattern of lots; what the store raises.
    """
    check_free(out)
    check_pattern(wish.lot_pattern, "lots", "^L[0-9]+")
    draft = out.parent / f".{out.name}.unfinished"
    with _draft(draft):
        chosen, unwanted, left_out = ([], [], []) if wish.sets_only else _choose(store, wish)
        lot_of = _lots(store, wish, chosen)
        pictures, doubted = _collect(chosen, unwanted, left_out, images, draft, lot_of, progress)
        if wish.sets:
            taking = Taking(images, draft, lot_of, left_out)
            pictures = with_sets(store, wish, pictures, doubted, taking, progress)
        if not pictures:
            raise DataError(_nothing(left_out))
        _remove_others(draft, pictures)
        lists = {
            SAMPLES: lines_of([row_of(picture) for picture in pictures]),
            LEFT_OUT: lines_of([item.to_json() for item in left_out]),
        }
        for name, data in lists.items():
            write_whole(draft / name, data)
        document = {
            "format": FORMAT,
            "version": VERSION,
            "taken": now.astimezone(UTC).isoformat(),
            "inspector": inspector.__version__,
            "database": store.name,
            "asked_for": wish.to_json(),
            "images": len(pictures),
            "labels": dict(sorted(Counter(picture.label for picture in pictures).items())),
            "left_out": dict(sorted(Counter(item.kind for item in left_out).items())),
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in lists.items()},
        }
        text = json.dumps({"digest": digest_of(document), **document}, indent=1).encode("ascii")
        write_whole(draft / DOCUMENT, text)
        snapshot = read_snapshot(draft)
        _publish(draft, out)
    return replace(snapshot, root=out)


def left_out_of(root: Path) -> tuple[LeftOut, ...]:
    """The inspections that a snapshot says it left out; it must have been read before."""
    rows = (json.loads(line) for line in (root / LEFT_OUT).read_bytes().splitlines())
    return tuple(LeftOut(row["line"], row["sequence"], row["kind"], row["detail"]) for row in rows)


# Which


def _choose(store: Store, wish: Wish) -> tuple[list[tuple[Labelled, Label]], list[Labelled], list[LeftOut]]:
    """The inspections whose labels agree on what was asked for, each with the label that counts; those whose labels agree on
    another class, which is not asked for; and those left out.
    """
    chosen: list[tuple[Labelled, Label]] = []
    unwanted: list[Labelled] = []
    left_out: list[LeftOut] = []
    for labelled in store.labelled(wish.where):
        of_wanted = labelled.by(wish.authors)
        agreed = of_wanted.agreed
        if agreed is not None:
            if not wish.classes or agreed.what in wish.classes:
                chosen.append((of_wanted, agreed))
            else:
                unwanted.append(of_wanted)
        elif of_wanted.outcome is not Outcome.NONE:
            said = "; ".join(f"{label.author}: {label.what}" for label in of_wanted.current)
            left_out.append(_left_out(labelled, of_wanted.outcome.value, said))
    return chosen, unwanted, left_out


def _left_out(labelled: Labelled, kind: str, detail: str) -> LeftOut:
    inspection = labelled.stored.inspection
    return LeftOut(inspection.line, inspection.sequence, kind, detail)


def _lots(store: Store, wish: Wish, chosen: Sequence[tuple[Labelled, Label]]) -> Callable[[str], str]:
    """From the part ids that there are to their lots. Raises ConfigError for a pattern that takes too long."""
    if not wish.lot_pattern:
        return lambda part_id: ""
    parts = {labelled.stored.inspection.part_id for labelled, _ in chosen}
    sets = ImageSets(store.database, wish.where.line)
    parts |= {one.part_id for name in wish.sets for one in sets.all_of(name)}
    ids = sorted(parts)
    lots = dict(zip(ids, found_in(wish.lot_pattern, ids), strict=True))
    return lambda part_id: lots.get(part_id, "")


# Pictures


def _collect(
    chosen: Sequence[tuple[Labelled, Label]],
    unwanted: Sequence[Labelled],
    left_out: list[LeftOut],
    images: ImageStore,
    draft: Path,
    lot_of: Callable[[str], str],
    progress: Progress,
) -> tuple[list[Picture], frozenset[str]]:
    """Copy the pictures, and say of each what its inspections and their labels say; one that contradicts itself stays out,
    also if the other label is of a class that was not asked for. The second are those that did.
    """
    found: dict[str, Picture] = {}
    doubted: dict[str, list[Labelled]] = {}
    shown_by: dict[str, list[Labelled]] = {}
    for labelled, label in track(chosen, "Copying pictures", progress):
        picture = _picture(labelled, label, images, draft, lot_of)
        if isinstance(picture, LeftOut):
            left_out.append(picture)
            continue
        shown_by.setdefault(picture.sha256, []).append(labelled)
        before = found.setdefault(picture.sha256, picture)
        if before.label != picture.label:
            doubted[picture.sha256] = shown_by[picture.sha256]
        elif before is not picture:
            found[picture.sha256] = joined(before, picture)
    for labelled in unwanted:
        frame = _frame(labelled)
        if frame is not None and frame.sha256 in found:
            shown_by[frame.sha256].append(labelled)
            doubted[frame.sha256] = shown_by[frame.sha256]
    for sha256, inspections in doubted.items():
        del found[sha256]
        why = f"picture {sha256} shows several inspections"
        left_out += [_left_out(labelled, "one picture, two labels", why) for labelled in inspections]
    return [found[sha256] for sha256 in sorted(found)], frozenset(doubted)


def _picture(
    labelled: Labelled, label: Label, images: ImageStore, draft: Path, lot_of: Callable[[str], str]
) -> Picture | LeftOut:
    frame = _frame(labelled)
    if frame is None:
        return _left_out(labelled, "no picture", "no picture of it was kept")
    if not frame.sha256:
        return _left_out(labelled, "lost picture", frame.lost_reason)
    if frame.media_type not in SUFFIXES:
        return _left_out(labelled, "no picture", f"what came from the camera is no picture ({frame.media_type})")
    inspection = labelled.stored.inspection
    picture = Picture(
        sha256=frame.sha256,
        media_type=frame.media_type,
        label=label.what,
        areas=tuple(_marked(area) for area in label.areas),
        width_px=0,
        height_px=0,
        group=inspection.part_id,
        lot=lot_of(inspection.part_id),
        inspections=(_provenance(labelled),),
        said=tuple(_said(one) for one in labelled.current),
    )
    try:
        copy_picture(images, frame.sha256, draft / picture.file)
        for mask in picture.masks:
            copy_picture(images, mask, draft / mask_file(mask))
    except (NotFound, ImageStoreError) as error:
        return _left_out(labelled, "lost picture", str(error))
    if not picture.areas:
        return picture
    plain = Preparation(1, 1, 1)
    try:
        pixels = plain.image(read_frame(draft / picture.file, plain.limits))
    except DataError as error:
        return _left_out(labelled, "no picture", str(error))
    return replace(picture, width_px=pixels.width_px, height_px=pixels.height_px)


def _frame(labelled: Labelled) -> StoredImage | None:
    return next((image for image in labelled.stored.images if image.kind is ImageKind.FRAME), None)


def _marked(area: Area) -> Marked:
    shape = area.shape
    if isinstance(shape, Mask):
        return Marked(area.defect_class, mask=shape.sha256)
    if isinstance(shape, Polygon):
        return Marked(area.defect_class, polygon=shape.points)
    assert isinstance(shape, Box)
    return Marked(area.defect_class, box=(shape.x_px, shape.y_px, shape.width_px, shape.height_px))


def _provenance(labelled: Labelled) -> dict[str, Any]:
    i = labelled.stored.inspection
    return {
        "line": i.line,
        "sequence": i.sequence,
        "station": i.station,
        "camera": i.camera,
        "trigger": i.trigger,
        "part_id": i.part_id,
        "received": i.receive_time.isoformat(),
        "recipe": i.recipe,
        "bundle": i.bundle,
        "verdict": i.verdict.name,
        "reason": i.reason.name,
        "score": i.score,
        "limit": i.limit,
    }


def _said(label: Label) -> dict[str, Any]:
    return {"author": label.author, "time": label.time.isoformat(), "what": label.what, "note": label.note}


# The folder


@contextmanager
def _draft(draft: Path) -> Iterator[None]:
    """The hidden folder to work in, held against another process. It stays if the work is interrupted."""
    try:
        draft.mkdir(parents=True, exist_ok=True)
        lock = (draft / _LOCK).open("w")
    except OSError as error:
        raise DataError(f"{draft} cannot be written: {error.strerror}; free space or choose another place") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"{draft} is in use: another process takes this snapshot; wait for it") from error
        try:
            yield
        except DataError:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def _remove_others(draft: Path, pictures: Sequence[Picture]) -> None:
    """Remove what an earlier try copied and is not wanted any more."""
    wanted = {picture.file for picture in pictures} | {mask_file(mask) for p in pictures for mask in p.masks}
    for file in [path for path in draft.rglob("*") if path.is_file()]:
        if (name := file.relative_to(draft).as_posix()) not in wanted and name != _LOCK:
            file.unlink()
    for folder in sorted((path for path in draft.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def _publish(draft: Path, out: Path) -> None:
    """Everything to the disk and read-only, then in place in one step."""
    try:
        for path in draft.rglob("*"):
            if path.is_file() and path.name != _LOCK:
                path.chmod(0o444)
        for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
            _sync(folder)
        (draft / _LOCK).unlink()
        check_free(out)
        draft.rename(out)
        _sync(out.parent)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}; free space or choose another place") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _nothing(left_out: Sequence[LeftOut]) -> str:
    counts = Counter(item.kind for item in left_out)
    why = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nobody has labelled such parts"
    return f"there is no labelled picture to take a snapshot of ({why}); label parts with `inspector label`"
