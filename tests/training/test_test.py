"""Means over batches, of any net that gives outputs."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from proto2torch.training import test


class Counting:
    """Gives 1, 2, 3 … as its output, and twice that as its loss."""

    graph = SimpleNamespace(nodes=())

    def __init__(self):
        self.loss_weights = {"out": 2.0, "hidden": 1.0}
        self.batch = 0
        self.loss = torch.zeros(())

    def __call__(self):
        self.batch += 1
        self.loss = torch.tensor(2.0 * self.batch)
        return {"out": torch.tensor([1.0, 10.0]) * self.batch}


def test_every_element_is_averaged():
    means = test.run(Counting(), 4)
    assert means.outputs["out"].tolist() == [2.5, 25.0]
    assert means.loss.item() == 5.0
    assert means.weights == {"out": 2.0}


def test_each_batch_is_told():
    told = []
    test.run(Counting(), 3, each=lambda i, outputs: told.append((i, outputs["out"][0].item())))
    assert told == [(0, 1.0), (1, 2.0), (2, 3.0)]


def test_a_test_can_be_ended():
    net = Counting()
    assert test.run(net, 5, go_on=lambda: net.batch < 2) is None
    assert net.batch == 2


def test_no_batches_give_no_outputs():
    means = test.run(Counting(), 0)
    assert means.outputs == {} and means.weights == {} and means.loss.isnan()
