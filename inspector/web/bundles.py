"""What is known of the bundles of a line: those in its folder, what judges now, how each proved itself, what each judged."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import BundleError, InspectorError, NotFound
from inspector.inference.bundle import MANIFEST_FILE, Bundle
from inspector.inference.manifest import MAX_MANIFEST_BYTES, Manifest, manifest_digest, parse_manifest
from inspector.inference.signature import signatures_of
from inspector.promotions import ViewReading
from inspector.quality.rates import Rate, percent
from inspector.records.comparisons import BundleComparison, ComparisonEntry, Comparisons
from inspector.records.model_history import BundleUse, GoldenResult, ModelHistory, PromotionRecord
from inspector.records.requests import PromotionRequest, PromotionRequests
from inspector.web.desk import Desk

KEPT = 4
MOST = 500
"""Bundles of a folder that are looked at."""


@dataclass(frozen=True, slots=True)
class BundleCard:
    """A bundle in the folder, by what its manifest says; its files are checked when it is promoted, not here.

    `manifest` is None if it cannot be read, for `fault`. `judges` are the recipes and views that it judges now.
    """

    name: str
    path: Path
    label: str
    digest: str
    manifest: Manifest | None
    fault: str
    signers: tuple[str, ...]
    golden: tuple[GoldenResult, ...]
    use: BundleUse | None
    judges: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ModelsNow:
    """All that the page of models shows. `away` says why the service could not be asked, empty if it could."""

    readings: tuple[ViewReading, ...]
    away: str
    bundles: tuple[BundleCard, ...]
    requests: tuple[PromotionRequest, ...]
    history: tuple[PromotionRecord, ...]
    uses: tuple[BundleUse, ...]
    comparisons: tuple[ComparisonEntry, ...]

    def reading(self, recipe: str, view: str) -> ViewReading | None:
        """What judges a view of a recipe."""
        return next((one for one in self.readings if (one.recipe, one.view) == (recipe, view)), None)


def look(desk: Desk) -> ModelsNow:
    """Everything, read now. Waits for files, database and service. RecordsError."""
    readings, away = readings_of(desk)
    history = ModelHistory(desk.database, desk.line)
    uses, golden = history.uses(), history.golden()
    return ModelsNow(
        readings=readings,
        away=away,
        bundles=tuple(bundles_in(desk.bundles, readings, golden, uses)),
        requests=tuple(PromotionRequests(desk.database, desk.line).list()),
        history=tuple(history.promotions()),
        uses=tuple(uses),
        comparisons=tuple(Comparisons(desk.database, desk.line).list()),
    )


def readings_of(desk: Desk) -> tuple[tuple[ViewReading, ...], str]:
    """What judges now, and why the service cannot be asked, empty if it can."""
    if lost := desk.live.now().lost:
        return (), lost
    try:
        return tuple(desk.commander.recipes()), ""
    except InspectorError as error:
        return (), str(error)


def bundles_in(
    folder: Path,
    readings: tuple[ViewReading, ...] = (),
    golden: Sequence[GoldenResult] = (),
    uses: Sequence[BundleUse] = (),
) -> list[BundleCard]:
    """The bundles in a folder, the newest first; what is no bundle is left out."""
    try:
        paths = sorted(path for path in folder.iterdir() if (path / MANIFEST_FILE).is_file())[:MOST]
    except OSError:
        return []
    cards = [_card(path, readings, tuple(golden), tuple(uses)) for path in paths]
    return sorted(
        cards, key=lambda card: card.manifest.created_time.timestamp() if card.manifest else 0.0, reverse=True
    )


def bundle_named(desk: Desk, name: str) -> BundleCard:
    """One of the folder by the name of its own folder. NotFound, BundleError if it cannot be read."""
    card = next((one for one in bundles_in(desk.bundles) if one.name == name), None)
    if card is None:
        raise NotFound(f"there is no bundle {name[:80]!a} in {desk.bundles}: see what lies there")
    if card.manifest is None:
        raise BundleError(card.fault)
    return card


def _card(
    path: Path, readings: tuple[ViewReading, ...], golden: tuple[GoldenResult, ...], uses: tuple[BundleUse, ...]
) -> BundleCard:
    try:
        state = (path / MANIFEST_FILE).stat()
        manifest, digest = _manifest(path, state.st_mtime_ns, state.st_size)
        signers = tuple(one.signer for one in signatures_of(Bundle(path, manifest, digest)))
    except OSError as error:
        return BundleCard(path.name, path, path.name, "", None, f"cannot be read: {error.strerror}", (), (), None, ())
    except InspectorError as error:
        return BundleCard(path.name, path, path.name, "", None, str(error), (), (), None, ())
    label = f"{manifest.name}@{digest[:12]}"
    return BundleCard(
        name=path.name,
        path=path,
        label=label,
        digest=digest,
        manifest=manifest,
        fault="",
        signers=signers,
        golden=tuple(one for one in golden if one.label == label),
        use=next((one for one in uses if one.label == label), None),
        judges=tuple((one.recipe, one.view) for one in readings if one.bundle and one.bundle.digest == digest),
    )


@functools.lru_cache(maxsize=MOST)
def _manifest(path: Path, mtime_ns: int, size: int) -> tuple[Manifest, str]:
    """Read once for as long as the file does not change. OSError, BundleError."""
    with (path / MANIFEST_FILE).open("rb") as stream:
        manifest = parse_manifest(stream.read(MAX_MANIFEST_BYTES), str(path / MANIFEST_FILE))
    return manifest, manifest_digest(manifest)


_comparisons: OrderedDict[tuple[str, str, int], BundleComparison] = OrderedDict()
_comparisons_lock = threading.Lock()


def comparison_of(desk: Desk, number: int) -> BundleComparison:
    """One on record; they never change, so the last few are kept at hand for their pictures. NotFound."""
    key = (desk.store.name, desk.line, number)
    with _comparisons_lock:
        if key in _comparisons:
            _comparisons.move_to_end(key)
            return _comparisons[key]
    found = Comparisons(desk.database, desk.line).get(number)
    with _comparisons_lock:
        _comparisons[key] = found
        while len(_comparisons) > KEPT:
            _comparisons.popitem(last=False)
    return found


def place_of(recipe: str, view: str) -> str:
    """A view of a recipe in words."""
    return f"{recipe}, view {view}" if view else recipe


def measured(manifest: Manifest) -> list[tuple[str, str]]:
    """What was measured when the bundle was made, on parts that fitted nothing, with 95 % intervals."""
    test = manifest.metrics.get("test")
    found: list[tuple[str, str]] = []
    if isinstance(test, Mapping):
        for name, title in (("escapes", "Escapes"), ("false_rejects", "False rejects")):
            if (rate := _rate(test.get(name))) is not None and rate.total:
                found.append((title, rate.words))
        if isinstance(auroc := test.get("auroc"), float | int):
            found.append(("AUROC", f"{auroc:.3f}"))
    basis = manifest.basis
    for title, count in (
        ("Good parts rejected, limit's check", basis.tested),
        ("Escapes, limit's check", basis.escapes),
    ):
        if count is not None and count.parts:
            found.append((title, f"{count.count} of {count.parts}, at most {percent(count.bound)}"))
    return found


def _rate(value: Any) -> Rate | None:
    if not isinstance(value, Mapping):
        return None
    try:
        return Rate(int(value["count"]), int(value["total"]), float(value["low"]), float(value["high"]))
    except (KeyError, TypeError, ValueError):
        return None
