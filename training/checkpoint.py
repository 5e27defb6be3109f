"""A fitted model on disk before it is a bundle: safetensors and JSON, so that loading runs no code.

    tiles.fitted/
        fitted.json          how it was fitted, limit and basis, golden frames
        network.safetensors  the network's tensors, images for the gate of an export
        images.txt           what each image was for, by content
        golden/…             frames as received

Exporting it again makes a bundle with the graph and golden scores of the machine and versions that export.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from inspector.errors import DataError, InspectorError
from inspector.imaging.locate import location_from_dict, location_to_dict
from inspector.inference.manifest import LimitBasis, TilingSpec
from inspector.part import Limits
from training.data.files import check_free
from training.data.image_list import IMAGE_LIST, read_image_list
from training.data.reading import Preparation
from training.exporting.kept import KeptImages
from training.fit import Fitted, GoldenFrame
from training.models.registry import model_kind

VERSION = 6
_DOCUMENT, _TENSORS = "fitted.json", "network.safetensors"
_JUDGED, _TAUGHT, _REGION = "images.judged", "images.taught", "images.region_of_interest"
_SCORES = "images.scores"


def save_fitted(fitted: Fitted, path: Path) -> None:
    """Write a fitted model to a new folder, whole or not at all. Raises DataError."""
    check_free(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            _write(fitted, draft)
            draft.chmod(0o755)
            draft.rename(path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except (OSError, SafetensorError) as error:  # the latter is what `save_file` makes of a full disk
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be written: {reason}; free space or choose another") from error


def load_fitted(path: Path) -> Fitted:
    """Read a fitted model that `save_fitted` wrote. Raises DataError if it is none or damaged."""
    try:
        document = json.loads((path / _DOCUMENT).read_bytes())
        tensors = load_file(path / _TENSORS)
        return _parse(path, document, tensors)
    except InspectorError as error:
        raise DataError(f"{path} is no fitted model: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path} is no fitted model: {reason}; give a folder that `fit --checkpoint` wrote") from error
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
        raise DataError(
            f"{path} is damaged or of another version ({type(error).__name__}: {error}); fit again"
        ) from error


def _write(fitted: Fitted, folder: Path) -> None:
    network, preparation = fitted.network, fitted.preparation
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    arrays = {_JUDGED: fitted.kept.judged, _TAUGHT: fitted.kept.taught, _SCORES: fitted.kept.scores}
    kept = {name: torch.from_numpy(values) for name, values in arrays.items()}
    if fitted.region is not None:
        kept[_REGION] = torch.from_numpy(fitted.region)
    save_file({**tensors, **kept}, folder / _TENSORS)
    document = {
        "version": VERSION,
        "kind": network.kind,
        "structure": network.structure(),
        "width_px": preparation.width_px,
        "height_px": preparation.height_px,
        "channels": preparation.channels,
        "location": location_to_dict(preparation.location),
        "tiling": None if preparation.tiling is None else asdict(preparation.tiling),
        "limits": {"score": fitted.limits.score, "region": fitted.limits.region},
        "basis": asdict(fitted.basis),
        "judged": list(fitted.kept.names),
        "held_out": fitted.kept.held_out,
        "limit_images": fitted.kept.limit_images,
        "golden": [[frame.file, frame.media_type] for frame in fitted.golden],
        "dataset_digest": fitted.dataset_digest,
        "provenance": fitted.provenance,
        "metrics": fitted.metrics,
    }
    (folder / _DOCUMENT).write_text(json.dumps(document, indent=1), encoding="utf-8")
    (folder / IMAGE_LIST).write_bytes(fitted.images.to_bytes())
    (folder / "golden").mkdir()
    for frame in fitted.golden:
        (folder / frame.file).write_bytes(frame.data)


def _parse(path: Path, document: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Fitted:
    if document["version"] != VERSION:
        raise ValueError(f"version {document['version']}, this program reads {VERSION}")
    judged, taught = (_images(tensors.pop(name).numpy(), name) for name in (_JUDGED, _TAUGHT))
    scores = tensors.pop(_SCORES).numpy()
    if scores.shape != (len(judged),):
        raise ValueError(f"{_SCORES} holds {scores.shape}, expected one for each of {len(judged)} images")
    region = tensors.pop(_REGION).numpy().astype(np.bool_) if _REGION in tensors else None
    network = model_kind(document["kind"]).rebuild(document["structure"]).eval()
    network.load_state_dict(tensors)
    location = location_from_dict(document["location"], path)
    tiling = None if document["tiling"] is None else TilingSpec(**document["tiling"])
    size = document["width_px"], document["height_px"], document["channels"]
    return Fitted(
        network=network,
        preparation=Preparation(*size, location, tiling=tiling),
        limits=Limits(**document["limits"]),
        basis=TypeAdapter(LimitBasis).validate_python(document["basis"]),
        golden=tuple(
            GoldenFrame(file, media_type, (path / file).read_bytes()) for file, media_type in document["golden"]
        ),
        kept=KeptImages(
            judged, tuple(document["judged"]), document["limit_images"], taught, scores, bool(document["held_out"])
        ),
        images=read_image_list((path / IMAGE_LIST).read_bytes(), IMAGE_LIST),
        dataset_digest=document["dataset_digest"],
        provenance=document["provenance"],
        metrics=document["metrics"],
        region=region,
    )


def _images(values: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    if values.dtype != np.uint8 or values.ndim != 4:
        raise ValueError(f"{name} holds {values.dtype} of {values.ndim} dimensions, expected uint8 of 4")
    return values
