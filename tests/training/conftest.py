"""One small model, fitted and exported once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_line import Line
from training_pictures import save, stamped, write_parts

from inspector.inference.bundle import MODEL_FILE
from training.data.layouts import open_dataset
from training.export import export_bundle
from training.fit import FitPlan, fit
from training.models.memory_bank.fitting import FitSettings

PLAN = FitPlan(width_px=64, height_px=64, seed=3, settings=FitSettings(bank_size=150, candidates=2000))


@pytest.fixture(scope="session")
def fitted_line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """24 good parts and 8 defective ones of 64 px, fitted with PLAN and exported."""
    folder: Path = tmp_path_factory.mktemp("training")
    dataset = open_dataset(str(write_parts(folder / "parts", good=24, defects={"blot": 5, "odd [red]name": 3})))
    outcome = fit(dataset, PLAN)
    bundle, parity = export_bundle(outcome.fitted, folder / "bundle", "blots-1")
    return Line(dataset, PLAN, outcome, bundle, parity)


@pytest.fixture
def exported(fitted_line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing a graph takes seconds: tests of what comes after it take the graph that there is."""
    graph = fitted_line.bundle.read(MODEL_FILE)
    monkeypatch.setattr("training.export.to_onnx", lambda network, shape: graph)


@pytest.fixture
def rejects(tmp_path: Path) -> list[Path]:
    """Pictures that the model rejects, of good parts with a stamp."""
    return [save(tmp_path / "rejects" / f"{seed}.png", stamped(seed)) for seed in range(700, 703)]
