"""Encoded images, JPEG and PNG, to the pixels that OpenCV gives Caffe: planar, blue before red, eight bits."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from proto2torch.data.datum import NotADatum

_CHANNELS = {"L": [0], "RGB": [2, 1, 0], "RGBA": [2, 1, 0, 3]}
"""Pillow's modes that OpenCV decodes to the same numbers, and its order of their channels."""


def decode(encoded: memoryview, colour: bool = False) -> NDArray[np.uint8]:
    """The image (C, H, W), C being 1 (grey), 3 (BGR) or 4 (BGR and alpha); with `colour` always 3.

    Raises:
        NotADatum: it is no JPEG or PNG, it is damaged, or its pixels are of another kind (16 bits, CMYK).
    """
    from PIL import Image, UnidentifiedImageError

    broken = (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError)
    try:
        image: Image.Image = Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG"))
        image.load()
    except broken as error:
        raise NotADatum(f"its image cannot be decoded: {error}") from error
    if image.mode == "P" and "transparency" not in image.info:
        image = image.convert("RGB")
    if image.mode not in _CHANNELS:
        raise NotADatum(f"expected an image of mode {', '.join(_CHANNELS)}. Received: {image.mode}")
    if colour:
        image = image.convert("RGB")
    pixels: NDArray[np.uint8] = np.atleast_3d(np.asarray(image))
    return pixels.transpose(2, 0, 1)[_CHANNELS[image.mode]]
