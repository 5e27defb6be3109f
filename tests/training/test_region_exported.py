"""A region of interest, and colour, go all the way into the bundle: every kind exports a graph that looks only there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnxruntime
import pytest
import torch
from training_kinds import SMALL
from training_pictures import mark, write_parts

from inspector.inference.bundle import MODEL_FILE, Bundle
from inspector.inference.engine import Engine
from training.data.layouts import open_dataset
from training.export import export_bundle
from training.exporting.biases import BiasCorrection
from training.exporting.int8 import Int8
from training.fit import FitPlan, Fitted, fit
from training.models.registry import KINDS

LEFT, RIGHT = 8, 56
"""Columns between which defects count."""


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fitted]:
    """Every kind, fitted on parts in colour of which only the middle counts."""
    root = mark(write_parts(tmp_path_factory.mktemp("parts"), good=12, defects={"blot": 6}, colour=True))
    region = np.zeros((64, 64), np.uint8)
    region[:, LEFT:RIGHT] = 255
    dataset = open_dataset(str(root))
    plans = {kind: FitPlan(64, 64, kind=kind, settings=SMALL[kind], region_of_interest=region) for kind in KINDS}
    return {kind: fit(dataset, plan).fitted for kind, plan in plans.items()}


@pytest.fixture(scope="module")
def bundle_of(fitted: dict[str, Fitted], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """The bundle of a kind, exported once."""
    return cache(lambda kind: export_bundle(fitted[kind], tmp_path_factory.mktemp("bundle") / kind, "middle-1")[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_looks_where_defects_count(
    kind: str, fitted: dict[str, Fitted], bundle_of: Callable[[str], Bundle]
) -> None:
    bundle = bundle_of(kind)
    images = fitted[kind].kept.judged[:3].copy()
    spoilt = images.copy()
    spoilt[:, :, : LEFT // 2] = 15
    with torch.no_grad():
        wanted = fitted[kind].network(torch.from_numpy(images))[0].numpy()
    before, after = ([each.score for each in Engine(bundle).infer(some)] for some in (images, spoilt))
    np.testing.assert_allclose(before, wanted, rtol=0.02)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)


def test_corrected_biases_keep_such_a_guided_model_close_to_itself(
    fitted: dict[str, Fitted], bundle_of: Callable[[str], Bundle], tmp_path: Path
) -> None:
    """All of it in 8 bits, before any group is left float: the mean score moves less than without the correction."""
    graph, kept = bundle_of("guided").read(MODEL_FILE), fitted["guided"].kept
    made = Int8(graph, kept.taught, tmp_path)
    with patch.object(BiasCorrection, "correct", lambda self, proto: None):
        rounded = made.make(made.groups)
    wanted, corrected, uncorrected = (scores_of(each, kept.judged) for each in (graph, made.make(made.groups), rounded))
    assert abs(corrected.mean() - wanted.mean()) < abs(uncorrected.mean() - wanted.mean())
    assert np.corrcoef(corrected, wanted)[0, 1] > 0.98


def scores_of(graph: bytes, images: np.ndarray) -> np.ndarray:
    """As ONNX Runtime gives them: float (n,)."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.array([session.run(["score"], {"images": image[None]})[0][0] for image in images])
