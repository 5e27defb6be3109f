"""Times and memory: worth something only on a machine that does nothing else, so they are a group of their own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspector.errors import ConfigError
from inspector.inference.bundle import open_bundle
from inspector.inference.engine import available_providers
from tests.benchmarks import precision
from tests.benchmarks.training.code import closure, code_digest
from tests.benchmarks.training.kept import Figures, folder_digest, packages
from tests.benchmarks.training.peers import peer
from tests.benchmarks.training.place import SAYS_ONLY, Place, kind_code
from tests.benchmarks.training.precisions import ALL_KINDS, FP32, INT8, THREADS, TILES, Precisions, precisions_of
from tests.benchmarks.training.tasks import Target, console

SIDE_PX = 224
TIMES = "float32 on CPU, times as fast"
FASTEST, RATIO = "fastest that passes, p50", "INT8 on CPU, times as fast as float32"
_ROUNDS = 300
_QUALITY = 95
_ENGINE = ("inspector.inference.engine", "inspector.imaging.decode", "inspector.imaging.normalise")


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A verdict from a tile as a JPEG file of 224 px: decoded, resized to the model's input and scored, in one process.

    Both precisions on every provider that gives the golden scores, taken in turn, so that all suffer alike.
    """

    name: str
    graphs: Precisions
    seeds: int = 1

    def missing(self, place: Place) -> str:
        return self.graphs.missing(place)

    def needs(self, place: Place) -> str:
        return ""

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        code = code_digest(closure(_ENGINE, without=SAYS_ONLY) | {"tests.benchmarks.precision"})
        return {"what": "verdicts", "of": self.graphs.decides(place, seed), "code": code, "machine": _machine()}

    def measure(self, place: Place, seed: int) -> Figures:
        folder = self.graphs.made(place, seed)
        paths = [folder / name for name in (FP32, INT8) if (folder / name).exists()]
        rows = precision.measure(paths, THREADS, _ROUNDS, pictures_of(paths[0]))
        for row in rows:
            if row.refused:
                console.print(f"{self.name}, {row.precision} on {row.provider}: {row.refused}", markup=False)
        passed = {(row.precision, row.provider): row for row in rows if not row.refused}
        figures = {f"{name} on {provider}, p50": row.p50_ms for (name, provider), row in passed.items()}
        figures[FASTEST] = min(row.p50_ms for row in passed.values())
        if (FP32, "CPU") in passed and (INT8, "CPU") in passed:
            figures[RATIO] = passed[FP32, "CPU"].p50_graph_ms / passed[INT8, "CPU"].p50_graph_ms
        return figures


@dataclass(frozen=True, slots=True)
class Versus:
    """How many times as fast the one kind's float32 graph gives a verdict as the other's, on the CPU provider, in turn.

    Of the golden images of the one, as JPEG files of 224 px if `small`.
    """

    name: str
    graphs: Precisions
    other: Precisions
    small: bool
    seeds: int = 1

    def missing(self, place: Place) -> str:
        return self.graphs.missing(place)

    def needs(self, place: Place) -> str:
        return ""

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        code = code_digest(closure(_ENGINE, without=SAYS_ONLY) | {"tests.benchmarks.precision"})
        both = [graphs.decides(place, seed) for graphs in (self.graphs, self.other)]
        return {"what": "versus", "of": both, "small": self.small, "code": code, "machine": _machine()}

    def measure(self, place: Place, seed: int) -> Figures:
        paths = [graphs.made(place, seed) / FP32 for graphs in (self.graphs, self.other)]
        golden = open_bundle(paths[0])
        pictures = pictures_of(paths[0]) if self.small else [golden.read(one.file) for one in golden.manifest.golden]
        rows = precision.measure(paths, THREADS, _ROUNDS, pictures, ("CPU",))
        return {TIMES: rows[1].p50_ms / rows[0].p50_ms}


def pictures_of(bundle: Path) -> list[bytes]:
    """The bundle's golden images as JPEG files of 224 px."""
    opened = open_bundle(bundle)
    files = []
    for image in opened.manifest.golden:
        pixels = cv2.imdecode(np.frombuffer(opened.read(image.file), np.uint8), cv2.IMREAD_UNCHANGED)
        assert pixels is not None  # the bundle was written with it
        small = cv2.resize(pixels, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        files.append(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
    return files


@dataclass(frozen=True, slots=True)
class LiveBundle:
    """From a folder of good pictures to a bundle that may go live, by the commands that a user types.

    `inspector-train fit` with its defaults, then `inspector bundle verify`, which judges the golden images. Takes the first
    `count` pictures below `folder` of the data set by name, all of them with 0.
    """

    name: str
    data: str
    folder: str
    pattern: str
    count: int
    kind: str = "memory-bank"
    seeds: int = 1

    def missing(self, place: Place) -> str:
        return place.missing(self.data)

    def needs(self, place: Place) -> str:
        return ""

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        from training.models.registry import model_kind

        return {
            "what": "live bundle",
            "pictures": [folder_digest(place.files(self.data)), self.folder, self.pattern, self.count],
            "kind": self.kind,
            "code": kind_code(model_kind(self.kind), "training.fit", "training.export"),
            "packages": packages(),
            "machine": _machine(),
        }

    def measure(self, place: Place, seed: int) -> Figures:
        pictures = sorted((place.files(self.data) / self.folder).glob(self.pattern))[: self.count or None]
        with tempfile.TemporaryDirectory(prefix="live-") as scratch:
            good = Path(scratch) / "parts" / "good"
            good.mkdir(parents=True)
            for picture in pictures:
                (good / picture.name).write_bytes(picture.read_bytes())
            bundle = Path(scratch) / "bundle"
            fitted = _spend("inspector-train", "fit", str(good.parent), "--out", str(bundle), "--model", self.kind)
            verified = _spend("inspector", "bundle", "verify", str(bundle))
        return {
            "pictures": len(pictures),
            "seconds": fitted[0] + verified[0],
            "of these, to verify": verified[0],
            "MiB at most": max(fitted[1], verified[1]),
        }


def _spend(program: str, *arguments: str) -> tuple[float, float]:
    """Seconds and peak resident MiB of a command. Raises ConfigError, with its last words, if it fails."""
    with tempfile.TemporaryFile() as output:
        begin = time.monotonic()
        command = [str(Path(sys.executable).parent / program), *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            last = output.read().decode(errors="replace").strip()[-500:]
            raise ConfigError(f"{program} {arguments[0]} did not finish ({process.returncode}): {last}")
    return seconds, usage.ru_maxrss / 1024


def _machine() -> list[str]:
    """What a time depends on beside the code."""
    models = [line for line in _cpu_lines() if line.startswith("model name")]
    return [models[0].partition(":")[2].strip() if models else platform.processor(), str(os.cpu_count())]


def _cpu_lines() -> Sequence[str]:
    told = Path("/proc/cpuinfo")
    return told.read_text().splitlines() if told.exists() else ()


def live_tiles() -> LiveBundle:
    """All good tiles to a live bundle."""
    return LiveBundle("672 good magnetic tiles to a live bundle", "magnetic-tile", "MT_Free/Imgs", "*.jpg", 0)


def verdicts_of(kind: str) -> Verdicts:
    """A kind's verdicts of one tile."""
    return Verdicts(f"{kind}, verdict from a {SIDE_PX}-px tile", graphs_of(kind))


def graphs_of(kind: str) -> Precisions:
    """Graphs for tiles of that size, which `fit` would not enlarge."""
    return precisions_of(kind, TILES, f"{SIDE_PX}x{SIDE_PX}")


def timing() -> list[Target]:
    """From pictures to a bundle, a verdict by kind and provider, INT8's gain, and anomalib's times."""
    few = LiveBundle("20 good screws of 512 px to a live bundle", "mvtec-ad/screw", "train/good", "*.png", 20)
    many = live_tiles()
    rows = [
        Target(few, "seconds", 45, at_least=False, unit="s"),
        Target(few, "MiB at most", unit="MiB"),
        Target(many, "seconds", 300, at_least=False, unit="s"),
        Target(many, "MiB at most", 3072, at_least=False, unit="MiB"),
    ]
    for kind in ALL_KINDS:
        task = verdicts_of(kind)
        limit = 2.5 if kind in ("fast-bank", "classifier") else None
        rows.append(Target(task, FASTEST, limit, at_least=False, unit="ms"))
        rows += [
            Target(task, f"{name} on {provider}, p50", unit="ms")
            for provider in available_providers()
            for name in (FP32, INT8)
        ]
        rows.append(Target(task, RATIO, 1.8, unit="×"))
    usual = Versus(
        "fast-bank against memory-bank, each as fit makes it",
        precisions_of("fast-bank"),
        precisions_of("memory-bank"),
        small=False,
    )
    alike = Versus(
        "fast-bank against memory-bank, both at 224 px", graphs_of("fast-bank"), graphs_of("memory-bank"), small=True
    )
    rows += [Target(usual, TIMES, 4.0, unit="×"), Target(alike, TIMES, unit="×")]
    for model in ("padim", "patchcore"):
        task_of_peer = peer(model, TILES, timed=True)
        units = {"seconds to fit": "s", "MiB at most": "MiB", "ms for a file": "ms"}
        rows += [Target(task_of_peer, figure, unit=unit) for figure, unit in units.items()]
    return rows
