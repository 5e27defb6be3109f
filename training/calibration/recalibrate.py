"""A new limit for a bundle from good parts that it was not fitted on, such as parts the line collected since."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DataError
from inspector.inference.bundle import Bundle
from inspector.inference.engine import Engine, self_test
from inspector.inference.manifest import LimitBasis
from inspector.part import Limits, Verdict
from training.calibration.limits import (
    good_limit,
    of_pictures_with_areas_to_ignore,
    part_count,
    region_limit,
    with_counts,
)
from training.calibration.outlook import Outlook, look_out
from training.calibration.scored import PartScore, lots_of, worst_images
from training.data.duplicates import group_by_part
from training.data.image_list import CALIBRATION, TAUGHT, TEST, ImageList, KnownImage, images_of
from training.data.marks import has_ignored
from training.data.reading import read_frame
from training.data.samples import GOOD, Dataset, Sample, printable
from training.data.splits import Role, Split, SplitEntry
from training.data.survey import Surveyed, survey
from training.models.scoring import thinned
from training.progress import Progress, silent, track
from training.successor import (
    Flip,
    change_of,
    decoded_input,
    flips,
    preparation_of,
    refuse_flips,
    write_successor,
)
from training.ways import judge_ways, without_ignored

_BATCH = 8
_UNCHECKED = {
    False: "That the model was fitted on none of these parts was not checked picture by picture.",
    True: "The model was fitted on none of these pictures; that it was not fitted on others of these parts was not checked.",
}


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A bundle with another limit, the limit before, what else could be promised, and golden images that flipped."""

    bundle: Bundle
    old_limit: float
    basis: LimitBasis
    outlook: Outlook
    flipped: tuple[Flip, ...]


@dataclass(frozen=True, slots=True)
class _Scored:
    good: tuple[PartScore, ...]
    defects: tuple[PartScore, ...]
    maps: NDArray[np.float32] | None
    pictures: int
    """Of good parts; so many of them were scored `without_areas` to ignore."""
    without_areas: int
    digest: str
    known: ImageList | None
    """What the new bundle knows: these parts set its limit, no others do any more."""


def recalibrate(
    bundle: Bundle,
    dataset: Dataset,
    out: Path,
    name: str,
    *,
    false_reject_rate: float,
    confidence: float,
    accept: str = "",
    reason: str = "",
    progress: Progress = silent,
) -> Recalibration:
    """Write a bundle whose limit is set by the good parts of `dataset`; its defective parts are counted as escapes.

    Golden images keep their verdicts, unless `accept` gives the reason why they may flip.
    Raises DataError for too few parts, for the data set that the bundle was fitted on, or for golden images that would
    flip; GoldenMismatch if this machine does not give the recorded scores; BundleError if the bundle cannot be written.
    """
    engine = Engine(bundle)
    self_test(engine, functools.partial(decoded_input, preparation_of(bundle)))
    scored = _score(bundle, engine, dataset, progress)

    def limit_of(good: Sequence[PartScore]) -> tuple[float, LimitBasis]:
        return good_limit([part.score for part in good], false_reject_rate, confidence, lots=lots_of(good))

    limit, basis = limit_of(scored.good)
    passed = part_count(sum(part.score <= limit for part in scored.defects), len(scored.defects), confidence)
    basis = of_pictures_with_areas_to_ignore(basis, scored.without_areas, scored.pictures)
    basis = with_counts(basis, None, passed if scored.defects else None)
    basis = replace(basis, assumes=f"{_UNCHECKED[scored.known is not None]} {basis.assumes}")
    chosen = (limit, false_reject_rate, confidence)
    whole = not scored.without_areas
    outlook = look_out(scored.good, scored.defects, chosen, limit_of, cross_fitted=False, as_the_line_sees=whole)
    manifest = bundle.manifest
    old = manifest.limits
    flipped = flips(manifest.golden, limit)
    if not accept:
        step = "look at them; if the new verdicts are right, give --accept with the reason"
        refuse_flips(flipped, f"the limit of {limit:.4g} in place of {old.score:.4g}", step)
    region = min(old.region, limit) if scored.maps is None else region_limit(scored.maps, limit)
    golden = tuple(
        replace(image, verdict=Verdict.REJECT if image.score > limit else Verdict.PASS) for image in manifest.golden
    )
    now = datetime.now(UTC)
    details = {
        "old_limit": old.score,
        "new_limit": limit,
        "dataset_digest": scored.digest,
        "snapshot": dataset.snapshot,
        "flipped": [str(flip) for flip in flipped],
        "accepted_because": accept if flipped else "",
    }
    draft = replace(
        manifest,
        name=name,
        created_time=now,
        limits=Limits(limit, region),
        basis=basis,
        golden=golden,
        metrics={"promises": outlook.to_json()},
    )
    change = change_of(bundle, "recalibrated", now, reason, details)
    written = write_successor(bundle, out, draft, change, images=scored.known)
    return Recalibration(written, old.score, basis, outlook, flipped)


def _taught_since(bundle: Bundle) -> set[object]:
    """SHA-256 of the picture files that were put into the bundle's memory after it was fitted."""
    taught: set[object] = set()
    for change in bundle.manifest.history:
        pictures = change.details.get("pictures", ())
        if isinstance(pictures, (list, tuple)):
            taught |= {picture.get("sha256") for picture in pictures if isinstance(picture, dict)}
    return taught


def _ways(bundle: Bundle, dataset: Dataset, sample: Sample) -> list[NDArray[np.uint8]]:
    preparation = preparation_of(bundle)
    image = preparation.image(read_frame(dataset.file(sample), preparation.limits))
    region = preparation.region(image)
    return without_ignored(bundle, dataset, sample, preparation.model_input(image, region), image, region)


def _score(bundle: Bundle, engine: Engine, dataset: Dataset, progress: Progress) -> _Scored:
    """Parts with their scores. Raises DataError for the images that the bundle was fitted on."""
    preparation = preparation_of(bundle)
    seen = survey(dataset, preparation, progress)
    if seen.digest == bundle.manifest.dataset_digest:
        raise DataError(
            f"{bundle.label} was fitted on these very images, and what a model has seen it scores too low for a limit: give "
            "good parts that were collected since"
        )
    taught = _taught_since(bundle)
    if known := [image.sample.path for image in seen.images if image.sha256 in taught]:
        raise DataError(
            f"{len(known)} of these pictures were put into the memory of {bundle.label} by extend, the first is {known[0]}: "
            "they score too low for a limit; leave them out"
        )
    listed = images_of(bundle)
    if listed is not None:
        _refuse_known(bundle, listed, seen.images)
        listed = listed.without(CALIBRATION).with_more(_roles_of(seen.images))
    groups = group_by_part(seen.images, progress)
    samples = [image.sample for image in seen.images]
    entries = tuple(
        SplitEntry(sample.path, sample.label, group, Role.CALIBRATION)
        for sample, group in zip(samples, groups, strict=True)
    )
    scores: dict[int, float] = {}
    maps: list[NDArray[np.float32]] = []
    together = _BATCH if engine.tiles is None else 1
    for start in track(range(0, len(samples), together), "Scoring parts", progress):
        batch = samples[start : start + together]
        shown = [_ways(bundle, dataset, sample) for sample in batch]
        counted = [offset for offset, ways in enumerate(shown) if ways]
        for offset, found in zip(counted, judge_ways(engine, [shown[offset] for offset in counted]), strict=True):
            scores[start + offset] = found.score
            if found.anomaly_map is not None and batch[offset].is_good:
                maps.append(found.anomaly_map if engine.tiles is None else thinned(found.anomaly_map))
    parts = worst_images(Split(dataset.root, 0, seen.digest, entries), scores, dataset)
    good = [samples[index] for index in scores if samples[index].is_good]
    return _Scored(
        tuple(part for part in parts if part.label == GOOD),
        tuple(part for part in parts if part.label != GOOD),
        np.stack(maps) if maps else None,
        len(good),
        sum(has_ignored(sample) for sample in good),
        seen.digest,
        listed,
    )


def _refuse_known(bundle: Bundle, known: ImageList, images: Sequence[Surveyed]) -> None:
    """Raise DataError if the model was fitted on some of the images, whatever data set they come in."""
    fitted = [i for i in images if known.roles(i.sha256, i.pixels_sha256) & (TAUGHT - {CALIBRATION})]
    if fitted:
        raise DataError(
            f"{bundle.label} was fitted on {len(fitted)} of these {len(images)} pictures, the first is "
            f"{printable(fitted[0].sample.path)}: they score too low for a limit; leave them out"
        )


def _roles_of(images: Sequence[Surveyed]) -> list[KnownImage]:
    """Good parts set the limit, defective ones are counted against it."""
    return [
        KnownImage(CALIBRATION if image.sample.is_good else TEST, image.sha256, image.pixels_sha256) for image in images
    ]
