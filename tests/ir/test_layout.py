"""Which nets lie channels_last, and that it changes where values lie and nothing else."""

from __future__ import annotations

import pytest
import torch

from proto2torch.net.loading import load_definition
from proto2torch.prototxt.read import read_net
from proto2torch.prototxt.style import written_as

CONVOLVED = """
layer { name: "in" type: "Input" top: "data" top: "scalars"
  input_param { shape { dim: 2 dim: 3 dim: 9 dim: 8 } shape { dim: 2 dim: 5 dim: 1 dim: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "LRN" bottom: "conv" top: "norm" lrn_param { local_size: 3 alpha: 0.5 } }
layer { name: "pool" type: "Pooling" bottom: "norm" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "flat" type: "Flatten" bottom: "scalars" top: "flat" }
layer { name: "sum" type: "Eltwise" bottom: "ip" bottom: "flat" top: "sum" }
"""
DENSE = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 5 } }
"""
SIGNALS = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
"""


def built(text: str, memory_format: str = "", phase: str = "TEST"):
    torch.manual_seed(0)
    with written_as(memory_format=memory_format):
        return load_definition(read_net(text=text), phase=phase)


@pytest.mark.parametrize(
    ("text", "expected"), [(CONVOLVED, "channels_last"), (DENSE, "contiguous"), (SIGNALS, "contiguous")]
)
def test_a_net_that_convolves_planes_lies_channels_last(text, expected):
    net = built(text)
    assert net.graph.memory_format == expected
    assert ("to(memory_format" in net.source) == (expected == "channels_last")


@pytest.mark.parametrize("wished", ["", "channels_last"])
def test_a_dilated_convolution_of_padding_alone_is_not_laid_out(wished):
    """torch 2.11 to 2.14 die of it, by oneDNN."""
    text = (
        CONVOLVED.split("layer {")[0]
        + """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 2 dim: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 group: 2 kernel_h: 2 kernel_w: 1 stride_h: 2 stride_w: 3 pad: 2 dilation: 2
    weight_filler { type: "xavier" } bias_filler { type: "constant" value: 3 } } }
"""
    )
    net = built(text, wished)
    assert net.graph.memory_format == "contiguous"
    with torch.no_grad():
        assert (net(data=torch.ones(2, 4, 2, 1))["conv"] == 3).all()


def test_the_user_may_say_so():
    assert "to(memory_format" not in built(CONVOLVED, "contiguous").source
    assert "data = data.to(memory_format=torch.channels_last)" in built(DENSE, "channels_last").source


def test_only_planes_are_laid_out():
    source = built(CONVOLVED).source
    assert source.count("to(memory_format") == 1
    assert "        data = data.to(memory_format=torch.channels_last)\n" in source


def test_values_and_gradients_are_the_same():
    last, plain = built(CONVOLVED, "channels_last"), built(CONVOLVED, "contiguous")
    plain.load_weights({name: [b.data.numpy() for b in blobs] for name, blobs in last.params.items()})
    draw = torch.Generator().manual_seed(1)
    data, scalars = torch.randn(2, 3, 9, 8, generator=draw), torch.randn(2, 5, 1, 1, generator=draw)
    results = []
    for net in (last, plain):
        values = net.features("conv", "norm", "pool", "sum", data=data, scalars=scalars)
        values["sum"].square().sum().backward()
        results.append({**values, **{n: b[0].grad for n, b in net.params.items() if b}})
    assert results[0]["norm"].is_contiguous(memory_format=torch.channels_last)
    assert results[1]["norm"].is_contiguous()
    for name, value in results[0].items():
        assert (value - results[1][name]).norm() <= 1e-6 * value.norm(), name


def test_plain_source_is_stock_torch():
    with written_as(plain=True):
        net = load_definition(read_net(text=CONVOLVED))
    assert "self.norm = nn.LocalResponseNorm(3, alpha=0.5)" in net.source
    assert net.source.count("class ") == 1
    ours = built(CONVOLVED)
    ours.load_weights({name: [b.data.numpy() for b in blobs] for name, blobs in net.params.items()})
    given = {"data": torch.rand(2, 3, 9, 8), "scalars": torch.rand(2, 5, 1, 1)}
    expected = net(**given)["sum"]
    assert (ours(**given)["sum"] - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("param", ["alpha: -0.5", "k: -2", "alpha: 0.5 k: 0"])
def test_a_sum_that_may_not_be_positive_takes_no_logarithm(param):
    assert "nn.LocalResponseNorm" in built(CONVOLVED.replace("alpha: 0.5", param)).source


@pytest.mark.parametrize(("phase", "expected"), [("TRAIN", "contiguous"), ("TEST", "channels_last")])
def test_what_normalises_batches_lies_contiguous(phase, expected):
    """torch's sums over a batch are less exact in channels_last."""
    net = built(CONVOLVED + 'layer { name: "bn" type: "BatchNorm" bottom: "pool" top: "bn" }', phase=phase)
    assert net.graph.memory_format == expected
