"""anomalib's PaDiM and PatchCore beside our models of good parts: same images, splits and backbone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.peers.run import pinned, run
from tests.benchmarks.training.anomalies import AUROC, BY_PART, ESCAPES, bank
from tests.benchmarks.training.code import closure, code_digest
from tests.benchmarks.training.kept import Figures
from tests.benchmarks.training.place import SAYS_ONLY, Place, look_at
from tests.benchmarks.training.tasks import Target

JOB, SIDE = "tests.benchmarks.peers.job", "tests.benchmarks.peers.anomalib_side"


@dataclass(frozen=True, slots=True)
class Peer:
    """anomalib's `model`, padim or patchcore, with its defaults at `size_px`.

    Its limit comes from half of the test images, or, unless it `sees_defects`, from good parts alone. With `timed` the figures
    are those of time and memory, kept apart as they are worth something on a quiet machine only.
    """

    name: str
    model: str
    data: str
    split: str
    size_px: int = 256
    sees_defects: bool = True
    timed: bool = False
    seeds: int = 3

    def missing(self, place: Place) -> str:
        return place.missing(self.data)

    def needs(self, place: Place) -> str:
        return "" if place.peer else "no environment of anomalib is given (make peer, --peer)"

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        return {
            "what": "anomalib",
            "model": self.model,
            "size_px": self.size_px,
            "sees_defects": self.sees_defects,
            "timed": self.timed,
            "seed": seed,
            "dealt": self._dealt(place, seed),
            "code": code_digest({SIDE}),
            "packages": pinned(),
        }

    def _dealt(self, place: Place, seed: int) -> str:
        """Digest of the images and what each is for: all that anomalib gets of our code. Kept, as dealing takes a minute."""
        decides = {
            "what": "dealt",
            "seen": place.seen(self.data, self.split),
            "seed": seed,
            "code": code_digest(closure(["training.data.splits"], without=SAYS_ONLY) | {JOB}),
        }
        known = place.shelf.find(decides)
        if known is None:
            from tests.benchmarks.peers.job import DEALT, job_of

            around = look_at(place.source(self.data), self.split)
            job = job_of(around, "", 0, seed, sees_defects=True)
            root = str(around.seen.dataset.root)
            lists = [sorted(file.removeprefix(root) for file in job[key]) for key in DEALT]
            facts = json.dumps([around.seen.digest, lists])
            known = {"digest": hashlib.sha256(facts.encode()).hexdigest()}
            place.shelf.keep(decides, known)
        return str(known["digest"])

    def measure(self, place: Place, seed: int) -> Figures:
        from tests.benchmarks.peers.job import job_of
        from training.measure import FALSE_REJECT_RATE
        from training.statistics import auroc

        assert place.peer is not None  # `needs` said so
        around = look_at(place.source(self.data), self.split)
        told = run(place.peer, job_of(around, self.model, self.size_px, seed, sees_defects=self.sees_defects))
        figures = {
            "seconds to fit": float(told["fit_s"]),
            "MiB at most": float(told["peak_mib"]),
            "ms for a file": float(told["latency_ms"]),
        }
        if self.timed:
            return figures
        good, defective = (np.array([one["score"] for one in told[key]]) for key in ("good", "defective"))
        limit = np.quantile(good, 1 - FALSE_REJECT_RATE, method="higher")
        rejected, caught = (sum(one["rejected"] for one in told[key]) for key in ("good", "defective"))
        area = auroc(good, defective)
        assert area is not None  # every set has both
        return figures | {
            AUROC: area,
            ESCAPES: float((defective <= limit).mean()),
            "good images": len(good),
            "good images rejected": rejected,
            "defective images": len(defective),
            "defective images passed": len(defective) - caught,
        }


def peer(model: str, name: str, *, sees_defects: bool = True, timed: bool = False) -> Peer:
    """anomalib's model on one of the sets of good parts; PatchCore takes ten minutes for a fit, so it has one seed."""
    data, split = BY_PART[name]
    limit = "" if sees_defects else ", limit from good parts"
    seeds = 1 if model == "patchcore" or timed else 3
    words = {"padim": "PaDiM", "patchcore": "PatchCore"}[model]
    return Peer(f"anomalib {words}, {name}{limit}", model, data, split, 256, sees_defects, timed, seeds)


def peers() -> list[Target]:
    """Model 1 against the better of the two, and what their own limits do."""
    rows = []
    for name in BY_PART:
        both = (peer("padim", name), peer("patchcore", name))
        rows.append(Target(bank(name), AUROC, 0.03, beside=both, than="the better of anomalib's two"))
        rows += [Target(one, figure) for one in both for figure in (AUROC, ESCAPES)]
        for one in (*both, peer("padim", name, sees_defects=False)):
            rows.append(Target(one, "good images rejected", of="good images"))
            rows.append(Target(one, "defective images passed", of="defective images"))
    return rows
