"""Encoded images to the pixels that OpenCV gives Caffe: planar, blue before red, eight bits.

JPEG, PNG, BMP, PPM, TIFF and WebP. What OpenCV's flags do, and so what is done here:

| image | `UNCHANGED` | `COLOUR` | `GREY` |
|---|---|---|---|
| grey | 1 channel | the same value thrice | 1 channel |
| colour | B, G, R | B, G, R | grey: JPEG's own luma, else 0.299 R + 0.587 G + 0.114 B in integers |
| alpha, or a transparent colour | B, G, R, alpha (a grey PNG with a transparent level stays grey) | without alpha | |
| EXIF orientation | left as it lies | turned upright | turned upright |
| 16 bits | refused, as Caffe does | the high byte | the high byte |
| CMYK (JPEG; others are refused) | B, G, R | B, G, R | grey |

A TIFF is turned upright with every flag, as OpenCV does. A PPM or PGM whose largest value is not 255 is refused.
The pixels are OpenCV's, but for grey from colours of 16 bits, from WebP or from a BMP with alpha, and for TIFF's
colours of 16 bits: there within one level.
Colours are as the pixels say; ICC profiles and gamma are ignored. An image cut short is an error, where OpenCV fills
up with grey; so is one of more than 89 million pixels.
"""

from __future__ import annotations

import io
import re
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from proto2torch.data import jpeg
from proto2torch.errors import DataError, Where, why

UNCHANGED, COLOUR, GREY = "unchanged", "colour", "grey"

FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")
MOST_PIXELS = 89_478_485  # a quarter of a gigabyte as RGB, and where Pillow begins to warn
_ORIENTATION = 0x0112
_PNG_BITS = 24  # where a PNG says how many
_TIFF_BITS = 0x0102
_PNM = re.compile(rb"P[2356]" + rb"(?:\s|#[^\r\n]*)+(\d+)" * 3)  # the last number is the largest value
_COLOURS = {"L": "L", "1": "L", "LA": "L", "RGB": "RGB", "RGBA": "RGB", "P": "RGB"}
_PNG_GREY = np.array([9797, 19234, 3737], np.uint32)  # of 1 << 15, cut off: libpng's
_GREY = np.array([4899, 9617, 1868], np.uint32)  # of 1 << 14, rounded: OpenCV's

Pixels: TypeAlias = NDArray[np.uint8]


class Undecodable(Exception):
    """An image that cannot be decoded; the message says why."""


def decode(encoded: bytes | memoryview, how: str = UNCHANGED) -> Pixels:
    """The image (C, H, W): C is 3 with COLOUR, 1 with GREY, and 1, 3 or 4 with UNCHANGED. Any strides.

    Raises:
        Undecodable: it is none of the formats, it is damaged or cut short, or its pixels are refused.
    """
    usual = _usual(memoryview(encoded), how)
    return _any(encoded, how) if usual is None else usual


def read(path: str, how: str, where: Where, name: str = "") -> Pixels:
    """The image of a file; `name` is what errors call it where its place alone does not tell.

    Raises:
        DataError: at `where`: it cannot be read or decoded.
    """
    image = f"the image {name}" if name else "the image"
    try:
        with open(path, "rb") as file:
            return decode(file.read(), how)
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        reason = why(error)
        raise DataError(f"cannot read {image}: {reason}", where=where) from error
    except Undecodable as error:
        raise DataError(f"cannot decode {image}: {error}", where=where) from error


def _usual(encoded: memoryview, how: str) -> Pixels | None:
    """The quick way of a JPEG that nothing is special about."""
    header = jpeg.header(encoded)
    if header is None or header.width * header.height > MOST_PIXELS or (header.has_exif and how != UNCHANGED):
        return None
    pixels = jpeg.decode(encoded, None if how == UNCHANGED else how == GREY)
    return None if pixels is None else pixels[:, :, ::-1].transpose(2, 0, 1)


def _any(encoded: bytes | memoryview, how: str) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    broken = (OSError, SyntaxError, ValueError, EOFError)
    try:
        image: Image.Image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        _check(image, encoded, how)
        if image.format == "JPEG" and how == GREY:
            image.draft("L", image.size)
        image.load()
        # Asked for after loading, which may have turned a TIFF already and says so.
        orientation = 1 if how == UNCHANGED and image.format != "TIFF" else _orientation(image)
    except UnidentifiedImageError as error:
        raise Undecodable(f"it is none of {', '.join(FORMATS)}, or its beginning is damaged") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Undecodable(f"expected at most {MOST_PIXELS} pixels. Received: more") from error
    except broken as error:
        raise Undecodable(str(error)) from error
    pixels = _unchanged(image) if how == UNCHANGED else _forced(image, how)
    return _upright(pixels, orientation).transpose(2, 0, 1)


def _unchanged(image: Any) -> Pixels:
    """(H, W, C) of whatever the image holds."""
    if image.mode == "CMYK":
        return _from_cmyk(image)[:, :, ::-1]
    if image.mode == "LA" or (image.mode in ("P", "RGB") and "transparency" in image.info):
        image = image.convert("L" if image.format == "TIFF" else "RGBA")
    if image.mode in ("P", "1"):
        image = image.convert(_COLOURS[image.mode])
    if image.mode not in ("L", "RGB", "RGBA"):
        raise Undecodable(f"expected 8 bits a channel, grey or RGB. Received: an image of mode {image.mode}")
    pixels: Pixels = np.atleast_3d(np.asarray(image))
    return pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]] if pixels.shape[2] > 1 else pixels


def _forced(image: Any, how: str) -> Pixels:
    """(H, W, 3), blue first, or (H, W, 1)."""
    if image.mode == "CMYK":
        rgb, kind = _from_cmyk(image), "RGB"
    elif image.mode in ("I;16", "I;16B", "I;16L"):
        rgb, kind = np.atleast_3d((np.asarray(image) >> 8).astype(np.uint8)), "L"
    elif image.mode in _COLOURS:
        kind = _COLOURS[image.mode]
        rgb = np.atleast_3d(np.asarray(image.convert(kind)))
    else:
        raise Undecodable(f"expected a grey or RGB image. Received: one of mode {image.mode}")
    if how == COLOUR:
        return rgb[:, :, ::-1] if kind == "RGB" else np.repeat(rgb, 3, axis=2)
    return rgb if kind == "L" else _grey(rgb, image.format == "PNG")


def _grey(rgb: Pixels, png: bool) -> Pixels:
    """(H, W, 1) of (H, W, 3)."""
    total = rgb.astype(np.uint32) @ (_PNG_GREY if png else _GREY)
    return np.asarray(total >> 15 if png else total + (1 << 13) >> 14, np.uint8)[:, :, None]


def _from_cmyk(image: Any) -> Pixels:
    """(H, W, 3), red first, by OpenCV's formula over the values as the JPEG stores them."""
    stored = 255 - np.asarray(image).astype(np.int32)  # Pillow inverts them, as Adobe's programs expect
    ink, black = stored[:, :, :3], stored[:, :, 3:]
    return (black - ((255 - ink) * black >> 8)).astype(np.uint8)


def _orientation(image: Any) -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in range(2, 9) else 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """(H, W, C) turned and mirrored so that EXIF's `orientation`, 1 to 8, becomes 1."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def _check(image: Any, encoded: bytes | memoryview, how: str) -> None:
    """Refuse, before anything is decoded, what is too large or has too many bits."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise Undecodable(f"expected at most {MOST_PIXELS} pixels. Received: {width} x {height}")
    if image.mode == "CMYK" and image.format != "JPEG":
        raise Undecodable(f"CMYK is read of JPEG alone. Received: {image.format}")
    if image.format == "PPM" and image.mode != "1":
        # Pillow spreads other values over 0 to 255, or cuts them off; OpenCV does neither.
        found = _PNM.match(encoded)
        if found is None or int(found[3]) != 255:
            received = "another header" if found is None else found[3].decode()
            raise Undecodable(f"expected a PPM or PGM whose largest value is 255. Received: {received}")
    bits = encoded[_PNG_BITS] if image.format == "PNG" else 8
    if image.format == "TIFF":
        bits = max(image.tag_v2.get(_TIFF_BITS, (1,)))
    if how == UNCHANGED and bits > 8:
        raise Undecodable(f"expected 8 bits a channel, as Caffe does. Received: {bits}")
