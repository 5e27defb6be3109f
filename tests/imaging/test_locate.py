"""The part is found where it is, in uneven light and in every pixel format; and a missing part is told as missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imaging.pictures import file_of, smooth_grey, smooth_rgb
from numpy.typing import NDArray

from inspector.errors import ConfigError, FrameError
from inspector.imaging.locate import (
    BlobLocation,
    FixedRegion,
    LocationSpec,
    NoLocation,
    TemplateLocation,
    locate,
    location_from_dict,
    location_to_dict,
)
from inspector.part import Box, Image, Reason


def not_found(image: Image, spec: LocationSpec) -> str:
    with pytest.raises(FrameError) as caught:
        locate(image, spec)
    assert caught.value.reason is Reason.PART_NOT_FOUND
    return str(caught.value)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.x_px + a.width_px, b.x_px + b.width_px) - max(a.x_px, b.x_px)
    height = min(a.y_px + a.height_px, b.y_px + b.height_px) - max(a.y_px, b.y_px)
    both = max(width, 0) * max(height, 0)
    return both / (a.width_px * a.height_px + b.width_px * b.height_px - both)


def scene(box: Box, lift: float, light: str = "even", size: tuple[int, int] = (640, 480), seed: int = 0) -> Image:
    """A noisy surface in some light with a part that is `lift` grey levels brighter (or darker, if negative)."""
    width, height = size
    v, u = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    surface = {"even": 0 * u, "from the left": 90 * (1 - u), "vignette": -100 * ((u - 0.5) ** 2 + (v - 0.5) ** 2)}[
        light
    ]
    pixels = 110 + surface + np.random.default_rng(seed).normal(0, 4, (height, width))
    pixels[box.y_px : box.y_px + box.height_px, box.x_px : box.x_px + box.width_px] += lift
    return Image(np.clip(pixels, 0, 255).astype(np.uint8))


def test_no_location_is_the_whole_picture() -> None:
    assert locate(Image(smooth_rgb()), NoLocation()) == Box(0, 0, 61, 47)


def test_a_fixed_region_is_given_back() -> None:
    assert locate(Image(smooth_grey()), FixedRegion(Box(1, 2, 60, 45))) == Box(1, 2, 60, 45)


@pytest.mark.parametrize("box", [Box(0, 0, 62, 47), Box(61, 0, 1, 1), Box(30, 30, 20, 18)])
def test_a_fixed_region_beyond_the_picture_is_told(box: Box) -> None:
    message = not_found(Image(smooth_grey()), FixedRegion(box))
    assert "61 × 47 px" in message
    assert "correct it in the recipe" in message


# ---- blob


@pytest.mark.parametrize("light", ["even", "from the left", "vignette"])
@pytest.mark.parametrize("lift", [45, -45], ids=["bright part", "dark part"])
@pytest.mark.parametrize(
    "box",
    [
        pytest.param(Box(200, 150, 180, 120), id="in the middle"),
        pytest.param(Box(60, 40, 500, 400), id="filling most of the picture"),
        pytest.param(Box(0, 100, 300, 200), id="at the left edge"),
        pytest.param(Box(0, 160, 640, 160), id="across the whole picture"),
        pytest.param(Box(500, 400, 40, 40), id="small and in a corner"),
    ],
)
def test_a_blob_is_found_in_uneven_light(box: Box, lift: float, light: str) -> None:
    spec = BlobLocation(min_area_px=800, polarity="bright" if lift > 0 else "dark")
    assert overlap(locate(scene(box, lift, light), spec), box) > 0.9


@pytest.mark.parametrize("size", [(1280, 1024), (333, 1217), (90, 60)])
def test_a_blob_is_found_at_every_picture_size(size: tuple[int, int]) -> None:
    box = Box(size[0] // 3, size[1] // 4, size[0] // 3, size[1] // 3)
    assert overlap(locate(scene(box, 60, size=size), BlobLocation(min_area_px=100)), box) > 0.85


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_blob_is_found_in_every_bit_depth(bits: int) -> None:
    box = Box(200, 150, 180, 120)
    deep = (scene(box, 60).pixels.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
    assert overlap(locate(Image(deep, bits), BlobLocation(min_area_px=800)), box) > 0.9


def test_a_blob_is_found_in_a_colour_picture() -> None:
    box = Box(200, 150, 180, 120)
    rgb = np.repeat(scene(box, 60).pixels[:, :, None], 3, axis=2)
    assert overlap(locate(Image(rgb), BlobLocation(min_area_px=800)), box) > 0.9


def test_the_largest_of_several_blobs_counts() -> None:
    box = Box(300, 200, 150, 150)
    image = scene(box, 60)
    pixels = image.pixels.copy()
    pixels[20:80, 20:80] = 250
    assert overlap(locate(Image(pixels), BlobLocation(min_area_px=800)), box) > 0.9


def test_the_margin_is_added_and_cut_at_the_edge() -> None:
    image = scene(Box(10, 150, 180, 120), 60)
    plain, wide = (locate(image, BlobLocation(min_area_px=800, margin_px=margin)) for margin in (0, 25))
    assert wide == Box(0, plain.y_px - 25, plain.x_px + plain.width_px + 25, plain.height_px + 50)


def test_a_given_threshold_is_used_as_it_is() -> None:
    pixels = np.full((100, 100), 100, np.uint8)
    pixels[20:60, 30:80] = 104
    assert locate(Image(pixels), BlobLocation(min_area_px=100, threshold=102)) == Box(30, 20, 50, 40)
    spec = BlobLocation(min_area_px=100, threshold=102, polarity="dark")
    assert locate(Image(pixels), spec) == Box(0, 0, 100, 100)


@pytest.mark.parametrize("light", ["even", "from the left", "vignette"])
def test_an_empty_belt_is_no_part(light: str) -> None:
    message = not_found(scene(Box(0, 0, 0, 0), 0, light), BlobLocation(min_area_px=800))
    assert "no bright area stands out" in message


def test_a_part_that_is_too_small_is_told_with_its_area() -> None:
    message = not_found(scene(Box(300, 200, 30, 30), 80), BlobLocation(min_area_px=5000))
    assert "needed 5000" in message
    measured = int(message.split(" px")[0].rsplit(" ", 1)[1])
    assert measured == pytest.approx(900, rel=0.2)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    seed=st.integers(0, 1000),
    polarity=st.sampled_from(["dark", "bright"]),
    threshold=st.sampled_from([None, 0.0, 128.0, 255.0]),
)
def test_a_blob_of_any_picture_lies_inside_it(
    width: int, height: int, seed: int, polarity: Any, threshold: float | None
) -> None:
    image = Image(np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8))
    try:
        box = locate(image, BlobLocation(1, polarity, margin_px=3, threshold=threshold, min_contrast=0))
    except FrameError as error:
        reason = error.reason
    else:
        reason = Reason.PART_NOT_FOUND
        assert 0 <= box.x_px <= box.x_px + box.width_px <= width
        assert 0 <= box.y_px <= box.y_px + box.height_px <= height
        assert min(box.width_px, box.height_px) > 0
    assert reason is Reason.PART_NOT_FOUND


# ---- template


def mark() -> NDArray[np.uint8]:
    """A 60 × 48 px fiducial: a cross in a ring."""
    pixels = np.full((48, 60), 90, np.uint8)
    cv2.circle(pixels, (30, 24), 20, 220, 3)
    cv2.line(pixels, (30, 8), (30, 40), 20, 4)
    cv2.line(pixels, (14, 24), (46, 24), 20, 4)
    return pixels


def marked(x: int, y: int, gain: float = 1.0, offset: float = 0.0, size: tuple[int, int] = (640, 480)) -> Image:
    """A clouded surface with the mark at (x, y)."""
    pixels = cv2.resize(smooth_grey(), size).astype(np.float32) * 0.5 + 40
    pixels[y : y + 48, x : x + 60] = mark()
    pixels = pixels * gain + offset + np.random.default_rng(1).normal(0, 3, pixels.shape)
    return Image(np.clip(pixels, 0, 255).astype(np.uint8))


@settings(max_examples=25, deadline=None)
@given(x=st.integers(0, 580), y=st.integers(0, 432))
def test_a_template_is_found_to_the_pixel(x: int, y: int) -> None:
    assert locate(marked(x, y), TemplateLocation(mark(), min_score=0.8)) == Box(x, y, 60, 48)


@pytest.mark.parametrize(("gain", "offset"), [(0.4, 0), (1.0, 60), (0.6, 80)], ids=["dimmer", "lifted", "flat"])
def test_a_template_is_found_in_other_light(gain: float, offset: float) -> None:
    assert locate(marked(301, 157, gain, offset), TemplateLocation(mark())) == Box(301, 157, 60, 48)


def test_a_template_is_searched_where_the_recipe_says() -> None:
    image = marked(100, 100)
    spec = TemplateLocation(mark(), search=Box(80, 90, 120, 90))
    assert locate(image, spec) == Box(100, 100, 60, 48)
    assert "the template fits best with" in not_found(image, replace(spec, search=Box(300, 200, 200, 200)))


def test_what_is_inspected_may_lie_beside_the_template() -> None:
    spec = TemplateLocation(mark(), region=Box(-40, 60, 200, 100))
    assert locate(marked(300, 200), spec) == Box(260, 260, 200, 100)
    assert "beside the found template" in not_found(marked(10, 200), spec)


def test_a_template_larger_than_the_picture_is_told() -> None:
    assert "larger than the searched" in not_found(Image(smooth_grey(50, 47)), TemplateLocation(mark()))


def test_a_search_region_beyond_the_picture_is_told() -> None:
    assert "the search region" in not_found(marked(0, 0), TemplateLocation(mark(), search=Box(600, 0, 60, 60)))


@pytest.mark.parametrize("level", [0, 100, 255])
def test_a_flat_picture_does_not_fit_any_template(level: int) -> None:
    message = not_found(Image(np.full((480, 640), level, np.uint8)), TemplateLocation(mark(), min_score=0.01))
    assert "0.00" in message


def test_a_part_without_the_mark_is_not_found() -> None:
    plain = Image(cv2.resize(smooth_grey(), (640, 480)))
    assert "needed 0.7" in not_found(plain, TemplateLocation(mark()))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TemplateLocation(np.full((20, 20), 50, np.uint8)), "no contrast"),
        (lambda: TemplateLocation(mark()[:2]), "at least 4"),
        (lambda: TemplateLocation(np.zeros((20, 20, 3), np.uint8)), "expected grey"),
        (lambda: TemplateLocation(mark(), min_score=0), "min_score"),
        (lambda: TemplateLocation(mark(), min_score=float("nan")), "min_score"),
        (lambda: TemplateLocation(mark(), region=Box(0, 0, 0, 4)), "at least 1"),
        (lambda: FixedRegion(Box(-1, 0, 4, 4)), "corner at 0"),
        (lambda: BlobLocation(0), "min_area_px"),
        (lambda: BlobLocation(5, threshold=300), "threshold"),
        (lambda: BlobLocation(5, min_contrast=float("nan")), "min_contrast"),
        (lambda: BlobLocation(5, "grey"), "polarity"),  # type: ignore[arg-type]
    ],
    ids=[
        "flat template",
        "tiny template",
        "colour template",
        "score of 0",
        "score of NaN",
        "empty region",
        "negative corner",
        "no area",
        "threshold above 255",
        "contrast of NaN",
        "unknown polarity",
    ],
)
def test_rules_that_mean_nothing_are_refused(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


# ---- recipes and manifests

BOX = {"x_px": 1, "y_px": 2, "width_px": 30, "height_px": 40}


@pytest.mark.parametrize(
    "spec",
    [
        NoLocation(),
        FixedRegion(Box(1, 2, 3, 4)),
        BlobLocation(500),
        BlobLocation(500, "dark", 7, 99.5, 20.0),
    ],
    ids=lambda spec: type(spec).__name__,
)
def test_rules_survive_json(spec: LocationSpec) -> None:
    assert location_from_dict(json.loads(json.dumps(location_to_dict(spec))), Path()) == spec


def test_a_template_travels_inside_the_manifest(tmp_path: Path) -> None:
    spec = TemplateLocation(mark(), Box(1, 2, 300, 400), 0.55, Box(-5, 0, 9, 9))
    back = location_from_dict(json.loads(json.dumps(location_to_dict(spec))), tmp_path)
    assert isinstance(back, TemplateLocation)
    np.testing.assert_array_equal(back.template, mark())
    assert (back.search, back.min_score, back.region) == (spec.search, spec.min_score, spec.region)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_template_is_read_from_a_file_beside_the_recipe(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mark").write_bytes(file_of(np.repeat(mark()[:, :, None], 3, axis=2), kind, quality=98))
    spec = location_from_dict({"kind": "template", "template": "mark", "search": {**BOX, "width_px": 90}}, tmp_path)
    assert isinstance(spec, TemplateLocation)
    assert np.abs(spec.template.astype(int) - mark()).max() < 20
    assert spec.search == Box(1, 2, 90, 40)


def test_an_empty_table_means_no_location() -> None:
    assert location_from_dict({}, Path()) == NoLocation()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "circle"}, "expected one of none, region, blob, template"),
        ({"kind": ["none"]}, "expected one of none"),
        ({"kind": "none", "x_px": 1}, "unknown key x_px"),
        ({"kind": "region", **BOX, "margin": 3}, "unknown key margin"),
        ({"kind": "region", "x_px": 1}, "lacks height_px, width_px, y_px"),
        ({"kind": "region", **BOX, "x_px": 1.5}, "whole number"),
        ({"kind": "region", **BOX, "x_px": True}, "whole number"),
        ({"kind": "region", **BOX, "width_px": 0}, "at least 1"),
        ({"kind": "blob"}, "lacks min_area_px"),
        ({"kind": "blob", "min_area_px": "many"}, "whole number"),
        ({"kind": "blob", "min_area_px": 5, "polarity": "red"}, "'dark' or 'bright'"),
        ({"kind": "blob", "min_area_px": 5, "threshold": "auto"}, "expected a number"),
        ({"kind": "blob", "min_area_px": 5, "min_contrast": float("inf")}, "expected a number"),
        ({"kind": "template"}, "needs either template"),
        ({"kind": "template", "template": "a", "template_png": "b"}, "not both"),
        ({"kind": "template", "template": "missing.png"}, "cannot be read"),
        ({"kind": "template", "template": "."}, "cannot be read"),
        ({"kind": "template", "template": "a\0b"}, "cannot be read"),
        ({"kind": "template", "template_png": "%%%"}, "in base64"),
        ({"kind": "template", "template_png": "\u00e9"}, "in base64"),
        ({"kind": "template", "template_png": "AAAA"}, "no usable picture"),
        ({"kind": "template", "template_png": "AAAA", "search": [1, 2, 3, 4]}, "no usable picture"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_table_is_refused_with_what_was_expected(values: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        location_from_dict(values, tmp_path)


def test_a_search_that_is_no_table_is_refused() -> None:
    values = {**location_to_dict(TemplateLocation(mark())), "search": [1, 2, 3, 4]}
    with pytest.raises(ConfigError, match="search is"):
        location_from_dict(values, Path())
