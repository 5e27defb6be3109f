"""The API through yagrc, a reflection client that nobody here wrote: no file of `inspector.v1` is used by it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

from rpc_line import Line

CLIENT = """
import sys
import grpc
from yagrc import reflector

target = sys.argv[1]
with grpc.insecure_channel(target) as channel:
    client = reflector.GrpcReflectionClient()
    client.load_protocols(channel)
    Stub = client.service_stub_class("inspector.v1.InspectionService")
    Request = client.message_class("inspector.v1.InspectFrameRequest")
    Frame = client.message_class("inspector.v1.Frame")
    stub = Stub(channel)
    answer = stub.InspectFrame(Request(line="a", camera="cam1", frame=Frame(trigger=1, pixel_format=1, data=b"\\1")))
    print(answer.inspection.name, answer.inspection.verdict)
    Message = client.message_class("inspector.v1.InspectRequest")
    Hello = client.message_class("inspector.v1.Hello")
    messages = [Message(hello=Hello(line="a", camera="cam1", client="yagrc"))]
    messages += [Message(frame=Frame(trigger=n, pixel_format=11, data=bytes(n))) for n in (2, 3)]
    for response in stub.Inspect(iter(messages)):
        print(response.WhichOneof("message"), response.session.next_trigger or response.inspection.trigger)
    Health = client.service_stub_class("grpc.health.v1.Health")
    Check = client.message_class("grpc.health.v1.HealthCheckRequest")
    for service in ("", "inspector.v1.InspectionService"):
        print("health", Health(channel).Check(Check(service=service)).status)
    assert "inspector.v1.inspection_pb2" not in sys.modules
"""


def test_reflection_health_and_a_camera_stream_by_a_foreign_client(line: Line) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CLIENT), line.server.address],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert out.returncode == 0, out.stderr
    assert out.stdout.splitlines() == [
        "lines/a/inspections/1 2",
        "session 2",
        "inspection 2",
        "inspection 3",
        "health 1",
        "health 1",
    ]
