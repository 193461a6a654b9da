from __future__ import annotations

from typing import Any

import numpy as np
import pytest
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
    taken = crop.taken(image, pick, rows, columns)
    assert np.array_equal(taken, expected[:, :, ::-1] if pick.mirrored else expected)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_parts_of_images_that_are_alike(data: st.DataObject) -> None:
    extent = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 40)))
    rows, columns = data.draw(st.integers(1, extent[1])), data.draw(st.integers(1, extent[2]))
    draw = np.random.default_rng(data.draw(st.integers(0, 99)))
    images: list[Any] = [draw.integers(0, 256, extent, np.uint8) for _ in range(data.draw(st.integers(1, 5)))]
    picks = [
        Pick(*draw.integers(0, (extent[1] - rows + 1, extent[2] - columns + 1)), draw.random() < 0.5) for _ in images
    ]
    assert crop.alike(images)
    parts = np.zeros((len(images), extent[0], rows, columns), np.uint8)
    crop.gather(images, picks, parts)
    expected = [i[:, p.top : p.top + rows, p.left : p.left + columns] for i, p in zip(images, picks, strict=True)]
    assert np.array_equal(parts, expected)
    crop.turn(parts, picks)
    assert np.array_equal(parts, [e[:, :, :: -1 if p.mirrored else 1] for e, p in zip(expected, picks, strict=True)])


def test_whole_images_that_lie_too_far_apart_for_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), np.uint8))
    monkeypatch.setattr(crop, "_MOST", 7 * 4 * 5)  # numpy refuses more than 1 << 63
    parts = np.zeros((2, 3, 4, 5), np.uint8)
    crop.gather(images, [Pick(0, 0, False)] * 2, parts)
    assert np.array_equal(parts, images)


def test_which_images_are_alike() -> None:
    image = np.zeros((3, 4, 5), np.uint8)
    assert crop.alike([image, image.copy()])
    assert not crop.alike([image, np.zeros((3, 5, 4), np.uint8)])
    assert not crop.alike([image, image.astype(np.float32)])
    assert not crop.alike([image, image[:, :, ::-1]])
