"""Pictures that people bring, in named sets of a line, and what people say of them.

A picture is in a set once, by content. Labels are only ever added, as those of inspections are, and the newest of each author
counts. Retention keeps every picture of a set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from inspector.errors import LabelInvalid, NotFound
from inspector.records import schema
from inspector.records.applying import chunks, insert_for, insert_new
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.labels import WORDS, Label, Outcome, agreed_of, check_label, newest, outcome_of
from inspector.records.set_tables import image_sets, set_labels, set_pictures
from inspector.records.text import DETAIL_LENGTH, clean

MAX_SET_NAME = 64
MAX_PAGE = 500
_PAGE = 500


@dataclass(frozen=True, slots=True)
class ImageSet:
    """A set and how much is in it."""

    id: int
    name: str
    made_by: str
    made: datetime
    pictures: int
    labelled: int


@dataclass(frozen=True, slots=True)
class NewPicture:
    """A picture that is in the image store, to be put in a set; without `label` it is not labelled."""

    sha256: str
    media_type: str
    size_bytes: int
    width_px: int
    height_px: int
    file_name: str
    part_id: str = ""
    lot: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class SetPicture:
    """A picture of a set with all that was said of it, oldest first. `id` is its own, `picture_id` that of its content."""

    id: int
    picture_id: int
    set_name: str
    sha256: str
    media_type: str
    file_name: str
    part_id: str
    lot: str
    width_px: int
    height_px: int
    added_by: str
    added: datetime
    history: tuple[Label, ...]

    @property
    def current(self) -> tuple[Label, ...]:
        """The newest label of each author, oldest first; who withdrew has none."""
        return newest(self.history)

    @property
    def outcome(self) -> Outcome:
        """Who is unsure does not outvote who is sure."""
        return outcome_of(self.current)

    @property
    def agreed(self) -> Label | None:
        """The label that counts where authors agree."""
        return agreed_of(self.current)


@dataclass(frozen=True, slots=True)
class Added:
    """How many pictures came in, and how many were there already."""

    added: int
    already: int


@dataclass(frozen=True, slots=True)
class SetFilter:
    """Which pictures of a set to show; empty fields leave everything in. `begins` is how file name, part id or lot begin."""

    label: str = ""
    reviewer: str = ""
    begins: str = ""
    labelled: bool | None = None

    def lets_through(self, one: SetPicture) -> bool:
        """By what is said of it now."""
        if self.label or self.reviewer:
            return any(
                (not self.label or said.what == self.label) and (not self.reviewer or said.author == self.reviewer)
                for said in one.current
            )
        return self.labelled is None or self.labelled == bool(one.current)


class ImageSets:
    """The sets of one line. Thread-safe. Every method raises what `Database` raises."""

    def __init__(self, database: Database, line: str) -> None:
        self._database = database
        self._line = clean(line)

    def make(self, name: str, by: str, now: datetime) -> ImageSet:
        """A new set, or the one of that name. LabelInvalid for a name that could not be shown or typed."""
        wanted = name.strip()
        if not wanted or len(wanted) > MAX_SET_NAME or not wanted.isprintable() or set(wanted) & set("/\\|"):
            raise LabelInvalid(
                f"{name[:80]!a} cannot name a set of pictures: give 1 to {MAX_SET_NAME} characters without slashes, bars "
                "and controls"
            )
        with self._database.writing() as connection:
            insert_new(connection, schema.lines, [{"name": self._line}])
            line_id = connection.execute(
                sa.select(schema.lines.c.id).where(schema.lines.c.name == self._line)
            ).scalar_one()
            row = {"line_id": line_id, "name": wanted, "made_by": clean(by), "made_us": to_microseconds(now)}
            insert_new(connection, image_sets, [row])
        return self.get(wanted)

    def get(self, name: str) -> ImageSet:
        """One set. NotFound."""
        found = [one for one in self.list() if one.name == name]
        if not found:
            raise NotFound(f"line {self._line} has no set of pictures named {name[:80]!a}: make it first")
        return found[0]

    def list(self) -> Sequence[ImageSet]:
        """All sets, by name."""
        labelled = sa.select(set_labels.c.set_picture_id).distinct().subquery()
        query = (
            sa.select(
                image_sets,
                sa.func.count(set_pictures.c.id).label("pictures"),
                sa.func.count(labelled.c.set_picture_id).label("labelled"),
            )
            .join(schema.lines, schema.lines.c.id == image_sets.c.line_id)
            .outerjoin(set_pictures, set_pictures.c.set_id == image_sets.c.id)
            .outerjoin(labelled, labelled.c.set_picture_id == set_pictures.c.id)
            .where(schema.lines.c.name == self._line)
            .group_by(*image_sets.c)
            .order_by(image_sets.c.name)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [
            ImageSet(row.id, row.name, row.made_by, from_microseconds(row.made_us), row.pictures, row.labelled)
            for row in rows
        ]

    def add(self, name: str, pictures: Sequence[NewPicture], by: str, now: datetime) -> Added:
        """Put pictures in a set, all or none, with the labels that they come with. NotFound, LabelInvalid."""
        set_id = self.get(name).id
        labels = [
            Label("", 0, one.label, by, now) if one.label else None
            for one in {picture.sha256: picture for picture in pictures}.values()
        ]
        for label in labels:
            if label is not None:
                check_label(label)
        distinct = list({picture.sha256: picture for picture in pictures}.values())
        with self._database.writing() as connection:
            ids = _picture_ids(connection, distinct, now)
            before = self._known(connection, set_id, list(ids.values()))
            rows = [_row(set_id, ids[one.sha256], one, by, now) for one in distinct if ids[one.sha256] not in before]
            if rows:
                insert_new(connection, set_pictures, rows)
            places = self._known(connection, set_id, list(ids.values()))
            histories = _histories(connection, list(places.values()))
            for one, label in zip(distinct, labels, strict=True):
                if label is not None:
                    _say(connection, places[ids[one.sha256]], label, histories)
        return Added(len(rows), len(distinct) - len(rows))

    def label(self, picture: int, what: str, by: str, now: datetime, note: str = "") -> SetPicture:
        """Note what somebody says of a picture; nothing is overwritten. NotFound, LabelInvalid."""
        label = Label("", picture, what, by, now, note=note)
        check_label(label)
        self.picture(picture)
        with self._database.writing() as connection:
            _say(connection, picture, label, _histories(connection, [picture]))
        return self.picture(picture)

    def picture(self, number: int) -> SetPicture:
        """One picture. NotFound."""
        with self._database.reading() as connection:
            query = self._pictures().where(set_pictures.c.id == number)
            found = _complete(connection, connection.execute(query).all())
        if not found:
            raise NotFound(f"line {self._line} has no picture {number} in its sets: look at the list of the set")
        return found[0]

    def look(
        self, name: str, where: SetFilter, after: int = 0, limit: int = 60
    ) -> tuple[Sequence[SetPicture], int | None]:
        """Pictures of a set behind picture `after` that a filter lets through, and where the next page begins, if any."""
        found: list[SetPicture] = []
        while page := self.page(name, after, _PAGE, where.begins):
            for one in page:
                if not where.lets_through(one):
                    continue
                if len(found) == limit:
                    return found, found[-1].id
                found.append(one)
            after = page[-1].id
        return found, None

    def page(self, name: str, after: int = 0, limit: int = 60, begins: str = "") -> Sequence[SetPicture]:
        """Pictures of a set behind picture `after`, in the order that they came."""
        query = self._pictures().where(image_sets.c.name == name, set_pictures.c.id > after)
        if begins:
            columns = (set_pictures.c.file_name, set_pictures.c.part_id, set_pictures.c.lot)
            query = query.where(sa.or_(*(column.startswith(begins, autoescape=True) for column in columns)))
        query = query.order_by(set_pictures.c.id).limit(min(limit, MAX_PAGE))
        with self._database.reading() as connection:
            return _complete(connection, connection.execute(query).all())

    def of_pictures(self, picture_ids: Sequence[int]) -> Sequence[SetPicture]:
        """Everything in sets that shows pictures of these ids."""
        found: list[SetPicture] = []
        with self._database.reading() as connection:
            for chunk in chunks(list(picture_ids)):
                query = self._pictures().where(set_pictures.c.picture_id.in_(chunk)).order_by(set_pictures.c.id)
                found += _complete(connection, connection.execute(query).all())
        return found

    def all_of(self, name: str) -> Iterator[SetPicture]:
        """Every picture of a set. NotFound."""
        self.get(name)
        after = 0
        while page := self.page(name, after, _PAGE):
            yield from page
            after = page[-1].id

    def classes(self) -> frozenset[str]:
        """Every defect class that somebody has ever named of a picture in a set."""
        with self._database.reading() as connection:
            said = connection.execute(sa.select(set_labels.c.label).distinct()).scalars()
            return frozenset(said) - WORDS

    def reviewers(self, name: str) -> Sequence[str]:
        """Everybody who has labelled pictures of a set."""
        of_set = sa.select(set_pictures.c.id).join(image_sets).where(image_sets.c.name == name)
        query = sa.select(set_labels.c.author).where(set_labels.c.set_picture_id.in_(of_set)).distinct()
        with self._database.reading() as connection:
            return sorted(connection.execute(query).scalars())

    def _known(self, connection: Connection, set_id: int, picture_ids: Sequence[int]) -> dict[int, int]:
        """The place in the set of each picture that it has."""
        found: dict[int, int] = {}
        for chunk in chunks(picture_ids):
            mine = (set_pictures.c.set_id == set_id, set_pictures.c.picture_id.in_(chunk))
            query = sa.select(set_pictures.c.picture_id, set_pictures.c.id).where(*mine)
            found.update({row.picture_id: row.id for row in connection.execute(query)})
        return found

    def _pictures(self) -> sa.Select[Any]:
        return (
            sa.select(
                set_pictures,
                image_sets.c.name.label("set_name"),
                schema.pictures.c.sha256,
                schema.pictures.c.media_type,
            )
            .join(image_sets, image_sets.c.id == set_pictures.c.set_id)
            .join(schema.lines, schema.lines.c.id == image_sets.c.line_id)
            .join(schema.pictures, schema.pictures.c.id == set_pictures.c.picture_id)
            .where(schema.lines.c.name == self._line)
        )


def _row(set_id: int, picture_id: int, one: NewPicture, by: str, now: datetime) -> dict[str, Any]:
    return {
        "set_id": set_id,
        "picture_id": picture_id,
        "file_name": clean(one.file_name),
        "part_id": clean(one.part_id),
        "lot": clean(one.lot),
        "width_px": one.width_px,
        "height_px": one.height_px,
        "added_by": clean(by),
        "added_us": to_microseconds(now),
    }


def _picture_ids(connection: Connection, pictures: Sequence[NewPicture], now: datetime) -> dict[str, int]:
    """Ids of the contents, which from here on are on record as there."""
    table = schema.pictures
    stored_us = to_microseconds(now)
    for one in sorted(
        pictures, key=lambda picture: picture.sha256
    ):  # in one order, so that two do not wait for each other
        values = {
            "sha256": bytes.fromhex(one.sha256),
            "media_type": one.media_type,
            "size_bytes": one.size_bytes,
            "stored_us": stored_us,
        }
        again = {"stored_us": stored_us, "removed_us": None, "removed_reason": None}
        insert = insert_for(connection, table).values(values)
        connection.execute(insert.on_conflict_do_update(index_elements=[table.c.sha256], set_=again))
    found: dict[str, int] = {}
    for chunk in chunks([bytes.fromhex(one.sha256) for one in pictures]):
        query = sa.select(table.c.sha256, table.c.id).where(table.c.sha256.in_(chunk))
        found.update({bytes(row.sha256).hex(): row.id for row in connection.execute(query)})
    return found


def _say(connection: Connection, picture: int, label: Label, histories: Mapping[int, Sequence[Label]]) -> None:
    said = [one for one in histories.get(picture, ()) if one.author == label.author]
    if said and said[-1].says_the_same(label):
        return
    values = {
        "set_picture_id": picture,
        "label": label.what,
        "author": label.author,
        "labelled_us": to_microseconds(label.time),
        "note": clean(label.note, DETAIL_LENGTH) or None,
    }
    connection.execute(sa.insert(set_labels).values(values))


def _histories(connection: Connection, pictures: Sequence[int]) -> Mapping[int, Sequence[Label]]:
    found: dict[int, list[Label]] = defaultdict(list)
    for chunk in chunks(pictures):
        query = sa.select(set_labels).where(set_labels.c.set_picture_id.in_(chunk))
        for row in connection.execute(query.order_by(set_labels.c.labelled_us, set_labels.c.id)):
            label = Label(
                "",
                row.set_picture_id,
                row.label,
                row.author,
                from_microseconds(row.labelled_us),
                note=row.note or "",
            )
            found[row.set_picture_id].append(label)
    return found


def _complete(connection: Connection, rows: Sequence[Row[Any]]) -> list[SetPicture]:
    histories = _histories(connection, [row.id for row in rows])
    return [
        SetPicture(
            id=row.id,
            picture_id=row.picture_id,
            set_name=row.set_name,
            sha256=bytes(row.sha256).hex(),
            media_type=row.media_type,
            file_name=row.file_name,
            part_id=row.part_id,
            lot=row.lot,
            width_px=row.width_px,
            height_px=row.height_px,
            added_by=row.added_by,
            added=from_microseconds(row.added_us),
            history=tuple(histories.get(row.id, ())),
        )
        for row in rows
    ]
