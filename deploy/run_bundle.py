"""Judges pictures with a bundle in plain ONNX Runtime, without the inspector: run_bundle.py BUNDLE PICTURE …

For pictures of 8 bits that show the whole part: the line also finds it in the frame, as the manifest's "input" says. If that
has a "tiling", run_tiled_bundle.py does it.
"""

import json
import os
import sys
from pathlib import Path

import cv2

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it is loaded: else it tells its maker of every session
import onnxruntime


def resized(picture, width, height):
    """As the line resizes, to the last bit: halved, then shrunk by averaging areas, then enlarged linearly."""
    while picture.shape[1] >= 2 * width and picture.shape[0] >= 2 * height:
        picture = cv2.resize(picture, ((picture.shape[1] + 1) // 2, (picture.shape[0] + 1) // 2))
    shrunk = min(picture.shape[1], width), min(picture.shape[0], height)
    return cv2.resize(cv2.resize(picture, shrunk, interpolation=cv2.INTER_AREA), (width, height))


bundle = Path(sys.argv[1])
manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
width, height, channels = (manifest["input"][key] for key in ("width_px", "height_px", "channels"))
session = onnxruntime.InferenceSession(bundle / "model.onnx")
for path in sys.argv[2:]:
    picture = resized(cv2.imread(path), width, height)
    images = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY if channels == 1 else cv2.COLOR_BGR2RGB)
    score = session.run(["score"], {"images": images.reshape(1, height, width, channels)})[0][0]
    verdict = "PASS" if score <= manifest["limits"]["score"] else "REJECT" if score < float("inf") else "UNKNOWN"
    print(f"{path} {score:.4f} {verdict}")
