"""As run_bundle.py, for a bundle that judges large pictures by tiles: run_tiled_bundle.py BUNDLE PICTURE …

A picture's score is that of its worst tile. Tiles lie evenly over the picture, at multiples of 32 px, as the manifest's
"input" says; what lies outside a region of interest is the mean of what lies inside.
"""

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it is loaded: else it tells its maker of every session
import onnxruntime


def resized(picture, width, height):
    """As in run_bundle.py."""
    while picture.shape[1] >= 2 * width and picture.shape[0] >= 2 * height:
        picture = cv2.resize(picture, ((picture.shape[1] + 1) // 2, (picture.shape[0] + 1) // 2))
    shrunk = min(picture.shape[1], width), min(picture.shape[0], height)
    return cv2.resize(cv2.resize(picture, shrunk, interpolation=cv2.INTER_AREA), (width, height))


bundle = Path(sys.argv[1])
manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
whole, tiling = manifest["input"], manifest["input"]["tiling"]
width, height, channels = (whole[key] for key in ("width_px", "height_px", "channels"))
session = onnxruntime.InferenceSession(bundle / "model.onnx")


def starts(side: int, tile: int) -> list[int]:
    steps, longest = (side - tile) // 32, (tile - tiling["overlap_px"]) // 32
    count = -(-steps // longest)
    return [32 * (number * steps // count) if count else 0 for number in range(count + 1)]


region = np.ones((height, width), bool)
if tiling["region_of_interest"]:
    bits = np.fromfile(bundle / tiling["region_of_interest"], np.uint8)
    region = np.unpackbits(bits, count=width * height).reshape(height, width).astype(bool)
for path in sys.argv[2:]:
    picture = resized(cv2.imread(path), width, height)
    pixels = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY if channels == 1 else cv2.COLOR_BGR2RGB)
    pixels = pixels.reshape(height, width, channels)
    scores = []
    for y in starts(height, tiling["height_px"]):
        for x in starts(width, tiling["width_px"]):
            window = (slice(y, y + tiling["height_px"]), slice(x, x + tiling["width_px"]))
            tile, inside = pixels[window], region[window]
            if not inside.any():
                continue
            tile = np.where(inside[..., None], tile, tile[inside].mean(0).round().astype(np.uint8))
            scores.append(session.run(["score"], {"images": tile[None]})[0][0])
    score = np.max(scores)
    verdict = "PASS" if score <= manifest["limits"]["score"] else "REJECT" if score < float("inf") else "UNKNOWN"
    print(f"{path} {score:.4f} {verdict}")
