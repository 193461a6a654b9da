"""`view filters` and `view activations`: what is drawn, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.prototxt.read import read_net
from proto2torch.view import activations, filters
from proto2torch.view.grids import normalized, square

NET = """
name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 10 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 5 kernel_size: 2 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv2" top: "ip"
  inner_product_param { num_output: 6 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "top" type: "InnerProduct" bottom: "ip" top: "top"
  inner_product_param { num_output: 7 weight_filler { type: "gaussian" std: 1 } } }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    net = p2t.load(text=NET)
    net.save(str(tmp_path / "w.caffemodel"))
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def view(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["view", *arguments])


def shrunk(picture: Any) -> Any:
    """A panel's picture with each of its squares as one pixel."""
    height, width = picture.shape[:2]
    factor = np.gcd(height, width)
    return next(
        picture[::f, ::f]
        for f in range(int(factor), 0, -1)
        if factor % f == 0 and (picture == picture[::f, ::f].repeat(f, 0).repeat(f, 1)).all()
    )


def test_the_first_convolution_is_in_colour_red_first(folder: Path) -> None:
    weights = p2t.read_weights("w.caffemodel")
    (panel,) = filters.panels(read_net("net.prototxt"), weights)
    assert panel.title == "conv1  4 x 3 x 3 x 3"
    expected = square(normalized(weights["conv1"][0]).transpose(0, 2, 3, 1)[..., ::-1])
    np.testing.assert_array_equal(shrunk(panel.picture), expected)
    (rgb,) = filters.panels(read_net("net.prototxt"), weights, rgb=True)
    np.testing.assert_array_equal(rgb.picture, panel.picture[..., ::-1])


def test_other_layers_have_a_row_for_each_filter(folder: Path) -> None:
    weights = p2t.read_weights("w.caffemodel")
    conv2, ip, top = filters.panels(read_net("net.prototxt"), weights, ["conv2", "ip", "top"], count=3)
    assert conv2.title == "conv2  5 x 4 x 2 x 2  (the first 3 by 3), a row a filter"
    part = normalized(weights["conv2"][0][:3, :3])
    cells = shrunk(conv2.picture)
    assert cells.shape == (8, 8)
    np.testing.assert_array_equal(cells[3:5, 6:8], part[1, 2])
    assert ip.title == "ip  6 x 5 x 9 x 7  (the first 3 by 3), a row a filter"
    covering = weights["ip"][0].reshape(6, 5, 9, 7)
    np.testing.assert_array_equal(shrunk(ip.picture)[10:19, 8:15], normalized(covering[:3, :3])[1, 1])
    assert top.title == "top  7 x 6"
    np.testing.assert_array_equal(shrunk(top.picture), normalized(weights["top"][0]))


def test_old_blobs_of_four_axes_are_matrices(folder: Path) -> None:
    matrix = np.arange(42.0).reshape(1, 1, 7, 6)
    (panel,) = filters.panels(read_net("net.prototxt"), {"top": [matrix]}, ["top"])
    np.testing.assert_array_equal(shrunk(panel.picture), normalized(matrix[0, 0]))


def test_a_net_without_its_data_shows_its_filters(folder: Path) -> None:
    """No database says how large its images are."""
    (folder / "train.prototxt").write_text(
        NET.replace(
            'type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 10 } }',
            'type: "Data" top: "data" top: "label" data_param { source: "no" batch_size: 2 }',
        )
    )
    done = view("filters", "train.prototxt", "w.caffemodel", "-o", "f.png")
    assert done.exit_code == 0, done.stderr
    with Image.open("f.png") as picture:
        assert picture.size[0] > 80


def test_activations_are_the_nets(folder: Path) -> None:
    done = view("activations", "net.prototxt", "w.caffemodel", "x.png", "-o", "a.png", "--blobs", "conv1,ip")
    assert done.exit_code == 0, done.stderr
    assert "a.png: data  3 x 12 x 10; conv1  4 x 10 x 8; ip  6  from" in done.stderr
    from proto2torch.predict import images

    found = images.load("net.prototxt")
    found.net.load_weights("w.caffemodel")
    pixels = np.asarray(Image.open("x.png"))
    image, conv1, _ = activations.panels(found, "x.png", ["conv1", "ip"])
    np.testing.assert_array_equal(shrunk(image.picture), normalized(pixels))
    blue_first = torch.from_numpy(pixels[..., ::-1].transpose(2, 0, 1).astype(np.float32).copy())[None]
    expected = found.net.features("conv1", data=blue_first)["conv1"][0].detach().numpy()
    assert (expected >= 0).all()
    np.testing.assert_array_equal(shrunk(conv1.picture), square(normalized(expected)))


def test_some_blobs_are_chosen_where_none_are_asked_for(folder: Path) -> None:
    assert activations.chosen(p2t.load(text=NET)) == ["conv1", "conv2", "top"]


def test_only_some_planes_are_shown(folder: Path) -> None:
    done = view(
        "activations", "net.prototxt", "w.caffemodel", "x.png", "-o", "a.png", "--blobs", "conv2", "--count", "2"
    )
    assert "conv2  5 x 9 x 7  (the first 2)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("filters", "net.prototxt", "w.caffemodel", "-o", "f.gnp"), "a picture ends in .png"),
        (("filters", "net.prototxt", "w.caffemodel", "-o", "f"), "Received: none"),
        (("filters", "net.prototxt", "w.caffemodel", "-o", "f.png", "--layers", "conv3"), "did you mean 'conv2'?"),
        (("filters", "net.prototxt", "w.caffemodel", "-o", "f.png", "--layers", "relu1"), "it has no filters"),
        (("filters", "net.prototxt", "no.caffemodel", "-o", "f.png"), "no.caffemodel: cannot read it"),
        (("filters", "net.prototxt", "w.caffemodel", "-o", "no_folder/f.png"), "no_folder/f.png: cannot write it"),
        (("activations", "net.prototxt", "w.caffemodel", "no.png", "-o", "f.png"), "no.png"),
        (("activations", "net.prototxt", "w.caffemodel", "x.png", "-o", "f.png", "--blobs", "conv9"), "conv9"),
        (("activations", "net.prototxt", "w.caffemodel", "x.png", "-o", "f.exe"), "Received: .exe"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    done = view(*arguments)
    assert done.exit_code == 2, done.stderr
    assert message in done.stderr
    assert sorted(os.listdir()) == ["net.prototxt", "w.caffemodel", "x.png"]


def test_weights_of_another_net_are_refused(folder: Path) -> None:
    (folder / "other.prototxt").write_text(NET.replace('"conv1"', '"first"'))
    done = view("filters", "other.prototxt", "w.caffemodel", "-o", "f.png")
    assert done.exit_code == 2
    assert "layer 'first' (Convolution), other.prototxt:4:1: the file has no weights for it" in done.stderr
    assert "it has them for conv1, conv2, ip, top" in done.stderr


def test_a_net_without_filters_is_refused(folder: Path) -> None:
    (folder / "none.prototxt").write_text(NET.split('layer { name: "conv1"')[0])
    done = view("filters", "none.prototxt", "w.caffemodel", "-o", "f.png")
    assert done.exit_code == 2
    assert "the net has no layer with filters" in done.stderr
