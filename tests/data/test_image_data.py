from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from proto2torch import data
from proto2torch.data.image_data import Order
from proto2torch.errors import DataError
from proto2torch.prototxt.document import LayerDefinition

from .records import layer, pictures

SEED = 1701


def images(folder: Path, count: int, shape: tuple[int, int, int] = (3, 6, 8)) -> np.ndarray:
    """`count` PNGs, 000.png and so on, and their pixels, blue first."""
    pixels = pictures(count, shape)
    for number, image in enumerate(pixels):
        cv2.imwrite(str(folder / f"{number:03d}.png"), image.transpose(1, 2, 0))
    return pixels


def image_layer(folder: Path, fields: str = "", transform: str = "", lines: list[str] | None = None) -> LayerDefinition:
    count = len(list(folder.glob("*.png")))
    lines = [f"{number:03d}.png {number}" for number in range(count)] if lines is None else lines
    (folder / "list.txt").write_bytes("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")
    return layer(
        folder,
        'layer { name: "pictures" type: "ImageData" top: "data" top: "label"\n'
        f"transform_param {{ {transform} }}\n"
        f'image_data_param {{ source: "{folder}/list.txt" root_folder: "{folder}/" {fields} }} }}',
    )


def words(seed: int, count: int) -> list[int]:
    return np.random.RandomState(seed).randint(0, 1 << 32, count, np.uint64).tolist()


def shuffled(order: list[int], drawn: list[int]) -> list[int]:
    """Caffe's shuffle, step by step; no word is drawn again where there are few things."""
    order = list(order)
    for i in range(len(order) - 1, 0, -1):
        bucket = (2**32 - 1) // (i + 1) + ((2**32 - 1) % (i + 1) == i)
        j = drawn.pop(0) // bucket
        order[i], order[j] = order[j], order[i]
    return order


def labels(feed: data.Feed, batches: int) -> list[int]:
    return [int(label) for _ in range(batches) for label in feed.next()[1]]


def test_images_in_the_order_of_the_list_over_and_over(tmp_path: Path) -> None:
    pixels = images(tmp_path, 5)
    feed = data.open(image_layer(tmp_path, "batch_size: 3"), "TEST")
    assert feed.shapes == [(3, 3, 6, 8), (3,)]
    for numbers in ([0, 1, 2], [3, 4, 0], [1, 2, 3]):
        got, label = feed.next()
        assert np.array_equal(got.numpy(), pixels[numbers])
        assert label.tolist() == numbers
    feed.close()


def test_one_image_a_batch_is_what_is_meant_without_batch_size(tmp_path: Path) -> None:
    images(tmp_path, 2)
    feed = data.open(image_layer(tmp_path), "TEST")
    assert feed.shapes[1] == (1,)
    feed.close()


def test_grey_and_resized(tmp_path: Path) -> None:
    images(tmp_path, 2)
    feed = data.open(image_layer(tmp_path, "batch_size: 2 is_color: false new_height: 9 new_width: 5"), "TEST")
    got = feed.next()[0].numpy()
    for number, image in enumerate(got):
        grey = cv2.imread(str(tmp_path / f"{number:03d}.png"), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(image[0], cv2.resize(grey, (5, 9)))
    feed.close()


def test_shuffled_at_the_start_and_again_at_each_wrap(tmp_path: Path) -> None:
    images(tmp_path, 7)
    feed = data.open(image_layer(tmp_path, "batch_size: 7 shuffle: true"), "TRAIN")
    feed.reseed({"shuffle": SEED})
    drawn = words(SEED, 18)
    first = shuffled(list(range(7)), drawn)
    second = shuffled(first, drawn)
    assert labels(feed, 3) == first + second + shuffled(second, drawn)
    assert sorted(first) == list(range(7)) != first
    feed.close()


def test_an_order_read_backwards_is_the_same() -> None:
    forward = Order(5, SEED)
    expected = [forward.at(number) for number in range(25)]
    again = Order(5, SEED)
    for number in (24, 3, 11, 9, 10, 4, 20, 0):
        assert again.at(number) == expected[number]


def test_rand_skip_begins_at_a_line_and_later_passes_at_the_first(tmp_path: Path) -> None:
    images(tmp_path, 6)
    feed = data.open(image_layer(tmp_path, "batch_size: 4 rand_skip: 5"), "TRAIN")
    feed.reseed({"skip": 13})  # 13 modulo 5
    assert labels(feed, 2) == [3, 4, 5, 0, 1, 2, 3, 4]
    feed.close()


def test_a_state_brings_back_order_crops_and_skip(tmp_path: Path) -> None:
    images(tmp_path, 6)
    definition = image_layer(
        tmp_path, "batch_size: 4 rand_skip: 3 shuffle: true", transform="crop_size: 3 mirror: true"
    )
    feed = data.open(definition, "TRAIN", seed=1)
    feed.next()
    state = feed.state()
    expected = [feed.next() for _ in range(3)]
    feed.close()
    again = data.open(definition, "TRAIN", seed=2)
    again.load_state(state)
    for batch in expected:
        got = again.next()
        assert np.array_equal(got[0], batch[0]) and np.array_equal(got[1], batch[1])
    again.close()


def test_names_with_spaces_and_utf8(tmp_path: Path) -> None:
    pixels = images(tmp_path, 2)
    names = ["a picture of a cat.png", "größe 猫.png"]
    for number, name in enumerate(names):
        (tmp_path / f"{number:03d}.png").rename(tmp_path / name)
    feed = data.open(image_layer(tmp_path, "batch_size: 2", lines=[f"{names[0]} 3", f"{names[1]} -2\r"]), "TEST")
    got, label = feed.next()
    assert np.array_equal(got.numpy(), pixels)
    assert label.tolist() == [3, -2]
    feed.close()


def test_images_of_several_sizes(tmp_path: Path) -> None:
    for number, image in enumerate([pictures(1, (3, 6, 8))[0], pictures(1, (3, 7, 9))[0]]):
        cv2.imwrite(str(tmp_path / f"{number:03d}.png"), image.transpose(1, 2, 0))
    cropped = data.open(image_layer(tmp_path, "batch_size: 2", transform="crop_size: 6"), "TEST")
    assert tuple(cropped.next()[0].shape) == (2, 3, 6, 6)
    cropped.close()
    feed = data.open(image_layer(tmp_path, "batch_size: 2"), "TEST")
    with pytest.raises(DataError, match=r"'001.png', line 2 of .*list.txt', differs. Expected: \(3, 6, 8\). Received"):
        feed.next()
    feed.close()


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        (["000.png 0", "001.png"], 2, "expected a path, a space and a label. Received: '001.png'"),
        (["000.png 0", "", "001.png 1"], 2, "expected a path, a space and a label. Received: ''"),
        ([" 3"], 1, "expected a path, a space and a label. Received: ' 3'"),
        (["000.png 0", "001.png\t1"], 2, r"expected a path, a space and a label. Received: '001.png\\t1'"),
        (["000.png cat"], 1, "a label must be a whole number of 32 bits. Received: 'cat'"),
        (["000.png 1.5"], 1, "a label must be a whole number of 32 bits. Received: '1.5'"),
        (["000.png " + "9" * 5000], 1, f"a label must be a whole number of 32 bits. Received: '{'9' * 5000}'"),
        (["00\0.png 1"], 1, r"a path has no zero bytes. Received: '00\x00.png 1'"),
        (["000.png 2147483648"], 1, "a label must be a whole number of 32 bits. Received: '2147483648'"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, lines: list[str], line: int, message: str) -> None:
    images(tmp_path, 2)
    with pytest.raises(DataError) as caught:
        data.open(image_layer(tmp_path, lines=lines), "TEST")
    assert caught.value.message == message.replace("\\\\", "\\")
    assert (caught.value.file, caught.value.line) == (f"{tmp_path}/list.txt", line)


@pytest.mark.parametrize(
    ("fields", "lines", "message"),
    [
        ("new_height: 3", None, "new_height and new_width go together"),
        ("new_height: 100000 new_width: 100000", None, "expected at most 89478485 pixels. Received: 100000 x 100000"),
        ("batch_size: 0", None, "batch_size must be at least 1. Received: 0"),
        ("rand_skip: 3", None, "rand_skip must not exceed the number of images, 2. Received: 3"),
        ("", [], "list.txt' is empty"),
        ("", ["gone.png 1"], r"cannot read the image '.*/gone.png', line 1 of '.*list.txt': no such file"),
        ("", ["list.txt 1"], r"cannot decode the image '.*/list.txt', line 1 of '.*list.txt': it is none of JPEG"),
    ],
)
def test_refused(tmp_path: Path, fields: str, lines: list[str] | None, message: str) -> None:
    images(tmp_path, 2)
    with pytest.raises(DataError, match=message) as caught:
        data.open(image_layer(tmp_path, fields, lines=lines), "TEST")
    assert (caught.value.layer, caught.value.exit_status) == ("pictures", 2)


def test_an_image_cut_short_is_named_in_its_batch(tmp_path: Path) -> None:
    images(tmp_path, 3)
    path = tmp_path / "001.png"
    path.write_bytes(path.read_bytes()[:-40])
    feed = data.open(image_layer(tmp_path, "batch_size: 3"), "TEST")
    with pytest.raises(DataError, match=r"cannot decode the image '.*/001.png', line 2 of "):
        feed.next()
    feed.close()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "cannot read the list 'nowhere': no such file or directory"),
        ("/", "source must be a text file that lists images. Received: the folder '/'"),
        ("", "source, the file that lists the images, is missing"),
    ],
)
def test_lists_that_are_not_there(tmp_path: Path, source: str, message: str) -> None:
    images(tmp_path, 1)
    definition = image_layer(tmp_path)
    definition.message.image_data_param.source = source
    with pytest.raises(DataError, match=message):
        data.open(definition, "TEST")
