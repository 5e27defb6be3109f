"""Any kind of model on large pictures: it learns from their tiles, and is asked for by picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inspector.errors import DataError
from training.data.samples import printable
from training.data.tiles import LabelledTiles, tiles_to_fit
from training.data.training_set import LabelledImages
from training.models.kind import Fitter, InspectionModel, LearnsFrom, ModelKind
from training.progress import Progress, silent


class TileFitter:
    """A `Fitter` of pictures by way of their tiles."""

    def __init__(self, fitter: Fitter, tiles: LabelledTiles) -> None:
        self._fitter, self._tiles = fitter, tiles

    def fit(self, images: Sequence[int], progress: Progress = silent) -> InspectionModel:
        """As `Fitter.fit`, `images` being numbers of pictures."""
        return self._fitter.fit(self._tiles.of_pictures(images), progress)


def begin(kind: ModelKind, taught: LabelledImages, settings: Any, progress: Progress) -> Fitter:
    """The kind at work on a set of pictures, or on tiles of them if they are judged by tiles.

    Raises DataError if the set cannot teach this kind; one that learns classes needs to know which tiles show them.
    """
    if taught.tiles is None:
        return kind.begin(taught, settings, progress)
    tiles = tiles_to_fit(taught, settings.seed, progress)
    if kind.learns_from is LearnsFrom.CLASSES:
        shown = {label for image in range(len(tiles)) for label in tiles.labels(image)}
        wanted = {label for picture in range(len(taught)) for label in taught.labels(picture)}
        if missing := sorted(wanted - shown):
            raise DataError(
                f"no picture to fit on has a mask that marks {printable(', '.join(missing))}: of a picture that is judged by "
                f"tiles, {kind.name} must be told which of them show the defect. Mark the defects, fit without --tile, or "
                "choose a kind that learns from good parts"
            )
    return TileFitter(kind.begin(tiles, settings, progress), tiles)
