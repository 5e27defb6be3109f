"""The model that is measured: a memory bank on EfficientNet-Lite0 at 224 px, as `inspector-train fit` makes, in two graphs.

The service runs `model.onnx` of the bundle: uint8 NHWC in, normalised inside. The bare loop runs the same graph cut open
behind its normalisation: float32 NCHW in, same nodes and weights from there on. That both give the same score is checked
before anything is measured.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from inspector.inference.bundle import MODEL_FILE, Bundle, open_bundle, write_bundle
from inspector.part import Limits, Verdict

SIZE_PX = 224
_TILES = 40
_LIMIT = 1e6


@dataclass(frozen=True)
class BenchModel:
    """A bundle, and its graph without the normalisation."""

    bundle: Bundle
    bare_file: Path

    @cached_property
    def uint8_graph(self) -> bytes:
        """The graph that the service runs."""
        return self.bundle.read(MODEL_FILE)

    @cached_property
    def float_graph(self) -> bytes:
        """The same network behind its normalisation: float32 (1, 3, 224, 224) in."""
        return self.bare_file.read_bytes()


def tile(number: int, size_px: int = SIZE_PX) -> NDArray[np.uint8]:
    """A ground surface with an uneven lamp, uint8 (size, size, 3) RGB; the same for the same number."""
    random = np.random.default_rng(number)
    lamp = np.linspace(0.8, 1.1, size_px)[None, :] * np.linspace(1.05, 0.9, size_px)[:, None]
    grooves = random.normal(0, 12, (size_px, 1)) + random.normal(0, 4, (size_px, size_px))
    grey = np.clip((120 + grooves) * lamp, 0, 255)
    tint = np.array([1.0, 0.98, 0.94])
    return np.asarray(grey[:, :, None] * tint, np.uint8)


def jpeg_tile(number: int) -> bytes:
    """A tile as a JPEG file of about 13 kB."""
    return bytes(cv2.imencode(".jpg", tile(number)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def mono8_frame(number: int, width_px: int, height_px: int) -> bytes:
    """The same surface as a camera's raw grey frame."""
    surface = cv2.resize(tile(number)[:, :, 0], (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    return bytes(surface.tobytes())


def bench_model(folder: Path) -> BenchModel:
    """The model in `folder`, made there by `inspector-train fit` at the first call (half a minute)."""
    path, bare_file = folder / "bundle", folder / "without-normalisation.onnx"
    if not bare_file.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        bundle = _with_high_limit(_fit(folder), path)
        bare_file.write_bytes(without_normalisation(bundle.read(MODEL_FILE)))
    return BenchModel(open_bundle(path), bare_file)


def without_normalisation(graph: bytes) -> bytes:
    """Cut a graph open in front of its first convolution (and the padding that belongs to it)."""
    model: Any = onnx.load_model_from_string(graph)
    makers = {name: node for node in model.graph.node for name in node.output}
    stem = next(node for node in model.graph.node if node.op_type == "Conv")
    tensor = stem.input[0]
    while makers[tensor].op_type == "Pad":
        tensor = makers[tensor].input[0]
    for node in _only_for(model.graph, tensor):
        model.graph.node.remove(node)
    needed = {name for node in model.graph.node for name in node.input}
    for weights in [each for each in model.graph.initializer if each.name not in needed]:
        model.graph.initializer.remove(weights)
    del model.graph.input[:]
    shape: list[str | int | None] = ["n", 3, SIZE_PX, SIZE_PX]
    model.graph.input.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, shape))
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _only_for(graph: Any, tensor: str) -> list[Any]:
    """Nodes that serve nothing but making `tensor`, in reverse order."""
    outputs = {output.name for output in graph.output}
    used = set(outputs)
    dropped: list[Any] = []
    for node in reversed(graph.node):
        if used & set(node.output) - {tensor}:
            used |= set(node.input)
        else:
            dropped.append(node)
    return dropped


def _fit(folder: Path) -> Bundle:
    """What `inspector-train fit` makes of a folder of tiles."""
    good = folder / "tiles" / "good"
    good.mkdir(parents=True)
    for number in range(_TILES):
        (good / f"{number:04d}.jpg").write_bytes(jpeg_tile(number))
    fitted = folder / "fitted"
    command = [str(Path(sys.executable).parent / "inspector-train"), "fit", str(good.parent), "--out", str(fitted)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"inspector-train fit failed:\n{done.stdout[-3000:]}")
    return open_bundle(fitted)


def _with_high_limit(bundle: Bundle, path: Path) -> Bundle:
    """The same graph with a limit that every picture passes: rejects also keep pictures, and on a line few parts are."""
    manifest = bundle.manifest
    golden = tuple(replace(image, verdict=Verdict.PASS) for image in manifest.golden)
    basis = replace(manifest.basis, guaranteed=False, statement="fixed for a benchmark: promises nothing")
    return write_bundle(
        path,
        replace(manifest, limits=Limits(_LIMIT, _LIMIT), basis=basis, golden=golden, image_list=""),
        bundle.read(MODEL_FILE),
        {image.file: bundle.read(image.file) for image in golden},
    )
