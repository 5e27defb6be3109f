"""/uploads: files on their way to a set of pictures, in pieces that go on after a broken connection.

POST /uploads                 what is to come ─▶ its id, and how many bytes are here already
PUT  /uploads/ID?offset=N     a piece, at most 8 MiB, that begins at byte N ─▶ how many bytes are here now
POST /uploads/ID/finish       hash, types and sizes are checked ─▶ what came of it
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.intake import options_of
from inspector.records.uploads import Upload
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.desk import Desk, in_thread


class NewUpload(BaseModel):
    """A file that is to come. `label` is what its pictures are labelled: nothing, a label, or "by folder" of an archive."""

    image_set: str = Field(max_length=200)
    file_name: str = Field(max_length=1000)
    size_bytes: int = Field(ge=1)
    sha256: str = Field(min_length=64, max_length=64)
    label: str = Field(default="", max_length=200)
    part_pattern: str = Field(default="", max_length=200)
    lot: str = Field(default="", max_length=100)


class UploadOut(BaseModel):
    """An upload: how many bytes are here, and, once it has ended, what came of it."""

    id: str
    image_set: str
    file_name: str
    size_bytes: int
    offset: int
    state: str
    sent_by: str
    begun: datetime
    outcome: dict[str, Any]


class Here(BaseModel):
    """How many bytes are here now."""

    offset: int


def router(desk: Desk) -> APIRouter:
    """Routes about uploads."""
    routes = APIRouter(prefix="/uploads", tags=["data sets"])
    intake = desk.work.intake

    @routes.post("", status_code=201)
    async def begin(wanted: NewUpload, user: User = needs(Role.ENGINEER)) -> UploadOut:
        """Announce a file; if the same was begun and not ended, that one goes on."""

        def work() -> UploadOut:
            desk.work.make_room()
            options = options_of(wanted.model_dump())
            upload, here = intake.begin(
                wanted.image_set, wanted.file_name, options, wanted.size_bytes, wanted.sha256, user.name
            )
            return _out(upload, here)

        return await in_thread(work)

    @routes.get("")
    async def list_uploads(image_set: str = "", user: User = needs(Role.ENGINEER)) -> list[UploadOut]:
        """The newest uploads."""

        def work() -> list[UploadOut]:
            return [_out(*intake.offset(upload.id)) for upload in desk.work.uploads.list(image_set)]

        return await in_thread(work)

    @routes.get("/{number}")
    async def get(number: str, user: User = needs(Role.ENGINEER)) -> UploadOut:
        """Where an upload stands."""
        return _out(*await in_thread(intake.offset, number))

    @routes.put("/{number}")
    async def append(
        request: Request, number: str, offset: int = Query(ge=0), user: User = needs(Role.ENGINEER)
    ) -> Here:
        """A piece that begins at byte `offset`."""
        data = await request.body()  # the gate takes no more of it than a piece may have
        return Here(offset=await in_thread(intake.append, number, offset, data, user.name))

    @routes.post("/{number}/finish")
    async def finish(number: str, user: User = needs(Role.ENGINEER)) -> UploadOut:
        """All of it is here: take its pictures in."""

        def work() -> UploadOut:
            upload = intake.finish(number, user.name)
            about = {key: upload.outcome.get(key) for key in ("added", "already", "refused_count", "error")}
            desk.audit(user, f"upload {upload.state.value}", upload.set_name, {"file": upload.file_name, **about})
            return _out(upload, upload.size_bytes)

        return await in_thread(work)

    @routes.delete("/{number}")
    async def give_up(number: str, user: User = needs(Role.ENGINEER)) -> UploadOut:
        """Forget it."""
        upload = await in_thread(intake.give_up, number, user.name)
        return _out(upload, 0)

    return routes


def _out(upload: Upload, offset: int) -> UploadOut:
    return UploadOut(
        id=upload.id,
        image_set=upload.set_name,
        file_name=upload.file_name,
        size_bytes=upload.size_bytes,
        offset=offset,
        state=upload.state.value,
        sent_by=upload.sent_by,
        begun=upload.begun,
        outcome=dict(upload.outcome),
    )
