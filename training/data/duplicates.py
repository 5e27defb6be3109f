"""Finds images of one physical part, so that no split has it on two sides, and images with two labels.

Where the data set names parts, its word counts: images of one name are one part, and two names are two parts unless their
bytes are equal. For all others it is found out. Two exposures of one part share their texture; two parts of one product
share only their design. Images are reduced to texture of even contrast (difference of Gaussians over its local strength) and
each is compared with its nearest by normalised cross-correlation under small shifts. How alike is alike enough depends on
how alike the product's parts are anyway, see `_needed`. Measured (`inspector-train check-data DATA` prints the groups):

    magnetic tiles, 917 images    186 groups, largest 15; of the pairs that the film's frame numbers place on one tile 93 %
                                  share a group, the rest are mostly two tiles filmed in one go
    simulated parts, 680          674 groups, largest 2 (all are different parts of three designs)
    screw 480, X-SDD 1,360        479 and 1,355 groups, largest 2
    solar cells, 2,624            2,254 groups, largest 15 (bare cells differ by little more than noise)

More than twenty exposures of a part are not found: they look as different parts of a design do that is one of several (of
simulated parts the twentieth nearest correlates by 0.97, of 40 noisy exposures as well). That this may be so is said, and
names decide.
"""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import DataError
from training.data.survey import Surveyed
from training.progress import Progress, silent, track

MIN_CORRELATION = 0.7
"""No pair that correlates less shows one part, however unlike the others are."""
_MAX_EXPOSURES = 20
"""Images of one part that there may be for the nearest others still to show what unlike parts have in common."""
_CLOSENESS = 0.15
_DRAWN_PAIRS = 400
_FINE, _COARSE = 1.0, 4.0
"""Standard deviations, in thumbnail pixels, of the Gaussians whose difference is the texture."""
_DESCRIPTOR_PX = 48
_NEIGHBOURS = 24
_OVERLAP = 0.85
"""Share of a thumbnail's width and height that is slid over the other's: allows for ± 7 % of shift."""
_FLAT = 0.02
"""Standard deviation of a texture below which there is none; that of a sharp picture is about 1."""
_BLOCK = 512

Texture = NDArray[np.float32]


class GroupBy(enum.StrEnum):
    """What never stands on two sides of a split: a part, or all that was made together with it."""

    PART = "part"
    LOT = "lot"


def group_images(images: Sequence[Surveyed], parts: Sequence[int], by: GroupBy = GroupBy.PART) -> tuple[int, ...]:
    """A group number per image, the same for what must stay together; `parts` are the numbers of `find_parts`.

    Lots join the parts that have images in them; an image without a lot stays with its part. Numbers count up in the order
    of first members. Raises DataError if lots are wanted and none is named.
    """
    if by is GroupBy.PART:
        return tuple(parts)
    lots = [image.sample.lot for image in images]
    if not any(lots):
        raise DataError(
            "lots are to be kept together, and the data set names none: add a column lot to its labels.csv, or keep parts "
            "together with --group-by part"
        )
    return _components(len(images), [*_same(lots), *_same(parts)])


def group_by_part(images: Sequence[Surveyed], progress: Progress = silent) -> tuple[int, ...]:
    """The group numbers of `find_parts` alone."""
    return find_parts(images, progress).numbers


@dataclass(frozen=True, slots=True)
class Parts:
    """A number per image, the same for images that show one part, counting up in the order of first members.

    `crowded` are images, by number, of which nobody named the part and that look like twenty others or more: exposures of one
    part do, and so do different parts of one design beside parts of others. Each of them counts as a part of its own.
    """

    numbers: tuple[int, ...]
    crowded: tuple[int, ...] = ()


def find_parts(images: Sequence[Surveyed], progress: Progress = silent) -> Parts:
    """Link images that show one part by name, by equal bytes or by texture, directly or through others.

    Time grows with the number of images, at about 10 ms each, and slowly with its square.
    """
    names = [image.sample.group for image in images]
    sure = [*_same([image.sha256 for image in images]), *_same(names)]
    alike, crowded = look_alikes(images, progress) if not all(names) else ([], [])
    numbers = _components(len(images), [*sure, *((a, b) for a, b in alike if not (names[a] and names[b]))])
    sizes = Counter(numbers)
    unsure = tuple(i for i in crowded if not names[i] and sizes[numbers[i]] <= _MAX_EXPOSURES)
    return Parts(numbers, unsure if len(unsure) > _MAX_EXPOSURES else ())


def look_alikes(images: Sequence[Surveyed], progress: Progress = silent) -> tuple[list[tuple[int, int]], list[int]]:
    """Pairs of images, by number, whose texture says that they show one part; and images that too many others look like for
    that to be told: the twentieth nearest would be the same part if only pairs drawn at random showed the design."""
    if len(images) < 3:
        return [], []
    textures = [_texture(image.thumbnail) for image in images]
    pairs = track(sorted(_neighbours(images)), "Comparing images", progress)
    correlations = {(a, b): _correlation(textures[a], textures[b]) for a, b in pairs}
    designs = _designs(len(images), correlations)
    needed = [_needed(design) for design in designs]
    alike = [(a, b) for (a, b), value in correlations.items() if value >= max(needed[a], needed[b])]
    if len(images) <= _MAX_EXPOSURES:
        return alike, []
    random = np.random.default_rng(0)
    drawn = [random.choice(len(images), 2, replace=False) for _ in range(_DRAWN_PAIRS)]
    # Not their median: of two parts with many exposures each, half of the pairs are of one part.
    enough = _needed(float(np.quantile([_correlation(textures[a], textures[b]) for a, b in drawn], 0.25)))
    return alike, [number for number, design in enumerate(designs) if design >= enough]


def label_conflicts(images: Sequence[Surveyed]) -> list[tuple[Surveyed, ...]]:
    """Images of equal bytes under different labels: at least one label of each is wrong."""
    by_content: dict[str, list[Surveyed]] = defaultdict(list)
    for image in images:
        by_content[image.sha256].append(image)
    return [tuple(same) for same in by_content.values() if len({_label_set(image) for image in same}) > 1]


def _label_set(image: Surveyed) -> frozenset[str]:
    return frozenset(image.sample.labels)


def _same(keys: Sequence[str | int]) -> list[tuple[int, int]]:
    """Links each item to the first with the same key; an empty text is no key."""
    first: dict[str | int, int] = {}
    return [(first.setdefault(key, index), index) for index, key in enumerate(keys) if key != ""]


def _texture(grey: NDArray[np.uint8]) -> Texture:
    """Texture of even contrast, float32 in the shape of `grey`."""
    pixels = grey.astype(np.float32)
    detail = cv2.GaussianBlur(pixels, (0, 0), _FINE) - cv2.GaussianBlur(pixels, (0, 0), _COARSE)
    strength = cv2.GaussianBlur(detail * detail, (0, 0), 2 * _COARSE)
    # 0.5 is about the variance that 8-bit rounding leaves: flat areas stay flat.
    return np.asarray(detail / np.sqrt(strength + 0.5), np.float32)


def _correlation(a: Texture, b: Texture) -> float:
    """Largest normalised cross-correlation of the middle of one with the other, the better way round."""
    height, width = (max(int(min(sides) * _OVERLAP), 4) for sides in zip(a.shape, b.shape, strict=True))

    def slide(middle_of: Texture, over: Texture) -> float:
        y, x = (middle_of.shape[0] - height) // 2, (middle_of.shape[1] - width) // 2
        middle = middle_of[y : y + height, x : x + width]
        if middle.std() < _FLAT:
            return 0.0  # OpenCV gives 1
        matches = cv2.matchTemplate(over, middle, cv2.TM_CCOEFF_NORMED)
        return float(np.where(np.abs(matches) <= 1.001, matches, 0.0).max())  # infinite on flat areas

    return slide(a, b) if a.shape == b.shape else max(slide(a, b), slide(b, a))


def _designs(count: int, correlations: Mapping[tuple[int, int], float]) -> list[float]:
    """For each image how much it has in common with unlike parts.

    Parts with a strong design (teeth, print, bus bars) correlate without being one part. What an image's twentieth
    nearest reaches is taken for the design, as no part is expected to have twenty exposures.
    """
    reached: list[list[float]] = [[] for _ in range(count)]
    for (a, b), value in correlations.items():
        reached[a].append(value)
        reached[b].append(value)
    return [sorted(values, reverse=True)[min(_MAX_EXPOSURES, len(values)) - 1] for values in reached]


def _needed(design: float) -> float:
    """The correlation from which another image shows the same part: much closer to full agreement than the design."""
    return max(MIN_CORRELATION, 1.0 - _CLOSENESS * (1.0 - design))


def _neighbours(images: Sequence[Surveyed]) -> set[tuple[int, int]]:
    """Pairs worth a closer look: each image with its nearest by a coarse descriptor, from which the mean is taken."""
    size = (_DESCRIPTOR_PX, _DESCRIPTOR_PX)
    squares = (
        _texture(np.asarray(cv2.resize(image.thumbnail, size, interpolation=cv2.INTER_AREA), np.uint8))
        for image in images
    )
    descriptors = np.stack([square.ravel() for square in squares])
    descriptors -= descriptors.mean(axis=0)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True) + 1e-9
    count = min(_NEIGHBOURS + 1, len(images))
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(images), _BLOCK):
        cosines = descriptors[start : start + _BLOCK] @ descriptors.T
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        for index, others in enumerate(nearest.tolist(), start=start):
            pairs.update((min(index, other), max(index, other)) for other in others if other != index)
    return pairs


def _components(count: int, links: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Connected components, numbered in the order of their first member."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in links:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(root(node), len(numbers)) for node in range(count))
