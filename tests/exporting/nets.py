"""Small nets for the tests of export."""

from __future__ import annotations

from pathlib import Path

import torch

import proto2torch as p2t

INPUT = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'

SMALL = f"""
name: "Small"
{INPUT}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }}
layer {{ name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param {{ bias_term: true }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param {{ num_output: 5 weight_filler {{ type: "xavier" }} }} }}
"""

SHARED = f"""
name: "Shared"
{INPUT}
layer {{ name: "a" type: "Convolution" bottom: "data" top: "a" param {{ name: "w" }} param {{ name: "b" }}
  convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "b" type: "Convolution" bottom: "a" top: "b" param {{ name: "w" }} param {{ name: "b2" }}
  convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }} }} }}
"""


def repeated(count: int = 16) -> str:
    """As many equal blocks of convolution, normalisation and rectifier."""
    text = f'name: "Small" {INPUT.replace("data", "x0")}'
    for i in range(count):
        filler = "weight_filler { type: 'gaussian' std: 0.3 }"
        text += (
            f"layer {{ name: 'conv{i}' type: 'Convolution' bottom: 'x{i}' top: 'x{i + 1}' "
            f"convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 {filler} }} }}\n"
            f"layer {{ name: 'bn{i}' type: 'BatchNorm' bottom: 'x{i + 1}' top: 'x{i + 1}' }}\n"
            f"layer {{ name: 'relu{i}' type: 'ReLU' bottom: 'x{i + 1}' top: 'x{i + 1}' }}\n"
        )
    return text


def written(folder: Path, text: str, scale: float = 1.0) -> tuple[str, str]:
    """The paths of a prototxt and of a caffemodel for it: drawn values, and BatchNorm's scale as given."""
    prototxt, weights = folder / "net.prototxt", folder / "net.caffemodel"
    prototxt.write_text(text)
    net = p2t.load(str(prototxt))
    draw = torch.Generator().manual_seed(0)
    for blob in net.learned:
        blob.data.copy_(torch.rand(blob.shape, generator=draw) + 0.5)
        if blob.param.blob.frozen and blob.index == 2:
            blob.data.fill_(scale)
    net.save(str(weights))
    return str(prototxt), str(weights)
