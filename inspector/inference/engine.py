"""Runs a bundle's graph: images in, scores out, nothing in between that training does not do too.

What the graph takes and gives is in `contract.py`; what runs it is a runner: ONNX Runtime, OpenVINO, or a server elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EngineError
from inspector.inference.bundle import MODEL_FILE, Bundle, InputSpec
from inspector.inference.contract import (
    CLASS_MAPS,
    CLASS_SCORES,
    MAP,
    OUTPUT_RANKS,
    SCORE,
    RunError,
    Runner,
    check_contract,
)
from inspector.inference.cores import usable_cores
from inspector.inference.graph import check_graph
from inspector.inference.onnx_runtime import PROVIDERS, OnnxRuntimeRunner, installed_providers
from inspector.inference.open_vino import OpenVinoRunner, openvino_installed
from inspector.inference.self_test import GoldenCheck, SelfTest, self_test
from inspector.inference.tiling import Tiles, unpack_region
from inspector.part import Scores

__all__ = ["PROVIDERS", "Engine", "GoldenCheck", "Model", "SelfTest", "available_providers", "read_region", "self_test"]


class Model:
    """A graph ready to score images. Training scores with it before there is a bundle; the line uses `Engine`.

    Safe to call from several threads, though one after the other is as fast: a run uses all its threads.
    """

    def __init__(
        self,
        onnx_file: bytes,
        input_spec: InputSpec,
        classes: Sequence[str],
        *,
        provider: str = "CPU",
        threads: int = 0,
        source: str = "model",
        runner: Runner | None = None,
        region: NDArray[np.bool_] | None = None,
    ) -> None:
        """Load a graph; `threads` of 0 means one per physical core that this process may use.

        `runner` runs the graph elsewhere: then it is not loaded here, and `provider` is only its name in messages. `region`,
        bool (height_px, width_px), is where defects count on a picture that is judged by tiles; None for everywhere.
        Raises BundleError if the graph is not as the contract and `input_spec` say, EngineError if the provider is
        missing here; `source` names the model in messages.
        """
        self.provider = provider
        self.threads = threads or usable_cores()
        self._source = source
        self._classes = tuple(classes)
        self._image_shape = (input_spec.height_px, input_spec.width_px, input_spec.channels)
        self._graph_shape = input_spec.graph_shape
        self._tiles = None if input_spec.tiling is None else Tiles(input_spec, region)
        check_graph(onnx_file, source)
        self._runner = runner or _open_runner(onnx_file, provider, self.threads, source)
        self._outputs = check_contract(self._runner, self._graph_shape, len(self._classes), source)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one model input."""
        return self._image_shape

    @property
    def tiles(self) -> Tiles | None:
        """How a picture is cut if it is larger than the graph's input, else None: then it is the graph's input."""
        return self._tiles

    @property
    def outlines_classes(self) -> bool:
        """Whether it gives class maps, which dimension limits need."""
        return CLASS_MAPS in self._outputs

    def infer(self, batch: NDArray[np.uint8]) -> list[Scores]:
        """Score images, uint8 (n, height, width, channels), n ≥ 1, as `image_shape` says; one `Scores` for each.

        Scores do not depend on the batch beyond float rounding. Anomaly maps are views of one array for the batch; pictures
        that are judged by tiles are judged one after the other.
        Raises EngineError if the input has another shape or dtype, or the model fails.
        """
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != self._image_shape or not len(batch):
            expected = "(n, {}, {}, {})".format(*self._image_shape)
            raise EngineError(
                f"{self._source} got images of {batch.dtype} {batch.shape}, expected uint8 {expected}: "
                "normalise frames to the bundle's input"
            )
        if self._tiles is not None:
            return [self.judge_until(picture, lambda: False) for picture in batch]
        return self._to_scores(self._run(batch), len(batch))

    def judge_until(self, picture: NDArray[np.uint8], stop: Callable[[], bool]) -> Scores:
        """As `infer`, of one picture that is judged by tiles; raises Interrupted if `stop` says so between two runs."""
        assert self._tiles is not None
        return self._to_scores(self._tiles.judge(picture, self._run, stop), 1)[0]

    def warm_up(self, max_batch: int = 1) -> None:
        """Run blank images alone and as a full batch, so that the first part finds memory and kernels ready."""
        for run in self.warming_runs(max_batch):
            run()

    def warming_runs(self, max_batch: int = 1) -> Iterator[Callable[[], object]]:
        """The runs of `warm_up` one by one, for whoever must let others go between two of them."""
        for count in sorted({1, max_batch if self._tiles is None else self._tiles.per_run}):
            images = np.zeros((count, *self._graph_shape), np.uint8)
            for _ in range(2):
                yield functools.partial(self._run, images)

    def run_on_noise(self) -> Callable[[], object]:
        """One run of the graph, on an image of seeded noise as large as it takes, to be timed by whoever calls it."""
        noise: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (1, *self._graph_shape), dtype=np.uint8)
        return lambda: self._run(noise)

    def _run(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """The graph's outputs by name, of images uint8 (n, height, width, channels) as large as it takes."""
        try:
            results = self._runner.run(self._outputs, images)
        except RunError as error:
            raise EngineError(
                f"{self._source} failed on {len(images)} images with provider {self.provider}: {error}; "
                "run the bundle's self-test, then export it again or select another provider"
            ) from error
        outputs = dict(zip(self._outputs, results, strict=True))
        for name, values in outputs.items():
            if values.shape[:1] != (len(images),) or values.ndim != OUTPUT_RANKS[name]:
                raise EngineError(
                    f"{self._source} gave {name} of shape {values.shape} for {len(images)} images: export the bundle again"
                )
        return outputs

    def _to_scores(self, results: Mapping[str, NDArray[np.float32]], count: int) -> list[Scores]:
        maps = results.get(MAP)
        class_scores = results.get(CLASS_SCORES)
        class_maps = results.get(CLASS_MAPS)
        if class_maps is not None and class_maps.shape[1] != len(self._classes):
            raise EngineError(
                f"{self._source} gave maps of {class_maps.shape[1]} classes for {len(self._classes)}: export the bundle again"
            )
        return [
            Scores(
                score=float(results[SCORE][i]),
                anomaly_map=None if maps is None else maps[i],
                class_scores={} if class_scores is None else self._by_class(class_scores[i]),
                class_maps=None if class_maps is None else class_maps[i],
            )
            for i in range(count)
        ]

    def _by_class(self, values: NDArray[np.float32]) -> dict[str, float]:
        if len(values) != len(self._classes):
            raise EngineError(
                f"{self._source} gave {len(values)} class scores for {len(self._classes)} classes: export the bundle again"
            )
        return dict(zip(self._classes, values.tolist(), strict=True))


class Engine(Model):
    """A bundle on this machine: its graph with its input and classes. Run `self_test` before it judges parts."""

    def __init__(
        self, bundle: Bundle, provider: str = "CPU", threads: int = 0, *, runner: Runner | None = None
    ) -> None:
        """Load the graph of `bundle`, held against its hash once more: what runs is what was checked.

        Raises BundleError or BundleTampered if the graph is not what it should be, EngineError if `provider` is not
        available here.
        """
        self.bundle = bundle
        super().__init__(
            bundle.read(MODEL_FILE),
            bundle.manifest.input,
            bundle.manifest.classes,
            provider=provider,
            threads=threads,
            source=f"bundle {bundle.label}",
            runner=runner,
            region=read_region(bundle),
        )


def read_region(bundle: Bundle) -> NDArray[np.bool_] | None:
    """Where defects count on a picture that the bundle judges by tiles, bool (height_px, width_px); None for everywhere.

    Regions of interest of models that see the picture whole are in their graphs. Raises BundleTampered or BundleError.
    """
    spec = bundle.manifest.input
    if spec.tiling is None or not spec.tiling.region_of_interest:
        return None
    data = bundle.read(spec.tiling.region_of_interest)
    return unpack_region(data, spec.width_px, spec.height_px, f"bundle {bundle.label}")


def available_providers() -> list[str]:
    """Our names of the providers that run graphs here: those of ONNX Runtime, and OpenVINO by its own package."""
    providers = installed_providers()
    if openvino_installed() and "OpenVINO" not in providers:
        providers.append("OpenVINO")
    return providers


def _open_runner(onnx_file: bytes, provider: str, threads: int, source: str) -> Runner:
    if provider not in available_providers():
        known = "is not installed" if provider in PROVIDERS else "is unknown"
        raise EngineError(
            f"provider {provider} {known}; available here: {', '.join(available_providers())}. "
            "Select one of these, or install the ONNX Runtime build or the package openvino that has it"
        )
    if provider == "OpenVINO" and openvino_installed():
        return OpenVinoRunner(onnx_file, threads, source)
    return OnnxRuntimeRunner(onnx_file, provider, threads, source)
