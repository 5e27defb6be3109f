"""Fitting on a real GPU, where torch finds one. Elsewhere `test_device.py` stands for it, and cannot show its arithmetic."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_kinds import SMALL
from training_pictures import mark, write_parts

from inspector.inference.engine import Engine
from training.data.layouts import open_dataset
from training.data.samples import Dataset
from training.device import DeviceChoice, computing_on
from training.export import export_bundle
from training.fit import FitPlan, Fitted, fit
from training.loop import LoopSettings
from training.models.registry import KINDS
from training.statistics import auroc

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")

SETTINGS = {
    **SMALL,
    "classifier": replace(SMALL["classifier"], views=2, train_from=4, loop=LoopSettings(epochs=2, batch=8, rate=3e-4)),
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Good parts, and blots with a mask each."""
    return open_dataset(str(mark(write_parts(tmp_path_factory.mktemp("parts"), good=16, defects={"blot": 8}))))


def fitted_on(device: DeviceChoice, parts: Dataset, kind: str) -> Fitted:
    """Its limit is set on parts held out, so that each learns once."""
    plan = FitPlan(64, 64, kind=kind, settings=SETTINGS[kind], false_reject_rate=0.4, confidence=0.6)
    with computing_on(device):
        return fit(parts, plan).fitted


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_on_the_gpu_gives_the_same_again_unless_torch_warns(kind: str, parts: Dataset) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        first, again = (fitted_on(DeviceChoice.CUDA, parts, kind).network.state_dict() for _ in range(2))
    assert {tensor.device.type for tensor in first.values()} == {"cpu"}
    others = [name for name in first if not torch.equal(first[name], again[name])]
    assert not others or any("deterministic" in str(warning.message) for warning in told), others


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_on_the_gpu_judges_as_one_on_the_cpu_and_passes_the_gate(
    kind: str, parts: Dataset, tmp_path: Path
) -> None:
    ours, theirs = (fitted_on(device, parts, kind) for device in (DeviceChoice.CUDA, DeviceChoice.CPU))
    bundle, parity = export_bundle(ours, tmp_path / "bundle", "gpu-1")
    assert parity.score < 1e-2
    pictures = ours.kept.judged
    scores = np.array([each.score for each in Engine(bundle).infer(pictures)])
    with torch.no_grad():
        on_cpu = theirs.network(torch.from_numpy(pictures))[0].numpy()
    rejected = on_cpu > theirs.limits.score
    assert np.corrcoef(scores, on_cpu)[0, 1] > 0.9
    told_apart = auroc(scores[~rejected], scores[rejected])
    assert told_apart is not None, "both verdicts are among the pictures"
    assert told_apart > 0.9
