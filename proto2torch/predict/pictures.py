"""Pictures of what was found in images: boxes with their names, and labels in colours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto2torch.data.decode import Pixels
from proto2torch.errors import DataError
from proto2torch.files import atomic
from proto2torch.predict.detect import Detected
from proto2torch.predict.segment import Segmented

_MOST_LABELS = 256
_BEHIND = 0.5  # of the image, where labels lie over it


@cache
def palette() -> NDArray[np.uint8]:
    """(256, 3): PASCAL VOC's colours, red first; a label's bits, lowest first, set the colours' bits, highest first."""
    colours = np.zeros((_MOST_LABELS, 3), np.uint8)
    for label in range(_MOST_LABELS):
        for step in range(3):
            for channel in range(3):
                colours[label, channel] |= (label >> (3 * step + channel) & 1) << (7 - step)
    return colours


def boxes(found: Detected) -> Any:
    """The image with each box and its name, as a Pillow image."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(_rgb(found.pixels))
    draw, colours = ImageDraw.Draw(picture), palette()
    size = max(11, min(picture.size) // 28)
    font = ImageFont.load_default(size)
    for one in reversed(found.objects):  # the best on top
        colour = tuple(int(c) for c in colours[one.label % (_MOST_LABELS - 1) + 1])
        xmin, ymin, xmax, ymax = one.box
        draw.rectangle((xmin, ymin, max(xmin, xmax), max(ymin, ymax)), outline=colour, width=max(2, size // 6))
        text = f"{one.name if one.name is not None else one.label} {one.score:.2f}"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        at = (min(xmin, picture.width - (right - left) - 4), max(0, ymin - (bottom - top) - 6))
        draw.rectangle((at[0], at[1], at[0] + right - left + 4, at[1] + bottom - top + 5), fill=colour)
        dark = sum(c * w for c, w in zip(colour, (0.299, 0.587, 0.114), strict=True)) > 140
        draw.text((at[0] + 2 - left, at[1] + 2 - top), text, fill="black" if dark else "white", font=font)
    return picture


def labels(found: Segmented) -> Any:
    """The labels as an image of a palette: a pixel's value is its label, its colour VOC's."""
    from PIL import Image

    if found.labels.max(initial=0) >= _MOST_LABELS:
        raise DataError(f"a label map holds labels below {_MOST_LABELS}. Received: {found.labels.max()}")
    picture = Image.fromarray(found.labels.astype(np.uint8), "P")
    picture.putpalette(palette().tobytes())
    return picture


def overlaid(found: Segmented) -> Any:
    """The image with its labels' colours over it; label 0, the background, is left as it is."""
    from PIL import Image

    image, colours = _rgb(found.pixels), palette()[found.labels % _MOST_LABELS]
    mixed = (image * _BEHIND + colours * (1 - _BEHIND)).astype(np.uint8)
    return Image.fromarray(np.where(found.labels[:, :, None] == 0, image, mixed))


def places(output: str, images: list[str], ending: str = ".png") -> Mapping[str, str]:
    """Where the picture of each image goes: `output` itself for one image, a file of its name in that folder for more.

    Raises:
        DataError: there are several images and `output` is no folder, or its ending is no picture's.
    """
    if not os.path.isdir(output):
        if len(images) > 1 or output.endswith(os.sep):
            message = (
                "the pictures of several images need a folder that is there" if len(images) > 1 else "no such folder"
            )
            raise DataError(f"{message}. Received: {output!r}")
        _kind(output)
        return {images[0]: output}
    found: dict[str, str] = {}
    for image in images:
        stem = os.path.splitext(os.path.basename(image))[0]
        name, count = f"{stem}{ending}", 1
        while os.path.join(output, name) in found.values():
            name, count = f"{stem}_{count}{ending}", count + 1
        found[image] = os.path.join(output, name)
    return found


def save(picture: Any, path: str) -> None:
    """Write a picture, its kind by the ending of `path`.

    Raises:
        DataError: there is no such kind. RunError: it cannot be written.
    """
    kind = _kind(path)
    picture = picture.convert("RGB") if picture.mode == "P" and kind != "PNG" else picture
    with atomic(path) as temporary:
        picture.save(temporary, kind)


def _kind(path: str) -> str:
    from PIL import Image

    kind = Image.registered_extensions().get(os.path.splitext(path)[1].lower())
    if kind not in Image.SAVE:
        raise DataError(f"expected a picture's ending, .png or .jpg. Received: {path!r}")
    return kind


def _rgb(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[::-1].transpose(1, 2, 0))
