"""The bare loop: the straightforward way to score a picture, in one process, with nothing around it.

Decode or view, resize, normalise in numpy, `session.run`. Threads and spinning of ONNX Runtime are those of the service,
so that the difference between the two is the service and nothing else.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from inspector.inference.cores import usable_cores
from tests.benchmarks.model import SIZE_PX, BenchModel, tile

# As in training/models/memory_bank/network.py, PatchFeatures: every image gets one mean and contrast.
_CONTRAST, _NOISE = 0.4, 8.0


class BareLoop:
    """`spinning` leaves ONNX Runtime's own default, which keeps the threads of its pool busy while they wait."""

    def __init__(self, model: BenchModel, *, spinning: bool = False) -> None:
        self._float = _session(model.float_graph, spinning)
        self._uint8 = _session(model.uint8_graph, spinning)
        self._input = self._float.get_inputs()[0].name
        self._check()

    def jpeg(self, data: bytes) -> float:
        """Score of a JPEG file."""
        return self._score(_decode(data))

    def mono8(self, data: bytes, width_px: int, height_px: int) -> float:
        """Score of raw grey pixels."""
        grey = np.frombuffer(data, np.uint8).reshape(height_px, width_px)
        small = cv2.resize(grey, (SIZE_PX, SIZE_PX))
        return self._score(cv2.cvtColor(small, cv2.COLOR_GRAY2RGB))

    def jpeg_uint8(self, data: bytes) -> float:
        """Score of a JPEG file by the very graph that the service runs: normalised inside, so not in numpy."""
        return self._score_uint8(_decode(data))

    def mono8_uint8(self, data: bytes, width_px: int, height_px: int) -> float:
        """Score of raw grey pixels by the very graph that the service runs."""
        grey = np.frombuffer(data, np.uint8).reshape(height_px, width_px)
        return self._score_uint8(cv2.cvtColor(cv2.resize(grey, (SIZE_PX, SIZE_PX)), cv2.COLOR_GRAY2RGB))

    def _score(self, pixels: NDArray[Any]) -> float:
        score, _ = self._float.run(None, {self._input: normalised(pixels)})
        return float(score[0])

    def _score_uint8(self, pixels: NDArray[Any]) -> float:
        score, _ = self._uint8.run(None, {"images": pixels[None]})
        return float(score[0])

    def _check(self) -> None:
        """Both graphs are one network, or there is nothing to compare."""
        for number in range(3):
            pixels = tile(number)
            ours, theirs = self._score(pixels), self._score_uint8(pixels)
            if abs(ours - theirs) > 2e-3 * abs(theirs):
                raise RuntimeError(
                    f"the bare loop scores {ours:.5f} where the bundle's graph scores {theirs:.5f}: normalise here as "
                    "training/models/memory_bank does, and delete build/bench"
                )


def normalised(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """RGB, uint8 (height, width, 3) → float32 (1, 3, height, width) of mean 0 and one contrast."""
    image = pixels.astype(np.float32)
    image -= image.mean()
    image *= _CONTRAST / (np.sqrt(np.square(image).mean()) + _NOISE)
    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]


def _decode(data: bytes) -> NDArray[Any]:
    """JPEG file → RGB, uint8 (height, width, 3) in the model's size."""
    pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels.shape[:2] != (SIZE_PX, SIZE_PX):
        pixels = cv2.resize(pixels, (SIZE_PX, SIZE_PX))
    rgb: NDArray[Any] = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return rgb


def _session(graph: bytes, spinning: bool) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    if not spinning:
        options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
