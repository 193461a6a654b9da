"""Detections in pixels of the image, for each kind of net, and their pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.errors import DataError, NetError
from proto2torch.predict import images, pictures
from proto2torch.predict.detect import Detected, Detection, detect
from proto2torch.predict.images import Given, ImageNet

SSD = """
name: "SSD"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 20 dim: 20 } } }
layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { kernel_size: 10 stride: 10 } }
layer { name: "priors" type: "PriorBox" bottom: "p" bottom: "data" top: "priors" prior_box_param { min_size: 8 } }
layer { name: "loc" type: "Parameter" top: "loc" parameter_param { shape { dim: 1 dim: 16 } } }
layer { name: "conf" type: "Parameter" top: "conf" parameter_param { shape { dim: 1 dim: 12 } } }
layer { name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "out"
  detection_output_param { num_classes: 3 code_type: CENTER_SIZE confidence_threshold: 0.2 } }
"""
# cells of 10 pixels, so boxes of 8 pixels at 5 and 15 each way; four boxes, three classes
SCORES = [[1, 0, 0], [0.1, 0.9, 0.3], [0.2, 0.1, 0.7], [1, 0, 0.1]]


@pytest.fixture
def ssd(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(SSD)
    net = p2t.load(text=SSD)
    net.load_weights({"loc": [np.zeros((1, 16), np.float32)], "conf": [np.float32(SCORES).reshape(1, 12)]})
    net.save(tmp_path / "net.caffemodel")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    items = "".join(f'item {{ name: "{n}" label: {i} }}' for i, n in enumerate(("none", "cat", "dog")))
    (tmp_path / "map.prototxt").write_text(items)
    return tmp_path


def load(folder: Path, **said: object) -> ImageNet:
    found = images.load(str(folder / "net.prototxt"), given=Given(**said))  # type: ignore[arg-type]
    found.net.load_weights(str(folder / "net.caffemodel"))
    return found


def found(folder: Path, threshold: float = 0.5, **said: object) -> list[tuple[int, float, list[float]]]:
    (one,) = detect(load(folder, **said), [str(folder / "wide.png")], threshold=threshold)
    return [(o.label, round(o.score, 4), [round(v, 3) for v in o.box]) for o in one.objects]


def test_boxes_of_a_resized_image_are_in_its_own_pixels(ssd: Path) -> None:
    assert found(ssd) == [(1, 0.9, [44, 2, 76, 18]), (2, 0.7, [4, 22, 36, 38])]


def test_the_threshold(ssd: Path) -> None:
    assert [label for label, _, _ in found(ssd, 0.8)] == [1]
    assert [(label, score) for label, score, _ in found(ssd, 0.25)] == [(1, 0.9), (2, 0.7), (2, 0.3)]
    assert found(ssd, 0.95) == []


def test_boxes_of_a_middle_crop(ssd: Path) -> None:
    # 40 x 80 is resized to 30 x 40, the middle 20 x 20 of which begins at 5 and 10
    expected = [(1, 0.9, [(10 + 11) * 2, (5 + 1) * 4 / 3, (10 + 19) * 2, (5 + 9) * 4 / 3])]
    assert found(ssd, 0.8, size=(30, 40)) == [(1, 0.9, [pytest.approx(v, abs=1e-3) for v in expected[0][2]])]


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["detect", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_a_line_an_object_and_draws(ssd: Path) -> None:
    files = (ssd / "net.prototxt", ssd / "net.caffemodel", ssd / "wide.png")
    code, out, _ = run(*files, "--labels", ssd / "map.prototxt", "-o", ssd / "out.png")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    image = str(ssd / "wide.png")
    assert lines[0] == {"image": image, "label": 1, "name": "cat", "score": 0.9, "box": [44.0, 2.0, 76.0, 18.0]}
    assert [line["name"] for line in lines] == ["cat", "dog"]
    drawn = np.asarray(Image.open(ssd / "out.png"))
    assert drawn.shape == (40, 80, 3)
    assert (drawn != np.asarray(Image.open(image))).any()


def test_several_images_need_a_folder(ssd: Path) -> None:
    Image.open(ssd / "wide.png").save(ssd / "second.png")
    files = (ssd / "net.prototxt", ssd / "net.caffemodel", ssd / "wide.png", ssd / "second.png")
    code, _, err = run(*files, "-o", ssd / "out.png")
    assert code == 2
    assert "the pictures of several images need a folder that is there" in err
    (ssd / "drawn").mkdir()
    assert run(*files, "-o", ssd / "drawn")[0] == 0
    assert sorted(p.name for p in (ssd / "drawn").iterdir()) == ["second.png", "wide.png"]


def test_what_is_wrong_is_said_before_the_net_is_read(ssd: Path) -> None:
    files = (ssd / "net.prototxt", ssd / "net.caffemodel", ssd / "wide.png")
    assert "expected a picture's ending, .png or .jpg" in run(*files, "-o", ssd / "out.xyz")[2]
    (ssd / "twice.prototxt").write_text('item { name: "a" label: 1 } item { name: "b" label: 1 }')
    code, _, err = run(*files, "--labels", ssd / "twice.prototxt")
    assert code == 2
    assert "two items have the label 1" in err
    (ssd / "cut.png").write_bytes((ssd / "wide.png").read_bytes()[:500])
    code, _, err = run(*files[:2], ssd / "cut.png")
    assert code == 2
    assert "cannot decode the image" in err


def test_a_net_that_detects_nothing_is_refused(tmp_path: Path) -> None:
    text = SSD[: SSD.index('layer { name: "priors"')]
    (tmp_path / "net.prototxt").write_text(text)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    net = images.load(str(tmp_path / "net.prototxt"))
    with pytest.raises(NetError, match="expected a layer of type DetectionOutput"):
        next(detect(net, [str(tmp_path / "a.png")]))


RCNN = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } } }
layer { name: "im_info" type: "Input" top: "im_info" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "s" type: "Silence" bottom: "data" bottom: "im_info" }
layer { name: "rois" type: "Parameter" top: "rois" parameter_param { shape { dim: 3 dim: 5 } } }
layer { name: "cls_prob" type: "Parameter" top: "cls_prob" parameter_param { shape { dim: 3 dim: 3 } } }
layer { name: "bbox_pred" type: "Parameter" top: "bbox_pred" parameter_param { shape { dim: 3 dim: 12 } } }
"""


def test_regions_are_moved_clipped_and_thinned_out(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(RCNN)
    Image.new("RGB", (500, 300)).save(tmp_path / "a.png")  # scaled by 2: the shorter side to 600
    found = images.load(str(tmp_path / "net.prototxt"))
    moves = np.zeros((3, 3, 4), np.float32)
    moves[0, 1] = [0.5, 0, np.log(2), 0]
    regions = np.float32([[0, 100, 200, 300, 400], [0, 102, 200, 302, 400], [0, 800, 400, 998, 598]])
    scores = np.float32([[0.1, 0.9, 0], [0.2, 0.1, 0.7], [0.3, 0.05, 0.6]])
    found.net.load_weights({"rois": [regions], "cls_prob": [scores], "bbox_pred": [moves.reshape(3, 12)]})
    (one,) = detect(found, [str(tmp_path / "a.png")], threshold=0.05)
    objects = {(o.label, round(o.score, 2)): o.box for o in one.objects}
    # region 0 in the image: 50, 100, 150, 200, which is 101 wide, its centre at 100.5
    assert objects[1, 0.9] == pytest.approx((151 - 101, 100, 151 + 101, 201), abs=1e-3)
    assert objects[2, 0.7] == pytest.approx((51, 100, 152, 201), abs=1e-3)
    assert objects[2, 0.6] == pytest.approx((400, 200, 499, 299), abs=1.001)
    assert sorted(objects) == [(1, 0.05), (1, 0.9), (2, 0.6), (2, 0.7)]  # (1, 0.1) is half of the moved (1, 0.9)


def test_the_longer_side_has_a_limit_too(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(RCNN)
    Image.new("RGB", (400, 100)).save(tmp_path / "a.png")  # scaled by 2.5
    found = images.load(str(tmp_path / "net.prototxt"))
    regions = np.float32([[0, 100, 50, 199, 149]] * 3)
    scores = np.float32([[0, 0.9, 0]] * 3)
    found.net.load_weights({"rois": [regions], "cls_prob": [scores], "bbox_pred": [np.zeros((3, 12), np.float32)]})
    (one,) = detect(found, [str(tmp_path / "a.png")])
    (only,) = one.objects
    assert only.box == pytest.approx((40, 20, 40 + 39.6 + 1, 20 + 39.6 + 1), abs=1e-3)


def test_pictures_keep_their_place_at_the_edges() -> None:
    pixels = np.full((3, 60, 60), 200, np.uint8)
    objects = [
        Detection(300, None, 1.0, (-50, -50, 500, 500)),
        Detection(1, "a name that is long", 0.5, (50, 50, 20, 20)),
    ]
    picture = pictures.boxes(Detected("x", pixels, objects))
    assert picture.size == (60, 60)


def test_the_palette_is_vocs() -> None:
    colours = pictures.palette()
    assert colours[[0, 1, 8, 15, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [64, 0, 0],
        [192, 128, 128],
        [224, 224, 192],
    ]


def test_names_do_not_collide_in_a_folder(tmp_path: Path) -> None:
    places = pictures.places(str(tmp_path), ["a/x.png", "b/x.jpg"])
    assert [Path(p).name for p in places.values()] == ["x.png", "x_1.png"]
    with pytest.raises(DataError, match="no such folder"):
        pictures.places(f"{tmp_path}/gone/", ["a.png"])


def test_torch_grad_is_off(ssd: Path) -> None:
    list(detect(load(ssd), [str(ssd / "wide.png")]))
    assert torch.is_grad_enabled()
