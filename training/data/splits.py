"""Which images fit the model, which calibrate its limit and which test it: decided by part, never by image."""

from __future__ import annotations

import enum
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from inspector.errors import DataError
from training.data.files import write_whole
from training.data.samples import GOOD, Sample, printable

MIN_FIT_GROUPS = 3
"""Good parts that are never dealt away: a limit can be set by cross-fitting on three."""
MIN_GROUPS = MIN_FIT_GROUPS + 1
"""Good parts needed: those, and one to test."""


class Role(enum.StrEnum):
    """What an image is for. Without images for calibration, those to fit on set the limit as well, by cross-fitting."""

    FIT = "fit"
    CALIBRATION = "calibration"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class SplitEntry:
    """One image with its label, its part (images of one part share `group`) and what it is for."""

    path: str
    label: str
    group: int
    role: Role


@dataclass(frozen=True, slots=True)
class Split:
    """Every usable image of the data set at `root` with its role; `digest` names the data set."""

    root: Path
    seed: int
    digest: str
    entries: tuple[SplitEntry, ...]

    def of(self, role: Role) -> tuple[SplitEntry, ...]:
        return tuple(entry for entry in self.entries if entry.role is role)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images by role and label."""
        counts: dict[str, Counter[str]] = {role.value: Counter() for role in Role}
        for entry in self.entries:
            counts[entry.role][entry.label] += 1
        return {role: dict(sorted(count.items())) for role, count in counts.items()}


@dataclass(frozen=True, slots=True)
class SplitShares:
    """Shares of the good images, 0 to 1; what is left fits the model.

    Calibration parts are held out only if that gives at least `calibration_parts`: fewer would prove nothing, and the
    model is better for having them. `defects_to_fit` is the share of the defective parts, class by class, that fits the
    model, `defects_to_calibrate` the share of the others that helps to set the limit; the rest tests it. Models of good
    parts alone leave the first at 0, limits by a promise the second.
    """

    test: float = 0.2
    calibration: float = 0.3
    calibration_parts: int = 299
    defects_to_fit: float = 0.0
    defects_to_calibrate: float = 0.0

    def __post_init__(self) -> None:
        if not (self.test >= 0 and self.calibration >= 0 and self.test + self.calibration <= 0.9):
            raise DataError(
                f"a test share of {self.test} and a calibration share of {self.calibration} leave too little to fit on: "
                "give shares from 0, whose sum is at most 0.9"
            )
        for share, purpose in ((self.defects_to_fit, "fit on"), (self.defects_to_calibrate, "set the limit")):
            if not 0 <= share <= 0.9:
                raise DataError(f"{share} of the defective parts to {purpose} leaves too few to test: give 0 to 0.9")


def make_split(samples: Sequence[Sample], groups: Sequence[int], shares: SplitShares, seed: int) -> list[Role]:
    """A role for each sample, the same for all of a group.

    Groups with a defective image are for testing, but for the share to fit on, dealt by class. So are those with an image
    of the published test set, if the data set comes with one; the test share then does not count. All are dealt out in a
    seeded order.

    If too few groups are all good, because every item has a bad surface or every lot a bad part, half of the groups that
    have both kinds are for fitting as well: their good images teach, their defective ones only a model that learns from
    defects. Raises DataError if there are too few different good parts even so.
    """
    members: dict[int, list[Sample]] = defaultdict(list)
    for sample, group in zip(samples, groups, strict=True):
        members[group].append(sample)
    tests = {group for group, images in members.items() if not all(image.is_good for image in images)}
    published = any(sample.published_split == "test" for sample in samples if sample.is_good)
    if published:
        tests |= {g for g, images in members.items() if any(image.published_split == "test" for image in images)}
    taught = _deal_defects(members, shares.defects_to_fit, seed)
    others = {group: images for group, images in members.items() if group not in taught}
    weighed = _deal_defects(others, shares.defects_to_calibrate, seed)
    tests -= taught | weighed
    free = [group for group in sorted(members) if group not in tests | taught | weighed]
    mixed = _mixed_to_fit(members, taught, weighed, seed) if len(free) < MIN_GROUPS else set()
    tests -= mixed
    _check_enough([*free, *mixed], members, samples)
    order = [free[index] for index in np.random.default_rng(seed).permutation(len(free))]
    count = sum(len(members[group]) for group in order)
    if not published:
        tests |= _deal(order, members, shares.test * count, MIN_FIT_GROUPS)
    calibration = _deal([g for g in order if g not in tests], members, shares.calibration * count, MIN_FIT_GROUPS)
    if len(calibration) < shares.calibration_parts:
        calibration = set()
    calibration |= weighed
    return [Role.TEST if g in tests else Role.CALIBRATION if g in calibration else Role.FIT for g in groups]


def _deal_defects(members: Mapping[int, Sequence[Sample]], share: float, seed: int) -> set[int]:
    """Defective groups that are not for testing: of each class the share, at least one of two or more, in a seeded order."""
    by_class: dict[str, list[int]] = defaultdict(list)
    for group in sorted(members):
        if defects := [image.label for image in members[group] if not image.is_good]:
            by_class[min(defects)].append(group)
    random = np.random.default_rng((seed, 2))
    dealt: set[int] = set()
    for _, groups in sorted(by_class.items()):
        order = [groups[index] for index in random.permutation(len(groups))]
        count = round(share * len(groups))
        if share > 0 and len(groups) > 1:
            count = min(max(count, 1), len(groups) - 1)
        dealt.update(order[:count])
    return dealt


def _mixed_to_fit(members: Mapping[int, Sequence[Sample]], taught: set[int], weighed: set[int], seed: int) -> set[int]:
    """Half of the groups with good and defective images, counting those that fit the model anyway; never all of them."""
    mixed = [
        g for g in sorted(members) if {image.is_good for image in members[g]} == {True, False} and g not in weighed
    ]
    published = {g for g in mixed if any(image.published_split == "test" for image in members[g])}
    already = [group for group in mixed if group in taught]
    open_groups = [group for group in mixed if group not in taught and group not in published]
    order = [open_groups[index] for index in np.random.default_rng((seed, 3)).permutation(len(open_groups))]
    wanted = min(max(len(mixed) // 2, MIN_GROUPS), len(mixed) - 1) - len(already)
    return set(already) | set(order[: max(wanted, 0)])


def _deal(order: Sequence[int], members: Mapping[int, Sequence[Sample]], wanted: float, leave: int) -> set[int]:
    """Groups, in order, as long as they fit into `wanted` images; if none does, the smallest. Leaves at least `leave`."""
    if wanted <= 0 or len(order) <= leave:
        return set()
    dealt: set[int] = set()
    count = 0
    for group in order:
        if count + len(members[group]) <= wanted and len(dealt) < len(order) - leave:
            dealt.add(group)
            count += len(members[group])
    return dealt or {min(order, key=lambda group: len(members[group]))}


def _check_enough(free: Sequence[int], members: Mapping[int, Sequence[Sample]], samples: Sequence[Sample]) -> None:
    good = sum(sample.is_good for sample in samples)
    if good == 0:
        labels = ", ".join(sorted({printable(sample.label) for sample in samples})[:8])
        raise DataError(
            f"there are no readable images of good parts, only of {labels}: put good parts into a folder {GOOD}/"
        )
    if len(free) < MIN_GROUPS:
        images = sum(len(members[group]) for group in free)
        raise DataError(
            f"the {good} good images show {len(free)} different parts that are free to fit on ({images} images): at least "
            f"{MIN_GROUPS} are needed. Add images of more good parts; equal or nearly equal images count as one part"
        )


def write_split(path: Path, split: Split) -> None:
    """Write the split as JSON, whole or not at all. Raises DataError."""
    document = {
        "root": str(split.root),
        "seed": split.seed,
        "dataset_digest": split.digest,
        "images": [asdict(entry) for entry in split.entries],
    }
    write_whole(path, json.dumps(document, indent=1).encode("ascii"))


def read_split(path: Path) -> Split:
    """Read a split that `write_split` wrote. Raises DataError if it is none."""
    try:
        document = json.loads(path.read_bytes())
        entries = tuple(
            SplitEntry(str(image["path"]), str(image["label"]), int(image["group"]), Role(image["role"]))
            for image in document["images"]
        )
        return Split(Path(document["root"]), int(document["seed"]), str(document["dataset_digest"]), entries)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check the path") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{path} is no split ({type(error).__name__}: {error}); give a file that `fit --split-out` wrote"
        ) from error
