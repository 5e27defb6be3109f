"""Whether the parts judged are new to the model, and which of their files are no use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inspector.inference.bundle import Bundle
from training.data.splits import Role, Split
from training.data.survey import Survey


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What is known of the data. `new_to_model` is None if it cannot be told, and `statement` says so in words.

    `shared` are pairs of a test image and an image of the fit part that look like one part; `unreadable` and `mask_problems`
    are (path, reason). `digest` names the data given, `fitted_on` that of the bundle, `split_of` that of the split.
    """

    root: str
    layout: str
    images: int
    judged: int
    digest: str
    fitted_on: str
    split_of: str
    new_to_model: bool | None
    statement: str
    shared: tuple[tuple[str, str], ...]
    unreadable: tuple[tuple[str, str], ...]
    mask_problems: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_data(bundle: Bundle, seen: Survey, groups: Sequence[int], split: Split | None) -> DataCheck:
    """Hold the data against what the bundle says that it was fitted on. `groups` are the parts of `seen`'s images."""
    fitted_on = bundle.manifest.dataset_digest
    shared = _shared(seen, groups, split) if split is not None else ()
    new, statement = _statement(seen.digest, fitted_on, split, shared)
    tests = {entry.path for entry in split.of(Role.TEST)} if split is not None else None
    return DataCheck(
        root=seen.dataset.root.name,
        layout=seen.dataset.layout,
        images=len(seen.images) + len(seen.unreadable),
        judged=len(seen.images) + len(seen.unreadable) if tests is None else len(tests),
        digest=seen.digest,
        fitted_on=fitted_on,
        split_of=split.digest if split is not None else "",
        new_to_model=new,
        statement=statement,
        shared=shared,
        unreadable=tuple((item.sample.path, item.reason) for item in seen.unreadable),
        mask_problems=tuple((item.sample.path, item.reason) for item in seen.mask_problems),
    )


def _shared(seen: Survey, groups: Sequence[int], split: Split) -> tuple[tuple[str, str], ...]:
    role = {entry.path: entry.role for entry in split.entries}
    taught: dict[int, str] = {}
    for image, group in zip(seen.images, groups, strict=True):
        if role.get(image.sample.path) in (Role.FIT, Role.CALIBRATION):
            taught.setdefault(group, image.sample.path)
    return tuple(
        (image.sample.path, taught[group])
        for image, group in zip(seen.images, groups, strict=True)
        if role.get(image.sample.path) is Role.TEST and group in taught
    )


def _statement(
    digest: str, fitted_on: str, split: Split | None, shared: Sequence[tuple[str, str]]
) -> tuple[bool | None, str]:
    if split is None:
        if fitted_on and fitted_on == digest:
            return False, (
                "These are the images that the bundle was fitted on, all of them: the figures flatter it. Give the split "
                "that was written when it was fitted."
            )
        return None, (
            "Whether the bundle was fitted on some of these parts cannot be told without the split that was written when it "
            "was fitted. The data set is not the one it was fitted on, as a whole."
        )
    if split.digest != fitted_on:
        return None, (
            "The split is not of the data set that the bundle was fitted on: whether the model knows these parts cannot be "
            "told."
        )
    if shared:
        parts = len(Counter(test for test, _ in shared))
        return False, (
            f"{parts} of the images judged look like a part that the model was fitted on or its limit was set by: the figures "
            "flatter the bundle."
        )
    if digest != split.digest:
        return True, (
            "No image judged was in the fit or calibration part of the split, nor looks like one of these. The data has been "
            "changed since it was split."
        )
    return True, (
        "No image judged was in the fit or calibration part of the split, and none looks like a part that was. The data is, "
        "file by file, that which the bundle was fitted and split on."
    )
