"""A network as an ONNX file that names nothing of the machine that wrote it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch

from inspector.errors import BundleError
from training.integers import TRANSLATIONS
from training.models.kind import InspectionModel

_MAX_BATCH = 64


def to_onnx(network: InspectionModel, image_shape: tuple[int, int, int]) -> bytes:
    """The network as an ONNX file with a free batch size. `image_shape` is height, width, channels.

    Raises BundleError if a weight is no finite number: what it scores would be none either, and no limit rejects that.
    """
    _check_finite(network)
    example = torch.arange(2 * int(np.prod(image_shape)), dtype=torch.int64).remainder(251).to(torch.uint8)
    with warnings.catch_warnings(), quiet("torch.onnx"):
        warnings.simplefilter("ignore")  # about torch's own internals
        program = torch.onnx.export(
            network,
            (example.reshape(2, *image_shape),),
            dynamo=True,
            verbose=False,
            custom_translation_table=dict(TRANSLATIONS),
            input_names=["images"],
            output_names=list(network.outputs),
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=_MAX_BATCH)}},
        )
    if program is None:
        raise BundleError("torch did not export the model; report this with the versions of torch and onnxscript")
    proto = program.model_proto
    strip(proto)
    return bytes(proto.SerializeToString())


def _check_finite(network: InspectionModel) -> None:
    broken = [
        name
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise BundleError(
            f"the fitted model holds values that are no finite numbers, in {', '.join(broken[:3])}{more}: its scores would "
            "mean nothing. Nothing was written; fit again, with a lower learning rate if this kind has one"
        )


def strip(proto: onnx.ModelProto) -> None:
    """Remove what the exporter notes of this machine: stack traces with file paths, and the names of its functions."""
    proto.doc_string = ""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    for node in proto.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    values: list[Any] = [*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer]
    for value in values:
        value.doc_string = ""
        del value.metadata_props[:]


@contextmanager
def quiet(logger: str) -> Iterator[None]:
    """Hold back a logger's warnings for a while; "" is the root."""
    level = logging.getLogger(logger).level
    logging.getLogger(logger).setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger(logger).setLevel(level)
