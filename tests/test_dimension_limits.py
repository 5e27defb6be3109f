"""Dimension limits on a real line: from the recipe's scale to a length in mm on record, and what a wrong recipe is told."""

from __future__ import annotations

import io
import queue
import socket
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image
from toys import toy_bundle
from typer.testing import CliRunner

from inspector.checkup import check_line
from inspector.cli import app
from inspector.errors import ConfigError
from inspector.service import run_service
from inspector.settings import load_line_file, read_line_file
from inspector.v1 import inspection_pb2 as values
from inspector.v1 import inspection_service_pb2 as api
from inspector.v1.inspection_service_pb2_grpc import InspectionServiceStub

DIMENSIONS = """
[recipe.toy.dimensions]
mm_per_px = 0.1
[[recipe.toy.dimensions.limit]]
defect_class = "scratch"
max_length_mm = 2.0
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def line_file(folder: Path, dimensions: str, *, outlines: bool = True) -> Path:
    toy_bundle(folder / "toy", classes=("scratch", "dent"), outlines=outlines)
    path = folder / "line.toml"
    path.write_text(
        f"""
[line]
name = "l1"
[grpc]
listen = "127.0.0.1:{free_port()}"
[modbus]
listen = "127.0.0.1:{free_port()}"
[[station]]
name = "s1"
camera = "c1"
unit = 1
recipe = "toy"
[recipe.toy]
bundle = "toy"
deadline_ms = 60000
[recipe.toy.check]
min_mean = 0.0
{dimensions}"""
    )
    return path


def scratched(length_px: int) -> bytes:
    """A dark part of 32 px with a bright scratch; its mean, the toy's score, is far below the limit."""
    pixels = np.zeros((32, 32), np.uint8)
    pixels[10, 4 : 4 + length_px] = 255
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def inspect(address: object, *frames: bytes) -> list[values.Inspection]:
    requests: queue.SimpleQueue[api.InspectRequest | None] = queue.SimpleQueue()
    with grpc.insecure_channel(str(address)) as channel:
        call = InspectionServiceStub(channel).Inspect(iter(requests.get, None), timeout=60)
        requests.put(api.InspectRequest(hello=api.Hello(line="l1", camera="c1", client="test")))
        assert next(call).HasField("session")
        came = []
        for trigger, data in enumerate(frames, start=1):
            frame = values.Frame(
                trigger=trigger, part_id=f"P{trigger}", pixel_format=values.PIXEL_FORMAT_PNG, data=data
            )
            requests.put(api.InspectRequest(frame=frame))
            came.append(next(call).inspection)
        requests.put(None)
    return came


def test_a_scratch_too_long_in_mm_is_rejected_told_and_on_record(tmp_path: Path) -> None:
    path = line_file(tmp_path, DIMENSIONS)
    settings = load_line_file(path)
    assert check_line(path).problems == ()
    with run_service(settings):
        short, long = inspect(settings.grpc_listen, scratched(15), scratched(25))
    assert (short.verdict, short.reason) == (values.VERDICT_PASS, values.REASON_WITHIN_LIMITS)
    assert (long.verdict, long.reason) == (values.VERDICT_REJECT, values.REASON_DIMENSION_ABOVE_LIMIT)
    assert long.score < long.limit
    assert long.defect_class == "scratch"
    (finding,) = long.findings
    assert finding.size.length_mm == pytest.approx(2.502, abs=1e-3)
    assert finding.size.area_mm2 == pytest.approx(0.25)
    assert (finding.size.x_mm, finding.size.y_mm) == pytest.approx((1.65, 1.05))
    assert (finding.centre.x_px, finding.centre.y_px) == pytest.approx((16.5, 10.5))
    output = CliRunner().invoke(app, ["show", "P2", "--line", str(path)]).output
    shown = " ".join(output.replace("│", " ").split())  # a table folds its cells
    assert "DIMENSION_ABOVE_LIMIT" in shown
    assert "mm long, 0.25 mm², at x" in shown
    assert "scratch is 2.5 mm long, the limit is 2 mm" in shown


@pytest.mark.parametrize(
    ("dimensions", "outlines", "words"),
    [
        pytest.param(
            DIMENSIONS.replace("scratch", "scratsh"), True, "its classes are scratch, dent", id="unknown class"
        ),
        pytest.param(DIMENSIONS, False, "outlines no classes", id="a bundle that outlines none"),
    ],
)
def test_limits_that_the_bundle_cannot_keep_stop_the_station(
    tmp_path: Path, dimensions: str, outlines: bool, words: str
) -> None:
    path = line_file(tmp_path, dimensions, outlines=outlines)
    (problem,) = check_line(path).problems
    assert problem.key == "recipe.toy.dimensions"
    assert words in problem.fact
    with pytest.raises(ConfigError, match=words), run_service(load_line_file(path)):
        pass


def test_all_faults_of_the_table_are_told_at_once(tmp_path: Path) -> None:
    table = DIMENSIONS.replace("0.1", "-0.1").replace("max_length_mm", "max_lenght_mm")
    table += """
[[recipe.toy.dimensions.limit]]
defect_class = "dent"
[[recipe.toy.dimensions.limit]]
defect_class = "dent"
max_area_mm2 = nan
zone = { x_mm = 0.0, y_mm = 0.0, width_mm = 0.0, height_mm = 1.0 }
"""
    told = {problem.key: str(problem) for problem in read_line_file(line_file(tmp_path, table)).problems}
    place = "recipe.toy.dimensions"
    assert set(told) == {
        f"{place}.mm_per_px",
        f"{place}.limit.0.max_lenght_mm",
        f"{place}.limit.1",
        f"{place}.limit.2.max_area_mm2",
        f"{place}.limit.2.zone.width_mm",
    }
    assert 'did you mean "max_length_mm"' in told[f"{place}.limit.0.max_lenght_mm"]
    assert "limits nothing" in told[f"{place}.limit.1"]
