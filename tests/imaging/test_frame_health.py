"""Camera health on simulated parts: every kind is told by its name and nothing else; another good lot tells nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imaging.ageing import AGEINGS, Ageing, Picture, defocused, faded

from inspector.errors import ConfigError
from inspector.imaging.health.alarms import CLEAR_AFTER, RAISE_AFTER, Watch, limit_here, size_of, step
from inspector.imaging.health.compare import Change, comparable, compare
from inspector.imaging.health.kinds import HealthLimits, Kind
from inspector.imaging.health.measure import is_measurable, measure
from inspector.imaging.health.reference import Reference, build_reference, read_reference, write_reference
from inspector.imaging.health.window import KEPT_FRAMES, Summary, Window, summarise
from inspector.imaging.health.words import NAMES, NEXT_STEPS, words_of
from inspector.part import Image
from inspector.sim.parts import draw_part, plan_parts

MARCH = datetime(2026, 3, 3, 6, 30, tzinfo=UTC)
LATER = MARCH + timedelta(days=200)
FRAMES = 36


def summed(pictures: Sequence[Picture], *, probe: bool = False) -> Summary:
    frames = [measure(Image(picture), probe=probe) for picture in pictures]
    return summarise(frames, MARCH, MARCH + timedelta(minutes=1), len(frames))


def told(changes: dict[Kind, Change] | object) -> dict[Kind, Change]:
    """The changes that are beyond their limit."""
    limits = HealthLimits()
    found = dict(changes)  # type: ignore[call-overload]
    return {kind: change for kind, change in found.items() if size_of(change) > limit_here(change, limits.of(kind))}


@pytest.fixture(scope="module")
def parts() -> list[Picture]:
    """Good parts of one type: the first half makes the reference, the second comes later."""
    plan = plan_parts(good=2 * FRAMES, per_defect=0, part_types=["gear"], size_px=192, seed=6)
    return [draw_part(spec).pixels for spec in plan]


@pytest.fixture(scope="module")
def reference(parts: list[Picture]) -> Reference:
    return build_reference(summed(parts[:FRAMES], probe=True))


def test_other_good_parts_tell_nothing(parts: list[Picture], reference: Reference) -> None:
    changes = compare(summed(parts[FRAMES:]), reference)
    assert told(changes) == {}
    assert set(changes) == set(Kind), "a colour picture with edges can show every kind"


# How far each has to go until it is told, and what else may then be told beside it.
TOLD = [
    (Kind.LIGHT, 0.16, set()),
    (Kind.SATURATION, 0.60, {Kind.LIGHT, Kind.COLOUR, Kind.VIGNETTING, Kind.UNEVEN_LIGHT, Kind.DIRT}),
    (Kind.FLICKER, 0.16, {Kind.LIGHT}),
    (Kind.FOCUS, 1.5, set()),
    (Kind.VIBRATION, 8, set()),
    (Kind.DIRT, 6, set()),
    (Kind.VIGNETTING, 0.20, set()),
    (Kind.UNEVEN_LIGHT, 0.20, {Kind.LIGHT}),
    (Kind.COLOUR, 0.08, set()),
    (Kind.MOVED, 0.03, set()),
]


@pytest.mark.parametrize(("kind", "degree", "beside"), TOLD, ids=lambda value: getattr(value, "name", None))
def test_each_ageing_is_told_by_its_name(
    kind: Kind, degree: float, beside: set[Kind], parts: list[Picture], reference: Reference
) -> None:
    ageing = _of(kind)
    rng = np.random.default_rng(1)
    found = told(compare(summed([ageing.age(part, degree, rng) for part in parts[FRAMES:]]), reference))
    assert kind in found, f"{ageing.name} by {degree} {ageing.unit} is not told"
    assert set(found) <= {kind, *beside}


@pytest.mark.parametrize(
    ("kind", "degree", "within"),
    [
        (Kind.LIGHT, -0.12, 0.03),
        (Kind.FOCUS, 1.0, 0.25),
        (Kind.VIGNETTING, -0.15, 0.03),
        (Kind.UNEVEN_LIGHT, 0.20, 0.04),
        (Kind.COLOUR, 0.08, 0.01),
        (Kind.MOVED, 0.03 * np.hypot(1, 0.5), 0.004),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_change_is_as_large_as_it_is(
    kind: Kind, degree: float, within: float, parts: list[Picture], reference: Reference
) -> None:
    given_degree = 0.03 if kind is Kind.MOVED else abs(degree)
    rng = np.random.default_rng(2)
    changes = compare(summed([_of(kind).age(part, given_degree, rng) for part in parts[FRAMES:]]), reference)
    assert changes[kind].value == pytest.approx(degree, abs=within)


def test_motion_is_told_with_its_direction(parts: list[Picture], reference: Reference) -> None:
    rng = np.random.default_rng(3)
    changes = compare(summed([_of(Kind.VIBRATION).age(part, 10, rng) for part in parts[FRAMES:]]), reference)
    direction = changes[Kind.VIBRATION].direction_deg
    assert direction is not None
    assert min(abs(direction - 20), 180 - abs(direction - 20)) <= 15


def test_motion_of_some_frames_is_vibration_and_not_focus(parts: list[Picture], reference: Reference) -> None:
    rng, age = np.random.default_rng(4), _of(Kind.VIBRATION).age
    mixed = [age(part, 10, rng) if number % 3 == 0 else part for number, part in enumerate(parts[FRAMES:])]
    assert set(told(compare(summed(mixed), reference))) == {Kind.VIBRATION}


def test_other_parts_are_no_fading_lamp(parts: list[Picture], reference: Reference) -> None:
    """A lot of much darker parts in the same place: the background says that the lamp is as it was."""
    rng = np.random.default_rng(5)
    background = rng.normal(90, 1.5, (240, 240))

    def frame(level: float) -> Picture:
        picture = background + rng.normal(0, 1.0, background.shape)
        picture[60:180, 60:180] = level + rng.normal(0, 12, (120, 120)) + 15 * rng.standard_normal()
        return np.clip(picture, 0, 255).astype(np.uint8)

    own = build_reference(summed([frame(150) for _ in range(FRAMES)], probe=True))
    assert own.has_background
    changes = compare(summed([frame(110) for _ in range(FRAMES)]), own)
    assert abs(changes[Kind.LIGHT].value) < 0.03
    assert Kind.LIGHT not in told(changes)


def test_a_grey_camera_has_no_colour(parts: list[Picture]) -> None:
    grey = [part[..., 1] for part in parts]
    own = build_reference(summed(grey[:FRAMES], probe=True))
    summary = summed(grey[FRAMES:])
    assert comparable(summary, own)
    assert Kind.COLOUR not in compare(summary, own)
    assert not comparable(summed(parts[FRAMES:]), own), "colours are not compared with grey"


def test_sixteen_bits_say_the_same_as_eight(parts: list[Picture]) -> None:
    eight = measure(Image(parts[0]))
    sixteen = measure(Image((parts[0].astype(np.uint32) * 4095 // 255).astype(np.uint16), bits=12))
    np.testing.assert_allclose(sixteen.cells, eight.cells, atol=0.3)
    np.testing.assert_allclose(sixteen.detail, eight.detail, rtol=0.02)


@settings(max_examples=40, deadline=None)
@given(st.integers(48, 300), st.integers(48, 300), st.sampled_from([0, 7, 255]), st.booleans())
def test_any_size_and_flat_pictures_are_measured(width: int, height: int, level: int, in_colour: bool) -> None:
    shape = (height, width, 3) if in_colour else (height, width)
    image = Image(np.full(shape, level, np.uint8))
    assert is_measurable(image)
    frame = measure(image)
    assert frame.level == pytest.approx(level, abs=0.01)
    assert np.isnan(frame.detail).all(), "a flat picture holds nothing to focus on"


def test_a_reference_comes_back_from_its_file(reference: Reference) -> None:
    again = read_reference(write_reference(reference), "health.npz")
    for key in Reference.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, key), getattr(reference, key), err_msg=key)


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "empty"), (b"PK\x03\x04junk", "cut off"), (b"not an archive", "something else")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_reference_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ConfigError, match=r"health\.npz is no reference"):
        read_reference(data, "health.npz")


def test_a_reference_needs_frames_and_light(parts: list[Picture]) -> None:
    with pytest.raises(ConfigError, match="needs 20 frames"):
        build_reference(summed(parts[:5], probe=True))
    with pytest.raises(ConfigError, match="black or clipped"):
        build_reference(summed([np.zeros((100, 100), np.uint8)] * 20, probe=True))


def test_a_window_of_many_frames_holds_some_of_all_its_time() -> None:
    window = Window(MARCH)
    for number in range(1000):
        frame = measure(Image(np.full((64, 64), 20 + number % 200, np.uint8)))
        window.add(frame, MARCH + timedelta(seconds=number))
    summary = window.summary()
    assert (summary.frames, summary.end) == (1000, MARCH + timedelta(seconds=999))
    assert KEPT_FRAMES / 2 <= summary.held <= KEPT_FRAMES


def test_every_kind_has_name_words_and_next_step() -> None:
    for kind in Kind:
        change = Change(kind, 0.12, direction_deg=10.0, place_px=(4, 5), channel="red")
        assert words_of(change, MARCH).endswith("since 3 March 2026")
        assert NAMES[kind]
        assert NEXT_STEPS[kind]
    assert words_of(Change(Kind.LIGHT, -0.12), MARCH) == "the light has faded by 12% since 3 March 2026"


def _light(value: float, sigma: float = 0.001) -> dict[Kind, Change]:
    return {Kind.LIGHT: Change(Kind.LIGHT, value, sigma)}


def test_an_alarm_comes_after_two_windows_and_goes_after_three() -> None:
    watch, limits, said = Watch(), HealthLimits(light=0.10), []
    course = [0.0, -0.11, -0.09, -0.11, -0.12, -0.13, -0.09, -0.08, -0.06, -0.05, -0.06, -0.12]
    for minute, value in enumerate(course):
        watch, events = step(watch, _light(value), limits, MARCH + timedelta(minutes=minute))
        said += [(minute, event.is_raised) for event in events]
    assert said == [(4, True), (10, False)], f"raised after {RAISE_AFTER} beyond, over after {CLEAR_AFTER} well below"


@pytest.mark.parametrize(
    ("change", "limit", "is_told", "why"),
    [
        (Change(Kind.LIGHT, 0.2, 0.06), 0.1, False, "chance alone makes 24 %"),
        (Change(Kind.LIGHT, -0.2, 0.01), 0.1, True, "darker is as bad as brighter"),
        (Change(Kind.FOCUS, -2.0, 0.01), 0.8, False, "sharper than the reference is no alarm"),
        (Change(Kind.LIGHT, 0.9), 0.0, False, "switched off"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_limits(change: Change, limit: float, is_told: bool, why: str) -> None:
    watch = Watch()
    limits = replace(HealthLimits(), **{change.kind.name.lower(): limit})
    for _ in range(RAISE_AFTER):
        watch, _events = step(watch, {change.kind: change}, limits, LATER)
    assert bool(watch.alarms) is is_told, why


def test_what_a_window_cannot_show_leaves_an_alarm_as_it_is() -> None:
    watch = Watch()
    for _ in range(RAISE_AFTER):
        watch, _ = step(watch, _light(-0.3), HealthLimits(), MARCH)
    for _ in range(10):
        watch, events = step(watch, {}, HealthLimits(), LATER)
        assert not events
    assert set(watch.alarms) == {Kind.LIGHT}


def test_ageing_together_is_told_together(parts: list[Picture], reference: Reference) -> None:
    rng = np.random.default_rng(7)
    both = [faded(defocused(part, 1.6, rng), 0.2, rng) for part in parts[FRAMES:]]
    assert set(told(compare(summed(both), reference))) == {Kind.LIGHT, Kind.FOCUS}


def _of(kind: Kind) -> Ageing:
    return next(ageing for ageing in AGEINGS if ageing.kind is kind)
