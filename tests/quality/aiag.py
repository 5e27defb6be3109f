"""The attribute study of AIAG, Measurement Systems Analysis, 4th ed. 2010, table III-C 1: 50 parts, 3 appraisers, 3 looks.

1 is good. Parts that all call the same nine times are named by number; the others are written out.
"""

from __future__ import annotations

from inspector.quality.agreement import DEFECTIVE, GOOD, Looks, Reference

_ALL_DEFECTIVE = (3, 4, 5, 9, 25, 37, 39, 42, 45, 48, 50)
_MIXED = {  # A, B, C, reference
    6: ("110", "110", "100", "1"),
    7: ("111", "111", "101", "1"),
    12: ("000", "000", "010", "0"),
    14: ("110", "111", "100", "1"),
    21: ("110", "101", "010", "1"),
    22: ("001", "010", "110", "0"),
    26: ("010", "001", "000", "0"),
    30: ("000", "000", "010", "0"),
    34: ("001", "001", "011", "0"),
    36: ("110", "111", "101", "1"),
    43: ("101", "111", "110", "1"),
}
_WORDS = {"1": GOOD, "0": DEFECTIVE}


def _row(part: int) -> tuple[str, str, str, str]:
    return _MIXED.get(part) or (("000", "000", "000", "0") if part in _ALL_DEFECTIVE else ("111", "111", "111", "1"))


RATINGS: dict[str, Looks] = {
    name: {part: tuple(_WORDS[look] for look in _row(part)[place]) for part in range(1, 51)}
    for place, name in enumerate("ABC")
}
REFERENCE: Reference = {part: _WORDS[_row(part)[3]] for part in range(1, 51)}
