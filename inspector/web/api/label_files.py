"""/label-files: labels out to other programs and in again, as ZIP files."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask

from inspector.access.identity import Role
from inspector.errors import AccessDenied, ImageStoreError, InvalidRequest, Overloaded
from inspector.formats.exporting import export_labels
from inspector.formats.registry import FORMATS, format_named, read_labels
from inspector.formats.sources import open_source
from inspector.labelling import Labelling
from inspector.part import ImageKind
from inspector.records.label_rows import LabelledFilter
from inspector.records.room import check_room
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.desk import Desk, in_thread

_CHECKED_EVERY = 8 << 20
_EXPORTING = threading.Lock()
_MOST_AUTHORS = 100
"""Of how many authors an audit row says how many labels are theirs."""
_SUFFIX = re.compile(r"\.(zip|json|csv)", re.IGNORECASE)


class FormatShown(BaseModel):
    """A format of labels."""

    name: str
    title: str


class Imported(BaseModel):
    """How many labels a file held, and how many of them were new."""

    labels: int
    added: int


def router(desk: Desk) -> APIRouter:
    """Routes of label files."""
    routes = APIRouter(prefix="/label-files", tags=["labels"])

    @routes.get("")
    async def formats(user: User = needs(Role.VIEWER)) -> list[FormatShown]:
        """The formats that there are."""
        return [FormatShown(name=name, title=kind.title) for name, kind in FORMATS.items()]

    @routes.get("/{name}", response_class=FileResponse)
    async def export(name: str, by: str = "", user: User = needs(Role.ENGINEER)) -> FileResponse:
        """The labels of the line with their pictures, as a ZIP file; `by` are whose, apart by commas, all without."""
        folder, archive = await in_thread(_export, desk, user, name, by)
        done = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
        return FileResponse(archive, media_type="application/zip", filename=f"{desk.line}-{name}.zip", background=done)

    @routes.post("")
    async def import_(
        request: Request, file: str, format_: str = "", new_class: bool = False, user: User = needs(Role.ENGINEER)
    ) -> Imported:
        """Add the labels of a file that is sent as the body: all of them, or none. `file` is its name.

        Labels under other people's names need the role approver, unless these said so before; times are UTC unless they say.
        """
        suffix = _SUFFIX.fullmatch(Path(file.replace("\\", "/")).suffix)
        if suffix is None:
            raise InvalidRequest(f"{file[:80]!a} is no ZIP, JSON or CSV file: pack a folder of labels as a ZIP file")
        with _upload_folder(desk) as folder:
            path = folder / f"labels{suffix[0].lower()}"
            await _receive(request, path)
            return await in_thread(_import, desk, user, path, file, format_, new_class)

    return routes


def _export(desk: Desk, user: User, name: str, by: str) -> tuple[Path, Path]:
    """A folder to remove afterwards, and the archive in it. Raises Overloaded while another is made."""
    format_named(name)
    if not _EXPORTING.acquire(blocking=False):
        raise Overloaded("another export of labels is being made: try again in some minutes")
    try:
        return _pack(desk, user, name, by)
    finally:
        _EXPORTING.release()


def _pack(desk: Desk, user: User, name: str, by: str) -> tuple[Path, Path]:
    # Twice: the folder, and the archive that is made of it.
    check_room(desk.folder, 2 * _pictures_bytes(desk))
    folder = _new_folder(desk)
    try:
        authors = [author.strip() for author in by.split(",") if author.strip()]
        done = export_labels(
            desk.store, desk.pictures, LabelledFilter(desk.line), name, folder / "labels", authors=authors
        )
        try:
            archive = Path(shutil.make_archive(str(folder / "archive"), "zip", folder / "labels"))
        except OSError as error:
            raise ImageStoreError(
                f"the export cannot be packed: {error.strerror}: free space in {desk.folder}"
            ) from error
        details = {"format": name, "labels": done.labels, "notes": dict(done.notes), "left_out": dict(done.left_out)}
        desk.audit(user, "exported labels", desk.line, details)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder / "labels", ignore_errors=True)
    return folder, archive


def _pictures_bytes(desk: Desk) -> int:
    """Of the pictures that labels of the line are of."""
    frames = (
        (image.sha256, image.size_bytes)
        for labelled in desk.store.labelled(LabelledFilter(desk.line))
        for image in labelled.stored.images
        if image.kind is ImageKind.FRAME and image.sha256
    )
    return sum(dict(frames).values())


def _import(desk: Desk, user: User, path: Path, file: str, name: str, new_class: bool) -> Imported:
    with open_source(path) as (source, given):
        wanted = read_labels(source, given, user.name, name)
    labelling = Labelling(desk.store, desk.pictures, desk.line)
    only_of = "" if user.may(Role.APPROVER) else user.name
    try:
        added = labelling.add(wanted, desk.clock(), new_class=new_class, only_of=only_of)
    except AccessDenied as error:
        desk.refuse(user.name, "web request", "POST /api/v1/label-files", str(error))
        raise
    authors = dict(Counter(one.author for one in wanted).most_common(_MOST_AUTHORS))
    desk.audit(user, "imported labels", file, {"labels": len(wanted), "added": added, "authors": authors})
    return Imported(labels=len(wanted), added=added)


def _new_folder(desk: Desk) -> Path:
    try:
        desk.folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".labels-", dir=desk.folder))
    except OSError as error:
        raise ImageStoreError(f"{desk.folder} cannot be written: {error.strerror}: free some disk space") from error


@contextmanager
def _upload_folder(desk: Desk) -> Iterator[Path]:
    folder = _new_folder(desk)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _receive(request: Request, path: Path) -> None:
    """Write a body to a file while the disk has room; the gate bounds it. Raises InvalidRequest, ImageStoreError."""
    size, checked = 0, 0
    announced = request.headers.get("content-length", "")
    await in_thread(check_room, path.parent, int(announced) if announced.isdecimal() else 0)
    try:
        with path.open("wb") as out:
            async for chunk in request.stream():
                size += len(chunk)
                if size >= checked + _CHECKED_EVERY:
                    checked = size
                    await in_thread(check_room, path.parent, 0)
                await in_thread(out.write, chunk)
    except OSError as error:
        raise ImageStoreError(f"the file cannot be received: {error.strerror}: free some disk space") from error
    if not size:
        raise InvalidRequest("the body is empty: send the file as the body of the request")
