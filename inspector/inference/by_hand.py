"""Another limit for a bundle, set by a person: a new bundle, which says that its limit promises nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from inspector.errors import BundleError
from inspector.inference.bundle import MODEL_FILE, Bundle, LimitBasis, write_bundle
from inspector.inference.manifest import Change
from inspector.part import Limits, Verdict

METHOD = "set by hand"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class HandLimit:
    """A limit as somebody chose it, and why. `seen` says in words what it does on the parts that were looked at."""

    limit: float
    by: str
    reason: str
    seen: str = ""


def with_limit_by_hand(bundle: Bundle, out: Path, name: str, wish: HandLimit, now: datetime) -> Bundle:
    """Write the bundle with another limit to the new folder `out`; it wants a signature of its own.

    Raises BundleError for a limit that is no number or the one it has, for golden images that would change their verdict
    (these are the parts that every bundle must judge rightly), and if it cannot be written.
    """
    old = bundle.manifest.limits
    if not math.isfinite(wish.limit) or wish.limit == old.score:
        raise BundleError(
            f"{wish.limit:g} is no other limit than the {old.score:g} that {bundle.label} has: choose another"
        )
    wrong = [one for one in bundle.manifest.golden if (one.score > wish.limit) != (one.verdict is Verdict.REJECT)]
    if wrong:
        shown = ", ".join(f"{one.file} ({one.verdict.name}, {one.score:.4g})" for one in wrong[:_SHOWN])
        raise BundleError(
            f"a limit of {wish.limit:.4g} would change the verdict on {len(wrong)} golden image(s) of {bundle.label}: {shown}; "
            "choose one that keeps them, or set it by `inspector-train recalibrate --accept REASON`"
        )
    seen = f" {wish.seen}" if wish.seen else ""
    said = f"The limit was set by hand to {wish.limit:.4g} by {wish.by} (it was {old.score:.4g}): it promises nothing.{seen}"
    basis = LimitBasis(
        method=METHOD,
        false_reject_rate=0.0,
        confidence=0.0,
        good_parts=0,
        guaranteed=False,
        statement=said,
        assumes="Nothing: a person chose it. `inspector-train recalibrate` sets one that promises something.",
    )
    details: dict[str, JsonValue] = {"old_limit": old.score, "new_limit": wish.limit, "by": wish.by, "by_hand": True}
    details["seen"] = wish.seen
    change = Change("recalibrated", bundle.digest, now, wish.reason, details)
    manifest = replace(
        bundle.manifest,
        name=name,
        created_time=now,
        limits=Limits(wish.limit, min(old.region, wish.limit)),
        basis=basis,
        metrics={},
        history=(*bundle.manifest.history, change),
    )
    golden = {one.file for one in bundle.manifest.golden}
    files = {file: bundle.read(file) for file in bundle.manifest.files}
    other = {file: data for file, data in files.items() if file != MODEL_FILE and file not in golden}
    return write_bundle(out, manifest, files[MODEL_FILE], {file: files[file] for file in golden}, other=other)
