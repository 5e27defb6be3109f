"""A line whose parts are labelled in every way that there is, and an empty twin of it to import into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from toys import toy_png

from inspector.formats.registry import read_labels
from inspector.formats.sources import open_source
from inspector.imaging.raster import raster_of, raster_png
from inspector.labelling import Labelling
from inspector.part import Box, ImageKind, Inspection, Reason
from inspector.records.entries import Evidence, Settled
from inspector.records.images import ImageStore
from inspector.records.label_rows import LabelledFilter
from inspector.records.labels import Area, Label, Mask, Polygon
from inspector.records.store import Store

LINE = "l1"
START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
LATER = START + timedelta(days=1, microseconds=123457)
SIZE_PX = 32
PARTS = 12


@dataclass(frozen=True)
class Desk:
    """A quality database with the pictures of `PARTS` parts, and where their labels are given."""

    store: Store
    images: ImageStore

    @property
    def labelling(self) -> Labelling:
        return Labelling(self.store, self.images, LINE)

    def add(self, path: Path, name: str = "", author: str = "importer") -> int:
        """Import labels as `inspector import-labels` does."""
        with open_source(path) as (source, given):
            wanted = read_labels(source, given, author, name)
        return self.labelling.add(wanted, LATER, new_class=True)

    def labels(self) -> dict[int, tuple[Label, ...]]:
        """Everything that counts, by part."""
        found = self.store.labelled(LabelledFilter())
        return {labelled.stored.inspection.sequence: labelled.current for labelled in found}

    def mask(self, seed: int = 0) -> Mask:
        """A mask with a hole and two pieces."""
        marked = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
        marked[4:14, 5 + seed : 15] = True
        marked[7:9, 9:11] = False
        marked[20:22, 1:30] = True
        data = raster_png(raster_of(marked))
        return Mask(self.images.keep(data, "image/png"), len(data))


@contextmanager
def desk(folder: Path) -> Iterator[Desk]:
    """Parts 1 to PARTS with a picture each; part 12 has two, of two views."""
    store = Store(f"sqlite:///{folder / 'quality.db'}")
    folder.mkdir()
    store.upgrade()
    images = ImageStore(folder / "images")
    with closing(store):
        for number in range(1, PARTS + 1):
            store.apply(LINE, [Settled(_inspection(number))])
            seeds = (number, 100 + number) if number == PARTS else (number,)
            kept = tuple(images.put(toy_png(seed, SIZE_PX), ImageKind.FRAME, "image/png") for seed in seeds)
            store.apply(LINE, [Evidence(number, kept, START)])
        yield Desk(store, images)


def _inspection(number: int) -> Inspection:
    at = START + timedelta(seconds=number)
    return Inspection(
        line=LINE, station="s1", camera="c1", sequence=number, station_sequence=number, trigger=number,
        part_id=f"A-{number}", verdict=Reason.SCORE_ABOVE_LIMIT.verdict, reason=Reason.SCORE_ABOVE_LIMIT, detail="",
        score=0.9, limit=0.5, findings=(), recipe="toy", bundle="toy@0123456789ab", capture_time=None, receive_time=at,
        decide_time=at, latency_ms=1.0,
    )  # fmt: skip


def say_everything(here: Desk) -> None:
    """Labels of every kind: what people agree on, for parts 1 to 10 and 12; they disagree on part 11."""
    picture = {
        number: [image.sha256 for image in here.store.get(LINE, number).images] for number in range(1, PARTS + 1)
    }
    outline = Polygon(((1.1, 2.7), (9.3, 3.123456789012345), (17.0, 1 / 3), (4.0, 29.9)))
    of_picture = {
        2: ("good", (Area(Box(0, 0, 5, 5)), Area(outline))),
        3: ("dent", (Area(Box(3, 4, 7, 9), "dent"), Area(Box(20, 20, 12, 12), "dent"))),
        4: ("scratch", (Area(outline, "scratch"),)),
        5: ("dent", (Area(here.mask(), "dent"),)),
        6: ("dent", (Area(outline, "scratch"), Area(here.mask(1), "dent"), Area(Box(1, 1, 1, 1), "dent"), Area(here.mask(2)))),
        10: ('<img onerror=x>; "quoted", =1+1', (Area(Box(0, 0, 32, 32), '<img onerror=x>; "quoted", =1+1'),)),
    }  # fmt: skip
    labels = [
        Label(LINE, number, what, "anna", LATER, areas, f"note {number}", picture[number][0])
        for number, (what, areas) in of_picture.items()
    ]
    labels += [
        Label(LINE, 1, "good", "anna", LATER),
        Label(LINE, 7, "scratch", "ben", LATER, note="=2+2\n'quoted', twice;"),
        Label(LINE, 8, "unsure", "ben", LATER),
        Label(LINE, 9, "good", "anna", LATER, image=picture[9][0], is_repeat=True),
        Label(LINE, 11, "good", "anna", LATER),
        Label(LINE, 11, "dent", "ben", LATER),
        Label(LINE, 12, "dent", "ben", LATER, (Area(Box(2, 2, 3, 3), "dent"),), image=picture[12][1]),
    ]
    here.store.add_labels(labels)
