"""The fast bank: that its integers are exact, that nothing breaks it, and that it is stored and exported whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from training_line import Line
from training_pictures import Pictures, part

from inspector.errors import BundleError, DataError
from inspector.inference.engine import Engine, self_test
from inspector.inference.open_vino import openvino_installed
from inspector.part import Limits, Verdict
from training.backbones import Trunk, pretrained_backbone
from training.export import Precision, export_bundle, golden_input
from training.exporting.graph import to_onnx
from training.fit import Fitted, GoldenFrame
from training.integers import TRANSLATIONS, multiply
from training.models.fast_bank.fitting import FastBankFitter, FitSettings, rebuild
from training.models.fast_bank.network import FastBank
from training.models.fast_bank.trunk import IntegerTrunk, scale_of
from training.models.memory_bank.network import MemoryBank

SETTINGS = FitSettings(bank_size=100, candidates=600, seed=1)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([part(index)[..., None] for index in range(16)])


@pytest.fixture(scope="module")
def model(pictures: np.ndarray) -> FastBank:
    return _fit(pictures[:12])


def _images(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([p if p.ndim == 3 else p[..., None] for p in pictures]))


def _fit(pixels: np.ndarray, settings: FitSettings = SETTINGS, region: np.ndarray | None = None) -> FastBank:
    data = Pictures(pixels)
    object.__setattr__(data, "region_of_interest", region)
    return FastBankFitter(data, settings).fit(range(len(pixels)))


def _left_half() -> np.ndarray:
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    return left


def test_defects_score_higher(model: FastBank) -> None:
    with torch.no_grad():
        good, _ = model(_images(*[part(100 + i) for i in range(8)]))
        bad, _ = model(_images(*[part(100 + i, defect=True) for i in range(8)]))
    assert float(bad.min()) > float(good.max())


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_gets_a_finite_score(model: FastBank, value: int) -> None:
    with torch.no_grad():
        score, anomaly_map = model(torch.full((1, 64, 64, 1), value, dtype=torch.uint8))
    assert torch.isfinite(score).all()
    assert torch.isfinite(anomaly_map).all()


def test_scores_do_not_depend_on_the_batch(model: FastBank, pictures: np.ndarray) -> None:
    with torch.no_grad():
        together, _ = model(_images(*pictures[:5]))
        alone = torch.cat([model(_images(picture))[0] for picture in pictures[:5]])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("case", "taught"),
    [
        ("all blank: nothing varies at all", np.full((6, 64, 64, 1), 128, np.uint8)),
        ("one picture six times: parts do not vary", np.repeat(part(3)[None, ..., None], 6, axis=0)),
        ("three parts: fewer patches than channels", np.stack([part(i)[..., None] for i in range(3)])),
    ],
)
def test_little_to_learn_from_gives_finite_scores(case: str, taught: np.ndarray) -> None:
    model = _fit(taught)
    with torch.no_grad():
        same, maps = model(_images(taught[0]))
        other, _ = model(_images(part(900, defect=True)))
    assert torch.isfinite(maps).all(), case
    assert torch.isfinite(other).all(), case
    assert float(other) > float(same), case


@pytest.mark.parametrize(
    ("height_px", "width_px", "channels"),
    [(32, 32, 1), (33, 100, 3), (64, 640, 1), (512, 48, 3)],
)
def test_any_size_is_scored(height_px: int, width_px: int, channels: int) -> None:
    random = np.random.default_rng(0)
    taught = random.integers(0, 255, (4, height_px, width_px, channels)).astype(np.uint8)
    model = _fit(taught, FitSettings(bank_size=20, candidates=50))
    with torch.no_grad():
        score, _ = model(torch.from_numpy(taught))
    assert torch.isfinite(score).all()


def test_the_same_seed_gives_the_same_bank_and_another_another(pictures: np.ndarray) -> None:
    def bank(seed: int) -> torch.Tensor:
        settings = FitSettings(bank_size=50, candidates=120, seed=seed)
        return _fit(pictures[:12], settings).bank

    assert torch.equal(bank(1), bank(1))
    assert not torch.equal(bank(1), bank(2))


def test_defective_parts_alone_are_refused(pictures: np.ndarray) -> None:
    with pytest.raises(DataError, match="none of the images to fit on is good"):
        FastBankFitter(Pictures(pictures[:2], ["blot", "blot"]), SETTINGS)


def test_outside_the_region_of_interest_nothing_counts(pictures: np.ndarray) -> None:
    model = _fit(pictures[:12], region=_left_half())
    spoilt = pictures[12].copy()
    spoilt[20:34, 44:58] = 15
    with torch.no_grad():
        scores, maps = model(_images(pictures[12], spoilt))
    assert maps[:, :, 2:].abs().max() == 0
    assert float(scores[1]) == float(scores[0])


@pytest.mark.parametrize(
    ("case", "pixels", "region"),
    [
        (
            "colour; odd sides, so that padding differs from side to side",
            lambda i: part(i, colour=True)[:59, :45],
            None,
        ),
        ("grey, which the first convolution sums; a region of interest", lambda i: part(i)[..., None], _left_half()),
    ],
)
def test_a_stored_and_an_exported_model_judge_alike(
    case: str, pixels: Callable[[int], np.ndarray], region: np.ndarray | None
) -> None:
    pictures = np.stack([pixels(index) for index in range(12)])
    model = _fit(pictures[:6], FitSettings(bank_size=60, candidates=200), region)
    again = rebuild(model.structure())
    again.load_state_dict(model.state_dict())
    graph = to_onnx(again.eval(), pictures.shape[1:])
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    score, anomaly_map = session.run(None, {"images": pictures[6:]})
    with torch.no_grad():
        expected, maps = model(torch.from_numpy(pictures[6:]))
    # The integers are equal; what is left is the rounding of the search.
    torch.testing.assert_close(
        torch.from_numpy(score), expected, rtol=1e-4, atol=1e-3, msg=lambda text: f"{case}: {text}"
    )
    torch.testing.assert_close(torch.from_numpy(anomaly_map), maps, rtol=1e-4, atol=1e-2)
    _computes_in_integers(graph)


def _computes_in_integers(graph: bytes) -> None:
    """Every large convolution reads and gives integers, by channel where weights are concerned."""
    proto = onnx.load_from_string(graph)
    makers = {name: node.op_type for node in proto.graph.node for name in node.output}
    users = {name: node.op_type for node in proto.graph.node for name in node.input}
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv" and len(node.input) == 3]
    assert len(convolutions) == 39
    for node in convolutions:
        assert [makers[name] for name in node.input] == ["DequantizeLinear"] * 3
        assert users[node.output[0]] == "QuantizeLinear"
    (search,) = (node for node in proto.graph.node if node.op_type == "Gemm")
    assert [makers[name] for name in search.input] == ["DequantizeLinear"] * 3


@pytest.mark.parametrize(("queries", "width", "rows"), [(1, 1, 1), (7, 33, 5), (196, 256, 1000)])
def test_products_of_integers_are_those_of_the_runtime(queries: int, width: int, rows: int) -> None:
    class Product(torch.nn.Module):
        outputs = ("found",)

        def __init__(self, rows: torch.Tensor, totals: torch.Tensor, scales: torch.Tensor) -> None:
            super().__init__()
            self.register_buffer("rows", rows)
            self.register_buffer("totals", totals)
            self.register_buffer("scales", scales)

        def forward(self, numbers: torch.Tensor) -> torch.Tensor:
            return multiply(numbers, self.rows, self.totals, self.scales, 0.1875, 128)

    random = np.random.default_rng(width)
    numbers = torch.from_numpy(random.integers(0, 256, (queries, width), dtype=np.uint8))
    held = torch.from_numpy(random.integers(-127, 128, (rows, width), dtype=np.int8))
    totals = torch.from_numpy(random.integers(-(2**22), 2**22, rows, dtype=np.int32))
    scales = torch.from_numpy(random.uniform(1e-3, 1e-1, rows).astype(np.float32))
    product = Product(held, totals, scales).eval()
    program = torch.onnx.export(
        product, (numbers,), dynamo=True, verbose=False, custom_translation_table=dict(TRANSLATIONS)
    )
    assert program is not None
    session = ort.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: numbers.numpy()})
    exact = (numbers.long() - 128) @ held.long().T + totals
    torch.testing.assert_close(product(numbers), (exact.double() * scales.double() * 0.1875).float(), rtol=1e-6, atol=0)
    torch.testing.assert_close(torch.from_numpy(found), product(numbers), rtol=1e-6, atol=0)


def test_a_patch_far_beyond_the_range_of_8_bits_stays_far(model: FastBank) -> None:
    far = torch.zeros(3, model.bank.shape[1])
    far[0, 3], far[1, :2], far[2, 5] = 80.0, 300.0, -2000.0
    with torch.no_grad():
        found = model.search(far)
    exact = model.weights.square() * torch.cdist(far, model.bank).square()
    assert (found.amin(1) >= 0.97 * exact.amin(1)).all()


def test_distances_are_those_of_a_memory_bank_but_for_rounding(model: FastBank, pictures: np.ndarray) -> None:
    with torch.no_grad():
        patches = model.features(_images(*pictures[12:])).permute(0, 2, 3, 1).flatten(0, 2)
        queries = model.whitened(patches)
        found = model.search(queries).amin(1).clamp_min(0).sqrt()
        exact = MemoryBank.search(model, queries).amin(1).clamp_min(0).sqrt()
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0.2)


def test_only_directions_in_which_good_parts_vary_least_are_kept(pictures: np.ndarray) -> None:
    few, many = (_fit(pictures[:12], replace(SETTINGS, dimensions=count)) for count in (40, 80))
    assert few.bank.shape == (100, 40)
    assert many.whitening[:, :40].equal(few.whitening)
    lengths = many.whitening.norm(dim=0)
    assert (lengths[:-1] >= lengths[1:] - 1e-4).all(), "the longer, the less good parts vary"


def test_its_integers_keep_what_the_backbone_sees() -> None:
    trunk = Trunk(pretrained_backbone(), (4, 5))
    ours = IntegerTrunk(trunk, 1)
    pictures = torch.from_numpy(np.stack([part(index) for index in range(4)])).float().unsqueeze(1)
    pictures = (pictures - pictures.mean()) / pictures.std() * 0.4
    with torch.no_grad():
        for given, wanted in zip(ours(pictures), trunk(pictures.expand(-1, 3, -1, -1)), strict=True):
            for one, other in zip(given.transpose(0, 1).flatten(1), wanted.transpose(0, 1).flatten(1), strict=True):
                assert float(torch.corrcoef(torch.stack([one, other]))[0, 1]) > 0.5
            assert 0.8 < float(given.std() / wanted.std()) < 1.2


@pytest.mark.parametrize(
    ("low", "high", "zero"),
    [(0.0, 6.0, 0), (-2.4, 2.4, 128), (1.0, 2.0, 0), (-3.0, -1.0, 255), (0.0, 0.0, 0)],
    ids=["ReLU6", "about 0", "0 is always in it, from below", "from above", "nothing: still no division by 0"],
)
def test_a_scale_reaches_its_range_and_has_zero(low: float, high: float, zero: int) -> None:
    scale = scale_of(low, high)
    assert scale.zero == zero
    assert scale.scale > 0
    assert (0 - scale.zero) * scale.scale <= low + scale.scale
    assert (255 - scale.zero) * scale.scale >= high - scale.scale


def test_weights_in_other_units_are_refused(model: FastBank) -> None:
    state = model.state_dict()
    state["features.trunk.scales"] = state["features.trunk.scales"] * 1.5
    with pytest.raises(ValueError, match="other units"):
        rebuild(model.structure()).load_state_dict(state)


def test_a_bundle_is_int8_as_it_is_and_runs_on_every_provider(fitted_line: Line, tmp_path: Path) -> None:
    # Not of the golden parts: how far one that is remembered is from itself is rounding, in which providers differ.
    model = _fit(np.stack([part(500 + index)[..., None] for index in range(12)]))
    fitted = fitted_line.outcome.fitted
    kept = replace(fitted.kept, scores=np.full_like(fitted.kept.scores, np.nan))  # which another network gave
    fitted = replace(fitted, network=model, limits=Limits(100.0, 100.0), kept=kept)
    with pytest.raises(BundleError, match="fast-bank computes in 8-bit integers and has no float16"):
        export_bundle(fitted, tmp_path / "half", "blots", precision=Precision.FP16)
    bundle, parity = export_bundle(fitted, tmp_path / "blots", "blots", precision=Precision.INT8)
    assert bundle.manifest.provenance["precision"] == "int8"
    assert parity.reduced is None
    verdicts = {golden.verdict for golden in bundle.manifest.golden}
    assert verdicts == {Verdict.PASS, Verdict.REJECT}
    for provider in ("CPU", "OpenVINO") if openvino_installed() else ("CPU",):
        result = self_test(Engine(bundle, provider, 1), lambda data: _prepared(fitted, data))
        assert result.passed, provider


def _prepared(fitted: Fitted, data: bytes) -> np.ndarray:
    return golden_input(GoldenFrame("golden/good-1.png", "image/png", data), fitted.preparation)
