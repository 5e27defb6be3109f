"""What changed between two snapshots: pictures by content, labels, areas, parts and lots."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from inspector.records.snapshots.format import Picture, Snapshot


@dataclass(frozen=True, slots=True)
class Changed:
    """A picture that both have, and what each says of it."""

    sha256: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Difference:
    """From the first snapshot to the second; `redrawn` have other areas, `regrouped` another part or lot, by SHA-256."""

    added: tuple[Picture, ...]
    removed: tuple[Picture, ...]
    relabelled: tuple[Changed, ...]
    redrawn: tuple[str, ...]
    regrouped: tuple[Changed, ...]
    unchanged: int

    @property
    def is_none(self) -> bool:
        """Whether a model would learn the same from both."""
        return not (self.added or self.removed or self.relabelled or self.redrawn or self.regrouped)

    def to_json(self) -> dict[str, Any]:
        return {
            "added": [[picture.sha256, picture.label] for picture in self.added],
            "removed": [[picture.sha256, picture.label] for picture in self.removed],
            "relabelled": [[item.sha256, item.before, item.after] for item in self.relabelled],
            "redrawn": list(self.redrawn),
            "regrouped": [[item.sha256, item.before, item.after] for item in self.regrouped],
            "unchanged": self.unchanged,
        }


def difference(first: Snapshot, second: Snapshot) -> Difference:
    """Compare two snapshots picture by picture."""
    before = {picture.sha256: picture for picture in first.pictures}
    after = {picture.sha256: picture for picture in second.pictures}
    both = [(before[sha256], after[sha256]) for sha256 in before if sha256 in after]
    same = Counter(a.label == b.label and a.areas == b.areas and _place(a) == _place(b) for a, b in both)
    return Difference(
        added=tuple(picture for sha256, picture in after.items() if sha256 not in before),
        removed=tuple(picture for sha256, picture in before.items() if sha256 not in after),
        relabelled=tuple(Changed(a.sha256, a.label, b.label) for a, b in both if a.label != b.label),
        redrawn=tuple(a.sha256 for a, b in both if a.areas != b.areas),
        regrouped=tuple(Changed(a.sha256, _place(a), _place(b)) for a, b in both if _place(a) != _place(b)),
        unchanged=same[True],
    )


def _place(picture: Picture) -> str:
    return f"part {picture.group or '–'}, lot {picture.lot or '–'}"
