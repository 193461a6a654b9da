"""Folding of nets beside those of golden/zoo, which test_zoo.py runs: what is folded computes the same bits."""

from __future__ import annotations

import pytest

import proto2torch as p2t

from .folding import check_one_computation
from .zoo import CASES, ZOO, draw_weights, present, prototxt_of

OTHERS = sorted(
    str(path.relative_to(ZOO))
    for path in ZOO.rglob("*.prototxt")
    if ("deploy" in path.name or "SENet" in str(path)) and path not in {prototxt_of(case) for case in CASES}
)
"""Deploy nets of the zoo that Caffe's figures are not there for."""


@present
@pytest.mark.parametrize("path", OTHERS)
def test_one_computation(path: str) -> None:
    net = p2t.load(str(ZOO / path))
    draw_weights(net)
    check_one_computation(net)


def preactivated() -> str:
    """A residual net that normalises before it convolves; some blocks project what they have normalised."""
    text = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }\n'
    before = "data"

    def layer(name: str, kind: str, bottom: str, top: str, rest: str = "") -> str:
        return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {rest} }}\n'

    def conv(name: str, bottom: str, width: int) -> str:
        rest = f"num_output: {width} kernel_size: 3 pad: 1 bias_term: false"
        return layer(name, "Convolution", bottom, name, f"convolution_param {{ {rest} }}")

    def norm(name: str, bottom: str) -> str:
        return (
            layer(name, "BatchNorm", bottom, name)
            + layer(f"{name}_scale", "Scale", name, name, "scale_param { bias_term: true }")
            + layer(f"{name}_relu", "ReLU", name, name)
        )

    for i, width in enumerate([4, 4, 4, 8, 8, 8, 16, 16, 16], 1):
        name, project = f"res{i}", i in (1, 4, 7)
        text += norm(f"{name}_bn", before) + conv(f"{name}_conv1", f"{name}_bn", width)
        text += norm(f"{name}_conv1_bn", f"{name}_conv1") + conv(f"{name}_conv2", f"{name}_conv1_bn", width)
        if project:
            text += conv(f"{name}_match", f"{name}_bn", width)
        shortcut = f"{name}_match" if project else before
        text += (
            f'layer {{ name: "{name}" type: "Eltwise" bottom: "{shortcut}" bottom: "{name}_conv2" top: "{name}" }}\n'
        )
        before = name
    return text


def test_blocks_that_normalise_first() -> None:
    net = p2t.load(text=preactivated())
    assert net.source.count("class ") == 3
    assert "nn.Sequential(" in net.source
    draw_weights(net)
    check_one_computation(net)
