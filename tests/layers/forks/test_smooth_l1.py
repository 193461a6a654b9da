"""caffe-windows' SmoothL1Loss: its value and its gradient, on both sides of the turn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch.errors import NetError

TEXT = """
layer {{ name: "in" type: "Input" top: "a" top: "b" input_param {{ shape {{ dim: 2 dim: 3 }} }} }}
layer {{ name: "loss" type: "SmoothL1Loss" bottom: "a" bottom: "b" top: "loss" smoothl1_param {{ turn_point: {turn} }} }}
"""


@pytest.mark.parametrize("turn", [0.5, 1, 2])
def test_the_formula(turn: float) -> None:
    d = np.float32([[0.1, -0.4, 0.6], [-1.5, 1.0, 3.0]])
    a, b = torch.from_numpy(d).requires_grad_(), torch.zeros(2, 3)
    net = p2t.load(text=TEXT.format(turn=turn), phase="TRAIN")
    loss = net(a=a, b=b)["loss"]
    near = np.abs(d) < turn
    expected = np.where(near, d**2 / 2, np.abs(d) - turn + turn**2 / 2).sum() / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert a.grad is not None
    assert np.allclose(a.grad, np.where(near, d, np.sign(d)) / 2)


def test_a_turn_that_is_none() -> None:
    with pytest.raises(NetError, match=r"turn_point must be positive\. Received: 0"):
        p2t.load(text=TEXT.format(turn=0), phase="TRAIN")
