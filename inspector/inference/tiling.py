"""A large picture judged by overlapping tiles of the graph's size, as one picture and in bounded memory.

    picture ─▶ tiles, cut as views ─▶ the graph, a few at a time ─▶ maps joined without seams, the highest score

The only place that says how tiles are cut and joined: fitting, calibration, evaluation, self-test and line all judge by it,
with torch or with a runner of graphs, so that a limit holds for exactly the score that it was set on.

- The picture's score is that of its worst tile. So are its class scores, class by class.
- Maps are weighted means where tiles overlap. A tile's weight falls to almost nothing towards an edge that it shares, because a
  network sees nothing beyond the edge and is least sure there; weights of neighbours add up to one.
- With a region of interest, what lies outside it is the even grey of the inside's mean to the network, for every kind of model
  alike; tiles without any of it are not looked at, and maps have their lowest value there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import BundleError, EngineError, Interrupted
from inspector.inference.contract import CLASS_MAPS, CLASS_SCORES, MAP, SCORE
from inspector.inference.manifest import TILE_GRID_PX, InputSpec
from inspector.part import Box

PIXELS_PER_RUN = 1 << 18
"""Tiles are run together up to this many pixels: 5 of 224 px, one of 512 px. Larger batches are no faster on a processor, take
memory in proportion, and let a part that is past its deadline hold the model for longer."""
MOST_PER_RUN = 8
_EDGE = 0.25
"""Share of an overlap, at the tile's edge, that has next to no weight; over as much at the other end it has all of it."""
_LEAST_WEIGHT = 1e-3
"""So that a cell which only one tile's rim covers, beside a region of interest, still has that tile's value."""

Outputs = Mapping[str, NDArray[np.float32]]
Run = Callable[[NDArray[np.uint8]], Outputs]
"""The graph: outputs by name, as `contract.OUTPUT_RANKS` says, of tiles uint8 (n, height, width, channels)."""


def starts(side_px: int, tile_px: int, overlap_px: int) -> tuple[int, ...]:
    """Where tiles begin along a side: spread evenly, neighbours sharing `overlap_px` or more, the last one at the end.

    All sizes are multiples of `TILE_GRID_PX`, and so is every start: the network's cells of two tiles then fall on each other.
    """
    steps, longest = (side_px - tile_px) // TILE_GRID_PX, (tile_px - overlap_px) // TILE_GRID_PX
    count = -(-steps // longest)
    return tuple(TILE_GRID_PX * (number * steps // count) if count else 0 for number in range(count + 1))


class Tiles:
    """Where a picture's tiles lie, and how a picture is judged by them. `region` is bool (height_px, width_px) or None."""

    def __init__(self, spec: InputSpec, region: NDArray[np.bool_] | None = None) -> None:
        """Raises ValueError for an input without tiling, or if the region has another size or nothing in it."""
        if spec.tiling is None:
            raise ValueError("the input is not tiled")
        tiling = spec.tiling
        self.width_px, self.height_px = spec.width_px, spec.height_px
        self.tile_width_px, self.tile_height_px = tiling.width_px, tiling.height_px
        self._lefts = starts(spec.width_px, tiling.width_px, tiling.overlap_px)
        self._tops = starts(spec.height_px, tiling.height_px, tiling.overlap_px)
        if region is not None and (region.shape != (spec.height_px, spec.width_px) or not region.any()):
            raise ValueError(
                f"the region of interest is {region.shape} or empty, expected {spec.height_px, spec.width_px}"
            )
        self._region = region
        boxes = [Box(x, y, tiling.width_px, tiling.height_px) for y in self._tops for x in self._lefts]
        self.boxes = tuple(box for box in boxes if region is None or region[_window(box)].any())
        self.per_run = max(1, min(MOST_PER_RUN, PIXELS_PER_RUN // (tiling.width_px * tiling.height_px)))

    def cut(self, picture: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """One tile of a picture uint8 (height_px, width_px, channels): a view, or a copy without what does not count."""
        window = _window(self.boxes[number])
        tile = picture[window]
        inside = None if self._region is None else self._region[window]
        if inside is None or inside.all():
            return tile
        even = tile[inside].mean(axis=0).round().astype(np.uint8)
        return np.where(inside[..., None], tile, even)

    def judge(self, picture: NDArray[np.uint8], run: Run, stop: Callable[[], bool] = lambda: False) -> Outputs:
        """The outputs of a picture uint8 (height_px, width_px, channels), as a graph of that size would give them for n = 1.

        `stop` is asked before every run; raises Interrupted once it says so. Raises EngineError for outputs that do not fit.
        """
        scores: list[NDArray[np.float32]] = []
        class_scores: list[NDArray[np.float32]] = []
        canvases: dict[str, _Canvas] = {}
        for first in range(0, len(self.boxes), self.per_run):
            if stop():
                raise Interrupted(f"stopped after {first} of {len(self.boxes)} tiles")
            numbers = range(first, min(first + self.per_run, len(self.boxes)))
            outputs = run(np.stack([self.cut(picture, number) for number in numbers]))
            scores.append(outputs[SCORE])
            if CLASS_SCORES in outputs:
                class_scores.append(outputs[CLASS_SCORES])
            for name in (MAP, CLASS_MAPS):
                if name in outputs:
                    self._put(canvases, name, outputs[name], numbers)
        # np.max keeps what is no number: a part with one such tile is not judged.
        whole = {SCORE: np.concatenate(scores).max(keepdims=True)}
        whole |= {name: canvas.joined(self._region) for name, canvas in canvases.items()}
        if class_scores:
            whole[CLASS_SCORES] = np.concatenate(class_scores).max(axis=0, keepdims=True)
        return whole

    def _put(self, canvases: dict[str, _Canvas], name: str, values: NDArray[np.float32], numbers: range) -> None:
        layers = values[:, None] if name == MAP else values
        if name not in canvases:
            canvases[name] = _Canvas(self, layers.shape[1:], is_map=name == MAP)
        for number, tile in zip(numbers, layers, strict=True):
            canvases[name].put(self.boxes[number], tile)

    def weights(self, box: Box, rows: int, columns: int) -> NDArray[np.float32]:
        """How much each cell of a tile counts in a map: float32 (rows, columns)."""
        down = _ramp(self._tops, box.y_px, self.tile_height_px, rows)
        across = _ramp(self._lefts, box.x_px, self.tile_width_px, columns)
        return np.asarray(np.outer(down, across), np.float32)


class _Canvas:
    """Maps of one kind of all tiles, added up with their weights: layers of (rows, columns) over the whole picture."""

    def __init__(self, tiles: Tiles, shape: tuple[int, ...], *, is_map: bool) -> None:
        self._tiles, self._shape, self._is_map = tiles, shape, is_map
        layers, rows, columns = shape
        self._cell = (tiles.tile_height_px / max(rows, 1), tiles.tile_width_px / max(columns, 1))
        size = (round(tiles.height_px / self._cell[0]), round(tiles.width_px / self._cell[1]))
        self._sum = np.zeros((layers, *size), np.float32)
        self._weight = np.zeros(size, np.float32)

    def put(self, box: Box, values: NDArray[np.float32]) -> None:
        """Add a tile's map, float32 (layers, rows, columns)."""
        if values.shape != self._shape or not values.size:
            raise EngineError(
                f"the model gave maps of {values.shape} and of {self._shape} for tiles of one size: export the bundle again"
            )
        weight = self._tiles.weights(box, *self._shape[1:])
        planes = [*(values * weight), weight]
        top, left = box.y_px / self._cell[0], box.x_px / self._cell[1]
        row, column = int(top), int(left)
        if row != top or column != left:
            # Cells of other sizes than the grid's do not fall on each other: this tile's are moved by part of a cell.
            shift = np.array([[1, 0, left - column], [0, 1, top - row]], np.float64)
            size = (self._shape[2] + 1, self._shape[1] + 1)
            planes = [np.asarray(cv2.warpAffine(plane, shift, size, flags=cv2.INTER_LINEAR)) for plane in planes]
        into = (slice(row, row + planes[-1].shape[0]), slice(column, column + planes[-1].shape[1]))
        room = self._weight[into].shape
        for layer, plane in zip(self._sum, planes[:-1], strict=True):
            layer[into] += plane[: room[0], : room[1]]
        self._weight[into] += planes[-1][: room[0], : room[1]]

    def joined(self, region: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """(1, rows, columns) of the map, (1, layers, rows, columns) of class maps."""
        covered = self._weight > 0
        if region is not None:
            size = (covered.shape[1], covered.shape[0])
            covered &= cv2.resize(region.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
        joined = np.asarray(self._sum / np.where(self._weight > 0, self._weight, 1), np.float32)
        if not covered.all():
            lowest = joined[:, covered].min() if self._is_map and covered.any() else 0.0
            joined[:, ~covered] = lowest
        return joined if self._is_map else joined[None]


def pack_region(region: NDArray[np.bool_]) -> bytes:
    """A region of interest as it stands in a bundle: a bit per pixel, row by row, the first in the highest bit."""
    return np.packbits(region).tobytes()


def unpack_region(data: bytes, width_px: int, height_px: int, source: str) -> NDArray[np.bool_]:
    """bool (height_px, width_px). Raises BundleError if the data is of another size or holds no region."""
    count = width_px * height_px
    if len(data) != -(-count // 8):
        raise BundleError(
            f"{source} has a region of interest of {len(data)} bytes, expected {-(-count // 8)} for {width_px} × "
            f"{height_px} px: export the bundle again"
        )
    region = np.unpackbits(np.frombuffer(data, np.uint8), count=count).reshape(height_px, width_px).astype(np.bool_)
    if not region.any():
        raise BundleError(
            f"{source} has an empty region of interest, so nothing could be judged: export the bundle again"
        )
    return region


def _window(box: Box) -> tuple[slice, slice]:
    return slice(box.y_px, box.y_px + box.height_px), slice(box.x_px, box.x_px + box.width_px)


def _ramp(begins: tuple[int, ...], start: int, tile_px: int, cells: int) -> NDArray[np.float64]:
    """Weights along one side of a tile: one, and falling towards each edge that a neighbour covers too."""
    shared = {later: earlier + tile_px - later for earlier, later in pairwise(begins)}
    after = next((overlap for later, overlap in shared.items() if later > start), 0)
    place = (np.arange(cells) + 0.5) * tile_px / cells
    weight = np.ones(cells)
    for overlap, distance in ((shared.get(start, 0), place), (after, tile_px - place)):
        if overlap:
            rising = (distance - _EDGE * overlap) / ((1 - 2 * _EDGE) * overlap)
            weight *= np.clip(rising, _LEAST_WEIGHT, 1)
    return weight
