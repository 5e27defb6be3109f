"""Options that several commands share, how they are read, and commands that take theirs as one value."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import typer

from inspector.errors import ConfigError
from inspector.imaging.locate import LocationSpec, NoLocation, location_from_dict

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")]
Data = Annotated[
    str, typer.Argument(metavar="DATA", help="Folder of images (good/ and one per defect class), a snapshot, or elpv.")
]
Location = Annotated[
    Path | None, typer.Option("--location", help="TOML file that says where the part is, in its table location.")
]
NewBundle = Annotated[Path, typer.Option("--out", metavar="BUNDLE_DIR", help="New folder for the bundle.")]
PrecisionName = Annotated[
    Literal["fp32", "int8", "fp16"],
    typer.Option("--precision", help="How the graph computes: int8 for CPUs, fp16 for GPUs; both must judge as fp32."),
]
Name = Annotated[str, typer.Option("--name", help="Name of the bundle; the folder's name if not given.")]
FalseRejectRate = Annotated[
    float, typer.Option("--false-reject-rate", help="Share of good parts that the limit may reject.")
]
Confidence = Annotated[float, typer.Option("--confidence", help="Confidence of that promise.")]
ReportFile = Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write the report as one HTML page.")]
TestSplit = Annotated[Path | None, typer.Option("--split", metavar="FILE", help="Judge only its test images.")]
Provider = Annotated[str, typer.Option("--provider", help="Provider that runs the model.")]
Threads = Annotated[int, typer.Option("--threads", min=0, max=256, help="Threads of the engine, 0 for one per core.")]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON.")]

T = TypeVar("T")


def takes(options: type[T]) -> Callable[[Callable[[T], None]], Callable[..., None]]:
    """Make a function of one dataclass a command: each annotated field becomes an option or an argument.

    Commands with many options stay readable, and what was typed travels as one value.
    """

    def command(function: Callable[[T], None]) -> Callable[..., None]:
        hints = get_type_hints(options, include_extras=True)

        def typed(**values: Any) -> None:
            function(options(**values))

        parameters = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
                annotation=hints[field.name],
            )
            for field in dataclasses.fields(options)  # type: ignore[arg-type]
        ]
        typed.__doc__ = function.__doc__
        typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        typed.__annotations__ = hints
        return typed

    return command


def bundle_name(name: str, out: Path) -> str:
    """The name of the bundle in folder `out`, checked before the minutes of work that would end there. Raises ConfigError."""
    chosen = name or out.absolute().name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", chosen):
        raise ConfigError(
            f"a bundle cannot be named {chosen!r}: give --name with up to 64 letters, digits, dots, dashes or underscores, "
            "a letter or digit first"
        )
    return chosen


def read_location(path: Path | None) -> LocationSpec:
    """The table [location] of a TOML file. Raises ConfigError."""
    if path is None:
        return NoLocation()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}; check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML file: {error}") from error
    table = document.get("location")
    if not isinstance(table, dict):
        raise ConfigError(f"{path} has no table [location]; add one with kind, as in a line file")
    return location_from_dict(table, path.parent)
