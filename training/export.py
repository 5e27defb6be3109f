"""A fitted model as a bundle: ONNX graph, parity gate, golden scores, manifest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.errors import BundleError
from inspector.inference.bundle import Bundle, GoldenImage, InputSpec, LimitBasis, Manifest, write_bundle
from inspector.inference.engine import Model
from inspector.inference.tiling import Tiles, pack_region
from inspector.part import Frame, Verdict
from training.data.image_list import IMAGE_LIST
from training.data.reading import MEDIA_TYPES, Preparation
from training.exporting.graph import to_onnx
from training.exporting.kept import graph_inputs
from training.exporting.parity import Agreement, Parity, check_judged, check_parity, scores_of, typical
from training.exporting.reduce import Evidence, Loaders, Precision, Reduced, reduce_precision
from training.fit import Fitted, GoldenFrame
from training.progress import Progress, silent

__all__ = ["Parity", "Precision", "check_parity", "export_bundle", "golden_input", "to_onnx"]

SCORE_TOLERANCE = {Precision.FP32: 5e-3, Precision.FP16: 1e-2, Precision.INT8: 3e-2}
"""Largest difference of a golden score between machines and providers, as a share of the median golden score.

Runtimes round INT8 graphs at other places: ONNX Runtime and OpenVINO differ by up to 0.019 of a score (120 magnetic tiles).
"""
REGION_FILE = "region_of_interest.bits"
_TORCH_IMAGES = 32
"""Of the images kept, those that torch is asked about; all of them are asked of the graphs."""


def export_bundle(
    fitted: Fitted, path: Path, name: str, progress: Progress = silent, precision: Precision = Precision.FP32
) -> tuple[Bundle, Parity]:
    """Write the bundle of a fitted model to `path`, whole or not at all, after the parity gate.

    A network of integers is INT8 as it is: its fp32 and its int8 bundle are one. Raises BundleError if `path` exists, cannot
    be written, ONNX Runtime does not give what torch gives, a graph of less precision gives other verdicts, or there is no
    float16 of it.
    """
    precision, converts = _asked(fitted, precision)
    spec = input_spec_of(fitted)
    steps = 4 if converts else 3
    progress("Exporting", 0, steps)
    graph = to_onnx(fitted.network, spec.graph_shape)
    progress("Exporting", 1, steps)

    load = _loaders(fitted, spec, name)
    golden_inputs = np.stack([golden_input(frame, fitted.preparation) for frame in fitted.golden])
    judged = fitted.kept.judged
    few = judged[:: -(-len(judged) // _TORCH_IMAGES)]
    tiles = None if spec.tiling is None else Tiles(spec, fitted.region)
    parity = check_parity(fitted, load.graph_inputs(graph), graph_inputs([*few, *golden_inputs], tiles))
    progress("Exporting", 2, steps)
    scores = tuple(scores_of(load.pictures(graph), golden_inputs).tolist())
    basis = _as_exported(fitted.basis, check_judged(fitted, load.pictures(graph)))
    if converts:
        reduced = reduce_precision(precision, graph, load, _evidence(fitted, golden_inputs), progress)
        graph, scores = reduced.graph, reduced.golden_scores
        parity = replace(parity, reduced=reduced.agreement, kept_float=reduced.kept_float)
        basis = _carried(basis, reduced, precision)
        progress("Exporting", 3, steps)
    manifest = _manifest(fitted, name, spec, basis, parity, precision, scores)
    other = {IMAGE_LIST: fitted.images.to_bytes()}
    if fitted.region is not None:
        other[REGION_FILE] = pack_region(fitted.region)
    bundle = write_bundle(path, manifest, graph, {frame.file: frame.data for frame in fitted.golden}, other=other)
    progress("Exporting", steps, steps)
    return bundle, parity


def _asked(fitted: Fitted, precision: Precision) -> tuple[Precision, bool]:
    """The precision of the bundle, and whether the network's graph must be converted to it. Raises BundleError."""
    check_precision(fitted.network.kind, fitted.network.integers, precision)
    if not fitted.network.integers:
        return precision, precision is not Precision.FP32
    return Precision.INT8, False


def check_precision(kind: str, integers: bool, precision: Precision) -> None:
    """Raise BundleError for a precision that networks of this kind, of 8-bit `integers` or not, cannot be exported in."""
    if integers and precision is Precision.FP16:
        raise BundleError(
            f"a {kind} computes in 8-bit integers and has no float16 form. Nothing was written; leave --precision out"
        )


def _manifest(
    fitted: Fitted,
    name: str,
    spec: InputSpec,
    basis: LimitBasis,
    parity: Parity,
    precision: Precision,
    scores: tuple[float, ...],
) -> Manifest:
    limit = fitted.limits.score
    return Manifest(
        name=name,
        model_kind=fitted.network.kind,
        created_time=datetime.now(UTC),
        input=spec,
        classes=fitted.network.classes,
        limits=fitted.limits,
        basis=basis,
        golden=tuple(
            GoldenImage(frame.file, frame.media_type, score, Verdict.REJECT if score > limit else Verdict.PASS)  # type: ignore[arg-type]
            for frame, score in zip(fitted.golden, scores, strict=True)
        ),
        score_tolerance=SCORE_TOLERANCE[precision] * typical(scores),
        dataset_digest=fitted.dataset_digest,
        image_list=IMAGE_LIST,
        provenance={**fitted.provenance, "precision": precision.value},  # type: ignore[dict-item]
        metrics={**fitted.metrics, "parity": parity.to_json()},  # type: ignore[dict-item]
    )


def _evidence(fitted: Fitted, golden: NDArray[np.uint8]) -> Evidence:
    return Evidence(
        images=fitted.kept.judged,
        names=fitted.kept.names,
        limit_images=fitted.kept.limit_images,
        golden=golden,
        golden_names=tuple(frame.file for frame in fitted.golden),
        taught=fitted.kept.taught,
        limit=fitted.limits.score,
        held_out=fitted.kept.held_out,
    )


def _carried(basis: LimitBasis, reduced: Reduced, precision: Precision) -> LimitBasis:
    """The basis of a limit that was set on the float32 graph's scores, for a graph of less precision that keeps it.

    If no part that set the limit is rejected by this graph and passed by the other, then the limit this graph's own scores
    would have set is no higher, and the promise holds as it is. Else it is no longer proved, and that is said.
    """
    found = reduced.agreement
    said = (
        f" Set on the float32 graph; the {precision.value} graph, which keeps the limit, gave {found.flips} of "
        f"{found.named} another verdict ({_bound(found)}): {found.rejects_more} more rejected, {found.escapes_more} more "
        "passed."
    )
    if basis.guaranteed and not reduced.carries:
        said += f" What is promised was proved of the float32 graph; for the {precision.value} graph it is an estimate."
    carried = replace(basis, guaranteed=basis.guaranteed and reduced.carries, statement=basis.statement + said)
    return _recounted(carried, found)


def _as_exported(basis: LimitBasis, found: Agreement | None) -> LimitBasis:
    """The basis of a limit that was set on the fit's scores, for the graph whose scores are held against it.

    A part that set the limit and gets another verdict from the graph takes the proof away, and so does one that tested it: then
    the graph's scores are other ones, by more than rounding.
    """
    if found is None or not found.flips:
        return basis
    said = (
        f" Set on the scores of the fit; the exported graph gave {found.flips} of {found.named} another verdict "
        f"({_bound(found)}): {found.rejects_more} more rejected, {found.escapes_more} more passed."
    )
    if basis.guaranteed:
        said += " What is promised was proved of the fit; for the graph it is an estimate."
    return _recounted(replace(basis, guaranteed=False, statement=basis.statement + said), found)


def _recounted(basis: LimitBasis, found: Agreement) -> LimitBasis:
    """Without counts of verdicts that this graph does not give."""
    return replace(
        basis,
        tested=None if found.rejects_more else basis.tested,
        escapes=None if found.escapes_more else basis.escapes,
    )


def _bound(found: Agreement) -> str:
    if found.held_out:
        return f"at most {found.high:.2%} of such images with 95 % confidence"
    return "which says little of images that are new to the model"


def golden_input(golden: GoldenFrame, preparation: Preparation) -> NDArray[np.uint8]:
    """The model's input of a golden frame, the way the line makes it: uint8 (h, w, c)."""
    formats = {media_type: pixel_format for pixel_format, media_type in MEDIA_TYPES.items()}
    image = preparation.image(Frame(0, formats[golden.media_type], 0, 0, 0, golden.data))
    return preparation.model_input(image, preparation.region(image))


def input_spec_of(fitted: Fitted) -> InputSpec:
    """What the manifest says of the input."""
    spec = fitted.preparation.input_spec()
    if spec.tiling is None or fitted.region is None:
        return spec
    return replace(spec, tiling=replace(spec.tiling, region_of_interest=REGION_FILE))


def _loaders(fitted: Fitted, spec: InputSpec, name: str) -> Loaders:
    height_px, width_px, _ = spec.graph_shape
    graph_spec = replace(spec, width_px=width_px, height_px=height_px, tiling=None)
    classes, source = fitted.network.classes, f"the export of {name}"
    return Loaders(
        pictures=lambda onnx_file: Model(onnx_file, spec, classes, source=source, region=fitted.region),
        graph_inputs=lambda onnx_file: Model(onnx_file, graph_spec, classes, source=source),
    )
