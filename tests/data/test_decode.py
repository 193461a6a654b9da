"""Every kind of image, decoded as OpenCV decodes it."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from proto2torch.data import decode as module
from proto2torch.data.decode import COLOUR, GREY, UNCHANGED, Undecodable, decode

from .records import GOLDEN

FLAGS = {UNCHANGED: cv2.IMREAD_UNCHANGED, COLOUR: cv2.IMREAD_COLOR, GREY: cv2.IMREAD_GRAYSCALE}
NOISE = np.random.default_rng(0).integers(0, 256, (33, 46, 4), np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (9, 11, 4), np.uint16)


def saved(pixels: Any, format: str = "PNG", mode: str | None = None, **more: Any) -> bytes:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, format, **more)
    return file.getvalue()


def turned(orientation: int) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


def cmyk(adobe: bool) -> bytes:
    jpeg = bytearray(saved(Image.frombytes("CMYK", (46, 33), NOISE.tobytes()), "JPEG", quality=95))
    if not adobe:
        at = jpeg.find(b"Adobe")
        del jpeg[at - 4 : at - 2 + int.from_bytes(jpeg[at - 2 : at], "big")]
    return bytes(jpeg)


IMAGES = {
    "png": saved(NOISE[:, :, :3]),
    "png-grey": saved(NOISE[:, :, 0]),
    "png-alpha": saved(NOISE),
    "png-grey-alpha": saved(NOISE[:, :, :2]),
    "png-palette": saved(NOISE[:, :, :3], mode="P"),
    "png-palette-transparent": saved(Image.fromarray(NOISE[:, :, :3]).convert("P"), transparency=3),
    "png-colour-transparent": saved(NOISE[:, :, :3], transparency=(1, 2, 3)),
    "png-grey-transparent": saved(NOISE[:, :, 0], transparency=3),
    "png-one-bit": saved(NOISE[:, :, 0] > 128),
    "jpeg": saved(NOISE[:, :, :3], "JPEG"),
    "jpeg-444": saved(NOISE[:, :, :3], "JPEG", subsampling=0, quality=95),
    "jpeg-progressive": saved(NOISE[:, :, :3], "JPEG", progressive=True),
    "jpeg-grey": saved(NOISE[:, :, 0], "JPEG"),
    "jpeg-cmyk": cmyk(adobe=True),
    "jpeg-cmyk-no-adobe": cmyk(adobe=False),
    "bmp": saved(NOISE[:, :, :3], "BMP"),
    "ppm": saved(NOISE[:, :, :3], "PPM"),
    "tiff": saved(NOISE[:, :, :3], "TIFF"),
    **{f"jpeg-exif-{n}": saved(NOISE[:, :, :3], "JPEG", **turned(n)) for n in range(1, 9)},
    **{f"png-exif-{n}": saved(NOISE[:, :, :3], **turned(n)) for n in (3, 6)},
    **{f"tiff-exif-{n}": saved(NOISE[:, :, :3], "TIFF", **turned(n)) for n in range(1, 9)},
    "tiff-grey-alpha": saved(NOISE[:, :, :2], "TIFF"),
    "jpeg-grey-exif": saved(NOISE[:, :, 0], "JPEG", **turned(8)),
    "jpeg-exif-nonsense": saved(NOISE[:, :, :3], "JPEG", **turned(99)),
}


def opencv(encoded: bytes, how: str) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), FLAGS[how])
    return np.atleast_3d(pixels).transpose(2, 0, 1)


def same(encoded: bytes, how: str) -> bool:
    ours, theirs = decode(memoryview(encoded), how), opencv(encoded, how)
    return ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


@pytest.mark.parametrize("how", [UNCHANGED, COLOUR, GREY])
@pytest.mark.parametrize("name", IMAGES)
def test_the_pixels_are_opencvs(name: str, how: str) -> None:
    assert same(IMAGES[name], how)


@pytest.mark.parametrize("how", [UNCHANGED, COLOUR, GREY])
def test_the_images_of_the_golden_cases(how: str) -> None:
    paths = sorted((GOLDEN / "tools" / "images").iterdir())
    assert len(paths) == 12
    assert [path.name for path in paths if not same(path.read_bytes(), how)] == []


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_of_sixteen_bits_the_high_byte_is_taken(channels: int) -> None:
    encoded = cv2.imencode(".png", DEEP[:, :, :channels])[1].tobytes()
    assert same(encoded, COLOUR)
    grey = decode(encoded, GREY).astype(int) - opencv(encoded, GREY)
    assert np.abs(grey).max() <= (0 if channels == 1 else 1)  # OpenCV makes grey first, of all bits
    with pytest.raises(Undecodable, match=r"expected 8 bits a channel, as Caffe does\. Received: 16"):
        decode(encoded, UNCHANGED)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_of_sixteen_bits(channels: int) -> None:
    pixels = DEEP[:, :, :channels]
    encoded = cv2.imencode(".tiff", pixels)[1].tobytes()
    expected = np.broadcast_to((pixels >> 8).transpose(2, 0, 1), (3, 9, 11))
    assert np.array_equal(decode(encoded, COLOUR), expected)
    with pytest.raises(Undecodable, match="expected 8 bits a channel"):
        decode(encoded, UNCHANGED)


@pytest.mark.parametrize("how", [UNCHANGED, COLOUR, GREY])
@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (cv2.imencode(".pgm", DEEP[:, :, :1])[1].tobytes(), "whose largest value is 255. Received: 65535"),
        (cv2.imencode(".ppm", DEEP[:, :, :3])[1].tobytes(), "whose largest value is 255. Received: 65535"),
        (b"P6 # of few\n1 1\n100\nabc", "whose largest value is 255. Received: 100"),
        (saved(Image.frombytes("CMYK", (46, 33), NOISE.tobytes()), "TIFF"), "CMYK is read of JPEG alone"),
        (saved(DEEP[:, :, 0].astype(np.int32), "TIFF"), "(expected 8 bits|mode I$)"),
    ],
)
def test_what_pillow_would_read_otherwise_than_opencv_is_refused(encoded: bytes, message: str, how: str) -> None:
    with pytest.raises(Undecodable, match=message):
        decode(encoded, how)


def test_a_comment_in_a_ppm() -> None:
    assert decode(b"P6 # two\n# lines\n1 1\n255\nabc", COLOUR).ravel().tobytes() == b"cba"


@pytest.mark.parametrize("pixels", [NOISE, NOISE[:, :, :3]])
def test_grey_from_webp_is_within_one_level(pixels: np.ndarray) -> None:
    encoded = saved(pixels, "WEBP")
    assert same(encoded, UNCHANGED) and same(encoded, COLOUR)
    assert np.abs(decode(encoded, GREY).astype(int) - opencv(encoded, GREY)).max() <= 1


@pytest.mark.parametrize("how", [UNCHANGED, COLOUR, GREY])
@pytest.mark.parametrize("name", ["png", "png-grey", "jpeg", "jpeg-grey", "jpeg-progressive", "jpeg-cmyk", "bmp"])
def test_an_image_cut_short_is_refused(name: str, how: str) -> None:
    whole = IMAGES[name]
    for kept in (0, 1, 4, 20, len(whole) // 3, len(whole) * 9 // 10, len(whole) - 30):
        with pytest.raises(Undecodable) as caught:
            decode(memoryview(whole)[:kept], how)
        assert "object at" not in str(caught.value)


def test_what_is_no_image() -> None:
    with pytest.raises(Undecodable, match="it is none of JPEG, PNG, BMP, PPM, TIFF, WEBP"):
        decode(b"GIF89a and more")


def png_that_says(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def jpeg_that_says(width: int, height: int) -> bytes:
    jpeg = bytearray(IMAGES["jpeg"])
    at = jpeg.find(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(jpeg)


@pytest.mark.parametrize(
    "encoded", [png_that_says(100_000, 100_000), jpeg_that_says(65_500, 65_500), png_that_says(1, 2**31 - 1)]
)
def test_an_image_that_decodes_to_gigabytes_is_refused_before(encoded: bytes) -> None:
    with pytest.raises(Undecodable, match=r"expected at most 89478485 pixels\. Received: "):
        decode(encoded, COLOUR)


def test_another_format_that_decodes_to_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PIXELS", 46 * 33 - 1)
    with pytest.raises(Undecodable, match=r"expected at most 1517 pixels\. Received: 46 x 33"):
        decode(IMAGES["bmp"], COLOUR)
