"""Values of files from outside, by type: whatever a file says, it is one of these or LabelInvalid says what it is instead."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from inspector.errors import LabelInvalid

_LARGEST = 2**53


def parse_json(data: bytes, name: str) -> Any:
    """Plain JSON in UTF-8. Raises LabelInvalid, also for NaN and infinity, which JSON does not have."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise LabelInvalid(f"{name!a} is not UTF-8 text (byte {error.start}): save it in that encoding") from error
    except (ValueError, RecursionError) as error:
        raise LabelInvalid(f"{name!a} is no JSON ({error}): save it again") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def a_mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise LabelInvalid(f"{where} is {printable(value)}: expected an object with named fields")
    return value


def a_list(value: Any, where: str, most: int, least: int = 0) -> Sequence[Any]:
    if not isinstance(value, list):
        raise LabelInvalid(f"{where} is {printable(value)}: expected a list")
    if not least <= len(value) <= most:
        raise LabelInvalid(f"{where} has {len(value):,} items: expected {least:,} to {most:,}")
    return value


def a_text(value: Any, where: str, most: int) -> str:
    if not isinstance(value, str):
        raise LabelInvalid(f"{where} is {printable(value)}: expected text")
    if len(value) > most:
        raise LabelInvalid(f"{where} has {len(value):,} characters: expected {most:,} at most")
    return value


def a_number(value: Any, where: str) -> float:
    """A finite number of ordinary size."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LabelInvalid(f"{where} has {printable(value)} for a number")
    if not (abs(value) <= _LARGEST and math.isfinite(value)):
        raise LabelInvalid(f"{where} has the number {printable(value)}: expected one that fits a picture")
    return float(value)


def a_whole(value: Any, where: str) -> int:
    """A whole number, also written with a decimal point."""
    number = a_number(value, where)
    if number != int(number):
        raise LabelInvalid(f"{where} has {printable(value)}: expected a whole number")
    return int(number)


def printable(value: Any) -> str:
    """A short text of whatever came, without anything that moves the cursor."""
    kinds = {dict: "an object", list: "a list", type(None): "nothing", bool: "yes or no"}
    return kinds.get(type(value)) or f"{str(value)[:60]!a}"
