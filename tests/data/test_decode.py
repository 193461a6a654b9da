from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from proto2torch.data.datum import NotADatum
from proto2torch.data.decode import decode

from .records import pictures


def png(pixels: np.ndarray, **more: Any) -> memoryview:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **more)
    return memoryview(file.getvalue())


def test_colours_come_blue_first_and_planar() -> None:
    pixels = pictures(1, (4, 5, 3))[0]
    assert np.array_equal(decode(png(pixels)), pixels[:, :, ::-1].transpose(2, 0, 1))


def test_alpha_is_kept_unless_colour_is_forced() -> None:
    pixels = pictures(1, (4, 5, 4))[0]
    bgr = pixels[:, :, 2::-1].transpose(2, 0, 1)
    assert np.array_equal(decode(png(pixels)), np.concatenate([bgr, pixels[None, :, :, 3]]))
    assert np.array_equal(decode(png(pixels), colour=True), bgr)


def test_grey_has_one_channel_unless_colour_is_forced() -> None:
    pixels = pictures(1, (4, 5, 1))[0, :, :, 0]
    assert np.array_equal(decode(png(pixels)), pixels[None])
    assert np.array_equal(decode(png(pixels), colour=True), np.stack([pixels] * 3))


def test_sixteen_bits_are_refused() -> None:
    with pytest.raises(NotADatum, match=r"expected an image of mode L, RGB, RGBA. Received: I;16"):
        decode(png(np.zeros((2, 2), np.uint16)))


@pytest.mark.parametrize("kept", [0, 4, 60, -30])
def test_a_damaged_image_is_refused(kept: int) -> None:
    whole = png(pictures(1, (20, 30, 3))[0])
    with pytest.raises(NotADatum, match="its image cannot be decoded"):
        decode(whole[:kept])
