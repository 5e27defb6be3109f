"""Escapes and false rejects by image and by physical part: images of one part are not independent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from inspector.part import Verdict
from training.evaluate import Evaluation, Judged
from training.statistics import Rate, counted

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something went wrong, of images and of parts; a part is wrong if any of its images is."""

    images: Rate
    parts: Rate

    def to_json(self) -> dict[str, Any]:
        return {"images": self.images.to_json(), "parts": self.parts.to_json()}


@dataclass(frozen=True, slots=True)
class WrongPart:
    """A part with at least one wrong verdict; `path` is its worst image, of `wrong` wrong ones of `images`."""

    part: int
    label: str
    images: int
    wrong: int
    path: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """Escapes and false rejects of one lot."""

    name: str
    escapes: Tally
    false_rejects: Tally


@dataclass(frozen=True, slots=True)
class Counts:
    """All that is counted of an evaluation. Labels come good first."""

    verdicts: dict[str, dict[Verdict, int]]
    wrong_by_label: dict[str, Tally]
    escapes: Tally
    false_rejects: Tally
    unknown: Tally
    lots: tuple[Group, ...]
    wrong_parts: tuple[WrongPart, ...]

    @property
    def good_parts(self) -> int:
        return self.false_rejects.parts.total

    @property
    def defective_parts(self) -> int:
        return self.escapes.parts.total

    def to_json(self) -> dict[str, Any]:
        return {
            "interval": "Clopper-Pearson, 95 %",
            "part_rule": "a part is wrong if any of its images is",
            "verdicts": {
                label: {verdict.name: count for verdict, count in counts.items()}
                for label, counts in self.verdicts.items()
            },
            "wrong_by_label": {label: tally.to_json() for label, tally in self.wrong_by_label.items()},
            "escapes": self.escapes.to_json(),
            "false_rejects": self.false_rejects.to_json(),
            "unknown": self.unknown.to_json(),
            "lots": {
                lot.name: {"escapes": lot.escapes.to_json(), "false_rejects": lot.false_rejects.to_json()}
                for lot in self.lots
            },
            "wrong_parts": [
                {name: getattr(part, name) for name in ("part", "label", "images", "wrong", "path", "score")}
                for part in self.wrong_parts
            ],
        }


def count(evaluation: Evaluation) -> Counts:
    """Count an evaluation. UNKNOWN is neither escape nor false reject, but stays in the totals: it was a part to judge."""
    judged = evaluation.judged
    verdicts = {
        label: {verdict: counts[verdict] for verdict in Verdict} for label, counts in evaluation.verdicts().items()
    }
    by_label = {label: [image for image in judged if image.label == label] for label in verdicts}
    lots = _by(judged, lambda image: image.lot)
    return Counts(
        verdicts=verdicts,
        wrong_by_label={label: tally(images, is_wrong) for label, images in by_label.items()},
        escapes=escapes_in(judged),
        false_rejects=false_rejects_in(judged),
        unknown=tally(judged, lambda image: image.verdict is Verdict.UNKNOWN),
        lots=tuple(
            Group(name, escapes_in(images), false_rejects_in(images)) for name, images in sorted(lots.items()) if name
        ),
        wrong_parts=_wrong_parts(judged),
    )


def is_wrong(image: Judged) -> bool:
    return image.is_escape or image.is_false_reject


def tally(images: Sequence[Judged], wrong: Callable[[Judged], bool]) -> Tally:
    """Count `images` and their parts; a part with one wrong image is wrong."""
    parts = _by(images, lambda image: image.part)
    return Tally(
        counted(sum(map(wrong, images)), len(images)),
        counted(sum(any(map(wrong, members)) for members in parts.values()), len(parts)),
    )


def escapes_in(images: Iterable[Judged]) -> Tally:
    return tally([image for image in images if not image.is_good], lambda image: image.is_escape)


def false_rejects_in(images: Iterable[Judged]) -> Tally:
    return tally([image for image in images if image.is_good], lambda image: image.is_false_reject)


def _wrong_parts(judged: Sequence[Judged]) -> tuple[WrongPart, ...]:
    """The worst first: escapes before false rejects, those with the larger share of wrong images first."""
    found = []
    for (part, label), images in _by(judged, lambda image: (image.part, image.label)).items():
        if wrong := [image for image in images if is_wrong(image)]:
            # The escape that looked best, the false reject that looked worst.
            worst = sorted(wrong, key=lambda image: (image.score or 0.0) * (-1 if image.is_good else 1))[0]
            found.append(WrongPart(part, label, len(images), len(wrong), worst.path, worst.score))
    return tuple(sorted(found, key=lambda p: (p.label == "good", -p.wrong / p.images, -p.wrong, p.path)))


def _by(images: Iterable[Judged], key: Callable[[Judged], K]) -> dict[K, list[Judged]]:
    groups: dict[K, list[Judged]] = defaultdict(list)
    for image in images:
        groups[key(image)].append(image)
    return groups
