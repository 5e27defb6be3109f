"""What is asked for when a model is to be fitted: chosen by words at the web desk, done by a worker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from inspector.errors import ConfigError

FIT, SNAPSHOT = "fit", "snapshot"
"""Kinds of jobs."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What may name a bundle or a snapshot: it becomes a folder."""


@dataclass(frozen=True, slots=True)
class KindWords:
    """A kind of model as an engineer chooses it."""

    words: str
    about: str
    seconds: float
    seconds_per_picture: float
    """How long a fit takes on two cores where nothing has been measured yet: at least `seconds`."""


KINDS: Mapping[str, KindWords] = {
    "memory-bank": KindWords(
        "only good parts", "Remembers what good parts look like; needs no defects at all.", 30, 0.25
    ),
    "fast-bank": KindWords(
        "only good parts, fast", "As above in 8-bit integers: several times faster, worse on small defects.", 40, 0.3
    ),
    "classifier": KindWords(
        "known defect classes", "Tells which defect it is; needs pictures of each class.", 60, 0.6
    ),
    "segmentation": KindWords(
        "known defect classes with outlines", "Outlines each defect, so that limits can be millimetres; needs masks.", 90, 1.0
    ),
    "guided": KindWords(
        "both", "Starts from good parts and gets better with every labelled reject.", 45, 0.4
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FitWish:
    """A fit: of which snapshot (a folder's name), of which kind, and as which bundle. `size` is "WxH", empty for what suits."""

    snapshot: str
    bundle: str
    kind: str = "memory-bank"
    false_reject_rate: float = 0.01
    confidence: float = 0.95
    size: str = ""
    settings: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        for what, name in (("a snapshot", self.snapshot), ("a bundle", self.bundle)):
            check_name(what, name)
        if not 0 < self.false_reject_rate < 1 or not 0 < self.confidence < 1:
            raise ConfigError(
                f"a limit cannot promise {self.false_reject_rate:g} with confidence {self.confidence:g}: both lie "
                "between 0 and 1, such as 0.01 and 0.95"
            )
        if self.size and not re.fullmatch(r"[1-9][0-9]{1,4}x[1-9][0-9]{1,4}", self.size):
            raise ConfigError(
                f"{self.size[:40]!a} is no size: give WIDTHxHEIGHT in pixels, such as 224x224, or nothing"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "settings": list(self.settings)}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> FitWish:
        """The inverse of `to_json`. Raises ConfigError."""
        known = {field.name for field in fields(FitWish)}
        try:
            rest = {key: value for key, value in values.items() if key in known}
            return FitWish(**{**rest, "settings": tuple(values.get("settings", ()))})
        except TypeError as error:
            raise ConfigError(f"this is no wish for a fit ({error}); ask for it again") from error


def check_name(what: str, name: str) -> str:
    """The name, if it can be a folder's. Raises ConfigError."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(
            f"{what} cannot be named {str(name)[:80]!a}: give up to 64 letters, digits, dots, dashes or underscores, a "
            "letter or digit first"
        )
    return name
