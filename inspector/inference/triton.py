"""A bundle's graph as a model repository: for Triton Inference Server, and read by OpenVINO Model Server too.

    DIR/NAME/config.pbtxt
    DIR/NAME/1/model.onnx

Source: "Model Configuration" and "Model Repository" in the documentation of Triton Inference Server; model_config.proto.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from inspector.errors import BundleError
from inspector.inference.bundle import MODEL_FILE, Bundle, InputSpec
from inspector.inference.contract import INPUT, TensorInfo
from inspector.inference.onnx_runtime import OnnxRuntimeRunner
from inspector.inference.tiling import Tiles

MAX_BATCH = 8
_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}


def write_repository(bundle: Bundle, folder: Path) -> Path:
    """Write the model's folder into the repository `folder`, whole or not at all; it bears the bundle's name.

    Raises BundleError if that model is there already or cannot be written.
    """
    target = folder / bundle.manifest.name
    if os.path.lexists(target):
        raise BundleError(f"{target} exists already and is not overwritten; remove it or choose another repository")
    graph = bundle.read(MODEL_FILE)
    # What the graph itself declares, outputs that only other programs use included.
    runner = OnnxRuntimeRunner(graph, "CPU", 1, f"bundle {bundle.label}")
    config = _config(bundle, runner.outputs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=folder))
        try:
            (draft / "1").mkdir()
            (draft / "1" / "model.onnx").write_bytes(graph)
            (draft / "config.pbtxt").write_text(config, encoding="utf-8")
            draft.chmod(0o755)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise BundleError(f"{target} cannot be written: {reason}; free space or choose another folder") from error
    return target


def _config(bundle: Bundle, outputs: Sequence[TensorInfo]) -> str:
    """config.pbtxt: with `max_batch_size` the batch axis is Triton's own and stands in no `dims`."""
    spec = bundle.manifest.input
    shape = (None, *spec.graph_shape)
    lines = [
        f"# {bundle.label}: uint8 pixels in, scores out; the limits are in the bundle.",
        *_for_tiles(spec),
        f'name: "{bundle.manifest.name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {MAX_BATCH}",
        *_tensor("input", TensorInfo(INPUT, "uint8", shape)),
        *(line for output in outputs for line in _tensor("output", output)),
        # Parts that wait are judged together; none waits for others to come.
        "dynamic_batching { max_queue_delay_microseconds: 0 }",
    ]
    return "\n".join(lines) + "\n"


def _for_tiles(spec: InputSpec) -> list[str]:
    """What a client has to do for a model that sees tiles: the server knows nothing of pictures."""
    if (tiling := spec.tiling) is None:
        return []
    lines = [
        f"# This model takes tiles of {tiling.width_px} x {tiling.height_px} px, not pictures. A client brings a picture to "
        f"{spec.width_px} x {spec.height_px} px,",
        f"# cuts tiles at {len(set(box.x_px for box in Tiles(spec).boxes))} columns and "
        f"{len(set(box.y_px for box in Tiles(spec).boxes))} rows as inspector/inference/tiling.py does, and takes the highest",
        "# score of all; deploy/run_tiled_bundle.py shows it.",
    ]
    if tiling.region_of_interest:
        lines.append(
            f"# Outside {tiling.region_of_interest} (a bit per pixel) it gives a tile the even grey of the mean inside."
        )
    return lines


def _tensor(kind: str, tensor: TensorInfo) -> list[str]:
    dims = ", ".join("-1" if size is None else str(size) for size in (tensor.shape or (None,))[1:])
    if dims:
        return [f'{kind} {{ name: "{tensor.name}" data_type: {_TYPES[tensor.type]} dims: [ {dims} ] }}']
    # Triton wants at least one dimension beside the batch; the graph's own shape has none.
    return [f'{kind} {{ name: "{tensor.name}" data_type: {_TYPES[tensor.type]} dims: [ 1 ] reshape {{ shape: [ ] }} }}']
