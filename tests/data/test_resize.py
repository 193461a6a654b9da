from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from proto2torch.data.resize import resize

EXTENT = st.integers(1, 60)


def opencv(image: np.ndarray, height: int, width: int) -> np.ndarray:
    resized = cv2.resize(image.transpose(1, 2, 0), (width, height))
    return np.atleast_3d(resized).transpose(2, 0, 1)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([1, 3]), EXTENT, EXTENT, EXTENT, EXTENT, st.booleans(), st.integers(0, 2**32 - 1))
def test_bit_for_bit_opencvs(
    channels: int, height: int, width: int, to_height: int, to_width: int, extremes: bool, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (channels, height, width), np.uint8)
    image = np.where(image > 127, 255, 0).astype(np.uint8) if extremes else image
    assert np.array_equal(resize(image, to_height, to_width), opencv(image, to_height, to_width))


@settings(max_examples=50, deadline=None)
@given(EXTENT, EXTENT, st.sampled_from([(2, 2), (2, 1), (1, 2), (4, 4), (3, 3)]), st.booleans())
def test_whole_ratios_up_and_down(height: int, width: int, ratio: tuple[int, int], up: bool) -> None:
    small, large = (height, width), (height * ratio[0], width * ratio[1])
    source, target = (small, large) if up else (large, small)
    image = np.random.default_rng(height * 100 + width).integers(0, 256, (3, *source), np.uint8)
    assert np.array_equal(resize(image, *target), opencv(image, *target))


def test_photographs_sizes() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 375, 500), np.uint8)
    for height, width in ((256, 256), (224, 224), (256, 341), (512, 512)):
        assert np.array_equal(resize(image, height, width), opencv(image, height, width))


def test_channels_last_in_memory() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)[:, :, ::-1].transpose(2, 0, 1)
    assert np.array_equal(resize(image, 7, 19), opencv(np.ascontiguousarray(image), 7, 19))
    assert np.array_equal(resize(image, 15, 20), opencv(np.ascontiguousarray(image), 15, 20))
