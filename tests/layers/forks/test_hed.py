"""HED's loss, which the fork's name alone tells from Caffe's."""

from __future__ import annotations

import numpy as np
import torch

import proto2torch as p2t

NET = """
layer { name: "x" type: "Input" top: "x" top: "y" input_param { shape { dim: 2 dim: 1 dim: 2 dim: 3 } } }
layer { name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "x" bottom: "y" top: "loss" }
"""


def test_both_sides_weigh_as_much_as_the_other_has_pixels() -> None:
    g = np.random.default_rng(0)
    x = g.normal(size=(2, 1, 2, 3))
    y = np.array([[[[1, 0, 0], [0, 0, 2]]], [[[1, 1, 0], [1, 0, 1]]]], float)
    expected = 0.0
    for scores, targets in zip(x.reshape(2, 6), y.reshape(2, 6), strict=True):
        p = 1 / (1 + np.exp(-scores))
        edges, rest = (targets == 1).sum(), (targets == 0).sum()
        expected -= rest / (edges + rest) * np.log(p[targets == 1]).sum() / 2
        expected -= edges / (edges + rest) * np.log(1 - p[targets == 0]).sum() / 2
    loss = p2t.load(text=NET, fork="hed")(x=x, y=y)["loss"]
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-6)
    plain = p2t.load(text=NET)(x=x, y=np.minimum(y, 1))["loss"]
    assert abs(float(plain) - expected) > 0.5


def test_an_image_without_edges_costs_nothing() -> None:
    loss = p2t.load(text=NET, fork="hed")(x=torch.ones(2, 1, 2, 3), y=torch.zeros(2, 1, 2, 3))["loss"]
    assert loss.item() == 0
