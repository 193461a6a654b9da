"""The AnnotatedData layer: batches, rows of objects, reproducible choices, and input that nobody means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch import data
from proto2torch.errors import DataError, Proto2TorchError
from proto2torch.prototxt.read import read_net

from .records import Shown, database, record

IMAGES = [np.random.default_rng(i).integers(0, 256, (20, 40, 3), dtype=np.uint8) for i in range(3)]
SHOWN: list[list[Shown]] = [
    [(3, 0, (0.1, 0.2, 0.3, 0.4), False), (5, 2, (0.5, 0.5, 1.0, 1.0), True)],
    [],
    [(1, 1, (0.0, 0.0, 0.5, 1.0), False)],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return database(tmp_path / "db", [record(i, s) for i, s in zip(IMAGES, SHOWN, strict=True)])


def layer(folder: Path, fields: str = "", change: str = "", batch: int = 3, tops: int = 2) -> str:
    names = " ".join(f'top: "{name}"' for name in ("data", "label")[:tops])
    return (
        f'layer {{ name: "data" type: "AnnotatedData" {names} transform_param {{ {change} }} annotated_data_param '
        f'{{ {fields} }} data_param {{ source: "{folder}" batch_size: {batch} backend: LMDB }} }}'
    )


def feed(text: str, phase: str = "TRAIN", seed: int = 0) -> data.Feed:
    return data.open(read_net(text=text).layers[0], phase, seed)


def test_images_and_rows(folder: Path) -> None:
    images, rows = feed(layer(folder)).next()
    assert np.array_equal(images, np.stack(IMAGES).transpose(0, 3, 1, 2))
    expected = [[0, 3, 0, 0.1, 0.2, 0.3, 0.4, 0], [0, 5, 2, 0.5, 0.5, 1, 1, 1], [2, 1, 1, 0, 0, 0.5, 1, 0]]
    assert rows.shape == (1, 1, 3, 8)
    assert rows[0, 0].tolist() == [pytest.approx(row) for row in expected]


def test_raw_pixels_are_read_as_they_are(tmp_path: Path) -> None:
    folder = database(tmp_path / "raw", [record(IMAGES[0], SHOWN[0], encoded=False)])
    images, _ = feed(layer(folder, batch=1)).next()
    assert np.array_equal(images[0], IMAGES[0].transpose(2, 0, 1))


def test_a_batch_without_objects_has_one_row_of_minus_1(tmp_path: Path) -> None:
    folder = database(tmp_path / "none", [record(IMAGES[0])])
    _, rows = feed(layer(folder, batch=1)).next()
    assert rows.tolist() == [[[[-1.0] * 8]]]


def test_records_without_a_type_have_labels(tmp_path: Path) -> None:
    folder = database(tmp_path / "plain", [record(IMAGES[0], typed=False)])
    assert feed(layer(folder, batch=2)).next()[1].tolist() == [7, 7]
    assert feed(layer(folder, "anno_type: BBOX", batch=2)).next()[1].shape == (1, 1, 1, 8)


def test_the_first_record_says_whether_there_are_boxes(tmp_path: Path) -> None:
    kinds = [True, False, False]
    folder = database(tmp_path / "mixed", [record(IMAGES[0], typed=typed) for typed in kinds])
    assert feed(layer(folder)).next()[1].shape == (1, 1, 1, 8)


def test_one_top_is_the_images(folder: Path) -> None:
    assert [tuple(t.shape) for t in feed(layer(folder, tops=1)).next()] == [(3, 3, 20, 40)]


def test_resize_mean_and_scale(folder: Path) -> None:
    change = "resize_param { height: 10 width: 20 } mean_value: 100 scale: 0.5"
    images, rows = feed(layer(folder, change=change)).next()
    halved = np.stack(IMAGES).transpose(0, 3, 1, 2).reshape(3, 3, 10, 2, 20, 2).astype(int).sum((3, 5)) + 2 >> 2
    assert np.array_equal(images, (halved - 100) * np.float32(0.5))
    assert rows[0, 0, 0].tolist() == pytest.approx([0, 3, 0, 0.1, 0.2, 0.3, 0.4, 0])


def test_mirror_turns_image_and_boxes(folder: Path) -> None:
    turned = set()
    source = feed(layer(folder, change="mirror: true", batch=1))
    for i in range(30):
        image, rows = source.next()
        original = IMAGES[i % 3].transpose(2, 0, 1)
        mirrored = np.array_equal(image[0], original[:, :, ::-1])
        assert mirrored or np.array_equal(image[0], original)
        if i % 3 == 0:
            turned.add(mirrored)
            assert rows[0, 0, 0, 3:7].tolist() == pytest.approx(
                [0.7, 0.2, 0.9, 0.4] if mirrored else [0.1, 0.2, 0.3, 0.4]
            )
    assert turned == {True, False}


def test_a_crop_moves_the_boxes(folder: Path) -> None:
    images, rows = feed(layer(folder, change="crop_size: 10", batch=1), "TEST").next()
    assert np.array_equal(images[0], IMAGES[0].transpose(2, 0, 1)[:, 5:15, 15:25])
    # the crop is [0.375, 0.625] x [0.25, 0.75]
    assert rows[0, 0].tolist() == [pytest.approx([0, 5, 2, 0.5, 0.5, 1, 1, 1])]


def test_samplers_show_the_part_that_they_chose(folder: Path) -> None:
    fields = "batch_sampler { sampler { min_scale: 0.5 max_scale: 0.5 } max_sample: 1 max_trials: 1 }"
    source = feed(layer(folder, fields, "resize_param { height: 10 width: 20 interp_mode: NEAREST }", batch=1))
    whole = IMAGES[0].transpose(2, 0, 1)
    found = 0
    for _ in range(40):
        image, rows = source.next()
        source.next(), source.next()
        places = [
            (top, left)
            for top in range(11)
            for left in range(21)
            if np.array_equal(image[0], whole[:, top : top + 10, left : left + 20])
        ]
        for top, left in places:
            found += 1
            boxes = [[(0.1 * 40 - left) / 20, (0.2 * 20 - top) / 10, (0.3 * 40 - left) / 20, (0.4 * 20 - top) / 10]]
            mine = [row for row in rows[0, 0].tolist() if row[1] == 3]
            for row in mine:
                assert np.allclose(row[3:7], np.clip(boxes[0], 0, 1), atol=0.1)  # a pixel, which the cut rounds away
    assert found >= 20


def test_choices_follow_from_the_seed_and_the_record(folder: Path) -> None:
    change = "distort_param { brightness_prob: 1 brightness_delta: 50 } expand_param { max_expand_ratio: 3 } "
    change += "resize_param { height: 8 width: 8 interp_mode: AREA interp_mode: CUBIC } mirror: true"
    text = layer(folder, "batch_sampler { sampler { min_scale: 0.3 } }", change)
    a, b, other = feed(text), feed(text), feed(text, seed=1)
    first = a.next()
    assert torch.equal(first[0], b.next()[0])
    assert not torch.equal(first[0], other.next()[0])
    again = a.next()
    assert not torch.equal(first[0], again[0])
    b.load_state({"position": 0, "seed": 0})
    b.next()
    assert torch.equal(again[0], b.next()[0])


def test_a_net_takes_any_number_of_rows(folder: Path) -> None:
    text = layer(folder, batch=1) + 'layer { name: "s" type: "Silence" bottom: "data" }'
    net = p2t.load(text=text, phase="TRAIN")
    counts = [net()["label"].shape[2] for _ in range(3)]
    assert counts == [2, 1, 1]
    assert net._layouts._built == {}


@pytest.mark.parametrize(
    ("fields", "change", "message"),
    [
        ("anno_type: LANE", "", "only annotations of type BBOX are read"),
        ("batch_sampler { sampler { min_scale: 0 } }", "", "needs 0 < min_scale <= max_scale <= 1. Received: 0 and 1"),
        (
            "batch_sampler { sampler { min_aspect_ratio: 2 } }",
            "",
            "needs 0 < min_aspect_ratio <= max_aspect_ratio. Received: 2 and 1",
        ),
        ("", "resize_param { height: 5 }", "width must be at least 1. Received: 0"),
        ("", "resize_param { height: 5 width: 5 prob: 0.5 }", "prob must be 1. Received: 0.5"),
        ("", "resize_param { height: 5 width: 5 resize_mode: FIT_SMALL_SIZE }", "needs batch_size: 1. Received: 3"),
        ("", "resize_param { height: 5 width: 5 height_scale: 2 width_scale: 2 }", "field 'height_scale'"),
        ("", "noise_param { prob: 1 }", "field 'noise_param'"),
        ("", "distort_param { hue_delta: -1 }", "hue_delta must not be negative. Received: -1"),
        ("", "distort_param { contrast_lower: 2 }", "needs 0 <= contrast_lower <= contrast_upper. Received: 2 and 0"),
        ("", "expand_param { max_expand_ratio: 0.5 }", "max_expand_ratio must be at least 1. Received: 0.5"),
    ],
)
def test_fields_that_are_refused(folder: Path, fields: str, change: str, message: str) -> None:
    with pytest.raises(Proto2TorchError) as raised:
        p2t.load(text=layer(folder, fields, change), phase="TRAIN")
    assert message in str(raised.value)


def bad(folder: Path, records: list[bytes], change: str = "", **kwargs: Any) -> str:
    database(folder, records)
    with pytest.raises(DataError) as raised:
        feed(layer(folder, change=change, batch=len(records), **kwargs)).next()
    return str(raised.value)


def test_records_that_are_refused(tmp_path: Path) -> None:
    assert "the record '00000000'" in bad(tmp_path / "a", [b"\xff\xff"])
    assert "it is not an AnnotatedDatum" in bad(tmp_path / "b", [b"\xff\xff"])
    cut = record(IMAGES[0])[:-300]
    assert "the record '00000001'" in bad(tmp_path / "c", [record(IMAGES[0]), cut])
    other = bad(tmp_path / "d", [record(IMAGES[0]), record(IMAGES[0][:10])])
    assert "the record '00000001'" in other
    assert "expected an image of (3, 20, 40). Received: (3, 10, 40)" in other
    assert "resize_param or crop_size makes all images of one size" in other
    grey = bad(tmp_path / "e", [record(IMAGES[0])], "force_gray: true distort_param { hue_prob: 1 }")
    assert "distort_param needs 3 channels. Received: 1" in grey
