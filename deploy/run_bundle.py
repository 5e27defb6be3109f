"""Judges pictures with a bundle in plain ONNX Runtime, without the inspector: run_bundle.py BUNDLE PICTURE …

For pictures that show the whole part: the line also finds it in the frame, as the manifest's "input" says.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

bundle = Path(sys.argv[1])
manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
width, height, channels = (manifest["input"][key] for key in ("width_px", "height_px", "channels"))
session = onnxruntime.InferenceSession(bundle / "model.onnx")
for path in sys.argv[2:]:
    picture = Image.open(path).convert("L" if channels == 1 else "RGB").resize((width, height))
    images = np.asarray(picture, np.uint8).reshape(1, height, width, channels)
    score = session.run(["score"], {"images": images})[0][0]
    verdict = "REJECT" if score > manifest["limits"]["score"] else "PASS"
    print(f"{path} {score:.4f} {verdict}")
