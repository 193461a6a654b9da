"""What is done to an image: against the batches that Caffe's data layers gave, and Caffe's Transformer by its formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from proto2torch.data.decode import decode
from proto2torch.errors import DataError, NetError
from proto2torch.predict import images
from proto2torch.predict.preprocess import Preprocessor, channel_mean, load_mean
from proto2torch.weights import blobproto

TOOLS = Path(__file__).parents[1] / "golden/data/tools"
FILES = [str(TOOLS / "images" / line.split()[0]) for line in (TOOLS / "list.txt").read_text().splitlines()]


def net(tmp_path: Path, data: str) -> str:
    """A net behind the data layer of a golden case, which finds its files."""
    text = (
        (TOOLS / data).read_text().replace('"images/', f'"{TOOLS}/images/').replace('"list.txt', f'"{TOOLS}/list.txt')
    )
    for name in ("lmdb_raw", "lmdb_encoded", "lmdb_gray", "lmdb_resized", "leveldb_raw", "mean.binaryproto"):
        text = text.replace(f'"{name}"', f'"{TOOLS}/{name}"')
    path = tmp_path / "net.prototxt"
    path.write_text(text + 'layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }')
    return str(path)


@pytest.mark.parametrize("case", [0, 1, 2, 3, 5, 6, 7, 8])
def test_image_files_become_what_caffes_data_layers_gave(case: int, tmp_path: Path) -> None:
    found = images.load(net(tmp_path, f"data_{case}.prototxt"))
    golden = np.load(TOOLS / f"data_{case}.npz")
    expected = np.concatenate([golden["data0"], golden["data1"]])
    for path, image in zip(FILES, expected, strict=False):
        if case == 5 and path.endswith(".png"):
            continue  # its database holds them encoded anew, as JPEG
        ours = found.prepare(path)
        assert ours.shape == image.shape and ours.dtype == np.float32
        np.testing.assert_array_equal(ours, image)


def test_ten_crops_in_caffes_order() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 9, 11), np.uint8)
    crops = Preprocessor((3, 4, 5))(pixels, oversample=True)
    places = [(0, 0), (0, 6), (5, 0), (5, 6), (2, 3)]
    assert crops.shape == (10, 3, 4, 5)
    for i, (top, left) in enumerate(places):
        crop = pixels[:, top : top + 4, left : left + 5]
        assert np.array_equal(crops[i], crop)
        assert np.array_equal(crops[i + 5], crop[:, :, ::-1])
    assert np.array_equal(crops[4], Preprocessor((3, 4, 5))(pixels))


def test_the_mean_image_is_taken_at_the_place_of_the_pixel_also_where_it_is_mirrored() -> None:
    pixels = np.zeros((1, 4, 6), np.uint8)
    mean = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    crops = Preprocessor((1, 2, 2), mean=mean, scale=0.5)(pixels, oversample=True)
    assert crops[3].tolist() == [[[-8, -8.5], [-11, -11.5]]]
    assert crops[8].tolist() == [[[-8.5, -8], [-11.5, -11]]]


def test_as_caffes_transformer() -> None:
    """resize -> transpose -> channel_swap -> raw_scale -> mean -> input_scale, from floats in [0, 1], red first."""
    path = FILES[1]
    rgb = (decode(Path(path).read_bytes(), "colour")[::-1] / 255.0).astype(np.float32)
    prepare = Preprocessor.of_transformer(
        (3, *rgb.shape[1:]), mean=np.array([104, 117, 123]), raw_scale=255, input_scale=0.017, channel_swap=(2, 1, 0)
    )
    expected = (rgb[::-1] * np.float32(255) - np.float32([104, 117, 123]).reshape(3, 1, 1)) * np.float32(0.017)
    np.testing.assert_allclose(prepare(path), expected, rtol=1e-6)
    plain = Preprocessor.of_transformer((3, *rgb.shape[1:]))
    assert np.array_equal(plain(path), rgb) and plain.rgb


def test_floats_are_resized_as_scikit_image_does() -> None:
    """Bilinear at (d + 0.5) * scale - 0.5, with the lowest value beyond the edges."""
    image = np.array([[[0, 1], [0.5, 0.25]]], np.float32)
    found = Preprocessor.of_transformer((1, 4, 4), image_dims=(4, 4))(image)
    padded = np.pad(image[0].astype(np.float64), 1)
    for y in range(4):
        for x in range(4):
            v, u = (y + 0.5) / 2 + 0.5, (x + 0.5) / 2 + 0.5
            i, j, a, b = int(v), int(u), v % 1, u % 1
            value = (1 - a) * ((1 - b) * padded[i, j] + b * padded[i, j + 1])
            value += a * ((1 - b) * padded[i + 1, j] + b * padded[i + 1, j + 1])
            assert found[0, y, x] == pytest.approx(value, abs=1e-6)


def test_bytes_are_resized_as_opencv_does() -> None:
    pixels = decode(Path(FILES[3]).read_bytes(), "colour")
    found = Preprocessor((3, 20, 24), size=(31, 37))(FILES[3])
    theirs = cv2.resize(np.ascontiguousarray(pixels.transpose(1, 2, 0)), (37, 31)).transpose(2, 0, 1)
    assert np.array_equal(found, theirs[:, 5:25, 6:30])


def test_a_mean_of_another_size_is_resized_for_the_transformer() -> None:
    mean = np.broadcast_to(np.float32([1, 2, 3]).reshape(3, 1, 1), (3, 8, 8))
    assert Preprocessor.of_transformer((3, 4, 4), mean=mean).mean.shape == (3, 4, 4)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Preprocessor((2, 4, 4)), "3 or 1 channels. Received: "),
        (lambda: Preprocessor((3, 4, 4), mean=[1, 2]), "a mean has 3 channels, or 1 value"),
        (lambda: Preprocessor((3, 4, 4), size=(3, 9)), "must not be less than the net's 4 x 4. Received: 3 x 9"),
        (lambda: Preprocessor((3, 4, 4))(np.zeros((3, 3, 9), np.uint8)), "4 x 4 pixels at least. Received: "),
        (lambda: Preprocessor((3, 4, 4))(np.zeros((1, 4, 4), np.uint8)), "must have 3 channels"),
        (lambda: Preprocessor((3, 4, 4))(np.zeros((4, 4), np.uint8)), r"shape \(C, H, W\). Received: \(4, 4\)"),
        (lambda: Preprocessor((3, 4, 4))(np.zeros((3, 4, 4))), "8 bits, uint8. Received: float64"),
        (
            lambda: Preprocessor((1, 4, 4), mean=np.zeros((1, 6, 6)))(np.zeros((1, 5, 5), np.uint8)),
            "of the whole image",
        ),
        (lambda: Preprocessor((3, 4, 4))("none.jpg"), "cannot read the image: no such file"),
        (lambda: Preprocessor((3, 4, 4))(__file__), "cannot decode the image"),
        (lambda: Preprocessor.of_transformer((3, 4, 4), channel_swap=(1, 0, 2)), "channel_swap must be"),
    ],
)
def test_what_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def test_what_is_done_is_said_in_order() -> None:
    assert Preprocessor((3, 227, 227), (256, 256), (104, 117, 123), 0.017).lines() == [
        "decode to 8 bits a channel, BGR",
        "resize to 256 x 256, bilinear, as OpenCV",
        "cut out the middle 227 x 227",
        "subtract the mean 104, 117, 123 of each channel",
        "multiply by 0.017",
    ]
    lines = Preprocessor.of_transformer((1, 28, 28), mean=0.5, raw_scale=255, image_dims=(28, 28)).lines()
    assert lines == [
        "decode to 8 bits a channel, grey",
        "divide by 255",
        "resize to 28 x 28, bilinear, as scikit-image",
        "multiply by 255",
        "subtract the mean 0.5",
    ]


def test_means_as_users_name_them(tmp_path: Path) -> None:
    assert load_mean("104,117,123").reshape(-1).tolist() == [104, 117, 123]
    mean = blobproto.read(str(TOOLS / "mean.binaryproto"))
    assert np.array_equal(load_mean(str(TOOLS / "mean.binaryproto")), mean)
    np.save(tmp_path / "m.npy", mean[0])
    assert np.array_equal(load_mean(str(tmp_path / "m.npy")), mean[0])
    np.testing.assert_allclose(channel_mean(mean).reshape(-1), mean[0].astype(np.float64).mean((1, 2)), rtol=1e-6)
    (tmp_path / "bad.npy").write_bytes(b"no")
    with pytest.raises(DataError, match="cannot read the mean"):
        load_mean(str(tmp_path / "bad.npy"))


def test_a_net_without_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text('layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 7 } } }')
    with pytest.raises(NetError, match="expected one input of images"):
        images.load(str(path))


def test_a_missing_mean_says_what_to_do_and_another_takes_its_place(tmp_path: Path) -> None:
    path = net(tmp_path, "data_6.prototxt")
    Path(path).write_text(Path(path).read_text().replace("mean.binaryproto", "gone.binaryproto"))
    with pytest.raises(DataError) as raised:
        images.load(path)
    assert "mean_file" in raised.value.message and raised.value.line == 1
    assert raised.value.hint is not None and "proto2torch mean DB -o FILE" in raised.value.hint
    assert "mean_value: 104" in raised.value.hint
    found = images.load(path, given=images.Given(mean=np.float32([1, 2, 3])))
    assert found.prepare.mean.reshape(-1).tolist() == [1, 2, 3] and found.prepare.shape == (3, 16, 16)
