"""What a change is called, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from inspector.imaging.health.compare import Change
from inspector.imaging.health.kinds import Kind

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_SIDES = ("right", "bottom right", "bottom", "bottom left", "left", "top left", "top", "top right")

NAMES: Mapping[Kind, str] = {
    Kind.LIGHT: "light",
    Kind.SATURATION: "saturation",
    Kind.FLICKER: "flicker",
    Kind.FOCUS: "focus",
    Kind.VIBRATION: "vibration",
    Kind.DIRT: "dirt",
    Kind.VIGNETTING: "vignetting",
    Kind.UNEVEN_LIGHT: "uneven light",
    Kind.COLOUR: "colour",
    Kind.MOVED: "moved",
}
NEXT_STEPS: Mapping[Kind, str] = {
    Kind.LIGHT: "clean or replace the lamp, look at its supply, the aperture and the exposure time",
    Kind.SATURATION: "shorten the exposure, lower the gain or shade stray light",
    Kind.FLICKER: "look at the lamp's supply, or trigger lamp and camera together",
    Kind.FOCUS: "set the focus again, look at the distance to the parts and for haze on the lens",
    Kind.VIBRATION: "tighten the mount, shorten the exposure, look whether parts still move when they are exposed",
    Kind.DIRT: "clean lens, cover glass and what lies in view",
    Kind.VIGNETTING: "look whether lens, hood or lamp have slipped, and for dirt at the rim",
    Kind.UNEVEN_LIGHT: "look for a part of the lamp that is dead, turned or covered",
    Kind.COLOUR: "look at the lamp, stray light and the camera's white balance",
    Kind.MOVED: "tighten the mount and set the camera back, or take a new reference",
}


def words_of(change: Change, since: datetime) -> str:
    """The change in words: "the light has faded by 12 % since 3 March"."""
    return f"{_WORDS[change.kind](change)} since {day(since)}"


def day(time: datetime) -> str:
    """A date as people say it."""
    return f"{time.day} {_MONTHS[time.month - 1]} {time.year}"


def value_text(change: Change) -> str:
    """The value as people read it."""
    if change.kind in (Kind.FOCUS, Kind.VIBRATION):
        return f"{change.value:.1f} px"
    sign = "+" if change.kind in (Kind.LIGHT, Kind.VIGNETTING, Kind.COLOUR) else ""
    return f"{change.value:{sign}.{0 if abs(change.value) >= 0.1 else 2}%}"


def _light(change: Change) -> str:
    return f"the light has {'faded' if change.value < 0 else 'become brighter'} by {abs(change.value):.0%}"


def _saturation(change: Change) -> str:
    return f"{change.value:.1%} more of the picture is saturated"


def _flicker(change: Change) -> str:
    return f"the light flickers by {change.value:.1%} from frame to frame more than it did"


def _focus(change: Change) -> str:
    return f"the picture has become blurred in all directions, by {change.value:.1f} px: it is out of focus"


def _vibration(change: Change) -> str:
    where = "" if change.direction_deg is None else f" along {_axis(change.direction_deg)}"
    return f"a fifth of the frames or more are blurred{where}, by {change.value:.1f} px: something moves"


def _dirt(change: Change) -> str:
    place = "" if change.place_px is None else f", most of it at x {change.place_px[0]}, y {change.place_px[1]} px"
    return f"{change.value:.2%} of the picture has become {change.channel or 'darker'} in place{place}: dirt, or a reflection"


def _vignetting(change: Change) -> str:
    return f"the corners have become {abs(change.value):.0%} {'darker' if change.value < 0 else 'brighter'} than the centre"


def _uneven(change: Change) -> str:
    return f"the {_side(change.direction_deg or 0.0)} has become {change.value:.0%} darker than the other side"


def _colour(change: Change) -> str:
    return f"there is {abs(change.value):.0%} {'more' if change.value > 0 else 'less'} {change.channel} against green"


def _moved(change: Change) -> str:
    where = "" if change.direction_deg is None else f" to the {_side(change.direction_deg)}"
    return f"what stands still has moved by {change.value:.1%} of the picture{where}"


_WORDS: Mapping[Kind, Callable[[Change], str]] = {
    Kind.LIGHT: _light,
    Kind.SATURATION: _saturation,
    Kind.FLICKER: _flicker,
    Kind.FOCUS: _focus,
    Kind.VIBRATION: _vibration,
    Kind.DIRT: _dirt,
    Kind.VIGNETTING: _vignetting,
    Kind.UNEVEN_LIGHT: _uneven,
    Kind.COLOUR: _colour,
    Kind.MOVED: _moved,
}


def _side(direction_deg: float) -> str:
    return _SIDES[round(direction_deg / 45) % 8]


def _axis(direction_deg: float) -> str:
    """A line that has no sense of direction; degrees clockwise from the picture's rows."""
    names = {0: "the rows", 90: "the columns", 180: "the rows"}
    near = min(names, key=lambda each: abs(each - direction_deg))
    return names[near] if abs(near - direction_deg) <= 15 else f"{direction_deg:.0f}° clockwise from the rows"
