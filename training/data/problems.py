"""What a person should look at before fitting: each problem with what it is about, the fact and the next step."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.data.importers.unused import UNUSED
from training.data.published import marks_before_the_fit
from training.data.samples import GOOD, printable
from training.data.survey import Survey, Surveyed

_OUTLIER = 6.0
"""Robust standard deviations (1.4826 × MAD) from the median of a label: about none of normal spread."""
_MIN_SPREAD = 2.0
"""Grey levels: images lit alike to the last level do not make the next one an outlier."""
_SIZE_FACTOR = 1.5
"""A side this many times shorter or longer than the median is another camera, crop or scale."""
_COMMON = 0.05
"""A kind of file that makes up less than this share is odd among the others."""


@dataclass(frozen=True, slots=True)
class Problem:
    """`kind` groups problems of one sort; `about` is a path or class, `text` the fact and the next step.

    A note is to be known, and need not be wrong.
    """

    kind: str
    about: str
    text: str
    is_note: bool = False


def problems(
    seen: Survey, members: Mapping[int, Sequence[Surveyed]], crowded: Sequence[Surveyed] = ()
) -> tuple[Problem, ...]:
    """Everything that the labels and the files show; `members` are the images of each part.

    `crowded` are images of which looks do not say whether many of them show one part.
    """
    found = [Problem(_NOTES[note.kind], note.about, note.reason) for note in seen.dataset.notes]
    found += _of_classes(seen.images)
    found += _of_sizes(seen.images)
    found += _of_modes(seen.images)
    for image in seen.blank:
        text = "one grey value all over; look at lens, light and exposure, and remove it"
        found.append(Problem("blank pictures", image.sample.path, text))
    blank = {image.sample.path for image in seen.blank}
    shown = [image for image in seen.images if image.sample.path not in blank]
    for image in outliers(shown, lambda image: image.contrast):
        text = f"contrast {image.contrast:.0f} of 128; look whether it is in focus and shows the part"
        found.append(Problem("far flatter or harsher than others of their label", image.sample.path, text))
    found += _of_labels(members)
    found += _of_marks(members)
    if crowded:
        text = (
            f"the first of {len(crowded)} of {len(seen.images)} pictures: different parts of one design look so, and each "
            "counts as a part of its own. Only if some show one part is it wrong, which then fits, tests and counts several "
            "times: name parts in a column group of a labels.csv"
        )
        found.append(
            Problem("pictures that look like twenty others or more", crowded[0].sample.path, text, is_note=True)
        )
    return tuple(Problem(p.kind, printable(p.about), printable(p.text), p.is_note) for p in found)


_NOTES = {
    "missing": "files or images that labels name and that are not there",
    "unlabelled": "images without a label (not used)",
    "label": "labels that cannot be right (images not used)",
    "area": "areas that cannot be right (images used without them)",
    "class": "classes without images",
    UNUSED: "kinds of files that lie in the data set and are not used",
}


def outliers(images: Sequence[Surveyed], value_of: Callable[[Surveyed], float]) -> list[Surveyed]:
    """Images whose value is far from that of others of their label."""
    found: list[Surveyed] = []
    for label in sorted({image.sample.label for image in images}):
        same = [image for image in images if image.sample.label == label]
        values = np.array([value_of(image) for image in same])
        median = float(np.median(values))
        spread = max(1.4826 * float(np.median(np.abs(values - median))), _MIN_SPREAD)
        found += [i for i, value in zip(same, values, strict=True) if abs(value - median) > _OUTLIER * spread]
    return found


def _of_classes(images: Sequence[Surveyed]) -> list[Problem]:
    counts = Counter(label for image in images for label in image.sample.labels)
    found = [
        Problem("classes with a single image", label, "it can be fitted on or tested, not both; add images")
        for label, count in sorted(counts.items())
        if count == 1
    ]
    if not counts[GOOD]:
        text = "every image shows a defect: only defect classes can be told apart; put good parts into good/"
        found.append(Problem("no good parts", GOOD, text))
    contents = {image.sha256 for image in images}
    if len(images) > 1 and len(contents) == 1:
        text = f"all {len(images)} have the same bytes and count as one part; add images of other parts"
        found.append(Problem("identical images", images[0].sample.path, text))
    return found


def _of_sizes(images: Sequence[Surveyed]) -> list[Problem]:
    sides = np.array([(image.width_px, image.height_px) for image in images], np.float64)
    ratios = sides / np.median(sides, axis=0)
    odd = np.any((ratios > _SIZE_FACTOR) | (ratios < 1 / _SIZE_FACTOR), axis=1).tolist()
    # Where many images differ, sizes simply vary, as of parts that are cropped.
    if sum(odd) > _COMMON * len(odd):
        return []
    return [
        Problem(
            "pictures of another size than most",
            image.sample.path,
            f"{image.width_px} × {image.height_px} px; look whether another camera or crop made it",
        )
        for image, is_odd in zip(images, odd, strict=True)
        if is_odd
    ]


def _of_modes(images: Sequence[Surveyed]) -> list[Problem]:
    counts = Counter(image.mode for image in images)
    return [
        Problem(
            "files of another kind than most",
            image.sample.path,
            f"{image.mode}; look whether the line's camera sends such pictures too, or save it as the others",
        )
        for image in images
        if counts[image.mode] < _COMMON * len(images) or ", " in image.mode
    ]


def _of_marks(members: Mapping[int, Sequence[Surveyed]]) -> list[Problem]:
    """What a published split that marks some defective parts as test does to all others."""
    numbered = [(image.sample, part) for part, images in members.items() for image in images]
    samples, parts = [sample for sample, _ in numbered], [part for _, part in numbered]
    if (marks := marks_before_the_fit(samples, parts)) is None:
        return []
    first = min(sample.path for sample in samples if sample.published_split == "test" and not sample.is_good)
    kind = (
        "published test sets with few defective parts" if marks.leave_few else "published test set with defective parts"
    )
    return [Problem(kind, first, marks.text, is_note=not marks.leave_few)]


def _of_labels(members: Mapping[int, Sequence[Surveyed]]) -> list[Problem]:
    """Images of one part under different defect classes: one may be mislabelled, or the part has both."""
    found = []
    for images in members.values():
        by_label: dict[str, Surveyed] = defaultdict()
        for image in images:
            if not image.sample.is_good:
                by_label.setdefault(image.sample.label, image)
        if len(by_label) > 1:
            text = " ~ ".join(f"{image.sample.path} ({label})" for label, image in sorted(by_label.items()))
            text += "; look which label is right"
            found.append(Problem("images of one part under several defect classes", images[0].sample.path, text))
    return found
