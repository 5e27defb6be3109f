"""A toy bundle that judges pictures of 256 × 160 px by tiles of 64 px: the score is the brightest tile's mean."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from toys import TOY_LIMIT, toy_manifest, toy_model

from inspector.inference.bundle import Bundle, GoldenImage, InputSpec, write_bundle
from inspector.inference.manifest import TilingSpec
from inspector.inference.tiling import pack_region
from inspector.part import Verdict

WIDTH_PX, HEIGHT_PX, TILE_PX = 256, 160, 64
TILING = TilingSpec(TILE_PX, TILE_PX, 32)
SPEC = InputSpec(WIDTH_PX, HEIGHT_PX, 1, {"kind": "none"}, TILING)
REGION = "region_of_interest.bits"


def picture(
    value: int = 20, *, spot: tuple[int, int] | None = None, size: int = 64, bright: int = 240
) -> NDArray[np.uint8]:
    """uint8 (160, 256, 1) of one value, with a bright square whose corner (y, x) is `spot`."""
    pixels = np.full((HEIGHT_PX, WIDTH_PX, 1), value, np.uint8)
    if spot is not None:
        pixels[spot[0] : spot[0] + size, spot[1] : spot[1] + size] = bright
    return pixels


def png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels[:, :, 0]).save(stream, "PNG")
    return stream.getvalue()


def tiled_bundle(path: Path, *, region: NDArray[np.bool_] | None = None, delay_loops: int = 0) -> Bundle:
    """Golden: an even dark picture, and one of which one tile is bright."""
    shown = {"golden/good.png": picture(), "golden/bright.png": picture(spot=(96, 192))}
    scores = {"golden/good.png": 20 / 255, "golden/bright.png": 240 / 255}
    spec = SPEC if region is None else replace(SPEC, tiling=replace(TILING, region_of_interest=REGION))
    golden = tuple(
        GoldenImage(name, "image/png", score, Verdict.REJECT if score > TOY_LIMIT else Verdict.PASS)
        for name, score in scores.items()
    )
    manifest = replace(toy_manifest(name="tiled"), input=spec, golden=golden)
    model = toy_model(size=TILE_PX, delay_loops=delay_loops)
    other = {} if region is None else {REGION: pack_region(region)}
    return write_bundle(path, manifest, model, {name: png(pixels) for name, pixels in shown.items()}, other=other)
