"""What later in-place layers do to the gradients of earlier ones, as Caffe computes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import proto2torch as p2t

HEAD = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 6 } } }\n'
X = torch.tensor([[-2.0, -1.0, -0.5, 0.5, 1.0, 2.0]] * 2)


def layer(kind: str, bottom: str, top: str, more: str = "") -> str:
    return f'layer {{ name: "{kind}" type: "{kind}" bottom: "{bottom}" top: "{top}" {more} }}\n'


SCALE = layer(
    "Scale", "y", "y", "loss_weight: 1 scale_param { axis: 1 filler { type: 'constant' value: -3 } bias_term: true }"
)


def gradient(text: str) -> np.ndarray:
    net = p2t.load(text="force_backward: true\n" + HEAD + text, phase="TRAIN")
    x = X.clone().requires_grad_()
    net(x)
    net.loss.backward()
    assert x.grad is not None
    return x.grad[0].numpy()


def test_relu_takes_the_sign_of_what_scale_left() -> None:
    relu = np.maximum(X[0].numpy(), 0)
    final = -3 * relu
    expected = np.where(final > 0, 1, 0.25) * -3
    np.testing.assert_allclose(gradient(layer("ReLU", "x", "y") + SCALE), np.where(X[0].numpy() > 0, -3, 0))
    inplace = 'layer { name: "s" type: "Power" bottom: "x" top: "y" }\n'
    leaky = layer("ReLU", "y", "y", "relu_param { negative_slope: 0.25 }")
    final = -3 * np.where(X[0].numpy() > 0, X[0].numpy(), 0.25 * X[0].numpy())
    expected = np.where(final > 0, 1, 0.25) * -3
    np.testing.assert_allclose(gradient(inplace + leaky + SCALE), expected)


def test_sigmoid_takes_the_slope_at_what_scale_left() -> None:
    y = 1 / (1 + np.exp(-X[0].numpy()))
    final = -3 * y
    np.testing.assert_allclose(gradient(layer("Sigmoid", "x", "y") + SCALE), -3 * final * (1 - final), rtol=1e-5)


def test_relu_behind_which_dropout_works_in_place_is_plain() -> None:
    text = HEAD + layer("ReLU", "x", "y", "loss_weight: 0") + layer("Dropout", "y", "y", "loss_weight: 1")
    source = p2t.load(text="force_backward: true\n" + text, phase="TRAIN").source
    assert "F.dropout(F.relu(x), 0.5, self.training)" in source


def test_what_cannot_be_reproduced_is_refused() -> None:
    text = "force_backward: true\n" + HEAD + layer("Exp", "x", "y") + SCALE
    with pytest.raises(p2t.Proto2TorchError, match=r"'Exp'.*works in place on 'y'"):
        p2t.load(text=text, phase="TRAIN")


FLAT = layer("Flatten", "y", "z")
BEHIND = "scale_param { axis: 1 filler { type: 'constant' value: -3 } }"


def refused(text: str, phase: str, reader: str) -> None:
    with pytest.raises(p2t.Proto2TorchError) as caught:
        p2t.load(text="force_backward: true\n" + HEAD + text, phase=phase)
    assert "works in place on 'z', which in Caffe is the memory of 'y'" in str(caught.value)
    assert f"layer '{reader}' would read there" in str(caught.value)


@pytest.mark.parametrize(
    "between",
    [
        FLAT,
        layer("Reshape", "y", "z", "reshape_param { shape { dim: 0 dim: -1 } }"),
        layer("Concat", "y", "z"),
        layer("Slice", "y", "z"),
    ],
)
def test_what_shares_its_bottoms_memory_is_not_trained_where_that_is_written_over(between: str) -> None:
    text = layer("Sigmoid", "x", "y") + between + layer("Scale", "z", "z", "loss_weight: 1 " + BEHIND)
    refused(text, "TRAIN", "Sigmoid")
    net = p2t.load(text=HEAD + text, phase="TEST")
    np.testing.assert_allclose(net(X)["z"].detach()[0], -3 / (1 + np.exp(-X[0].numpy())), rtol=1e-6)


def test_nor_does_another_layer_read_it_afterwards() -> None:
    text = layer("Power", "x", "y") + FLAT + layer("Scale", "z", "z", BEHIND) + layer("TanH", "y", "t")
    refused(text, "TEST", "TanH")


def test_a_reader_before_it_is_refused_in_training_alone() -> None:
    text = layer("Power", "x", "y") + layer("TanH", "y", "t", "loss_weight: 1") + FLAT
    text += layer("Scale", "z", "z", BEHIND)
    refused(text, "TRAIN", "TanH")
    assert p2t.load(text=HEAD + text, phase="TEST").outputs == ("t", "z")


def test_dropout_behind_a_flattened_relu_is_trained() -> None:
    text = layer("ReLU", "x", "y") + FLAT + layer("Dropout", "z", "z", "loss_weight: 1")
    assert p2t.load(text="force_backward: true\n" + HEAD + text, phase="TRAIN").outputs == ("z",)
