"""Cards of known data sets (datasets/*.toml): whether a local copy is complete."""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import DataError
from training.data.samples import Dataset, printable


@dataclass(frozen=True, slots=True)
class CardCheck:
    """How a copy differs from its card: (label, images there, images expected), of the version that it is nearest to."""

    name: str
    version: str
    layout: tuple[str, str]
    masked: tuple[int, int]
    differences: tuple[tuple[str, int, int], ...]

    @property
    def complete(self) -> bool:
        return not self.differences and self.layout[0] == self.layout[1] and self.masked[0] == self.masked[1]

    def sentences(self) -> list[str]:
        """Each difference in words; empty if the copy is complete."""
        said = []
        if self.layout[0] != self.layout[1]:
            said.append(f"the layout is {self.layout[0]}, expected {self.layout[1]}; look whether this is the set")
        for label, there, expected in self.differences:
            what = f"{expected - there} missing" if there < expected else f"{there - expected} too many"
            said.append(f"{printable(label)}: {there} of {expected} images, {what}; copy the set again")
        if self.masked[0] != self.masked[1]:
            said.append(f"{self.masked[0]} of {self.masked[1]} images have a mask; copy the masks again")
        return said


def check_card(file: Path, dataset: Dataset) -> CardCheck:
    """Compare a copy with the versions that a card knows, and say how it differs from the nearest. Raises DataError."""
    try:
        card = tomllib.loads(file.read_text(encoding="utf-8"))
        versions: list[dict[str, Any]] = [card["layout"], *card.get("version", [])]
        there = Counter(sample.label for sample in dataset.samples)
        masked = sum(sample.is_masked for sample in dataset.samples)
        checks = [
            CardCheck(
                name=str(card["name"]),
                version=str(version.get("version", "as described")),
                layout=(dataset.layout, str(version.get("importer", card["layout"]["importer"]))),
                masked=(masked, int(version["masked"])),
                differences=_differences(there, version["labels"]),
            )
            for version in versions
        ]
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}; give a file of datasets/") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is no card ({type(error).__name__}: {error}); give a file of datasets/") from error
    return min(checks, key=lambda check: sum(abs(a - b) for _, a, b in check.differences))


def _differences(there: Counter[str], expected: dict[str, int]) -> tuple[tuple[str, int, int], ...]:
    labels = sorted({*there, *expected})
    return tuple((n, there[n], int(expected.get(n, 0))) for n in labels if there[n] != expected.get(n, 0))
