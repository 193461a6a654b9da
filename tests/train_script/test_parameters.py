"""How parameters begin and in which groups they learn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from proto2torch.errors import NetError, SolverError, UnsupportedError
from proto2torch.prototxt import schema
from proto2torch.weights import fillers
from proto2torch.weights.random import Stream

from .cases import executed, solved

DATA = """layer { name: "in" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 2 dim: 40 dim: 8 dim: 8 } shape { dim: 2 } } }
"""
LOSS = """
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
SOLVER = 'base_lr: 0.01 lr_policy: "fixed" max_iter: 4 snapshot_prefix: "s" random_seed: 3 '


def net(layer: str) -> str:
    return DATA + layer + LOSS


def convolution(fields: str, param: str = "") -> str:
    return (
        'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" '
        f"{param} convolution_param {{ num_output: 60 kernel_size: 5 {fields} }} }}"
    )


def begun(folder: Path, layer: str) -> dict[str, torch.Tensor]:
    namespace = executed(solved(folder, net(layer), SOLVER))
    return {key: value.clone() for key, value in namespace["Training"]("cpu", 3, 0).net.state_dict().items()}


FAN_IN, FAN_OUT = 40 * 25, 60 * 25
SPREADS = {
    'type: "xavier"': ("uniform", math.sqrt(3 / FAN_IN)),
    'type: "xavier" variance_norm: FAN_OUT': ("uniform", math.sqrt(3 / FAN_OUT)),
    'type: "xavier" variance_norm: AVERAGE': ("uniform", math.sqrt(6 / (FAN_IN + FAN_OUT))),
    'type: "msra"': ("normal", math.sqrt(2 / FAN_IN)),
    'type: "msra" variance_norm: FAN_OUT': ("normal", math.sqrt(2 / FAN_OUT)),
    'type: "msra" variance_norm: AVERAGE': ("normal", math.sqrt(4 / (FAN_IN + FAN_OUT))),
    'type: "gaussian" std: 0.02': ("normal", 0.02),
    'type: "uniform" min: -0.3 max: 0.3': ("uniform", 0.3),
}


@pytest.mark.parametrize("filler", SPREADS)
def test_first_weights_are_spread_as_caffes(filler: str, tmp_path: Path) -> None:
    kind, size = SPREADS[filler]
    weight = begun(tmp_path, convolution(f"weight_filler {{ {filler} }} bias_filler {{ type: 'constant' value: 0.2 }}"))
    assert torch.equal(weight["conv.bias"], torch.full((60,), 0.2))
    values = weight["conv.weight"].flatten()
    assert len(values) == 60_000
    if kind == "uniform":
        assert size * 0.999 < float(values.abs().max()) <= size and float(values.std()) == pytest.approx(
            size / 3**0.5, rel=0.02
        )
    else:
        assert float(values.std()) == pytest.approx(size, rel=0.02) and float(values.abs().max()) > 3.5 * size
    assert abs(float(values.mean())) < 0.02 * size


def test_spreads_of_what_torch_cannot_count(tmp_path: Path) -> None:
    """A bias has no fan for torch; Caffe counts its values. What torch keeps turned round, Caffe counts as it stores."""
    bias = convolution('bias_filler { type: "xavier" }')
    turned = (
        bias
        + """layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 300 transpose: true weight_filler { type: "msra" } } }"""
    )
    state = begun(tmp_path, turned)
    assert 1.6 < float(state["conv.bias"].abs().max()) <= math.sqrt(3)
    stored_first = 60 * 4 * 4
    assert state["ip.weight"].shape == (300, stored_first)
    assert float(state["ip.weight"].std()) == pytest.approx(math.sqrt(2 / 300), rel=0.02)


def test_fillers_that_torch_has_not(tmp_path: Path) -> None:
    deconvolution = """layer { name: "conv" type: "Deconvolution" bottom: "data" top: "conv"
        convolution_param { num_output: 40 group: 40 kernel_size: 4 stride: 2 bias_term: false weight_filler { type: "bilinear" } } }"""
    filler = schema.new("FillerParameter")
    filler.type = "bilinear"
    expected = fillers.fill(filler, (40, 1, 4, 4), Stream(0), None)
    assert np.allclose(begun(tmp_path, deconvolution)["conv.weight"].numpy(), expected, atol=1e-7)
    ball = begun(tmp_path, convolution('weight_filler { type: "positive_unitball" }'))["conv.weight"].flatten(1)
    assert torch.allclose(ball.sum(1), torch.ones(60)) and float(ball.min()) > 0
    sparse = begun(tmp_path, convolution('weight_filler { type: "gaussian" std: 2 sparse: 15 }'))["conv.weight"]
    assert float((sparse != 0).float().mean()) == pytest.approx(15 / 60, abs=0.01)
    assert float(sparse[sparse != 0].std()) == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize("filler", ['type: "gausian"', 'type: "uniform" min: 2 max: 1', 'type: "gaussian" std: 0'])
def test_fillers_that_caffe_refuses(filler: str, tmp_path: Path) -> None:
    with pytest.raises(NetError):
        solved(tmp_path, net(convolution(f"weight_filler {{ {filler} }}")), SOLVER)


def test_values_in_the_prototxt_need_a_file_beside(tmp_path: Path) -> None:
    given = "blobs { shape { dim: 60 dim: 40 dim: 5 dim: 5 } data: 1 }"
    with pytest.raises(UnsupportedError, match="first values of its own") as refused:
        solved(tmp_path, net(convolution("").replace("convolution_param", f"{given} convolution_param")), SOLVER)
    assert "--weights" in str(refused.value)


def test_groups_frozen_layers_and_exceptions(tmp_path: Path) -> None:
    param = "param { lr_mult: 0 } param { lr_mult: 2 decay_mult: 0 }"
    made = solved(tmp_path, net(convolution("", param)), SOLVER + "weight_decay: 0.1")
    training = executed(made)["Training"]("cpu", 3, 0)
    assert not training.net.conv.weight.requires_grad and training.net.conv.bias.requires_grad
    groups = {(g["lr_mult"], g["decay_mult"]): [p.shape for p in g["params"]] for g in training.optimizer.param_groups}
    assert groups == {(2, 0): [(60,)], (1, 1): [(5, 960), (5,)]}


def test_plain_multipliers_are_not_written(tmp_path: Path) -> None:
    made = solved(tmp_path, net(convolution("")), SOLVER + "weight_decay: 0.1")
    assert "multipliers" not in made.text and "SGD(self.net.parameters(), lr=1)" in made.text
    everywhere = net(convolution("", "param { lr_mult: 3 } param { lr_mult: 3 }")).replace(
        '"fc" inner', '"fc" param { lr_mult: 3 } param { lr_mult: 3 } inner'
    )
    training = executed(solved(tmp_path, everywhere, SOLVER))["Training"]("cpu", 3, 0)
    assert [group["lr_mult"] for group in training.optimizer.param_groups] == [3]


def test_what_no_loss_reaches_decays(tmp_path: Path) -> None:
    """In Caffe a blob without a gradient has one of zero."""
    stray = 'layer { name: "stray" type: "InnerProduct" bottom: "data" top: "stray" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }'
    namespace = executed(solved(tmp_path, net(convolution("") + stray), SOLVER + "weight_decay: 0.1"))
    training = namespace["Training"]("cpu", 3, 0)
    before = training.net.stray.weight.detach().clone()
    training.update(iter([[torch.rand(2, 40, 8, 8), torch.tensor([0.0, 1.0])]]))
    assert torch.allclose(training.net.stray.weight, before * (1 - 0.01 * 0.1), rtol=1e-6)


def test_nothing_to_train_is_refused(tmp_path: Path) -> None:
    still = net(convolution("", "param { lr_mult: 0 } param { lr_mult: 0 }")).replace(
        '"fc" inner', '"fc" param { lr_mult: 0 } param { lr_mult: 0 } inner'
    )
    with pytest.raises(SolverError, match="there is nothing to train"):
        solved(tmp_path, still, SOLVER)
    with pytest.raises(SolverError, match="has no loss to train by"):
        solved(tmp_path, DATA + convolution(""), SOLVER)
