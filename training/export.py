"""A fitted model as a bundle: ONNX graph, parity gate, golden scores, manifest."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from inspector.errors import BundleError
from inspector.imaging.locate import location_to_dict
from inspector.inference.bundle import Bundle, GoldenImage, InputSpec, Manifest, write_bundle
from inspector.inference.engine import Model
from inspector.part import Frame, Verdict
from training.data.reading import MEDIA_TYPES, Preparation
from training.fit import Fitted, GoldenFrame
from training.models.kind import InspectionModel
from training.progress import Progress, silent

PARITY_TOLERANCE = 1e-3
"""Largest difference between torch and ONNX Runtime, as a share of the median score. Measured: 1e-6 to 1e-5."""
SCORE_TOLERANCE = 5e-3
"""Largest difference of a golden score between machines, as a share of the median golden score."""
_MAX_BATCH = 64


@dataclass(frozen=True, slots=True)
class Parity:
    """How far ONNX Runtime is from torch, as shares of the median score, on `images` that the export did not see."""

    images: int
    score: float
    anomaly_map: float


def export_bundle(fitted: Fitted, path: Path, name: str, progress: Progress = silent) -> tuple[Bundle, Parity]:
    """Write the bundle of a fitted model to `path`, whole or not at all, after the parity gate.

    Raises BundleError if `path` exists, cannot be written, or ONNX Runtime does not give what torch gives.
    """
    spec = _input_spec(fitted.preparation)
    progress("Exporting", 0, 3)
    graph = to_onnx(fitted.network, (spec.height_px, spec.width_px, spec.channels))
    progress("Exporting", 1, 3)
    model = Model(graph, spec, fitted.network.classes, source=f"the export of {name}")
    golden_inputs = [golden_input(frame, fitted.preparation) for frame in fitted.golden]
    parity = check_parity(fitted, model, np.concatenate([fitted.held_out, np.stack(golden_inputs)]))
    progress("Exporting", 2, 3)
    limit = fitted.limits.score
    scores = [model.infer(image[None])[0].score for image in golden_inputs]
    manifest = Manifest(
        name=name,
        model_kind=fitted.network.kind,
        created_time=datetime.now(UTC),
        input=spec,
        classes=fitted.network.classes,
        limits=fitted.limits,
        basis=fitted.basis,
        golden=tuple(
            GoldenImage(frame.file, frame.media_type, score, Verdict.REJECT if score > limit else Verdict.PASS)  # type: ignore[arg-type]
            for frame, score in zip(fitted.golden, scores, strict=True)
        ),
        score_tolerance=SCORE_TOLERANCE * _typical(scores),
        dataset_digest=fitted.dataset_digest,
        provenance=fitted.provenance,  # type: ignore[arg-type]
        metrics=fitted.metrics,  # type: ignore[arg-type]
    )
    bundle = write_bundle(path, manifest, graph, {frame.file: frame.data for frame in fitted.golden})
    progress("Exporting", 3, 3)
    return bundle, parity


def golden_input(golden: GoldenFrame, preparation: Preparation) -> NDArray[np.uint8]:
    """The model's input of a golden frame, the way the line makes it: uint8 (h, w, c)."""
    formats = {media_type: pixel_format for pixel_format, media_type in MEDIA_TYPES.items()}
    image = preparation.image(Frame(0, formats[golden.media_type], 0, 0, 0, golden.data))
    return preparation.model_input(image, preparation.region(image))


def to_onnx(network: InspectionModel, image_shape: tuple[int, int, int]) -> bytes:
    """The network as an ONNX file with a free batch size. `image_shape` is height, width, channels."""
    example = torch.arange(2 * int(np.prod(image_shape)), dtype=torch.int64).remainder(251).to(torch.uint8)
    with warnings.catch_warnings(), _quiet("torch.onnx"):
        warnings.simplefilter("ignore")  # about torch's own internals
        program = torch.onnx.export(
            network,
            (example.reshape(2, *image_shape),),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=list(network.outputs),
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=_MAX_BATCH)}},
        )
    if program is None:
        raise BundleError("torch did not export the model; report this with the versions of torch and onnxscript")
    proto = program.model_proto
    _strip(proto)
    return bytes(proto.SerializeToString())


def check_parity(fitted: Fitted, model: Model, images: NDArray[np.uint8]) -> Parity:
    """Hold ONNX Runtime's scores and maps against torch's, one image at a time and all in one batch.

    `images` is uint8 (n, h, w, c), none of which the export has seen. Raises BundleError with the worst differences.
    """
    with torch.no_grad():
        results = [fitted.network(torch.from_numpy(image[None])) for image in images]
    scale = _typical([float(score) for score, *_ in results])
    together = model.infer(images)
    score = anomaly_map = 0.0
    for index, (torch_score, torch_map, *torch_classes) in enumerate(results):
        for ours in (model.infer(images[index : index + 1])[0], together[index]):
            assert ours.anomaly_map is not None  # the graph's own output
            score = max(score, _difference(torch_score.numpy(), np.float32(ours.score)) / scale)
            for class_scores in torch_classes:
                known = np.array([ours.class_scores[name] for name in fitted.network.classes], np.float32)
                score = max(score, _difference(class_scores[0].numpy(), known))
            anomaly_map = max(anomaly_map, _map_difference(torch_map[0].numpy(), ours.anomaly_map, scale))
    if not max(score, anomaly_map) <= PARITY_TOLERANCE:
        raise BundleError(
            f"the exported graph does not judge like the fitted model: over {len(images)} images that were not in the "
            f"export, scores differ by up to {score:.2g} and maps by up to {anomaly_map:.2g} of the median score, allowed is "
            f"{PARITY_TOLERANCE:g}. Nothing was written; use the pinned versions of torch, onnxscript and onnxruntime"
        )
    return Parity(len(images), score, anomaly_map)


def _difference(ours: NDArray[np.float32], theirs: NDArray[np.float32] | np.float32) -> float:
    """Largest absolute difference; infinite if either holds what is no finite number."""
    difference = np.abs(ours - theirs).max()
    return float(difference) if np.isfinite(difference) else float("inf")


def _map_difference(ours: NDArray[np.float32], theirs: NDArray[np.float32], scale: float) -> float:
    """Largest difference of two maps as a share of `scale`; values below half of it are compared by their squares.

    A map value is the root of a squared distance, which is rounded to about 1e-6 of the features' own squares: of a patch that
    the bank itself holds, 0 becomes a root of that rounding, a thousand times larger. No limit lies there.
    """
    small = np.minimum(1.0, (np.abs(ours) + np.abs(theirs)) / scale)
    return _difference(ours * small, theirs * small) / scale


def _typical(scores: Sequence[float]) -> float:
    """The median size of scores; 1 if that is 0 or no finite number."""
    size = float(np.median(np.abs(scores)))
    return size if np.isfinite(size) and size > 0 else 1.0


def _input_spec(preparation: Preparation) -> InputSpec:
    channels: Literal[1, 3] = 1 if preparation.channels == 1 else 3
    return InputSpec(preparation.width_px, preparation.height_px, channels, location_to_dict(preparation.location))


def _strip(proto: onnx.ModelProto) -> None:
    """Remove what the exporter notes of this machine: stack traces with file paths, and the names of its functions."""
    proto.doc_string = ""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    for node in proto.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    values: list[Any] = [*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer]
    for value in values:
        value.doc_string = ""
        del value.metadata_props[:]


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Hold back a logger's warnings for a while."""
    level = logging.getLogger(logger).level
    logging.getLogger(logger).setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger(logger).setLevel(level)
