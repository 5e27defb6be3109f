"""The fastest provider that passes the golden check runs the bundle; the choice is kept for exactly this machine and bundle."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys import toy_bundle, toy_prepare

from inspector.errors import EngineError, GoldenMismatch
from inspector.inference import choice
from inspector.inference.bundle import Bundle
from inspector.inference.choice import choose_engine
from inspector.inference.engine import Engine, self_test
from inspector.inference.self_test import SelfTest
from inspector.models import prove_bundle


class Bench:
    """Providers that take as long as told, by a clock of their own; every engine is the toy on the CPU."""

    def __init__(self, bundle: Bundle, **ms: float | Exception) -> None:
        self.bundle, self.ms = bundle, ms
        self.proved: list[str] = []
        self._now_s = 0.0
        self._provider = ""

    def prove(self, provider: str) -> tuple[Engine, SelfTest]:
        self.proved.append(provider)
        cost = self.ms[provider]
        if isinstance(cost, Exception):
            raise cost
        self._provider = provider
        engine = Engine(self.bundle, threads=1)
        engine.provider = provider
        return engine, self_test(engine, toy_prepare)

    def clock(self) -> Iterator[float]:
        while True:
            yield self._now_s
            cost = self.ms[self._provider]
            assert isinstance(cost, float)
            self._now_s += cost / 1e3

    def choose(self, kept: Path | None = None) -> str:
        ticks = self.clock()
        engine, test = choose_engine(
            self.bundle, self.prove, 1, kept, providers=list(self.ms), clock=lambda: next(ticks)
        )
        assert test.passed
        return engine.provider


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return toy_bundle(tmp_path / "toy")


@pytest.mark.parametrize(
    ("ms", "chosen"),
    [
        pytest.param({"CPU": 4.0, "OpenVINO": 2.0}, "OpenVINO", id="the faster"),
        pytest.param({"OpenVINO": 2.0, "CPU": 4.0}, "OpenVINO", id="in any order"),
        pytest.param({"CPU": 2.0, "OpenVINO": 4.0}, "CPU", id="the CPU's where it is faster"),
        pytest.param({"CPU": 4.0, "OpenVINO": 3.9}, "CPU", id="and where the gain is small"),
        pytest.param({"CPU": 4.0, "OpenVINO": 3.0, "CUDA": 1.0}, "CUDA", id="of three"),
        pytest.param({"CPU": 4.0, "CUDA": EngineError("no driver")}, "CPU", id="one that does not start"),
        pytest.param(
            {"CPU": 4.0, "OpenVINO": GoldenMismatch("other scores\ntable")}, "CPU", id="one that scores otherwise"
        ),
        pytest.param(
            {"CPU": GoldenMismatch("saturates"), "OpenVINO": 9.0}, "OpenVINO", id="the CPU's scores otherwise"
        ),
    ],
)
def test_the_fastest_that_passes(bundle: Bundle, ms: dict[str, float | Exception], chosen: str) -> None:
    assert Bench(bundle, **ms).choose() == chosen


def test_the_choice_is_logged_with_what_was_measured(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Bench(bundle, CPU=4.0, OpenVINO=2.0, CUDA=EngineError("no driver\nmore")).choose()
    assert (
        f"bundle {bundle.label} runs on OpenVINO: CPU 4.00 ms, OpenVINO 2.00 ms, CUDA refused (no driver)"
        in caplog.text
    )


def test_if_none_passes_the_error_is_that_of_the_cpu(bundle: Bundle) -> None:
    with pytest.raises(GoldenMismatch, match="the CPU's"):
        Bench(bundle, OpenVINO=EngineError("its own"), CPU=GoldenMismatch("the CPU's")).choose()


def test_with_one_provider_nothing_is_measured(bundle: Bundle, tmp_path: Path) -> None:
    bench = Bench(bundle, CPU=4.0)
    assert bench.choose(tmp_path / "kept.json") == "CPU"
    assert bench.proved == ["CPU"]
    assert not (tmp_path / "kept.json").exists()


def test_a_choice_is_kept_and_proved_again(bundle: Bundle, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    assert Bench(bundle, CPU=4.0, OpenVINO=2.0).choose(kept) == "OpenVINO"
    again = Bench(bundle, CPU=1.0, OpenVINO=2.0)  # would be chosen otherwise if it were measured
    assert again.choose(kept) == "OpenVINO"
    assert again.proved == ["OpenVINO"]


def test_a_kept_choice_that_fails_now_is_measured_again(bundle: Bundle, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    Bench(bundle, CPU=4.0, OpenVINO=2.0).choose(kept)
    assert Bench(bundle, CPU=4.0, OpenVINO=GoldenMismatch("updated driver")).choose(kept) == "CPU"
    assert Bench(bundle, CPU=4.0, OpenVINO=2.0).choose(kept) == "CPU"  # that choice is kept now


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("ort.__version__", "9.9"), id="another ONNX Runtime"),
        pytest.param(("openvino_version", lambda: "9.9"), id="another OpenVINO"),
        pytest.param(("_processor", lambda: "another"), id="another processor"),
        pytest.param(("inspector.__version__", "9.9"), id="another inspector"),
    ],
)
def test_a_choice_holds_for_what_was_measured(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, object]
) -> None:
    kept = tmp_path / "kept.json"
    Bench(bundle, CPU=4.0, OpenVINO=2.0).choose(kept)
    monkeypatch.setattr(f"{choice.__name__}.{change[0]}", change[1])
    assert Bench(bundle, CPU=1.0, OpenVINO=2.0).choose(kept) == "CPU"


def test_another_bundle_is_measured_for_itself(bundle: Bundle, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    Bench(bundle, CPU=4.0, OpenVINO=2.0).choose(kept)
    other = toy_bundle(tmp_path / "other", name="other")
    assert Bench(other, CPU=1.0, OpenVINO=2.0).choose(kept) == "CPU"
    assert Bench(bundle, CPU=1.0, OpenVINO=2.0).choose(kept) == "OpenVINO"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[1, 2]", id="no table"),
        pytest.param('{"x": 3}', id="no choice in it"),
        pytest.param("[" * 100_000, id="nested too deeply"),
        pytest.param("\x00\x01", id="no text"),
    ],
)
def test_a_damaged_file_only_costs_a_measurement(bundle: Bundle, tmp_path: Path, text: str) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(text)
    assert Bench(bundle, CPU=4.0, OpenVINO=2.0).choose(kept) == "OpenVINO"
    assert Bench(bundle, CPU=1.0, OpenVINO=2.0).choose(kept) == "OpenVINO"


def test_a_place_that_cannot_be_written_is_told(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Bench(bundle, CPU=4.0, OpenVINO=2.0).choose(tmp_path / "missing" / "kept.json") == "OpenVINO"
    assert "measured at every start" in caplog.text


def test_real_providers(bundle: Bundle, tmp_path: Path) -> None:
    """Whatever is installed here, one of it passes and is kept."""
    first, test = prove_bundle(bundle, "auto", 1, tmp_path / "kept.json")
    second, _ = prove_bundle(bundle, "auto", 1, tmp_path / "kept.json")
    assert test.passed
    assert first.provider == second.provider
