"""Parameters and multiply-adds: figures published of well-known nets, and sums done by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from proto2torch.cost import rows, totals
from proto2torch.cost.reading import graph
from proto2torch.prototxt.read import read_net

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT.parent / "shared" / "zoo"


def of_text(*layers: str, shape: str, phase: str = "TEST") -> dict[str, tuple[int, int, int]]:
    """Parameters, multiply-adds and activation bytes by layer."""
    dims = " ".join(f"dim: {n}" for n in shape.split(","))
    text = f'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}' + "".join(layers)
    found = rows(graph(read_net(text=text), phase))
    return {row.name: (row.parameters, row.multiply_adds, row.activation_bytes) for row in found}


def test_lenet_by_hand() -> None:
    """conv1: 20 filters of 5 x 5 at 24 x 24 places; conv2: 50 of 20 x 5 x 5 at 8 x 8; then 800 to 500 to 10."""
    found = rows(graph(read_net(str(ROOT / "examples/mnist/lenet.prototxt"))))
    assert {r.name: (r.parameters, r.multiply_adds) for r in found if r.parameters} == {
        "conv1": (20 * 25 + 20, 20 * 25 * 24 * 24),
        "conv2": (50 * 20 * 25 + 50, 50 * 20 * 25 * 8 * 8),
        "ip1": (500 * 800 + 500, 500 * 800),
        "ip2": (10 * 500 + 10, 10 * 500),
    }
    sums = totals(graph(read_net(str(ROOT / "examples/mnist/lenet.prototxt"))))
    assert (sums.parameters, sums.multiply_adds) == (431_080, 2_293_000)


@pytest.mark.skipif(not ZOO.is_dir(), reason="../shared/zoo, with the published prototxts, is absent")
@pytest.mark.parametrize(
    ("path", "millions", "giga"),
    [
        ("BVLC+caffe/models/bvlc_alexnet/deploy.prototxt", 60.97, 0.724),
        ("BVLC+caffe/models/bvlc_reference_caffenet/deploy.prototxt", 60.97, 0.724),
        ("BVLC+caffe/models/bvlc_googlenet/deploy.prototxt", 6.999, 1.583),
        ("soeaver+caffe-model/cls/vgg/deploy_vgg16-pytorch.prototxt", 138.36, 15.47),
        ("KaimingHe+deep-residual-networks/prototxt/ResNet-50-deploy.prototxt", 25.557, 3.858),
        ("KaimingHe+deep-residual-networks/prototxt/ResNet-152-deploy.prototxt", 60.19, 11.28),
    ],
)
def test_published_figures(path: str, millions: float, giga: float) -> None:
    """AlexNet 61.0 M and 724 M, VGG16 138.36 M and 15.47 G, GoogLeNet 7.0 M and 1.58 G, ResNet-50 25.56 M and 3.86 G,
    ResNet-152 60.2 M and 11.3 G: an image."""
    net = graph(read_net(str(ZOO / path)))
    sums, items = totals(net), net.inputs[0].shape[0]
    assert sums.parameters / 1e6 == pytest.approx(millions, rel=2e-4)
    assert sums.multiply_adds / items / 1e9 == pytest.approx(giga, rel=1e-3)


def test_groups_and_dilation_and_deconvolution() -> None:
    found = of_text(
        'layer { name: "g" type: "Convolution" bottom: "x" top: "g" convolution_param {'
        " num_output: 6 kernel_size: 3 dilation: 2 group: 2 bias_term: false } }",
        'layer { name: "d" type: "Deconvolution" bottom: "g" top: "d" convolution_param {'
        " num_output: 5 kernel_h: 2 kernel_w: 4 stride: 2 } }",
        shape="2,4,9,8",
    )
    # g: 9 - 4 by 8 - 4 places, each of 6 filters over 4 / 2 channels of 3 x 3
    assert found["g"] == (6 * 2 * 9, 2 * 6 * 5 * 4 * 2 * 9, 2 * 6 * 5 * 4 * 4)
    # d: every one of 2 x 6 x 5 x 4 values goes through 5 filters of 2 x 4; tops 2 (n - 1) + kernel
    assert found["d"] == (6 * 5 * 8 + 5, 2 * 6 * 5 * 4 * 5 * 8, 2 * 5 * 10 * 10 * 4)


def test_inner_product_along_an_axis() -> None:
    found = of_text(
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 7 axis: 2 } }',
        shape="2,3,4,5",
    )
    assert found["ip"] == (7 * 20 + 7, 2 * 3 * 7 * 20, 2 * 3 * 7 * 4)


def test_recurrent_layers_by_their_matrices() -> None:
    """T 5, N 2, D 3, H 4: an LSTM has 4 H (D + H) products an item and step, an RNN H (D + H + H)."""
    cont = 'layer { name: "c" type: "Input" top: "cont" input_param { shape { dim: 5 dim: 2 } } }'
    found = of_text(
        cont,
        'layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "h" recurrent_param { num_output: 4 } }',
        'layer { name: "rnn" type: "RNN" bottom: "x" bottom: "cont" top: "r" recurrent_param { num_output: 4 } }',
        shape="5,2,3",
    )
    assert found["lstm"][:2] == (16 * 3 + 16 + 16 * 4, 5 * 2 * 16 * (3 + 4))
    assert found["rnn"][:2] == (4 * 3 + 4 + 16 + 16 + 4, 5 * 2 * 4 * (3 + 4 + 4))


def test_a_static_bottom_is_multiplied_once() -> None:
    inputs = (
        'layer { name: "c" type: "Input" top: "cont" input_param { shape { dim: 5 dim: 2 } } }'
        'layer { name: "s" type: "Input" top: "still" input_param { shape { dim: 2 dim: 6 } } }'
    )
    found = of_text(
        inputs,
        'layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" bottom: "still" top: "h"'
        " recurrent_param { num_output: 4 } }",
        shape="5,2,3",
    )
    assert found["lstm"][1] == 5 * 2 * 16 * (3 + 4) + 2 * 16 * 6


def test_what_is_in_place_shared_or_fixed() -> None:
    found = of_text(
        'layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { name: "b" }'
        " inner_product_param { num_output: 3 } }",
        'layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }',
        'layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } param { name: "b" }'
        " inner_product_param { num_output: 3 } }",
        'layer { name: "flat" type: "Flatten" bottom: "b" top: "f" }',
        'layer { name: "bn" type: "BatchNorm" bottom: "f" top: "n" }',
        shape="2,3",
    )
    assert found == {
        "in": (0, 0, 24),
        "a": (12, 18, 24),
        "relu": (0, 0, 0),
        "b": (0, 18, 24),
        "flat": (0, 0, 0),
        "bn": (0, 0, 24),
    }


def test_copies_are_no_layers() -> None:
    """Two readers of a blob: Caffe inserts a Split, of which the rows say nothing."""
    text = (
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
        'layer { name: "p" type: "Power" bottom: "x" top: "p" }'
        'layer { name: "s" type: "Eltwise" bottom: "x" bottom: "p" top: "s" }'
    )
    found = rows(graph(read_net(text=text)))
    assert [(row.name, row.bottoms) for row in found] == [("in", ()), ("p", ("x",)), ("s", ("x", "p"))]


def test_a_kernel_for_each_channel() -> None:
    found = of_text(
        'layer { name: "dw" type: "ConvolutionDepthwise" bottom: "x" top: "y" convolution_param {'
        " kernel_size: 3 stride: 2 pad: 1 } }",
        shape="2,4,9,8",
    )
    # (9 + 2 - 3) / 2 + 1 by (8 + 2 - 3) / 2 + 1 places of 4 channels, each of one filter of 3 x 3
    assert found["dw"] == (4 * 9 + 4, 2 * 4 * 5 * 4 * 9, 2 * 4 * 5 * 4 * 4)


def test_scores_with_a_margin() -> None:
    found = of_text(
        'layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 2 } } }',
        'layer { name: "m" type: "MarginInnerProduct" bottom: "x" bottom: "l" top: "y" top: "lambda"'
        " margin_inner_product_param { num_output: 7 } }",
        shape="2,5",
    )
    assert found["m"][:2] == (7 * 5, 2 * 7 * 5)
