"""Drawn inputs: always the same, and what each layer takes."""

from __future__ import annotations

import pytest
import torch

import proto2torch as p2t
from proto2torch.exporting.inputs import draw_inputs, draw_weights

from .nets import SMALL

DATA = 'layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 4 dim: 6 } shape { dim: 4 } } }\n'


def of(text: str, batch: int | None = 2) -> dict[str, torch.Tensor]:
    net = p2t.load(text=text)
    return draw_inputs(net.graph, net.inputs, batch)


def test_data_is_uniform_and_the_batch_is_small() -> None:
    drawn = of(SMALL)["data"]
    assert drawn.shape == (2, 3, 8, 8)
    assert 0 <= drawn.min() < 0.05 and 0.95 < drawn.max() < 1
    assert torch.equal(drawn, of(SMALL)["data"])


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ('type: "SoftmaxWithLoss" bottom: "x" bottom: "y"', [0, 1, 0, 1]),
        ('type: "BatchReindex" bottom: "x" bottom: "y"', [0, 1, 0, 1]),
        ('type: "Filter" bottom: "x" bottom: "y"', [1, 1, 1, 1]),
    ],
)
def test_labels_and_indices_are_whole_numbers_in_range(layer: str, expected: list[int]) -> None:
    assert of(f'{DATA} layer {{ name: "l" {layer} top: "t" }}', None)["y"].tolist() == expected


def test_a_label_that_several_layers_read_is_one_too() -> None:
    both = "".join(
        f'layer {{ name: "{k}" type: "{k}" bottom: "x" bottom: "y" top: "{k}" }}'
        for k in ("Accuracy", "SoftmaxWithLoss")
    )
    assert of(DATA + both)["y"].tolist() == [0, 1]


def test_statistics_stay_positive_and_weights_small() -> None:
    net = p2t.load(text=SMALL)
    draw_weights(net.learned)
    weight, statistics = net.params["conv"][0].data, net.params["bn"]
    assert weight.abs().max() <= (3 / 27) ** 0.5 and weight.std() > 0.1
    assert all(blob.data.min() >= 0.5 and blob.data.max() <= 1.5 for blob in statistics)
