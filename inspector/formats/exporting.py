"""Writes the labels of a line, with their pictures, to a folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from inspector.errors import FrameError, ImageStoreError, LabelInvalid, NotFound
from inspector.formats.document import Entry, Mark
from inspector.formats.registry import format_named
from inspector.imaging.archive import unarchive
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.raster import Raster
from inspector.labelling import read_mask
from inspector.part import Box, ImageKind
from inspector.records.images import ImageStore
from inspector.records.label_rows import LabelledFilter
from inspector.records.labels import WITHDRAWN, Label, Labelled, Mask, Outcome, Polygon
from inspector.records.store import Store

_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export holds. `notes` say what the format has no word for, and of how many; `left_out` what it lacks, and why."""

    labels: int
    pictures: int
    notes: tuple[tuple[str, int], ...]
    left_out: tuple[tuple[str, int], ...]


def export_labels(
    store: Store,
    images: ImageStore,
    where: LabelledFilter,
    name: str,
    out: Path,
    *,
    authors: Iterable[str] = (),
    limits: DecodeLimits | None = None,
) -> Exported:
    """Write labels to the folder `out` in a format; `authors` are those whose labels count, all if none is named.

    Raises LabelInvalid if something is at `out`, nothing is labelled so, or it cannot be written; what the store raises.
    """
    kind = format_named(name)
    left_out: Counter[str] = Counter()
    entries: list[Entry] = []
    for labelled in store.labelled(where):
        for label in _counting(labelled.by(authors), kind.of_each, left_out):
            try:
                entries.append(_entry(labelled, label, images, limits or DecodeLimits()))
            except (LabelInvalid, NotFound, ImageStoreError, FrameError):
                left_out["their picture is gone or no picture"] += 1
    if not entries:
        raise LabelInvalid(f"there is no label to export ({_why(left_out)}): label parts first, or choose others")
    with _draft(out) as draft:
        for file, data in kind.write(entries).items():
            _write(draft / file, data)
        pictures = {f"{kind.folder_of(entry)}/{entry.file}": entry.sha256 for entry in entries}
        for file, sha256 in pictures.items():
            _write(draft / file, images.get(sha256)[0])
    notes = tuple((note, count) for note, count in kind.notes(entries) if count)
    return Exported(len(entries), len(pictures), notes, tuple(sorted(left_out.items())))


def _counting(labelled: Labelled, of_each: bool, left_out: Counter[str]) -> Sequence[Label]:
    """The labels of a part that an export holds: what people agree on, or what each of them says."""
    if of_each:
        return labelled.current
    outcome = labelled.outcome
    if outcome is Outcome.DISAGREED:
        left_out["people disagree"] += 1
        return []
    if (agreed := labelled.agreed) is not None:
        return [agreed]
    return labelled.current[-1:] if outcome is Outcome.UNSURE else []


def _entry(labelled: Labelled, label: Label, images: ImageStore, limits: DecodeLimits) -> Entry:
    """A label with what there is to know of its picture. LabelInvalid, NotFound, ImageStoreError, FrameError."""
    assert label.what != WITHDRAWN
    inspection = labelled.stored.inspection
    frames = [one for one in labelled.stored.images if one.kind is ImageKind.FRAME and one.sha256]
    frame = next((one for one in frames if label.image in ("", one.sha256)), None)
    if frame is None or frame.media_type not in _SUFFIXES:
        raise LabelInvalid(f"#{inspection.sequence} has no picture")
    picture = decode(unarchive(images.get(frame.sha256)[0], limits), limits)
    entry = Entry(
        sequence=inspection.sequence,
        part_id=inspection.part_id,
        sha256=frame.sha256,
        suffix=_SUFFIXES[frame.media_type],
        size_px=(picture.width_px, picture.height_px),
        what=label.what,
        author=label.author,
        time=label.time,
        note=label.note,
        image=label.image,
        is_repeat=label.is_repeat,
    )
    return replace(entry, marks=tuple(Mark(_shape(a.shape, images, limits), a.defect_class) for a in label.areas))


def _shape(shape: Box | Polygon | Mask, images: ImageStore, limits: DecodeLimits) -> Box | Polygon | Raster:
    if not isinstance(shape, Mask):
        return shape
    return read_mask(images.get(shape.sha256)[0], f"mask {shape.sha256[:12]}", limits)


def _why(left_out: Counter[str]) -> str:
    return ", ".join(f"{count}: {why}" for why, count in sorted(left_out.items())) or "nobody has labelled such parts"


@contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name if all went well, and goes if not. Raises LabelInvalid."""
    draft = out.parent / f".{out.name}.{os.getpid()}.unfinished"
    try:
        if os.path.lexists(out):
            raise LabelInvalid(f"{out} exists already and is not overwritten: choose another name or remove it")
        draft.mkdir(parents=True)
        try:
            yield draft
            draft.rename(out)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        raise LabelInvalid(f"{out} cannot be written: {error.strerror}: free space or choose another place") from error


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
