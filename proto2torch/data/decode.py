"""Encoded images, JPEG and PNG, to the pixels that OpenCV gives Caffe: planar, blue before red, eight bits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data.datum import NotADatum


def decode(encoded: memoryview, colour: bool = False) -> NDArray[np.uint8]:
    """The image (C, H, W), C being 1 (grey), 3 (BGR) or 4 (BGR and alpha); with `colour` always 3.

    Raises:
        NotADatum: it is no image that can be read, or not one of eight bits.
    """
    from torchvision.io import ImageReadMode, decode_image  # type: ignore[import-untyped]

    mode = ImageReadMode.RGB if colour else ImageReadMode.UNCHANGED
    try:
        image = decode_image(torch.from_numpy(np.frombuffer(encoded, np.uint8).copy()), mode)
    except (RuntimeError, ValueError) as error:
        raise NotADatum(f"its image cannot be decoded: {str(error).splitlines()[0]}") from error
    if image.dtype != torch.uint8 or image.shape[0] not in (1, 3, 4):
        channels = f"{image.shape[0]} channels of {str(image.dtype).removeprefix('torch.')}"
        raise NotADatum(f"expected an image of 1, 3 or 4 channels of uint8. Received: {channels}")
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[image.shape[0]]
    pixels: NDArray[np.uint8] = image.numpy()[order]
    return pixels
