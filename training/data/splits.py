"""Which images fit the model, which calibrate its limit and which test it: decided by part, never by image."""

from __future__ import annotations

import enum
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
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
_AS_GROUP = -1
_ALL = 1.0


class Role(enum.StrEnum):
    """What an image is for. Without images for calibration, those to fit on set the limit as well, by cross-fitting."""

    FIT = "fit"
    CALIBRATION = "calibration"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class SplitEntry:
    """One image with its label and what it is for.

    Images of one `group` are never on two sides of a split: those of one physical part, or of all that was made in one lot.
    What is counted, once and by its worst image, is the `part`; the group, if nothing else is said.
    """

    path: str
    label: str
    group: int
    role: Role
    part: int = _AS_GROUP

    def __post_init__(self) -> None:
        if self.part == _AS_GROUP:
            object.__setattr__(self, "part", self.group)


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


def make_split(
    samples: Sequence[Sample],
    groups: Sequence[int],
    shares: SplitShares,
    seed: int,
    parts: Sequence[int] | None = None,
) -> list[Role]:
    """A role for each sample, the same for all of a group; `parts` are the physical parts, where groups are more than that.

    Parts with a defective image are for testing, but for the shares of them, dealt by class. So are all with an image of the
    published test set; the test share does not count if good ones are among them. If some defective images are marked to
    test with and others are not, those others are all there is to fit on and to set the limit: none of the marked is. Only
    where a published test set has every defective image there is, as in MVTec AD, its defective parts are dealt like others.

    A lot goes to one side whole. One with defective parts is dealt out like the others if its good parts are all that is
    wanted of it, about as many such lots to the test as of the others, or more where the test share has room for every class;
    else as a defective part is. All are dealt out in a seeded order.

    If too few groups have a good part, because every item has a bad surface, half of the groups that have both kinds are for
    fitting as well: their good images teach, their defective ones only a model that learns from defects. Raises DataError
    if there are too few different good parts even so.
    """
    known = _Groups.of(samples, groups, groups if parts is None else parts)
    members = known.members
    taught, weighed = _deal_defects(known, shares, seed)
    tests = {*known.marked, *known.spoilt}
    if shares.defects_to_fit or shares.defects_to_calibrate:
        tests |= known.defective
    tests -= taught | weighed
    free = [group for group in sorted(members) if group not in tests | taught | weighed]
    mixed = _mixed_to_fit(known, set(free) | weighed, taught, seed) if len(free) < MIN_GROUPS else set()
    tests -= mixed
    _check_enough([*free, *mixed], known, samples)
    order = [free[index] for index in np.random.default_rng(seed).permutation(len(free))]
    count = _images(order, members)
    if not any(sample.published_split == "test" for sample in samples if sample.is_good):
        tests |= _deal_tests(order, known, tests, shares.test * count)
    elif not tests & known.defective:
        # The published test has no defect, and lots that have some are free: without one of them nothing tests for escapes.
        bad = [group for group in order if group in known.defective]
        leave = max(MIN_FIT_GROUPS - len(order) + len(bad), 0)
        tests |= _deal_lots(bad, known, tests, (shares.test * _images(bad, members), shares.test * count), leave)
    calibration = _deal([g for g in order if g not in tests], members, shares.calibration * count, MIN_FIT_GROUPS)
    # However many parts it has, one lot says nothing of others.
    if known.good_parts(calibration) < shares.calibration_parts or len(calibration) < min(
        MIN_FIT_GROUPS, shares.calibration_parts
    ):
        calibration = set()
    # Good parts that are too few to set the limit alone fit the model, and defective ones of their lots are cross-fitted.
    calibration |= weighed if calibration else {group for group in weighed if not known.whole[group]}
    return [Role.TEST if g in tests else Role.CALIBRATION if g in calibration else Role.FIT for g in groups]


@dataclass(frozen=True, slots=True)
class _Groups:
    """What each group has: its images, and its parts that are good in all of theirs. `marked` have a published test image."""

    members: Mapping[int, Sequence[Sample]]
    whole: Mapping[int, AbstractSet[int]]
    defective: AbstractSet[int]
    marked: AbstractSet[int]
    of_lots: bool

    @classmethod
    def of(cls, samples: Sequence[Sample], groups: Sequence[int], parts: Sequence[int]) -> _Groups:
        bad = {part for sample, part in zip(samples, parts, strict=True) if not sample.is_good}
        members: dict[int, list[Sample]] = {group: [] for group in groups}
        whole: dict[int, set[int]] = {group: set() for group in groups}
        for sample, group, part in zip(samples, groups, parts, strict=True):
            members[group].append(sample)
            if part not in bad:
                whole[group].add(part)
        defective = {group for group, images in members.items() if not all(image.is_good for image in images)}
        marked = {g for g, images in members.items() if any(image.published_split == "test" for image in images)}
        return cls(members, whole, defective, marked, len(set(parts)) > len(members))

    @property
    def spoilt(self) -> set[int]:
        """Groups without a part that is good in all of its images."""
        return {group for group, parts in self.whole.items() if not parts}

    def good_parts(self, groups: AbstractSet[int]) -> int:
        return sum(len(self.whole[group]) for group in groups)

    def classes(self, group: int) -> set[str]:
        """The defect classes that a group is dealt by: the first of a part, as it counts once, and all of a lot."""
        found = {image.label for image in self.members[group] if not image.is_good}
        return found if self.of_lots or not found else {min(found)}

    def by_class(self, groups: Iterable[int]) -> dict[str, list[int]]:
        """Groups of each defect class, in their order; the class with the fewest first."""
        found: dict[str, list[int]] = defaultdict(list)
        for group in groups:
            for label in self.classes(group):
                found[label].append(group)
        return dict(sorted(found.items(), key=lambda item: (len(item[1]), item[0])))


def _deal_defects(known: _Groups, shares: SplitShares, seed: int) -> tuple[set[int], set[int]]:
    """Defective groups that fit the model, and others that help to set the limit, none of which are for testing."""
    defects = [image for group in known.defective for image in known.members[group] if not image.is_good]
    tests = sum(image.published_split == "test" for image in defects)
    to_fit, to_calibrate = shares.defects_to_fit, shares.defects_to_calibrate
    dealt = sorted(known.defective)
    if tests < len(defects):
        dealt = [group for group in dealt if group not in known.marked]
        # With defects of its own the published test needs no others: all of them go to what comes last.
        if tests and to_calibrate:
            to_calibrate = _ALL
        elif tests and to_fit:
            to_fit = _ALL
    taught = _deal_by_class(dealt, known, to_fit, seed)
    return taught, _deal_by_class([group for group in dealt if group not in taught], known, to_calibrate, seed)


def _deal_by_class(groups: Sequence[int], known: _Groups, share: float, seed: int) -> set[int]:
    """The share of each class of defects; unless that is all, at least one of two or more is dealt and one is not.

    A lot with several classes is dealt with the rarest of them.
    """
    by_class = known.by_class(groups)
    strata: dict[str, list[int]] = {label: [] for label in sorted(by_class)}
    for group in groups:
        strata[next(label for label in by_class if label in known.classes(group))].append(group)
    random = np.random.default_rng((seed, 2))
    dealt: set[int] = set()
    for same in filter(None, strata.values()):
        order = [same[index] for index in random.permutation(len(same))]
        count = round(share * len(same))
        if 0 < share < _ALL and len(same) > 1:
            count = min(max(count, 1), len(same) - 1)
        dealt.update(order[:count])
    if share < _ALL:
        _give_back(dealt, by_class)
    return dealt


def _give_back(dealt: set[int], by_class: Mapping[str, Sequence[int]]) -> None:
    """Leave one group of every class that has two or more, the rarest first; one whose classes others are dealt of, if any."""
    for same in by_class.values():
        if len(same) > 1 and dealt.issuperset(same):

            def last_of(group: int) -> int:
                """Classes of which nothing else is dealt."""
                return sum(dealt.intersection(others) == {group} for others in by_class.values())

            dealt.remove(min(same, key=last_of))


def _mixed_to_fit(known: _Groups, taken: AbstractSet[int], taught: AbstractSet[int], seed: int) -> set[int]:
    """Half of the groups with good and defective images that are not `taken`, counting those that fit the model anyway;
    never all of them."""
    members = known.members
    mixed = [g for g in sorted(known.defective - taken) if any(image.is_good for image in members[g])]
    already = [group for group in mixed if group in taught]
    open_groups = [group for group in mixed if group not in taught and group not in known.marked]
    order = [open_groups[index] for index in np.random.default_rng((seed, 3)).permutation(len(open_groups))]
    wanted = min(max(len(mixed) // 2, MIN_GROUPS), len(mixed) - 1) - len(already)
    return set(already) | set(order[: max(wanted, 0)])


def _deal_tests(order: Sequence[int], known: _Groups, tests: AbstractSet[int], wanted: float) -> set[int]:
    """About `wanted` images to test: first of lots with defective parts, in proportion, so that there are some of these."""
    members = known.members
    bad = [group for group in order if group in known.defective]
    rest = [group for group in order if group not in known.defective]
    share = _images(bad, members) / max(_images(order, members), 1)
    dealt = _deal_lots(bad, known, tests, (wanted * share, wanted), max(MIN_FIT_GROUPS - len(rest), 0))
    left = wanted - _images(dealt, members)
    if dealt and left < min((len(members[group]) for group in rest), default=0) / 2:
        return dealt
    return dealt | _deal(rest, members, left, max(MIN_FIT_GROUPS - len(bad) + len(dealt), 0))


def _deal_lots(
    order: Sequence[int], known: _Groups, tests: AbstractSet[int], wanted: tuple[float, float], leave: int
) -> set[int]:
    """Lots with defective parts to test: of every class that `tests` has none of, the rarest first, then in order.

    `wanted` is about how many images, and how many at most for the sake of a class. Leaves at least `leave` lots.
    """
    tested = {label for group in tests for label in known.classes(group)}
    first: list[int] = []
    for label, same in known.by_class(order).items():
        if label not in tested:
            first.append(same[0])
            tested |= known.classes(same[0])
    about, most = wanted
    room = max(about, min(_images(first, known.members), most))
    return _deal([*first, *(group for group in order if group not in first)], known.members, room, leave)


def _images(groups: Iterable[int], members: Mapping[int, Sequence[Sample]]) -> int:
    return sum(len(members[group]) for group in groups)


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


def _check_enough(free: Sequence[int], known: _Groups, samples: Sequence[Sample]) -> None:
    good = sum(sample.is_good for sample in samples)
    if good == 0:
        labels = ", ".join(sorted({printable(sample.label) for sample in samples})[:8])
        raise DataError(
            f"there are no readable images of good parts, only of {labels}: put good parts into a folder {GOOD}/"
        )
    if len(free) < MIN_GROUPS:
        what, step = "parts", "Add images of more good parts; equal or nearly equal images count as one part"
        if known.of_lots:
            what, step = "lots", "Add good parts of more lots, or keep parts together with --group-by part"
        if held := _marked_good(known, set(free)):
            enough = len(free) + held >= MIN_GROUPS
            marks = f"The published split marks {held} other good {what if held > 1 else what[:-1]} as test, to fit no model: "
            unmarked = f"mark fewer good ones so, to leave {MIN_GROUPS} or more, or take the marks away"
            step = f"{marks}{unmarked}" if enough else f"{marks}{unmarked}. {step}"
        raise DataError(
            f"the {good} good images show {len(free)} different {what} that are free to fit on "
            f"({_images(free, known.members)} images): at least {MIN_GROUPS} are needed. {step}"
        )


def _marked_good(known: _Groups, free: AbstractSet[int]) -> int:
    """Groups with a part good in all of its images that nothing but a mark keeps from being free."""
    return sum(bool(known.whole[group]) for group in known.marked - free)


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
            SplitEntry(
                str(image["path"]),
                str(image["label"]),
                int(image["group"]),
                Role(image["role"]),
                int(image.get("part", image["group"])),
            )
            for image in document["images"]
        )
        return Split(Path(document["root"]), int(document["seed"]), str(document["dataset_digest"]), entries)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check the path") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{path} is no split ({type(error).__name__}: {error}); give a file that `fit --split-out` wrote"
        ) from error
