"""What each kind of job does. One that is taken up again goes on: what a dead worker left is used, nothing is done twice."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspector.errors import ConfigError, DataError
from inspector.inference.bundle import Bundle, open_bundle
from inspector.inference.manifest import manifest_bytes
from inspector.records.compare_wish import COMPARE, CompareWish
from inspector.records.comparisons import Comparisons
from inspector.records.fit_wish import FIT, SNAPSHOT, FitWish, check_name
from inspector.records.images import ImageStore
from inspector.records.place import RecordsPlace
from inspector.records.snapshots.format import Snapshot, read_snapshot
from inspector.records.snapshots.wish import Wish
from inspector.records.store import Store
from training.data.files import check_free
from training.worker.messages import Teller


@dataclass(frozen=True, slots=True)
class Task:
    """A job as the child is given it; `work` is a folder that the job has to itself, over all who take it up."""

    number: int
    spec: Mapping[str, Any]
    asked_by: str
    asked: datetime
    place: RecordsPlace
    work: Path


def take_snapshot_task(task: Task, tell: Teller) -> dict[str, Any]:
    """Take a snapshot of the quality database. Raises InspectorError."""
    from training.data.snapshots.write import take_snapshot

    name, wish = check_name("a snapshot", task.spec.get("name", "")), Wish.from_json(task.spec.get("wish", {}))
    out = task.place.snapshots / name
    taken = _taken_before(out, task, wish)
    if taken is None:
        store = Store(task.place.database_url)
        try:
            store.check_schema()
            taken = take_snapshot(store, ImageStore(task.place.image_folder), out, wish, datetime.now(UTC), tell)
        finally:
            store.close()
    return {
        "snapshot": name,
        "digest": taken.digest,
        "images": len(taken.pictures),
        "labels": dict(taken.about["labels"]),
        "left_out": dict(taken.about["left_out"]),
    }


def _taken_before(out: Path, task: Task, wish: Wish) -> Snapshot | None:
    """The snapshot that this very job took, if its worker died before it could say so."""
    if not out.exists():
        return None
    found = read_snapshot(out)
    since_asked = datetime.fromisoformat(str(found.about["taken"])) >= task.asked
    return found if since_asked and found.about["asked_for"] == wish.to_json() else None


def fit_task(task: Task, tell: Teller) -> dict[str, Any]:
    """Fit a model on a snapshot and write its bundle. Raises InspectorError."""
    started, wish = time.monotonic(), FitWish.from_json(task.spec)
    out, kept = task.place.bundles / wish.bundle, task.work / "fitted"
    if out.exists() and (before := _bundle_of(out, task.number)) is not None:
        tell.say(f"bundle {before['bundle']} was written by an earlier try")
        _record(task.place, open_bundle(out))
        return before
    check_free(out)
    # torch takes seconds to import, and a snapshot can do without.
    from training.checkpoint import load_fitted, save_fitted
    from training.data.layouts import open_dataset
    from training.export import export_bundle
    from training.fit import fit

    if kept.exists():
        tell.say("the model was fitted by an earlier try: going on with its export")
        fitted = load_fitted(kept)
    else:
        dataset = open_dataset(str(task.place.snapshots / wish.snapshot))
        outcome = fit(dataset, _plan(wish, task.work / "resume"), tell)
        provenance = {**outcome.fitted.provenance, "job": task.number, "asked_by": task.asked_by}
        fitted = replace(outcome.fitted, provenance=provenance)
        save_fitted(fitted, kept)
    bundle, parity = export_bundle(fitted, out, wish.bundle, tell)
    _record(task.place, bundle)
    tell.say(f"torch and ONNX Runtime differ by {parity.score:.1e} of a score on {parity.images} images")
    found = _bundle_of(bundle.path, task.number)
    assert found is not None
    shutil.rmtree(task.work, ignore_errors=True)
    return {**found, "seconds": round(time.monotonic() - started, 1)}


def _bundle_of(path: Path, number: int) -> dict[str, Any] | None:
    """What is to be said of the bundle that this very job wrote; None for one that it did not. Raises BundleError."""

    bundle = open_bundle(path)
    if bundle.manifest.provenance.get("job") != number:
        return None
    return {
        "bundle": bundle.label,
        "folder": path.name,
        "bundle_digest": bundle.digest,
        "images": bundle.manifest.provenance.get("images"),
        "test": bundle.manifest.metrics.get("test"),
        "limit": bundle.manifest.limits.score,
        "promise": bundle.manifest.basis.statement,
    }


def _record(place: RecordsPlace, bundle: Bundle) -> None:
    """Put what the bundle is on record, under the label that inspections will name. Raises RecordsError."""
    store = Store(place.database_url)
    try:
        manifest = json.loads(manifest_bytes(bundle.manifest))
        store.record_bundle(bundle.label, bundle.digest, manifest, datetime.now(UTC))
    finally:
        store.close()


def _plan(wish: FitWish, resume: Path) -> Any:
    from training.data.input_size import parse_size
    from training.fit import FitPlan
    from training.models.registry import learns_by_steps, model_kind, read_settings, resumable

    kind = model_kind(wish.kind)
    settings = read_settings(kind, wish.settings)
    width, height = (parse_size(wish.size) if wish.size else None) or (0, 0)
    return FitPlan(
        width_px=width,
        height_px=height,
        seed=wish.seed,
        false_reject_rate=wish.false_reject_rate,
        confidence=wish.confidence,
        kind=kind.name,
        settings=resumable(kind, settings, resume) if learns_by_steps(kind, settings) else settings,
    )


def compare_task(task: Task, tell: Teller) -> dict[str, Any]:
    """Judge the pictures of a snapshot by two bundles, and put both scores of each on record. Raises InspectorError."""
    from training.data.layouts import open_dataset
    from training.report.comparison import compare
    from training.report.record import RECORDED, record_of

    wish = CompareWish.from_json(task.spec)
    data = f"snapshot {wish.snapshot}, job {task.number}"
    store = Store(task.place.database_url)
    try:
        store.check_schema()
        comparisons = Comparisons(store.database, task.place.line)
        # One that a worker wrote before it died, and could not tell of.
        before = next((one for one in comparisons.list() if one.data == data), None)
        if before is not None:
            return {"comparison": before.id, "statement": before.statement}
        first, second = (open_bundle(task.place.bundles / name) for name in (wish.first, wish.second))
        dataset = open_dataset(str(task.place.snapshots / wish.snapshot))
        found = record_of(compare(first, second, dataset, shown=RECORDED, progress=tell), data)
        number = comparisons.add(found, task.asked_by, datetime.now(UTC))
    finally:
        store.close()
    shutil.rmtree(task.work, ignore_errors=True)
    return {"comparison": number, "statement": found.statement}


TASKS: Mapping[str, Callable[[Task, Teller], dict[str, Any]]] = {
    SNAPSHOT: take_snapshot_task,
    FIT: fit_task,
    COMPARE: compare_task,
}


def run_task(kind: str, task: Task, tell: Teller) -> dict[str, Any]:
    """Do it; returns its result. Raises InspectorError."""
    if kind not in TASKS:
        raise ConfigError(f"this worker knows no jobs of kind {kind[:40]!a}, only {', '.join(TASKS)}: update it")
    try:
        task.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{task.work} cannot be written: {error.strerror}; free space or see its permissions"
        ) from error
    return TASKS[kind](task, tell)
