"""From a part id to the lot that it names."""

from __future__ import annotations

import re
from collections.abc import Callable

LotOf = Callable[[str], str]
"""From a part id to the lot that the part is of, empty if it has none."""


def lot_finder(pattern: str) -> LotOf | None:
    """`pattern` is a regular expression: its first group, or all that it matches, is the lot; without one there are no lots.

    Raises re.error for what is no pattern.
    """
    if not pattern:
        return None
    compiled = re.compile(pattern)
    group = min(1, compiled.groups)

    def lot_of(part_id: str) -> str:
        found = compiled.search(part_id)
        return (found[group] or "") if found else ""

    return lot_of
