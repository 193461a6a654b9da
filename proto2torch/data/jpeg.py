"""The usual JPEG, decoded by torchvision: the same pixels as Pillow gives, in two thirds of the time, on many threads.

What is not usual is left to Pillow, which says what is wrong: files that do not end as a JPEG ends, CMYK, more than
eight bits, arithmetic coding.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_BEGIN, _END = b"\xff\xd8", b"\xff\xd9"
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_OTHER_FRAMES = (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_APP1, _SCAN = 0xE1, 0xDA
_UNCHANGED, _GREY, _RGB = 0, 1, 3  # torchvision's ImageReadMode


class Header(NamedTuple):
    """What a JPEG says of itself before its pixels."""

    width: int
    height: int
    channels: int
    has_exif: bool


def header(encoded: memoryview) -> Header | None:
    """The header of a usual JPEG, one of 8 bits and 1 or 3 channels; None of anything else."""
    if encoded[:2] != _BEGIN or encoded[-2:] != _END:
        return None
    at, has_exif = 2, False
    while at + 10 <= len(encoded) and encoded[at] == 0xFF:
        kind, length = encoded[at + 1], encoded[at + 2] << 8 | encoded[at + 3]
        if kind in _FRAMES:
            bits, channels = encoded[at + 4], encoded[at + 9]
            height, width = (encoded[at + place] << 8 | encoded[at + place + 1] for place in (5, 7))
            return Header(width, height, channels, has_exif) if bits == 8 and channels in (1, 3) else None
        if kind in _OTHER_FRAMES or kind == _SCAN:
            return None
        has_exif |= kind == _APP1
        at += 2 + length
    return None


def decode(encoded: memoryview, grey: bool | None) -> NDArray[np.uint8] | None:
    """(H, W, C): grey, red, green and blue, or without a choice what the image has; None where it cannot be decoded."""
    operation = _operation()
    if operation is None:
        return None
    import torch

    mode = _UNCHANGED if grey is None else _GREY if grey else _RGB
    try:
        image = operation(torch.frombuffer(bytearray(encoded), dtype=torch.uint8), mode)
    except RuntimeError:
        return None
    pixels: NDArray[np.uint8] = image.permute(1, 2, 0).numpy()
    return pixels


@cache
def _operation() -> Any:
    """torchvision's decoder; None where it has none, as it is to lose it to torchcodec."""
    try:
        import torch
        import torchvision.io  # noqa: F401  # brings the operation

        return torch.ops.image.decode_jpeg.default
    except (ImportError, AttributeError, RuntimeError):
        return None
