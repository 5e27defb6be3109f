"""Graphs of less precision: they judge as the float32 graph does, or nothing is written and it is said why."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import onnx
import pytest
import torch
from full_disk import files_of_at_most
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state
from requires import require
from training_line import OTHERS, Line, scores_of
from training_pictures import Pictures, part, save

from inspector.errors import BundleError
from inspector.inference.bundle import MODEL_FILE, Bundle, open_bundle
from inspector.inference.engine import Engine, available_providers, self_test
from inspector.inference.open_vino import openvino_installed
from inspector.part import Frame, Scores
from training.export import Parity, Precision, export_bundle
from training.exporting.int8 import Int8, _drafting
from training.exporting.kept import keep_images
from training.exporting.nodes import NodeGroup, node_groups, searches
from training.exporting.parity import MAX_FLIPS, agree
from training.exporting.reduce import Evidence, Loaders, Reduced, reduce_precision
from training.extend import extend, leave_out


def reduced(line: Line, path: Path, name: str, precision: Precision) -> tuple[Bundle, Parity]:
    """The line's model in less precision, from the float32 graph that there is."""
    graph = line.bundle.read(MODEL_FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.export.to_onnx", lambda network, shape: graph)
        return export_bundle(line.outcome.fitted, path, name, precision=precision)


@pytest.fixture(scope="module")
def int8(fitted_line: Line, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Parity]:
    return reduced(fitted_line, tmp_path_factory.mktemp("int8") / "bundle", "blots-8", Precision.INT8)


@pytest.fixture(scope="module")
def fp16(fitted_line: Line, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Parity]:
    return reduced(fitted_line, tmp_path_factory.mktemp("fp16") / "bundle", "blots-16", Precision.FP16)


def prepared(line: Line, data: bytes) -> np.ndarray:
    preparation = line.outcome.fitted.preparation
    from training.data.reading import MEDIA_TYPES

    formats = {media_type: pixel_format for pixel_format, media_type in MEDIA_TYPES.items()}
    image = preparation.image(Frame(0, formats["image/png"], 0, 0, 0, data))
    return preparation.model_input(image, preparation.region(image))


def test_int8_is_one_graph_of_quantised_convolutions_with_a_free_batch(int8: tuple[Bundle, Parity]) -> None:
    proto = onnx.load_from_string(int8[0].read(MODEL_FILE))
    (images,) = proto.graph.input
    assert images.type.tensor_type.elem_type == TensorProto.UINT8
    assert [d.dim_value for d in images.type.tensor_type.shape.dim] == [0, 64, 64, 1]
    makers = {name: node.op_type for node in proto.graph.node for name in node.output}
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    quantised = [node for node in convolutions if makers.get(node.input[0]) == "DequantizeLinear"]
    assert len(quantised) > len(convolutions) / 2
    # Weights by channel, activations before the clip's range is lost: no clip stays between two quantised convolutions.
    scales = {t.name: t for t in proto.graph.initializer}
    assert any(len(scales[n.input[1]].dims) == 1 for n in proto.graph.node if n.op_type == "DequantizeLinear")
    assert b"/site-packages/" not in int8[0].read(MODEL_FILE)


def test_int8_bundle_passes_its_self_test_and_says_what_it_is(fitted_line: Line, int8: tuple[Bundle, Parity]) -> None:
    bundle, parity = int8
    float_bundle = fitted_line.bundle.manifest
    assert self_test(Engine(open_bundle(bundle.path)), lambda data: prepared(fitted_line, data)).passed
    assert bundle.manifest.provenance["precision"] == "int8"
    assert float_bundle.provenance["precision"] == "fp32"
    assert [g.verdict for g in bundle.manifest.golden] == [g.verdict for g in float_bundle.golden]
    assert [g.score for g in bundle.manifest.golden] != [g.score for g in float_bundle.golden]
    assert bundle.manifest.limits == float_bundle.limits
    assert bundle.manifest.score_tolerance > 2 * float_bundle.score_tolerance
    found = parity.reduced
    assert found is not None
    assert found.images == len(fitted_line.outcome.fitted.kept.judged)
    told = bundle.manifest.metrics["parity"]["float32_to_reduced"]  # type: ignore[index, call-overload]
    assert told["flip_rate_95"] == [found.low, found.high]  # type: ignore[index, call-overload]
    assert f"{found.flips} of {found.images} held-out images another verdict" in bundle.manifest.basis.statement


def test_a_defect_far_from_all_that_is_known_stays_far_in_8_bits(
    fitted_line: Line, int8: tuple[Bundle, Parity]
) -> None:
    defects = np.stack([part(seed, defect=True)[..., None] for seed in range(900, 906)])
    full, reduced = (
        np.array([found.score for found in Engine(bundle).infer(defects)]) for bundle in (fitted_line.bundle, int8[0])
    )
    assert (reduced > 0.8 * full).all(), "with the squares of features in 8 bits it was 0.45"


def test_the_search_is_of_integers_and_its_squares_are_not(int8: tuple[Bundle, Parity]) -> None:
    proto = onnx.load_from_string(int8[0].read(MODEL_FILE))
    makers = {name: node for node in proto.graph.node for name in node.output}
    (search,) = (node for node in proto.graph.node if node.op_type == "Gemm")
    assert [makers[name].op_type for name in search.input] == ["DequantizeLinear"] * 3
    (total,) = (node for node in proto.graph.node if search.output[0] in node.input)
    product = next(makers[name] for name in total.input if name != search.output[0])
    squares = next(makers[name] for name in product.input if name in makers and makers[name].op_type == "ReduceSum")
    assert [makers[name].op_type for name in makers[squares.input[0]].input] == ["MatMul", "MatMul"]


@pytest.mark.parametrize(
    "share",
    [
        pytest.param(0.5, id="not even the graph that it starts from"),
        pytest.param(1.001, id="not the prepared graph, which is a little larger"),
        pytest.param(0.0, id="nothing at all"),
    ],
)
def test_int8_drafts_on_a_full_disk_say_where_there_must_be_space(
    fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    graph, taught = fitted_line.bundle.read(MODEL_FILE), fitted_line.outcome.fitted.kept.taught
    with (
        files_of_at_most(int(share * len(graph))),
        tempfile.TemporaryDirectory() as drafts,
        pytest.raises(BundleError, match=f"drafts .* below {tmp_path}: .*TMPDIR"),
    ):
        Int8(graph, taught, Path(drafts)).make([])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (
            ort_state.Fail("[ONNXRuntimeError] : 1 : FAIL : bfc_arena: Failed to allocate memory"),
            "cannot be converted to INT8",
        ),
        (ort_state.InvalidGraph("[ONNXRuntimeError] : 10 : INVALID_GRAPH : no node"), "cannot be converted to INT8"),
        (MemoryError(), "cannot be converted to INT8"),
        (ort_state.Fail("[ONNXRuntimeError] : 1 : FAIL : Load model from x failed:Protobuf parsing failed."), "TMPDIR"),
    ],
)
def test_only_what_is_of_a_draft_is_blamed_on_the_disk(tmp_path: Path, fault: Exception, says: str) -> None:
    with pytest.raises(BundleError, match=says), _drafting(tmp_path):
        raise fault


def test_int8_without_a_folder_for_drafts_is_refused(
    fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(BundleError, match=r"no folder for drafts .*TMPDIR"):
        reduced(fitted_line, tmp_path / "b", "b", Precision.INT8)


def test_int8_batches_score_as_single_images(fitted_line: Line, int8: tuple[Bundle, Parity]) -> None:
    engine = Engine(int8[0])
    images = fitted_line.outcome.fitted.kept.judged[:5]
    for image, together in zip(images, engine.infer(images), strict=True):
        assert engine.infer(image[None])[0].score == pytest.approx(together.score, rel=1e-5)


@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
def test_openvino_judges_the_same(
    fitted_line: Line, int8: tuple[Bundle, Parity], fp16: tuple[Bundle, Parity], precision: str
) -> None:
    require(openvino_installed(), "the package openvino is not installed; pip install inspector[openvino]")
    bundle = {"int8": int8[0], "fp16": fp16[0], "fp32": fitted_line.bundle}[precision]
    assert self_test(Engine(bundle, "OpenVINO", 1), lambda data: prepared(fitted_line, data)).passed


@pytest.mark.parametrize("provider", ["CUDA", "TensorRT"])
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_gpu_judges_the_same(fitted_line: Line, fp16: tuple[Bundle, Parity], precision: str, provider: str) -> None:
    if provider not in available_providers():
        pytest.skip(f"the installed onnxruntime does not bring {provider}")
    bundle = {"fp16": fp16[0], "fp32": fitted_line.bundle}[precision]
    assert self_test(Engine(bundle, provider, 1), lambda data: prepared(fitted_line, data)).passed


def test_fp16_keeps_its_inputs_and_all_but_the_convolutions(fitted_line: Line, fp16: tuple[Bundle, Parity]) -> None:
    bundle, parity = fp16
    proto = onnx.load_from_string(bundle.read(MODEL_FILE))
    assert proto.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert {o.type.tensor_type.elem_type for o in proto.graph.output} == {TensorProto.FLOAT}
    halves = {t.name for t in proto.graph.initializer if t.data_type == TensorProto.FLOAT16}
    users = {node.op_type for node in proto.graph.node if halves & set(node.input)}
    assert "Conv" in users
    assert users <= {"Conv", "Clip", "Relu", "Add"}  # distances and normalisation stay float32
    assert parity.reduced is not None
    assert parity.reduced.score < 0.01
    assert len(bundle.read(MODEL_FILE)) < 0.75 * len(fitted_line.bundle.read(MODEL_FILE))


def test_nan_weights_are_refused_by_name(fitted_line: Line, tmp_path: Path) -> None:
    fitted = fitted_line.outcome.fitted
    network = fitted.network
    good = network.bank.clone()
    try:
        network.bank[3, 2] = torch.nan
        with pytest.raises(BundleError, match=r"no finite numbers, in bank:.*Nothing was written"):
            export_bundle(fitted, tmp_path / "bundle", "x")
    finally:
        network.bank.copy_(good)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP16])
def test_a_conversion_that_fails_leaves_nothing(
    fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no kernel for this\n  in /some/where.py")

    monkeypatch.setattr("training.exporting.int8.quantize_static", fail)
    monkeypatch.setattr("training.exporting.half.numpy_helper.from_array", fail)
    with pytest.raises(
        BundleError, match=r"ValueError: no kernel for this\)\. Nothing was written; .*--precision fp32"
    ):
        export_bundle(fitted_line.outcome.fitted, tmp_path / "bundle", "x", precision=precision)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("exported")
def test_a_model_without_convolutions_says_so(
    fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.exporting.int8.node_groups", lambda graph: [])
    with pytest.raises(BundleError, match="no convolutions that INT8 would make faster"):
        export_bundle(fitted_line.outcome.fitted, tmp_path / "bundle", "x", precision=Precision.INT8)


@pytest.mark.usefixtures("exported")
def test_without_images_that_were_fitted_on_there_is_no_int8(fitted_line: Line, tmp_path: Path) -> None:
    fitted = fitted_line.outcome.fitted
    empty = replace(fitted.kept, taught=fitted.kept.taught[:0])
    with pytest.raises(BundleError, match=r"kept none of the images .* fit again"):
        export_bundle(replace(fitted, kept=empty), tmp_path / "bundle", "x", precision=Precision.INT8)


@pytest.mark.usefixtures("exported")
def test_no_space_leaves_nothing(fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("inspector.inference.bundle.os.fsync", full)
    with pytest.raises(BundleError, match="No space left on device; free space"):
        export_bundle(fitted_line.outcome.fitted, tmp_path / "bundle", "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("exported")
def test_an_interrupt_leaves_nothing(fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("inspector.inference.bundle.open_bundle", interrupt)  # the draft is written by then
    with pytest.raises(KeyboardInterrupt):
        export_bundle(fitted_line.outcome.fitted, tmp_path / "bundle", "x")
    assert list(tmp_path.iterdir()) == []


# --- agreement --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "more_rejected", "more_passed", "holds"),
    [
        pytest.param([1.0] * 200, [1.0] * 200, 0, 0, True, id="the same"),
        pytest.param([1.0] * 199 + [2.1], [1.0] * 199 + [1.9], 1, 0, True, id="one in 200 is the most"),
        pytest.param([1.0] * 198 + [2.1], [1.0] * 198 + [1.9], 1, 0, False, id="one in 199 is more"),
        pytest.param([1.9], [2.1], 0, 1, False, id="passed by less precision"),
        pytest.param([2.0], [2.0], 0, 0, True, id="on the limit is a pass for both"),
        pytest.param([np.nan] + [1.0] * 400, [1.0] * 401, 0, 0, False, id="no number never agrees"),
    ],
)
def test_agreement(ours: list[float], theirs: list[float], more_rejected: int, more_passed: int, holds: bool) -> None:
    found = agree(np.array(ours), np.array(theirs), limit=2.0)
    assert (found.rejects_more, found.escapes_more, found.holds) == (more_rejected, more_passed, holds)
    assert found.low <= found.flips / found.images <= found.high
    assert MAX_FLIPS == 0.005


class ToyModel:
    """Scores an image by its only pixel, plus what the graph's text says: "float", or errors of groups by letter."""

    errors: ClassVar[dict[str, float]] = {}

    def __init__(self, graph: bytes) -> None:
        self._error = 0.0 if graph == b"float" else sum(self.errors[letter] for letter in graph.decode())

    def infer(self, batch: np.ndarray) -> list[Scores]:
        value = float(batch[0, 0, 0, 0]) / 255
        return [Scores(value + self._error * value)]


class ToyInt8:
    """A graph of four groups; what it makes is the letters of those in INT8."""

    def __init__(self, graph: bytes, taught: np.ndarray, folder: Path) -> None:
        self.groups = [NodeGroup(letter, (letter,)) for letter in "abcd"]

    def make(self, groups: Sequence[NodeGroup]) -> bytes:
        return "".join(group.name for group in groups).encode()


def toy_reduce(
    monkeypatch: pytest.MonkeyPatch,
    errors: dict[str, float],
    *,
    limit: float = 0.9,
    limit_images: int = 0,
    held_out: bool = True,
) -> Reduced:
    """256 images of scores 0 to 1, the golden ones 0.2 and 1; errors are shares of the score."""
    monkeypatch.setattr(ToyModel, "errors", errors)
    monkeypatch.setattr("training.exporting.reduce.Int8", ToyInt8)
    images = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1)
    names = tuple(f"part {value}" for value in range(256))
    golden = images[[51, 255]]
    evidence = Evidence(images, names, limit_images, golden, ("golden/a.png", "golden/b.png"), images, limit, held_out)
    return reduce_precision(Precision.INT8, b"float", Loaders(ToyModel, ToyModel), evidence)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("errors", "kept"),
    [
        pytest.param({"a": 0, "b": 0, "c": 0, "d": 0}, (), id="nothing disturbs"),
        pytest.param({"a": 0.004, "b": 0, "c": 0, "d": 0}, (), id="a little is allowed"),
        pytest.param({"a": 0.001, "b": 0.1, "c": 0, "d": 0}, ("b",), id="the worst goes first"),
        pytest.param({"a": 0.05, "b": 0.1, "c": 0, "d": 0}, ("b", "a"), id="then the next"),
        pytest.param({"a": np.nan, "b": 0, "c": 0, "d": 0}, ("a",), id="no number is the worst error"),
    ],
)
def test_what_disturbs_the_scores_stays_float(
    monkeypatch: pytest.MonkeyPatch, errors: dict[str, float], kept: tuple[str, ...]
) -> None:
    assert toy_reduce(monkeypatch, errors).kept_float == kept


@pytest.mark.parametrize(
    ("error", "limit", "kept"),
    [
        pytest.param(0.04, 1.5, (), id="more than a hundredth of the limit, less than a tenth of the deviation"),
        pytest.param(0.1, 1.5, ("a",), id="more than both"),
        pytest.param(0.1, 6.0, (), id="less than a hundredth of the limit"),
    ],
)
def test_close_enough_is_a_share_of_the_limit_or_of_the_deviation(
    monkeypatch: pytest.MonkeyPatch, error: float, limit: float, kept: tuple[str, ...]
) -> None:
    errors = {"a": error, "b": 0, "c": 0, "d": 0}
    assert toy_reduce(monkeypatch, errors, limit=limit).kept_float == kept


def test_the_gate_says_which_images_which_nodes_and_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {"a": 0.05, "b": 0.04, "c": 0.02, "d": 0.06}  # half of them stay float, which is not enough
    with pytest.raises(BundleError) as caught:
        toy_reduce(monkeypatch, errors)
    text = str(caught.value)
    assert re.search(
        r"the int8 graph does not judge like .*: 13 of 256 held-out images get another verdict \(2\.7% to", text
    )
    assert "part 229 (0.898 → 0.9519), part 228" in text
    assert "The largest errors come from d; a; b. Nothing was written. Try --precision fp32" in text


def test_images_that_were_fitted_on_are_not_called_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleError, match=r"13 of 256 images that the model was fitted on, as none was held out, get"):
        toy_reduce(monkeypatch, {"a": 0.05, "b": 0.04, "c": 0.02, "d": 0.06}, held_out=False)
    assert toy_reduce(monkeypatch, dict.fromkeys("abcd", 0.0), held_out=False).agreement.to_json()["held_out"] is False


@pytest.mark.parametrize(
    ("tested", "cross_fitted", "held_out"),
    [
        pytest.param([6, 7], True, True, id="test images"),
        pytest.param([6, 7], False, True, id="test images and those that set the limit"),
        pytest.param([], False, True, id="those that set the limit, which fitted nothing"),
        pytest.param([], True, False, id="those that set the limit also fitted"),
    ],
)
def test_kept_images_say_whether_they_were_held_out(tested: list[int], cross_fitted: bool, held_out: bool) -> None:
    pictures = Pictures(np.stack([part(seed)[..., None] for seed in range(8)]))
    kept = keep_images(pictures, tested, [3, 4, 5], [0, 1, 2], {}, cross_fitted=cross_fitted)
    assert kept.held_out is held_out
    assert len(kept.judged) == len(kept.names) > 0


def test_a_golden_image_that_changes_its_verdict_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleError, match=r"golden images get another verdict: golden/a\.png"):
        toy_reduce(monkeypatch, dict.fromkeys("abcd", 0.003), limit=51 / 255 * 1.001)


@pytest.mark.parametrize(
    ("limit", "limit_images", "carries"),
    [
        pytest.param(1.01, 4, True, id="no part that set the limit is rejected now"),
        pytest.param(1.01, 0, False, id="those parts are not all at hand"),
        pytest.param(254.5 / 255, 4, False, id="one of them is"),
    ],
)
def test_a_promise_carries_over_only_on_the_parts_that_made_it(
    monkeypatch: pytest.MonkeyPatch, limit: float, limit_images: int, carries: bool
) -> None:
    errors = {"a": 0.003, "b": 0, "c": 0, "d": 0}
    assert toy_reduce(monkeypatch, errors, limit=limit, limit_images=limit_images).carries is carries


def test_only_the_backbone_is_touched(fitted_line: Line) -> None:
    proto = onnx.load_from_string(fitted_line.bundle.read(MODEL_FILE))
    chosen = {node for group in node_groups(proto.graph) for node in group.nodes}
    blurs = [n.name for n in proto.graph.node if n.op_type == "Conv"][-2:]
    assert chosen.isdisjoint(blurs)
    assert {n.op_type for n in proto.graph.node if n.name in chosen} <= {"Conv", "Clip", "Relu", "Add"}
    first_add = next(n.name for n in proto.graph.node if n.op_type == "Add")
    assert first_add not in chosen  # belongs to the contrast of the image


def test_a_search_is_known_by_what_follows_it_not_by_its_size(fitted_line: Line) -> None:
    """The head of a classifier with many features is a large product too, and what makes a score stays float."""
    proto = onnx.load_from_string(fitted_line.bundle.read(MODEL_FILE))
    assert [node.op_type for node in searches(proto.graph)] == ["Gemm"]
    for node in proto.graph.node:
        if node.op_type == "ReduceMin":
            node.op_type = "ReduceMax"
    assert searches(proto.graph) == []


def test_half_precision_leaves_the_search_as_it_is(fp16: tuple[Bundle, Parity]) -> None:
    proto = onnx.load_from_string(fp16[0].read(MODEL_FILE))
    (search,) = (node for node in proto.graph.node if node.op_type == "Gemm")
    assert not any("half" in name for name in search.input)


def test_groups_of_a_graph_without_convolutions() -> None:
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="r")], "g", [], [])
    assert node_groups(graph) == []


# --- a bundle of less precision that is extended ------------------------------------------------------------------


def _search_reads(bundle: Bundle) -> set[str]:
    """Of what kind the nodes are that the search of a bundle reads from."""
    proto = onnx.load_from_string(bundle.read(MODEL_FILE))
    makers = {name: node.op_type for node in proto.graph.node for name in node.output}
    (search,) = (node for node in proto.graph.node if node.op_type == "Gemm")
    assert "DequantizeLinear" in makers.values(), "convolutions are of integers"
    return {makers.get(name, "constant") for name in search.input}


def test_an_int8_bundle_is_extended_and_searches_with_floats(
    int8: tuple[Bundle, Parity], rejects: list[Path], tmp_path: Path
) -> None:
    bundle, limit = int8[0], int8[0].manifest.limits.score
    assert _search_reads(bundle) == {"DequantizeLinear"}
    first = extend(bundle, rejects, tmp_path / "b", "b", reason="new stamp")
    assert all(picture.before > limit >= picture.after for picture in first.pictures)
    assert _search_reads(first.bundle) == {"Identity", "constant"}
    moved = scores_of(first.bundle, OTHERS) - scores_of(bundle, OTHERS)
    assert moved.max() <= 3e-3 * limit, "nothing rises but by the rounding of the search"
    other = save(tmp_path / "other.png", cv2.rectangle(part(950).copy(), (8, 8), (20, 20), 250, 2))
    second = extend(first.bundle, [other], tmp_path / "c", "c")
    assert second.pictures[0].before > limit >= second.pictures[0].after
    neither = leave_out(leave_out(second.bundle, 2, tmp_path / "d", "d").bundle, 1, tmp_path / "e", "e").bundle
    np.testing.assert_allclose(scores_of(neither, OTHERS), scores_of(bundle, OTHERS), rtol=5e-3)


@pytest.mark.parametrize("guaranteed", [True, False])
def test_what_an_int8_limit_promises_is_an_estimate_once_the_search_is_another(
    int8: tuple[Bundle, Parity], rejects: list[Path], tmp_path: Path, guaranteed: bool
) -> None:
    manifest = replace(int8[0].manifest, basis=replace(int8[0].manifest.basis, guaranteed=guaranteed))
    extended = extend(replace(int8[0], manifest=manifest), rejects, tmp_path / "b", "b").bundle
    without = leave_out(extended, 1, tmp_path / "c", "c").bundle
    for bundle in (extended, without):
        assert not bundle.manifest.basis.guaranteed
        assert bundle.manifest.basis.statement.count("is an estimate until the limit is set anew") == 1
    assert "were added to the memory" not in without.manifest.basis.statement
