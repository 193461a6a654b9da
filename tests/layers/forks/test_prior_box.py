"""PriorBox: the boxes at each cell, their order, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch.errors import NetError
from proto2torch.net import Net


def load(fields: str, grid: tuple[int, int] = (2, 3), image: tuple[int, int] = (20, 30)) -> Net:
    text = "".join(
        f'layer {{ name: "b{i}" type: "Input" top: "b{i}" '
        f"input_param {{ shape {{ dim: 1 dim: 1 dim: {h} dim: {w} }} }} }}\n"
        for i, (h, w) in enumerate((grid, image))
    )
    bottoms = 'bottom: "b0" bottom: "b1"'
    return p2t.load(
        text=text + f'layer {{ name: "p" type: "PriorBox" {bottoms} top: "p" prior_box_param {{ {fields} }} }}'
    )


def boxes(net: Net, grid: tuple[int, int] = (2, 3), image: tuple[int, int] = (20, 30)) -> np.ndarray:
    """The boxes (rows, columns, B, 4) in pixels of the image."""
    out = net(torch.zeros(1, 1, *grid), torch.zeros(1, 1, *image))["p"]
    sides = np.float32([image[1], image[0]] * 2)
    return np.asarray(out[0, 0]).reshape(*grid, -1, 4) * sides


def test_the_order_at_a_cell() -> None:
    cell = boxes(load("min_size: 4 max_size: 9 aspect_ratio: 4"))[0, 0]
    half = np.array([[2, 2], [3, 3], [4, 1], [1, 4]])
    assert np.allclose(cell, np.concatenate([5 - half, 5 + half], 1), atol=1e-5)


def test_ratios_are_told_once_and_1_is_there_already() -> None:
    net = load("min_size: 4 aspect_ratio: 4 aspect_ratio: 1 aspect_ratio: 0.25 flip: true")
    assert boxes(net).shape == (2, 3, 3, 4)
    assert boxes(load("min_size: 4 aspect_ratio: 4 flip: false")).shape == (2, 3, 2, 4)


def test_sizes_are_cut_to_whole_numbers() -> None:
    assert np.allclose(boxes(load("min_size: 4.9"))[1, 2, 0], [23, 13, 27, 17], atol=1e-5)


def test_step_and_offset() -> None:
    net = load("min_size: 2 step_h: 8 step_w: 6 offset: 0.25")
    assert np.allclose(boxes(net)[1, 2, 0], [2.25 * 6 - 1, 1.25 * 8 - 1, 2.25 * 6 + 1, 1.25 * 8 + 1], atol=1e-5)


def test_the_size_of_an_image_that_is_given() -> None:
    out = load("min_size: 10 img_h: 40 img_w: 90")(torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 20, 30))["p"]
    assert np.allclose(np.asarray(out[0, 0, :4]), [10 / 90, 5 / 40, 20 / 90, 15 / 40])


def test_clip_leaves_the_variances_alone() -> None:
    out = load("min_size: 90 clip: true variance: 3")(torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 20, 30))["p"]
    assert set(out[0, 0].tolist()) == {0.0, 1.0}
    assert set(out[0, 1].tolist()) == {3.0}


def test_variances() -> None:
    def second(fields: str) -> list[float]:
        out = load(f"min_size: 4 {fields}")(torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 20, 30))["p"]
        return [round(v, 6) for v in out[0, 1, :4].tolist()]

    assert second("") == [0.1] * 4
    assert second("variance: 0.1 variance: 0.2 variance: 0.3 variance: 0.4") == [0.1, 0.2, 0.3, 0.4]


def test_another_grid_and_another_image() -> None:
    net = load("min_size: 4")
    assert np.allclose(boxes(net, (1, 1), (8, 8))[0, 0, 0], [2, 2, 6, 6], atol=1e-5)
    assert np.allclose(boxes(net)[0, 0, 0], [3, 3, 7, 7], atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("", "needs min_size"),
        ("min_size: -1", "min_size must be positive. Received: -1"),
        ("min_size: 0.5", "min_size is cut to a whole number, which must not be 0"),
        ("min_size: 4 max_size: 4", "max_size must be larger than min_size 4. Received: 4"),
        ("min_size: 4 min_size: 5 max_size: 9", "needs a max_size for each of 2 min_size. Received: 1"),
        ("min_size: 4 variance: 1 variance: 2", "needs one variance, or four. Received: 2"),
        ("min_size: 4 step: 0", "step must be positive. Received: 0"),
        ("min_size: 4 step: 4 step_h: 4 step_w: 4", "takes step, or step_h and step_w. Received: both"),
        ("min_size: 4 img_h: 4", "takes img_h and img_w together. Received: img_h alone"),
        ("min_size: 4 aspect_ratio: 0", "aspect_ratio must be positive. Received: 0"),
    ],
)
def test_fields_that_are_refused(fields: str, message: str) -> None:
    with pytest.raises(NetError) as raised:
        load(fields)
    assert message in str(raised.value)
