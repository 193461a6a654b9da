"""The smoothed loss: a mean of all losses, then of the last few."""

from __future__ import annotations

import pytest
import torch

from proto2torch.training.smoothing import SmoothedLoss

LOSSES = [3.0, 5.0, 1.0, 7.0, 2.0, 4.0]


@pytest.mark.parametrize("window, expected", [(1, 4.0), (3, 13 / 3), (4, 3.5), (10, 22 / 6)])
def test_mean_of_the_last_losses(window, expected):
    smoothed = SmoothedLoss(window)
    for loss in LOSSES:
        smoothed.add(torch.tensor(loss))
    assert smoothed.value() == pytest.approx(expected, rel=1e-6)


def test_asking_in_between_changes_nothing():
    smoothed = SmoothedLoss(3)
    values = []
    for loss in LOSSES:
        smoothed.add(torch.tensor(loss))
        values.append(smoothed.value())
    assert values == pytest.approx([3, 4, 3, 13 / 3, 10 / 3, 13 / 3], rel=1e-6)


def test_many_losses_between_two_displays():
    smoothed = SmoothedLoss(10)
    for i in range(1000):
        smoothed.add(torch.tensor(float(i)))
    assert smoothed.value() == pytest.approx(994.5, rel=1e-6)


def test_no_loss_is_zero():
    assert SmoothedLoss(5).value() == 0.0
