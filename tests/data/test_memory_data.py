from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from proto2torch import data
from proto2torch.data.memory_data import MemoryFeed
from proto2torch.errors import DataError

from .records import layer, pictures


def memory(folder: Path, transform: str = "", extent: str = "channels: 3 height: 7 width: 7") -> MemoryFeed:
    definition = layer(
        folder,
        'layer { name: "memory" type: "MemoryData" top: "data" top: "label"\n'
        f"transform_param {{ {transform} }} memory_data_param {{ batch_size: 2 {extent} }} }}",
    )
    feed = data.open(definition, "TRAIN", seed=3)
    assert isinstance(feed, MemoryFeed)
    return feed


def test_arrays_in_batches_over_and_over_untransformed(tmp_path: Path) -> None:
    images, labels = np.random.default_rng(0).random((4, 3, 7, 7)), [5, 6, 7, 8]
    feed = memory(tmp_path, "scale: 2 mirror: true")
    assert feed.shapes == [(2, 3, 7, 7), (2,)]
    feed.set(images, labels)
    for start in (0, 2, 0):
        got, label = feed.next()
        assert torch.equal(got, torch.tensor(images[start : start + 2], dtype=torch.float32))
        assert label.tolist() == labels[start : start + 2]
    feed.set(torch.ones(2, 3, 7, 7), torch.zeros(2, 1, 1, 1))
    assert feed.next()[0].min() == 1 and feed.next()[1].tolist() == [0, 0]


def test_what_is_added_is_transformed(tmp_path: Path) -> None:
    images = pictures(2, (3, 7, 7))
    feed = memory(tmp_path, "scale: 0.5 mean_value: 10 crop_size: 7")
    feed.add(images, [1, 2])
    assert np.array_equal(feed.next()[0].numpy(), (images.astype(np.float32) - 10) * np.float32(0.5))


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((2, 3, 7, 8), 2, r"images must have the shape \(n, 3, 7, 7\). Received: \(2, 3, 7, 8\)"),
        ((3, 3, 7, 7), 3, "the number of images must be a multiple of the batch, 2. Received: 3"),
        ((0, 3, 7, 7), 0, "must be a multiple of the batch, 2. Received: 0"),
        ((2, 3, 7, 7), 4, r"expected 2 labels, one an image. Received: \(4,\)"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, shape: tuple[int, ...], labels: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        memory(tmp_path).set(np.zeros(shape), np.zeros(labels))


def test_what_is_no_image(tmp_path: Path) -> None:
    feed = memory(tmp_path)
    good = np.zeros((3, 7, 7), np.uint8)
    with pytest.raises(DataError, match=r"must be a multiple of the batch, 2\. Received: 0"):
        feed.add([], [])
    for wrong, received in ((good[0], r"uint8 of shape \(7, 7\)"), (good[:, :5], r"uint8 of shape \(3, 5, 7\)")):
        with pytest.raises(DataError, match=rf"that becomes \(3, 7, 7\)\. Received: {received}"):
            feed.add([good, wrong], [0, 0])
    with pytest.raises(DataError, match=r"images must be an array of numbers\. Received: str"):
        feed.set("cat", [0])


def test_before_any_array(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no images to give") as caught:
        memory(tmp_path).next()
    assert caught.value.hint == "net.feeds['memory'].set(images, labels) gives it some"


@pytest.mark.parametrize(
    ("transform", "extent", "message"),
    [
        ("crop_size: 6", "channels: 3 height: 7 width: 7", "crop_size must be the height and the width, 7 and 7"),
        ("", "channels: 3 height: 7", "width must be at least 1. Received: 0"),
    ],
)
def test_refused(tmp_path: Path, transform: str, extent: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        memory(tmp_path, transform, extent)
