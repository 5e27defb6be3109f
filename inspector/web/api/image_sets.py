"""/image-sets: pictures that people bring, their labels, and pictures like another."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.errors import NotFound
from inspector.part import ImageKind
from inspector.records.entries import StoredImage
from inspector.records.image_sets import ImageSet, SetPicture
from inspector.records.labels import label_name
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.desk import Desk, in_thread
from inspector.web.pictures import answer_picture

LIKE_AT_MOST = 200


class SetOut(BaseModel):
    """A set of pictures."""

    name: str
    made_by: str
    made: datetime
    pictures: int
    labelled: int


class NewSet(BaseModel):
    """A set to be made."""

    name: str = Field(max_length=200)


class Said(BaseModel):
    """What somebody says of a picture now."""

    author: str
    label: str


class PictureOut(BaseModel):
    """A picture of a set."""

    id: int
    file_name: str
    sha256: str
    part_id: str
    lot: str
    width_px: int
    height_px: int
    added_by: str
    added: datetime
    said: list[Said]
    outcome: str


class NewLabel(BaseModel):
    """What a picture is labelled: good, unsure, withdrawn or a defect class."""

    label: str = Field(max_length=200)
    note: str = Field(default="", max_length=4096)


class LikeOut(BaseModel):
    """A picture like the one asked about, of a set (`set_picture`) or of an inspection (`sequence`, `place`)."""

    likeness: float
    set_picture: int | None = None
    sequence: int | None = None
    place: int | None = None


def router(desk: Desk) -> APIRouter:
    """Routes about sets of pictures."""
    routes = APIRouter(prefix="/image-sets", tags=["data sets"])
    sets = desk.work.sets

    @routes.get("")
    async def list_sets(user: User = needs(Role.VIEWER)) -> list[SetOut]:
        """All sets, by name."""
        return [_set_out(one) for one in await in_thread(sets.list)]

    @routes.post("", status_code=201)
    async def make_set(wanted: NewSet, user: User = needs(Role.ENGINEER)) -> SetOut:
        """A new set, or the one of that name."""

        def make() -> ImageSet:
            made = sets.make(wanted.name, user.name, desk.clock())
            desk.audit(user, "made image set", made.name)
            return made

        return _set_out(await in_thread(make))

    @routes.get("/{name}/pictures")
    async def list_pictures(
        name: str, after: int = 0, limit: int = Query(60, ge=1, le=500), user: User = needs(Role.VIEWER)
    ) -> list[PictureOut]:
        """Pictures of a set behind picture `after`, in the order that they came."""
        await in_thread(sets.get, name)
        return [picture_out(one) for one in await in_thread(sets.page, name, after, limit)]

    @routes.post("/pictures/{number}/labels", status_code=201)
    async def label_picture(number: int, wanted: NewLabel, user: User = needs(Role.OPERATOR)) -> PictureOut:
        """Say what a picture shows; nothing is overwritten."""

        def label() -> SetPicture:
            what = label_name(wanted.label)
            labelled = sets.label(number, what, user.name, desk.clock(), wanted.note)
            desk.audit(user, "labelled picture", f"{labelled.set_name}/{number}", {"label": what})
            return labelled

        return picture_out(await in_thread(label))

    @routes.get("/pictures/{number}/{form}", response_class=Response)
    async def picture(
        request: Request,
        number: int,
        form: Literal["original", "view", "thumbnail"],
        user: User = needs(Role.VIEWER),
    ) -> Response:
        """One picture: `original` as it was sent, `view` for any browser, `thumbnail` small."""
        found = await in_thread(sets.picture, number)
        image = StoredImage(ImageKind.FRAME, found.sha256, found.media_type, 0)
        return await answer_picture(desk, request, image, form, f"picture-{number}")

    @routes.get("/like/{picture_id}")
    async def like(
        picture_id: int, limit: int = Query(60, ge=1, le=LIKE_AT_MOST), user: User = needs(Role.VIEWER)
    ) -> list[LikeOut]:
        """Pictures like one of the database (its id, as lists of pictures have it), the most alike first."""
        return await in_thread(_like, desk, picture_id, limit)

    return routes


def _like(desk: Desk, picture_id: int, limit: int) -> list[LikeOut]:
    work = desk.work
    vector = work.descriptors.vector(picture_id)
    if vector is None:
        raise NotFound(f"picture {picture_id} is not described yet: a worker does so, or ask again later")
    alike = work.descriptors.nearest(vector, limit)
    ids = [one.picture_id for one in alike]
    sets = {one.picture_id: one for one in work.sets.of_pictures(ids)}
    frames = {one.picture_id: one for one in work.browsing.of_pictures(ids)}
    found = []
    for one in alike:
        if (frame := frames.get(one.picture_id)) is not None:
            found.append(LikeOut(likeness=one.likeness, sequence=frame.sequence, place=frame.place))
        elif (brought := sets.get(one.picture_id)) is not None:
            found.append(LikeOut(likeness=one.likeness, set_picture=brought.id))
    return found


def _set_out(one: ImageSet) -> SetOut:
    return SetOut(name=one.name, made_by=one.made_by, made=one.made, pictures=one.pictures, labelled=one.labelled)


def picture_out(one: SetPicture) -> PictureOut:
    """A picture as the API shows it."""
    return PictureOut(
        id=one.id,
        file_name=one.file_name,
        sha256=one.sha256,
        part_id=one.part_id,
        lot=one.lot,
        width_px=one.width_px,
        height_px=one.height_px,
        added_by=one.added_by,
        added=one.added,
        said=[Said(author=label.author, label=label.what) for label in one.current],
        outcome=one.outcome.value,
    )
