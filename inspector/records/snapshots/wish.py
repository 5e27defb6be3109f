"""What a snapshot is to hold: as a value, and as plain JSON in a snapshot's document and in the job that takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from inspector.errors import ConfigError
from inspector.part import Verdict
from inspector.records.label_rows import LabelledFilter


@dataclass(frozen=True, slots=True)
class Wish:
    """What a snapshot is to hold. `classes` keeps what people agree on, `authors` whose labels count; empty for all.

    `lot_pattern` finds the lot in a part id: its first group, or all that it matches. No part id, no lot. `sets` names image
    sets whose labelled pictures are taken in besides; with `sets_only` no inspections are.
    """

    where: LabelledFilter = field(default_factory=LabelledFilter)
    classes: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()
    lot_pattern: str = ""
    sets: frozenset[str] = frozenset()
    sets_only: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, of what was asked for alone."""
        where = self.where
        values = {
            "line": where.line,
            "recipe": where.recipe,
            "bundle": where.bundle,
            "verdicts": sorted(verdict.name for verdict in where.verdicts),
            "since": where.start_time.isoformat() if where.start_time else "",
            "until": where.end_time.isoformat() if where.end_time else "",
            "classes": sorted(self.classes),
            "authors": sorted(self.authors),
            "lot_pattern": self.lot_pattern,
            "sets": sorted(self.sets),
            "sets_only": self.sets_only,
        }
        return {key: value for key, value in values.items() if value}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Wish:
        """The inverse of `to_json`. Raises ConfigError."""
        try:
            where = LabelledFilter(
                _text(values, "line"),
                _text(values, "recipe"),
                _text(values, "bundle"),
                frozenset(Verdict[name] for name in _texts(values, "verdicts")),
                _time(values, "since"),
                _time(values, "until"),
            )
            return Wish(
                where,
                _texts(values, "classes"),
                _texts(values, "authors"),
                _text(values, "lot_pattern"),
                _texts(values, "sets"),
                bool(values.get("sets_only", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"this is no wish for a snapshot ({error}); ask for it again") from error


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key, "")
    if not isinstance(value, str):
        raise TypeError(f"{key} is no text")
    return value


def _texts(values: Mapping[str, Any], key: str) -> frozenset[str]:
    found = values.get(key, ())
    if not isinstance(found, list | tuple) or not all(isinstance(value, str) for value in found):
        raise TypeError(f"{key} is no list of texts")
    return frozenset(found)


def _time(values: Mapping[str, Any], key: str) -> datetime | None:
    text = _text(values, key)
    if not text:
        return None
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{key} has no time zone")
    return time
