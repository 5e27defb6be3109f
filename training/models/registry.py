"""All kinds of models. To add one: a folder beside these, and its line here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from inspector.errors import ConfigError
from training.models.classifier import CLASSIFIER
from training.models.fast_bank import FAST_BANK
from training.models.guided import GUIDED
from training.models.kind import ModelKind
from training.models.memory_bank import MEMORY_BANK
from training.models.segmentation import SEGMENTATION

KINDS: Mapping[str, ModelKind] = {
    kind.name: kind for kind in (MEMORY_BANK, FAST_BANK, CLASSIFIER, GUIDED, SEGMENTATION)
}
DEFAULT_KIND = MEMORY_BANK.name


def model_kind(name: str) -> ModelKind:
    """The kind of that name. Raises ConfigError, which lists those there are."""
    if name not in KINDS:
        known = "; ".join(f"{kind.name} ({kind.words})" for kind in KINDS.values())
        raise ConfigError(f"there is no model kind {name!r}: choose from {known}")
    return KINDS[name]


def read_settings(kind: ModelKind, assignments: Sequence[str]) -> Any:
    """The kind's settings with some of them changed by texts such as "bank_size=3000". Raises ConfigError.

    A value is read as JSON where it is JSON, so that lists and numbers can be given, else as text.
    """
    known = [field.name for field in fields(kind.settings) if field.name != "seed"]
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or key not in known:
            raise ConfigError(
                f"{assignment!r} sets nothing of {kind.name}: give KEY=VALUE with a key of {', '.join(known)}"
            )
        try:
            values[key] = json.loads(text)
        except ValueError as error:
            if get_type_hints(kind.settings)[key] is not str and text.lstrip()[:1] in ("{", "["):
                raise ConfigError(
                    f"the value of {assignment!r} is no JSON ({error}): write it like 'spec={{\"smoothing\": 0.5}}', in single "
                    "quotes where a shell reads it"
                ) from error
            values[key] = text
    _check_known(kind.name, kind.settings, values)
    try:
        return TypeAdapter(kind.settings).validate_python(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"the settings of {kind.name} are not right: {problems}") from error


def _check_known(place: str, settings: Any, values: Mapping[str, Any]) -> None:
    """Raise ConfigError for a name within `values` that this dataclass, or one inside of it, has no field for."""
    types = get_type_hints(settings)
    for key, value in values.items():
        if key not in types:
            nearest = get_close_matches(key, types, 1)
            meant = f"; is {nearest[0]} meant?" if nearest else ""
            raise ConfigError(f"{key!r} sets nothing of {place}: give one of {', '.join(types)}{meant}")
        if isinstance(value, dict) and is_dataclass(types[key]):
            _check_known(f"{key} of {place}", types[key], value)


def learns_by_steps(kind: ModelKind, settings: Any) -> bool:
    """Whether a fit with these settings takes many small steps, which can be resumed and shared."""
    try:
        resumable(kind, settings, Path("anywhere"))
    except ConfigError:
        return False
    return True


def resumable(kind: ModelKind, settings: Any, folder: Path | None) -> Any:
    """Settings of a fit that keeps in `folder` where it stands, and goes on from what is there; None for none.

    Raises ConfigError for a kind that learns in one go, or settings that make it so.
    """
    if folder is None:
        return settings
    if not kind.by_steps:
        able = ", ".join(other.name for other in KINDS.values() if other.by_steps)
        raise ConfigError(f"{kind.name} learns in one go, so there is nothing to resume: leave --resume to {able}")
    return replace(settings, checkpoint=str(folder))
