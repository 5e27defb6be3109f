"""Finds the inspections that a person means by a part id or a number."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.errors import ConfigError, NotFound
from inspector.records.queries import InspectionFilter, StoredInspection
from inspector.records.store import Store

MAX_SHOWN = 50
# The quality database counts in signed 64-bit numbers.
MAX_NUMBER = 2**63 - 1


def find_part(store: Store, line: str, part: str) -> Sequence[StoredInspection]:
    """Inspections of a part id, newest first, or the one numbered "#123". Raises NotFound or ConfigError."""
    if part.startswith("#"):
        digits = part[1:]
        # The length first: Python refuses to read a number of thousands of digits.
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 19 and int(digits) <= MAX_NUMBER):
            raise ConfigError(
                f'"{part[:80]}" is no number of an inspection: give "#" and digits, such as "#123", up to #{MAX_NUMBER}'
            )
        return [store.get(line, int(digits))]
    found = store.list(InspectionFilter(line=line, part_id=part), MAX_SHOWN).inspections
    if not found:
        raise NotFound(f'line {line} has no inspection of part "{part}": `inspector rejects` lists what there is')
    return found
