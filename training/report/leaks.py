"""Whether the parts judged are new to the model, and which of their files are no use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inspector.inference.bundle import Bundle
from training.data.image_list import CALIBRATION, TAUGHT, images_of
from training.data.splits import Role, Split
from training.data.survey import Survey

_FLATTERS = "the figures flatter the bundle."


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What is known of the data. `new_to_model` is None if it cannot be told, and `statement` says so in words.

    `known` are images judged that the bundle was fitted on, or its limit set by, as (path, what for), found by content in the
    bundle's list of images. `shared` are pairs of a test image and an image of the fit part that look like one part;
    `unreadable` and `mask_problems` are (path, reason). `digest` names the data given, `fitted_on` that of the bundle,
    `split_of` that of the split.
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
    known: tuple[tuple[str, str], ...]
    shared: tuple[tuple[str, str], ...]
    unreadable: tuple[tuple[str, str], ...]
    mask_problems: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_data(bundle: Bundle, seen: Survey, groups: Sequence[int], split: Split | None) -> DataCheck:
    """Hold the data against what the bundle says that it was fitted on. `groups` are the parts of `seen`'s images."""
    fitted_on = bundle.manifest.dataset_digest
    tests = {entry.path for entry in split.of(Role.TEST)} if split is not None else None
    roles = _roles_in_bundle(bundle, seen)
    taught = {path: role for path, role in (roles or {}).items() if role}
    known = tuple((path, role) for path, role in taught.items() if tests is None or path in tests)
    by_split = {e.path for e in split.entries if e.role is not Role.TEST} if split is not None else set()
    shared = _shared(seen, groups, by_split | set(taught), tests)
    judged = len(seen.images) + len(seen.unreadable) if tests is None else len(tests)
    new, statement = _by_split(seen.digest, fitted_on, split, shared)
    if known:
        new, statement = _known(known, judged)
    elif roles is not None and (split is None or split.digest != fitted_on):
        new, statement = _by_content(shared)
    return DataCheck(
        root=seen.dataset.root.name,
        layout=seen.dataset.layout,
        images=len(seen.images) + len(seen.unreadable),
        judged=judged,
        digest=seen.digest,
        fitted_on=fitted_on,
        split_of=split.digest if split is not None else "",
        new_to_model=new,
        statement=statement,
        known=known,
        shared=shared,
        unreadable=tuple((item.sample.path, item.reason) for item in seen.unreadable),
        mask_problems=tuple((item.sample.path, item.reason) for item in seen.mask_problems),
    )


def _roles_in_bundle(bundle: Bundle, seen: Survey) -> Mapping[str, str] | None:
    """What the bundle used each image for, by path, found by content; empty for none that flatters it. None if unknown."""
    images = images_of(bundle)
    if images is None:
        return None
    return {
        image.sample.path: ", ".join(sorted(images.roles(image.sha256, image.pixels_sha256) & TAUGHT))
        for image in seen.images
    }


def _shared(
    seen: Survey, groups: Sequence[int], taught: set[str], tests: set[str] | None
) -> tuple[tuple[str, str], ...]:
    """Images judged that are not known themselves, each with a known one that looks like its part."""
    of_part: dict[int, str] = {}
    for image, group in zip(seen.images, groups, strict=True):
        if image.sample.path in taught:
            of_part.setdefault(group, image.sample.path)
    return tuple(
        (image.sample.path, of_part[group])
        for image, group in zip(seen.images, groups, strict=True)
        if group in of_part and image.sample.path not in taught and (tests is None or image.sample.path in tests)
    )


def _known(known: Sequence[tuple[str, str]], judged: int) -> tuple[bool, str]:
    only_limit = sum(role == CALIBRATION for _, role in known)
    fitted = len(known) - only_limit
    uses = [f"{fitted} fitted the model"] if fitted else []
    uses += [f"{only_limit} set its limit"] if only_limit else []
    return False, (
        f"{len(known)} of the {judged} images judged are, by content, images that the bundle was made with "
        f"({', '.join(uses)}): "
        f"{_FLATTERS} Give the split that was written when it was fitted, or other parts."
    )


def _look_alike(shared: Sequence[tuple[str, str]]) -> tuple[bool, str]:
    parts = len(Counter(test for test, _ in shared))
    return False, (
        f"{parts} of the images judged look like a part that the model was fitted on or its limit was set by: {_FLATTERS}"
    )


def _by_content(shared: Sequence[tuple[str, str]]) -> tuple[bool, str]:
    if shared:
        return _look_alike(shared)
    return True, (
        "No image judged is, by content, one that the bundle was fitted on or its limit was set by. That none shows a part of "
        "which it has seen another picture cannot be told from the pictures alone."
    )


def _by_split(
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
            "was fitted, as it does not list its images. The data set is not the one it was fitted on, as a whole."
        )
    if split.digest != fitted_on:
        return None, (
            "The split is not of the data set that the bundle was fitted on: whether the model knows these parts cannot be "
            "told."
        )
    if shared:
        return _look_alike(shared)
    if digest != split.digest:
        return True, (
            "No image judged was in the fit or calibration part of the split, nor looks like one of these. The data has been "
            "changed since it was split."
        )
    return True, (
        "No image judged was in the fit or calibration part of the split, and none looks like a part that was. The data is, "
        "file by file, that which the bundle was fitted and split on."
    )
