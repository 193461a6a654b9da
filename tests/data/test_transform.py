from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from proto2torch.data.transform import Transform
from proto2torch.errors import DataError
from proto2torch.prototxt.schema import new

from .records import data_layer, pictures

SEED = 1701


def transform(folder: Path, fields: str, phase: str = "TRAIN", seed: int = SEED) -> Transform:
    return Transform(data_layer(folder, transform=fields), phase, seed)


def words(count: int, seed: int = SEED) -> list[int]:
    """The raw words of Caffe's generator, whose seeding is numpy's."""
    return np.random.RandomState(seed).randint(0, 1 << 32, count, np.uint64).tolist()


def caffe(image: np.ndarray, top: int, left: int, crop: int, mirror: int, mean: np.ndarray, scale: float) -> np.ndarray:
    """The formula pixel by pixel: out = (pixel - mean) * scale in float32, written mirrored where `mirror` is 1."""
    out = np.empty((image.shape[0], crop, crop), np.float32)
    for c in range(image.shape[0]):
        for y in range(crop):
            for x in range(crop):
                at = (c, top + y, left + x)
                value = (np.float32(image[at]) - np.float32(mean[at])) * np.float32(scale)
                out[c, y, crop - 1 - x if mirror else x] = value
    return out


def mean_file(folder: Path, mean: np.ndarray) -> str:
    blob = new("BlobProto")
    blob.num, (blob.channels, blob.height, blob.width) = 1, mean.shape
    blob.data.extend(mean.ravel().tolist())
    path = folder / "mean.binaryproto"
    path.write_bytes(blob.SerializeToString())
    return str(path)


def test_mirror_then_top_then_left_are_drawn_for_each_image(tmp_path: Path) -> None:
    images = pictures(6, (3, 7, 9))
    mean = pictures(1, (3, 7, 9), seed=1)[0] + np.float32(0.3)
    fields = f'mirror: true crop_size: 4 scale: 0.1 mean_file: "{mean_file(tmp_path, mean)}"'

    batch = transform(tmp_path, fields)(list(images), 0)

    drawn = np.reshape(words(18), (6, 3))
    assert set(drawn[:, 0] % 2) == {0, 1}
    for image, out, (mirror, top, left) in zip(images, batch.numpy(), drawn, strict=True):
        assert np.array_equal(out, caffe(image, top % 4, left % 6, 4, mirror % 2, mean, 0.1))


def test_in_test_mirror_is_random_and_the_crop_is_the_middle(tmp_path: Path) -> None:
    images = pictures(8, (2, 8, 9))
    batch = transform(tmp_path, "mirror: true crop_size: 3 mean_value: 7 mean_value: 90.5", "TEST")(list(images), 0)
    mean = np.broadcast_to(np.array([7, 90.5], np.float32).reshape(2, 1, 1), (2, 8, 9))
    for image, out, word in zip(images, batch.numpy(), words(8), strict=True):
        assert np.array_equal(out, caffe(image, 2, 3, 3, word % 2, mean, 1))


def test_a_mean_image_is_cropped_with_the_images_in_test(tmp_path: Path) -> None:
    images, mean = pictures(2, (1, 6, 7)), pictures(1, (1, 6, 7), seed=3)[0].astype(np.float32)
    batch = transform(tmp_path, f'crop_size: 5 mean_file: "{mean_file(tmp_path, mean)}"', "TEST")(list(images), 0)
    for image, out in zip(images, batch.numpy(), strict=True):
        assert np.array_equal(out, caffe(image, 0, 1, 5, 0, mean, 1))


def test_one_mean_value_for_all_channels(tmp_path: Path) -> None:
    images = pictures(2, (3, 4, 4))
    batch = transform(tmp_path, "mean_value: 100 scale: 0.5")(list(images), 0)
    assert np.array_equal(batch.numpy(), (images.astype(np.float32) - 100) * np.float32(0.5))


def test_float_images_stay_what_they_are(tmp_path: Path) -> None:
    images = np.random.default_rng(0).standard_normal((3, 1, 2, 2)).astype(np.float32)
    assert np.array_equal(transform(tmp_path, "")(list(images), 0).numpy(), images)


def test_images_of_several_sizes_are_cropped_to_one(tmp_path: Path) -> None:
    images = [pictures(1, (1, height, 9))[0] for height in (5, 6, 8)]
    batch = transform(tmp_path, "crop_size: 5")(images, 0).numpy()
    for image, out, (top, left) in zip(images, batch, np.reshape(words(6), (3, 2)), strict=True):
        top, left = top % (image.shape[1] - 4), left % 5
        assert np.array_equal(out, image[:, top : top + 5, left : left + 5])


def test_what_an_image_becomes_follows_from_its_number(tmp_path: Path) -> None:
    images = list(pictures(10, (1, 6, 6)))
    whole = transform(tmp_path, "crop_size: 3 mirror: true")(images, 0).numpy()
    parts = transform(tmp_path, "crop_size: 3 mirror: true")
    for first, end in ((6, 10), (2, 4), (0, 2), (4, 6)):
        assert np.array_equal(parts(images[first:end], first).numpy(), whole[first:end])
    parts.reseed(2)
    other = parts(images, 0).numpy()
    assert not np.array_equal(other, whole)
    assert np.array_equal(other, transform(tmp_path, "crop_size: 3 mirror: true", seed=2)(images, 0).numpy())


@pytest.mark.parametrize(
    ("fields", "image", "message"),
    [
        ("crop_size: 8", (3, 9, 7), "crop_size must not exceed the image, 9 x 7. Received: 8"),
        ("mean_value: 1 mean_value: 2", (3, 9, 7), "expected 1 mean_value or 3, one a channel. Received: 2"),
    ],
)
def test_what_does_not_fit_the_image(tmp_path: Path, fields: str, image: tuple[int, int, int], message: str) -> None:
    with pytest.raises(DataError) as caught:
        transform(tmp_path, fields).shape(image)
    assert caught.value.message == message
    assert (caught.value.layer, caught.value.line) == ("digits", 4)


def test_a_mean_file_of_another_shape(tmp_path: Path) -> None:
    path = mean_file(tmp_path, np.zeros((3, 4, 5), np.float32))
    with pytest.raises(DataError, match=r"the whole image, \(3, 5, 4\). Received: \(3, 4, 5\)"):
        transform(tmp_path, f'mean_file: "{path}"').shape((3, 5, 4))


def test_mean_file_and_mean_value(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mean_file and mean_value exclude each other"):
        transform(tmp_path, 'mean_file: "x" mean_value: 3')


def test_a_mean_file_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mean_file 'nowhere': cannot read it: no such file or directory") as caught:
        transform(tmp_path, 'mean_file: "nowhere"')
    assert (caught.value.layer, caught.value.line) == ("digits", 4)
