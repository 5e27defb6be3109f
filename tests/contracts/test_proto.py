"""The public API: lint clean, stubs as the generator makes them, the same numbers in proto and Python."""

from __future__ import annotations

import enum
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from google.protobuf.descriptor import EnumDescriptor

from inspector import part
from inspector.signalling import commands, signal
from inspector.v1 import inspection_pb2, inspection_service_pb2, station_pb2

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "inspector" / "v1"
ENUMS: dict[str, EnumDescriptor] = {
    **inspection_pb2.DESCRIPTOR.enum_types_by_name,
    **inspection_service_pb2.DESCRIPTOR.enum_types_by_name,
}


def test_buf_lint_is_clean() -> None:
    buf = Path(sys.executable).with_name("buf")
    run = subprocess.run([buf, "lint"], cwd=ROOT / "proto", capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr


def test_stubs_are_reproducible(tmp_path: Path) -> None:
    """`make proto` would change nothing."""
    protos = sorted(str(path) for path in (ROOT / "proto" / "inspector" / "v1").glob("*.proto"))
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", *outputs, *protos]
    subprocess.run(command, check=True, timeout=60)
    made = {path.name: path.read_bytes() for path in (tmp_path / "inspector" / "v1").iterdir()}
    kept = {path.name: path.read_bytes() for path in STUBS.glob("*_pb2*.py*")}
    assert sorted(made) == sorted(kept)
    for name, content in made.items():
        assert kept[name] == content, f"{name} is not what its proto says: run make proto"


def test_messages_of_the_inference_protocol_are_reproducible(tmp_path: Path) -> None:
    """As above, for what the inspector says to inference servers; it has no service of its own."""
    proto = "inspector/inference/v2/open_inference"
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", *outputs, f"{proto}.proto"]
    subprocess.run(command, check=True, timeout=60, cwd=ROOT / "proto")
    for suffix in ("_pb2.py", "_pb2.pyi"):
        assert (ROOT / (proto + suffix)).read_bytes() == (tmp_path / (proto + suffix)).read_bytes(), "run make proto"


NAMES = {"CommandAnswer": commands.Answer, "CommandReason": commands.Why, "StationFault": commands.Fault}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_enum_of_commands_has_the_numbers_of_the_registers(name: str) -> None:
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() + "_"
    in_proto = {v.name.removeprefix(prefix): v.number for v in station_pb2.DESCRIPTOR.enum_types_by_name[name].values}
    assert in_proto.pop("UNSPECIFIED") == 0
    assert {"NONE": 0, **in_proto} == {member.name: member.value for member in NAMES[name]}


def test_every_state_of_a_station_is_in_the_proto() -> None:
    names = {value.name for value in station_pb2.DESCRIPTOR.enum_types_by_name["StationState"].values}
    assert names == {f"STATION_STATE_{state.name}" for state in signal.StationState} | {"STATION_STATE_UNSPECIFIED"}
    assert set(station_pb2.DESCRIPTOR.enum_types_by_name) == {*NAMES, "StationState"}


@pytest.mark.parametrize("name", sorted(ENUMS))
def test_every_enum_of_the_proto_is_that_of_part(name: str) -> None:
    numbers: type[enum.IntEnum] = getattr(part, name)
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() + "_"
    in_proto = {value.name.removeprefix(prefix): value.number for value in ENUMS[name].values}
    assert in_proto.pop("UNSPECIFIED") == 0
    assert in_proto == {member.name: member.value for member in numbers}


def test_every_enum_of_part_is_in_the_proto() -> None:
    in_python = {name for name, value in vars(part).items() if isinstance(value, enum.EnumType) and value.__members__}
    assert in_python == set(ENUMS)


def test_the_runtime_asks_for_libraries_as_new_as_its_stubs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floors = dict(requirement.split(">=") for requirement in project["dependencies"] if ">=" in requirement)
    generated = {
        "grpcio": r"GRPC_GENERATED_VERSION = '([\d.]+)'",
        "protobuf": r"# Protobuf Python Version: ([\d.]+)",
    }
    text = "".join(path.read_text() for path in STUBS.glob("*.py"))
    for library, pattern in generated.items():
        for version in set(re.findall(pattern, text)):
            assert _version(floors[library]) >= _version(version), f"stubs need {library}>={version}"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text.split(",")[0]))
