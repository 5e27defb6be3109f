"""/classes: the class book."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.records.class_book import ClassEntry, Example, remove_class, save_class
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.api.parts import PICTURES, ClassShown, class_shown, classes_shown
from inspector.web.desk import Desk, in_thread


class ExampleShown(BaseModel):
    """A picture that shows what is meant."""

    sequence: int
    image: str
    note: str
    thumbnail: str


class ClassOfBook(ClassShown):
    """A class with its examples; version 0 if it is in use and not in the book."""

    examples: list[ExampleShown]


class ExampleWanted(BaseModel):
    """A picture of an inspection, by its SHA-256."""

    sequence: int = Field(ge=0, lt=2**63)
    image: str = Field(max_length=64)
    note: str = Field("", max_length=4096)


class ClassWanted(BaseModel):
    """What a class is to be; `version` is that of the entry that was opened, 0 for a new one."""

    definition: str = Field("", max_length=4096)
    colour: str = Field(max_length=7)
    hot_key: int | None = None
    version: int = Field(0, ge=0)
    examples: list[ExampleWanted] = Field([], max_length=64)


def router(desk: Desk) -> APIRouter:
    """Routes of the class book."""
    routes = APIRouter(prefix="/classes", tags=["labels"])

    @routes.get("")
    async def read(user: User = needs(Role.VIEWER)) -> list[ClassOfBook]:
        """Every class of the book, by key, and behind them those that are in use without an entry."""
        return await in_thread(lambda: [_shown(desk, entry) for entry in classes_shown(desk)])

    @routes.put("/{name}")
    async def write(name: str, wanted: ClassWanted, user: User = needs(Role.ENGINEER)) -> ClassOfBook:
        """Write a class into the book. Refused with 409 if somebody changed it since `version`."""

        def work() -> ClassOfBook:
            examples = tuple(Example(desk.line, one.sequence, one.image, one.note) for one in wanted.examples)
            entry = ClassEntry(name, wanted.definition, wanted.colour, wanted.hot_key, examples, wanted.version)
            saved = save_class(desk.database, entry, user.name, desk.clock())
            details = wanted.model_dump(exclude={"examples"}) | {"examples": len(examples)}
            desk.audit(user, "wrote a defect class", name, details)
            return _shown(desk, saved)

        return await in_thread(work)

    @routes.delete("/{name}", status_code=204)
    async def remove(name: str, version: int, user: User = needs(Role.ENGINEER)) -> Response:
        """Take a class out of the book; labels that name it stay."""

        def work() -> None:
            remove_class(desk.database, name, version)
            desk.audit(user, "removed a defect class from the book", name)

        await in_thread(work)
        return Response(status_code=204)

    return routes


def _shown(desk: Desk, entry: ClassEntry) -> ClassOfBook:
    """Reads the database: for a thread."""
    examples = [
        ExampleShown(sequence=one.sequence, image=one.sha256, note=one.note, thumbnail=_thumbnail(desk, one))
        for one in entry.examples
    ]
    return ClassOfBook(**class_shown(entry).model_dump(), examples=examples)


def _thumbnail(desk: Desk, example: Example) -> str:
    """Where the example is shown; nowhere if it is of another line."""
    if example.line != desk.line:
        return ""
    images = desk.store.get(desk.line, example.sequence).images
    number = next((n for n, one in enumerate(images) if one.sha256 == example.sha256), -1)
    return f"{PICTURES}/{example.sequence}/{number}/thumbnail" if number >= 0 else ""
