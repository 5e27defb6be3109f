"""What is asked for when two bundles are to be compared on a snapshot; done by a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from inspector.errors import ConfigError
from inspector.records.fit_wish import check_name

COMPARE = "compare"
"""The kind of job."""


@dataclass(frozen=True, slots=True)
class CompareWish:
    """Two bundles, by their folders, and the snapshot whose pictures both judge."""

    first: str
    second: str
    snapshot: str

    def to_json(self) -> dict[str, Any]:
        """As the specification of a job has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> CompareWish:
        """The inverse. ConfigError."""
        wish = cls(
            check_name("a bundle", spec.get("first", "")),
            check_name("a bundle", spec.get("second", "")),
            check_name("a snapshot", spec.get("snapshot", "")),
        )
        if wish.first == wish.second:
            raise ConfigError(f"{wish.first} cannot be compared with itself: choose another bundle")
        return wish
