"""The tiles of large pictures as images to learn from: any kind of model is handed them as if they were pictures.

All of them are of the part that their picture shows. Of good parts some are drawn evenly, as many of each picture; of defective
parts those that show a good share of what is marked, under the class that they show. What nobody marked teaches nothing: in a
large picture most tiles of a defective part are good ones.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DataError
from inspector.inference.manifest import MAX_TILES, TILE_GRID_PX, TilingSpec
from inspector.inference.tiling import Tiles, starts
from inspector.part import Box
from training.data.samples import GOOD
from training.data.training_set import LabelledImages
from training.progress import Progress, silent, track

MIN_TILE_PX, MAX_TILE_PX = 64, 2048
MOST_PIXELS = 600_000_000
"""Of good tiles, and of marked ones: 2,300 tiles of 512 px. More of them took time and taught a bounded memory nothing."""
HELD_BYTES = 256 << 20
"""Of pictures and masks that are kept between two tiles of them."""
_FULL_SHARE = 0.25
"""A tile shows the defect if this share of what the fullest tile of its picture shows is in it."""


def check_tiling(width_px: int, height_px: int, tiling: TilingSpec) -> None:
    """Raise DataError for a picture that cannot be cut so."""
    sizes = ((width_px, tiling.width_px), (height_px, tiling.height_px))
    grid = TILE_GRID_PX
    if any(value % grid for pair in sizes for value in (*pair, tiling.overlap_px)) or not tiling.overlap_px >= 0:
        nearest = [
            max(grid, round(value / grid) * grid) for value in (width_px, height_px, tiling.width_px, tiling.height_px)
        ]
        raise DataError(
            f"a picture of {width_px} × {height_px} px cannot be judged by tiles of {tiling.width_px} × {tiling.height_px} px "
            f"that share {tiling.overlap_px} px: all must be multiples of {grid}, such as --size {nearest[0]}x{nearest[1]} "
            f"--tile {nearest[2]}x{nearest[3]}"
        )
    for side_px, tile_px in sizes:
        if not MIN_TILE_PX <= tile_px <= min(side_px, MAX_TILE_PX):
            raise DataError(
                f"tiles of {tiling.width_px} × {tiling.height_px} px cannot cut a picture of {width_px} × {height_px} px: give "
                f"sides from {MIN_TILE_PX} to {MAX_TILE_PX} that are no longer than the picture's"
            )
        if 2 * tiling.overlap_px > tile_px:
            raise DataError(
                f"tiles of {tile_px} px that share {tiling.overlap_px} px share more than half: give a smaller --overlap"
            )
    count = math.prod(len(starts(side_px, tile_px, tiling.overlap_px)) for side_px, tile_px in sizes)
    if count > MAX_TILES:
        raise DataError(f"these are {count} tiles, the most are {MAX_TILES}: give a larger --tile or a smaller --size")


_MASK = "mask of "
"""Before a class in the keys of what is held, where pictures have other names."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One tile to learn from: the number of its picture in the set, of the tile in it, and the classes that it shows."""

    picture: int
    tile: int
    labels: tuple[str, ...]


class _Held:
    """Arrays made of pictures, the latest ones, within `HELD_BYTES`."""

    def __init__(self) -> None:
        self._arrays: OrderedDict[tuple[str, int], NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, int]) -> NDArray[np.uint8] | None:
        if key in self._arrays:
            self._arrays.move_to_end(key)
        return self._arrays.get(key)

    def made(self, key: tuple[str, int], make: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """What is held under the key, made and held if it is not."""
        array = self.get(key)
        if array is None:
            array = make()
            self.put(key, array)
        return array

    def put(self, key: tuple[str, int], array: NDArray[np.uint8]) -> None:
        before = self._arrays.pop(key, None)
        self._bytes -= 0 if before is None else before.nbytes
        self._arrays[key] = array
        self._bytes += array.nbytes
        while self._bytes > HELD_BYTES and len(self._arrays) > 1:
            self._bytes -= self._arrays.popitem(last=False)[1].nbytes


class LabelledTiles(LabelledImages):
    """Tiles of the pictures of a set; sizes and areas are those of a tile, read when they are asked for."""

    pictures: LabelledImages
    lessons: tuple[Lesson, ...]
    _cutter: Tiles
    _held: _Held

    def __init__(self, pictures: LabelledImages, lessons: Sequence[Lesson], held: _Held | None = None) -> None:
        cutter = pictures.tiles
        assert cutter is not None  # as `tiles_to_fit` sees to
        entries = []
        for lesson in lessons:
            entry = pictures.entries[lesson.picture]
            entries.append(replace(entry, label=lesson.labels[0]))
        size = replace(
            pictures.preparation, width_px=cutter.tile_width_px, height_px=cutter.tile_height_px, tiling=None
        )
        super().__init__(pictures.dataset, tuple(entries), size)
        # The dataclass is frozen; these are set once, here.
        for name, value in (("pictures", pictures), ("lessons", tuple(lessons)), ("_cutter", cutter)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_held", held or _Held())

    def only(self, images: Sequence[int]) -> LabelledTiles:
        return LabelledTiles(self.pictures, [self.lessons[image] for image in images], self._held)

    def of_pictures(self, pictures: Sequence[int]) -> list[int]:
        """Numbers of the tiles of these pictures."""
        wanted = set(pictures)
        return [number for number, lesson in enumerate(self.lessons) if lesson.picture in wanted]

    def pixels(self, image: int) -> NDArray[np.uint8]:
        """uint8 (height, width, channels) of the tile, as the model is shown it. Raises DataError."""
        lesson = self.lessons[image]
        picture = self._held.made(("pixels", lesson.picture), lambda: self.pictures.pixels(lesson.picture))
        return self._cutter.cut(picture, lesson.tile)

    def labels(self, image: int) -> tuple[str, ...]:
        return self.lessons[image].labels

    def mask(self, image: int) -> NDArray[np.uint8] | None:
        by_class = self.class_masks(image)
        if not by_class:
            return np.zeros((self._cutter.tile_height_px, self._cutter.tile_width_px), np.uint8)
        return np.asarray(np.maximum.reduce(list(by_class.values())), np.uint8)

    def class_masks(self, image: int) -> dict[str, NDArray[np.uint8]] | None:
        """As `LabelledImages.class_masks`; tiles of defective parts always have some, of one class if nothing tells more."""
        if self.is_good(image):
            return {}
        lesson = self.lessons[image]
        window = _window(self._cutter.boxes[lesson.tile])
        masks = _marks(self.pictures, lesson.picture, self._held)
        return {label: mask[window] for label, mask in masks.items() if mask[window].any()}

    def ignored(self, image: int) -> NDArray[np.bool_] | None:
        lesson = self.lessons[image]
        area = _ignored(self.pictures, lesson.picture, self._held)
        return None if area is None else area[_window(self._cutter.boxes[lesson.tile])]

    def filled(self, image: int) -> NDArray[np.uint8]:
        """As `LabelledImages.filled`, cut from the picture: filled as it is when it is scored."""
        area, lesson = self.ignored(image), self.lessons[image]
        if area is None or not area.any():
            return self.pixels(image)
        whole = self._held.made(("filled", lesson.picture), lambda: self.pictures.filled(lesson.picture))
        return self._cutter.cut(whole, lesson.tile)


def tiles_to_fit(pictures: LabelledImages, seed: int, progress: Progress = silent) -> LabelledTiles:
    """The tiles that teach, in seeded choice, those of one picture in a row. Raises DataError for masks that do not fit."""
    cutter, held = pictures.tiles, _Held()
    assert cutter is not None
    random = np.random.default_rng((seed, 4))
    most = max(1, MOST_PIXELS // (cutter.tile_width_px * cutter.tile_height_px))
    good = sum(pictures.is_good(picture) for picture in range(len(pictures)))
    share = -(-most // max(good, 1))
    lessons: list[Lesson] = []
    marked: list[Lesson] = []
    for picture in track(range(len(pictures)), "Choosing tiles", progress):
        area = _ignored(pictures, picture, held)
        if pictures.is_good(picture):
            order = random.permutation(len(cutter.boxes)).tolist()
            nothing = None if area is None else area | ~_region(pictures, area)
            counting = [tile for tile in order if nothing is None or not nothing[_window(cutter.boxes[tile])].all()]
            lessons += [Lesson(picture, tile, (GOOD,)) for tile in sorted(counting[:share])]
        else:
            masks = _marks(pictures, picture, held)
            if area is not None:
                masks = {label: mask * ~area for label, mask in masks.items()}
            marked += _marked(cutter, picture, masks)
    kept = sorted(random.permutation(len(marked))[:most].tolist())
    return LabelledTiles(pictures, sorted([*lessons, *(marked[place] for place in kept)], key=_place), held)


def _ignored(pictures: LabelledImages, picture: int, held: _Held) -> NDArray[np.bool_] | None:
    """Where the picture does not count, None for nowhere."""

    def drawn() -> NDArray[np.uint8]:
        found = pictures.ignored(picture)
        return np.zeros((0, 0), np.uint8) if found is None else found.astype(np.uint8)

    area = held.made(("ignored", picture), drawn)
    return area.astype(np.bool_) if area.size else None


def _region(pictures: LabelledImages, like: NDArray[np.bool_]) -> NDArray[np.bool_]:
    region = pictures.region_of_interest
    return np.ones_like(like) if region is None else region


def _marked(cutter: Tiles, picture: int, masks: dict[str, NDArray[np.uint8]]) -> list[Lesson]:
    """Tiles that show a good share of what is marked and counts, with their classes, the largest area first."""
    areas = {label: [int((mask[_window(box)] >= 128).sum()) for box in cutter.boxes] for label, mask in masks.items()}
    if not areas:
        return []
    total = np.sum(list(areas.values()), axis=0)
    if not total.any():
        return []
    found = []
    for tile in np.flatnonzero(total >= max(1, _FULL_SHARE * total.max())).tolist():
        shown = [label for label in areas if areas[label][tile]]
        found.append(Lesson(picture, tile, tuple(sorted(shown, key=lambda label: -areas[label][tile]))))
    return found


def _marks(pictures: LabelledImages, picture: int, held: _Held) -> dict[str, NDArray[np.uint8]]:
    """What is marked on a defective picture by class, all of it as the main class if nothing tells them apart; or nothing.

    Only within the region of interest: tiles are painted over outside.
    """
    labels = pictures.labels(picture)
    known = {label: held.get((_MASK + label, picture)) for label in labels}
    if all(mask is not None for mask in known.values()):
        return {label: mask for label, mask in known.items() if mask is not None and mask.size}
    masks = pictures.class_masks(picture)
    if masks is None:
        mask = pictures.mask(picture)
        masks = {} if mask is None else {labels[0]: mask}
    if pictures.region_of_interest is not None:
        masks = {label: mask * pictures.region_of_interest for label, mask in masks.items()}
    for label in labels:
        held.put((_MASK + label, picture), masks.get(label, np.zeros((0, 0), np.uint8)))
    return masks


def _place(lesson: Lesson) -> tuple[int, int]:
    return lesson.picture, lesson.tile


def _window(box: Box) -> tuple[slice, slice]:
    return slice(box.y_px, box.y_px + box.height_px), slice(box.x_px, box.x_px + box.width_px)
