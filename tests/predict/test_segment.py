"""Labels of pixels: at the image's own size, from scores or from labels, and their pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.errors import NetError
from proto2torch.predict import images
from proto2torch.predict.segment import segment

BRIGHT = """
name: "Bright"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 3 kernel_size: 1 } }
"""
# scores 0, B - 100 and R - 150: label 0 where it is dark, 1 where it is blue, 2 where it is red


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(BRIGHT)
    net = p2t.load(text=BRIGHT)
    weight = np.zeros((3, 3, 1, 1), np.float32)
    weight[1, 0] = weight[2, 2] = 1
    net.load_weights({"score": [weight, np.float32([0, -100, -150])]})
    net.save(tmp_path / "net.caffemodel")
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :4, 2] = 200
    pixels[4:, 12:, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path


def labels() -> np.ndarray:
    expected = np.zeros((8, 16), np.int64)
    expected[:, :4] = 1
    expected[4:, 12:] = 2
    return expected


def load(folder: Path, text: str = "") -> images.ImageNet:
    path = folder / "net.prototxt"
    path.write_text(BRIGHT + text)
    found = images.load(str(path))
    found.net.load_weights(str(folder / "net.caffemodel"))
    return found


@pytest.mark.parametrize("own_size", [False, True])
def test_scores_become_labels_of_the_images_own_pixels(folder: Path, own_size: bool) -> None:
    (one,) = segment(load(folder), [str(folder / "a.png")], own_size=own_size)
    assert np.array_equal(one.labels, labels())
    assert one.shares() == {0: 5 / 8, 1: 1 / 4, 2: 1 / 8}


def test_labels_are_taken_as_they_are(folder: Path) -> None:
    found = load(folder, 'layer { name: "a" type: "ArgMax" bottom: "score" top: "a" argmax_param { axis: 1 } }')
    (one,) = segment(found, [str(folder / "a.png")], blob="a")
    assert np.array_equal(one.labels, labels())


def test_a_smaller_output_covers_what_the_net_saw(folder: Path) -> None:
    pool = 'layer { name: "p" type: "Pooling" bottom: "score" top: "p" pooling_param { pool: AVE kernel_size: 4 stride: 4 } }'
    found = load(folder, pool)
    (one,) = segment(found, [str(folder / "a.png")], blob="p")
    assert one.labels.shape == (8, 16)
    (own,) = segment(found, [str(folder / "a.png")], blob="p", own_size=True)
    assert np.array_equal(own.labels, labels())


def test_beside_a_middle_crop_the_edge_goes_on(folder: Path) -> None:
    found = load(folder)
    found = images.ImageNet(found.net, found.input, found.prepare.with_(size=(8, 16)))
    (one,) = segment(found, [str(folder / "a.png")])
    assert np.array_equal(one.labels[2:6, 6:10], labels()[2:6, 6:10])
    assert (one.labels == 0).all()


def test_a_net_without_planes_is_refused(folder: Path) -> None:
    found = load(
        folder,
        'layer { name: "p" type: "InnerProduct" bottom: "score" top: "p" inner_product_param { num_output: 2 } }',
    )
    with pytest.raises(NetError, match=r"expected one output of \(N, channels, height, width\)"):
        next(segment(found, [str(folder / "a.png")]))


def test_the_command(folder: Path) -> None:
    (folder / "names.txt").write_text("dark\nblue\nred\n")
    files = [str(folder / name) for name in ("net.prototxt", "net.caffemodel", "a.png")]
    outputs = ["-o", str(folder / "map.png"), "--picture", str(folder / "over.png")]
    result = CliRunner().invoke(main, ["segment", *files, "--labels", str(folder / "names.txt"), *outputs])
    assert result.exit_code == 0
    expected = {"image": files[2], "size": [8, 16], "labels": {"dark": 0.625, "blue": 0.25, "red": 0.125}}
    assert json.loads(result.stdout) == expected
    written = Image.open(folder / "map.png")
    assert written.mode == "P"
    assert np.array_equal(np.asarray(written), labels())
    assert written.convert("RGB").getpixel((0, 0)) == (128, 0, 0)
    over = np.asarray(Image.open(folder / "over.png"))
    assert over[0, 0].tolist() == [64, 0, 100]
    assert over[0, 8].tolist() == [0, 0, 0]
