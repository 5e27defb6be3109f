"""What pictures are like, kept beside them, and held in memory for finding the nearest by one matrix product."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from inspector.part import ImageKind
from inspector.records import schema
from inspector.records.applying import chunks, insert_for
from inspector.records.database import Database
from inspector.records.schema import LATE_VIEW
from inspector.records.set_tables import picture_descriptors, set_pictures

_BLOCK = 1024
MOST_GROUPED = 50_000
"""Every picture is compared with every other: a billion pairs, a minute of two cores."""


@dataclass(frozen=True, slots=True)
class Undescribed:
    """A picture that nobody has looked at yet."""

    picture_id: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Alike:
    """A picture and how like the one asked for it is: 1 for the same."""

    picture_id: int
    likeness: float


class Descriptors:
    """The descriptions of one database, of one `version`. Thread-safe. Every method raises what `Database` raises."""

    def __init__(self, database: Database, version: int, length: int) -> None:
        self._database = database
        self._version = version
        self._length = length
        self._lock = threading.Lock()
        self._ids: NDArray[np.int64] = np.zeros(0, np.int64)
        self._vectors: NDArray[np.float32] = np.zeros((0, length), np.float32)

    def missing(self, limit: int) -> Sequence[Undescribed]:
        """Frames and pictures of sets that are there and have no description, the newest first."""
        pictures = schema.pictures
        images = schema.inspection_images
        of_lines = sa.exists().where(
            images.c.picture_id == pictures.c.id,
            images.c.kind == int(ImageKind.FRAME),
            images.c.number < LATE_VIEW,
        )
        of_sets = sa.exists().where(set_pictures.c.picture_id == pictures.c.id)
        described = sa.exists().where(
            picture_descriptors.c.picture_id == pictures.c.id, picture_descriptors.c.version == self._version
        )
        query = (
            sa.select(pictures.c.id, pictures.c.sha256)
            .where(pictures.c.removed_us.is_(None), ~described, of_lines | of_sets)
            .order_by(pictures.c.id.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [Undescribed(row.id, bytes(row.sha256).hex()) for row in connection.execute(query)]

    def add(self, described: Sequence[tuple[int, NDArray[np.float16]]]) -> None:
        """Keep descriptions: float16 (length,) by picture id. A zero vector says that the picture cannot be described."""
        with self._database.writing() as connection:
            for picture_id, vector in described:
                values = {"version": self._version, "vector": np.asarray(vector, "<f2").tobytes()}
                insert = insert_for(connection, picture_descriptors).values(picture_id=picture_id, **values)
                same = [picture_descriptors.c.picture_id]
                connection.execute(insert.on_conflict_do_update(index_elements=same, set_=values))

    def load(self) -> None:
        """Read all that is described, which the first search would otherwise wait for: a second for 20,000 pictures."""
        self._all()

    def count(self) -> int:
        """How many pictures are described."""
        query = sa.select(sa.func.count()).where(picture_descriptors.c.version == self._version)
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def vector(self, picture_id: int) -> NDArray[np.float32] | None:
        """The description of a picture, None if it has none yet."""
        ids, vectors = self._all()
        place = int(np.searchsorted(ids, picture_id))
        return vectors[place] if place < len(ids) and ids[place] == picture_id else None

    def nearest(self, vector: NDArray[np.float32], limit: int, within: Sequence[int] | None = None) -> Sequence[Alike]:
        """The pictures most like a description, the most alike first; of `within` alone, if it is given."""
        ids, vectors = self._all()
        likeness = vectors @ np.asarray(vector, np.float32)
        if within is not None:
            likeness = np.where(np.isin(ids, np.asarray(within, np.int64)), likeness, -np.inf)
        count = min(limit, len(ids))
        if not count:
            return []
        places = np.argpartition(-likeness, count - 1)[:count]
        places = places[np.lexsort((ids[places], -likeness[places]))]
        return [Alike(int(ids[i]), float(likeness[i])) for i in places if np.isfinite(likeness[i])]

    def groups(self, least: float, within: Sequence[int] | None = None) -> Sequence[Sequence[int]]:
        """Picture ids in groups whose members are at least so like another of their group; groups of one are left out.

        Of more than `MOST_GROUPED` pictures the newest are looked at.
        """
        ids, vectors = self._all()
        if within is not None:
            chosen = np.isin(ids, np.asarray(within, np.int64))
            ids, vectors = ids[chosen], vectors[chosen]
        useful = np.linalg.norm(vectors, axis=1) > 0.5
        ids, vectors = ids[useful][-MOST_GROUPED:], vectors[useful][-MOST_GROUPED:]
        group = np.arange(len(ids))
        for top in range(0, len(ids), _BLOCK):
            # Only those behind: a pair is looked at once.
            for left in range(top, len(ids), _BLOCK):
                alike = vectors[top : top + _BLOCK] @ vectors[left : left + _BLOCK].T >= least
                alike &= group[top : top + _BLOCK, None] != group[None, left : left + _BLOCK]
                rows, columns = np.nonzero(alike)
                _unite(group, rows + top, columns + left)
        order = np.argsort(group, kind="stable")
        starts = np.flatnonzero(np.diff(group[order])) + 1
        found = [ids[places].tolist() for places in np.split(order, starts) if len(places) > 1]
        return sorted(found, key=lambda group: (-len(group), group[0]))

    def _all(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """All ids in order and their vectors, float32 (n, length); what is new since the last time is read."""
        table = picture_descriptors
        with self._lock:
            with self._database.reading() as connection:
                query = sa.select(table.c.picture_id).where(table.c.version == self._version)
                ids = np.sort(np.fromiter(connection.execute(query).scalars(), np.int64))
                if np.array_equal(ids, self._ids):
                    return self._ids, self._vectors
                kept = np.isin(self._ids, ids)
                new = np.setdiff1d(ids, self._ids)
                rows: list[tuple[int, bytes]] = []
                for chunk in chunks(new.tolist()):
                    mine = sa.select(table.c.picture_id, table.c.vector).where(table.c.picture_id.in_(chunk))
                    rows += [(row.picture_id, bytes(row.vector)) for row in connection.execute(mine)]
            read = np.frombuffer(b"".join(vector for _, vector in rows), "<f2").reshape(-1, self._length)
            all_ids = np.concatenate([self._ids[kept], np.asarray([one for one, _ in rows], np.int64)])
            vectors = np.concatenate([self._vectors[kept], read.astype(np.float32)])
            order = np.argsort(all_ids)
            self._ids, self._vectors = all_ids[order], vectors[order]
            return self._ids, self._vectors


def _unite(group: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
    """Make the groups of each pair of members one. `group` has the least member of every member's group."""
    while True:
        ours, theirs = group[first], group[second]
        differ = ours != theirs
        if not differ.any():
            return
        first, second, ours, theirs = first[differ], second[differ], ours[differ], theirs[differ]
        np.minimum.at(group, np.maximum(ours, theirs), np.minimum(ours, theirs))
        while not np.array_equal(lower := group[group], group):
            group[:] = lower
