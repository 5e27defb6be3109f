"""A classifier on a line: fitted from a folder, served by a real `inspector serve`, its class names in verdicts and records."""

from __future__ import annotations

import queue
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest
from training_pictures import part, save, write_parts
from typer.testing import CliRunner

from inspector.cli import app
from inspector.sim.demo.processes import Children, free_ports, wait_serving
from inspector.v1 import inspection_pb2 as values
from inspector.v1 import inspection_service_pb2 as api
from inspector.v1.inspection_service_pb2_grpc import InspectionServiceStub
from training.data.layouts import open_dataset
from training.export import export_bundle
from training.fit import FitPlan, fit
from training.models.classifier.settings import ClassifierSettings


def _lined(seed: int) -> np.ndarray:
    pixels = part(seed)
    row = 8 + seed * 7 % 44
    pixels[row : row + 4] = 250
    return pixels


def _stranger() -> np.ndarray:
    """Another product altogether: a checkerboard."""
    return np.asarray(np.indices((64, 64)).sum(0) // 5 % 2 * 200 + 20, np.uint8)


@pytest.fixture(scope="module")
def line_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line of one station with a classifier's bundle."""
    folder = tmp_path_factory.mktemp("served")
    data = write_parts(folder / "data", good=30, defects={"blot": 12})
    for seed in range(12):
        save(data / "line" / f"{seed}.png", _lined(seed))
    plan = FitPlan(
        64, 64, kind="classifier", settings=ClassifierSettings(views=2), false_reject_rate=0.1, confidence=0.5
    )
    export_bundle(fit(open_dataset(str(data)), plan).fitted, folder / "classes", "classes-1")
    rpc, modbus = free_ports(2)
    path = folder / "line.toml"
    path.write_text(
        f"""
[line]
name = "l1"
[grpc]
listen = "127.0.0.1:{rpc}"
[modbus]
listen = "127.0.0.1:{modbus}"
[[station]]
name = "s1"
camera = "c1"
unit = 1
recipe = "tiles"
[recipe.tiles]
bundle = "classes"
deadline_ms = 60000
"""
    )
    return path


def _inspect(address: str, pictures: Sequence[Path]) -> list[values.Inspection]:
    requests: queue.SimpleQueue[api.InspectRequest | None] = queue.SimpleQueue()
    came = []
    with grpc.insecure_channel(address) as channel:
        call = InspectionServiceStub(channel).Inspect(iter(requests.get, None), timeout=120)
        requests.put(api.InspectRequest(hello=api.Hello(line="l1", camera="c1", client="test")))
        assert next(call).HasField("session")
        for trigger, picture in enumerate(pictures, start=1):
            frame = values.Frame(
                trigger=trigger, part_id=picture.stem, pixel_format=values.PIXEL_FORMAT_PNG, data=picture.read_bytes()
            )
            requests.put(api.InspectRequest(frame=frame))
            came.append(next(call).inspection)
        requests.put(None)
    return came


def test_verdicts_of_the_service_name_the_class_and_the_stranger(line_file: Path, tmp_path: Path) -> None:
    shown = {
        "fine": (part(900), values.VERDICT_PASS, ""),
        "blotted": (part(901, defect=True), values.VERDICT_REJECT, "blot"),
        "lined": (_lined(902), values.VERDICT_REJECT, "line"),
        "strange": (_stranger(), values.VERDICT_REJECT, "unfamiliar"),
    }
    pictures = [save(tmp_path / f"{name}.png", pixels) for name, (pixels, _, _) in shown.items()]
    address = next(line for line in line_file.read_text().splitlines() if "listen" in line).split('"')[1]
    with Children() as children:
        command = [sys.executable, "-m", "inspector", "serve", str(line_file)]
        serve = children.start("the inspector", command, tmp_path / "serve.log")
        wait_serving(address, serve, 60)
        came = _inspect(address, pictures)
        serve.stop()
    assert [(i.verdict, i.defect_class) for i in came] == [(verdict, name) for _, verdict, name in shown.values()]
    fine, blotted, lined, strange = came
    assert fine.score <= fine.limit < min(blotted.score, lined.score, strange.score)
    assert not fine.findings
    for inspection in (blotted, lined, strange):
        assert {finding.defect_class for finding in inspection.findings} == {inspection.defect_class}
    told = CliRunner().invoke(app, ["show", "blotted", "--line", str(line_file)]).output
    assert "blot" in told
    assert "REJECT" in told
