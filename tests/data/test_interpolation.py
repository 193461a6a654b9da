"""Resizing by each of OpenCV's methods, against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto2torch.data.interpolation import resized

METHODS = {
    "LINEAR": (cv2.INTER_LINEAR, 0),
    "AREA": (cv2.INTER_AREA, 1),  # a sum of float32 in another order
    "NEAREST": (cv2.INTER_NEAREST, 0),
    "CUBIC": (cv2.INTER_CUBIC, 1),  # OpenCV's vector code rounds in float32
    "LANCZOS4": (cv2.INTER_LANCZOS4, 1),
}
extent = st.integers(1, 90)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None)
@given(sizes=st.tuples(extent, extent, extent, extent), seed=st.integers(0, 9))
def test_the_pixels_are_opencvs(method: str, sizes: tuple[int, int, int, int], seed: int) -> None:
    rows, columns, height, width = sizes
    image = np.random.default_rng(seed).integers(0, 256, (3, rows, columns), dtype=np.uint8)
    flag, tolerance = METHODS[method]
    wanted = cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), (width, height), interpolation=flag)
    found = resized(image, height, width, method)
    assert found.shape == (3, height, width)
    differs = np.abs(found.astype(int) - wanted.reshape(height, width, 3).transpose(2, 0, 1))
    assert differs.max() <= tolerance
    assert (differs > 0).mean() < 0.2


def test_the_largest_contrast_does_not_overflow() -> None:
    image = np.zeros((1, 16, 16), np.uint8)
    image[0, ::2, ::2] = image[0, 1::2, 1::2] = 255
    for method in ("CUBIC", "LANCZOS4"):
        flag = METHODS[method][0]
        wanted = cv2.resize(np.ascontiguousarray(image[0]), (37, 41), interpolation=flag)
        assert np.abs(resized(image, 41, 37, method)[0].astype(int) - wanted).max() <= 1
