"""Fits and judges with anomalib, in an environment that has it; imports nothing of this project.

    python anomalib_side.py JOB.json RESULT.json

The job names the images to fit on and to judge, a model (padim or patchcore), the input size and the file with the weights
of EfficientNet-Lite0. Everything else is anomalib's default: transforms, coreset, post-processing. Its limit is the one that
its engine sets on its validation set. With `sees_defects` that is half of the test images, good and defective ones (best F1,
which flatters it); without, anomalib sets a fifth of the images to fit on aside, and its limit is the highest score of half
of these: what it does from good parts only.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch

WARM_UPS, TIMED = 5, 40
STRIDES_8_16 = ["blocks.2", "blocks.4"]
STRIDES_4_8_16 = ["blocks.1", "blocks.2", "blocks.4"]
BACKBONE = "tf_efficientnet_lite0"


def declare_operators() -> torch.library.Library:
    """Lets torchvision import beside a torch without CUDA: see training/torchvision_import.py."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def link(files: list[str], folder: Path) -> list[Path]:
    """Links under numbered names: many data sets have equal names in several folders."""
    folder.mkdir(parents=True)
    links = []
    for number, file in enumerate(files):
        place = folder / f"{number:05d}{Path(file).suffix}"
        place.symlink_to(file)
        links.append(place)
    return links


def make_model(name: str, size_px: int, weights: str, seed: int) -> Any:
    """anomalib's model with its defaults, on EfficientNet-Lite0 with the given weights."""
    models = importlib.import_module("anomalib.models")
    timm = importlib.import_module("timm")
    torch.manual_seed(seed)
    kind = {"padim": models.Padim, "patchcore": models.Patchcore}[name]
    extra = {"layers": STRIDES_4_8_16, "n_features": 100} if name == "padim" else {"layers": STRIDES_8_16}
    processor = kind.configure_pre_processor(image_size=(size_px, size_px))
    model = kind(backbone=BACKBONE, pre_trained=False, pre_processor=processor, **extra)
    full = timm.create_model(BACKBONE, pretrained=False)
    stored = torch.load(weights, map_location="cpu", weights_only=True)
    stored = {key: value for key, value in stored.items() if not key.endswith("num_batches_tracked")}
    wanted = [key for key in full.state_dict() if not key.endswith("num_batches_tracked")]
    named = dict(zip(wanted, stored.values(), strict=True))
    extractor = model.model.feature_extractor.feature_extractor
    missing = extractor.load_state_dict(named, strict=False).missing_keys
    if any(not key.endswith("num_batches_tracked") for key in missing):
        raise SystemExit(f"weights do not fit anomalib's backbone: {missing[:3]}")
    return model


def main() -> None:
    """Fit, judge, export and time; write the result."""
    job = json.loads(Path(sys.argv[1]).read_text())
    library = declare_operators()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    data_module = importlib.import_module("anomalib.data")
    engines = importlib.import_module("anomalib.engine")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        link(job["fit"], root / "good")
        good = link(job["test_good"], root / "test_good")
        defective = link(job["test_defective"], root / "test_defective")
        tests = {"abnormal_dir": "test_defective", "normal_test_dir": "test_good"} if job["sees_defects"] else {}
        folder = data_module.Folder(
            name="peer",
            root=root,
            normal_dir="good",
            **tests,
            train_batch_size=16,
            eval_batch_size=16,
            num_workers=0,
            seed=job["seed"],
        )
        model = make_model(job["model"], job["size_px"], job["weights"], job["seed"])
        engine = engines.Engine(
            accelerator="cpu", devices=1, logger=False, default_root_dir=root / "run", enable_progress_bar=False
        )
        begin = time.perf_counter()
        engine.fit(model=model, datamodule=folder)
        fit_s = time.perf_counter() - begin
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        model.eval()
        judged = {str(path): judge(model, data_module, path) for path in [*good, *defective]}
        export = engine.export(model=model, export_type="torch", export_root=root / "export")
        latency_ms = inferencer_ms(Path(export), [str(path) for path in good[:8]])
    result = {
        "good": [judged[str(path)] for path in good],
        "defective": [judged[str(path)] for path in defective],
        "fitted_images": len(folder.train_data),
        "fit_s": fit_s,
        "peak_mib": peak_mib,
        "latency_ms": latency_ms,
    }
    Path(sys.argv[2]).write_text(json.dumps(result))
    del library


def judge(model: Any, data_module: Any, path: Path) -> dict[str, Any]:
    """Raw score before normalisation, and whether anomalib's own limit rejects it."""
    from torch.utils.data import DataLoader

    data = data_module.PredictDataset(path=path)
    batch = next(iter(DataLoader(data, batch_size=1, collate_fn=data.collate_fn)))
    with torch.no_grad():
        image = model.pre_processor(batch.image)
        raw = model.model(image)
        limit = getattr(model.post_processor, "image_threshold", torch.tensor(float("nan")))
    score = float(raw.pred_score.flatten()[0])
    return {"score": score, "rejected": bool(score > float(limit)), "limit": float(limit)}


def inferencer_ms(export: Path, files: list[str]) -> float:
    """Median time of anomalib's TorchInferencer from a file to a result."""
    os.environ["TRUST_REMOTE_CODE"] = "1"  # its exports are pickles; this one was written a moment ago
    deploy = importlib.import_module("anomalib.deploy")
    inferencer = deploy.TorchInferencer(path=export, device="cpu")
    times = []
    for number in range(WARM_UPS + TIMED):
        begin = time.perf_counter()
        inferencer.predict(image=files[number % len(files)])
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times[WARM_UPS:])


if __name__ == "__main__":
    main()
