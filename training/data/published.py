"""What the published split of a data set decides, in words: which defective parts test, and what becomes of all others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from training.data.samples import Sample, printable
from training.data.splits import Role

FEW_TO_TEST = 10
"""Defective parts below which a test says little: ten without an escape still leave up to 26 % of escapes (95 %)."""
_SHOWN = 8
_NEXT_STEP = (
    "Mark more defective parts as test, some of each class, or take the marks away: then the test is dealt by class"
)
_USES = {Role.FIT: "fit the model", Role.CALIBRATION: "set its limit"}


@dataclass(frozen=True, slots=True)
class Marks:
    """What marks do, in words that end with the next step; `leave_few` says that the test they leave says little."""

    text: str
    leave_few: bool


@dataclass(frozen=True, slots=True)
class _Class:
    label: str
    tested: int
    parts: int


def marks_before_the_fit(samples: Sequence[Sample], parts: Sequence[int]) -> Marks | None:
    """What to know before a kind is chosen; None unless some defective images are marked as test and others are not.

    `parts` are the physical parts of the samples. A part with one marked image is marked: all of it tests.
    """
    if not _decide(samples):
        return None
    marked = {part for sample, part in zip(samples, parts, strict=True) if sample.published_split == "test"}
    classes = _classes(samples, parts, marked)
    return _marks(
        f"the published split marks {_counts(classes)} as test. A model that learns from defects, and a limit by costs, take "
        "all the other defective parts: none of them is dealt to the test",
        classes,
    )


def marks_in_a_split(samples: Sequence[Sample], parts: Sequence[int], roles: Sequence[Role]) -> Marks | None:
    """What the marks did to a split; None if they kept no defective part from the test.

    A model of good parts alone is tested with all defective parts, marked or not.
    """
    uses = {role for sample, role in zip(samples, roles, strict=True) if not sample.is_good and role is not Role.TEST}
    if not uses or not _decide(samples):
        return None
    tested = {part for part, role in zip(parts, roles, strict=True) if role is Role.TEST}
    classes = _classes(samples, parts, tested)
    what = " or ".join(words for role, words in _USES.items() if role in uses)
    told = f"by the published split {_counts(classes)} test the model. All the other defective parts {what}"
    return _marks(told, classes)


def _decide(samples: Sequence[Sample]) -> bool:
    """Whether marks decide which defective images test: some are marked, and others are not."""
    return {sample.published_split == "test" for sample in samples if not sample.is_good} == {True, False}


def _classes(samples: Sequence[Sample], parts: Sequence[int], tested: AbstractSet[int]) -> list[_Class]:
    by_label: dict[str, set[int]] = defaultdict(set)
    for sample, part in zip(samples, parts, strict=True):
        if not sample.is_good:
            by_label[sample.label].add(part)
    return [_Class(label, len(members & tested), len(members)) for label, members in sorted(by_label.items())]


def _counts(classes: Sequence[_Class]) -> str:
    return _listed(f"{each.tested} of {each.parts} parts of {printable(each.label)}" for each in classes)


def _marks(told: str, classes: Sequence[_Class]) -> Marks:
    """With why the parts tested say little, and the next step, if they are few or a class has none."""
    count = sum(each.tested for each in classes)
    facts = []
    if count < FEW_TO_TEST:
        left = "1 defective part is" if count == 1 else f"{count} defective parts are"
        facts.append(f"{left} left to test on, and fewer than {FEW_TO_TEST} say little of escapes")
    if untested := [printable(each.label) for each in classes if not each.tested]:
        facts.append(f"nothing tests for {_listed(untested)}")
    if not facts:
        return Marks(told, leave_few=False)
    return Marks(f"{told}. So {'; '.join(facts)}. {_NEXT_STEP}", leave_few=True)


def _listed(items: Iterable[str]) -> str:
    told = list(items)
    more = [f"{len(told) - _SHOWN} more classes"] if len(told) > _SHOWN else []
    return ", ".join([*told[:_SHOWN], *more])
