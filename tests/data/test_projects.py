"""The data layers of well-known projects: FCN's read from folders that are made here, the others given by the caller."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

import proto2torch as p2t
from proto2torch.errors import DataError, NetError

MEAN = (104.0, 116.5, 122.25)


def python(layer: str, param: str, tops: str = "data label", module: str = "voc_layers") -> str:
    names = " ".join(f'top: "{top}"' for top in tops.split())
    return f'layer {{ name: "data" type: "Python" {names} python_param {{ module: "{module}" layer: "{layer}" param_str: "{param}" }} }}'


def voc(folder: Path, count: int = 3, split: str = "seg11valid") -> tuple[str, list[np.ndarray], list[np.ndarray]]:
    """A VOC folder: its prototxt, its pixels (H, W, 3), red first, and its classes (H, W)."""
    g = np.random.default_rng(1)
    for part in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    names = [f"2007_{i:03d}" for i in range(count)]
    (folder / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(names) + "\n")
    pixels, classes = [], []
    for i, name in enumerate(names):
        Image.fromarray(g.integers(0, 256, (8 + i, 10, 3), np.uint8)).save(folder / f"JPEGImages/{name}.jpg")
        pixels.append(np.array(Image.open(folder / f"JPEGImages/{name}.jpg")))
        classes.append(g.choice(np.array([0, 1, 20, 255], np.uint8), (8 + i, 10)))
        palette = Image.fromarray(classes[-1])
        palette.putpalette(list(range(256)) * 3)
        palette.save(folder / f"SegmentationClass/{name}.png")
    param = f"{{'voc_dir': '{folder}', 'split': '{split}', 'seed': 1337, 'mean': {MEAN}}}"
    return python("VOCSegDataLayer", param), pixels, classes


def test_voc_in_order(tmp_path: Path) -> None:
    source, pixels, classes = voc(tmp_path)
    feed = p2t.load(text=source).feeds["data"]
    for image, label in [*zip(pixels, classes, strict=True), (pixels[0], classes[0])]:
        data, given = feed.next()
        expected = image[:, :, ::-1].astype(np.float32).transpose(2, 0, 1) - np.array(MEAN, np.float32)[:, None, None]
        np.testing.assert_array_equal(data.numpy()[0], expected)
        np.testing.assert_array_equal(given.numpy()[0, 0], label)


def test_a_train_split_is_drawn_and_its_seed_repeats_it(tmp_path: Path) -> None:
    source, _, _ = voc(tmp_path, 5, "train")
    draws = []
    for _ in range(2):
        feed = p2t.load(text=source).feeds["data"]
        draws.append([int(feed.next()[0].shape[2]) - 8 for _ in range(60)])
    assert draws[0] == draws[1]
    assert set(draws[0]) == set(range(5)) and draws[0][:5] != list(range(5))


def test_sbdd(tmp_path: Path) -> None:
    g = np.random.default_rng(2)
    for part in ("img", "cls"):
        (tmp_path / part).mkdir()
    (tmp_path / "val.txt").write_text("one\n")
    Image.fromarray(g.integers(0, 256, (6, 7, 3), np.uint8)).save(tmp_path / "img/one.jpg")
    classes = g.integers(0, 21, (6, 7)).astype(np.uint8)
    savemat(tmp_path / "cls/one.mat", {"GTcls": {"Segmentation": classes}})
    param = f"{{'sbdd_dir': '{tmp_path}', 'split': 'val', 'mean': {MEAN}}}"
    data, label = p2t.load(text=python("SBDDSegDataLayer", param)).feeds["data"].next()
    assert data.shape == (1, 3, 6, 7)
    np.testing.assert_array_equal(label.numpy()[0, 0], classes)


@pytest.mark.parametrize(
    ("param", "kind", "message"),
    [
        (
            "{'voc_dir': 'nowhere', 'split': 'val', 'mean': (1, 2, 3)}",
            DataError,
            "cannot read the split .*no such file",
        ),
        ("{'voc_dir': 'nowhere', 'split': 'val', 'mean': (1, 2)}", NetError, "must give a mean of 3 numbers"),
        ("{'voc_dir': 'nowhere', 'mean': (1, 2, 3)}", NetError, "must give split"),
        ("{'voc_dir': 'nowhere', 'split': 3}", NetError, "split takes a str. Received: 3"),
    ],
)
def test_what_is_wrong(param: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        p2t.load(text=python("VOCSegDataLayer", param))


def test_an_image_that_is_broken_is_named(tmp_path: Path) -> None:
    source, _, _ = voc(tmp_path)
    (tmp_path / "JPEGImages/2007_001.jpg").write_bytes(b"no image")
    feed = p2t.load(text=source).feeds["data"]
    feed.next()
    with pytest.raises(DataError, match=r"cannot read the image '.*2007_001.jpg'"):
        feed.next()


CONVOLUTION = (
    'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }'
)


def test_faster_rcnns_data_is_the_callers() -> None:
    source = python("RoIDataLayer", "'num_classes': 21", "data im_info gt_boxes", "roi_data_layer.layer") + CONVOLUTION
    built = p2t.load(text=source, phase="TRAIN")
    assert list(built.inputs) == ["data", "im_info", "gt_boxes"]
    with pytest.raises(DataError, match="its data set is not read") as raised:
        built()
    assert "net(data=…, im_info=…, gt_boxes=…)" in str(raised.value.hint)
    out = built(data=torch.zeros(1, 3, 20, 30), im_info=torch.zeros(1, 3), gt_boxes=torch.zeros(4, 5))
    assert out["c"].shape == (1, 2, 18, 28)


HED = 'layer { name: "data" type: "ImageLabelmapData" top: "data" top: "label" image_data_param { source: "%s" batch_size: 1 } }'


def test_heds_data_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the list 'pairs\.lst': no such file"):
        p2t.load(text=HED % "pairs.lst" + CONVOLUTION)
    there = tmp_path / "pairs.lst"
    there.write_text("a b\n")
    with pytest.raises(DataError, match="its tops must be given"):
        p2t.load(text=HED % there + CONVOLUTION)
    feed = [{"data": torch.ones(1, 3, 5, 6), "label": torch.zeros(1, 1, 5, 6)}]
    assert p2t.load(text=HED % there + CONVOLUTION, feeds={"data": feed})()["c"].shape == (1, 2, 3, 4)
