"""The class book: what people mean by each defect class, in words and example pictures, with a colour and a key.

Classes are in use as soon as a label names them; the book says what they mean. A class that is in use and not in the book
gets a colour and a free key of its own, so that a new plant can label before anybody has written a definition.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from inspector.errors import EditConflict, LabelInvalid, NotFound
from inspector.records import schema
from inspector.records.codec import to_microseconds
from inspector.records.database import Database
from inspector.records.labels import WORDS, label_name
from inspector.records.text import DETAIL_LENGTH, clean

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#999999")
"""Colours that people with any colour vision tell apart (Okabe and Ito, 2008), for classes without one of their own."""
HOT_KEYS = range(1, 10)
MAX_EXAMPLES = 24
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_book, _examples = schema.class_book, schema.class_examples


@dataclass(frozen=True, slots=True)
class Example:
    """A picture of an inspection that shows what is meant."""

    line: str
    sequence: int
    sha256: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """What is meant by a class. `version` counts the changes; 0 for one that is in use and not in the book."""

    name: str
    definition: str = ""
    colour: str = ""
    hot_key: int | None = None
    examples: tuple[Example, ...] = ()
    version: int = 0


def class_book(database: Database, used: Iterable[str] = ()) -> list[ClassEntry]:
    """Every class of the book, by key and name, and behind them those in use without an entry."""
    with database.reading() as connection:
        return completed(_entries(connection), used)


def completed(entries: Sequence[ClassEntry], used: Iterable[str]) -> list[ClassEntry]:
    """The book with the classes in use that it lacks, and with a colour and, as long as there are, a key for each."""
    known = {entry.name for entry in entries}
    book = sorted(entries, key=lambda entry: (entry.hot_key or 99, entry.name))
    keys = [key for key in HOT_KEYS if key not in {entry.hot_key for entry in entries}]
    book += [ClassEntry(name) for name in sorted(set(used) - known - WORDS)]
    taken = {entry.colour for entry in book if entry.colour}
    colours = [colour for colour in PALETTE if colour not in taken] + list(PALETTE)
    done = []
    for entry in book:
        if not entry.colour:
            entry = replace(entry, colour=colours.pop(0) if len(colours) > 1 else colours[0])
        if not entry.version and entry.hot_key is None and keys:
            entry = replace(entry, hot_key=keys.pop(0))
        done.append(entry)
    return done


def save_class(database: Database, entry: ClassEntry, by: str, now: datetime) -> ClassEntry:
    """Write a class into the book, as the next of the version that it was opened at; returns it with its new one.

    Raises EditConflict if it was changed since, LabelInvalid for what the book cannot hold, NotFound for an example that is
    not on record.
    """
    _check(entry)
    with database.writing() as connection:
        found = connection.execute(sa.select(_book).where(_book.c.name == entry.name).with_for_update()).one_or_none()
        if (0 if found is None else found.version) != entry.version:
            who = "" if found is None else f" by {found.changed_by}"
            raise EditConflict(f"class {entry.name!r} was changed{who} since you opened it: look at it and save again")
        if entry.hot_key is not None:
            query = sa.select(_book.c.name).where(_book.c.hot_key == entry.hot_key, _book.c.name != entry.name)
            if (other := connection.execute(query).scalar()) is not None:
                raise LabelInvalid(f"key {entry.hot_key} is that of class {other!r}: choose another key")
        saved = replace(entry, version=entry.version + 1)
        values = {
            "definition": clean(entry.definition, len(entry.definition)),
            "colour": entry.colour,
            "hot_key": entry.hot_key,
            "version": saved.version,
            "changed_us": to_microseconds(now),
            "changed_by": by,
        }
        if found is None:
            insert = sa.insert(_book).values(name=entry.name, **values).returning(_book.c.id)
            class_id = connection.execute(insert).scalar_one()
        else:
            class_id = found.id
            connection.execute(sa.update(_book).where(_book.c.id == class_id).values(values))
            connection.execute(sa.delete(_examples).where(_examples.c.class_id == class_id))
        rows = [_example_row(connection, class_id, n, example) for n, example in enumerate(entry.examples)]
        if rows:
            connection.execute(sa.insert(_examples), rows)
        return saved


def remove_class(database: Database, name: str, version: int) -> None:
    """Take a class out of the book; labels that name it stay as they are. Raises EditConflict, NotFound."""
    with database.writing() as connection:
        found = connection.execute(sa.select(_book).where(_book.c.name == name).with_for_update()).one_or_none()
        if found is None:
            raise NotFound(f"class {name!r} is not in the book")
        if found.version != version:
            raise EditConflict(
                f"class {name!r} was changed by {found.changed_by} since you opened it: look at it first"
            )
        connection.execute(sa.delete(_examples).where(_examples.c.class_id == found.id))
        connection.execute(sa.delete(_book).where(_book.c.id == found.id))


def _check(entry: ClassEntry) -> None:
    """Raise LabelInvalid for what the book cannot hold."""
    if label_name(entry.name) != entry.name or entry.name in WORDS:
        raise LabelInvalid(f"{entry.name!r} is no name of a class: good, unsure and withdrawn mean something else")
    if not _COLOUR.fullmatch(entry.colour):
        raise LabelInvalid(f"{entry.colour[:40]!r} is no colour: give it as #RRGGBB")
    if entry.hot_key is not None and entry.hot_key not in HOT_KEYS:
        raise LabelInvalid(f"key {entry.hot_key} is none of 1 to 9: choose one of them, or none")
    if len(entry.definition) > DETAIL_LENGTH or any(len(example.note) > DETAIL_LENGTH for example in entry.examples):
        raise LabelInvalid(f"a text of class {entry.name!r} has more than {DETAIL_LENGTH} characters: shorten it")
    if len(entry.examples) > MAX_EXAMPLES:
        raise LabelInvalid(
            f"{len(entry.examples)} examples are more than the {MAX_EXAMPLES} of a class: choose the best"
        )


def _example_row(connection: Connection, class_id: int, number: int, example: Example) -> dict[str, Any]:
    images, pictures, lines = schema.inspection_images, schema.pictures, schema.lines
    query = (
        sa.select(images.c.line_id, images.c.picture_id)
        .join(pictures, pictures.c.id == images.c.picture_id)
        .join(lines, lines.c.id == images.c.line_id)
        .where(lines.c.name == example.line, images.c.sequence == example.sequence)
        .where(pictures.c.sha256 == bytes.fromhex(_hash(example.sha256)), pictures.c.removed_us.is_(None))
        .with_for_update(of=pictures)
    )
    found = connection.execute(query).first()
    if found is None:
        raise NotFound(f"picture {example.sha256[:12]} of #{example.sequence} is not on record: choose another example")
    return {
        "class_id": class_id,
        "number": number,
        "line_id": found.line_id,
        "sequence": example.sequence,
        "picture_id": found.picture_id,
        "note": clean(example.note, len(example.note)) or None,
    }


def _hash(sha256: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise LabelInvalid(f"{sha256[:80]!a} is no picture: give its SHA-256, 64 hexadecimal digits")
    return sha256


def _entries(connection: Connection) -> list[ClassEntry]:
    query = (
        sa.select(_examples, schema.lines.c.name.label("line"), schema.pictures.c.sha256)
        .join(schema.lines, schema.lines.c.id == _examples.c.line_id)
        .join(schema.pictures, schema.pictures.c.id == _examples.c.picture_id)
        .order_by(_examples.c.class_id, _examples.c.number)
    )
    examples: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(query):
        examples[row.class_id].append(row)
    return [
        ClassEntry(
            row.name,
            row.definition,
            row.colour,
            row.hot_key,
            tuple(Example(e.line, e.sequence, bytes(e.sha256).hex(), e.note or "") for e in examples[row.id]),
            row.version,
        )
        for row in connection.execute(sa.select(_book))
    ]
