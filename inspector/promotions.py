"""Which bundle was promoted to judge by a recipe, by whom and why: what outlives a restart, in one small file.

    line.toml: recipe → bundle  ◀── counts where the file below says nothing, or was written for another line file
    promotions.json: recipe, view → bundle, digest, by, reason, time, the bundle before; the newest hundred, the last one counts

The file is written before the line judges by the new bundle, and whole or not at all: after `kill -9` at any moment the line
judges by the one bundle or the other, and the file says by which.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspector.errors import ConfigError, PromotionRefused

PROMOTIONS_FILE = "promotions.json"
MAX_REASON = 500
MAX_KEPT = 100
"""Promotions in the file, so that the quality database has them all even if it was away."""
_MAX_FILE_BYTES = 4 << 20

ViewKey = tuple[str, str]
"""A recipe and a view of it; the only view has no name."""


@dataclass(frozen=True, slots=True)
class BundleAt:
    """A bundle by its content, and the folder where it lies."""

    folder: str
    label: str
    digest: str


@dataclass(frozen=True, slots=True)
class Promotion:
    """A bundle that judges by a recipe since `time`, and the one `before`, to which a rollback goes back.

    `base` is the folder that the line file named then: if it names another since, the line file counts.
    """

    recipe: str
    view: str
    bundle: BundleAt
    before: BundleAt | None
    base: str
    by: str
    proposed_by: str
    reason: str
    time: datetime
    is_rollback: bool = False

    @property
    def key(self) -> ViewKey:
        return self.recipe, self.view

    @property
    def told(self) -> str:
        """By whom, when and why, in words."""
        proposed = f", proposed by {self.proposed_by}" if self.proposed_by else ""
        how = "rolled back" if self.is_rollback else "promoted"
        return f"{how} by {self.by}{proposed} on {self.time.astimezone(UTC):%Y-%m-%d %H:%M} UTC: {self.reason}"


@dataclass(frozen=True, slots=True)
class Wish:
    """That a bundle shall judge by a recipe; without `folder`, that the one before shall do so again.

    `client` is who asks, as the audit log names it, `by` the person; `digest` and `replaces`, if given, are what that person
    saw of the bundle and of the one that judges now: their digests, at least 12 digits.
    """

    recipe: str
    view: str
    folder: str
    reason: str
    client: str
    by: str
    proposed_by: str = ""
    digest: str = ""
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class ViewReading:
    """What judges one view of a recipe now, and how it proved itself on this machine.

    `bundle` is None if there is none, for `fault`. `checked` counts its golden images, `difference` is the largest between
    their scores here and those recorded; `before_is_warm` says whether a rollback need not load anything.
    """

    recipe: str
    view: str
    bundle: BundleAt | None
    provider: str
    checked: int
    difference: float
    fault: str
    approvals: int
    promotion: Promotion | None
    before_is_warm: bool


def read_promotions(path: Path) -> tuple[Promotion, ...]:
    """What was promoted before this start, oldest first; none if there is no file.

    Raises ConfigError if the file cannot be read: the line must not guess which bundle was approved.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
        document = json.loads(data)
        if document["version"] != 1:
            raise ValueError("another version of the program wrote it")
        found = [_promotion(entry) for entry in document["promoted"]]
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{path} says which bundles were promoted, and cannot be read ({error}): bring it back from a backup, or remove "
            "it: the line then judges by the bundles of its line file"
        ) from error
    return tuple(found)


def newest(promotions: Iterable[Promotion]) -> dict[ViewKey, Promotion]:
    """The last of each view of a recipe."""
    return {promotion.key: promotion for promotion in promotions}


def write_promotions(path: Path, promotions: Sequence[Promotion]) -> None:
    """Replace the file, whole or not at all, and bring it to the disk. PromotionRefused."""
    counts = newest(promotions)
    kept = [
        one for place, one in enumerate(promotions) if counts[one.key] is one or place >= len(promotions) - MAX_KEPT
    ]
    entries = [{**asdict(one), "time": one.time.isoformat()} for one in kept]
    draft = path.with_suffix(".draft")
    try:
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps({"version": 1, "promoted": entries}, indent=1))
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise PromotionRefused(
            f"{path} cannot be written ({error.strerror or error}), so a restart would not know of the promotion: free space "
            "on its disk and try again"
        ) from error


def counting(promotions: Mapping[ViewKey, Promotion], bases: Mapping[ViewKey, Path]) -> dict[ViewKey, Promotion]:
    """Those that count with a line file that names these bundles, by recipe and view."""
    return {key: one for key, one in promotions.items() if key in bases and str(bases[key]) == one.base}


def _promotion(entry: Mapping[str, Any]) -> Promotion:
    """An entry of the file. ValueError, KeyError, TypeError."""
    texts = ("recipe", "view", "base", "by", "proposed_by", "reason")
    if not all(isinstance(entry[name], str) for name in texts) or not isinstance(entry["is_rollback"], bool):
        raise ValueError("an entry is not of texts")
    time = datetime.fromisoformat(entry["time"])
    if time.tzinfo is None:
        raise ValueError("a time without its zone")
    bundle = _bundle_at(entry["bundle"])
    before = None if entry["before"] is None else _bundle_at(entry["before"])
    about = {name: entry[name] for name in (*texts, "is_rollback")}
    return Promotion(**about, bundle=bundle, before=before, time=time)


def _bundle_at(entry: Mapping[str, Any]) -> BundleAt:
    found = BundleAt(**entry)
    if not all(isinstance(value, str) and value for value in asdict(found).values()):
        raise ValueError("a bundle without its folder, label or digest")
    return found
