"""Pictures on pages: where an inspection's frame and heat map are, and the two laid over one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nicegui import ui

from inspector.part import ImageKind
from inspector.records.entries import StoredImage

PICTURES = "/api/v1/pictures"


@dataclass(frozen=True, slots=True)
class Look:
    """One view of a part: the numbers of its frame and heat map among the inspection's pictures, None if there is none."""

    view: str
    frame: int | None
    heat_map: int | None
    lost_reason: str = ""


def looks_of(images: Sequence[StoredImage], decisive: str = "") -> list[Look]:
    """The views of a part, the one that decided first. A view whose frame is lost says why."""
    by_view: dict[str, Look] = {}
    for number, image in enumerate(images):
        known = by_view.get(image.view, Look(image.view, None, None))
        if image.kind is ImageKind.FRAME and known.frame is None:
            known = Look(image.view, number if image.sha256 else None, known.heat_map, image.lost_reason)
        elif image.kind is ImageKind.HEAT_MAP and image.sha256:
            known = Look(image.view, known.frame, number, known.lost_reason)
        by_view[image.view] = known
    return sorted(by_view.values(), key=lambda look: look.view != decisive)


def picture_url(sequence: int, number: int, form: str) -> str:
    """Where a picture is served."""
    return f"{PICTURES}/{sequence}/{number}/{form}"


def small_picture(sequence: int, look: Look, description: str) -> None:
    """A thumbnail with its heat map over it, or why there is none."""
    with ui.element("div").classes("shot"):
        if look.frame is None:
            ui.label(look.lost_reason or "no picture was kept").classes("shot-none")
            return
        _image(picture_url(sequence, look.frame, "thumbnail"), description)
        if look.heat_map is not None:
            _image(picture_url(sequence, look.heat_map, "small-overlay"), "").classes("shot-heat")


def _image(source: str, description: str) -> ui.element:
    image = ui.element("img")
    image.props["src"], image.props["alt"] = source, description
    return image
