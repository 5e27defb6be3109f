"""A bundle made from another one: what both share, its golden images judged again, and how it came about on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import DataError
from inspector.imaging.locate import location_from_dict
from inspector.inference.bundle import MODEL_FILE, Bundle, GoldenImage, Manifest, write_bundle
from inspector.inference.engine import Model, read_region
from inspector.inference.manifest import Change
from inspector.part import Frame, Verdict
from training.data.image_list import ImageList
from training.data.reading import MEDIA_TYPES, Preparation
from training.data.samples import printable

_FORMATS = {media_type: pixel_format for pixel_format, media_type in MEDIA_TYPES.items()}
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Flip:
    """A golden image that another graph or limit would judge otherwise."""

    file: str
    recorded: Verdict
    score: float

    def __str__(self) -> str:
        now = Verdict.PASS if self.recorded is Verdict.REJECT else Verdict.REJECT
        return f"{self.file} ({self.recorded.name} so far, {now.name} with {self.score:.4g})"


def preparation_of(bundle: Bundle) -> Preparation:
    """From frames to the bundle's input."""
    spec = bundle.manifest.input
    location = location_from_dict(spec.location, bundle.path)
    return Preparation(spec.width_px, spec.height_px, spec.channels, location)


def frame_input(data: bytes, media_type: str, preparation: Preparation) -> NDArray[np.uint8]:
    """The model's input of a picture's bytes: uint8 (height, width, channels). Raises DataError."""
    image = preparation.image(Frame(0, _FORMATS[media_type], 0, 0, 0, data))
    return preparation.model_input(image, preparation.region(image))


def decoded_input(preparation: Preparation, data: bytes) -> NDArray[np.uint8]:
    """As `frame_input`, of a golden file, whose kind its first bytes tell."""
    return frame_input(data, "image/jpeg" if data.startswith(b"\xff\xd8") else "image/png", preparation)


def model_of(bundle: Bundle, graph: bytes) -> Model:
    """A graph in place of the bundle's own, on the CPU. Raises BundleError."""
    manifest = bundle.manifest
    source = f"the successor of {bundle.label}"
    return Model(graph, manifest.input, manifest.classes, source=source, region=read_region(bundle))


def score_golden(bundle: Bundle, model: Model) -> tuple[GoldenImage, ...]:
    """The bundle's golden images with the model's scores and, as recorded, the verdicts of the bundle."""
    preparation = preparation_of(bundle)
    return tuple(
        replace(golden, score=score_of(model, frame_input(bundle.read(golden.file), golden.media_type, preparation)))
        for golden in bundle.manifest.golden
    )


def score_of(model: Model, image: NDArray[np.uint8]) -> float:
    """The score of one input, uint8 (height, width, channels)."""
    return model.infer(image[None])[0].score


def flips(golden: Sequence[GoldenImage], limit: float) -> tuple[Flip, ...]:
    """The golden images whose score and recorded verdict contradict each other at a limit."""
    return tuple(
        Flip(image.file, image.verdict, image.score)
        for image in golden
        if (image.score > limit) != (image.verdict is Verdict.REJECT)
    )


def refuse_flips(found: Sequence[Flip], what: str, step: str) -> None:
    """Raise DataError if golden images flip; `what` would make them, `step` is what to do instead."""
    if found:
        shown = ", ".join(str(flip) for flip in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise DataError(f"{what} would change the verdict on golden images: {shown}{more}. Nothing was written; {step}")


def write_successor(
    bundle: Bundle,
    path: Path,
    manifest: Manifest,
    change: Change,
    *,
    graph: bytes | None = None,
    new_golden: Mapping[str, bytes] | None = None,
    images: ImageList | None = None,
) -> Bundle:
    """Write `manifest` as a new bundle with `change` on record and all other files of `bundle`. Raises BundleError.

    `new_golden` holds the bytes of golden images that `bundle` does not have, `images` what the new bundle knows if that
    is not what `bundle` knows.
    """
    added = new_golden or {}
    golden = {image.file: added.get(image.file) or bundle.read(image.file) for image in manifest.golden}
    known = {MODEL_FILE, *golden, *(image.file for image in bundle.manifest.golden)}
    other = {file: bundle.read(file) for file in bundle.manifest.files if file not in known}
    if images is not None:
        other[manifest.image_list] = images.to_bytes()
    whole = replace(manifest, history=(*bundle.manifest.history, change))
    return write_bundle(path, whole, graph or bundle.read(MODEL_FILE), golden, other=other)


def change_of(bundle: Bundle, what: Any, time: Any, reason: str, details: Mapping[str, Any]) -> Change:
    """A change made to this bundle."""
    return Change(what, bundle.digest, time, printable(reason), details)
