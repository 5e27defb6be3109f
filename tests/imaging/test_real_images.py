"""Real camera pictures of every set at hand decode as other decoders read them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from imaging.pictures import read_by_pillow
from requires import require_data

from inspector.imaging.archive import archive, unarchive
from inspector.imaging.check import exposure, sharpness
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.normalise import normalise
from inspector.part import Box

SAMPLE = 40


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["magnetic-tile", "mvtec-ad", "kolektor-sdd", "x-sdd"])
def test_a_sample_of_every_set(name: str) -> None:
    files = sorted(path for path in require_data(name).rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    assert files, "the set has no pictures"
    for path in files[:: max(1, len(files) // SAMPLE)]:
        data = path.read_bytes()
        received = unarchive(data)
        assert archive(received)[0] == data
        image = decode(received, DecodeLimits())
        by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if image.pixels.ndim == 3:
            by_opencv = cv2.cvtColor(by_opencv, cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(image.pixels, by_opencv, err_msg=path.name)
        by_pillow = read_by_pillow(data, "L" if image.pixels.ndim == 2 else "RGB")
        np.testing.assert_array_equal(image.pixels, by_pillow, err_msg=path.name)
        whole = Box(0, 0, image.width_px, image.height_px)
        assert normalise(image, whole, 224, 224, 3).shape == (224, 224, 3)
        assert 0 <= exposure(image)[0] <= 255
        assert np.isfinite(sharpness(image, whole))
