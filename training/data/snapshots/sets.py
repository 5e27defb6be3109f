"""Pictures that people brought, taken into a snapshot beside those of the line, and what both ways have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inspector.errors import ImageStoreError, NotFound
from inspector.records.image_sets import ImageSets, SetPicture
from inspector.records.images import ImageStore
from inspector.records.labels import Outcome, agreed_of, newest, outcome_of
from inspector.records.snapshots.format import SUFFIXES, Picture
from inspector.records.snapshots.wish import Wish
from inspector.records.store import Store
from training.data.files import write_whole
from training.progress import Progress, track


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A labelled inspection that is not in a snapshot, the kind of reason, and what there is to say of it."""

    line: str
    sequence: int
    kind: str
    detail: str

    def to_json(self) -> dict[str, Any]:
        return {"line": self.line, "sequence": self.sequence, "kind": self.kind, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Taking:
    """Where pictures come from and go to, how a lot is found in a part id, and the list of what is left out."""

    images: ImageStore
    draft: Path
    lot_of: Callable[[str], str]
    left_out: list[LeftOut]


def with_sets(
    store: Store, wish: Wish, pictures: Sequence[Picture], doubted: frozenset[str], taking: Taking, progress: Progress
) -> list[Picture]:
    """The pictures with those of the wished sets, by content; one that is labelled one way here and another there stays out.

    Raises NotFound for a set that is not there.
    """
    found = {picture.sha256: picture for picture in pictures}
    contradicted = set(doubted)
    sets = ImageSets(store.database, wish.where.line)
    for name in sorted(wish.sets):
        for one in track(list(sets.all_of(name)), f"Copying set {name}", progress):
            picture = _of_set(one, wish, taking)
            if picture is None:
                continue
            before = found.get(picture.sha256)
            if picture.sha256 in contradicted or (before is not None and before.label != picture.label):
                contradicted.add(picture.sha256)
                found.pop(picture.sha256, None)
                _leave(
                    one, taking, "one picture, two labels", f"picture {picture.sha256} is labelled otherwise elsewhere"
                )
                continue
            found[picture.sha256] = picture if before is None else joined(before, picture)
    return [found[sha256] for sha256 in sorted(found)]


def _of_set(one: SetPicture, wish: Wish, taking: Taking) -> Picture | None:
    """A picture of a set as one of a snapshot; None if it does not belong there, with the reason among what is left out."""
    current = newest(label for label in one.history if not wish.authors or label.author in wish.authors)
    agreed = agreed_of(current)
    if agreed is None:
        if outcome_of(current) is not Outcome.NONE:
            said = "; ".join(f"{label.author}: {label.what}" for label in one.current)
            _leave(one, taking, outcome_of(current).value, said)
        return None
    if wish.classes and agreed.what not in wish.classes:
        return None
    upload: dict[str, Any] = {
        "set": one.set_name,
        "file": one.file_name,
        "number": one.id,
        "added_by": one.added_by,
        "added": one.added.isoformat(),
    }
    labels = [{"author": s.author, "time": s.time.isoformat(), "what": s.what, "note": s.note} for s in one.current]
    lot = one.lot or taking.lot_of(one.part_id)
    picture = Picture(one.sha256, one.media_type, agreed.what, (), 0, 0, one.part_id, lot, (), tuple(labels), (upload,))
    if picture.media_type not in SUFFIXES:
        _leave(one, taking, "no picture", f"a file of this kind is no picture ({picture.media_type})")
        return None
    try:
        copy_picture(taking.images, picture.sha256, taking.draft / picture.file)
    except (NotFound, ImageStoreError) as error:
        _leave(one, taking, "lost picture", str(error))
        return None
    return picture


def _leave(one: SetPicture, taking: Taking, kind: str, detail: str) -> None:
    taking.left_out.append(LeftOut(f"set {one.set_name}", one.id, kind, detail))


def joined(first: Picture, second: Picture) -> Picture:
    """One picture that several inspections or sets show, under one label."""
    return replace(
        first if first.areas else second,
        areas=tuple(dict.fromkeys((*first.areas, *second.areas))),
        group=first.group or second.group,
        lot=first.lot or second.lot,
        inspections=(*first.inspections, *second.inspections),
        said=(*first.said, *second.said),
        uploads=(*first.uploads, *second.uploads),
    )


def copy_picture(images: ImageStore, sha256: str, target: Path) -> None:
    """Copy a picture, unless it is there and whole. NotFound, ImageStoreError, DataError."""
    try:
        with target.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() == sha256:
                return
    except FileNotFoundError:
        pass
    write_whole(target, images.get(sha256)[0])
