"""How a bundle's engine is shown pictures of known truth of which not all counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inspector.inference.bundle import Bundle, GoldenImage
from inspector.inference.engine import Engine
from inspector.part import Box, Image, Scores
from training.data import marks
from training.data.dont_care import MOST_EXAMPLES, fillings, lowest
from training.data.samples import Dataset, Sample
from training.data.training_set import fitted_area
from training.successor import frame_input, preparation_of


def without_ignored(
    bundle: Bundle, dataset: Dataset, sample: Sample, pixels: NDArray[np.uint8], image: Image, region: Box
) -> list[NDArray[np.uint8]]:
    """Inputs of the bundle's model of one picture: as it might look where it does not count, filled from good golden images.

    The picture as it is comes last, alone if all of it counts. Empty for a defective picture of which nothing that is marked
    counts. Raises DataError for marks that do not fit the picture.
    """
    area = marks.ignored(dataset, sample, image.width_px, image.height_px)
    if area is None or not area.any():
        return [pixels]
    marked = marks.defects(dataset, sample, image.width_px, image.height_px)
    if not sample.is_good and marked is not None and marked.any() and not (marked & ~area).any():
        return []
    preparation = preparation_of(bundle)
    good = good_golden(bundle.manifest.golden)[:MOST_EXAMPLES]
    examples = [frame_input(bundle.read(golden.file), golden.media_type, preparation) for golden in good]
    return [*fillings(pixels, fitted_area(area, region, preparation) >= 128, examples), pixels]


def good_golden(golden: Sequence[GoldenImage]) -> list[GoldenImage]:
    """Those that show good parts, by the names that fit and extend give them; the bundle's own verdict may be wrong."""
    return [image for image in golden if image.file.startswith(("golden/good-", "golden/added-"))]


def judge_ways(engine: Engine, images: Sequence[list[NDArray[np.uint8]]]) -> list[Scores]:
    """The lowest scores of each image's ways to look."""
    if not images:
        return []
    results = engine.infer(np.stack([pixels for ways in images for pixels in ways]))
    places = lowest(np.array([result.score for result in results], np.float32), [len(ways) for ways in images])
    return [results[place] for place in places]
