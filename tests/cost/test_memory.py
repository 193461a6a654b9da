"""The estimate of a training's memory, beside what torch really keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import proto2torch as p2t
from proto2torch.cost import Memory, estimate
from proto2torch.cost.reading import graph
from proto2torch.prototxt.read import read_net

MNIST = Path(__file__).resolve().parents[2] / "examples/mnist/lenet_train_test.prototxt"

INPUT = """
layer { name: "in" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 4 dim: 3 dim: 32 dim: 32 } shape { dim: 4 } } }
"""


def conv(name: str, bottom: str, more: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {more}'
        " convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: 'xavier' } } }\n"
    )


def layer(kind: str, bottom: str, top: str, more: str = "") -> str:
    bottoms = " ".join(f'bottom: "{b}"' for b in bottom.split())
    return f'layer {{ name: "{kind} {top}" type: "{kind}" {bottoms} top: "{top}" {more} }}\n'


CLASSIFIER = layer("InnerProduct", "last", "ip", "inner_product_param { num_output: 10 }") + layer(
    "SoftmaxWithLoss", "ip label", "loss"
)
PLAIN = (
    INPUT
    + conv("c1", "data")
    + layer("ReLU", "c1", "c1")
    + layer("LRN", "c1", "n1")
    + layer("Pooling", "n1", "p1", "pooling_param { kernel_size: 3 stride: 2 }")
    + conv("c2", "p1")
    + layer("Sigmoid", "c2", "s2")
    + layer("Pooling", "s2", "last", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }")
    + CLASSIFIER
)
RESIDUAL = (
    INPUT
    + conv("c1", "data")
    + layer("BatchNorm", "c1", "c1")
    + layer("Scale", "c1", "c1", "scale_param { bias_term: true }")
    + layer("ReLU", "c1", "c1")
    + conv("c2", "c1")
    + layer("BatchNorm", "c2", "c2")
    + layer("Scale", "c2", "c2", "scale_param { bias_term: true }")
    + layer("Eltwise", "c1 c2", "sum")
    + layer("ReLU", "sum", "sum")
    + layer("Concat", "sum c2", "last")
    + CLASSIFIER
)


def kept_by_torch(text: str) -> int:
    """The bytes of a batch and of what autograd holds on to after its forward, beside parameters, each memory once."""
    net = p2t.load(text=text, phase="TRAIN")
    inputs = {name: torch.rand(shape) if len(shape) > 1 else torch.zeros(shape) for name, shape in net.inputs.items()}
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    held = {tensor.untyped_storage().data_ptr(): tensor for tensor in inputs.values()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net(**inputs)
    return sum(t.untyped_storage().nbytes() for pointer, t in held.items() if pointer not in own)


@pytest.mark.parametrize("text", [PLAIN, RESIDUAL], ids=["plain", "residual"])
def test_what_is_kept_for_backward_is_what_torch_keeps(text: str) -> None:
    estimated = estimate(graph(read_net(text=text), "TRAIN")).activations
    assert estimated == pytest.approx(kept_by_torch(text), rel=0.02)


def test_lenet_by_hand() -> None:
    """431,080 parameters; of an item autograd keeps the image, both pools with their indices and what they read, and
    behind them the ReLU's 500 values, ten log-probabilities, and the label."""
    net = graph(read_net(str(MNIST)), "TRAIN", shapes={"data": (64, 1, 28, 28)})
    memory = estimate(net)
    assert (memory.parameters, memory.gradients, memory.history) == (4 * 431_080,) * 3
    pooled = 20 * 12 * 12 + 50 * 4 * 4
    kept = 28 * 28 + 20 * 24 * 24 + 50 * 8 * 8 + pooled + 2 * pooled + 500 + 10 + 1
    assert memory.activations == 4 * 64 * kept
    assert memory.passing == 4 * 64 * (20 * 24 * 24 + 20 * 12 * 12)  # the gradients around the first pool
    assert memory.total == 3 * 4 * 431_080 + 4 * 64 * (kept + 20 * 24 * 24 + 20 * 12 * 12)


def test_history_of_each_rule_is_what_its_optimizer_has() -> None:
    from proto2torch.cost.memory import HISTORY
    from proto2torch.solvers.rules import RULES

    assert {name: len(rule.slots) for name, rule in RULES.items()} == HISTORY


def test_frozen_blobs_have_no_gradient_and_keep_nothing() -> None:
    frozen = PLAIN.replace('top: "c1"  convolution', 'top: "c1" param { lr_mult: 0 } param { lr_mult: 0 } convolution')
    assert frozen != PLAIN
    whole, less = (estimate(graph(read_net(text=text), "TRAIN")) for text in (PLAIN, frozen))
    assert whole.gradients - less.gradients == 4 * (16 * 27 + 16)
    assert whole.parameters == less.parameters
    assert less.activations == pytest.approx(kept_by_torch(frozen), rel=0.02)
    assert less.activations < whole.activations


def test_batch_and_iter_size_that_fit() -> None:
    memory = Memory(parameters=100, gradients=100, history=100, activations=6400, passing=1600, batch=256)
    assert memory.at(256) == 8300
    assert memory.fitting(8300) == (256, 1)
    assert memory.fitting(8299) == (128, 2)
    assert memory.fitting(2500) == (64, 4)
    assert memory.fitting(2500, iter_size=2) == (64, 8)
    assert memory.fitting(331) is None
    assert memory.fitting(332) == (1, 256)


def test_a_net_without_one_batch_size() -> None:
    memory = Memory(1, 1, 1, 1, 1, None)
    assert memory.fitting(10**9) is None
    with pytest.raises(ValueError, match="no common batch size"):
        memory.at(4)


def test_rules_are_caffes() -> None:
    with pytest.raises(ValueError, match=r"Received: 'Lion'"):
        estimate(graph(read_net(text=PLAIN), "TRAIN"), "Lion")
