from __future__ import annotations

import numpy as np
import pytest

from proto2torch.data import decode as decoding
from proto2torch.data import jpeg
from proto2torch.data.decode import COLOUR, GREY, UNCHANGED

from .test_decode import IMAGES, jpeg_that_says


@pytest.mark.parametrize(("name", "channels"), [("jpeg", 3), ("jpeg-progressive", 3), ("jpeg-grey", 1)])
def test_the_header_of_a_usual_jpeg(name: str, channels: int) -> None:
    assert jpeg.header(memoryview(IMAGES[name])) == jpeg.Header(46, 33, channels, has_exif=False)
    assert jpeg.header(memoryview(jpeg_that_says(65_500, 7))) == jpeg.Header(65_500, 7, 3, has_exif=False)


def test_exif() -> None:
    header = jpeg.header(memoryview(IMAGES["jpeg-exif-6"]))
    assert header is not None and header.has_exif


@pytest.mark.parametrize("name", ["jpeg-cmyk", "png", "bmp"])
def test_what_is_not_usual(name: str) -> None:
    assert jpeg.header(memoryview(IMAGES[name])) is None


def test_a_jpeg_cut_anywhere_is_not_usual() -> None:
    whole = memoryview(IMAGES["jpeg"])
    assert [n for n in range(len(whole)) if jpeg.header(whole[:n]) is not None] == []


@pytest.mark.parametrize("how", [UNCHANGED, COLOUR, GREY])
@pytest.mark.parametrize("name", [name for name in IMAGES if name.startswith("jpeg")])
def test_pillow_alone_gives_the_same(name: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = decoding.decode(IMAGES[name], how)
    monkeypatch.setattr(jpeg, "_operation", lambda: None)  # as where torchvision has no decoders any more
    assert np.array_equal(decoding.decode(IMAGES[name], how), quick)


@pytest.mark.parametrize("name", ["jpeg", "jpeg-444", "jpeg-progressive", "jpeg-grey"])
def test_damaged_jpegs_are_decoded_alike_or_refused(name: str) -> None:
    draw = np.random.default_rng(0)
    for _ in range(60):
        damaged = np.frombuffer(IMAGES[name], np.uint8).copy()
        damaged[draw.integers(2, len(damaged) - 2, 2)] = draw.integers(0, 256, 2)
        quick = decoding._usual(memoryview(damaged.tobytes()), COLOUR)
        if quick is not None:
            assert np.array_equal(decoding._any(damaged.tobytes(), COLOUR), quick)
