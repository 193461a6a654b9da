from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from proto2torch.data import crop
from proto2torch.data.crop import Pick


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, Pick, tuple[int, int]]:
    """An image in one of the ways that memory holds images, and a part of it."""
    channels, height, width = draw(st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 40)))
    rows, columns = draw(st.integers(1, height)), draw(st.integers(1, width))
    pick = Pick(draw(st.integers(0, height - rows)), draw(st.integers(0, width - columns)), draw(st.booleans()))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (channels, height, width))
    image: Any = values.astype(draw(st.sampled_from([np.uint8, np.float32])))
    how = draw(st.sampled_from(["planar", "together", "turned"]))
    if how == "together":
        image = image.transpose(1, 2, 0).copy().transpose(2, 0, 1)
    if how == "turned":
        image = image[::-1, ::-1].copy()[::-1, ::-1]
    image.flags.writeable = False
    return image, pick, (rows, columns)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_any_part_of_any_image(case: tuple[np.ndarray, Pick, tuple[int, int]]) -> None:
    image, pick, (rows, columns) = case
    expected = image[:, pick.top : pick.top + rows, pick.left : pick.left + columns]
    moved = np.empty(expected.shape, image.dtype)
    crop.move(image, pick, moved)
    assert np.array_equal(moved, expected)
    converted = np.empty(expected.shape, np.float32)
    crop.convert(image, pick, converted)
    assert np.array_equal(converted, (expected[:, :, ::-1] if pick.mirrored else expected).astype(np.float32))
