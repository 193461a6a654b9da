"""Between displays a training waits for nothing of the device: shown on the meta device, which has no numbers to give.

Whatever asks a tensor there for a value, or copies one to the host, raises; the operations are looked at besides.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import proto2torch as p2t
from proto2torch.data import datum
from proto2torch.data.new_database import new_database
from proto2torch.net import blobs
from proto2torch.solvers.rules import RULES

ASKING = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "masked_select", "_unique2")
LENET = (Path(__file__).parents[2] / "examples/digits/lenet_train_test.prototxt").read_text()
LENET = LENET.replace("examples/digits/digits_train_lmdb", "db")
DATA = """
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { crop_size: 12 mirror: true mean_value: 7 scale: 0.1 }
  data_param { source: "db" batch_size: 4 backend: LMDB } }
"""
DEEP = f"""{DATA}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{ num_output: 4 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }}
layer {{ name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param {{ bias_term: true }} }}
layer {{ name: "relu" type: "ReLU" bottom: "bn" top: "bn" }}
layer {{ name: "norm" type: "LRN" bottom: "bn" top: "norm" }}
layer {{ name: "drop" type: "Dropout" bottom: "norm" top: "drop" }}
layer {{ name: "ip" type: "InnerProduct" bottom: "drop" top: "ip" inner_product_param {{ num_output: 10 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""


class Asked(TorchDispatchMode):
    """Operations that wait for a device: those that give a value, and those that bring a tensor to the host."""

    def __init__(self):
        super().__init__()
        self.names, self.seen = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        found = func(*args, **(kwargs or {}))
        given, made = (
            [t for t in tree_leaves(part) if isinstance(t, torch.Tensor)] for part in ((args, kwargs), found)
        )
        self.seen += any(t.device.type == "meta" for t in given)
        there = any(t.device.type == "meta" for t in given) and any(t.device.type == "cpu" for t in made)
        if (name in ASKING and any(t.device.type == "meta" for t in given)) or there:
            self.names.append(name)
        return found


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Makes a solver on the meta device over a database of ten images, past its first iteration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(blobs, "_materialize", lambda module, device: None)  # which takes meta for what lacks memory
    images = np.random.default_rng(0).integers(0, 256, (10, 1, 28, 28), np.uint8)
    with new_database("db") as database:
        for number, image in enumerate(images):
            database.put(b"%08d" % number, datum.write(image, number))
    made = []

    def make(net, text=""):
        (tmp_path / "net.prototxt").write_text(net)
        head = 'net: "net.prototxt" base_lr: 0.01 max_iter: 99 display: 10 snapshot_after_train: false '
        (tmp_path / "solver.prototxt").write_text(f'{head} lr_policy: "inv" gamma: 0.1 power: 0.75 {text}')
        solver = p2t.Solver("solver.prototxt", device="meta", log=lambda line: None)
        solver._update.rule.rates_on_device()
        solver.iter = 1
        made.append(solver)
        return solver

    yield make
    for solver in made:
        solver.close()


@pytest.mark.parametrize("net", [LENET, DEEP], ids=["LeNet", "with Accuracy"])
@pytest.mark.parametrize("text", ["", "clip_gradients: 1 iter_size: 2 average_loss: 3 weight_decay: 0.1"])
def test_a_step_asks_the_device_for_nothing(net, text, train):
    solver = train(net, f'type: "SGD" momentum: 0.9 {text}')
    with Asked() as asked:
        solver.step(9)
    assert asked.names == []
    assert asked.seen > 9 * 20
    assert all(blob.tensor.grad is not None for blob in solver.net.learned if blob.requires_grad)
    assert solver.outputs["loss"].device.type == "meta"


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_asks_for_anything(rule, train):
    solver = train(DEEP, f'type: "{rule}"')
    with Asked() as asked:
        solver.step(9)
    assert asked.names == []


def test_a_display_asks(train):
    """So what is counted would be seen."""
    solver = train(DEEP)
    with Asked(), pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        solver.step(10)
    assert solver.iter == 10
