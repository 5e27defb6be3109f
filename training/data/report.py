"""What a person should know of a data set before fitting on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from training.data.duplicates import find_parts, label_conflicts
from training.data.problems import Problem, outliers, problems
from training.data.samples import GOOD, printable
from training.data.survey import Survey, Surveyed, sizes
from training.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class DataReport:
    """Paths are relative to the data set's root, groups of paths are images of one part.

    `parts_shown_again` are those that several images show, whose `largest_groups` are named.
    """

    root: str
    layout: str
    digest: str
    labels: dict[str, int]
    sizes: dict[str, int]
    modes: dict[str, int]
    unreadable: tuple[tuple[str, str], ...]
    mask_problems: tuple[tuple[str, str], ...]
    masks: int
    brightness_outliers: tuple[tuple[str, float], ...]
    equal_under_two_labels: tuple[tuple[str, ...], ...]
    good_like_defective: tuple[tuple[str, ...], ...]
    parts: int
    good_parts: int
    parts_shown_again: int
    largest_groups: tuple[tuple[str, ...], ...]
    problems: tuple[Problem, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values under the names of the fields."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {"problems": [asdict(problem) for problem in self.problems]}


def report(seen: Survey, progress: Progress = silent) -> DataReport:
    """Sum up a survey. Groups images by part, which takes most of the time."""
    parts = find_parts(seen.images, progress)
    members: dict[int, list[Surveyed]] = {}
    for image, group in zip(seen.images, parts.numbers, strict=True):
        members.setdefault(group, []).append(image)
    mixed = [images for images in members.values() if {i.sample.is_good for i in images} == {True, False}]
    largest = sorted((images for images in members.values() if len(images) > 1), key=len, reverse=True)
    labels = Counter(image.sample.label for image in seen.images)
    return DataReport(
        root=printable(str(seen.dataset.root)),
        layout=seen.dataset.layout,
        digest=seen.digest,
        labels={printable(k): labels[k] for k in sorted(labels, key=lambda name: (name != GOOD, name))},
        sizes={f"{width} × {height}": count for (width, height), count in sizes(seen.images).most_common()},
        modes=dict(Counter(image.mode for image in seen.images).most_common()),
        unreadable=tuple((printable(item.sample.path), item.reason) for item in seen.unreadable),
        mask_problems=tuple((printable(item.sample.path), item.reason) for item in seen.mask_problems),
        masks=sum(image.sample.is_masked for image in seen.images),
        brightness_outliers=tuple((printable(i.sample.path), i.brightness) for i in brightness_outliers(seen.images)),
        equal_under_two_labels=tuple(_paths(images) for images in label_conflicts(seen.images)),
        good_like_defective=tuple(_paths(images) for images in mixed),
        parts=len(members),
        good_parts=sum(all(image.sample.is_good for image in images) for images in members.values()),
        parts_shown_again=len(largest),
        largest_groups=tuple(_paths(images) for images in largest[:10]),
        problems=problems(seen, members, [seen.images[number] for number in parts.crowded]),
    )


def brightness_outliers(images: Sequence[Surveyed]) -> list[Surveyed]:
    """Images far darker or brighter than others of their label: lamp off, exposure wrong, another camera."""
    return outliers(images, lambda image: image.brightness)


def _paths(images: Sequence[Surveyed]) -> tuple[str, ...]:
    return tuple(printable(image.sample.path) for image in images)
